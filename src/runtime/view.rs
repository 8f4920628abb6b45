//! Views: several keys read as one thing, for every planner alike. Pure.

use super::cache::{Cache, Stored};
use super::said::by;
use crate::api::accepted::AcceptedNode;
use crate::api::cluster::Cluster;
use crate::api::constraint::Facts;
use crate::api::key::Key;
use crate::api::name::NodeName;
use crate::api::node::Availability;
use crate::api::status::{Condition, EngineStatus, Found, NodeState, Truth, Underlay};
use crate::api::task::{Desired, Task, TaskState, TaskStatus};
use crate::api::uid::{TaskId, Uid};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The controller that writes what an engine says: `status/nodes/<name>/health`.
pub const HEALTH: &str = "health";
/// The elected controller of nodes: `status/nodes/<name>/node`.
pub const NODE: &str = "node";
/// The holder of a node's shard: `status/nodes/<name>/task`.
pub const TASK: &str = "task";
/// Condition of `status/nodes/<name>/node`: the manager whose socket the node is has been gone for the grace.
pub const MANAGER_GONE: &str = "ManagerGone";

/// Condition of `status/nodes/<name>/task`: the node's agent has programmed what the node needs. While it stands, whatever
/// it says, there is an agent.
pub const DATAPLANE_READY: &str = "DataplaneReady";

/// How a node's data plane stands; none: nobody has said that it has one, or should have.
pub fn dataplane<'a>(cache: &'a Cache, node: &NodeName) -> Option<&'a Condition> {
    let status = cache.status_of_node(node, TASK)?;
    status.condition(DATAPLANE_READY)
}

/// The nodes with an agent, as far as is known; none: managers realise no networks, or nothing is on one.
pub fn agents(cache: &Cache) -> BTreeSet<NodeName> {
    let nodes = cache.nodes.keys();
    let with_agents = nodes.filter(|node| dataplane(cache, node).is_some());
    with_agents.cloned().collect()
}

/// Whether a node's agent has said that it programs what it is told.
pub fn is_programmed(cache: &Cache, node: &NodeName) -> bool {
    dataplane(cache, node).is_some_and(|said| said.status == Truth::True)
}

/// What a node's agent says of the node that networks are laid over.
pub fn underlay<'a>(cache: &'a Cache, node: &NodeName) -> Option<&'a Underlay> {
    let status = cache.status_of_node(node, TASK)?;
    status.underlay.as_ref()
}

/// What VXLAN takes of a packet between nodes, in bytes: headers of Ethernet (14), IPv4 (20), UDP (8) and its own (8).
const VXLAN_HEADERS: u32 = 50;

/// The largest packet that is assumed of a node of which nobody knows it, in bytes: Ethernet's.
const ETHERNET: u32 = 1_500;

/// The largest packet, in bytes, of networks that say nothing else: what every node's underlay carries beside VXLAN's headers.
/// One value for all, so that nobody's packets are too large for somebody.
pub fn overlay_mtu(cache: &Cache) -> u32 {
    let nodes = cache.nodes.iter();
    let nodes = nodes.filter(|(_, node)| node.deleted_at.is_none());
    let known = |node| underlay(cache, node).and_then(|underlay| underlay.mtu);
    let least = nodes.map(|(node, _)| known(node).unwrap_or(ETHERNET)).min();
    // The least that IPv4 must carry and the largest packet that there is, which the loopback's is not.
    let least = least.unwrap_or(ETHERNET).saturating_sub(VXLAN_HEADERS);
    least.clamp(576, 65_535)
}

/// Whether all nodes that are ready have said of their underlay what there is to say.
pub fn is_measured(cache: &Cache) -> bool {
    let has_said = |node: &NodeView<'_>| underlay(cache, &node.name).is_some();
    let nodes = nodes(cache);
    let mut ready = nodes.iter().filter(|node| node.state == NodeState::Ready);
    ready.all(has_said)
}

/// A node as planners see it.
#[derive(Clone, Debug)]
pub struct NodeView<'a> {
    /// Its name.
    pub name: NodeName,
    /// Its accepted record.
    pub accepted: &'a Stored<AcceptedNode>,
    /// What its engine says; a status of another uid does not exist.
    pub engine: Option<&'a EngineStatus>,
    /// Whether it can be worked with.
    pub state: NodeState,
    /// Why not, for people.
    pub reason: String,
    /// What was found on it beside the tasks.
    pub found: Option<&'a Found>,
}

impl NodeView<'_> {
    /// Its uid.
    pub fn uid(&self) -> &Uid {
        &self.accepted.uid
    }

    /// Whether it takes tasks, keeps them, or gives them up; a node that was deleted gives them up.
    pub fn availability(&self) -> Availability {
        match self.accepted.deleted_at {
            Some(_) => Availability::Drain,
            None => self.accepted.spec.availability,
        }
    }

    /// Where others reach it: what its object says, else what was found.
    pub fn address(&self) -> Option<IpAddr> {
        let found = self.engine.and_then(|engine| engine.address);
        self.accepted.spec.address.or(found)
    }

    /// Whether it takes new tasks.
    pub fn is_schedulable(&self) -> bool {
        self.state == NodeState::Ready && self.availability() == Availability::Active
    }
}

