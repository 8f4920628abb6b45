//! What the planner of one service may see, taken from the cache at one revision. Pure.

use crate::api::accepted::AcceptedService;
use crate::api::name::{NodeName, ObjectKey, Scoped};
use crate::api::status::{Condition, Status, Unclaimed, UnclaimedKind};
use crate::api::task::ServiceRevision;
use crate::api::unit::Incarnation;
use crate::runtime::cache::{Cache, Stored};
use crate::runtime::home::Homes;
use crate::runtime::view::{self, NodeView, TaskView};

/// The part of a service's status that this controller writes, and its name in keys.
pub(super) const SERVICE: &str = "service";

/// One service with everything that its plan depends on.
pub(super) struct Snapshot<'a> {
    /// The cache, for expectations.
    pub(super) cache: &'a Cache,
    /// The service's name.
    pub(super) name: &'a Scoped,
    /// The store's life; none until the cluster has its record.
    pub(super) incarnation: Option<Incarnation>,
    /// Whether what runs is being adopted.
    pub(super) is_adopting: bool,
    /// What the user wrote.
    pub(super) user: Option<&'a Stored<Vec<u8>>>,
    /// The scale key.
    pub(super) scale: Option<&'a Stored<Vec<u8>>>,
    /// The record in force.
    pub(super) accepted: Option<&'a Stored<AcceptedService>>,
    /// What was reported last.
    pub(super) status: Option<&'a Stored<Status>>,
    /// The service's revisions, the oldest first.
    pub(super) revisions: Vec<&'a Stored<ServiceRevision>>,
    /// Tasks under the service's name, of any uid.
    pub(super) tasks: Vec<TaskView<'a>>,
    /// All nodes.
    pub(super) nodes: Vec<NodeView<'a>>,
    /// Where tasks without a binding belong.
    pub(super) homes: Homes<'a>,
    /// Containers under the service's name that are ours and have no record, with their node.
    pub(super) unclaimed: Vec<(&'a NodeName, &'a Unclaimed)>,
}

impl<'a> Snapshot<'a> {
    /// Looks at the service `name`.
    pub(super) fn take(cache: &'a Cache, name: &'a Scoped) -> Self {
        let object = ObjectKey::service(name);
        let nodes = view::nodes(cache);
        let accepted = cache.services.get(name);
        let status = cache.status(&object, SERVICE).filter(|status| {
            status.uid.is_none() || status.uid.as_ref() == accepted.map(|record| &record.uid)
        });
        Self {
            cache,
            name,
            incarnation: cache.cluster.as_ref().map(|cluster| cluster.incarnation),
            is_adopting: view::is_adopting(cache),
            user: cache.users.get(&object),
            scale: cache.scales.get(name),
            accepted,
            status,
            revisions: accepted
                .map(|record| &record.value.uid)
                .or_else(|| cache.tasks_of(name).next().map(|task| &task.value.service))
                .map_or_else(Vec::new, |uid| cache.revisions_of(uid).collect()),
            tasks: cache
                .tasks_of(name)
                .map(|task| view::task(cache, task))
                .collect(),
            homes: Homes::new(cache, nodes.iter()),
            nodes,
            unclaimed: unclaimed(cache, name),
        }
    }

    /// The conditions that were reported last.
    pub(super) fn conditions(&self) -> &'a [Condition] {
        self.status
            .map_or(&[][..], |status| &status.value.conditions)
    }
}

fn unclaimed<'a>(cache: &'a Cache, name: &Scoped) -> Vec<(&'a NodeName, &'a Unclaimed)> {
    let is_of = |container: &Unclaimed| {
        container.kind == UnclaimedKind::Lost
            && container
                .claim
                .as_ref()
                .is_some_and(|claim| claim.namespace == name.namespace && claim.name == name.name)
    };
    // On most nodes nothing is found beside the tasks.
    let may_have = |node: &&NodeName| {
        let found = cache.status_of_node(node, view::TASK);
        let found = found.and_then(|status| status.found.as_ref());
        found.is_some_and(|found| !found.unclaimed.is_empty())
    };
    let nodes = cache.nodes.keys().filter(may_have);
    nodes
        .filter_map(|node| Some((node, view::node(cache, node)?.found?)))
        .flat_map(|(node, found)| found.unclaimed.iter().map(move |one| (node, one)))
        .filter(|(_, container)| is_of(container))
        .collect()
}
