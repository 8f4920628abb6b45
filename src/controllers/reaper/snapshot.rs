//! What the reaper may see, as plain data.

use crate::api::name::{NodeName, ObjectKey, Scoped};
use crate::api::node::Availability;
use crate::api::status::{Claim, Found, Unclaimed, UnclaimedKind};
use crate::api::task::{Slot, Task};
use crate::api::time::Timestamp;
use crate::api::uid::{ContainerId, TaskId};
use crate::runtime::cache::{Cache, Stored};
use crate::runtime::clock::Now;
use crate::runtime::home::{Home, Homes};
use crate::runtime::view::{self, NodeView, TaskView};
use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The reason of records that the reaper made for lost containers: what the rate counts.
pub(super) const UNCLAIMED: &str = "Unclaimed";

/// Something whose age this process measures itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sight {
    /// A lost container.
    Container(ContainerId),
    /// A record that the reaper made.
    Record(TaskId),
}

/// How long this process has known each sight.
pub(super) type Ages = BTreeMap<Sight, Duration>;

/// The tasks under one service's name.
pub(super) struct Service<'a> {
    pub(super) cache: &'a Cache,
    pub(super) name: &'a Scoped,
    pub(super) tasks: Vec<Record<'a>>,
    pub(super) now: Now,
}

/// A task record.
pub(super) struct Record<'a> {
    pub(super) view: TaskView<'a>,
    pub(super) place: Place,
    /// How long it has certainly existed (rule N4).
    pub(super) age: Duration,
}

/// Where a task is, as far as its container matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has no binding and will get none: there is no container.
    Nowhere,
    /// It will be bound to the node that its container was found on, or may yet be found on.
    Expected,
    /// On a node of the fleet.
    Node,
    /// On a node that was deleted: it is forgotten once nothing of ours is left on it.
    Leaving,
    /// On a node that is forgotten.
    Forgotten,
}

/// What was found on all nodes.
pub(super) struct Fleet<'a> {
    pub(super) cache: &'a Cache,
    pub(super) nodes: Vec<FoundOn<'a>>,
    /// Task records in all: the fleet whose hundredth may be taken at a time.
    pub(super) tasks: usize,
    /// Ages of the records that the reaper made and that the rate counts.
    pub(super) taken: Vec<Duration>,
    pub(super) now: Now,
}

/// What was found on one node.
pub(super) struct FoundOn<'a> {
    pub(super) node: NodeView<'a>,
    pub(super) lost: Vec<Lost<'a>>,
    /// All else that was found: strays, copies, containers of other clusters.
    pub(super) others: Vec<&'a Unclaimed>,
}

/// A container of ours without a record.
pub(super) struct Lost<'a> {
    pub(super) container: &'a Unclaimed,
    /// Its labels, where they name what a record can be made of.
    pub(super) claim: Option<&'a Claim>,
    /// Whether it was made in this life of the store.
    pub(super) is_of_this_life: bool,
    /// Whether its service may still take it back.
    pub(super) is_adoptable: bool,
    /// How long it has certainly been without a record (rule N4).
    pub(super) age: Duration,
}

pub(super) fn service<'a>(
    cache: &'a Cache,
    name: &'a Scoped,
    ages: &Ages,
    now: Now,
) -> Service<'a> {
    // Hardly ever asked for: all nodes are gone through for it.
    let homes = LazyCell::new(|| Homes::new(cache, view::nodes(cache).iter()));
    let tasks = cache
        .tasks_of(name)
        .map(|task| Record {
            view: view::task(cache, task),
            place: place(cache, task, || &*homes),
            age: age_of(task, ages, now),
        })
        .collect();
    Service {
        cache,
        name,
        tasks,
        now,
    }
}

pub(super) fn fleet<'a>(cache: &'a Cache, ages: &Ages, now: Now) -> Fleet<'a> {
    let nodes = view::nodes(cache)
        .into_iter()
        .map(|node| found_on(cache, node, ages, now))
        .collect();
    let taken = cache
        .tasks
        .values()
        .filter(|task| is_taken(task))
        .map(|task| age_of(task, ages, now))
        .collect();
    Fleet {
        cache,
        nodes,
        tasks: cache.tasks.len(),
        taken,
        now,
    }
}

/// Everything whose age is measured.
pub(super) fn sights(cache: &Cache) -> BTreeSet<Sight> {
    let found = cache
        .statuses
        .values()
        .filter_map(|status| status.value.found.as_ref());
    let containers = found
        .flat_map(|found: &Found| &found.unclaimed)
        .filter(|container| container.kind == UnclaimedKind::Lost)
        .map(|container| Sight::Container(container.container.clone()));
    let records = cache.tasks.values().filter(|task| is_taken(task));
    let records = records.map(|task| Sight::Record(task.id.clone()));
    containers.chain(records).collect()
}

