//! What the task reserves is free: processors, memory, and what nodes declare by name.

use super::super::snapshot::{Candidate, Request};
use super::Refused;
use crate::api::unit::{Bytes, NanoCpus};
use crate::planted::{Bug, planted};

pub(super) const NAME: &str = "resources";

pub(super) fn fits(request: &Request<'_>, candidate: &Candidate<'_>) -> bool {
    let asked = request.reservations();
    let (cpus, memory) = free(candidate);
    if planted(Bug::IgnoresReservations) {
        return true;
    }
    asked.cpus.0 <= cpus
        && asked.memory.0 <= memory
        && asked
            .generic
            .iter()
            .all(|(name, amount)| *amount <= free_generic(candidate, name))
}

pub(super) fn check(request: &Request<'_>, candidate: &Candidate<'_>) -> Option<Refused> {
    let asked = request.reservations();
    let (cpus, memory) = free(candidate);
    if asked.memory.0 > memory {
        return Some(refused(
            "memory",
            &Bytes(memory).to_string(),
            &asked.memory.to_string(),
            &Bytes(asked.memory.0 - memory).to_string(),
        ));
    }
    if asked.cpus.0 > cpus {
        return Some(refused(
            "CPUs",
            &NanoCpus(cpus).to_string(),
            &asked.cpus.to_string(),
            &NanoCpus(asked.cpus.0 - cpus).to_string(),
        ));
    }
    asked.generic.iter().find_map(|(name, amount)| {
        let free = free_generic(candidate, name);
        let lacking = amount.checked_sub(free).filter(|lacking| *lacking > 0)?;
        let what = format!("`{name}`");
        Some(refused(
            &what,
            &free.to_string(),
            &amount.to_string(),
            &lacking.to_string(),
        ))
    })
}

fn refused(what: &str, free: &str, asked: &str, lacking: &str) -> Refused {
    Refused {
        filter: NAME,
        message: format!("has {free} of {what} free, the task reserves {asked}"),
        remedy: format!("reserve {lacking} of {what} less"),
    }
}

/// What is left. A node whose engine has not said what it has keeps nobody who reserves nothing.
fn free(candidate: &Candidate<'_>) -> (u64, u64) {
    let (cpus, memory) = candidate.allocatable.unwrap_or_default();
    (
        cpus.0.saturating_sub(candidate.used.cpus.0),
        memory.0.saturating_sub(candidate.used.memory.0),
    )
}

fn free_generic(candidate: &Candidate<'_>, name: &str) -> u64 {
    let declared = &candidate.node.accepted.value.spec.generic;
    let used = candidate.used.generic.get(name).copied().unwrap_or(0);
    declared
        .get(name)
        .copied()
        .unwrap_or(0)
        .saturating_sub(used)
}
