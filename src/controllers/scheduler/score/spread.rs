//! Spread, the default: the node with the fewest tasks of the service, then with the fewest of all.

use super::super::snapshot::{Candidate, Request};
use crate::api::uid::TaskId;

/// Less is better.
pub(super) fn score(
    request: &Request<'_>,
    candidate: &Candidate<'_>,
    replaced: Option<&TaskId>,
) -> (u32, u32) {
    (
        candidate.count(&request.service.uid, replaced),
        candidate.tasks,
    )
}
