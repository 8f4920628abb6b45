//! What a process remembers of the cluster. It is lost with the process, and nothing but caution rests on it.

use super::snapshot;
use crate::api::cluster::Cluster;
use crate::api::uid::Uid;
use crate::api::unit::Incarnation;
use crate::runtime::cache::Cache;
use crate::runtime::clock::Now;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// What this process saw of the cluster, shared by the controller and whoever feeds it.
///
/// Every process calls [`ProcessMemory::observe`] after each listing and change of the record, leading or not: only so
/// can the one that leads after a wipe write back what it knew.
#[derive(Debug, Default)]
pub struct ProcessMemory {
    /// `--cluster-id`: a record with this id is served whatever was known before.
    told_id: Option<Uid>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    known: Option<Cluster>,
    told: BTreeSet<String>,
    adopting: Option<(Incarnation, Duration)>,
}

/// The memory as plain data.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Remembered {
    /// The cluster that this process served, with the highest incarnation that it saw.
    pub(super) known: Option<Cluster>,
    /// Keys that users were told of.
    pub(super) told: BTreeSet<String>,
    /// How long this process has seen the present adopting, by its own clock.
    pub(super) adopting: Duration,
}

impl ProcessMemory {
    /// The memory of a process that has seen nothing yet; `told_id` is `--cluster-id`.
    pub fn new(told_id: Option<Uid>) -> Self {
        Self {
            told_id,
            inner: Mutex::default(),
        }
    }

    /// `--cluster-id`.
    pub(super) fn told_id(&self) -> Option<Uid> {
        self.told_id.clone()
    }

    /// Remembers the cluster's record. A record of another cluster is not taken over: see [`super::refusal`].
    pub fn observe(&self, cache: &Cache) {
        let Some(record) = &cache.cluster else {
            return;
        };
        let mut inner = self.lock();
        let is_served = |known: &Cluster| match known.id == record.id {
            true => known.incarnation <= record.incarnation,
            false => self.told_id.as_ref() == Some(&record.id),
        };
        if inner.known.as_ref().is_none_or(is_served) {
            inner.known = Some(record.value.as_ref().clone());
        }
    }

    /// The cluster that this process serves.
    pub fn known(&self) -> Option<Cluster> {
        self.lock().known.clone()
    }

    /// Observes, and gives everything as data.
    pub(super) fn look(&self, cache: &Cache, now: Now) -> Remembered {
        self.observe(cache);
        let mut inner = self.lock();
        let life = cache
            .cluster
            .as_ref()
            .filter(|cluster| cluster.adopting_since.is_some())
            .map(|cluster| cluster.incarnation);
        inner.adopting = match (life, inner.adopting) {
            (Some(life), Some((seen, since))) if life == seen => Some((life, since)),
            (Some(life), _) => Some((life, now.since_boot)),
            (None, _) => None,
        };
        Remembered {
            known: inner.known.clone(),
            told: inner.told.clone(),
            adopting: inner.adopting.map_or(Duration::ZERO, |(_, since)| {
                now.since_boot.saturating_sub(since)
            }),
        }
    }

    /// Remembers that users were told of all that is unknown, broken or foreign now; what was mended is told of again.
    pub(super) fn told(&self, cache: &Cache) {
        let nodes = snapshot::nodes(cache);
        let foreign = snapshot::suspects(&nodes);
        let foreign = foreign.iter().map(|(node, id)| snapshot::told_of(node, id));
        self.lock().told = cache
            .unknown
            .iter()
            .chain(cache.broken.keys())
            .cloned()
            .chain(foreign)
            .collect();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .expect("no code panics while it holds the memory")
    }
}
