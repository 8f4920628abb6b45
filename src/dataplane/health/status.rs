//! What is said on each port that tells of health. Pure.

use crate::api::unit::Port;
use crate::dataplane::agent::Report;
use crate::dataplane::nftables::elements::chosen;
use crate::dataplane::state::{HealthPort, PublishedKey, State};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// What is said on a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The service, as `<namespace>/<name>`.
    pub service: String,
    /// Whether the node leads to tasks on all of its ports.
    pub serves: bool,
    /// To how many of its tasks, on whichever nodes.
    pub tasks: usize,
    /// To how many on this one.
    pub local_tasks: usize,
    /// Ports on which it leads to none.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub closed: BTreeSet<PublishedKey>,
}

/// What is said on each port that tells of health.
pub fn answers(state: &State, report: &Report) -> BTreeMap<Port, Answer> {
    let answer = |health: &HealthPort| {
        let mut tasks: BTreeSet<Ipv4Addr> = BTreeSet::new();
        let mut closed = BTreeSet::new();
        for key in &health.ports {
            let led_to = led_to(state, report, key);
            if led_to.is_empty() {
                closed.insert(*key);
            }
            tasks.extend(led_to);
        }
        let is_here = |task: &&Ipv4Addr| state.place(**task) == Some(state.node);
        Answer {
            service: health.service.clone(),
            serves: closed.is_empty(),
            tasks: tasks.len(),
            local_tasks: tasks.iter().filter(is_here).count(),
            closed,
        }
    };
    let ports = state.health.iter();
    ports
        .map(|(port, health)| (*port, answer(health)))
        .collect()
}

/// The tasks that a port leads to on this node: none before the kernel was programmed, where a program listens on it, or
/// where the network behind it cannot be.
fn led_to(state: &State, report: &Report, key: &PublishedKey) -> BTreeSet<Ipv4Addr> {
    let Some(port) = state.ports.get(key) else {
        return BTreeSet::new();
    };
    if report.programmed.is_none() || report.occupied.contains(key) {
        return BTreeSet::new();
    }
    let is_there = |task: &Ipv4Addr| {
        let mut networks = state.networks.iter();
        let network = networks.find(|(_, network)| network.tasks.contains_key(task));
        network.is_some_and(|(vni, _)| !report.refused.contains_key(vni))
    };
    chosen(state, port).into_iter().filter(is_there).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::service::Locality;
    use crate::dataplane::state_tests::example;

    /// The first published port of the example, told of on 30999.
    fn told() -> (State, Report, PublishedKey) {
        let mut state = example();
        let key = *state.ports.keys().next().expect("a published port");
        let health = HealthPort {
            service: "default/web".into(),
            ports: [key].into(),
        };
        state.health.insert(Port(30_999), health);
        let report = Report {
            programmed: Some(state.revision),
            ..Report::default()
        };
        (state, report, key)
    }

    fn said(state: &State, report: &Report) -> String {
        let answers = answers(state, report);
        serde_json::to_string(&answers[&Port(30_999)]).expect("it is JSON")
    }

    #[test]
    fn a_node_says_whether_it_leads_to_tasks() {
        let (mut state, mut report, key) = told();
        let both = r#"{"service":"default/web","serves":true,"tasks":2,"localTasks":1}"#;
        assert_eq!(said(&state, &report), both);
        let none = r#"{"service":"default/web","serves":false,"tasks":0,"localTasks":0,"closed":["tcp/8080"]}"#;
        report.occupied.insert(key);
        assert_eq!(said(&state, &report), none, "a program listens there");
        report.occupied.clear();
        let vni = *state.networks.keys().next().expect("a network");
        report.refused.insert(vni, "it overlaps eth0".into());
        assert_eq!(said(&state, &report), none, "the network cannot be here");
        report.refused.clear();
        report.programmed = None;
        assert_eq!(said(&state, &report), none, "nothing is programmed yet");
        report.programmed = Some(state.revision);
        let port = state.ports.get_mut(&key).expect("it is there");
        port.locality = Locality::Local;
        let local = r#"{"service":"default/web","serves":true,"tasks":1,"localTasks":1}"#;
        assert_eq!(said(&state, &report), local);
        state.ports.get_mut(&key).expect("it is there").backends =
            [Ipv4Addr::new(10, 100, 1, 21)].into();
        assert_eq!(said(&state, &report), none, "no task of it is here");
        state.ports.remove(&key);
        assert_eq!(said(&state, &report), none, "a task has the port open here");
    }
}
