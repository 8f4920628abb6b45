//! The status of a service: counts, conditions, and where its change stands. Pure.
//!
//! It describes the tasks as they are after the plan, so it is written together with what it describes, and only when it
//! differs.

use super::model::{Member, Model};
use super::snapshot::{SERVICE, Snapshot};
use crate::api::accepted::AcceptedService;
use crate::api::key::Key;
use crate::api::name::ObjectKey;
use crate::api::service::{FailureAction, ServiceSpec};
use crate::api::status::{Condition, ReplicaCounts, Status, Truth, UpdateState, UpdateStatus};
use crate::api::task::{Desired, Slot, TaskState};
use crate::api::unit::Generation;
use crate::planted::{Bug, planted};
use crate::runtime::plan::Step;

/// Condition: as many tasks serve as are wanted.
pub(super) const AVAILABLE: &str = "Available";
/// Condition: tasks are being made, replaced or removed; False once that is done (`Complete`) or halted (`Paused`).
pub(super) const PROGRESSING: &str = "Progressing";

/// Condition, only where it is asked for: a failed change is taken back.
const ROLLBACK_READY: &str = "RollbackReady";

/// The status of a service in force.
pub(super) struct Report {
    /// Where its change stands.
    pub(super) update: Option<UpdateStatus>,
    /// The write, if it differs from what is stored.
    pub(super) unit: Option<Step>,
}

/// Describes a service in force.
pub(super) fn report(
    snapshot: &Snapshot<'_>,
    model: &Model<'_>,
    wanted: &[Slot],
    accepted: Option<Condition>,
    halt: Option<String>,
) -> Report {
    let counts = count(model, wanted);
    let update = update(snapshot, model, wanted, halt);
    let before = snapshot.conditions();
    let mut conditions: Vec<Condition> = accepted.into_iter().collect();
    let (truth, reason, message) = available(&counts);
    conditions.push(Condition::new(
        before, model.now, AVAILABLE, truth, reason, message,
    ));
    let (truth, reason, message) = progressing(snapshot, model, wanted, &counts, update.as_ref());
    conditions.push(Condition::new(
        before,
        model.now,
        PROGRESSING,
        truth,
        reason,
        message,
    ));
    conditions.extend(rollback(model.spec()).map(|message| {
        let (truth, reason) = (Truth::False, "NotProvided");
        Condition::new(before, model.now, ROLLBACK_READY, truth, reason, message)
    }));
    let generation = match planted(Bug::ReportsFirstGeneration) {
        true => Generation(1),
        false => model.service.generation,
    };
    let status = Status {
        uid: Some(model.service.uid.clone()),
        observed_generation: Some(generation),
        conditions,
        replicas: Some(counts),
        update: update.clone(),
        ..Status::default()
    };
    Report {
        update,
        unit: write(snapshot, &status),
    }
}

/// The status of what is not in force: refused from the start, or on its way out.
pub(super) fn resting(
    snapshot: &Snapshot<'_>,
    record: Option<&AcceptedService>,
    accepted: Option<Condition>,
) -> Option<Step> {
    let Some(condition) = accepted else {
        let key = key(snapshot);
        return snapshot
            .cache
            .mod_revision(&key)
            .map(|_| Step::default().delete(key));
    };
    let before = snapshot.status.map(|status| &*status.value);
    let status = Status {
        uid: record.map(|record| record.uid.clone()),
        observed_generation: record.map(|record| record.generation),
        conditions: vec![condition],
        replicas: record
            .and(before)
            .and_then(|before| before.replicas.clone()),
        ..Status::default()
    };
    write(snapshot, &status)
}

fn key(snapshot: &Snapshot<'_>) -> Key {
    Key::Status(ObjectKey::service(snapshot.name), SERVICE.into())
}

fn write(snapshot: &Snapshot<'_>, status: &Status) -> Option<Step> {
    let is_same = snapshot
        .status
        .is_some_and(|before| *before.value == *status);
    (!is_same).then(|| Step::default().put(key(snapshot), status))
}

