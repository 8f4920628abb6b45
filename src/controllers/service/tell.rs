//! What users are told of a service: scaling, where a change stands, failures, adoption. Pure.

use super::model::Member;
use super::snapshot::Snapshot;
use crate::api::accepted::AcceptedService;
use crate::api::cluster::Severity;
use crate::api::name::ObjectKey;
use crate::api::status::{UpdateState, UpdateStatus};
use crate::api::task::Desired;
use crate::runtime::plan::Plan;

/// The number of replicas changed.
pub(super) fn scale(snapshot: &Snapshot<'_>, record: &AcceptedService, plan: &mut Plan) {
    let before = snapshot.accepted.and_then(|old| old.value.spec.replicas);
    if let (Some(before), Some(after)) = (before, record.spec.replicas)
        && before != after
    {
        let object = ObjectKey::service(snapshot.name);
        let message = format!("scaled from {before} to {after}");
        plan.note(
            object,
            Some(&record.uid),
            Severity::Normal,
            "Scaled",
            message,
        );
    }
}

/// Where the change of the service stands, each step once.
pub(super) fn update(
    snapshot: &Snapshot<'_>,
    record: &AcceptedService,
    update: Option<&UpdateStatus>,
    plan: &mut Plan,
) {
    let before = snapshot
        .status
        .and_then(|status| status.value.update.as_ref())
        .map(|update| (update.revision, update.state));
    let Some(update) = update.filter(|update| before != Some((update.revision, update.state)))
    else {
        return;
    };
    let revision = update.revision;
    let (severity, reason, message) = match update.state {
        UpdateState::Updating => (
            Severity::Normal,
            "UpdateStarted",
            format!("rolling out revision {revision}"),
        ),
        UpdateState::Completed => (
            Severity::Normal,
            "UpdateCompleted",
            format!("all tasks are of revision {revision}"),
        ),
        UpdateState::Paused => (
            Severity::Warning,
            "UpdatePaused",
            format!(
                "revision {revision} is halted: {}",
                update.message.as_deref().unwrap_or("a new task failed")
            ),
        ),
    };
    let object = ObjectKey::service(snapshot.name);
    plan.note(object, Some(&record.uid), severity, reason, message);
}

/// What users care about: failures, lost nodes, adoption. Starts and ordinary stops would drown it.
pub(super) fn task(snapshot: &Snapshot<'_>, member: &Member<'_>, plan: &mut Plan) {
    let task = &member.task;
    let was = member.before.map(|before| before.desired);
    let seen = member.status.and_then(|status| status.message.as_deref());
    let exit = member.status.and_then(|status| status.exit_code);
    let how = match (seen, exit) {
        (Some(message), _) => message.to_owned(),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => format!("state {}", member.state.as_str()),
    };
    let slot = &task.slot;
    let (severity, reason, message) = match (task.reason.as_deref(), was) {
        (Some("Adopted"), None) => (
            Severity::Normal,
            "Adopted",
            format!("slot {slot}: its record is rebuilt from its container"),
        ),
        (Some("Failed" | "Rejected" | "Unhealthy"), Some(was)) if task.desired != was => (
            Severity::Warning,
            "TaskFailed",
            format!("slot {slot}: {how}; it is replaced"),
        ),
        (Some("NodeLost"), Some(was)) if task.desired > was && was == Desired::Running => (
            Severity::Warning,
            "NodeLost",
            format!("slot {slot}: its node is lost; its replacement starts elsewhere"),
        ),
        _ => return,
    };
    let object = format!("tasks/{}/{}", snapshot.name, task.id);
    plan.note(object, Some(&task.service), severity, reason, message);
}
