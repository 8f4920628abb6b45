//! The inside of a simulated engine. Synchronous: every change happens at one point in time.

use super::container::{Asked, Behaviour, SimContainer};
use super::fault::{Fault, refused};
use super::overlays::{self, Overlays};
use super::telling::Teller;
use super::witness::{Happening, Witness};
use crate::api::task::{Health, HostPort};
use crate::api::time::Timestamp;
use crate::api::uid::ContainerId;
use crate::api::unit::Port;
use crate::engine::{ContainerState, EngineEvent, Error, Identity};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A call that an engine was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The door's method.
    pub name: &'static str,
    /// The container, image or name that it is about; empty: none.
    pub argument: String,
}

/// What pulls find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registry {
    /// Every image.
    Everything,
    /// These images; others do not exist (404).
    Only(BTreeSet<String>),
    /// It cannot be reached (500, retryable).
    Unreachable,
}

pub(super) type Subscriber = mpsc::Sender<Result<EngineEvent, Error>>;

/// Where times come from.
pub(super) type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A fault that waits for its call.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// The call; `*`: any.
    pub(super) call: String,
    pub(super) fault: Fault,
    /// How often it still strikes.
    pub(super) left: usize,
}

/// First port that the engine chooses, as Linux' default ephemeral range.
const FIRST_FREE_PORT: u16 = 32768;

pub(super) struct State {
    pub(super) name: String,
    pub(super) identity: Identity,
    pub(super) is_reachable: bool,
    pub(super) containers: BTreeMap<ContainerId, SimContainer>,
    /// The containers by name.
    pub(super) names: BTreeMap<String, ContainerId>,
    pub(super) images: BTreeSet<String>,
    pub(super) registry: Registry,
    pub(super) behaviours: BTreeMap<String, Behaviour>,
    pub(super) first_health: Health,
    pub(super) latencies: BTreeMap<String, Duration>,
    pub(super) deadline: Duration,
    pub(super) faults: Vec<Planned>,
    pub(super) teller: Teller,
    pub(super) exec_output: Vec<u8>,
    pub(super) exec_exit_code: i64,
    pub(super) calls: Vec<Call>,
    pub(super) keeps_calls: bool,
    pub(super) violations: Vec<String>,
    pub(super) now: Now,
    pub(super) made: u64,
    pub(super) witness: Option<Witness>,
    pub(super) overlays: Overlays,
}

impl State {
    /// How long the call takes.
    pub(super) fn latency(&self, call: &str) -> Duration {
        let found = self.latencies.get(call).or_else(|| self.latencies.get("*"));
        found.copied().unwrap_or_default()
    }

    /// The fault that strikes this call, used up once.
    pub(super) fn take_fault(&mut self, call: &str) -> Option<Fault> {
        if !self.is_reachable {
            return Some(Fault::Unreachable);
        }
        let planned = self
            .faults
            .iter_mut()
            .find(|planned| planned.left > 0 && (planned.call == call || planned.call == "*"))?;
        planned.left = planned.left.saturating_sub(1);
        let fault = planned.fault.clone();
        self.faults.retain(|planned| planned.left > 0);
        Some(fault)
    }

    pub(super) fn find(&self, container: &str) -> Result<&SimContainer, Error> {
        self.containers
            .get(&ContainerId::from(container))
            .or_else(|| self.containers.get(self.names.get(container)?))
            .ok_or_else(|| no_such_container(container))
    }

    pub(super) fn get(&mut self, id: &ContainerId) -> Result<&mut SimContainer, Error> {
        self.containers
            .get_mut(id)
            .ok_or_else(|| no_such_container(id.as_str()))
    }

    /// Ids of containers with this label (an empty value: any), oldest first.
    pub(super) fn list(&self, label: &str, value: &str) -> Vec<ContainerId> {
        let mut found: Vec<_> = self
            .containers
            .values()
            .filter(|c| {
                c.seen
                    .labels
                    .get(label)
                    .is_some_and(|v| value.is_empty() || v == value)
            })
            .collect();
        found.sort_by_key(|c| c.number);
        found.into_iter().map(|c| c.seen.id.clone()).collect()
    }

