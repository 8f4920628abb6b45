//! Nodes that come and go.

use super::{Deed, QUICK, Scenario, service, web};
use crate::families::Family;

pub(super) fn all() -> Vec<Scenario> {
    vec![global(), drain(), node_loss()]
}

/// Node n2 as its user writes it.
fn node(availability: &str) -> Deed {
    let spec = format!("{{engine: {{url: \"tcp://n2:2375\"}}, availability: {availability}}}");
    Deed::Put("nodes/n2", spec)
}

/// A service on every node, while one comes and one goes.
fn global() -> Scenario {
    let agent = Deed::Put("services/default/agent", service("mode: global", QUICK, 1));
    Scenario {
        name: "global",
        nodes: 2,
        rival: None,
        before: vec![node("active"), agent],
        deeds: vec![(0, Deed::AddNode(3)), (30, Deed::Delete("nodes/n2"))],
        without: &[],
        end: "agent.n1 v1, agent.n3 v1",
    }
}

/// A node is drained and comes back.
fn drain() -> Scenario {
    Scenario {
        name: "drain",
        nodes: 3,
        rival: None,
        before: vec![web(3, 1)],
        deeds: vec![(0, node("drain")), (30, node("active"))],
        without: &[Family::Missed, Family::Reused],
        end: "web.1 v1, web.2 v1, web.3 v1",
    }
}

/// A machine dies and returns with what ran there.
fn node_loss() -> Scenario {
    Scenario {
        name: "node-loss",
        nodes: 3,
        rival: None,
        before: vec![web(3, 1)],
        deeds: vec![(0, Deed::Lose(2)), (40, Deed::Return(2))],
        without: &[Family::Missed, Family::Reused],
        end: "web.1 v1, web.2 v1, web.3 v1",
    }
}
