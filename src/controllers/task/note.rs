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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::time::Timestamp;

    /// `state/Reason` and perhaps a word for health.
    fn status(words: &str) -> Option<TaskStatus> {
        let mut words = words.split_whitespace();
        let (state, reason) = words.next()?.split_once('/')?;
        let health = words.next().map(|word| match word {
            "healthy" => Health::Healthy,
            _ => Health::Unhealthy,
        });
        Some(TaskStatus {
            task: "t".into(),
            service: "s".into(),
            node: "n".into(),
            state: *TaskState::ALL
                .iter()
                .find(|known| known.as_str() == state)?,
            reason: (!reason.is_empty()).then(|| reason.into()),
            message: None,
            container: None,
            exit_code: None,
            health,
            addresses: Vec::new(),
            bridged: Vec::new(),
            ports: Vec::new(),
            started_at: None,
            finished_at: None,
            since: Timestamp(0),
        })
    }

    fn check(before: &str, next: &str, told: &str) {
        let next = status(next).unwrap();
        let news = news(status(before).as_ref(), &next).map_or("", |(_, reason)| reason);
        assert_eq!(news, told, "{before} -> {}", next.state.as_str());
    }

    #[test]
    fn troubles_are_told_once_and_ordinary_life_is_not() {
        check("", "preparing/Pulling", "Pulling");
        check("preparing/Retrying", "preparing/Pulling", "");
        check("preparing/Pulling", "preparing/Retrying", "Retrying");
        check("preparing/Retrying", "preparing/Retrying", "");
        check("starting/", "starting/Retrying", "Retrying");
        check("preparing/Pulling", "rejected/NoSuchImage", "NoSuchImage");
        check("starting/", "failed/StartFailed", "StartFailed");
        check("starting/", "failed/Unheard", "Failed");
        check("starting/", "running/", "");
        check("running/", "failed/Exited", "Exited");
        check("running/", "failed/OomKilled", "OomKilled");
        check("running/", "complete/", "Completed");
        check("running/", "shutdown/", "");
        check("failed/Exited", "failed/Removed", "");
        check("running/", "running/ unhealthy", "Unhealthy");
        check("running/ unhealthy", "running/ unhealthy", "");
        check("running/ unhealthy", "running/ healthy", "Healthy");
        check("running/ healthy", "running/ healthy", "");
    }
}
