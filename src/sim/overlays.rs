//! The network half of a simulated engine: networks over bridges that an agent has made, and the agent itself, a real one
//! over a kernel in memory, that answers to who attaches to its container.

use super::container::SimContainer;
use super::engine::SimEngine;
use super::fault::refused;
use super::state::State;
use crate::api::subnet::{Cidr, Cidr6};
use crate::api::uid::ContainerId;
use crate::dataplane::agent::{Agent, Authority, Order, Report};
use crate::dataplane::host::Memory;
use crate::dataplane::state::StateRevision;
use crate::engine::{Attached, Error, ExecIo, LogLine, Network};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// A piece of an agent's output.
type Answer = Result<LogLine, Error>;

/// Networks, the kernel and its agent.
#[derive(Default)]
pub(super) struct Overlays {
    /// By id.
    networks: BTreeMap<String, Network>,
    /// From which addresses each gives, by id.
    ranges: BTreeMap<String, Cidr>,
    /// The addresses of IPv6 of those that have some, by id.
    pools6: BTreeMap<String, Pool6>,
    made: u64,
    /// What it is while no agent runs.
    kernel: Memory,
    agent: Option<Running>,
    callers: u64,
    /// Agents here take every state for programmed, and hold none: how many orders they took.
    light: Option<u64>,
}

/// A network's addresses of IPv6.
#[derive(Clone, Copy)]
struct Pool6 {
    /// All.
    subnet: Cidr6,
    /// The engine's own.
    gateway: Ipv6Addr,
    /// From which it gives.
    range: Cidr6,
}

/// An agent that runs.
struct Running {
    container: ContainerId,
    agent: Agent<Memory>,
    /// By which right orders were given last.
    authority: Option<Authority>,
    /// Who is heard, and where answers go.
    caller: Option<(u64, UnboundedSender<Answer>)>,
}

impl Overlays {
    /// Networks with a label.
    pub(super) fn list(&self, label: &str) -> Vec<Network> {
        let networks = self.networks.values();
        let has = |network: &&Network| network.labels.contains_key(label);
        networks.filter(has).cloned().collect()
    }

    /// An agent's container has ended; what it programmed stays.
    pub(super) fn end_agent(&mut self, container: &ContainerId) {
        if let Some(mut ended) = self
            .agent
            .take_if(|running| running.container == *container)
        {
            self.kernel = ended.agent.host().clone();
        }
    }

    /// Breaks the agent's stream.
    pub(super) fn hang_up(&mut self) {
        if let Some(running) = &mut self.agent {
            running.caller = None;
        }
    }

    /// Agents hold no kernel from now on: a thousand of them fit into one machine.
    pub(super) fn lighten(&mut self) {
        self.light = Some(0);
    }

    /// How many orders light agents took.
    pub(super) fn orders(&self) -> u64 {
        self.light.unwrap_or(0)
    }

    fn named(&self, name: &str) -> Result<&Network, Error> {
        let mut networks = self.networks.values();
        let found = networks.find(|network| network.name == name || network.id == name);
        found.ok_or_else(|| refused("network", 404, &format!("network {name} not found")))
    }

    /// Whether the agent has programmed the way to an address.
    fn knows(&self, address: IpAddr) -> bool {
        if self.light.is_some() {
            return true;
        }
        let state = self.agent.as_ref().and_then(|running| {
            let programmed = running.agent.report().programmed;
            let state = running.agent.state();
            state.filter(|state| programmed == Some(state.revision))
        });
        state.is_some_and(|state| state.place(address) == Some(state.node))
    }

    fn has_bridge(&mut self, bridge: &str) -> bool {
        let kernel = match &mut self.agent {
            Some(running) => running.agent.host(),
            None => &mut self.kernel,
        };
        self.light.is_some() || kernel.kernel.links.contains_key(bridge)
    }
}

