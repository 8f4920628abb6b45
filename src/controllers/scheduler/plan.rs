//! The pass: every task that waits gets a node or an explanation. Pure.
//!
//! The work grows with waiting tasks times nodes; usage is counted once and kept up to date. What depends on the revision
//! and the node alone is asked once per pair.

use super::explain::Explanation;
use super::filter::{self, Refused};
use super::score;
use super::snapshot::{self, Candidate, Pending, Request};
use super::status;
use crate::api::key::Key;
use crate::api::name::{NodeName, Scoped};
use crate::api::task::{Binding, Desired, Slot};
use crate::api::time::Timestamp;
use crate::api::uid::{Ids, Uid};
use crate::api::unit::RevisionNumber;
use crate::metrics::list::SCHEDULE_ATTEMPTS;
use crate::planted::{Bug, planted};
use crate::runtime::cache::Cache;
use crate::runtime::clock::Now;
use crate::runtime::pack::pack;
use crate::runtime::plan::{Plan, Step};
use crate::runtime::view;
use std::collections::BTreeMap;

/// What is asked once per revision.
struct Group<'a> {
    request: Request<'a>,
    /// The nodes that could take such tasks, room or not.
    open: Vec<NodeName>,
    /// Why the others could not.
    refused: BTreeMap<NodeName, Refused>,
    /// No node had room for a task that replaces none: none will have in this pass, as nothing is freed in it.
    is_exhausted: bool,
}

type Groups<'a> = BTreeMap<(&'a Scoped, RevisionNumber), Option<Group<'a>>>;
type Waiting<'a> = BTreeMap<(&'a Scoped, RevisionNumber), Explanation>;

/// Decides for all tasks. An empty plan means: in step.
pub(super) fn plan(cache: &Cache, now: Now, ids: &mut Ids) -> Plan {
    let mut plan = Plan::default();
    let is_adopting = view::is_adopting(cache);
    let mut units = match is_adopting {
        true => Vec::new(),
        false => outlived(cache),
    };
    let mut candidates = snapshot::candidates(cache, now.wall);
    let mut groups = Groups::new();
    let mut waiting = Waiting::new();
    let mut bound = 0;
    for pending in snapshot::pending(cache) {
        if let Some(node) = &pending.home {
            let home = return_home(cache, &pending, node, &mut candidates, now.wall);
            bound += usize::from(home.is_some());
            units.extend(home);
            continue;
        }
        if is_adopting {
            continue;
        }
        let key = (pending.name, pending.task.revision);
        let group = groups
            .entry(key)
            .or_insert_with(|| open(cache, &pending, &candidates));
        let Some(group) = group else {
            continue;
        };
        match choose(group, &candidates, &pending, ids) {
            Some(node) => {
                let request = &group.request;
                let binding = bind(cache, &pending, request, &node, &mut candidates, now.wall);
                bound += usize::from(binding.is_some());
                units.extend(binding);
            }
            None => explain(
                group,
                &candidates,
                &pending,
                waiting.entry(key).or_default(),
            ),
        }
    }
    if !is_adopting {
        status::report(cache, &waiting, now.wall, &mut units, &mut plan);
    }
    let unschedulable = waiting.values().map(|one| one.tasks as usize).sum();
    plan.count(&SCHEDULE_ATTEMPTS, "scheduled", bound);
    plan.count(&SCHEDULE_ATTEMPTS, "unschedulable", unschedulable);
    plan.steps = pack(units);
    // Each binding compares what it rests on.
    plan.is_unordered = true;
    plan
}

/// Bindings whose task's record is gone, or whose node is and whose task was given up. While the task is still wanted the
/// binding of a lost node stays: without it the task would look as if it had never been bound, and would move.
fn outlived(cache: &Cache) -> Vec<Step> {
    let mut units = Vec::new();
    for ((node, id), binding) in &cache.bindings {
        let task = cache.task(id).map(|(_, task)| task);
        let is_home = cache
            .nodes
            .get(node)
            .is_some_and(|record| record.value.uid == binding.value.node);
        let is_over = match task {
            None => true,
            Some(_) if planted(Bug::MovesTheLost) => {
                !view::node(cache, node).is_some_and(|node| node.is_schedulable())
            }
            Some(task) => !is_home && task.value.desired >= Desired::Shutdown,
        };
        if is_over && !planted(Bug::KeepsBindings) {
            units.push(Step::default().delete(Key::Binding(node.clone(), id.clone())));
        }
    }
    units
}

