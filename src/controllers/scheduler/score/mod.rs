//! Scores: which of the nodes that can take a task takes it. Pure.
//!
//! First come the labels that tasks spread over, then the strategy, then the node's name, so that equal input gives equal
//! output. Before all of it: a node where tasks of this revision keep failing is the last resort.

mod binpack;
mod preference;
mod spread;

use super::snapshot::{Candidate, Request};
use crate::api::service::Strategy;
use crate::api::uid::{Ids, TaskId};

/// Failures of one revision on one node within five minutes after which other nodes are tried first, as in SwarmKit.
const FAILURES: u32 = 5;

/// The best of `eligible`, which are places in `candidates` in ascending order; none if there is none.
pub(super) fn best(
    request: &Request<'_>,
    candidates: &[Candidate<'_>],
    mut eligible: Vec<usize>,
    replaced: Option<&TaskId>,
    ids: &mut Ids,
) -> Option<usize> {
    let is_fresh = |place: &usize| !keeps_failing(request, &candidates[*place]);
    if eligible.iter().any(is_fresh) {
        eligible.retain(is_fresh);
    }
    preference::narrow(request, candidates, &mut eligible, replaced);
    // Of equals the first: that is the order of their names.
    match request.placement().strategy {
        Strategy::Spread => eligible
            .into_iter()
            .min_by_key(|place| spread::score(request, &candidates[*place], replaced)),
        Strategy::Binpack => eligible
            .into_iter()
            .min_by_key(|place| binpack::score(&candidates[*place])),
        Strategy::Random => draw(eligible.len(), ids).map(|index| eligible[index]),
    }
}

fn keeps_failing(request: &Request<'_>, candidate: &Candidate<'_>) -> bool {
    if candidate.failed.is_empty() {
        return false;
    }
    let key = (request.service.uid.clone(), request.revision.number);
    candidate
        .failed
        .get(&key)
        .is_some_and(|count| *count >= FAILURES)
}

/// A number below `length`, from the seed alone.
fn draw(length: usize, ids: &mut Ids) -> Option<usize> {
    let number = ids.uid().as_str().bytes().fold(0u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    let length = u64::try_from(length).ok().filter(|length| *length > 0)?;
    usize::try_from(number % length).ok()
}
