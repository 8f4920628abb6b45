//! Tasks that nobody wants any more because their service is gone, and the last steps of a service. Pure.

use super::snapshot::{SERVICE, Snapshot};
use crate::api::key::Key;
use crate::api::name::ObjectKey;
use crate::api::task::{Desired, Task};
use crate::api::time::Timestamp;
use crate::api::uid::Uid;
use crate::planted::{Bug, planted};
use crate::runtime::plan::Step;

/// A service that was deleted: its tasks go, then what is left of it, the tombstone last and once nothing else of the
/// plan is to be written (`is_alone`).
pub(super) fn end(snapshot: &Snapshot<'_>, now: Timestamp, is_alone: bool) -> Vec<Step> {
    let mut units = tasks(snapshot, now);
    let is_left = !snapshot.tasks.is_empty() || !units.is_empty() || !is_alone;
    if snapshot.is_adopting || (is_left && !planted(Bug::ForgetsTombstone)) {
        return units;
    }
    let object = ObjectKey::service(snapshot.name);
    for old in &snapshot.revisions {
        let key = Key::Revision(old.service.clone(), old.number);
        units.push(Step::default().delete(key));
    }
    let status = Key::Status(object.clone(), SERVICE.into());
    if snapshot.cache.mod_revision(&status).is_some() {
        units.push(Step::default().delete(status));
    }
    let key = Key::Accepted(object);
    let unit = Step::default().if_unchanged(snapshot.cache, key.clone());
    units.push(unit.delete(key));
    units
}

/// All tasks under the name go; nothing is stopped while what runs is being adopted.
pub(super) fn tasks(snapshot: &Snapshot<'_>, now: Timestamp) -> Vec<Step> {
    removals(snapshot, now, |_| true)
}

/// Tasks of another uid than the record's go: their service is gone.
pub(super) fn foreign(snapshot: &Snapshot<'_>, uid: &Uid, now: Timestamp) -> Vec<Step> {
    removals(snapshot, now, |task| task.service != *uid)
}

fn removals(snapshot: &Snapshot<'_>, now: Timestamp, is_gone: impl Fn(&Task) -> bool) -> Vec<Step> {
    if snapshot.is_adopting {
        return Vec::new();
    }
    let tasks = snapshot.tasks.iter().map(|view| &*view.task.value);
    tasks
        .filter(|task| task.desired < Desired::Remove && is_gone(task))
        .map(|task| removal(snapshot, task, now))
        .collect()
}

fn removal(snapshot: &Snapshot<'_>, task: &Task, now: Timestamp) -> Step {
    let task = Task {
        desired: Desired::Remove,
        reason: Some("ServiceDeleted".into()),
        ended_at: task.ended_at.or(Some(now)),
        ..task.clone()
    };
    write_task(snapshot, Step::default(), &task)
}

/// Also writes a task, if it is as the cache shows it.
pub(super) fn write_task(snapshot: &Snapshot<'_>, step: Step, task: &Task) -> Step {
    let key = Key::Task(snapshot.name.clone(), task.id.clone());
    step.if_unchanged(snapshot.cache, key.clone())
        .put(key, task)
}
