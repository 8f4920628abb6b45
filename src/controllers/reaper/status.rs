//! What the reaper reports of a node, at `status/nodes/<name>/reaper`. (Of a service it reports how much history it let
//! go, written with the removals.)

use super::snapshot::FoundOn;
use crate::api::cluster::Severity;
use crate::api::name::{NodeName, ObjectKey};
use crate::api::status::{Condition, Status, Truth, UnclaimedKind};
use crate::api::text::Text;
use crate::api::time::Timestamp;
use crate::runtime::plan::Plan;
use std::collections::BTreeSet;

/// The controller's name in status keys.
pub(super) const CONTROLLER: &str = "reaper";

/// Condition: containers of this cluster have no record.
const UNCLAIMED_CONTAINERS: &str = "UnclaimedContainers";
/// Condition: some of them are not removed (yet).
const REAPER_HELD: &str = "ReaperHeld";
/// Condition: containers of other skep clusters run on the engine.
const FOREIGN_CONTAINERS: &str = "ForeignContainers";
/// Condition: containers of tasks that are bound to other nodes.
const STRAY_CONTAINERS: &str = "StrayContainers";
/// Condition: containers carry our labels without being ours.
const COPIED_LABELS: &str = "CopiedLabels";

/// So many names are listed in a message.
const NAMES: usize = 5;

/// What became of the lost containers of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// All of them.
    pub(super) lost: usize,
    /// Of an earlier life of the store, or with labels that cannot be read.
    pub(super) held: usize,
    /// Due, but over the rate.
    pub(super) over_rate: usize,
    /// The rate.
    pub(super) limit: usize,
}

/// The key of a node's status: object and controller.
pub(super) fn key(node: &NodeName) -> (ObjectKey, Text) {
    (ObjectKey::node(node), CONTROLLER.into())
}

/// The status of a node; without conditions if there is nothing to say.
pub(super) fn of(
    node: &FoundOn<'_>,
    tally: &Tally,
    before: Option<&Status>,
    now: Timestamp,
) -> Status {
    let before = before.map_or(&[][..], |status| &status.conditions);
    let said = [
        unclaimed(node, tally),
        held(tally),
        stray(node),
        foreign(node),
        copied(node),
    ];
    Status {
        uid: Some(node.node.uid().clone()),
        observed_generation: Some(node.node.accepted.generation),
        conditions: said
            .into_iter()
            .flatten()
            .map(|(kind, reason, message)| {
                Condition::new(before, now, kind, Truth::True, reason, message)
            })
            .collect(),
        ..Status::default()
    }
}

/// One event for each condition that is new or says something else than before.
pub(super) fn tell(node: &FoundOn<'_>, next: &Status, before: Option<&Status>, plan: &mut Plan) {
    let uid = Some(node.node.uid());
    for condition in &next.conditions {
        let told = before.and_then(|status| status.condition(&condition.kind));
        if told.is_some_and(|told| told.message == condition.message) {
            continue;
        }
        let (severity, reason) = match condition.kind.as_str() {
            FOREIGN_CONTAINERS => (Severity::Normal, FOREIGN_CONTAINERS),
            COPIED_LABELS => (Severity::Warning, COPIED_LABELS),
            REAPER_HELD => (Severity::Warning, REAPER_HELD),
            STRAY_CONTAINERS => (Severity::Warning, STRAY_CONTAINERS),
            _ => (Severity::Warning, UNCLAIMED_CONTAINERS),
        };
        let object = ObjectKey::node(&node.node.name);
        plan.note(object, uid, severity, reason, condition.message.as_str());
    }
}

type Said = (&'static str, &'static str, String);

fn unclaimed(node: &FoundOn<'_>, tally: &Tally) -> Option<Said> {
    let containers = node.lost.iter().map(|lost| lost.container.name.as_str());
    (tally.lost > 0).then(|| {
        let message = format!(
            "{} without a task record: {}",
            counted(tally.lost),
            names(containers.collect())
        );
        (UNCLAIMED_CONTAINERS, "NoRecord", message)
    })
}

fn held(tally: &Tally) -> Option<Said> {
    let old = (tally.held > 0).then(|| {
        format!(
            "{} of an earlier life of the store or with unreadable labels stay until `skep reap` says otherwise",
            counted(tally.held)
        )
    });
    let rate = (tally.over_rate > 0).then(|| {
        format!(
            "{} wait: at most {} of the fleet are removed in 10 minutes",
            counted(tally.over_rate),
            tally.limit
        )
    });
    let reason = if tally.held > 0 {
        "EarlierLife"
    } else {
        "RateLimit"
    };
    let message: Vec<String> = old.into_iter().chain(rate).collect();
    (!message.is_empty()).then(|| (REAPER_HELD, reason, message.join("; ")))
}

/// By cluster, not by container: those of a healthy neighbour come and go.
fn foreign(node: &FoundOn<'_>) -> Option<Said> {
    let clusters: BTreeSet<&str> = node
        .others
        .iter()
        .filter(|container| container.kind == UnclaimedKind::ForeignCluster)
        .map(|container| match &container.claim {
            Some(claim) => claim.cluster.as_str(),
            None => "unknown",
        })
        .collect();
    (!clusters.is_empty()).then(|| {
        let message = format!(
            "containers of other clusters run here and are left alone: {}",
            names(clusters.into_iter().collect())
        );
        (FOREIGN_CONTAINERS, "OtherCluster", message)
    })
}

/// Bindings never move: what led there is not known, so a person decides.
fn stray(node: &FoundOn<'_>) -> Option<Said> {
    let strays = named(node, UnclaimedKind::Stray);
    (!strays.is_empty()).then(|| {
        let message = format!(
            "{} of tasks that are on other nodes stay until a person removes them: {}",
            counted(strays.len()),
            names(strays)
        );
        (STRAY_CONTAINERS, "BoundElsewhere", message)
    })
}

fn named<'a>(node: &FoundOn<'a>, kind: UnclaimedKind) -> Vec<&'a str> {
    let others = node.others.iter();
    others
        .filter(|container| container.kind == kind)
        .map(|container| container.name.as_str())
        .collect()
}

fn copied(node: &FoundOn<'_>) -> Option<Said> {
    let copies = named(node, UnclaimedKind::Imposter);
    (!copies.is_empty()).then(|| {
        let message = format!(
            "{} with copied labels, left alone: {}",
            counted(copies.len()),
            names(copies)
        );
        (COPIED_LABELS, "NotATask", message)
    })
}

fn counted(containers: usize) -> String {
    match containers {
        1 => "1 container".into(),
        more => format!("{more} containers"),
    }
}

fn names(mut names: Vec<&str>) -> String {
    names.sort_unstable();
    let more = names.len().saturating_sub(NAMES);
    names.truncate(NAMES);
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
