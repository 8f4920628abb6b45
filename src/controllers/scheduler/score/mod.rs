//! Scores: which of the nodes that can take a task takes it. Pure.
//!
//! First come the labels that tasks spread over, then the strategy, then the node's name, so that equal input gives equal
//! output. Before all of it: a node where tasks of this revision keep failing is the last resort.

mod binpack;
mod preference;
mod spread;

use super::snapshot::{Candidate, Request};
use crate::api::name::NodeName;
use crate::api::service::Strategy;
use crate::api::uid::{Ids, TaskId};
use std::collections::BTreeMap;

/// Failures of one revision on one node within five minutes after which other nodes are tried first, as in SwarmKit.
const FAILURES: u32 = 5;

/// The best of `eligible`; none if there is none.
pub(super) fn best<'n>(
    request: &Request<'_>,
    candidates: &BTreeMap<NodeName, Candidate<'_>>,
    eligible: &[&'n NodeName],
    replaced: Option<&TaskId>,
    ids: &mut Ids,
) -> Option<&'n NodeName> {
    let candidate = |name: &NodeName| candidates.get(name).filter(|_| !eligible.is_empty());
    let fresh: Vec<&'n NodeName> = eligible
        .iter()
        .copied()
        .filter(|name| candidate(name).is_some_and(|node| !keeps_failing(request, node)))
        .collect();
    let mut rest = match fresh.is_empty() {
        true => eligible.to_vec(),
        false => fresh,
    };
    preference::narrow(request, candidates, &mut rest, replaced);
    match request.placement().strategy {
        Strategy::Spread => rest.into_iter().min_by_key(|name| {
            (
                candidate(name).map(|node| spread::score(request, node, replaced)),
                *name,
            )
        }),
        Strategy::Binpack => rest
            .into_iter()
            .min_by_key(|name| (candidate(name).map(binpack::score), *name)),
        Strategy::Random => draw(rest.len(), ids).map(|index| rest[index]),
    }
}

fn keeps_failing(request: &Request<'_>, candidate: &Candidate<'_>) -> bool {
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
