//! Status: conditions as Kubernetes has them, and what each controller reports of each kind.
//!
//! Each controller writes its own key, `status/<plural>/[<ns>/]<name>/<controller>`; readers merge them.

use super::allocation::Vni;
use super::key::Key;
use super::name::Scoped;
use super::published::PublishedKey;
use super::subnet::{Cidr, Cidr6};
use super::task::{Slot, Stamp};
use super::time::Timestamp;
use super::uid::{ContainerId, TaskId, Uid, is_identifier};
use super::unit::{Bytes, Generation, Incarnation, NanoCpus, Revision, RevisionNumber};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// True, False or not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody knows.
    Unknown,
}

impl Truth {
    /// The word in conditions.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// One statement about an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about: `Accepted`, `Available`, `Progressing` ...
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: Truth,
    /// A `PascalCase` word for why.
    pub reason: String,
    /// The same for people.
    pub message: String,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
}

impl Condition {
    /// A condition that takes its transition time from `before` if the status is the same there.
    pub fn new(
        before: &[Self],
        now: Timestamp,
        kind: &str,
        status: Truth,
        reason: &str,
        message: impl Into<String>,
    ) -> Self {
        let since = before
            .iter()
            .find(|old| old.kind == kind && old.status == status);
        Self {
            kind: kind.into(),
            status,
            reason: reason.into(),
            message: message.into(),
            last_transition_time: since.map_or(now, |old| old.last_transition_time),
        }
    }
}

/// What one controller reports of one object, at `status/<plural>/[<ns>/]<name>/<controller>`.
///
/// The parts that do not concern the controller are absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The object's uid; none where nothing was ever accepted. A status of another uid does not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uid>,
    /// The generation that this speaks of; compared for equality.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<Generation>,
    /// Statements.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Controller `service`: counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ReplicaCounts>,
    /// Controller `service`: the change that is under way or halted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateStatus>,
    /// Controller `reaper` of a service: ended tasks beyond the bounds of history that were removed, in all (rule S8).
    #[serde(skip_serializing_if = "super::decode::is_default")]
    pub tasks_removed: u64,
    /// Controller `scheduler`: why tasks of the service wait.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Waiting>,
    /// Controller `scheduler`: when `waiting` was written; the next explanation follows after a rest (rule S8).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explained_at: Option<Timestamp>,
    /// Controller `health` of a node: what its engine says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineStatus>,
    /// Controller `task` of a node: containers that look like ours and follow from no record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
    /// Controller `task` of a node: what its agent says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub underlay: Option<Underlay>,
}

impl Status {
    /// The condition of this type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.kind == kind)
    }
}

/// What a node's agent says of the node that networks are laid over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Underlay {
    /// The largest packet, in bytes, of the link that has the node's address; none: no link has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The node's own addresses of IPv6, while a network there carries it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub addresses6: BTreeSet<Ipv6Addr>,
    /// Ports that programs of the node listen on, as far as services publish them or might be given them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub occupied: BTreeSet<PublishedKey>,
}

/// What the holder of a node's shard found on its engine beside the tasks that it knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Found {
    /// The store's life in which the engine was listed: adoption waits for the present one.
    pub incarnation: Incarnation,
    /// The highest (incarnation, store revision) in the labels of containers that are ours (rule S6).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highest: Option<(Incarnation, Revision)>,
    /// Whether labels name what this history of the store cannot have ordered: it went back (rule S6).
    #[serde(skip_serializing_if = "super::decode::is_default")]
    pub is_ahead: bool,
    /// Containers that no record and binding account for: by kind in the order of [`UnclaimedKind`], of another cluster
    /// one for each service; the oldest first, at most [`Found::LIMIT`].
    pub unclaimed: Vec<Unclaimed>,
    /// How many there are in all.
    pub total: u32,
    /// The engine's networks that were made in other lives of the store, which may have lost what their numbers were.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<FoundNetwork>,
    /// Containers of others in attachable networks, at most [`Found::STRANGERS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub strangers: Vec<Stranger>,
    /// Networks of the store that this node cannot have as things are, by their numbers, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<Vni, String>,
}

/// A network of ours that an engine has from another life of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundNetwork {
    /// What the engine calls it.
    pub name: String,
    /// The life in which it was made.
    pub incarnation: Incarnation,
    /// Its number on the wire.
    pub vni: Vni,
    /// Its subnet.
    pub subnet: Cidr,
    /// Its subnet of IPv6, if it was made with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet6: Option<Cidr6>,
    /// The part of it that the engine gives out by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<Cidr>,
}

/// A container of others that runs in an attachable network: it is reached like a task, and never touched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stranger {
    /// The network.
    pub network: Vni,
    /// Its address there.
    pub address: Ipv4Addr,
    /// Its address of IPv6 there, where that is not the one that goes with the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address6: Option<Ipv6Addr>,
    /// Its name.
    pub name: String,
    /// The container.
    pub container: ContainerId,
    /// Whether it has the hardware address that follows from its address: then its frames stay on bridges.
    #[serde(default, skip_serializing_if = "super::decode::is_default")]
    pub bridged: bool,
}

