//! The node's engine answers and is the right one.

use super::super::snapshot::Candidate;
use super::Refused;
use crate::api::status::NodeState;
use crate::planted::{Bug, planted};

pub(super) const NAME: &str = "ready";

pub(super) fn check(candidate: &Candidate<'_>) -> Option<Refused> {
    let node = &candidate.node;
    let why = match (node.state, node.reason.as_str()) {
        (NodeState::Ready, _) => return None,
        _ if planted(Bug::IgnoresReadiness) => return None,
        (state, "") => format!("is {}", state.as_str()),
        (state, reason) => format!("is {}: {reason}", state.as_str()),
    };
    Some(Refused {
        filter: NAME,
        message: why,
        remedy: format!("bring {} back", node.name),
    })
}
