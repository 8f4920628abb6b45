//! Where tasks without a binding belong, after a store went back to before they were bound (rule S6). Pure.
//!
//! A restored store may have a task's record and not its binding. Where the task's container was found, it is bound
//! again. Where it was not, it may be on a node that did not answer while what runs was adopted: it is bound nowhere, and
//! given up for another, so that a node that returns with its container doubles no task.

use super::cache::{Cache, Stored};
use super::view::NodeView;
use crate::api::name::NodeName;
use crate::api::status::{Unclaimed, UnclaimedKind};
use crate::api::task::{Slot, Task};
use crate::api::uid::TaskId;
use crate::api::unit::Revision;
use std::collections::BTreeMap;

/// Where a task without a binding belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home<'a> {
    /// To this node: its container was found there.
    On(&'a NodeName),
    /// To any: it never was anywhere.
    Anywhere,
    /// Nobody knows: it is of an earlier life of the store, and may have been bound.
    Unknown,
}

/// The homes of all tasks without a binding.
#[derive(Clone, Debug)]
pub struct Homes<'a> {
    found: BTreeMap<&'a TaskId, NodeName>,
    /// When adopting ended, or the present life of the store began.
    begun: Revision,
}

impl<'a> Homes<'a> {
    /// Looks at what was found on the nodes in this life of the store. Of several containers of a task one that runs
    /// counts, then the one that was ordered last.
    pub fn new(cache: &'a Cache, nodes: &[NodeView<'a>]) -> Self {
        let life = cache.incarnation();
        let mut best: BTreeMap<&TaskId, (_, &NodeName)> = BTreeMap::new();
        for node in nodes {
            let found = node.found.filter(|found| found.incarnation == life);
            for one in found.into_iter().flat_map(|found| &found.unclaimed) {
                let Some(claim) = one.claim.as_ref().filter(|_| is_unbound(cache, one)) else {
                    continue;
                };
                let rank = (one.running, claim.stamp);
                let known = best.entry(&claim.task).or_insert((rank, &node.name));
                if known.0 < rank {
                    *known = (rank, &node.name);
                }
            }
        }
        let found = best
            .into_iter()
            .map(|(task, (_, node))| (task, node.clone()));
        Self {
            found: found.collect(),
            begun: cache
                .cluster
                .as_ref()
                .map_or(Revision(0), |cluster| cluster.mod_revision),
        }
    }

    /// The home of a task without a binding.
    pub fn of<'b>(&'b self, task: &'b Stored<Task>) -> Home<'b> {
        let found = task.adopted_from.as_ref();
        match (found.or_else(|| self.found.get(&task.id)), &task.slot) {
            (Some(node), _) => Home::On(node),
            // A global service's task was on its node or nowhere.
            (None, Slot::Replica(_)) if task.create_revision < self.begun => Home::Unknown,
            (None, Slot::Replica(_) | Slot::Node(_)) => Home::Anywhere,
        }
    }
}

/// Whether a container's task waits for a binding: the list is older than the cache.
fn is_unbound(cache: &Cache, one: &Unclaimed) -> bool {
    let claim = one.claim.as_ref();
    one.kind == UnclaimedKind::Unbound
        && claim.is_some_and(|claim| {
            cache.facets(&claim.task).is_some_and(|facets| {
                let task = facets.task.as_ref();
                facets.binding.is_none()
                    && task.is_some_and(|(_, task)| task.service == claim.service)
            })
        })
}
