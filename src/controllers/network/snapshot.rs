//! What the network controller may see, as plain data.

use super::ipam::{self, Standing};
use super::ports;
use super::status::CONTROLLER;
use crate::api::accepted::{AcceptedNetwork, AcceptedService};
use crate::api::allocation::Owner;
use crate::api::manifest::{Spec, parse_value};
use crate::api::name::{ObjectKey, Scoped};
use crate::api::network::NetworkSpec;
use crate::api::service::Annotated;
use crate::api::status::Status;
use crate::api::subnet::Cidr;
use crate::api::unit::Incarnation;
use crate::runtime::accept::{Refused, Written};
use crate::runtime::cache::{Cache, Stored};
use crate::runtime::clock::Now;
use crate::runtime::joins;
use std::collections::BTreeSet;

/// How a network with this record stands.
type Stands<'a> = Box<dyn Fn(&AcceptedNetwork) -> Standing + 'a>;

/// One network.
pub(super) struct Network<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) written: Option<Written<'a, NetworkSpec>>,
    pub(super) accepted: Option<&'a Stored<AcceptedNetwork>>,
    pub(super) status: Option<&'a Stored<Status>>,
    pub(super) standing: Stands<'a>,
    /// The services whose tasks are in it.
    pub(super) users: BTreeSet<&'a Scoped>,
    pub(super) incarnation: Incarnation,
    pub(super) now: Now,
}

/// One service, as far as networks and ports go.
pub(super) struct Service<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) accepted: Option<&'a Stored<AcceptedService>>,
    pub(super) status: Option<&'a Stored<Status>>,
    /// How its published ports stand; none while nobody gives them out.
    pub(super) ports: Option<Vec<ports::Standing>>,
    /// What the networks lack that it names; none: overlays are not realised.
    pub(super) lacking: Option<Vec<String>>,
    pub(super) now: Now,
}

/// None until the cluster has its record: no number of the store means anything before.
pub(super) fn network<'a>(
    cache: &'a Cache,
    key: &'a ObjectKey,
    pool: Cidr,
    now: Now,
) -> Option<Network<'a>> {
    let incarnation = cache.cluster.as_ref()?.incarnation;
    let written = cache.users.get(key).map(|stored| Written {
        stored,
        parsed: parse(key, stored),
    });
    Some(Network {
        key,
        written,
        accepted: cache.networks.get(&key.scoped()),
        status: cache.status(key, CONTROLLER),
        standing: Box::new(move |record| {
            let owner = ipam::owner(&key.scoped(), &record.uid);
            ipam::standing(cache, pool, &owner, record)
        }),
        users: users(cache, key),
        incarnation,
        now,
    })
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
        status: cache.status(key, CONTROLLER),
        now,
    }
}

/// What the networks lack that a service names.
fn lacking(cache: &Cache, name: &Scoped, service: &AcceptedService) -> Vec<String> {
    let named = joins::of_service(service).iter();
    let lacks = named.filter_map(|attachment| {
        let network = joins::named(name, attachment);
        let Some(record) = cache.networks.get(&network) else {
            return Some(format!("there is no network {network}"));
        };
        let owner = ipam::owner(&network, &record.uid);
        match cache.allocations.numbers_of(&owner) {
            (Some(_), Some(_)) => None,
            (_, _) => Some(format!("network {network} has no number or subnet yet")),
        }
    });
    lacks.collect()
}

fn parse(key: &ObjectKey, value: &[u8]) -> Result<(Annotated, NetworkSpec), Refused> {
    let manifest = parse_value(key, value).map_err(|problems| Refused::invalid(&problems))?;
    match manifest.spec {
        Spec::Network(spec) => Ok((manifest.metadata, *spec)),
        Spec::Service(_) | Spec::Node(_) => Err(Refused::invalid(&[format!(
            "{key}: the value is not a Network"
        )])),
    }
}
