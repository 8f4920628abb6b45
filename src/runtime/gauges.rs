//! Gauges: what the cluster is like now, read from the cache when somebody scrapes. Pure.
//!
//! Every manager shows the whole cluster as its own cache has it, leader or not, so a board takes `max by (...)` over the
//! managers. A gauge without labels, and one by state, is there also when it is zero: an alert must not take silence for
//! health. A status that speaks of another uid than the accepted record's does not exist (rule I2).

use super::accept::{ACCEPTED, REASON_DELETED, REASON_TERMINATING};
use super::cache::Cache;
use super::joins;
use super::view;
use crate::api::accepted::Accepted;
use crate::api::name::{Kind, ObjectKey};
use crate::api::node::Availability;
use crate::api::status::{NodeState, Status, Truth};
use crate::api::task::TaskState;
use crate::metrics::Metrics;
use crate::metrics::list::{self, Family};
use std::collections::BTreeMap;

/// The scheduler's name in status keys.
const SCHEDULER: &str = "scheduler";

/// One value of a gauge.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The gauge.
    pub family: &'static Family,
    /// A value for each of its labels.
    pub labels: Vec<String>,
    /// The value.
    pub value: f64,
}

/// The gauges that this module shows.
pub static FAMILIES: [&Family; 18] = [
    &list::NODES,
    &list::NODE_STATE,
    &list::NODE_UNSCHEDULABLE,
    &list::UNCLAIMED,
    &list::TASKS,
    &list::REPLICAS,
    &list::REPLICAS_RUNNING,
    &list::REPLICAS_READY,
    &list::REPLICAS_UPDATED,
    &list::GENERATION,
    &list::OBSERVED_GENERATION,
    &list::CONDITION,
    &list::NOT_ACCEPTED,
    &list::PENDING_REASON,
    &list::ADDRESSES_FREE,
    &list::UNREADABLE,
    &list::UNKNOWN_KEYS,
    &list::ADOPTING,
];

/// Puts what the cache holds into the metrics; what it no longer holds leaves them.
pub fn refresh(metrics: &Metrics, cache: &Cache) {
    for family in FAMILIES {
        metrics.reset(family);
    }
    for sample in gauges(cache) {
        let labels: Vec<&str> = sample.labels.iter().map(String::as_str).collect();
        metrics.set(sample.family, &labels, sample.value);
    }
}

/// All gauges of the cluster.
pub fn gauges(cache: &Cache) -> Vec<Sample> {
    let mut samples = Samples::default();
    nodes(cache, &mut samples);
    tasks(cache, &mut samples);
    services(cache, &mut samples);
    networks(cache, &mut samples);
    generations(cache, &mut samples);
    conditions(cache, &mut samples);
    store(cache, &mut samples);
    samples.0
}

#[derive(Default)]
struct Samples(Vec<Sample>);

impl Samples {
    fn add<const N: usize>(&mut self, family: &'static Family, labels: [&str; N], value: f64) {
        self.0.push(Sample {
            family,
            labels: labels.map(str::to_owned).to_vec(),
            value,
        });
    }
}

fn nodes(cache: &Cache, samples: &mut Samples) {
    const STATES: [NodeState; 3] = [NodeState::Ready, NodeState::Down, NodeState::Unknown];
    let nodes = view::nodes(cache);
    for state in STATES {
        let count = nodes.iter().filter(|node| node.state == state).count();
        samples.add(&list::NODES, [state.as_str()], count as f64);
    }
    for node in &nodes {
        let name = node.name.as_str();
        for state in STATES {
            let labels = [name, state.as_str()];
            samples.add(&list::NODE_STATE, labels, truth(node.state == state));
        }
        let is_closed = node.availability() != Availability::Active;
        samples.add(&list::NODE_UNSCHEDULABLE, [name], truth(is_closed));
        let found = node.found.map_or(0, |found| found.total);
        samples.add(&list::UNCLAIMED, [name], f64::from(found));
    }
}

fn tasks(cache: &Cache, samples: &mut Samples) {
    let mut counts = TaskState::ALL.map(|state| (state, 0_u32));
    for task in cache.tasks.values() {
        let state = view::task(cache, task).state;
        for (_, count) in counts.iter_mut().filter(|(one, _)| *one == state) {
            *count += 1;
        }
    }
    for (state, count) in counts {
        samples.add(&list::TASKS, [state.as_str()], f64::from(count));
    }
}

