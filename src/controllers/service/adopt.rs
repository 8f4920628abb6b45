//! Adoption: records of running containers that have none are rebuilt from their labels (rule C3). Pure.
//!
//! Within one incarnation the service's uid says whose a container is; across incarnations its namespace, name, slot and
//! template hash do. In both cases the hash has to be that of a revision that the service has: what a container runs is
//! known by nothing else. Slots beyond the wanted number are left unclaimed: adopting them would stop them at the next plan,
//! and after a restore nothing that runs is stopped because an older spec asked for less. They are reported, and adopted
//! once the service asks for their slots again.

use super::model::Model;
use super::snapshot::Snapshot;
use crate::api::name::NodeName;
use crate::api::service::Mode;
use crate::api::status::Claim;
use crate::api::task::{ServiceRevision, Slot};
use crate::api::unit::{Incarnation, RevisionNumber};
use crate::planted::{Bug, planted};

/// Adds the records that can be rebuilt to the model: one per slot without a live task, the youngest claim first.
pub(super) fn adopt(
    model: &mut Model<'_>,
    snapshot: &Snapshot<'_>,
    incarnation: Incarnation,
    current: &ServiceRevision,
) {
    let mut claims: Vec<(&NodeName, &Claim)> = snapshot
        .unclaimed
        .iter()
        .filter(|(_, container)| container.running)
        .filter_map(|(node, container)| Some((*node, container.claim.as_ref()?)))
        .collect();
    claims.sort_by(|(_, a), (_, b)| b.stamp.cmp(&a.stamp).then_with(|| a.task.cmp(&b.task)));
    for (node, claim) in claims {
        let is_recorded = snapshot.cache.task(&claim.task).is_some();
        let is_ours = claim.stamp.incarnation != incarnation || claim.service == model.service.uid;
        if is_recorded || !is_ours || !fits(model, &claim.slot) {
            continue;
        }
        if let Some(revision) = revision(snapshot, current, &claim.hash) {
            model.adopt(
                claim.task.clone(),
                claim.slot.clone(),
                revision,
                node.clone(),
            );
        }
    }
}

/// Whether the service asks for the slot and it has no live task.
fn fits(model: &Model<'_>, slot: &Slot) -> bool {
    let is_asked_for = match (model.spec().mode, slot) {
        (Mode::Replicated | Mode::ReplicatedJob, Slot::Replica(number)) => {
            *number <= model.spec().replicas.unwrap_or(1)
        }
        (Mode::Global | Mode::GlobalJob, Slot::Node(_)) => true,
        (Mode::Replicated | Mode::ReplicatedJob, Slot::Node(_))
        | (Mode::Global | Mode::GlobalJob, Slot::Replica(_)) => false,
    };
    is_asked_for && !model.wanted(slot).any(|member| !member.is_terminal())
}

fn revision(
    snapshot: &Snapshot<'_>,
    current: &ServiceRevision,
    hash: &str,
) -> Option<RevisionNumber> {
    if current.hash == hash || planted(Bug::AdoptsByNameAlone) {
        return Some(current.number);
    }
    snapshot
        .revisions
        .iter()
        .rev()
        .find(|revision| revision.hash == hash)
        .map(|revision| revision.number)
}
