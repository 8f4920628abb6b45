//! No more tasks of the service on one node than `maxReplicasPerNode`; the one that is being replaced does not count.

use super::super::snapshot::{Candidate, Request};
use super::Refused;
use crate::api::uid::TaskId;
use crate::planted::{Bug, planted};

pub(super) const NAME: &str = "maxReplicasPerNode";

pub(super) fn has_room(
    request: &Request<'_>,
    candidate: &Candidate<'_>,
    replaced: Option<&TaskId>,
) -> bool {
    let most = request.placement().max_replicas_per_node;
    most == 0
        || planted(Bug::IgnoresMostPerNode)
        || candidate.count(&request.service.uid, replaced) < most
}

pub(super) fn check(
    request: &Request<'_>,
    candidate: &Candidate<'_>,
    replaced: Option<&TaskId>,
) -> Option<Refused> {
    if has_room(request, candidate, replaced) {
        return None;
    }
    let most = request.placement().max_replicas_per_node;
    Some(Refused {
        filter: NAME,
        message: format!("runs {most} tasks of the service already, the most that one node may"),
        remedy: format!("raise maxReplicasPerNode above {most} or add a node"),
    })
}
