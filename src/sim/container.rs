//! One simulated container: made from the body of a create call, moved by starts, stops and the test's hand.

use crate::api::service::Protocol;
use crate::api::subnet::Cidr6;
use crate::api::task::{Health, HostPort};
use crate::api::time::Timestamp;
use crate::api::uid::ContainerId;
use crate::api::unit::Port;
use crate::engine::{Attached, Container, ContainerState, LogLine, Network};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What containers of an image do once they are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// They run until they are stopped.
    Run,
    /// They run, and ignore the stop signal until they are killed at the end of the grace.
    Stubborn,
    /// They end at once with this code.
    Exit(i64),
    /// The engine cannot start them and says this (400: final).
    RefuseStart(String),
}

/// A container and what it was made from.
#[derive(Clone, Debug)]
pub(super) struct SimContainer {
    pub(super) seen: Container,
    /// The body of its create call, as text: hardly ever read again.
    body: Box<str>,
    /// Whether its body asks for a health check.
    has_health_check: bool,
    /// The address that it asks for in each network.
    pub(super) endpoints: BTreeMap<String, Value>,
    /// Whether it is the agent of the node's data plane.
    pub(super) is_agent: bool,
    /// The ports that it wants open; published 0: the engine chooses.
    pub(super) wanted_ports: Vec<HostPort>,
    pub(super) image: String,
    pub(super) logs: Vec<LogLine>,
    /// Order of creation.
    pub(super) number: u64,
}

/// What the body of a create call asks for, as far as anything here depends on it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Asked {
    pub(super) image: String,
    labels: BTreeMap<String, String>,
    cmd: Vec<String>,
    healthcheck: AskedCheck,
    networking_config: AskedNetworks,
    host_config: AskedHost,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct AskedCheck {
    test: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct AskedNetworks {
    endpoints_config: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct AskedHost {
    port_bindings: BTreeMap<String, Vec<AskedPort>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct AskedPort {
    host_ip: String,
    host_port: String,
}

impl Asked {
    /// Reads a body; says why it cannot be read.
    pub(super) fn read(body: &str) -> Result<Self, String> {
        serde_json::from_str(body).map_err(|error| format!("invalid JSON: {error}"))
    }

    fn has_health_check(&self) -> bool {
        let mut test = self.healthcheck.test.iter();
        test.next().is_some_and(|word| word != "NONE")
    }

    fn ports(&self) -> Vec<HostPort> {
        let bindings = self.host_config.port_bindings.iter();
        bindings
            .flat_map(|(key, hosts)| hosts.iter().filter_map(|host| wanted_port(key, host)))
            .collect()
    }
}

impl SimContainer {
    pub(super) fn new(
        id: ContainerId,
        name: &str,
        (body, asked): (&str, Asked),
        number: u64,
    ) -> Self {
        Self {
            has_health_check: asked.has_health_check(),
            wanted_ports: asked.ports(),
            is_agent: asked.cmd.first().is_some_and(|word| word == "agent"),
            seen: Container {
                id,
                name: name.to_owned(),
                labels: asked.labels.into(),
                state: ContainerState::Created,
                started_at: None,
                finished_at: None,
                exit_code: 0,
                oom_killed: false,
                error: String::new(),
                health: None,
                networks: Default::default(),
                addresses: Vec::new(),
                hardware: Default::default(),
                ports: Vec::new(),
            },
            body: body.into(),
            endpoints: asked.networking_config.endpoints_config,
            image: asked.image,
            logs: Vec::new(),
            number,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.seen.state == ContainerState::Running
    }

    /// The body of its create call.
    pub(super) fn body(&self) -> Value {
        serde_json::from_str(&self.body).expect("it was read when it came")
    }

    /// Where it is in a network.
    pub(super) fn attached(&self, network: &Network, subnet6: Option<Cidr6>) -> Option<Attached> {
        let addresses = self.seen.addresses.iter();
        // Each network gives one of IPv4.
        let of_ipv4 = addresses.clone().filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        let mut places = self.endpoints.keys().zip(of_ipv4);
        let (_, address) = places.find(|(name, _)| **name == network.name)?;
        let mut of_ipv6 = addresses.filter_map(|address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(*address),
        });
        let hardware = self.seen.hardware.get(&IpAddr::V4(address));
        Some(Attached {
            network: network.id.clone(),
            container: self.seen.id.clone(),
            name: self.seen.name.clone(),
            labels: self.seen.labels.as_ref().clone(),
            address,
            address6: subnet6.and_then(|subnet| of_ipv6.find(|one| subnet.holds(*one))),
            hardware: hardware.cloned().unwrap_or_default(),
        })
    }

    pub(super) fn run(&mut self, now: Timestamp, ports: Vec<HostPort>, health: Health) {
        self.seen.state = ContainerState::Running;
        self.seen.started_at = Some(now);
        self.seen.finished_at = None;
        self.seen.ports = ports;
        self.seen.health = self.has_health_check.then_some(health);
    }

    pub(super) fn end(&mut self, now: Timestamp, exit_code: i64) {
        self.seen.state = ContainerState::Exited;
        self.seen.finished_at = Some(now);
        self.seen.exit_code = exit_code;
        self.seen.ports.clear();
        self.seen.addresses.clear();
        self.seen.hardware = Default::default();
    }
}

fn wanted_port(key: &str, host: &AskedPort) -> Option<HostPort> {
    let (target, protocol) = key.split_once('/')?;
    Some(HostPort {
        published: Port(host.host_port.parse().unwrap_or(0)),
        protocol: match protocol {
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
        host_ip: host.host_ip.parse().ok(),
        target: Port(target.parse().ok()?),
    })
}
