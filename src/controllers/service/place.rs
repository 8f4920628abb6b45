//! Where tasks of a service may be: which nodes a global service covers, and what drives a task off its node. Pure.

use crate::api::constraint::{Constraint, Facts};
use crate::api::name::NodeName;
use crate::api::node::Availability;
use crate::api::service::{OnNodeLost, ServiceSpec};
use crate::api::status::NodeState;
use crate::planted::{Bug, planted};
use crate::runtime::home::{Home, Homes};
use crate::runtime::view::{self, NodeView, TaskView};
use std::collections::BTreeMap;

/// The node is no longer part of the fleet.
const REMOVED: &str = "NodeRemoved";
/// The store lost the binding with an earlier life.
const LOST: &str = "BindingLost";

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Bound to no node.
    Unbound,
    /// On a node that is ready; the reason to leave it, if there is one.
    Ready(Option<&'static str>),
    /// On a node of which nothing is known (yet, or any more).
    Unknown,
    /// On a node that is lost.
    Down,
    /// On a node that is no longer part of the fleet, or nobody knows on which: why it is given up.
    Gone(&'static str),
}

/// The nodes as one service sees them.
pub(super) struct Places<'a> {
    nodes: BTreeMap<&'a NodeName, Seen<'a>>,
    homes: &'a Homes<'a>,
    /// Whether the service waits for lost nodes.
    waits: bool,
}

struct Seen<'a> {
    node: &'a NodeView<'a>,
    fault: Option<&'static str>,
}

impl<'a> Places<'a> {
    /// Looks at all nodes with the service's constraints.
    pub(super) fn new(nodes: &'a [NodeView<'a>], homes: &'a Homes<'a>, spec: &ServiceSpec) -> Self {
        // Acceptance has parsed each of them; one that an older version took and this one does not drives nobody away.
        let constraints: Vec<Constraint> = spec
            .template
            .placement
            .constraints
            .iter()
            .filter_map(|text| Constraint::parse(text).ok())
            .collect();
        let nodes = nodes
            .iter()
            .map(|node| {
                let fault = fault(node, &constraints);
                (&node.name, Seen { node, fault })
            })
            .collect();
        Self {
            nodes,
            homes,
            waits: spec.template.on_node_lost == OnNodeLost::Wait,
        }
    }

    /// Where a task is.
    pub(super) fn of(&self, task: &TaskView<'_>) -> Place {
        let (Some(name), Some(uid)) = (task.node, task.node_uid) else {
            return match self.homes.of(task.task) {
                // What was found runs already, though its binding is yet to be written: it waits for its turn like others.
                Home::On(node) if self.nodes.contains_key(node) => Place::Unknown,
                Home::On(_) => Place::Gone(REMOVED),
                Home::Anywhere => Place::Unbound,
                // It may run on a node that is lost, and such nodes are waited for.
                Home::Unknown if self.waits => Place::Unknown,
                Home::Unknown => Place::Gone(LOST),
            };
        };
        match self.nodes.get(name) {
            Some(seen) if seen.node.uid() == uid => match seen.node.state {
                NodeState::Ready => Place::Ready(seen.fault),
                NodeState::Unknown => Place::Unknown,
                NodeState::Down => Place::Down,
            },
            Some(_) | None => Place::Gone(REMOVED),
        }
    }

    /// Whether a global service keeps its task on this node.
    pub(super) fn keeps(&self, node: &NodeName) -> bool {
        self.nodes
            .get(node)
            .is_some_and(|seen| seen.fault.is_none())
    }

    /// Why tasks have to leave this node.
    pub(super) fn fault(&self, node: &NodeName) -> Option<&'static str> {
        self.nodes
            .get(node)
            .map_or(Some(REMOVED), |seen| seen.fault)
    }

    /// The nodes that a global service covers anew: known, not paused, not given up. A node that was never reached may
    /// turn out not to match, so it waits until its engine has said what it is.
    pub(super) fn covered(&self) -> impl Iterator<Item = &'a NodeName> {
        self.nodes
            .iter()
            .filter(|(_, seen)| seen.fault.is_none() && seen.node.engine.is_some())
            .filter(|(_, seen)| seen.node.availability() == Availability::Active)
            .map(|(name, _)| *name)
    }
}

/// Why tasks have to leave a node. What an engine never said of itself is not held against it.
fn fault(node: &NodeView<'_>, constraints: &[Constraint]) -> Option<&'static str> {
    if node.accepted.deleted_at.is_some() {
        return Some("NodeDeleted");
    }
    match node.availability() {
        Availability::Drain if planted(Bug::IgnoresDrain) => {}
        Availability::Drain => return Some("Drained"),
        Availability::Active | Availability::Pause => {}
    }
    node.engine?;
    let facts: Facts<'_> = view::facts(node);
    let holds = constraints.iter().all(|one| one.holds(&facts));
    (!holds).then_some("ConstraintViolated")
}