/// What the body of a network says of IPv6.
fn pool6(config: &Value) -> Option<Pool6> {
    let text = |field: &str| config[field].as_str();
    Some(Pool6 {
        subnet: text("Subnet")?.parse().ok()?,
        gateway: text("Gateway")?.parse().ok()?,
        range: text("IPRange")?.parse().ok()?,
    })
}

/// The hardware addresses of a container that starts, by its addresses; as an engine of API 1.44, which does what it is asked.
pub(super) fn hardware(endpoints: &BTreeMap<String, Value>) -> BTreeMap<IpAddr, String> {
    let pair = |endpoint: &Value| {
        let address = endpoint["IPAMConfig"]["IPv4Address"].as_str()?;
        Some((
            address.parse().ok()?,
            endpoint["MacAddress"].as_str()?.to_owned(),
        ))
    };
    endpoints.values().filter_map(pair).collect()
}

impl State {
    pub(super) fn create_network(&mut self, body: &Value) -> Result<String, Error> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&body["Name"]);
        if self.overlays.named(&name).is_ok() {
            let message = format!("network with name {name} already exists");
            return Err(refused("create_network", 409, &message));
        }
        let bridge = text(&body["Options"]["com.docker.network.bridge.name"]);
        if !self.overlays.has_bridge(&bridge) {
            let engine = &self.name;
            let what = format!("{engine}: network {name} was made before its bridge {bridge}");
            self.violations.push(what);
        }
        let pool = &body["IPAM"]["Config"][1];
        let wrong = || refused("create_network", 400, &format!("invalid pool: {pool}"));
        let pool = match body["EnableIPv6"] == true {
            true => Some(pool6(pool).ok_or_else(wrong)?),
            false => None,
        };
        self.overlays.made += 1;
        let id = format!("network-{}", self.overlays.made);
        let labels = body["Labels"].as_object().into_iter().flatten();
        let network = Network {
            id: id.clone(),
            name,
            labels: labels
                .map(|(key, value)| (key.clone(), text(value)))
                .collect(),
        };
        self.overlays.networks.insert(id.clone(), network);
        if let Ok(range) = text(&body["IPAM"]["Config"][0]["IPRange"]).parse() {
            self.overlays.ranges.insert(id.clone(), range);
        }
        if let Some(pool) = pool {
            self.overlays.pools6.insert(id.clone(), pool);
        }
        Ok(id)
    }

    /// The address of IPv6 that a container gets in a network: the one that it asks for, or one of the engine's choice, which
    /// goes by nothing else.
    fn address6(&self, network: &Network, endpoint: &Value) -> Result<Option<Ipv6Addr>, Error> {
        let asked = endpoint["IPAMConfig"]["IPv6Address"].as_str();
        let asked: Option<Ipv6Addr> = asked.and_then(|text| text.parse().ok());
        let pool = self.overlays.pools6.get(&network.id);
        let is_taken = |address: Ipv6Addr| {
            let mut running = self.containers.values().filter(|one| one.is_running());
            running.any(|one| one.seen.addresses.contains(&address.into()))
        };
        match (asked, pool) {
            (None, None) => Ok(None),
            (Some(asked), Some(pool)) if pool.subnet.holds(asked) && asked != pool.gateway => {
                match is_taken(asked) {
                    true => Err(refused("start", 403, "Address already in use")),
                    false => Ok(Some(asked)),
                }
            }
            (Some(asked), _) => {
                let message =
                    format!("no configured subnet or ip-range contain the IP address {asked}");
                Err(refused("start", 400, &message))
            }
            (None, Some(pool)) => {
                let (first, last) = pool.range.ends();
                let mut all = (first.into()..=last.into())
                    .rev()
                    .map(|one: u128| one.into());
                let found = all.find(|one| *one != pool.gateway && !is_taken(*one));
                let none = || {
                    let message = "no available IPv6 addresses on this network's address pools";
                    refused("start", 500, message)
                };
                found.map(Some).ok_or_else(none)
            }
        }
    }

    /// Running containers in networks, by the ids of those.
    pub(super) fn attached(&self, networks: &[&str]) -> Vec<Attached> {
        let networks = networks
            .iter()
            .filter_map(|id| self.overlays.networks.get(*id));
        let mut attached = Vec::new();
        for network in networks {
            let running = self.containers.values().filter(|one| one.is_running());
            let subnet6 = self.overlays.pools6.get(&network.id);
            let subnet6 = subnet6.map(|pool| pool.subnet);
            attached.extend(running.filter_map(|one| one.attached(network, subnet6)));
        }
        attached
    }

    /// The first address that an engine gives by itself in a network.
    fn spare(&self, network: &Network) -> Option<Ipv4Addr> {
        let (first, last) = self.overlays.ranges.get(&network.id)?.range();
        let is_taken = |address: IpAddr| {
            let mut running = self.containers.values().filter(|one| one.is_running());
            running.any(|one| one.seen.addresses.contains(&address))
        };
        let subnet: Cidr = network.labels.get("dev.skep.subnet")?.parse().ok()?;
        let mut all = (first..=last).map(Ipv4Addr::from);
        all.find(|address| *address != subnet.gateway() && !is_taken(IpAddr::V4(*address)))
    }

    pub(super) fn remove_network(&mut self, network: &str) -> Result<(), Error> {
        let name = self.overlays.named(network)?.name.clone();
        let mut containers = self.containers.values();
        if containers.any(|one| one.is_running() && one.seen.networks.contains(&name)) {
            let message = format!("error while removing network: {name} has active endpoints");
            return Err(refused("remove_network", 403, &message));
        }
        self.overlays.networks.retain(|_, one| one.name != name);
        Ok(())
    }

    pub(super) fn connect(
        &mut self,
        network: &str,
        container: &ContainerId,
        endpoint: &Value,
    ) -> Result<(), Error> {
        let name = self.overlays.named(network)?.name.clone();
        let container = self.get(container)?;
        container.endpoints.insert(name.clone(), endpoint.clone());
        Arc::make_mut(&mut container.seen.networks).insert(name);
        Ok(())
    }

    /// A container is made: in networks that there are, and at first in one, as before API 1.44.
    pub(super) fn check_joins(&self, made: &mut SimContainer) -> Result<(), Error> {
        if made.endpoints.len() > 1 {
            let message = "Container cannot be created with multiple network endpoints";
            return Err(refused("create", 400, message));
        }
        for name in made.endpoints.keys() {
            self.overlays.named(name)?;
            Arc::make_mut(&mut made.seen.networks).insert(name.clone());
        }
        Ok(())
    }

    /// The addresses of a container that starts.
    pub(super) fn join(&mut self, id: &ContainerId) -> Result<Vec<IpAddr>, Error> {
        let container = self.find(id.as_str())?;
        let (name, endpoints) = (container.seen.name.clone(), container.endpoints.clone());
        if endpoints.is_empty() {
            return Ok(vec![self.next_address(id)]);
        }
        let mut addresses = Vec::new();
        for (network, endpoint) in &endpoints {
            let found = self.overlays.named(network)?;
            let asked = endpoint["IPAMConfig"]["IPv4Address"].as_str();
            let is_asked = asked.is_some();
            let asked = asked.and_then(|text| text.parse().ok());
            let Some(address) = asked.or_else(|| self.spare(found)) else {
                let message = "no available IPv4 addresses on this network's address pools";
                return Err(refused("start", 500, message));
            };
            let is_taken = self.containers.values().any(|other| {
                other.is_running() && other.seen.addresses.contains(&IpAddr::V4(address))
            });
            if is_taken {
                return Err(refused("start", 403, "Address already in use"));
            }
            // Who gets one from the engine waits for no agent.
            let is_asked6 = endpoint["IPAMConfig"]["IPv6Address"].is_string();
            let address6 = self.address6(found, endpoint)?.map(IpAddr::V6);
            let both = [(is_asked, Some(IpAddr::V4(address))), (is_asked6, address6)];
            for (is_asked, address) in both {
                let unknown = address.filter(|address| is_asked && !self.overlays.knows(*address));
                if let Some(address) = unknown {
                    let what = format!("{name} starts before its agent knows {address} (C8)");
                    self.violations.push(format!("{}: {what}", self.name));
                }
                addresses.extend(address);
            }
        }
        Ok(addresses)
    }

    /// A container runs: an agent, if it is one.
    pub(super) fn begin_agent(&mut self, id: &ContainerId) {
        let is_agent = self.containers.get(id).is_some_and(|one| one.is_agent);
        let kernel = self.overlays.kernel.clone();
        if let (true, Ok(agent)) = (is_agent, Agent::new(kernel, None)) {
            self.overlays.agent = Some(Running {
                container: id.clone(),
                agent,
                authority: None,
                caller: None,
            });
        }
    }

    /// A line arrives at the agent from a caller.
    fn tell_agent(&mut self, caller: u64, line: &[u8], answers: &UnboundedSender<Answer>) {
        let Some(running) = &mut self.overlays.agent else {
            return;
        };
        let is_heard = running
            .caller
            .as_ref()
            .is_some_and(|(heard, _)| *heard == caller);
        if let (true, Some(orders)) = (is_heard, &mut self.overlays.light) {
            *orders += 1;
            return say(answers, &programmed(line));
        }
        if is_heard {
            match serde_json::from_slice::<Order>(line) {
                Ok(order) => running.agent.follow(order),
                Err(error) => running.agent.refuse(error.to_string()),
            }
        } else {
            let Ok(authority) = serde_json::from_slice::<Authority>(line) else {
                return;
            };
            if running.authority.is_some_and(|before| authority < before) {
                return;
            }
            running.authority = Some(authority);
            running.caller = Some((caller, answers.clone()));
        }
        say(answers, running.agent.report());
    }
}

