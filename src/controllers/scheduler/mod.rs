//! Controller `scheduler`: a node for each task that waits.
//!
//! Watches: `tasks/*`, `bindings/*`, `status/tasks/*`, `accepted/services/*`, `revisions/*`, `accepted/nodes/*`,
//! `status/nodes/*`, `allocations/ports/*`, `cluster`.
//!
//! Writes: `bindings/*` (made once and never changed; deleted when the task's record is gone, or the node is and the task
//! has been given up) and `status/services/<ns>/<name>/scheduler`, why tasks wait.
//!
//! All waiting tasks are one work item: each choice changes what the next one finds, so they are made in one pass over one
//! view, with usage kept up to date on the way.
//!
//! Invariants:
//! - A task is bound once and never moves: each binding compares the task's record, and nobody else makes one (rule S4).
//! - What a task holds (processors, memory, host ports) is free when it was seen stopped or its binding is gone, not when
//!   it should stop (rule C6).
//! - A global task goes to its node or nowhere. A task whose container was found goes to the container's node, unasked:
//!   its record was rebuilt from the container, or its binding was lost (rule S6).
//! - While what runs is being adopted nothing else is bound (rule S6).
//! - Every task that waits is explained, per node, with the numbers.
//!
//! Deliberately absent: moving tasks for balance, preemption, and choosing free host ports (the engine does that).

mod explain;
mod filter;
mod plan;
mod score;
mod snapshot;
mod status;

#[cfg(test)]
mod tests;

use crate::api::allocation::Item;
use crate::api::key::Key;
use crate::api::name::Kind;
use crate::api::uid::Ids;
use crate::runtime::cache::Cache;
use crate::runtime::clock::Now;
use crate::runtime::controller::Controller;
use crate::runtime::plan::Plan;
use std::fmt;

/// The name in keys.
const SCHEDULER: &str = "scheduler";

/// The controller of bindings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scheduler;

/// All that waits, at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pass;

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("all")
    }
}

impl Controller for Scheduler {
    const NAME: &'static str = SCHEDULER;
    // Whatever starts waits for it.
    const REST: u32 = 1;
    type Work = Pass;

    fn work(&self, key: &Key, cache: &Cache) -> Vec<Pass> {
        let matters = match key {
            Key::Task(..) | Key::Revision(..) | Key::Cluster => true,
            // What was bound was counted by the pass that bound it; what is bound no longer makes room.
            Key::Binding(node, task) => {
                let bound = cache.binding(task);
                bound.is_none_or(|(on, _)| on != node)
            }
            // A task holds what it was bound with until it is seen to have ended, whatever happens to it before.
            Key::TaskStatus(node, task) => {
                let facets = cache.facets(task);
                let status = facets.and_then(|facets| facets.status_on(node));
                status.is_none_or(|status| status.state.is_terminal())
            }
            Key::Accepted(object) => object.kind != Kind::Network,
            // A port that nobody publishes any more is free on nodes.
            Key::Allocation(item @ Item::Port(_)) => cache.allocations.get(item).is_none(),
            Key::Status(object, controller) => object.kind == Kind::Node || controller == SCHEDULER,
            Key::User(_)
            | Key::Scale(_)
            | Key::Allocation(_)
            | Key::Election(..)
            | Key::Manager(_)
            | Key::Shard(_) => false,
        };
        matters.then_some(Pass).into_iter().collect()
    }

    fn all_work(&self, _: &Cache) -> Vec<Pass> {
        vec![Pass]
    }

    fn plan(&self, _: &Pass, cache: &Cache, now: Now, ids: &mut Ids) -> Plan {
        plan::plan(cache, now, ids)
    }
}
