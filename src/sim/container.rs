//! One simulated container: made from the body of a create call, moved by starts, stops and the test's hand.

use crate::api::service::Protocol;
use crate::api::task::{Health, HostPort};
use crate::api::time::Timestamp;
use crate::api::uid::ContainerId;
use crate::api::unit::Port;
use crate::engine::{Container, ContainerState, LogLine};
use serde_json::Value;
use std::collections::BTreeMap;

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

impl SimContainer {
    pub(super) fn new(id: ContainerId, name: &str, body: &Value, number: u64) -> Self {
        let labels = body["Labels"].as_object().map_or_else(BTreeMap::new, texts);
        let image = body["Image"].as_str().unwrap_or_default();
        Self {
            seen: Container {
                id,
                name: name.to_owned(),
                labels: labels.into(),
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
            body: serde_json::to_string(body).expect("a value is text").into(),
            has_health_check: has_health_check(body),
            endpoints: endpoints(body),
            is_agent: body["Cmd"][0] == "agent",
            wanted_ports: wanted_ports(body),
            image: image.to_owned(),
            logs: Vec::new(),
            number,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.seen.state == ContainerState::Running
    }

    /// The body of its create call.
    pub(super) fn body(&self) -> Value {
        serde_json::from_str(&self.body).expect("it was written from a value")
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

fn has_health_check(body: &Value) -> bool {
    match body["Healthcheck"]["Test"].as_array() {
        Some(test) => test.first().is_some_and(|word| word != "NONE"),
        None => false,
    }
}

fn endpoints(body: &Value) -> BTreeMap<String, Value> {
    let asked = body["NetworkingConfig"]["EndpointsConfig"].as_object();
    let asked = asked.into_iter().flatten();
    asked
        .map(|(name, endpoint)| (name.clone(), endpoint.clone()))
        .collect()
}

fn wanted_ports(body: &Value) -> Vec<HostPort> {
    let Some(bindings) = body["HostConfig"]["PortBindings"].as_object() else {
        return Vec::new();
    };
    bindings
        .iter()
        .filter_map(|(key, hosts)| Some((key, hosts.as_array()?)))
        .flat_map(|(key, hosts)| hosts.iter().filter_map(|host| wanted_port(key, host)))
        .collect()
}

fn texts(object: &serde_json::Map<String, Value>) -> BTreeMap<String, String> {
    object
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn wanted_port(key: &str, host: &Value) -> Option<HostPort> {
    let (target, protocol) = key.split_once('/')?;
    Some(HostPort {
        published: Port(host["HostPort"].as_str()?.parse().unwrap_or(0)),
        protocol: match protocol {
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
        host_ip: host["HostIp"].as_str().and_then(|ip| ip.parse().ok()),
        target: Port(target.parse().ok()?),
    })
}