fn say(answers: &UnboundedSender<Answer>, report: &Report) {
    let mut bytes = serde_json::to_vec(report).unwrap_or_default();
    bytes.push(b'\n');
    let is_stderr = false;
    let _ = answers.send(Ok(LogLine { is_stderr, bytes }));
}

/// What an agent says once it has done what a line asks for.
fn programmed(line: &[u8]) -> Report {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Asked {
        State { revision: StateRevision },
        Delta { to: StateRevision },
    }
    let programmed = match serde_json::from_slice(line) {
        Ok(Asked::State { revision } | Asked::Delta { to: revision }) => Some(revision),
        Err(_) => None,
    };
    Report {
        programmed,
        removed: programmed.is_none(),
        ..Report::default()
    }
}

/// Attaches to the agent of a container that runs.
pub(super) fn attach(engine: SimEngine, container: &ContainerId) -> ExecIo {
    let (answers, output) = unbounded_channel();
    let caller = {
        let mut state = engine.state();
        state.overlays.callers += 1;
        state.overlays.callers
    };
    let output = futures::stream::unfold(output, |mut output| async {
        Some((output.recv().await?, output))
    });
    ExecIo {
        id: format!("exec-{container}-{caller}"),
        output: output.boxed(),
        input: Box::new(Input {
            engine,
            caller,
            answers: Some(answers),
            line: Vec::new(),
        }),
    }
}

/// A caller's input.
struct Input {
    engine: SimEngine,
    caller: u64,
    /// Until it has said by which right it speaks: then the agent has the only one, so its end is heard.
    answers: Option<UnboundedSender<Answer>>,
    line: Vec<u8>,
}

impl AsyncWrite for Input {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.line.extend(bytes);
        while let Some(end) = this.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = this.line.drain(..=end).collect();
            let mut state = this.engine.state();
            if !state.is_reachable {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let heard = state.overlays.agent.as_ref();
            let heard = heard.and_then(|running| running.caller.clone());
            let answers = match (this.answers.take(), heard) {
                (Some(answers), _) => answers,
                (None, Some((caller, answers))) if caller == this.caller => answers,
                (None, _) => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            };
            state.tell_agent(this.caller, &line, &answers);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
