//! What users are told of a task when its status changes. Pure.
//!
//! Told is what somebody may have to act on, once: a repeated attempt changes the status, not the news. Starts and
//! ordinary stops are not told: they would drown the rest.

use super::snapshot::Snapshot;
use super::status::{CONTAINER_GONE, RETRYING};
use crate::api::cluster::Severity;
use crate::api::key::Key;
use crate::api::task::{Health, TaskState, TaskStatus};
use crate::runtime::plan::Note;

/// The event for a status that is about to be written, if it is one.
pub(super) fn note(snapshot: &Snapshot<'_>, next: &TaskStatus) -> Option<Note> {
    let (service, task) = snapshot.task?;
    let (severity, reason) = news(snapshot.status, next)?;
    let message = next.message.clone().unwrap_or_else(|| said(reason, next));
    Some(Note {
        object: Key::Task(service.clone(), task.id.clone()).to_string(),
        uid: Some(task.service.clone()),
        severity,
        reason,
        message: format!("{message} (node {})", snapshot.node),
    })
}

/// What is new, as an event's severity and reason.
pub(super) fn news(
    before: Option<&TaskStatus>,
    next: &TaskStatus,
) -> Option<(Severity, &'static str)> {
    let is_new_state = before.is_none_or(|before| before.state != next.state);
    let reason = next.reason.as_deref();
    let is_new_reason = before.and_then(|before| before.reason.as_deref()) != reason;
    match next.state {
        TaskState::Failed | TaskState::Rejected if is_new_state => {
            Some((Severity::Warning, failure(reason)))
        }
        TaskState::Complete if is_new_state => Some((Severity::Normal, "Completed")),
        state if !state.is_terminal() && is_new_reason && reason == Some(RETRYING) => {
            Some((Severity::Warning, "Retrying"))
        }
        TaskState::Preparing if is_new_reason && reason == Some("Pulling") => {
            let is_retried = before.is_some_and(|before| before.reason.is_some());
            (!is_retried).then_some((Severity::Normal, "Pulling"))
        }
        TaskState::Running => health(before.and_then(|before| before.health), next.health),
        _ => None,
    }
}

fn health(before: Option<Health>, next: Option<Health>) -> Option<(Severity, &'static str)> {
    match (before, next) {
        (Some(Health::Unhealthy), Some(Health::Unhealthy)) => None,
        (_, Some(Health::Unhealthy)) => Some((Severity::Warning, "Unhealthy")),
        (Some(Health::Unhealthy), Some(Health::Healthy)) => Some((Severity::Normal, "Healthy")),
        _ => None,
    }
}

/// The reasons that end a task, as words that an event may carry.
fn failure(reason: Option<&str>) -> &'static str {
    const KNOWN: [&str; 7] = [
        "NoSuchImage",
        "NameConflict",
        "CreateRefused",
        "StartFailed",
        "OomKilled",
        "Exited",
        CONTAINER_GONE,
    ];
    let known = KNOWN.into_iter().find(|known| Some(*known) == reason);
    known.unwrap_or("Failed")
}

fn said(reason: &str, next: &TaskStatus) -> String {
    match (reason, next.exit_code) {
        ("Unhealthy", _) => "its health check fails".into(),
        ("Healthy", _) => "its health check passes again".into(),
        (_, Some(code)) => format!("it ended with exit code {code}"),
        (_, None) => format!("state {}", next.state.as_str()),
    }
}
