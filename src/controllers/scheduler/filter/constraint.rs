//! The node satisfies every constraint of the service.

use super::super::snapshot::{Candidate, Request};
use super::Refused;
use crate::runtime::view;

pub(super) const NAME: &str = "constraint";

pub(super) fn check(request: &Request<'_>, candidate: &Candidate<'_>) -> Option<Refused> {
    let facts = view::facts(&candidate.node);
    let broken = request.constraints.iter().find(|one| !one.holds(&facts))?;
    Some(Refused {
        filter: NAME,
        message: format!("does not satisfy `{broken}`"),
        remedy: format!(
            "make {} satisfy `{broken}` or drop the constraint",
            candidate.node.name
        ),
    })
}
