//! On which nodes the published ports of a service are not open, and why. Pure.
//!
//! Asked of are nodes that are ready: of one that is down that says everything. An agent that is made anew or speaks to another
//! manager is silent for a moment, in which its node goes on with what it has; that is not told.

use super::status::CONTROLLER;
use crate::api::accepted::AcceptedService;
use crate::api::key::Key;
use crate::api::name::{Kind, NodeName, ObjectKey, Scoped};
use crate::api::port_range::compact;
use crate::api::published::PublishedKey;
use crate::api::status::{Condition, NodeState, Status, Truth};
use crate::api::text::Text;
use crate::api::time::Timestamp;
use crate::runtime::cache::Cache;
use crate::runtime::clock::Now;
use crate::runtime::published::{given, health, ingress};
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

/// The services whose ports a node may lead to, or not any more.
///
/// A node that leads to all ports concerns only those who are told that some are closed: what is written of a node changes with
/// each of its containers, and a thousand services would be looked at for each of them. Who is told nothing yet, or is
/// being told just now, is looked at for that.
pub(super) fn concerned(key: &Key, cache: &Cache) -> Vec<ObjectKey> {
    let is_open = match key {
        Key::Accepted(object) if object.kind == Kind::Node => false,
        Key::Status(object, by)
            if object.kind == Kind::Node && [view::HEALTH, view::TASK].contains(&&**by) =>
        {
            is_open(cache, &object.node_name())
        }
        _ => return Vec::new(),
    };
    let publishes = |service: &AcceptedService| ingress(&service.spec).next().is_some();
    match is_open {
        true => told_otherwise(cache)
            .filter(|object| {
                cache
                    .services
                    .get(&object.scoped())
                    .is_some_and(|one| publishes(one))
            })
            .cloned()
            .collect(),
        false => {
            let publishing = cache
                .services
                .iter()
                .filter(|(_, service)| publishes(service));
            publishing
                .map(|(name, _)| ObjectKey::service(name))
                .collect()
        }
    }
}

/// The services that are told that something of theirs is not as it should be.
fn told_otherwise(cache: &Cache) -> impl Iterator<Item = &ObjectKey> {
    let first = ObjectKey {
        kind: Kind::Service,
        namespace: String::new(),
        name: String::new(),
    };
    let statuses = cache.statuses.range((first, Text::default())..);
    let of_services = statuses.take_while(|((object, _), _)| object.kind == Kind::Service);
    let ours = of_services.filter(|((_, by), _)| by.as_str() == CONTROLLER);
    let is_well = |status: &Status| {
        let mut all = status.conditions.iter();
        all.all(|said| said.status == Truth::True)
    };
    ours.filter(move |(_, status)| !is_well(status))
        .map(|((object, _), _)| object)
}

/// Whether a node leads to all ports, if it is ready.
fn is_open(cache: &Cache, node: &NodeName) -> bool {
    let said = cache.status_of_node(node, view::TASK);
    said.is_some_and(|said| {
        let occupied = said.underlay.as_ref().map(|underlay| &underlay.occupied);
        trouble(said.condition(view::DATAPLANE_READY)).is_none()
            && occupied.is_none_or(BTreeSet::is_empty)
    })
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
    // Most nodes are well, and that is told soonest.
    let doubtful = cache.nodes.keys().filter(|node| !is_open(cache, node));
    for node in doubtful.filter_map(|node| view::node(cache, node)) {
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
