//! Filters: what keeps a task off a node, one file each, in the order in which they are asked. Pure.
//!
//! The order goes from what concerns the node alone to what changes with every placement; the first that refuses is the
//! one that is told. The fixed ones are asked once per revision and node.

mod availability;
mod constraint;
mod engine;
mod per_node;
mod ports;
mod ready;
mod resources;

use super::snapshot::{Candidate, Request};
use crate::api::uid::TaskId;

/// Why a node cannot take a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The filter's name.
    pub(super) filter: &'static str,
    /// Why, with the numbers.
    pub(super) message: String,
    /// The smallest change that would do, as an order to the reader: `reserve 64MiB less`.
    pub(super) remedy: String,
}

/// The filters' names in order.
pub(super) const ORDER: [&str; 7] = [
    ready::NAME,
    availability::NAME,
    engine::NAME,
    constraint::NAME,
    resources::NAME,
    ports::NAME,
    per_node::NAME,
];

/// What no placement changes: whether the node could ever take such a task, as it is now.
pub(super) fn fixed(request: &Request<'_>, candidate: &Candidate<'_>) -> Option<Refused> {
    ready::check(candidate)
        .or_else(|| availability::check(candidate))
        .or_else(|| engine::check(request, candidate))
        .or_else(|| constraint::check(request, candidate))
        .or_else(|| ports::published(request))
}

/// Whether there is room for one more now. Says nothing in words: it is asked for each task and node.
pub(super) fn has_room(
    request: &Request<'_>,
    candidate: &Candidate<'_>,
    replaced: Option<&TaskId>,
) -> bool {
    resources::fits(request, candidate)
        && ports::are_free(request, candidate)
        && per_node::has_room(request, candidate, replaced)
}

/// Why there is no room now.
pub(super) fn no_room(
    request: &Request<'_>,
    candidate: &Candidate<'_>,
    replaced: Option<&TaskId>,
) -> Option<Refused> {
    resources::check(request, candidate)
        .or_else(|| ports::check(request, candidate))
        .or_else(|| per_node::check(request, candidate, replaced))
}