fn count(model: &Model<'_>, wanted: &[Slot]) -> ReplicaCounts {
    let number = |is: &dyn Fn(&Member<'_>) -> bool| {
        let count = model
            .members
            .iter()
            .filter(|member| member.is_wanted() && is(member))
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    ReplicaCounts {
        wanted: u32::try_from(wanted.len()).unwrap_or(u32::MAX),
        running: number(&|member| member.state == TaskState::Running),
        ready: number(&|member| member.is_serving()),
        updated: number(&|member| member.is_serving() && member.task.revision == model.current),
        pending: number(&|member| member.state == TaskState::Pending),
    }
}

/// What is said where a failed change is to be taken back.
fn rollback(spec: &ServiceSpec) -> Option<&'static str> {
    (spec.update.failure_action == FailureAction::Rollback).then_some(
        "update.failureAction: rollback is not provided by this version: a failed change halts, as with `pause`, and \
         the old tasks go on; apply the former manifest to go back",
    )
}

fn available(counts: &ReplicaCounts) -> (Truth, &'static str, String) {
    let message = format!("{} of {} tasks serve", counts.ready, counts.wanted);
    match counts.ready >= counts.wanted {
        true => (Truth::True, "Serving", message),
        false => (Truth::False, "TooFewServing", message),
    }
}

fn progressing(
    snapshot: &Snapshot<'_>,
    model: &Model<'_>,
    wanted: &[Slot],
    counts: &ReplicaCounts,
    update: Option<&UpdateStatus>,
) -> (Truth, &'static str, String) {
    if snapshot.is_adopting {
        let message = "what runs is being adopted; nothing is started or stopped";
        return (Truth::True, "Adopting", message.into());
    }
    match update.map(|update| (update.state, &update.message)) {
        Some((UpdateState::Paused, message)) => {
            (Truth::False, "Paused", message.clone().unwrap_or_default())
        }
        Some((UpdateState::Updating, _)) => {
            let message = format!("{} of {} tasks are updated", counts.updated, counts.wanted);
            (Truth::True, "Updating", message)
        }
        Some((UpdateState::Completed, _)) | None => match is_complete(model, wanted) {
            true => (
                Truth::False,
                "Complete",
                "the service is as it should be".into(),
            ),
            false if counts.pending > 0 => {
                let message = format!("{} tasks wait for a node", counts.pending);
                (Truth::True, "Pending", message)
            }
            false => {
                let message = format!("{} of {} tasks serve", counts.ready, counts.wanted);
                (Truth::True, "Starting", message)
            }
        },
    }
}

/// Whether every slot has one task that serves, of the current revision, or one that ended for good.
fn is_complete(model: &Model<'_>, wanted: &[Slot]) -> bool {
    wanted.iter().all(|slot| {
        let mut tasks = model.wanted(slot);
        let (Some(task), None) = (tasks.next(), tasks.next()) else {
            return false;
        };
        let is_done = task.task.desired == Desired::Running && task.is_terminal();
        let is_current = task.task.revision == model.current;
        is_current && (task.is_serving() || is_done)
    })
}

/// Where a change stands; none where nothing was ever changed.
fn update(
    snapshot: &Snapshot<'_>,
    model: &Model<'_>,
    wanted: &[Slot],
    halt: Option<String>,
) -> Option<UpdateStatus> {
    let before = snapshot
        .status
        .and_then(|status| status.value.update.as_ref());
    let has_old = model
        .members
        .iter()
        .any(|member| member.is_wanted() && member.task.revision != model.current);
    let is_known = before.is_some_and(|before| before.revision == model.current);
    let was_completed = before.is_some_and(|before| {
        before.revision == model.current && before.state == UpdateState::Completed
    });
    let (state, message) = match halt {
        Some(message) => (UpdateState::Paused, Some(message)),
        // A rollout that was completed stays so, whatever happens to its tasks later.
        None if was_completed => (UpdateState::Completed, None),
        None if has_old => (UpdateState::Updating, None),
        None if is_known || before.is_some() || model.current.0 > 1 => {
            match is_complete(model, wanted) {
                true => (UpdateState::Completed, None),
                false => (UpdateState::Updating, None),
            }
        }
        None => return None,
    };
    Some(UpdateStatus {
        revision: model.current,
        state,
        message,
    })
}
