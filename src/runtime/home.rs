//! Where tasks without a binding belong, after a store went back to before they were bound (rule S6). Pure.
//!
//! A restored store may have a task's record and not its binding. Where the task's container was found, it is bound
//! again. Where it was not, it may be on a node that has not been looked at since: until all have been it is bound nowhere,
//! and given up for another. Its record stays, so that a node that returns with its container gets it removed.

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
    /// Nobody knows: it is of an earlier life of the store, may have been bound, and not all nodes were looked at since.
    Unknown,
}

/// The homes of all tasks without a binding.
#[derive(Clone, Debug)]
pub struct Homes<'a> {
    found: BTreeMap<&'a TaskId, NodeName>,
    /// What was recorded earlier may have been bound and lost its binding.
    certain_since: Revision,
}

impl<'a> Homes<'a> {
    /// Looks at what was found on the nodes in this life of the store. Of several containers of a task one that runs
    /// counts, then the one that was ordered last.
    pub fn new<'n>(cache: &'a Cache, nodes: impl Iterator<Item = &'n NodeView<'a>> + Clone) -> Self
    where
        'a: 'n,
    {
        let life = cache.incarnation();
        let mut best: BTreeMap<&TaskId, (_, &NodeName)> = BTreeMap::new();
        for node in nodes.clone() {
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
        let is_looked_at = |node: &NodeView<'_>| {
            let found = node.found.filter(|found| found.incarnation == life);
            found.is_some_and(|found| !found.is_cut())
        };
        // Its record was written when the present life began, and when adopting ended.
        let begun = cache.cluster.as_ref().map(|cluster| cluster.mod_revision);
        let begun = begun.filter(|_| !nodes.clone().all(is_looked_at));
        let found = best
            .into_iter()
            .map(|(task, (_, node))| (task, node.clone()));
        Self {
            found: found.collect(),
            certain_since: begun.unwrap_or(Revision(0)),
        }
    }

    /// The home of a task without a binding.
    pub fn of<'b>(&'b self, task: &'b Stored<Task>) -> Home<'b> {
        let found = task.adopted_from.as_ref();
        match (found.or_else(|| self.found.get(&task.id)), &task.slot) {
            (Some(node), _) => Home::On(node),
            // A global service's task was on its node or nowhere.
            (None, Slot::Replica(_)) if task.create_revision < self.certain_since => Home::Unknown,
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
