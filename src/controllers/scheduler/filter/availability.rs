//! The node takes new tasks: it is active and not deleted.

use super::super::snapshot::Candidate;
use super::Refused;
use crate::api::node::Availability;
use crate::planted::{Bug, planted};

pub(super) const NAME: &str = "availability";

pub(super) fn check(candidate: &Candidate<'_>) -> Option<Refused> {
    let node = &candidate.node;
    let (message, remedy) = match (node.accepted.deleted_at, node.availability()) {
        (Some(_), _) => ("is being removed".to_owned(), "add another node".to_owned()),
        (None, Availability::Active) => return None,
        _ if planted(Bug::IgnoresAvailability) => return None,
        (None, other) => (
            format!("has availability {}", other.as_str()),
            format!("run `skep node activate {}`", node.name),
        ),
    };
    Some(Refused {
        filter: NAME,
        message,
        remedy,
    })
}