    pub(super) fn create(&mut self, name: &str, body: &str) -> Result<ContainerId, Error> {
        let asked = Asked::read(body).map_err(|why| refused("create", 400, &why))?;
        let image = &asked.image;
        if !self.images.contains(image) {
            return Err(refused("create", 404, &format!("No such image: {image}")));
        }
        if let Ok(other) = self.find(name) {
            let message = format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{}\".",
                other.seen.id
            );
            return Err(refused("create", 409, &message));
        }
        self.made += 1;
        let id = container_id(&self.name, self.made);
        let mut made = SimContainer::new(id.clone(), name, (body, asked), self.made);
        self.check_joins(&mut made)?;
        self.containers.insert(id.clone(), made);
        self.names.insert(name.to_owned(), id.clone());
        self.witness(&id, Happening::Created);
        self.publish(&id, "create");
        Ok(id)
    }

    pub(super) fn start(&mut self, id: &ContainerId) -> Result<(), Error> {
        let container = self.get(id)?;
        if container.is_running() {
            return Ok(());
        }
        let (image, name) = (container.image.clone(), container.seen.name.clone());
        if container.seen.started_at.is_some() {
            self.violations.push(format!(
                "{}: container {name} ({id}) ran and was started again (rule C4)",
                self.name
            ));
        }
        let behaviour = self.behaviours.get(&image).cloned();
        if let Some(Behaviour::RefuseStart(message)) = &behaviour {
            self.get(id)?.seen.error.clone_from(message);
            return Err(refused("start", 400, message));
        }
        let ports = self.allocate_ports(id)?;
        let (now, health) = ((self.now)(), self.first_health);
        let addresses = self.join(id)?;
        let container = self.get(id)?;
        container.run(now, ports, health);
        container.seen.hardware = Arc::new(overlays::hardware(&container.endpoints));
        container.seen.addresses = addresses;
        self.begin_agent(id);
        self.witness(id, Happening::Started);
        self.publish(id, "start");
        if let Some(Behaviour::Exit(code)) = behaviour {
            self.end(id, code)?;
        }
        Ok(())
    }

    /// Ends a running container by itself.
    pub(super) fn end(&mut self, id: &ContainerId, code: i64) -> Result<(), Error> {
        self.end_as(id, code, Happening::Ended)
    }

    /// Ends a running container because it was asked for.
    pub(super) fn stop(&mut self, id: &ContainerId, code: i64) -> Result<(), Error> {
        self.end_as(id, code, Happening::Stopped)
    }

    fn end_as(&mut self, id: &ContainerId, code: i64, how: Happening) -> Result<(), Error> {
        let now = (self.now)();
        let container = self.get(id)?;
        if container.is_running() {
            container.end(now, code);
            self.overlays.end_agent(id);
            self.witness(id, how);
            self.publish(id, "die");
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &ContainerId, force: bool) -> Result<(), Error> {
        self.remove_as(id, force, Happening::Removed)
    }

    /// Removes a container as a person at the machine does.
    pub(super) fn lose(&mut self, id: &ContainerId) -> Result<(), Error> {
        self.remove_as(id, true, Happening::Lost)
    }

    fn remove_as(&mut self, id: &ContainerId, force: bool, how: Happening) -> Result<(), Error> {
        if self.get(id)?.is_running() {
            if !force {
                let message = format!(
                    "You cannot remove a running container {id}. Stop the container before attempting removal or force remove"
                );
                return Err(refused("remove", 409, &message));
            }
            let end = match how {
                Happening::Removed => Happening::Stopped,
                _ => Happening::Ended,
            };
            self.end_as(id, 137, end)?;
        }
        self.witness(id, how);
        self.publish(id, "destroy");
        if let Some(gone) = self.containers.remove(id) {
            self.names.remove(&gone.seen.name);
        }
        Ok(())
    }

    pub(super) fn pull(&mut self, image: &str) -> Result<(), Error> {
        let exists = match &self.registry {
            Registry::Everything => true,
            Registry::Only(images) => images.contains(image),
            Registry::Unreachable => {
                return Err(refused("pull", 500, "simulated: registry: i/o timeout"));
            }
        };
        if !exists {
            let message = format!("simulated: manifest for {image} not found");
            return Err(refused("pull", 404, &message));
        }
        self.images.insert(image.to_owned());
        Ok(())
    }

    /// The ports of a container that starts, numbers chosen where none was asked for.
    fn allocate_ports(&self, id: &ContainerId) -> Result<Vec<HostPort>, Error> {
        let wanted = &self.find(id.as_str())?.wanted_ports;
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut taken: BTreeSet<(Port, _)> = self
            .containers
            .values()
            .flat_map(|c| &c.seen.ports)
            .map(|port| (port.published, port.protocol))
            .collect();
        let mut open = Vec::new();
        for mut port in wanted.iter().cloned() {
            if port.published.0 == 0 {
                let free = (FIRST_FREE_PORT..)
                    .map(Port)
                    .find(|number| !taken.contains(&(*number, port.protocol)));
                port.published = free
                    .ok_or_else(|| refused("start", 500, "simulated: all ports are allocated"))?;
            }
            if !taken.insert((port.published, port.protocol)) {
                let message = format!(
                    "driver failed programming external connectivity: Bind for 0.0.0.0:{} failed: port is already allocated",
                    port.published
                );
                return Err(refused("start", 500, &message));
            }
            open.push(port);
        }
        Ok(open)
    }

    pub(super) fn next_address(&self, id: &ContainerId) -> std::net::IpAddr {
        let number = self.containers.get(id).map_or(0, |c| c.number);
        let [.., high, low] = number.to_be_bytes();
        std::net::Ipv4Addr::new(172, 17, high, low).into()
    }

    fn witness(&self, id: &ContainerId, happening: Happening) {
        if let (Some(witness), Some(container)) = (&self.witness, self.containers.get(id)) {
            witness(&self.name, happening, &container.seen);
        }
    }

    /// Tells subscribers.
    pub(super) fn publish(&mut self, id: &ContainerId, action: &str) {
        let Some(container) = self.containers.get(id) else {
            return;
        };
        let mut attributes = container.seen.labels.clone();
        if container.seen.state == ContainerState::Exited {
            let code = container.seen.exit_code.to_string();
            Arc::make_mut(&mut attributes).insert("exitCode".into(), code);
        }
        let event = EngineEvent {
            container: id.clone(),
            name: container.seen.name.clone(),
            action: action.to_owned(),
            attributes,
        };
        self.teller.tell(event);
    }
}

fn no_such_container(container: &str) -> Error {
    Error::NotFound {
        message: format!("No such container: {container}"),
    }
}

/// 64 hexadecimal digits, the same in every run.
fn container_id(engine: &str, number: u64) -> ContainerId {
    let digest = Sha256::digest(format!("{engine}/{number}"));
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    ContainerId::from(digits.map(digit).collect::<String>())
}