/// The records under one service's name whose age is measured.
pub(super) fn records_of(cache: &Cache, name: &Scoped) -> BTreeSet<Sight> {
    cache
        .tasks_of(name)
        .filter(|task| is_taken(task))
        .map(|task| Sight::Record(task.id.clone()))
        .collect()
}

/// Where a task is.
fn place<'a>(cache: &Cache, task: &Stored<Task>, homes: impl FnOnce() -> &'a Homes<'a>) -> Place {
    if let Some((node, binding)) = cache.binding(&task.id) {
        return match cache.nodes.get(node) {
            // Of another uid: another node has the name, and the one that the task was bound to is forgotten.
            Some(accepted) if accepted.uid != binding.node => Place::Forgotten,
            Some(accepted) if accepted.deleted_at.is_some() => Place::Leaving,
            Some(_) => Place::Node,
            None => Place::Forgotten,
        };
    }
    match homes().of(task) {
        Home::On(node) if cache.nodes.contains_key(node) => Place::Expected,
        Home::On(_) => Place::Forgotten,
        Home::Unknown => Place::Expected,
        Home::Anywhere => Place::Nowhere,
    }
}

fn is_taken(task: &Task) -> bool {
    task.reason.as_deref() == Some(UNCLAIMED)
}

fn age_of(task: &Task, ages: &Ages, now: Now) -> Duration {
    certain(task.created_at, &Sight::Record(task.id.clone()), ages, now)
}

/// The lesser of what the stored time and this process's own clock say: neither alone hastens anything (rule N4).
fn certain(since: Timestamp, sight: &Sight, ages: &Ages, now: Now) -> Duration {
    let own = ages.get(sight).copied().unwrap_or_default();
    now.wall.since(since).min(own)
}

fn found_on<'a>(cache: &'a Cache, node: NodeView<'a>, ages: &Ages, now: Now) -> FoundOn<'a> {
    let unclaimed = node.found.map_or(&[][..], |found| &found.unclaimed);
    let is_lost = |container: &&Unclaimed| container.kind == UnclaimedKind::Lost;
    let lost = unclaimed
        .iter()
        .filter(is_lost)
        .filter(|container| !has_record(cache, container))
        .map(|container| lost(cache, container, ages, now))
        .collect();
    let others = unclaimed
        .iter()
        .filter(|container| !is_lost(container))
        .collect();
    FoundOn { node, lost, others }
}

/// The list is older than the cache: a record may have been made since.
fn has_record(cache: &Cache, container: &Unclaimed) -> bool {
    let claim = container.claim.as_ref();
    claim.is_some_and(|claim| cache.task(&claim.task).is_some())
}

fn lost<'a>(cache: &'a Cache, container: &'a Unclaimed, ages: &Ages, now: Now) -> Lost<'a> {
    let claim = container
        .claim
        .as_ref()
        .filter(|claim| claim.key().is_some());
    let incarnation = cache.cluster.as_ref().map(|cluster| cluster.incarnation);
    Lost {
        container,
        claim,
        is_of_this_life: claim.is_some_and(|claim| Some(claim.stamp.incarnation) == incarnation),
        is_adoptable: claim.is_some_and(|claim| is_adoptable(cache, claim)),
        age: certain(
            container.since,
            &Sight::Container(container.container.clone()),
            ages,
            now,
        ),
    }
}

/// Whether the service may still take the container back: it is the same service (by uid: this life of the store), has
/// no live task in the slot, and fewer live slots than it wants. Removing it would take a replica from its users.
fn is_adoptable(cache: &Cache, claim: &Claim) -> bool {
    let name = Scoped::new(&*claim.namespace, &*claim.name);
    let Some(service) = cache.services.get(&name) else {
        return false;
    };
    if service.uid != claim.service || service.deleted_at.is_some() {
        return false;
    }
    let live: BTreeSet<&Slot> = cache
        .tasks_of(&name)
        .filter(|task| task.service == claim.service && view::task(cache, task).is_live())
        .map(|task| &task.value.slot)
        .collect();
    let wanted = cache
        .status(&ObjectKey::service(&name), "service")
        .filter(|status| status.uid.as_ref() == Some(&claim.service))
        .and_then(|status| status.replicas.as_ref().map(|counts| counts.wanted));
    let has_room = match &claim.slot {
        Slot::Replica(_) => wanted.is_none_or(|wanted| live.len() < wanted as usize),
        Slot::Node(node) => keeps_tasks(cache, node),
    };
    !live.contains(&claim.slot) && has_room
}

fn keeps_tasks(cache: &Cache, node: &NodeName) -> bool {
    view::node(cache, node).is_some_and(|node| node.availability() != Availability::Drain)
}
