//! What the elected controller says of a node. Pure.

use super::snapshot::Snapshot;
use crate::api::accepted::AcceptedNode;
use crate::api::status::{Condition, Status, Truth};
use crate::runtime::view::MANAGER_GONE;

/// The status after a plan; none if there is nothing to say it of.
pub fn status(
    snapshot: &Snapshot<'_>,
    record: Option<&AcceptedNode>,
    accepted: Option<Condition>,
    is_manager_gone: bool,
) -> Option<Status> {
    let mut conditions = vec![accepted?];
    if let Some(record) = record.filter(|record| super::accept::is_socket(&record.spec)) {
        conditions.push(manager_condition(snapshot, record, is_manager_gone));
    }
    Some(Status {
        uid: record.map(|record| record.uid.clone()),
        observed_generation: record.map(|record| record.generation),
        conditions,
        ..Status::default()
    })
}

fn manager_condition(
    snapshot: &Snapshot<'_>,
    record: &AcceptedNode,
    is_manager_gone: bool,
) -> Condition {
    let manager = record.spec.manager.as_deref().unwrap_or_default();
    let (truth, reason, message) = match is_manager_gone {
        true => (
            Truth::True,
            "NoHolder",
            format!("manager {manager}, whose socket it is, has not been seen for the grace"),
        ),
        false => (
            Truth::False,
            "Held",
            format!("manager {manager} looks after it"),
        ),
    };
    Condition::new(
        snapshot.conditions(),
        snapshot.now.wall,
        MANAGER_GONE,
        truth,
        reason,
        message,
    )
}
