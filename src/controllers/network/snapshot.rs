//! What the network controller may see, as plain data.

use super::Settings;
use super::ipam::{self, Standing};
use super::status::CONTROLLER;
use super::{blocks, ports, reach};
use crate::api::accepted::{AcceptedNetwork, AcceptedService};
use crate::api::allocation::Owner;
use crate::api::manifest::{Spec, parse_value};
use crate::api::name::{NodeName, ObjectKey, Scoped};
use crate::api::network::NetworkSpec;
use crate::api::service::Annotated;
use crate::api::status::Status;
use crate::api::task::Task;
use crate::api::unit::{Incarnation, LeaseId, Revision};
use crate::runtime::accept::{Refused, Written};
use crate::runtime::cache::{Cache, Stored};
use crate::runtime::clock::Now;
use crate::runtime::{joins, view};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How a network with this record stands.
type Stands<'a> = Box<dyn Fn(&AcceptedNetwork) -> Standing + 'a>;

/// Nodes that cannot have a network, and why.
pub(super) type Refusing = BTreeMap<NodeName, String>;

/// One network.
pub(super) struct Network<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) written: Option<Written<'a, NetworkSpec>>,
    /// That nobody has written it and services need it: what stands for a value.
    pub(super) implied: Option<Stored<Vec<u8>>>,
    pub(super) accepted: Option<&'a Stored<AcceptedNetwork>>,
    pub(super) status: Option<&'a Stored<Status>>,
    pub(super) standing: Stands<'a>,
    /// The nodes that cannot have it, and why; none: overlays are not realised.
    pub(super) refusing: Option<Refusing>,
    /// The services whose tasks are in it.
    pub(super) users: BTreeSet<&'a Scoped>,
    /// Containers of others that are in it, with their nodes.
    pub(super) strangers: BTreeSet<String>,
    /// Nodes whose engines have no addresses to give in it, and whether some are left; none: it is not attachable, or not
    /// realised.
    pub(super) blocks: Option<(BTreeSet<NodeName>, bool)>,
    pub(super) incarnation: Incarnation,
    pub(super) now: Now,
}

impl Network<'_> {
    /// Whether a node cannot have it.
    pub(super) fn is_refused(&self) -> bool {
        self.refusing
            .as_ref()
            .is_some_and(|nodes| !nodes.is_empty())
    }
}

/// One service, as far as networks and ports go.
pub(super) struct Service<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) accepted: Option<&'a Stored<AcceptedService>>,
    pub(super) status: Option<&'a Stored<Status>>,
    /// How its published ports stand; none while nobody gives them out.
    pub(super) ports: Option<Vec<ports::Standing>>,
    /// What the networks lack that it joins; none: overlays are not realised.
    pub(super) lacking: Option<Vec<String>>,
    /// How many of its tasks run outside of them: they were started before overlays were realised.
    pub(super) outside: usize,
    /// Whether the agent of any node has said that it programs what it is told.
    pub(super) is_programmed: bool,
    /// Where its published ports are not open.
    pub(super) reach: reach::Reach,
    pub(super) now: Now,
}

/// None until the cluster has its record: no number of the store means anything before.
pub(super) fn network<'a>(
    cache: &'a Cache,
    key: &'a ObjectKey,
    settings: Settings,
    now: Now,
) -> Option<Network<'a>> {
    let incarnation = cache.cluster.as_ref()?.incarnation;
    let written = cache.users.get(key).map(|stored| Written {
        stored,
        parsed: parse(key, stored),
    });
    let accepted = cache.networks.get(&key.scoped());
    let is_implied = settings.addresses && written.is_none() && is_needed(cache, key);
    Some(Network {
        key,
        written,
        implied: is_implied.then(|| implied(accepted)),
        accepted,
        status: cache.status(key, CONTROLLER),
        standing: Box::new(move |record| {
            let owner = ipam::owner(&key.scoped(), &record.uid);
            ipam::standing(cache, settings.pool, &owner, record)
        }),
        refusing: settings
            .addresses
            .then(|| refusing(cache, &key.scoped(), accepted)),
        users: users(cache, key),
        strangers: joins::attached(cache, &key.scoped())
            .map(|(node, stranger)| format!("container {} on {}", stranger.name, node.name))
            .collect(),
        blocks: accepted
            .filter(|_| settings.addresses)
            .and_then(|record| blocks(cache, &key.scoped(), record)),
        incarnation,
        now,
    })
}

/// The nodes whose agents say that they cannot have a network.
fn refusing(cache: &Cache, name: &Scoped, record: Option<&Stored<AcceptedNetwork>>) -> Refusing {
    let owner = record.map(|record| ipam::owner(name, &record.uid));
    let Some(vni) = owner.and_then(|owner| cache.allocations.numbers_of(&owner).0) else {
        return Refusing::new();
    };
    let nodes = cache.nodes.keys().filter_map(|node| {
        let status = cache.status_of_node(node, view::TASK)?;
        let why = status.found.as_ref()?.refused.get(&vni)?;
        Some((node.clone(), why.clone()))
    });
    nodes.collect()
}

