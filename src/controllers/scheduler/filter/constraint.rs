//! The node satisfies every constraint of the service.

use super::super::snapshot::{Candidate, Request};
use super::Refused;
use crate::api::constraint::Constraint;
use crate::planted::{Bug, planted};
use crate::runtime::view;

pub(super) const NAME: &str = "constraint";

pub(super) fn check(request: &Request<'_>, candidate: &Candidate<'_>) -> Option<Refused> {
    let facts = view::facts(&candidate.node);
    let is_broken = |one: &&Constraint| !one.holds(&facts) && !planted(Bug::IgnoresConstraints);
    let broken = request.constraints.iter().find(is_broken)?;
    Some(Refused {
        filter: NAME,
        message: format!("does not satisfy `{broken}`"),
        remedy: format!(
            "make {} satisfy `{broken}` or drop the constraint",
            candidate.node.name
        ),
    })
}
