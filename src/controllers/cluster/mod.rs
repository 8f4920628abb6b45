//! The cluster: its identity, the lives of its store, and keys that mean nothing.
//!
//! Watches `cluster`, `accepted/nodes`, what is found on nodes (`status/nodes/*`), broken records and unknown keys. Writes
//! `cluster`, and compacts the store (`maintenance`).
//!
//! Invariants:
//! - The record is made once (rule I3). When it is gone, the process that knew one writes it back with a higher
//!   incarnation; one that knew none makes a new one, or takes the id that `--cluster-id` gives.
//! - The incarnation rises when the store went back (rule S6): seen by the watcher, by a record older than the one that
//!   was known, or by labels that are ahead of the store. With it `adoptingSince` is set, and everyone stands still.
//! - Adopting ends when each node has been looked at in this life of the store, or is known not to answer.
//! - A record of a newer format, of another cluster than this process served, or one that cannot be read is refused:
//!   [`refusal`] says so, the application ends, nothing is written.
//! - Unknown keys and broken records stop nothing: they are told of once per process, and recorders count.
//!
//! The record has no status key: readers list `Cache::unknown` and `Cache::broken` themselves (`skep status`).
//!
//! Deliberately absent: reading etcd's /metrics for the quota (`--store-quota` or the answer of etcd 3.6 gives it).

mod compaction;
mod maintenance;
mod memory;
mod plan;
mod run;
mod snapshot;
mod status;

#[cfg(test)]
mod tests;

pub use compaction::Compaction;
pub use maintenance::{Maintenance, StoreReport, maintain};
pub use memory::ProcessMemory;
pub use plan::{Refusal, refusal};
pub use run::{Settings, run};

use crate::api::key::Key;
use crate::api::uid::Ids;
use crate::runtime::cache::Cache;
use crate::runtime::clock::Now;
use crate::runtime::controller::Controller;
use crate::runtime::plan::Plan;
use std::fmt;
use std::sync::Arc;

/// The controller.
#[derive(Debug)]
pub struct ClusterController {
    memory: Arc<ProcessMemory>,
}

/// The only thing that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whole;

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cluster")
    }
}

impl ClusterController {
    /// A controller over what the process remembers.
    pub fn new(memory: Arc<ProcessMemory>) -> Self {
        Self { memory }
    }
}

impl Controller for ClusterController {
    const NAME: &'static str = "cluster";

    type Work = Whole;

    fn work(&self, key: &Key, cache: &Cache) -> Vec<Whole> {
        let concerns = match key {
            // What another manager saw of the store.
            Key::Cluster | Key::Manager(_) => true,
            Key::Accepted(object) => object.kind == crate::api::name::Kind::Node,
            Key::Status(object, _) => object.kind == crate::api::name::Kind::Node,
            Key::User(_)
            | Key::Scale(_)
            | Key::Revision(..)
            | Key::Task(..)
            | Key::Binding(..)
            | Key::TaskStatus(..)
            | Key::Allocation(_)
            | Key::Election(..)
            | Key::Shard(_) => false,
        };
        // Asked of each change of a task: mostly nothing is broken.
        let is_broken = || !cache.broken.is_empty() && cache.broken.contains_key(&key.to_string());
        if concerns || is_broken() {
            vec![Whole]
        } else {
            Vec::new()
        }
    }

    fn all_work(&self, _: &Cache) -> Vec<Whole> {
        vec![Whole]
    }

    fn plan(&self, _: &Whole, cache: &Cache, now: Now, ids: &mut Ids) -> Plan {
        let memory = self.memory.look(cache, now);
        let snapshot = snapshot::take(cache, memory, self.memory.told_id(), now);
        let plan = plan::plan(&snapshot, ids);
        self.memory.told(cache);
        plan
    }
}