/// The nodes without a block of an attachable network that has a subnet, and whether one is left.
fn blocks(
    cache: &Cache,
    name: &Scoped,
    record: &AcceptedNetwork,
) -> Option<(BTreeSet<NodeName>, bool)> {
    let (_, subnet) = cache
        .allocations
        .numbers_of(&ipam::owner(name, &record.uid));
    let subnet = subnet.filter(|_| record.spec.attachable)?;
    Some(blocks::without(cache, record, subnet))
}

/// Whether services of its namespace leave networks out, and it is the one that they mean.
fn is_needed(cache: &Cache, key: &ObjectKey) -> bool {
    let mut services = joins::services(cache, &key.namespace);
    key.name == joins::DEFAULT
        && services.any(|(_, service)| service.deleted_at.is_none() && joins::leaves_out(service))
}

/// What nobody wrote: an empty value, as old as what was made of it. What never changes of a network stays as somebody wrote it.
fn implied(accepted: Option<&Stored<AcceptedNetwork>>) -> Stored<Vec<u8>> {
    let fixed = [
        (
            "attachable: true",
            accepted.is_some_and(|record| record.spec.attachable),
        ),
        (
            "ipv6: true",
            accepted.is_some_and(|record| record.spec.carries_ipv6()),
        ),
    ];
    let fixed = fixed.into_iter().filter(|(_, is_so)| *is_so);
    let fixed: Vec<&str> = fixed.map(|(text, _)| text).collect();
    let value = format!("{{{}}}", fixed.join(", ")).into_bytes();
    let made = accepted.map(|record| (record.value.create_revision, record.value.mod_revision));
    let (create_revision, mod_revision) = made.unwrap_or((Revision(0), Revision(0)));
    Stored {
        value: Arc::new(value),
        create_revision,
        mod_revision,
        lease: LeaseId(0),
    }
}

/// The services whose tasks have an address in a network and are not over.
fn users<'a>(cache: &'a Cache, key: &ObjectKey) -> BTreeSet<&'a Scoped> {
    let record = cache.networks.get(&key.scoped());
    let given = record.map(|record| cache.allocations.addresses(&record.uid));
    let tasks = given
        .into_iter()
        .flatten()
        .filter_map(|(_, given)| match &given.owner {
            Owner::Task { task, .. } => joins::task(cache, task),
            Owner::Service { .. } | Owner::Network { .. } | Owner::Node { .. } => None,
        });
    tasks
        .filter(|(facets, _, task)| joins::stage(facets, task) != joins::Stage::Over)
        .map(|(_, service, _)| service)
        .collect()
}

pub(super) fn service<'a>(
    cache: &'a Cache,
    key: &'a ObjectKey,
    has_ledger: bool,
    now: Now,
) -> Service<'a> {
    let accepted = cache.services.get(&key.scoped());
    let ledger = accepted.filter(|_| has_ledger);
    Service {
        key,
        accepted,
        ports: ledger.map(|service| ports::standing(cache, &key.scoped(), service)),
        lacking: ledger.map(|service| lacking(cache, &key.scoped(), service)),
        outside: ledger.map_or(0, |service| outside(cache, &key.scoped(), service)),
        is_programmed: ledger.is_some()
            && cache
                .nodes
                .keys()
                .any(|node| view::is_programmed(cache, node)),
        reach: ledger.map_or_else(reach::Reach::default, |service| {
            reach::of(cache, &key.scoped(), service, now)
        }),
        status: cache.status(key, CONTROLLER),
        now,
    }
}

/// How many tasks of a service run and are not where they were given an address.
fn outside(cache: &Cache, name: &Scoped, service: &AcceptedService) -> usize {
    let tasks = cache
        .tasks_of(name)
        .filter(|task| task.service == service.uid);
    let is_outside = |task: &&Stored<Task>| {
        let Some(facets) = cache.facets(&task.id) else {
            return false;
        };
        let serves = joins::gets_traffic(facets, task);
        let asks = !joins::of_task(cache, task).is_empty();
        serves && asks && !joins::is_inside(cache, name, facets, &task.id)
    };
    tasks.filter(is_outside).count()
}

/// What the networks lack that a service joins.
fn lacking(cache: &Cache, name: &Scoped, service: &AcceptedService) -> Vec<String> {
    let named = joins::of_service(service).iter();
    let lacks = named.filter_map(|attachment| {
        let network = joins::named(name, attachment);
        let Some(record) = cache.networks.get(&network) else {
            return Some(format!("there is no network {network}"));
        };
        let owner = ipam::owner(&network, &record.uid);
        match cache.allocations.all_of(&owner, &record.spec) {
            Some(_) => None,
            None => Some(format!("network {network} has no number or subnet yet")),
        }
    });
    lacks.collect()
}

pub(super) fn parse(key: &ObjectKey, value: &[u8]) -> Result<(Annotated, NetworkSpec), Refused> {
    let manifest = parse_value(key, value).map_err(|problems| Refused::invalid(&problems))?;
    match manifest.spec {
        Spec::Network(spec) => Ok((manifest.metadata, *spec)),
        Spec::Service(_) | Spec::Node(_) => Err(Refused::invalid(&[format!(
            "{key}: the value is not a Network"
        )])),
    }
}
