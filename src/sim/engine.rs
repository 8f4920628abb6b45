//! [`SimEngine`]: the door `Engine` over a [`State`], with latency and faults.

use super::container::Behaviour;
use super::fault::Fault;
use super::overlays::{self, Overlays};
use super::state::{Call, Registry, State};
use super::telling::Teller;
use crate::api::task::Health;
use crate::api::time::Timestamp;
use crate::api::uid::ContainerId;
use crate::engine::{
    Attached, Container, ContainerState, Engine, Error, EventStream, ExecIo, ExecRequest, Identity,
    LogLine, LogOptions, LogStream, Network, PullProgress,
};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::mpsc;

/// Events that a subscriber may leave unread before it loses its stream.
const EVENT_BACKLOG: usize = 4096;

/// Where the default clock starts: 2026-01-01T00:00:00Z; it moves on by a millisecond each time it is read.
const FIRST_TIME_MS: i64 = 1_767_225_600_000;

/// A Docker Engine in memory. Clones are handles of the same engine.
///
/// Its own methods are the test's hand (see `hand.rs`); those of [`Engine`] are what skep calls, and only they are
/// recorded.
#[derive(Clone)]
pub struct SimEngine {
    address: Arc<str>,
    state: Arc<Mutex<State>>,
}

impl SimEngine {
    /// A reachable engine without containers at `sim://<name>`, with any image at its registry.
    pub fn new(name: &str) -> Self {
        Self::at(&format!("sim://{name}"), name)
    }

