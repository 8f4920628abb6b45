//! Changes that go slot by slot: a new revision, a drained or deleted node, a violated constraint. Pure.
//!
//! So many slots as `parallelism` says are changed at once. A slot is done when its new task has served for `monitor` and
//! its old one was seen stopped: until then it runs, and the next pair would be one more than was asked for. A new task of a
//! new revision that fails halts the change; the halt is stored in the status, so it outlives leaders.

use super::model::{Action, Member, Model};
use super::place::Place;
use super::slot::{may_halt, shut_down, takeover};
use crate::api::container::MountKind;
use crate::api::service::{Order, PortMode, ServiceSpec};
use crate::api::task::{Desired, Slot, TaskState};
use crate::api::unit::Period;
use crate::planted::{Bug, planted};
use std::time::Duration;

/// Docker's defaults of a health check, for specs that say nothing about `monitor`.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
const CHECK_RETRIES: u32 = 3;
/// The shortest default of `monitor`.
const MONITOR: Duration = Duration::from_secs(5);

/// Why a slot is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Its task is of an older revision.
    Outdated,
    /// Its task has to leave its node.
    Fault(&'static str),
}

/// The replacements whose turn it is, and the time after which it is the next one's.
pub(super) fn advance(model: &Model<'_>, wanted: &[Slot]) -> (Vec<Action>, Option<Duration>) {
    let mut candidates: Vec<(bool, &Slot, &Member<'_>, Cause)> = wanted
        .iter()
        .filter_map(|slot| candidate(model, slot))
        .map(|(slot, member, cause)| (member.is_serving(), slot, member, cause))
        .collect();
    // Those that serve nobody cost nothing to replace.
    candidates.sort_by_key(|(is_serving, slot, ..)| (*is_serving, (*slot).clone()));
    let mut look_again: Option<Duration> = None;
    let mut busy = [0, 0];
    for slot in wanted {
        let Some(task) = model.wanted(slot).next_back() else {
            continue;
        };
        let wait = unsettled(model, slot, task);
        if let Some(left) = wait {
            busy[0] += 1;
            // A crash loop holds up a new revision, not the drain of a node.
            busy[1] += usize::from(task.task.failures == 0);
            if let Some(left) = left {
                look_again = Some(look_again.map_or(left, |least| least.min(left)));
            }
        }
    }
    let most = match model.spec().update.parallelism {
        _ if planted(Bug::ChangesAllAtOnce) => usize::MAX,
        None => 1,
        Some(0) => usize::MAX,
        Some(number) => usize::try_from(number).unwrap_or(usize::MAX),
    };
    let mut actions = Vec::new();
    for (_, _, member, cause) in candidates {
        let busy_here = match cause {
            Cause::Outdated => busy[0],
            Cause::Fault(_) => busy[1],
        };
        if busy_here >= most {
            continue;
        }
        busy = busy.map(|count| count + 1);
        actions.extend(replace(model, member, cause));
    }
    (actions, look_again)
}

/// The number of slots whose task of the current revision failed, while others are of older ones.
pub(super) fn failed_slots(model: &Model<'_>, wanted: &[Slot]) -> usize {
    let is_old = |member: &Member<'_>| member.task.revision != model.current;
    if !wanted.iter().any(|slot| model.wanted(slot).any(is_old)) {
        return 0;
    }
    wanted
        .iter()
        .filter(|slot| {
            model
                .wanted(slot)
                .filter(|member| !is_old(member))
                .any(has_failed)
        })
        .count()
}

/// How a task of the current revision failed, for people: `slot 2: it ended with exit code 1`.
pub(super) fn failure(model: &Model<'_>, wanted: &[Slot]) -> Option<String> {
    let failed = |slot| {
        model
            .wanted(slot)
            .filter(|member| member.task.revision == model.current)
            .find(|member| has_failed(member))
    };
    let member = wanted.iter().find_map(failed)?;
    let how = match &member.status?.message {
        Some(message) => message.as_str(),
        None if member.is_unhealthy() => "its health check fails",
        None => return None,
    };
    Some(format!("slot {}: {how}", member.task.slot))
}

/// Whether the failures seen so far halt the change.
pub(super) fn halts(spec: &ServiceSpec, failed: usize, slots: usize) -> bool {
    #[allow(clippy::cast_precision_loss, reason = "slots are far below 2^52")]
    let ratio = failed as f64 / slots.max(1) as f64;
    failed > 0 && may_halt(spec.update.failure_action) && ratio > spec.update.max_failure_ratio
}

fn has_failed(member: &Member<'_>) -> bool {
    let has_ended = member.is_terminal() && member.state != TaskState::Complete;
    has_ended || member.is_unhealthy() || member.task.failures > 0
}

fn candidate<'m, 'a>(
    model: &'m Model<'a>,
    slot: &'m Slot,
) -> Option<(&'m Slot, &'m Member<'a>, Cause)> {
    let mut tasks = model.wanted(slot);
    let (Some(holder), None) = (tasks.next(), tasks.next()) else {
        return None;
    };
    if holder.task.desired != Desired::Running || holder.is_terminal() {
        return None;
    }
    // Rule N3: beside the two of a pair a third one would run.
    if still_stops(model, slot) {
        return None;
    }
    match holder.place {
        Place::Ready(Some(fault)) => Some((slot, holder, Cause::Fault(fault))),
        Place::Ready(None) if model.is_outdated(holder) => Some((slot, holder, Cause::Outdated)),
        // Rule N3: nothing is decided about a task on a node that cannot be seen.
        Place::Ready(None) | Place::Unbound | Place::Unknown | Place::Down | Place::Gone(_) => None,
    }
}

/// Whether the slot's newest task is a replacement that has yet to prove itself: how long still, where that is known.
#[allow(
    clippy::option_option,
    reason = "settled, for so long, until something happens"
)]
fn unsettled(model: &Model<'_>, slot: &Slot, newest: &Member<'_>) -> Option<Option<Duration>> {
    if model.wanted(slot).count() > 1 || newest.task.desired == Desired::Ready {
        return Some(None);
    }
    if still_stops(model, slot) {
        return Some(None);
    }
    if newest.task.replaces.is_none() || newest.task.revision != model.current {
        return None;
    }
    if !newest.is_serving() {
        return Some(None);
    }
    // Rule N4: another machine's clock may delay what follows, never hasten it; `created_at` is a leader's own.
    let since = newest
        .status
        .map_or(newest.task.created_at, |status| status.since)
        .max(newest.task.created_at);
    let wait = monitor(model.spec()) + model.spec().update.delay.0;
    let until = since.after(wait);
    (!model.has_come(until, wait)).then(|| Some(until.since(model.now)))
}

