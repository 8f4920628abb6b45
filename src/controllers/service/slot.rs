//! The rules of one slot: what follows from its tasks, whatever the other slots do. Pure.
//!
//! Rule N3 holds at every step: one task with desired `running` per slot, except the old and new pair of a start-first
//! change. A task that waits for something (a delay, the end of its predecessor, the loss of a node) has desired `ready`:
//! prepared, not started.

use super::model::{Action, Member, Model, NewTask};
use super::place::Place;
use super::restart::{self, Verdict};
use crate::api::service::FailureAction;
use crate::api::task::{Desired, Slot, TaskState};
use crate::planted::{Bug, planted};

/// What the slot's tasks ask for now. Nothing means: it waits for something to happen, or for its turn in a change.
pub(super) fn settle(model: &Model<'_>, slot: &Slot) -> Vec<Action> {
    let (ready, running): (Vec<_>, Vec<_>) = model
        .wanted(slot)
        .partition(|member| member.task.desired == Desired::Ready);
    match (running.as_slice(), ready.as_slice()) {
        ([], []) => fill(model, slot),
        (_, [surplus @ .., _]) if !surplus.is_empty() => surplus
            .iter()
            .map(|one| remove(one, "Superseded"))
            .collect(),
        ([], [waiting, ..]) => wait(model, waiting),
        ([holder], []) => hold(model, holder),
        ([holder], [successor, ..]) => succeed(model, holder, successor),
        ([old @ .., new], _) => pair(model, old, new),
    }
}

/// An empty slot: a task, which waits while one that had to go still runs.
fn fill(model: &Model<'_>, slot: &Slot) -> Vec<Action> {
    let unreleased = model.of(slot).rfind(|member| !model.is_released(member));
    let new = NewTask {
        slot: slot.clone(),
        revision: model.current,
        desired: match unreleased {
            Some(_) => Desired::Ready,
            None => Desired::Running,
        },
        reason: None,
        replaces: unreleased.map(|member| member.task.id.clone()),
        failures: 0,
        delay: None,
    };
    vec![Action::Create(new)]
}

/// A task that waits, alone in its slot: for its time, and for the end of those before it.
fn wait(model: &Model<'_>, waiting: &Member<'_>) -> Vec<Action> {
    if let Some(reason) = misplaced(model, waiting) {
        return vec![remove(waiting, reason), anew(model, waiting)];
    }
    let is_due = model.is_due(waiting);
    if waiting.is_terminal() {
        // Its wait still counts: what fails while it is prepared must not be tried at once for ever.
        return match is_due {
            true => after_end(model, waiting),
            false => Vec::new(),
        };
    }
    match is_due && is_free(model, waiting) {
        true => vec![promote(waiting)],
        false => Vec::new(),
    }
}

/// One task with desired `running`.
fn hold(model: &Model<'_>, holder: &Member<'_>) -> Vec<Action> {
    if holder.is_terminal() {
        return after_end(model, holder);
    }
    match holder.place {
        Place::Gone(why) => vec![
            remove(holder, why),
            Action::Create(takeover(model, holder, Desired::Running, why)),
        ],
        Place::Unbound if model.is_outdated(holder) => {
            vec![remove(holder, "Updated"), anew(model, holder)]
        }
        Place::Down if model.replaces_lost(&holder.task.slot) => {
            let is_hasty = planted(Bug::ReplacesLostAtOnce);
            let desired = if is_hasty {
                Desired::Running
            } else {
                Desired::Ready
            };
            vec![Action::Create(takeover(model, holder, desired, "NodeLost"))]
        }
        Place::Unbound | Place::Down | Place::Unknown | Place::Ready(_) => Vec::new(),
    }
}

/// A task with desired `running`, and one that waits to take over: its node is lost, or a first successor failed.
fn succeed(model: &Model<'_>, holder: &Member<'_>, successor: &Member<'_>) -> Vec<Action> {
    if holder.is_terminal() {
        return vec![shut_down(holder, end_reason(holder))];
    }
    if let Place::Gone(why) = holder.place {
        return vec![remove(holder, why)];
    }
    if let Some(reason) = misplaced(model, successor) {
        return vec![remove(successor, reason)];
    }
    if successor.is_terminal() {
        return match model.is_due(successor) || model.is_outdated(successor) {
            true => try_again(model, successor),
            false => Vec::new(),
        };
    }
    match (successor.task.not_before, holder.place) {
        // Prepared beside the lost one: one step, so that never both are wanted.
        (_, Place::Down) if model.replaces_lost(&holder.task.slot) => match successor.state {
            TaskState::Ready => vec![shut_down(holder, "NodeLost"), promote(successor)],
            _ => Vec::new(),
        },
        (Some(_), Place::Ready(_)) if is_still_wanted(model, holder) => {
            match model.is_due(successor) {
                true => vec![promote(successor)],
                false => Vec::new(),
            }
        }
        (_, Place::Ready(_)) => vec![remove(successor, "NodeReturned")],
        (_, Place::Unbound) => vec![remove(successor, "Superseded")],
        (_, Place::Down | Place::Unknown | Place::Gone(_)) => Vec::new(),
    }
}