    /// The same at a URL of one's choice.
    pub fn at(address: &str, name: &str) -> Self {
        let clock = AtomicI64::new(FIRST_TIME_MS);
        let state = State {
            name: name.to_owned(),
            identity: identity(name),
            is_reachable: true,
            containers: BTreeMap::new(),
            names: BTreeMap::new(),
            images: BTreeSet::new(),
            registry: Registry::Everything,
            behaviours: BTreeMap::new(),
            first_health: Health::Starting,
            latencies: BTreeMap::new(),
            deadline: Duration::from_secs(10),
            faults: Vec::new(),
            teller: Teller::default(),
            exec_output: Vec::new(),
            exec_exit_code: 0,
            calls: Vec::new(),
            keeps_calls: true,
            violations: Vec::new(),
            now: Arc::new(move || Timestamp(clock.fetch_add(1, Ordering::Relaxed))),
            made: 0,
            witness: None,
            overlays: Overlays::default(),
        };
        Self {
            address: address.into(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no call panics while it holds the state")
    }

    /// Records the call, lets its latency pass, then acts as the fault that waits for it says.
    async fn call<T>(
        &self,
        call: &'static str,
        argument: &str,
        act: impl FnOnce(&mut State) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        self.call_for(call, argument, Duration::ZERO, act).await
    }

    /// The same for a call whose work itself takes `duration` on top of its latency.
    async fn call_for<T>(
        &self,
        call: &'static str,
        argument: &str,
        duration: Duration,
        act: impl FnOnce(&mut State) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let latency = {
            let mut state = self.state();
            if state.keeps_calls {
                state.calls.push(Call {
                    name: call,
                    argument: argument.to_owned(),
                });
            }
            state.latency(call).saturating_add(duration)
        };
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let mut state = self.state();
        let deadline = state.deadline;
        let Some(fault) = state.take_fault(call) else {
            return act(&mut state);
        };
        let result = match fault.has_effect() {
            true => Some(act(&mut state)),
            false => None,
        };
        match (fault.error(&self.address, call, deadline), result) {
            (Some(error), _) => Err(error),
            (None, Some(result)) => result,
            (None, None) => unreachable!("a fault without effect is an error"),
        }
    }

    /// How long a stop takes that the container ignores.
    fn stubbornness(&self, id: &ContainerId, grace: Duration) -> Duration {
        let state = self.state();
        let image = state.containers.get(id).map(|c| (c.is_running(), &c.image));
        match image {
            Some((true, image)) if state.behaviours.get(image) == Some(&Behaviour::Stubborn) => {
                grace
            }
            _ => Duration::ZERO,
        }
    }
}

fn identity(name: &str) -> Identity {
    Identity {
        id: format!("SIM:{name}"),
        hostname: name.to_owned(),
        version: "28.5.2".into(),
        api_version: "1.51".into(),
        os: "linux".into(),
        arch: "x86_64".into(),
        cpus: 4,
        memory: 8 << 30,
        labels: BTreeMap::new(),
        plugins: vec!["network/bridge".into(), "volume/local".into()],
    }
}

#[async_trait]
impl Engine for SimEngine {
    fn address(&self) -> &str {
        &self.address
    }

    async fn ping(&self) -> Result<(), Error> {
        self.call("ping", "", |_| Ok(())).await
    }

    async fn identity(&self) -> Result<Identity, Error> {
        self.call("identity", "", |state| Ok(state.identity.clone()))
            .await
    }

    async fn list(&self, label: &str, value: &str) -> Result<Vec<ContainerId>, Error> {
        let hides = {
            let state = self.state();
            let next = state
                .faults
                .iter()
                .find(|f| f.call == "list" || f.call == "*");
            next.is_some_and(|planned| planned.fault == Fault::HideNewest)
        };
        self.call("list", value, |state| {
            let mut found = state.list(label, value);
            if hides {
                found.pop();
            }
            Ok(found)
        })
        .await
    }

    async fn inspect(&self, container: &str) -> Result<Container, Error> {
        self.call("inspect", container, |state| {
            Ok(state.find(container)?.seen.clone())
        })
        .await
    }

    async fn inspect_raw(&self, container: &str) -> Result<serde_json::Value, Error> {
        self.call("inspect_raw", container, |state| {
            let found = state.find(container)?;
            let body = found.body();
            Ok(serde_json::json!({
                "Id": found.seen.id,
                "Name": format!("/{}", found.seen.name),
                "Config": body,
                "HostConfig": body["HostConfig"],
            }))
        })
        .await
    }

    async fn create(&self, name: &str, body: &str) -> Result<ContainerId, Error> {
        self.call("create", name, |state| state.create(name, body))
            .await
    }

    async fn start(&self, container: &ContainerId) -> Result<(), Error> {
        self.call("start", container.as_str(), |state| state.start(container))
            .await
    }

    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<(), Error> {
        let wait = self.stubbornness(container, grace);
        let code = if wait.is_zero() { 143 } else { 137 };
        let end = |state: &mut State| state.stop(container, code);
        self.call_for("stop", container.as_str(), wait, end).await
    }

    async fn remove(&self, container: &ContainerId, force: bool) -> Result<(), Error> {
        self.call("remove", container.as_str(), |state| {
            state.remove(container, force)
        })
        .await
    }

    async fn image(&self, image: &str) -> Result<String, Error> {
        self.call("image", image, |state| match state.images.contains(image) {
            true => Ok(format!("sha256:{image}")),
            false => Err(Error::NotFound {
                message: format!("No such image: {image}"),
            }),
        })
        .await
    }

    async fn pull(&self, image: &str, progress: PullProgress<'_>) -> Result<(), Error> {
        let result = self.call("pull", image, |state| state.pull(image)).await;
        if result.is_ok() {
            progress(&format!("{image}: pulled"));
        }
        result
    }

    async fn load(&self, tar: Vec<u8>) -> Result<(), Error> {
        let images = crate::engine::image::names(&tar);
        self.call("load", "", |state| {
            state.images.extend(images);
            Ok(())
        })
        .await
    }

    async fn load_program(&self) -> Result<(), Error> {
        self.call("load", "", |state| {
            let name = crate::engine::image::name(env!("CARGO_PKG_VERSION"));
            state.images.insert(name);
            Ok(())
        })
        .await
    }

    async fn networks(&self, label: &str) -> Result<Vec<Network>, Error> {
        self.call("networks", label, |state| Ok(state.overlays.list(label)))
            .await
    }

    async fn attached(&self, networks: &[&str]) -> Result<Vec<Attached>, Error> {
        let asked = networks.join(" ");
        self.call("attached", &asked, |state| Ok(state.attached(networks)))
            .await
    }

    async fn create_network(&self, body: &serde_json::Value) -> Result<String, Error> {
        let name = body["Name"].as_str().unwrap_or_default();
        self.call("create_network", name, |state| state.create_network(body))
            .await
    }

    async fn remove_network(&self, network: &str) -> Result<(), Error> {
        self.call("remove_network", network, |state| {
            state.remove_network(network)
        })
        .await
    }

    async fn connect_network(
        &self,
        network: &str,
        container: &ContainerId,
        endpoint: &serde_json::Value,
    ) -> Result<(), Error> {
        self.call("connect_network", container.as_str(), |state| {
            state.connect(network, container, endpoint)
        })
        .await
    }

    async fn remove_volume(&self, volume: &str) -> Result<(), Error> {
        self.call("remove_volume", volume, |_| Ok(())).await
    }

    async fn remove_image(&self, image: &str) -> Result<(), Error> {
        self.call("remove_image", image, |state| {
            match state.images.remove(image) {
                true => Ok(()),
                false => Err(Error::NotFound {
                    message: format!("No such image: {image}"),
                }),
            }
        })
        .await
    }

    async fn events(&self) -> Result<EventStream, Error> {
        let (sender, receiver) = mpsc::channel(EVENT_BACKLOG);
        self.call("events", "", |state| {
            state.teller.subscribe(sender);
            Ok(())
        })
        .await?;
        // When the engine lets go of its end, the reader gets an error and then the end.
        let gone = Error::Broken {
            address: self.address.to_string(),
            call: "events",
            message: "simulated: the event stream ended".into(),
        };
        let events = stream::unfold(receiver, |mut receiver| async {
            Some((receiver.recv().await?, receiver))
        });
        Ok(events.chain(stream::iter([Err(gone)])).boxed())
    }

    async fn logs(
        &self,
        container: &ContainerId,
        options: &LogOptions,
    ) -> Result<LogStream, Error> {
        let lines = self
            .call("logs", container.as_str(), |state| {
                Ok(state.get(container)?.logs.clone())
            })
            .await?;
        let tail = options
            .tail
            .and_then(|tail| usize::try_from(tail).ok())
            .unwrap_or(lines.len());
        let skipped = lines.len().saturating_sub(tail);
        let is_stamped = options.timestamps;
        let stamped = lines.into_iter().enumerate().map(move |(index, mut line)| {
            if is_stamped {
                // Simulated lines have no time of their own: their order serves as one.
                let stamp = format!("2026-01-02T03:04:05.{index:09}Z ");
                line.bytes.splice(..0, stamp.into_bytes());
            }
            Ok(line)
        });
        Ok(stream::iter(stamped.skip(skipped)).boxed())
    }

    async fn exec(&self, container: &ContainerId, request: &ExecRequest) -> Result<ExecIo, Error> {
        let argument = format!("{container} {}", request.command.join(" "));
        let output = self
            .call("exec", &argument, |state| {
                let found = state.get(container)?;
                match found.seen.state {
                    ContainerState::Running if found.is_agent => Ok(None),
                    ContainerState::Running => Ok(Some(state.exec_output.clone())),
                    _ => Err(Error::Conflict {
                        message: format!("Container {container} is not running"),
                    }),
                }
            })
            .await?;
        let Some(output) = output else {
            return Ok(overlays::attach(self.clone(), container));
        };
        let line = LogLine {
            is_stderr: false,
            bytes: output,
        };
        Ok(ExecIo {
            id: format!("exec-{container}"),
            output: stream::iter([Ok(line)]).boxed(),
            input: Box::new(tokio::io::sink()),
        })
    }

    async fn exec_exit_code(&self, exec: &str) -> Result<Option<i64>, Error> {
        self.call("exec_exit_code", exec, |state| {
            Ok(Some(state.exec_exit_code))
        })
        .await
    }

    async fn exec_resize(&self, exec: &str, _columns: u16, _rows: u16) -> Result<(), Error> {
        self.call("exec_resize", exec, |_| Ok(())).await
    }
}
