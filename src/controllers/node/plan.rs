//! The decision for one node: accept, report, forget. Pure.

use super::Read;
use super::accept::accept;
use super::snapshot::Snapshot;
use super::status::status;
use crate::api::cluster::Severity;
use crate::api::key::Key;
use crate::api::name::{NodeName, ObjectKey};
use crate::api::uid::Ids;
use crate::planted::{Bug, planted};
use crate::runtime::plan::{Plan, Step};
use crate::runtime::view;
use std::time::Duration;

/// While a socket's manager is missing it is looked at this often: the grace is counted between looks.
pub const LOOK: Duration = Duration::from_secs(1);

/// Decides. `missing` is how long this leader itself has seen the socket's manager missing (rule N1); none: it is not.
pub fn plan(
    snapshot: &Snapshot<'_>,
    read: Read,
    missing: Option<Duration>,
    grace: Duration,
    ids: &mut Ids,
) -> Plan {
    let mut plan = Plan::default();
    let object = ObjectKey::node(snapshot.name);
    let accepted = accept(snapshot, read, ids);
    let record = accepted.record.get();
    let seen = snapshot.user.map(|user| user.mod_revision);

    if record.is_some_and(|record| record.deleted_at.is_some()) && snapshot.is_clean() {
        let step = if_nothing_is_on(snapshot.name, forget(snapshot, &object));
        plan.push(accepted.guard(step, &object, seen));
        let uid = record.map(|record| &record.uid);
        let message = "nothing of ours is left on it";
        plan.note(&object, uid, Severity::Normal, "Forgotten", message);
        return plan;
    }

    if snapshot.user.is_none() && record.is_none() {
        // Whoever judged it on the view of a store that went back since may have reported after it was forgotten.
        plan.push(forget(snapshot, &object).if_missing(Key::Accepted(object)));
        return plan;
    }

    let mut step = Step::default();
    if let Some(record) = accepted.record.to_write() {
        step = accepted.guard(step, &object, seen);
        step = step.put(Key::Accepted(object.clone()), record);
    }
    let is_gone = missing.is_some_and(|missing| missing > grace);
    let reported = status(snapshot, record, accepted.condition.clone(), is_gone);
    let key = Key::Status(object.clone(), view::NODE.into());
    match &reported {
        Some(reported) if snapshot.status != Some(reported) => step = step.put(key, reported),
        None if snapshot.status.is_some() => step = step.delete(key),
        Some(_) | None => {}
    }
    plan.push(step);
    accepted.tell(&object, snapshot.conditions(), &mut plan);
    if missing.is_some() {
        plan.look_again(LOOK);
    }
    plan
}

/// Whoever bound a task to the node, or reported of one, before it heard of the deletion: the cache may not show that yet,
/// and once the node is forgotten nobody drives its engine.
fn if_nothing_is_on(node: &NodeName, step: Step) -> Step {
    if planted(Bug::ForgetsNodeEarly) {
        return step;
    }
    step.if_none_below(format!("bindings/{node}/"))
        .if_none_below(format!("status/tasks/{node}/"))
}

/// The tombstone leaves, and with it what was reported of the node.
fn forget(snapshot: &Snapshot<'_>, object: &ObjectKey) -> Step {
    let mut step = Step::default();
    if snapshot.accepted.is_some() {
        step = step.delete(Key::Accepted(object.clone()));
    }
    for reporter in &snapshot.reporters {
        step = step.delete(Key::Status(object.clone(), (*reporter).into()));
    }
    for task in &snapshot.left_behind {
        step = step.delete(Key::TaskStatus(snapshot.name.clone(), (*task).clone()));
    }
    step
}