fn services(cache: &Cache, samples: &mut Samples) {
    for (name, service) in &cache.services {
        let object = ObjectKey::service(name);
        let labels = [name.namespace.as_str(), name.name.as_str()];
        let counts =
            own(cache, &object, &service.value).and_then(|status| status.replicas.as_ref());
        if let Some(counts) = counts {
            samples.add(&list::REPLICAS, labels, counts.wanted.into());
            samples.add(&list::REPLICAS_RUNNING, labels, counts.running.into());
            samples.add(&list::REPLICAS_READY, labels, counts.ready.into());
            samples.add(&list::REPLICAS_UPDATED, labels, counts.updated.into());
        }
        let waiting = cache.status(&object, SCHEDULER);
        let waiting = waiting.filter(|status| status.uid.as_ref() == Some(&service.uid));
        let mut filters: BTreeMap<&str, u32> = BTreeMap::new();
        // Tasks of two revisions may wait at once, for the same nodes.
        for one in waiting.iter().flat_map(|status| &status.waiting) {
            for (filter, refused) in &one.filters {
                let most = filters.entry(filter).or_default();
                *most = (*most).max(*refused);
            }
        }
        for (filter, refused) in filters {
            let labels = [labels[0], labels[1], filter];
            samples.add(&list::PENDING_REASON, labels, refused.into());
        }
    }
}

fn networks(cache: &Cache, samples: &mut Samples) {
    for (name, record) in &cache.networks {
        let owner = joins::network_owner(name, &record.uid);
        let (_, subnet) = cache.allocations.numbers_of(&owner);
        if let Some(subnet) = subnet {
            let free = cache.allocations.free_addresses(&record.uid, subnet);
            let labels = [name.namespace.as_str(), name.name.as_str()];
            samples.add(&list::ADDRESSES_FREE, labels, free as f64);
        }
    }
}

fn generations(cache: &Cache, samples: &mut Samples) {
    for (name, record) in &cache.services {
        generation(cache, ObjectKey::service(name), &record.value, samples);
    }
    for (name, record) in &cache.nodes {
        generation(cache, ObjectKey::node(name), &record.value, samples);
    }
    for (name, record) in &cache.networks {
        generation(cache, ObjectKey::network(name), &record.value, samples);
    }
}

fn generation<S>(cache: &Cache, object: ObjectKey, record: &Accepted<S>, samples: &mut Samples) {
    let labels = [
        object.kind.as_str(),
        object.namespace.as_str(),
        object.name.as_str(),
    ];
    samples.add(&list::GENERATION, labels, record.generation.0 as f64);
    let observed = own(cache, &object, record).and_then(|status| status.observed_generation);
    // Never dealt with: generations count from 1.
    let observed = observed.map_or(0, |generation| generation.0);
    samples.add(&list::OBSERVED_GENERATION, labels, observed as f64);
}

fn conditions(cache: &Cache, samples: &mut Samples) {
    let mut refused = Kind::ALL.map(|kind| (kind, 0_u32));
    for ((object, _), status) in &cache.statuses {
        for condition in &status.conditions {
            let said = condition.status.as_str().to_lowercase();
            let labels = [
                object.kind.as_str(),
                object.namespace.as_str(),
                object.name.as_str(),
                condition.kind.as_str(),
                said.as_str(),
            ];
            samples.add(&list::CONDITION, labels, 1.0);
        }
        let is_refused = is_refused(status);
        for (_, count) in refused.iter_mut().filter(|(kind, _)| *kind == object.kind) {
            *count += u32::from(is_refused);
        }
    }
    for (kind, count) in refused {
        samples.add(&list::NOT_ACCEPTED, [kind.as_str()], count.into());
    }
}

/// Whether the value that the user wrote is not in force, other than because it is on its way out.
fn is_refused(status: &Status) -> bool {
    status.condition(ACCEPTED).is_some_and(|condition| {
        let is_leaving = [REASON_DELETED, REASON_TERMINATING].contains(&condition.reason.as_str());
        condition.status == Truth::False && !is_leaving
    })
}

fn store(cache: &Cache, samples: &mut Samples) {
    samples.add(&list::UNREADABLE, [], cache.broken.len() as f64);
    samples.add(&list::UNKNOWN_KEYS, [], cache.unknown.len() as f64);
    samples.add(&list::ADOPTING, [], truth(view::is_adopting(cache)));
}

/// What the owner of an object's kind reports of it: each is named as its kind.
fn own<'a, S>(cache: &'a Cache, object: &ObjectKey, record: &Accepted<S>) -> Option<&'a Status> {
    let owner = match object.kind {
        Kind::Service => "service",
        Kind::Node => view::NODE,
        Kind::Network => "network",
    };
    cache
        .status(object, owner)
        .map(|status| &*status.value)
        .filter(|status| status.uid.as_ref() == Some(&record.uid))
}

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

#[cfg(test)]
#[path = "gauges_tests.rs"]
mod tests;
