//! The slots that a service should have, and the tasks of those that it should not. Pure.

use super::model::{Action, Model};
use super::place::Places;
use super::slot;
use crate::api::service::Mode;
use crate::api::task::Slot;
use crate::planted::{Bug, planted};
use std::collections::BTreeSet;

/// The slots that should have a task.
///
/// Fills the lowest free slots and empties the highest used ones, so that a service scaled down and up again keeps the
/// tasks in its low slots.
pub(super) fn wanted(model: &Model<'_>, places: &Places<'_>) -> Vec<Slot> {
    let is_used = |slot: &&Slot| model.wanted(slot).next().is_some();
    match model.spec().mode {
        Mode::Replicated | Mode::ReplicatedJob => {
            let count = model.spec().replicas.unwrap_or(1);
            let mut used: BTreeSet<u32> = model
                .slots()
                .filter(is_used)
                .filter_map(|slot| match slot {
                    Slot::Replica(number) => Some(*number),
                    Slot::Node(_) => None,
                })
                .take(usize::try_from(count).unwrap_or(usize::MAX))
                .collect();
            let mut next = 1;
            while used.len() < usize::try_from(count).unwrap_or(usize::MAX) {
                used.insert(next);
                next += 1;
            }
            used.into_iter().map(Slot::Replica).collect()
        }
        Mode::Global | Mode::GlobalJob => {
            let kept = model.slots().filter(is_used).filter_map(|slot| match slot {
                Slot::Node(node) if places.keeps(node) => Some(node.clone()),
                Slot::Node(_) | Slot::Replica(_) => None,
            });
            let covered = places.covered().cloned();
            let nodes: BTreeSet<_> = kept.chain(covered).collect();
            nodes.into_iter().map(Slot::Node).collect()
        }
    }
}

/// Tasks of slots that nobody wants.
pub(super) fn surplus(model: &Model<'_>, wanted: &[Slot], places: &Places<'_>) -> Vec<Action> {
    let wanted: BTreeSet<&Slot> = wanted.iter().collect();
    model
        .members
        .iter()
        .filter(|member| member.is_wanted() && !wanted.contains(&member.task.slot))
        .filter(|_| !planted(Bug::KeepsSurplus))
        .map(|member| {
            let reason = match &member.task.slot {
                Slot::Replica(_) => "ScaledDown",
                Slot::Node(node) => places.fault(node).unwrap_or("ScaledDown"),
            };
            slot::remove(member, reason)
        })
        .collect()
}
