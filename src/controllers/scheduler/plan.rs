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
use crate::api::uid::{Ids, TaskId, Uid};
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
    /// For each candidate why it could not take such tasks, room or not; none: it could.
    refused: Vec<Option<Refused>>,
    /// No node had room for a task that replaces none: none will have in this pass, as nothing is freed in it.
    is_exhausted: bool,
}

type Groups<'a> = BTreeMap<(&'a Scoped, RevisionNumber), Option<Group<'a>>>;
type Waiting<'a> = BTreeMap<(&'a Scoped, RevisionNumber), Explanation>;

/// Decides for all tasks. An empty plan means: in step.
pub(super) fn plan(cache: &Cache, now: Now, ids: &mut Ids) -> Plan {
    let mut plan = Plan::default();
    let is_adopting = view::is_adopting(cache);
    let (mut candidates, outlived) = snapshot::candidates(cache, now.wall);
    let delete = |(node, task): (&NodeName, &TaskId)| {
        Step::default().delete(Key::Binding(node.clone(), task.clone()))
    };
    let mut units: Vec<Step> = match is_adopting || planted(Bug::KeepsBindings) {
        true => Vec::new(),
        false => outlived.into_iter().map(delete).collect(),
    };
    let mut groups = Groups::new();
    let mut waiting = Waiting::new();
    let mut bound = 0;
    for pending in snapshot::pending(cache, &candidates) {
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
            Some(place) => {
                let candidate = &mut candidates[place];
                let binding = bind(cache, &pending, &group.request, candidate, now.wall);
                bound += 1;
                units.push(binding);
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

fn open<'a>(
    cache: &'a Cache,
    pending: &Pending<'a>,
    candidates: &[Candidate<'_>],
) -> Option<Group<'a>> {
    let request = snapshot::request(cache, pending)?;
    let refused = candidates.iter().map(|one| filter::fixed(&request, one));
    Some(Group {
        refused: refused.collect(),
        request,
        is_exhausted: false,
    })
}

fn choose(
    group: &mut Group<'_>,
    candidates: &[Candidate<'_>],
    pending: &Pending<'_>,
    ids: &mut Ids,
) -> Option<usize> {
    let replaced = pending.task.replaces.as_ref();
    let takes = |place: &usize| {
        group.refused[*place].is_none()
            && filter::has_room(&group.request, &candidates[*place], replaced)
    };
    if let Slot::Node(node) = &pending.task.slot {
        return snapshot::place(candidates, node).filter(takes);
    }
    if group.is_exhausted && replaced.is_none() {
        return None;
    }
    let eligible = (0..candidates.len()).filter(takes).collect();
    let best = score::best(&group.request, candidates, eligible, replaced, ids);
    group.is_exhausted |= best.is_none() && replaced.is_none();
    best
}

fn explain(
    group: &Group<'_>,
    candidates: &[Candidate<'_>],
    pending: &Pending<'_>,
    explanation: &mut Explanation,
) {
    explanation.tasks += 1;
    let replaced = pending.task.replaces.as_ref();
    for (candidate, refused) in candidates.iter().zip(&group.refused) {
        let name = &candidate.node.name;
        let is_elsewhere = match &pending.task.slot {
            Slot::Node(home) => home != name,
            Slot::Replica(_) => false,
        };
        if is_elsewhere || explanation.nodes.contains_key(name) {
            continue;
        }
        let room = || filter::no_room(&group.request, candidate, replaced);
        let why = refused.clone().or_else(room);
        if let Some(why) = why {
            explanation.nodes.insert(name.clone(), why);
        }
    }
}

fn bind(
    cache: &Cache,
    pending: &Pending<'_>,
    request: &Request<'_>,
    candidate: &mut Candidate<'_>,
    now: Timestamp,
) -> Step {
    let binding = Binding {
        reserved: request.reservations().clone(),
        host_ports: request.ports.clone(),
        ..binding(pending, candidate.node.uid().clone(), now)
    };
    candidate.hold(&binding, true);
    claim(cache, pending, &candidate.node.name, &binding)
}

/// A task whose container was found goes to the container's node without filters: it runs there.
fn return_home(
    cache: &Cache,
    pending: &Pending<'_>,
    node: &NodeName,
    candidates: &mut [Candidate<'_>],
    now: Timestamp,
) -> Option<Step> {
    let place = snapshot::place(candidates, node)?;
    let candidate = &mut candidates[place];
    match snapshot::request(cache, pending) {
        Some(request) => Some(bind(cache, pending, &request, candidate, now)),
        // Its service is gone, and it is to go as well: it holds nothing.
        None if pending.task.desired >= Desired::Shutdown => {
            let binding = binding(pending, candidate.node.uid().clone(), now);
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

/// That the task is bound nowhere yet is not compared, and by one key could not be: nobody else binds, and the view that this
/// rests on shows all that this leader has written. What others may have changed is the task.
fn claim(cache: &Cache, pending: &Pending<'_>, node: &NodeName, binding: &Binding) -> Step {
    let id = &pending.task.id;
    Step::default()
        .if_unchanged(cache, Key::Task(pending.name.clone(), id.clone()))
        .put(Key::Binding(node.clone(), id.clone()), binding)
}
