//! What is reported of a node: by the elected controller, and by the holder of its health. Pure.

use super::health::Verdict;
use super::snapshot::Snapshot;
use crate::api::accepted::AcceptedNode;
use crate::api::cluster::Severity;
use crate::api::name::{NodeName, ObjectKey};
use crate::api::status::{Condition, EngineStatus, NodeState, Status, Truth};
use crate::api::time::Timestamp;
use crate::api::unit::{Bytes, NanoCpus};
use crate::engine::Identity;
use crate::runtime::plan::Note;
use crate::runtime::view::MANAGER_GONE;
use std::net::IpAddr;

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

/// Conditions that stand only while they hold, by the verdict's reason.
const SPECIAL: [&str; 3] = ["EngineChanged", "DuplicateEngine", "EvictionsHeld"];

/// The status of a node's health. What an engine said of itself stays while it does not answer, and while another one
/// answers in its place.
pub fn engine_status(
    node: &AcceptedNode,
    before: Option<&Status>,
    identity: Option<&Identity>,
    verdict: &Verdict,
    now: Timestamp,
) -> Status {
    let old = before.and_then(|before| before.engine.clone());
    let is_same = |identity: &&Identity| {
        let id = old.as_ref().and_then(|old| old.id.as_ref());
        id.is_none_or(|id| *id == identity.id)
    };
    let mut engine = match identity.filter(is_same) {
        Some(identity) => described(identity),
        None => old.unwrap_or_default(),
    };
    engine.address = node.spec.address.or_else(|| host(&node.spec.engine.url));
    engine.state = verdict.state;
    engine.reason = verdict.reason.map(str::to_owned);
    engine.message = verdict.message.clone();
    Status {
        uid: Some(node.uid.clone()),
        observed_generation: Some(node.generation),
        conditions: conditions(before, verdict, now),
        engine: Some(engine),
        ..Status::default()
    }
}

/// What users are told when a verdict changes: once per change, not with each contact.
pub fn tell(name: &NodeName, before: Option<&Status>, next: &Status) -> Option<Note> {
    let engine = next.engine.as_ref()?;
    let old = before.and_then(|before| before.engine.as_ref());
    let is_special = |engine: &EngineStatus| {
        let reason = engine.reason.as_deref();
        SPECIAL.into_iter().find(|kind| Some(*kind) == reason)
    };
    let (severity, reason) = match (engine.state, is_special(engine)) {
        (_, Some(kind)) if old.and_then(is_special) == Some(kind) => return None,
        (_, Some(kind)) => (Severity::Warning, kind),
        (state, None) if old.is_some_and(|old| old.state == state) => return None,
        (NodeState::Ready, None) => (Severity::Normal, "NodeReady"),
        (NodeState::Down, None) => (Severity::Warning, "NodeDown"),
        // A new node is not known at first: no news.
        (NodeState::Unknown, None) if old?.state == NodeState::Unknown => return None,
        (NodeState::Unknown, None) => (Severity::Warning, "NodeUnknown"),
    };
    Some(Note {
        object: ObjectKey::node(name).to_string(),
        uid: next.uid.clone(),
        severity,
        reason,
        message: engine
            .message
            .clone()
            .unwrap_or_else(|| "its engine answers".into()),
    })
}

fn described(identity: &Identity) -> EngineStatus {
    EngineStatus {
        id: Some(identity.id.clone()),
        version: Some(identity.version.clone()),
        api_version: Some(identity.api_version.clone()),
        hostname: Some(identity.hostname.clone()),
        os: Some(identity.os.clone()),
        arch: Some(identity.arch.clone()),
        cpus: NanoCpus(identity.cpus.saturating_mul(1_000_000_000)),
        memory: Bytes(identity.memory),
        labels: identity.labels.clone(),
        plugins: identity.plugins.clone(),
        ..EngineStatus::default()
    }
}

fn conditions(before: Option<&Status>, verdict: &Verdict, now: Timestamp) -> Vec<Condition> {
    let before = before.map_or(&[][..], |before| &before.conditions);
    let reason = verdict.reason.unwrap_or("Answers");
    let message = verdict.message.clone().unwrap_or_default();
    let reachable = match verdict.state {
        NodeState::Ready => Truth::True,
        NodeState::Down => Truth::False,
        NodeState::Unknown => Truth::Unknown,
    };
    let of = |kind: &str, truth| Condition::new(before, now, kind, truth, reason, message.clone());
    let special = SPECIAL.into_iter().filter(|kind| *kind == reason);
    std::iter::once(of("EngineReachable", reachable))
        .chain(special.map(|kind| of(kind, Truth::True)))
        .collect()
}

/// The address in `tcp://10.0.0.11:2376`; none for sockets and for names.
fn host(url: &str) -> Option<IpAddr> {
    let rest = url.strip_prefix("tcp://")?;
    let authority = rest.split('/').next()?;
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host),
    };
    host.parse().ok()
}
