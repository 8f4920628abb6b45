//! What is written of a task, from what was seen of its container. Pure.

use super::snapshot::{Refused, Snapshot};
use crate::api::task::{Binding, TaskState, TaskStatus};
use crate::dataplane::address::Mac;
use crate::engine::{Container, ContainerState};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// Reason: the container is not there although it ran.
pub const CONTAINER_GONE: &str = "ContainerGone";
/// Reason: the container was removed because the task's record said so.
pub const REMOVED: &str = "Removed";
/// Reason: an attempt failed and will be repeated.
pub const RETRYING: &str = "Retrying";
/// Reason of a status: what the task needs of networks is not there yet (rule C8).
pub const WAITING: &str = "NetworksNotReady";

/// A status that says no more than the state; `since` and the container stay where they are still true.
pub fn state(snapshot: &Snapshot<'_>, binding: &Binding, state: TaskState) -> TaskStatus {
    let before = snapshot.status;
    TaskStatus {
        task: snapshot.id.clone(),
        service: binding.service.clone(),
        node: binding.node.clone(),
        state,
        reason: None,
        message: None,
        container: before.and_then(|before| before.container.clone()),
        exit_code: None,
        health: None,
        addresses: Vec::new(),
        bridged: Vec::new(),
        ports: Vec::new(),
        started_at: None,
        finished_at: None,
        since: before
            .filter(|before| before.state == state)
            .map_or(snapshot.wall(), |before| before.since),
    }
}

/// A status with what its container shows.
pub fn of_container(
    snapshot: &Snapshot<'_>,
    binding: &Binding,
    container: &Container,
    stage: TaskState,
) -> TaskStatus {
    let is_running = container.state == ContainerState::Running;
    let mut status = state(snapshot, binding, stage);
    status.container = Some(container.id.clone());
    status.started_at = container.started_at;
    if is_running {
        status.health = container.health;
        status.addresses = container.addresses.clone();
        status.bridged = bridged(&container.hardware);
        status.ports = container.ports.clone();
    } else if container.started_at.is_some() {
        status.finished_at = container.finished_at;
        status.exit_code = Some(container.exit_code);
    }
    status
}

/// The addresses to which its hardware addresses belong.
fn bridged(hardware: &BTreeMap<IpAddr, String>) -> Vec<Ipv4Addr> {
    let follows = |(address, hardware): (&IpAddr, &String)| match address {
        IpAddr::V4(address) => {
            let is_so = Mac::of_container(*address).to_string() == hardware.to_lowercase();
            is_so.then_some(*address)
        }
        IpAddr::V6(_) => None,
    };
    hardware.iter().filter_map(follows).collect()
}

/// How a container ended: complete or failed, and why.
pub fn ended(snapshot: &Snapshot<'_>, binding: &Binding, container: &Container) -> TaskStatus {
    let is_complete = container.exit_code == 0 && container.error.is_empty();
    let (stage, reason) = match (is_complete, container.oom_killed) {
        (true, _) => (TaskState::Complete, None),
        (false, true) => (TaskState::Failed, Some("OomKilled")),
        (false, false) => (TaskState::Failed, Some("Exited")),
    };
    let mut status = of_container(snapshot, binding, container, stage);
    status.reason = reason.map(str::to_owned);
    status.message = reason.map(|_| end_message(container));
    status
}

fn end_message(container: &Container) -> String {
    match (container.oom_killed, container.error.is_empty()) {
        (true, _) => "the kernel killed it: it used more memory than its limit".into(),
        (false, true) => format!("it ended with exit code {}", container.exit_code),
        (false, false) => container.error.clone(),
    }
}

/// The task cannot go on here.
pub fn refused(
    snapshot: &Snapshot<'_>,
    binding: &Binding,
    stage: TaskState,
    refused: &Refused,
) -> TaskStatus {
    let mut status = state(snapshot, binding, stage);
    status.reason = Some(refused.reason.into());
    status.message = Some(refused.message.clone());
    status
}

/// The state stays, and people are told what the task waits for.
pub fn waiting(snapshot: &Snapshot<'_>, binding: &Binding, why: &str) -> TaskStatus {
    let reached = snapshot.status.map(|status| status.state);
    let stage = reached.map_or(TaskState::Preparing, |state| {
        state.max(TaskState::Preparing)
    });
    let mut status = state(snapshot, binding, stage);
    status.reason = Some(WAITING.into());
    status.message = Some(why.to_owned());
    status
}

/// The state stays, and people are told what is tried again; none where there is nothing to tell.
pub fn retrying(snapshot: &Snapshot<'_>, binding: &Binding) -> Option<TaskStatus> {
    let trouble = snapshot.progress.trouble.as_ref()?;
    let mut status = match snapshot.status {
        Some(status) if status.state.is_terminal() => return None,
        Some(status) => status.clone(),
        None => state(snapshot, binding, TaskState::Preparing),
    };
    status.reason = Some(RETRYING.into());
    status.message = Some(trouble.clone());
    Some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_stay_on_bridges_where_the_hardware_address_follows_from_the_other() {
        let seen = [
            ("10.64.0.9", "02:42:0a:40:00:09"),
            ("10.64.0.10", "02:42:0A:40:00:0A"),
            ("10.64.0.11", "8a:3c:11:22:33:44"),
            ("10.64.0.12", ""),
        ];
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let hardware = seen.map(|(of, hardware)| (address(of), hardware.to_owned()));
        let found = bridged(&hardware.into());
        assert_eq!(
            found,
            [Ipv4Addr::new(10, 64, 0, 9), Ipv4Addr::new(10, 64, 0, 10)]
        );
    }
}