fn open<'a>(
    cache: &'a Cache,
    pending: &Pending<'a>,
    candidates: &BTreeMap<NodeName, Candidate<'_>>,
) -> Option<Group<'a>> {
    let request = snapshot::request(cache, pending)?;
    let mut open = Vec::new();
    let mut refused = BTreeMap::new();
    for (name, candidate) in candidates {
        match filter::fixed(&request, candidate) {
            None => open.push(name.clone()),
            Some(why) => {
                refused.insert(name.clone(), why);
            }
        }
    }
    Some(Group {
        request,
        open,
        refused,
        is_exhausted: false,
    })
}

fn choose(
    group: &mut Group<'_>,
    candidates: &BTreeMap<NodeName, Candidate<'_>>,
    pending: &Pending<'_>,
    ids: &mut Ids,
) -> Option<NodeName> {
    let replaced = pending.task.replaces.as_ref();
    let has_room = |name: &&NodeName| {
        candidates
            .get(*name)
            .is_some_and(|one| filter::has_room(&group.request, one, replaced))
    };
    if let Slot::Node(node) = &pending.task.slot {
        let home = group.open.iter().find(|name| *name == node);
        return home.filter(has_room).cloned();
    }
    if group.is_exhausted && replaced.is_none() {
        return None;
    }
    let eligible: Vec<&NodeName> = group.open.iter().filter(has_room).collect();
    let best = score::best(&group.request, candidates, &eligible, replaced, ids).cloned();
    group.is_exhausted |= best.is_none() && replaced.is_none();
    best
}

fn explain(
    group: &Group<'_>,
    candidates: &BTreeMap<NodeName, Candidate<'_>>,
    pending: &Pending<'_>,
    explanation: &mut Explanation,
) {
    explanation.tasks += 1;
    let replaced = pending.task.replaces.as_ref();
    for (name, candidate) in candidates {
        let is_elsewhere = match &pending.task.slot {
            Slot::Node(home) => home != name,
            Slot::Replica(_) => false,
        };
        if is_elsewhere || explanation.nodes.contains_key(name) {
            continue;
        }
        let why = match group.refused.get(name) {
            Some(why) => Some(why.clone()),
            None => filter::no_room(&group.request, candidate, replaced),
        };
        if let Some(why) = why {
            explanation.nodes.insert(name.clone(), why);
        }
    }
}

fn bind(
    cache: &Cache,
    pending: &Pending<'_>,
    request: &Request<'_>,
    node: &NodeName,
    candidates: &mut BTreeMap<NodeName, Candidate<'_>>,
    now: Timestamp,
) -> Option<Step> {
    let candidate = candidates.get_mut(node)?;
    let binding = Binding {
        reserved: request.reservations().clone(),
        host_ports: request.ports.clone(),
        ..binding(pending, candidate.node.uid().clone(), now)
    };
    candidate.hold(&binding, true);
    Some(claim(cache, pending, node, &binding))
}

/// A task whose container was found goes to the container's node without filters: it runs there.
fn return_home(
    cache: &Cache,
    pending: &Pending<'_>,
    node: &NodeName,
    candidates: &mut BTreeMap<NodeName, Candidate<'_>>,
    now: Timestamp,
) -> Option<Step> {
    match snapshot::request(cache, pending) {
        Some(request) => bind(cache, pending, &request, node, candidates, now),
        // Its service is gone, and it is to go as well: it holds nothing.
        None if pending.task.desired >= Desired::Shutdown => {
            let uid = candidates.get(node)?.node.uid().clone();
            let binding = binding(pending, uid, now);
            Some(claim(cache, pending, node, &binding))
        }
        None => None,
    }
}

/// A binding that holds nothing yet.
fn binding(pending: &Pending<'_>, node: Uid, now: Timestamp) -> Binding {
    Binding {
        task: pending.task.id.clone(),
        service: pending.task.service.clone(),
        namespace: pending.name.namespace.clone(),
        service_name: pending.name.name.clone(),
        node,
        reserved: Default::default(),
        host_ports: Vec::new(),
        bound_at: now,
    }
}

fn claim(cache: &Cache, pending: &Pending<'_>, node: &NodeName, binding: &Binding) -> Step {
    let id = &pending.task.id;
    let key = Key::Binding(node.clone(), id.clone());
    Step::default()
        .if_missing(key.clone())
        .if_unchanged(cache, Key::Task(pending.name.clone(), id.clone()))
        .put(key, binding)
}
