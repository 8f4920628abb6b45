//! Restart: when a task that ended gets a replacement, and after which wait. Pure.
//!
//! The wait doubles with each end in a row. An exit with code 0 counts as well, where the condition asks for a
//! replacement after it: a process that returns at once would otherwise be started every second for ever. A task that ran
//! for long breaks the row.

use super::model::Member;
use crate::api::service::{Restart, RestartCondition};
use crate::api::task::TaskState;
use crate::planted::{Bug, planted};
use std::time::Duration;

/// What follows the end of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A replacement after `delay`, with so many ends in a row before it.
    Retry {
        /// Ends in a row, this one included.
        failures: u32,
        /// The wait.
        delay: Duration,
    },
    /// Nothing: the policy asks for none after such an end.
    Done,
    /// Nothing: too many attempts.
    Exhausted,
}

/// Decides what follows the end of `member`.
pub(super) fn decide(policy: &Restart, member: &Member<'_>) -> Verdict {
    let is_success = member.state == TaskState::Complete;
    match policy.condition {
        _ if planted(Bug::ForgetsRestart) => return Verdict::Done,
        RestartCondition::None => return Verdict::Done,
        RestartCondition::OnFailure if is_success => return Verdict::Done,
        RestartCondition::OnFailure | RestartCondition::Any => {}
    }
    let failures = in_a_row(policy, member);
    match policy.max_attempts {
        0 => retry(policy, failures),
        most if failures > most => Verdict::Exhausted,
        _ => retry(policy, failures),
    }
}

/// A replacement whatever the policy says: for a task that was to take over and ended first.
pub(super) fn again(policy: &Restart, member: &Member<'_>) -> (u32, Duration) {
    let failures = in_a_row(policy, member);
    (failures, delay(policy, failures))
}

fn retry(policy: &Restart, failures: u32) -> Verdict {
    Verdict::Retry {
        failures,
        delay: delay(policy, failures),
    }
}

fn delay(policy: &Restart, failures: u32) -> Duration {
    let doubled = 1u32
        .checked_shl(failures.saturating_sub(1))
        .unwrap_or(u32::MAX);
    policy
        .delay
        .0
        .saturating_mul(doubled)
        .min(policy.max_delay.0.max(policy.delay.0))
}

/// How many ended in a row, `member` included.
fn in_a_row(policy: &Restart, member: &Member<'_>) -> u32 {
    let enough = match policy.window.0 {
        Duration::ZERO => policy.max_delay.0,
        window => window,
    };
    let ran_long = member
        .ran_for()
        .is_some_and(|time| !enough.is_zero() && time >= enough);
    match ran_long {
        true => 1,
        false => member.task.failures.saturating_add(1),
    }
}
