//! What one plan for one node rests on. Pure.

use super::accept::is_socket;
use crate::api::accepted::AcceptedNode;
use crate::api::name::{NodeName, ObjectKey};
use crate::api::status::{Condition, Found, Status, UnclaimedKind};
use crate::api::text::Text;
use crate::api::uid::TaskId;
use crate::api::unit::Incarnation;
use crate::planted::{Bug, planted};
use crate::runtime::cache::{Cache, Stored};
use crate::runtime::clock::Now;
use crate::runtime::view;

/// So many keys are deleted in one step, within the limits of a transaction (rule S7); what is left follows.
const AT_ONCE: usize = 100;

/// What one plan rests on.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// The node.
    pub name: &'a NodeName,
    /// What the user wrote.
    pub user: Option<&'a Stored<Vec<u8>>>,
    /// The record in force.
    pub accepted: Option<&'a Stored<AcceptedNode>>,
    /// What this controller reported last.
    pub status: Option<&'a Status>,
    /// What the holder of the node's shard found.
    pub found: Option<&'a Found>,
    /// Who reports of the node, to clean up after it.
    pub reporters: Vec<&'a str>,
    /// Whether an agent of ours is on it.
    pub has_agent: bool,
    /// Whether tasks are bound to it or were seen on it.
    pub has_tasks: bool,
    /// Tasks without a record that were seen on the node, where it has none either: nobody else takes away what was seen.
    pub left_behind: Vec<&'a TaskId>,
    /// Whether what runs is being adopted: what is known of the node may be of an earlier life of the store.
    pub is_adopting: bool,
    /// For a socket: whether its manager holds `shards/health-<name>`.
    pub is_held: bool,
    /// The managers that are registered.
    pub managers: Vec<String>,
    /// The store's life.
    pub incarnation: Incarnation,
    /// Now.
    pub now: Now,
}

impl<'a> Snapshot<'a> {
    /// Gathers what concerns one node; none as long as the cluster has no identity.
    pub fn new(cache: &'a Cache, name: &'a NodeName, now: Now) -> Option<Self> {
        let object = ObjectKey::node(name);
        let accepted = cache.nodes.get(name);
        let reporters: Vec<(&str, &Status)> = cache
            .statuses
            .range((object.clone(), Text::default())..)
            .take_while(|((owner, _), _)| *owner == object)
            .map(|((_, controller), status)| (controller.as_str(), &*status.value))
            .collect();
        let of = |controller: &str| {
            reporters
                .iter()
                .find(|(name, _)| *name == controller)
                .map(|(_, status)| *status)
        };
        let of_driver =
            of(view::TASK).filter(|status| status.uid.as_ref() == accepted.map(|node| &node.uid));
        Some(Self {
            name,
            user: cache.users.get(&object),
            accepted,
            status: of(view::NODE),
            found: of_driver.and_then(|status| status.found.as_ref()),
            has_agent: of_driver
                .is_some_and(|status| status.condition(view::DATAPLANE_READY).is_some()),
            reporters: reporters.iter().map(|(name, _)| *name).collect(),
            has_tasks: cache.bindings_on(name).next().is_some()
                || cache.task_statuses_on(name).next().is_some(),
            left_behind: left_behind(cache, name).collect(),
            is_adopting: view::is_adopting(cache),
            is_held: cache.shards.contains_key(&health_shard(name)),
            managers: cache
                .managers
                .values()
                .map(|manager| manager.name.clone())
                .collect(),
            incarnation: cache.cluster.as_ref()?.incarnation,
            now,
        })
    }

    /// The conditions that were reported last.
    pub fn conditions(&self) -> &'a [Condition] {
        self.status.map_or(&[], |status| &status.conditions)
    }

    /// Whether the node is a socket of a manager's machine.
    pub fn is_socket(&self) -> bool {
        self.accepted.is_some_and(|node| is_socket(&node.spec))
    }

    /// Whether nothing of ours is left on the node, as far as its engine says.
    pub fn is_clean(&self) -> bool {
        let is_ours = |kind| match kind {
            UnclaimedKind::Unbound | UnclaimedKind::Lost | UnclaimedKind::Stray => true,
            UnclaimedKind::Imposter | UnclaimedKind::ForeignCluster => false,
        };
        let runs_more = self.found.is_some_and(|found| {
            let mut unclaimed = found.unclaimed.iter();
            unclaimed.any(|found| found.running && is_ours(found.kind))
        });
        let is_left = self.has_tasks || self.has_agent || runs_more || self.is_adopting;
        !is_left || planted(Bug::ForgetsNodeEarly)
    }
}

/// The tasks without a record that were seen on a node without one, at most as many as one step takes.
pub(super) fn left_behind<'a>(
    cache: &'a Cache,
    node: &'a NodeName,
) -> impl Iterator<Item = &'a TaskId> {
    let seen = match cache.nodes.contains_key(node) {
        true => None,
        false => Some(cache.task_statuses_on(node)),
    };
    let seen = seen.into_iter().flatten().map(|status| &status.value.task);
    seen.filter(|task| cache.task(task).is_none()).take(AT_ONCE)
}

/// The shard whose holder judges a socket's engine.
pub fn health_shard(node: &NodeName) -> String {
    format!("health-{node}")
}