/// The node's view; none if it was never accepted or is forgotten.
pub fn node<'a>(cache: &'a Cache, name: &NodeName) -> Option<NodeView<'a>> {
    Some(seen(cache, name, cache.nodes.get(name)?))
}

/// The view of a node with this record.
fn seen<'a>(cache: &'a Cache, name: &NodeName, accepted: &'a Stored<AcceptedNode>) -> NodeView<'a> {
    let said = cache.statuses_of_node(name);
    let status = |controller: &str| {
        by(said, controller).filter(|status| status.uid.as_ref() == Some(&accepted.uid))
    };
    let engine = status(HEALTH).and_then(|status| status.value.engine.as_ref());
    let gone = status(NODE)
        .and_then(|status| {
            status
                .value
                .conditions
                .iter()
                .find(|condition| condition.kind == MANAGER_GONE)
        })
        .filter(|condition| condition.status == Truth::True);
    let (state, reason) = match (gone, engine) {
        (Some(condition), _) => (NodeState::Down, condition.message.clone()),
        (None, Some(engine)) => (engine.state, engine.message.clone().unwrap_or_default()),
        (None, None) => (
            NodeState::Unknown,
            "no manager has reached its engine yet".into(),
        ),
    };
    let found = status(TASK).and_then(|status| status.value.found.as_ref());
    NodeView {
        name: name.clone(),
        accepted,
        engine,
        state,
        reason,
        found,
    }
}

/// All nodes, by name.
pub fn nodes(cache: &Cache) -> Vec<NodeView<'_>> {
    let nodes = cache.nodes.iter();
    nodes
        .map(|(name, accepted)| seen(cache, name, accepted))
        .collect()
}

/// What placement constraints compare with; what the engine has not said yet is empty.
pub fn facts<'a>(node: &'a NodeView<'a>) -> Facts<'a> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    let engine = node.engine;
    let text = |field: fn(&EngineStatus) -> &Option<String>| {
        engine
            .and_then(|engine| field(engine).as_deref())
            .unwrap_or("")
    };
    Facts {
        id: node.accepted.value.uid.as_str(),
        name: node.name.as_str(),
        hostname: text(|engine| &engine.hostname),
        role: node.accepted.value.spec.role.as_str(),
        os: text(|engine| &engine.os),
        arch: text(|engine| &engine.arch),
        node_labels: &node.accepted.value.metadata.labels,
        engine_labels: engine.map_or(&NONE, |engine| &engine.labels),
    }
}

/// A task with where it is and what was seen of it.
#[derive(Clone, Debug)]
pub struct TaskView<'a> {
    /// What is wanted.
    pub task: &'a Stored<Task>,
    /// The node that it is bound to.
    pub node: Option<&'a NodeName>,
    /// The uid of that node at binding.
    pub node_uid: Option<&'a Uid>,
    /// What was seen of it.
    pub status: Option<&'a Stored<TaskStatus>>,
    /// Where it is in its life: stored, or derived before anything is stored.
    pub state: TaskState,
}

impl TaskView<'_> {
    /// Whether it gets traffic.
    pub fn is_serving(&self) -> bool {
        self.status.is_some_and(|status| status.is_serving())
    }

    /// Whether it ended.
    pub fn is_terminal(&self) -> bool {
        self.state.is_terminal()
    }

    /// Whether it is wanted and has not ended.
    pub fn is_live(&self) -> bool {
        self.task.desired <= Desired::Running && !self.is_terminal()
    }
}

/// The view of a task record.
pub fn task<'a>(cache: &'a Cache, task: &'a Stored<Task>) -> TaskView<'a> {
    let facets = cache.facets(&task.id);
    let binding = facets.and_then(|facets| facets.binding.as_ref());
    let status = facets
        .and_then(|facets| facets.status())
        .filter(|status| status.service == task.service);
    let state = match (status, binding) {
        (Some(status), _) => status.state,
        (None, Some(_)) => TaskState::Assigned,
        (None, None) => TaskState::Pending,
    };
    TaskView {
        task,
        node: binding.map(|(node, _)| node),
        node_uid: binding.map(|(_, binding)| &binding.value.node),
        status,
        state,
    }
}

/// The work keys that a change of a task's binding or status leads to: the task itself, where its record is there.
pub fn task_of(key: &Key) -> Option<&TaskId> {
    match key {
        Key::Task(_, task) | Key::Binding(_, task) | Key::TaskStatus(_, task) => Some(task),
        _ => None,
    }
}

/// Whether what runs is being adopted after a rewind or wipe: nothing is stopped or started (rule S6). It begins when the
/// store is seen to have gone back, a moment before the cluster's record says so.
pub fn is_adopting(cache: &Cache) -> bool {
    let is_begun = |record: &Stored<Cluster>| record.adopting_since.is_some();
    cache.rewound_in.is_some() || cache.cluster.as_ref().is_none_or(is_begun)
}