/// Old and new run side by side until the new one serves.
fn pair(model: &Model<'_>, old: &[&Member<'_>], new: &Member<'_>) -> Vec<Action> {
    if new.is_serving() || planted(Bug::RetiresBeforeServing) {
        let reason = reason_of(new);
        return old.iter().map(|one| shut_down(one, reason)).collect();
    }
    let ended: Vec<Action> = old
        .iter()
        .filter_map(|one| match (one.is_terminal(), one.place) {
            (true, _) => Some(shut_down(one, end_reason(one))),
            (false, Place::Gone(why)) => Some(remove(one, why)),
            (false, _) => None,
        })
        .collect();
    if !ended.is_empty() {
        return ended;
    }
    if let Some(reason) = misplaced(model, new) {
        return vec![remove(new, reason)];
    }
    let has_failed = new.is_terminal() || new.is_unhealthy();
    // One for a node that has to be left is tried again, after its wait: given up, it would be its turn again at once.
    let is_change = old.iter().any(|old| old.task.revision != new.task.revision);
    let is_halted = is_change && new.task.revision == model.current && model.is_paused;
    match (has_failed, new.is_terminal()) {
        (true, _) if is_halted => vec![shut_down(new, end_reason(new))],
        (true, true) => try_again(model, new),
        (true, false) | (false, _) => Vec::new(),
    }
}

/// Why a task that does not serve yet should not go on: another takes its place.
fn misplaced(model: &Model<'_>, member: &Member<'_>) -> Option<&'static str> {
    match member.place {
        Place::Gone(why) => Some(why),
        Place::Down if model.replaces_lost(&member.task.slot) => Some("NodeLost"),
        Place::Ready(Some(fault)) if !member.is_terminal() => Some(fault),
        _ if model.is_outdated(member) && !member.is_terminal() => Some("Updated"),
        Place::Unbound | Place::Down | Place::Unknown | Place::Ready(_) => None,
    }
}

/// A running task that its slot wants to be rid of: a change has yet to replace it.
fn is_still_wanted(model: &Model<'_>, holder: &Member<'_>) -> bool {
    model.is_outdated(holder) || matches!(holder.place, Place::Ready(Some(_)))
}

/// What follows a task that ended alone in its slot.
fn after_end(model: &Model<'_>, ended: &Member<'_>) -> Vec<Action> {
    let reason = end_reason(ended);
    if model.is_outdated(ended) {
        return vec![shut_down(ended, reason), anew(model, ended)];
    }
    match restart::decide(&model.spec().template.restart, ended) {
        Verdict::Done | Verdict::Exhausted => Vec::new(),
        Verdict::Retry { failures, delay } => {
            let mut new = takeover(model, ended, Desired::Ready, "Restarted");
            new.failures = failures;
            new.delay = Some(delay);
            if delay.is_zero() && is_free(model, ended) {
                new.desired = Desired::Running;
            }
            vec![shut_down(ended, reason), Action::Create(new)]
        }
    }
}

/// A successor that failed before it took over: another one after a wait, however the restart policy puts it, because
/// the one that it takes over from still has to go. One of an older revision is only given up: its failures say nothing of
/// the current revision, whose turn in this slot comes as it would have without it.
fn try_again(model: &Model<'_>, failed: &Member<'_>) -> Vec<Action> {
    if model.is_outdated(failed) {
        return vec![shut_down(failed, end_reason(failed))];
    }
    let (failures, delay) = restart::again(&model.spec().template.restart, failed);
    let mut new = takeover(model, failed, Desired::Ready, "Restarted");
    new.replaces = failed.task.replaces.clone();
    new.failures = failures;
    new.delay = Some(delay);
    vec![shut_down(failed, end_reason(failed)), Action::Create(new)]
}

/// Another task for one that never ran or has ended, as soon as the slot is free.
fn anew(model: &Model<'_>, member: &Member<'_>) -> Action {
    let desired = match is_free(model, member) {
        true => Desired::Running,
        false => Desired::Ready,
    };
    let mut new = takeover(model, member, desired, "Updated");
    new.reason = None;
    if !member.is_terminal() {
        new.replaces = member.task.replaces.clone();
    }
    Action::Create(new)
}

/// Whether nothing of the slot but `member` may still run.
fn is_free(model: &Model<'_>, member: &Member<'_>) -> bool {
    model
        .of(&member.task.slot)
        .filter(|other| other.task.id != member.task.id)
        .all(|other| model.is_released(other))
}

/// A task that takes over from `member`.
pub(super) fn takeover(
    model: &Model<'_>,
    member: &Member<'_>,
    desired: Desired,
    reason: &'static str,
) -> NewTask {
    NewTask {
        slot: member.task.slot.clone(),
        revision: model.revision_after(member),
        desired,
        reason: Some(reason),
        replaces: Some(member.task.id.clone()),
        failures: 0,
        delay: None,
    }
}

/// Whether a failed new task halts the change: it may still be told to go on.
pub(super) fn may_halt(action: FailureAction) -> bool {
    match action {
        // Taking back is a later issue's; until then it halts, which is the part that does no harm.
        FailureAction::Pause | FailureAction::Rollback => true,
        FailureAction::Continue => false,
    }
}

pub(super) fn shut_down(member: &Member<'_>, reason: &'static str) -> Action {
    Action::Move(member.task.id.clone(), Desired::Shutdown, Some(reason))
}

pub(super) fn remove(member: &Member<'_>, reason: &'static str) -> Action {
    Action::Move(member.task.id.clone(), Desired::Remove, Some(reason))
}

fn promote(member: &Member<'_>) -> Action {
    Action::Move(member.task.id.clone(), Desired::Running, None)
}

fn end_reason(member: &Member<'_>) -> &'static str {
    match member.state {
        TaskState::Complete => "Completed",
        TaskState::Rejected => "Rejected",
        _ if member.is_unhealthy() => "Unhealthy",
        _ => "Failed",
    }
}

/// Why a pair's old task goes: what its new one was made for.
fn reason_of(new: &Member<'_>) -> &'static str {
    match new.task.reason.as_deref() {
        Some("Drained") => "Drained",
        Some("NodeDeleted") => "NodeDeleted",
        Some("ConstraintViolated") => "ConstraintViolated",
        _ => "Updated",
    }
}
