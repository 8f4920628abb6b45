//! Binpack: the fullest node that fits, by the larger of the reserved shares of memory and processors, then by tasks.

use super::super::snapshot::Candidate;
use std::cmp::Reverse;

/// Less is better: parts in a million that are reserved, turned round, then tasks, turned round.
pub(super) fn score(candidate: &Candidate<'_>) -> (Reverse<u64>, Reverse<u32>) {
    let (cpus, memory) = candidate.allocatable.unwrap_or_default();
    let share = |used: u64, all: u64| {
        let parts = u128::from(used) * 1_000_000 / u128::from(all.max(1));
        u64::try_from(parts).unwrap_or(u64::MAX)
    };
    let fullest =
        share(candidate.used.cpus.0, cpus.0).max(share(candidate.used.memory.0, memory.0));
    (Reverse(fullest), Reverse(candidate.tasks))
}