/// Whether a task that the slot gave up has yet to be seen stopped.
fn still_stops(model: &Model<'_>, slot: &Slot) -> bool {
    model
        .of(slot)
        .any(|one| !one.is_wanted() && !model.is_released(one))
}

fn replace(model: &Model<'_>, member: &Member<'_>, cause: Cause) -> Vec<Action> {
    let reason = match cause {
        Cause::Outdated => "Updated",
        Cause::Fault(fault) => fault,
    };
    match order(model.spec()) {
        Order::StartFirst => {
            vec![Action::Create(takeover(
                model,
                member,
                Desired::Running,
                reason,
            ))]
        }
        Order::StopFirst => vec![
            shut_down(member, reason),
            Action::Create(takeover(model, member, Desired::Ready, reason)),
        ],
    }
}

/// What comes first. Acceptance fills it in; the rule here is for records of versions that did not.
fn order(spec: &ServiceSpec) -> Order {
    let has_host_port = spec
        .ports
        .iter()
        .any(|port| port.mode == PortMode::Host && port.published.is_some());
    let has_data =
        spec.template.container.mounts.iter().any(|mount| {
            mount.kind != MountKind::Tmpfs && mount.source.is_some() && !mount.read_only
        });
    let fallback = match has_host_port || has_data {
        true => Order::StopFirst,
        false => Order::StartFirst,
    };
    spec.update.order.unwrap_or(fallback)
}

fn monitor(spec: &ServiceSpec) -> Duration {
    let check = spec.template.container.healthcheck.as_ref();
    let fallback = check
        .filter(|check| !check.disable)
        .map_or(MONITOR, |check| {
            let period = |period: Option<Period>| period.map(|period| period.0);
            let interval = period(check.interval).unwrap_or(CHECK_INTERVAL);
            let start = period(check.start_period).unwrap_or_default();
            MONITOR.max(start + interval * check.retries.unwrap_or(CHECK_RETRIES))
        });
    spec.update.monitor.map_or(fallback, |monitor| monitor.0)
}