impl Found {
    /// So many are listed; the rest follow when these are dealt with. 200 records of 500 bytes stay far below 1 MiB.
    pub const LIMIT: usize = 200;

    /// So many containers of others are listed: more than the blocks of a hundred networks hold, of 200 bytes each.
    pub const STRANGERS: usize = 2_000;

    /// Whether there is more than is listed.
    pub fn is_cut(&self) -> bool {
        usize::try_from(self.total).is_ok_and(|total| total > self.unclaimed.len())
    }
}

/// A container that carries our labels and follows from no task that is bound to its node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unclaimed {
    /// The container.
    pub container: ContainerId,
    /// Its name.
    pub name: String,
    /// What it lacks.
    pub kind: UnclaimedKind,
    /// Whether it runs.
    pub running: bool,
    /// When it was first seen so, by this holder's clock.
    pub since: Timestamp,
    /// The addresses that it has while it runs: its engine gives them to nobody else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// What its labels say; none where they cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
}

/// What a container lacks. In order of how much hangs on it, because the list is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum UnclaimedKind {
    /// It is ours (rule C1), and its task has a record and no binding: the store was restored from between the two. The
    /// task is bound to where its container is.
    Unbound,
    /// It is ours: its record was lost, or the store was restored or wiped.
    Lost,
    /// It is ours, and its task is bound to another node. Bindings never move, so nothing but a person's hand or an
    /// older version of this software leads there.
    Stray,
    /// It carries our labels, but its name does not end in its task's id: a copy (`docker commit`), never ours.
    Imposter,
    /// It carries another cluster's id.
    ForeignCluster,
}

/// What the labels of a task's container say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The cluster.
    pub cluster: Uid,
    /// The task.
    pub task: TaskId,
    /// The service's uid.
    pub service: Uid,
    /// The service's namespace.
    pub namespace: String,
    /// The service's name.
    pub name: String,
    /// The slot.
    pub slot: Slot,
    /// The revision's number.
    pub revision: RevisionNumber,
    /// The revision's hash.
    pub hash: String,
    /// The node's uid.
    pub node: Uid,
    /// When the container was ordered.
    pub stamp: Stamp,
}

impl Claim {
    /// The key of the task's record; none where the labels make no key that reads back as a task's.
    pub fn key(&self) -> Option<Key> {
        let service = Scoped::new(&*self.namespace, &*self.name);
        let key = Key::Task(service, self.task.clone());
        let is_readable = Key::parse(&key.to_string()).as_ref() == Some(&key);
        (is_identifier(self.task.as_str()) && is_readable).then_some(key)
    }
}

/// How many tasks of a service are where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaCounts {
    /// Asked for.
    pub wanted: u32,
    /// Running.
    pub running: u32,
    /// Serving: running and, where there is a check, healthy.
    pub ready: u32,
    /// Serving, and of the newest revision.
    pub updated: u32,
    /// Waiting for a node.
    pub pending: u32,
}

/// Where the change of a service stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStatus {
    /// The revision that is being rolled out.
    pub revision: RevisionNumber,
    /// `updating`, `paused` or `completed`.
    pub state: UpdateState,
    /// Why it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Whether a change goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpdateState {
    /// Tasks are being replaced.
    Updating,
    /// A new task failed; the rest of the old ones goes on.
    Paused,
    /// All tasks are of the newest revision.
    Completed,
}

/// Why tasks of a revision wait: written once per service revision and again when it changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// The revision of the tasks that wait.
    pub revision: RevisionNumber,
    /// How many wait.
    pub tasks: u32,
    /// Per filter: how many nodes it refused.
    pub filters: BTreeMap<String, u32>,
    /// Per node: the first filter that refused it, and why, with the numbers.
    pub nodes: BTreeMap<String, Refusal>,
    /// One line for people: `no suitable node: 2 of 3 ...`.
    pub message: String,
}

/// Why a node cannot take a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The first filter that refused it.
    pub filter: String,
    /// Why, with the numbers.
    pub message: String,
}

/// Whether a node can be worked with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Its engine answers and is the right one.
    Ready,
    /// Its engine has not answered for longer than the grace: its tasks are replaced.
    Down,
    /// Not known (yet, or any more).
    #[default]
    Unknown,
}

impl NodeState {
    /// The word in tables and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

/// What an engine says of itself and how it can be reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EngineStatus {
    /// Whether it can be worked with.
    pub state: NodeState,
    /// A `PascalCase` word for why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The engine's own id, recorded at first contact (rule I4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The engine's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The API version spoken with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// The host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// `linux`, `windows`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// `x86_64`, `aarch64` ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// Processors.
    pub cpus: NanoCpus,
    /// Memory.
    pub memory: Bytes,
    /// Labels of the engine (`engine.labels.*`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Volume, network and log plugins as `kind/name`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<String>,
    /// The node's address for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}
