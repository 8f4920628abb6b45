//! Task, binding and what was seen of a task: three keys with three writers.

use super::container::Reservations;
use super::name::{DEFAULT_NAMESPACE, NodeName, Scoped};
use super::service::{Protocol, ServicePort, Template};
use super::text::Text;
use super::time::Timestamp;
use super::uid::{ContainerId, TaskId, Uid};
use super::unit::{Incarnation, Port, Revision, RevisionNumber, Term};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// An immutable copy of what a service's tasks are made from, at `revisions/<service-uid>/<n>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRevision {
    /// The service.
    pub service: Uid,
    /// Counts the service's revisions from 1.
    pub number: RevisionNumber,
    /// SHA-256 over what replaces tasks, in hexadecimal (`api/hash.rs`).
    pub hash: String,
    /// The template.
    pub template: Template,
    /// The ports of mode host; they are fixed when a container is made, so a change replaces tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<ServicePort>,
    /// Why it was made, for people.
    pub cause: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The place of a task within its service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Slot {
    /// The n-th replica, from 1.
    Replica(u32),
    /// The one on this node (global services).
    Node(NodeName),
}

/// `3` or the node's name, as in container names.
impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(number) => write!(f, "{number}"),
            Self::Node(node) => write!(f, "{node}"),
        }
    }
}

/// What is wanted of a task; only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desired {
    /// Prepared (container made, not started).
    Ready,
    /// Running.
    Running,
    /// Stopped; its record and container stay as history.
    Shutdown,
    /// Gone: container removed, then the records.
    Remove,
}

/// What is wanted of one task, at `tasks/<ns>/<service>/<task-id>`; never moves between nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Its id, as in its key.
    pub id: TaskId,
    /// The service.
    pub service: Uid,
    /// What it is made from.
    pub revision: RevisionNumber,
    /// Its place.
    pub slot: Slot,
    /// What is wanted of it.
    pub desired: Desired,
    /// Why `desired` last changed (`ScaledDown`, `Updated`, `Failed`, `NodeLost`, `Drained` ...).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The task that it takes over from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<TaskId>,
    /// Failures in a row in this slot before it.
    #[serde(default, skip_serializing_if = "super::decode::is_default")]
    pub failures: u32,
    /// For a replacement that waits (desired `ready`): promoted to `running` no earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When `desired` became `shutdown` or `remove`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The node, where it was known when the record was rebuilt from a container's labels (rule C3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted_from: Option<NodeName>,
}

/// The name of a task's container: `[<ns>_]<service>.<slot>.<task-id>`.
pub fn container_name(service: &Scoped, slot: &Slot, task: &TaskId) -> String {
    format!("{}.{slot}.{task}", service_name(service))
}

/// A service as dashboards know it: `web`, outside the default namespace `shop_web`.
pub fn service_name(service: &Scoped) -> String {
    match service.namespace.as_str() {
        DEFAULT_NAMESPACE => service.name.to_string(),
        namespace => format!("{namespace}_{}", service.name),
    }
}

/// A network as engines know it: `front`, outside the default namespace `shop_front`; what engines call networks of their own
/// has its namespace in front there, too.
pub fn network_name(network: &Scoped) -> String {
    match network.name.as_str() {
        "bridge" | "default" | "host" | "none" => {
            format!("{}_{}", network.namespace, network.name)
        }
        _ => service_name(network),
    }
}

/// Where a task runs and what it holds there, at `bindings/<node>/<task-id>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// The task.
    pub task: TaskId,
    /// Its service.
    pub service: Uid,
    /// The service's namespace and name: where the task's record is.
    pub namespace: Text,
    /// See `namespace`.
    pub service_name: Text,
    /// The node's uid.
    pub node: Uid,
    /// What is kept for it.
    #[serde(default, skip_serializing_if = "super::decode::is_default")]
    pub reserved: Reservations,
    /// Host ports that it takes; only those with a number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<HostPort>,
    /// When it was bound.
    pub bound_at: Timestamp,
}

/// A port of a node that a task takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPort {
    /// The port on the node.
    pub published: Port,
    /// The protocol.
    pub protocol: Protocol,
    /// The only address it is open on; none: all.
    #[serde(default, rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
    /// The port inside.
    pub target: Port,
}

/// The life of a task: Swarm's names and order. Observed state only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Made (derived, never stored).
    New,
    /// Waits for a node (derived, never stored).
    Pending,
    /// Bound to a node (derived, never stored).
    Assigned,
    /// Taken up by the node's manager (derived, never stored).
    Accepted,
    /// Its image is being pulled.
    Preparing,
    /// Its container is made.
    Ready,
    /// Committed to be started; a start may be on its way.
    Starting,
    /// Its container runs.
    Running,
    /// Its container ended with exit code 0.
    Complete,
    /// Its container ended otherwise, is gone, or could not be started.
    Failed,
    /// Its container was stopped as asked.
    Shutdown,
    /// It cannot run here (no such image, bad configuration).
    Rejected,
    /// Its node is gone for good.
    Orphaned,
}

impl TaskState {
    /// Every state in order.
    pub const ALL: [Self; 13] = [
        Self::New,
        Self::Pending,
        Self::Assigned,
        Self::Accepted,
        Self::Preparing,
        Self::Ready,
        Self::Starting,
        Self::Running,
        Self::Complete,
        Self::Failed,
        Self::Shutdown,
        Self::Rejected,
        Self::Orphaned,
    ];

    /// Whether the task has ended: its container does not run and never will again.
    pub fn is_terminal(self) -> bool {
        self > Self::Running
    }

    /// The word in tables, metrics and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Shutdown => "shutdown",
            Self::Rejected => "rejected",
            Self::Orphaned => "orphaned",
        }
    }
}

/// What a health check said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It has not decided yet.
    Starting,
    /// Well.
    Healthy,
    /// Not well.
    Unhealthy,
}

/// What was seen of a task, at `status/tasks/<node>/<task-id>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// The task.
    pub task: TaskId,
    /// Its service; a status of another service's uid does not exist.
    pub service: Uid,
    /// The node's uid.
    pub node: Uid,
    /// Where it is in its life.
    pub state: TaskState,
    /// `PascalCase` word for why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerId>,
    /// The container's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// What its health check says; none: it has no check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Its addresses on the engine's networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Those of them whose hardware addresses are the ones that follow from them, as engines before 28 give them: frames
    /// for them may stay on bridges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bridged: Vec<Ipv4Addr>,
    /// Its open host ports, also those that the engine chose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<HostPort>,
    /// When the engine started the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the container ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// When `state` last changed.
    pub since: Timestamp,
}

impl TaskStatus {
    /// Whether the task gets traffic: it runs and its health check, if any, says that it is well.
    pub fn is_serving(&self) -> bool {
        self.state == TaskState::Running && matches!(self.health, None | Some(Health::Healthy))
    }
}

/// When an order was given, compared as a whole: a later life of the store wins, then a later term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stamp {
    /// The store's life.
    pub incarnation: Incarnation,
    /// The right to write.
    pub term: Term,
    /// The store revision that the order rests on.
    pub revision: Revision,
}
