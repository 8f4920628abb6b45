//! The cluster's identity, its managers, and events.

use super::time::Timestamp;
use super::uid::Uid;
use super::unit::Incarnation;
use serde::{Deserialize, Serialize};

/// The format of the store that this version writes. A manager refuses a newer one.
pub const FORMAT: u32 = 1;

/// The record at `cluster`: made once, written back if lost (rule I3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// What containers and networks carry as `dev.skep.cluster`.
    pub id: Uid,
    /// The store's life.
    pub incarnation: Incarnation,
    /// The format of the store.
    pub format: u32,
    /// Until this is unset again nothing is stopped or started: what runs is being adopted after a rewind (rule S6).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopting_since: Option<Timestamp>,
    /// Why no manager serves this store; none: they may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// Why no manager serves a store: the cluster moves (`skep store copy`), or is on its way in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Held {
    /// It was copied to the store that is named: this one is its past.
    MovedTo(String),
    /// It is being filled from what is named, and not whole yet.
    FilledFrom(String),
}

/// A live manager, at `managers/<id>`, on a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manager {
    /// What `spec.manager` of a node compares with.
    pub name: String,
    /// The host's name.
    pub hostname: String,
    /// The version of skep.
    pub version: String,
    /// The controllers that it runs.
    pub controllers: Vec<String>,
    /// Where its metrics are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// When it started.
    pub started_at: Timestamp,
    /// The life of the store that it saw end: the store went back, and no record says so yet. Who leads `cluster` may
    /// have heard nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saw_end_of: Option<Incarnation>,
}

/// The value of an election or shard key: who holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The manager's name.
    pub manager: String,
    /// When it was claimed.
    pub since: Timestamp,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// In the ordinary course.
    Normal,
    /// Somebody may have to act.
    Warning,
}

/// Something that happened to an object, at `/skep-events/<ns>/<id>`; repeated ones are counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The tail of the object's key (`services/default/web`, `nodes/n1`, `tasks/default/web/<id>`).
    pub object: String,
    /// Its uid, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uid>,
    /// How much it matters.
    pub severity: Severity,
    /// A `PascalCase` word.
    pub reason: String,
    /// The same for people.
    pub message: String,
    /// The controller that reports it.
    pub controller: String,
    /// How often it happened.
    pub count: u64,
    /// When first.
    pub first: Timestamp,
    /// When last.
    pub last: Timestamp,
}
