//! On which nodes the published ports of a service are not open, and why. Pure.
//!
//! Asked of are nodes that are ready: of one that is down that says everything. An agent that is made anew or speaks to another
//! manager is silent for a moment, in which its node goes on with what it has; that is not told.

use crate::api::accepted::AcceptedService;
use crate::api::name::{NodeName, Scoped};
use crate::api::port_range::compact;
use crate::api::published::PublishedKey;
use crate::api::status::{Condition, NodeState, Truth};
use crate::api::time::Timestamp;
use crate::runtime::cache::Cache;
use crate::runtime::clock::Now;
use crate::runtime::published::{given, health};
use crate::runtime::view;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long an agent may be in trouble before services are told: longer than its container takes to be made anew, so that an
/// upgrade of all agents is not two writes for each service and node.
const GRACE: Duration = Duration::from_secs(5);

/// Where ports are not open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// The nodes on which some are closed, and why.
    pub(super) closed: Vec<(NodeName, String)>,
    /// When an agent that is in trouble has been so for long enough; none: none is.
    pub(super) soon: Option<Duration>,
}

/// Where those of a service are not open.
pub(super) fn of(cache: &Cache, name: &Scoped, service: &AcceptedService, now: Now) -> Reach {
    let given = given(&cache.allocations, name, service);
    let mut keys: BTreeSet<PublishedKey> = given.iter().filter_map(|(_, key)| *key).collect();
    let mut reach = Reach::default();
    if keys.is_empty() {
        return reach;
    }
    keys.extend(health(&service.spec));
    for node in view::nodes(cache) {
        if node.state != NodeState::Ready || node.accepted.deleted_at.is_some() {
            continue;
        }
        match trouble(view::dataplane(cache, &node.name)) {
            Some((why, since)) => {
                let lasted = since.map_or(GRACE, |since| now.wall.since(since));
                match GRACE.checked_sub(lasted).filter(|left| !left.is_zero()) {
                    Some(left) => reach.soon = Some(reach.soon.map_or(left, |soon| soon.min(left))),
                    None => reach.closed.push((node.name.clone(), why)),
                }
            }
            None => {
                let occupied = view::underlay(cache, &node.name);
                let occupied = occupied.map(|said| said.occupied.intersection(&keys));
                let taken = compact(occupied.into_iter().flatten().map(PublishedKey::to_show));
                if !taken.is_empty() {
                    let why = format!("a program of the node listens on {}", taken.join(", "));
                    reach.closed.push((node.name.clone(), why));
                }
            }
        }
    }
    reach
}

/// Why a node's agent does not program ports, and since when; nothing: it does.
fn trouble(said: Option<&Condition>) -> Option<(String, Option<Timestamp>)> {
    let Some(said) = said else {
        return Some(("its agent has not said anything yet".into(), None));
    };
    // A network that cannot be on the node leaves the others alone; whose it is the node's condition says.
    let programs = said.status == Truth::True || said.reason.starts_with("Network");
    let why = format!("{} ({})", said.message, said.reason);
    (!programs).then_some((why, Some(said.last_transition_time)))
}
