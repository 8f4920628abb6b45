//! What is seen of the cluster, as plain data.

use super::memory::Remembered;
use crate::api::name::{NodeName, ObjectKey, Scoped};
use crate::api::status::{Claim, Found, NodeState, UnclaimedKind};
use crate::api::time::Timestamp;
use crate::api::uid::Uid;
use crate::api::unit::{Incarnation, Revision};
use crate::runtime::cache::Cache;
use crate::runtime::clock::Now;
use crate::runtime::view::{self, NodeView};
use std::collections::BTreeSet;
use std::time::Duration;

/// Everything that the plan rests on.
pub(super) struct Snapshot<'a> {
    pub(super) cache: &'a Cache,
    pub(super) memory: Remembered,
    /// `--cluster-id`.
    pub(super) told_id: Option<Uid>,
    pub(super) nodes: Vec<Node>,
    /// How long what runs has certainly been adopted (rule N4).
    pub(super) adopting: Duration,
    pub(super) now: Now,
}

/// What the cluster needs to know of a node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) state: NodeState,
    /// Whether that was written after the cluster's record: a restored state says nothing of today.
    pub(super) is_state_fresh: bool,
    pub(super) created_at: Timestamp,
    /// The store's life in which its engine was listed last.
    pub(super) looked_at_in: Option<Incarnation>,
    /// Whether more was found there than the list of it holds.
    pub(super) is_cut: bool,
    /// The newest label of a container that is ours.
    pub(super) highest: Option<(Incarnation, Revision)>,
    /// Whether its labels cannot be of this history of the store.
    pub(super) is_ahead: bool,
    /// The revision of the status that says so: made after the label was read.
    pub(super) said_at: Revision,
    /// Ids of other clusters whose containers run there.
    pub(super) foreign: BTreeSet<Uid>,
    /// Those of them whose running containers bear the name of a service that is accepted here.
    pub(super) namesakes: BTreeSet<Uid>,
}

pub(super) fn take(
    cache: &Cache,
    memory: Remembered,
    told_id: Option<Uid>,
    now: Now,
) -> Snapshot<'_> {
    let since = cache
        .cluster
        .as_ref()
        .and_then(|cluster| cluster.adopting_since);
    let adopting = since.map_or(Duration::ZERO, |since| {
        now.wall.since(since).min(memory.adopting)
    });
    Snapshot {
        cache,
        memory,
        told_id,
        nodes: nodes(cache),
        adopting,
        now,
    }
}

pub(super) fn nodes(cache: &Cache) -> Vec<Node> {
    view::nodes(cache)
        .iter()
        .map(|node| look(cache, node))
        .collect()
}

fn look(cache: &Cache, node: &NodeView<'_>) -> Node {
    let object = ObjectKey::node(&node.name);
    let written = |controller| {
        cache
            .status(&object, controller)
            .map_or(Revision(0), |status| status.mod_revision)
    };
    let record = cache
        .cluster
        .as_ref()
        .map_or(Revision(0), |cluster| cluster.mod_revision);
    Node {
        name: node.name.clone(),
        state: node.state,
        is_state_fresh: written(view::HEALTH).max(written(view::NODE)) > record,
        created_at: node.accepted.created_at,
        looked_at_in: node.found.map(|found| found.incarnation),
        is_cut: node.found.is_some_and(Found::is_cut),
        highest: node.found.and_then(|found| found.highest),
        is_ahead: node
            .found
            .is_some_and(|found| found.is_ahead && Some(found.incarnation) == life(cache)),
        said_at: written(view::TASK),
        foreign: foreign(node, |_| true),
        namesakes: foreign(node, |claim| {
            let name = Scoped::new(&*claim.namespace, &*claim.name);
            cache.services.contains_key(&name)
        }),
    }
}

fn life(cache: &Cache) -> Option<Incarnation> {
    cache.cluster.as_ref().map(|cluster| cluster.incarnation)
}

fn foreign(node: &NodeView<'_>, concerns: impl Fn(&Claim) -> bool) -> BTreeSet<Uid> {
    node.found
        .iter()
        .flat_map(|found| &found.unclaimed)
        .filter(|container| container.kind == UnclaimedKind::ForeignCluster)
        .filter_map(|container| container.claim.as_ref())
        .filter(|claim| concerns(claim))
        .map(|claim| claim.cluster.clone())
        .collect()
}

/// Other clusters that may be this one with a lost store, by node (rule I3): nothing on the nodes is of one's own, or
/// containers of a service of the same name run twice.
pub(super) fn suspects(nodes: &[Node]) -> Vec<(NodeName, Uid)> {
    let is_bare = nodes.iter().all(|node| node.highest.is_none());
    let ids = |node: &'_ Node| match is_bare {
        true => node.foreign.clone(),
        false => node.namesakes.clone(),
    };
    nodes
        .iter()
        .flat_map(|node| ids(node).into_iter().map(|id| (node.name.clone(), id)))
        .collect()
}

/// How a process remembers that it told of them.
pub(super) fn told_of(node: &NodeName, id: &Uid) -> String {
    format!("foreign/{node}/{id}")
}
