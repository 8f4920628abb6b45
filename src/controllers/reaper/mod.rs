//! The reaper: bounds history, deletes task records that nothing is left of, and takes care of lost containers.
//!
//! Watches tasks, bindings, task statuses, nodes, services, the cluster and what was found on nodes. Writes tasks (desired
//! `shutdown` -> `remove`, deletions, records of lost containers), `status/nodes/<name>/reaper`, and
//! `status/services/<ns>/<name>/reaper` (how much history it let go).
//!
//! Invariants:
//! - Every write of a task compares the record (or its absence): the service controller writes tasks too.
//! - A record goes only when its container is confirmed gone, it never had a place, or its node is forgotten.
//! - A container is removed only through a record with desired `remove` (rule C2), never because a list lacks or shows it.
//! - A lost container is taken only in ordinary life (rule C3): it was made in this life of the store, its service does
//!   not want it, both a stored time and this process's own clock (rule N4) say that it has waited, and the rate allows it.
//! - Containers of other clusters, copies of ours, and those whose task is on another node are told of and never touched.
//! - Nothing is done while what runs is being adopted.
//!
//! The rate's counter is in the store: records that the reaper made stay for ten minutes and are counted.
//!
//! Deliberately absent: `skep reap` (the CLI makes those records itself, with another reason).

mod plan;
mod snapshot;
mod status;
mod unclaimed;

#[cfg(test)]
mod tests;

use crate::api::key::Key;
use crate::api::name::{Kind, Scoped};
use crate::api::task::Desired;
use crate::api::uid::Ids;
use crate::runtime::cache::Cache;
use crate::runtime::clock::Now;
use crate::runtime::controller::Controller;
use crate::runtime::plan::Plan;
use crate::runtime::view;
use snapshot::{Ages, Sight};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// The controller.
#[derive(Debug, Default)]
pub struct Reaper {
    /// When this process first saw what it would take, by its own clock. It only ever delays: a new leader waits anew.
    first_seen: Mutex<BTreeMap<Sight, Duration>>,
}

/// What the reaper looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// The tasks under one service's name.
    Service(Scoped),
    /// The history of the whole cluster.
    History,
    /// What was found on all nodes: one key, because the rate is one for the fleet.
    Unclaimed,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(service) => write!(f, "services/{service}"),
            Self::History => f.write_str("history"),
            Self::Unclaimed => f.write_str("unclaimed"),
        }
    }
}

impl Reaper {
    /// How long this process has known each of `sights`.
    fn ages(&self, sights: BTreeSet<Sight>, now: Now) -> Ages {
        let mut first_seen = self.memory();
        sights
            .into_iter()
            .map(|sight| {
                let first = *first_seen.entry(sight.clone()).or_insert(now.since_boot);
                (sight, now.since_boot.saturating_sub(first))
            })
            .collect()
    }

    /// Forgets all but `sights`.
    fn forget_others(&self, sights: &BTreeSet<Sight>) {
        self.memory().retain(|sight, _| sights.contains(sight));
    }

    fn memory(&self) -> MutexGuard<'_, BTreeMap<Sight, Duration>> {
        self.first_seen
            .lock()
            .expect("no code panics while it holds the memory")
    }
}

impl Controller for Reaper {
    const NAME: &'static str = "reaper";

    type Work = Work;

    fn work(&self, key: &Key, cache: &Cache) -> Vec<Work> {
        let service = |service: &Scoped| vec![Work::Service(service.clone()), Work::History];
        match key {
            // What is wanted is none of its business, and most of what changes is.
            Key::Task(name, task) => match cache.task(task) {
                Some((_, task)) if task.desired <= Desired::Running => Vec::new(),
                Some(_) | None => service(name),
            },
            Key::Binding(_, task) | Key::TaskStatus(_, task) => match cache.task(task) {
                Some((name, task)) if task.desired > Desired::Running => service(name),
                Some(_) | None => Vec::new(),
            },
            Key::Status(_, controller) if controller == view::TASK => vec![Work::Unclaimed],
            Key::Cluster => self.all_work(cache),
            // A node that is forgotten frees the records that were bound to it.
            Key::Accepted(object) if object.kind == Kind::Node => self.all_work(cache),
            Key::Accepted(object) if object.kind == Kind::Service => {
                vec![Work::Service(object.scoped()), Work::Unclaimed]
            }
            Key::Accepted(_) => vec![Work::Unclaimed],
            Key::Status(..)
            | Key::User(_)
            | Key::Scale(_)
            | Key::Revision(..)
            | Key::Allocation(_)
            | Key::Election(..)
            | Key::Manager(_)
            | Key::Shard(_) => Vec::new(),
        }
    }

    fn all_work(&self, cache: &Cache) -> Vec<Work> {
        let counted = cache
            .statuses
            .keys()
            .filter(|(object, reporter)| object.kind == Kind::Service && reporter == Self::NAME)
            .map(|(object, _)| object.scoped());
        let tasks = cache.tasks.keys().map(|(name, _)| name.clone());
        let services: BTreeSet<Scoped> = tasks.chain(counted).collect();
        services
            .into_iter()
            .map(Work::Service)
            .chain([Work::History, Work::Unclaimed])
            .collect()
    }

    fn plan(&self, work: &Work, cache: &Cache, now: Now, _: &mut Ids) -> Plan {
        if view::is_adopting(cache) {
            return Plan::default();
        }
        match work {
            Work::Service(name) => {
                let ages = self.ages(snapshot::records_of(cache, name), now);
                plan::service(&snapshot::service(cache, name, &ages, now))
            }
            Work::History => plan::history(cache, now),
            Work::Unclaimed => {
                let sights = snapshot::sights(cache);
                self.forget_others(&sights);
                let ages = self.ages(sights, now);
                unclaimed::plan(&snapshot::fleet(cache, &ages, now))
            }
        }
    }
}
