//! The network controller: accepts networks, gives out numbers, and says how networks and ports of services stand.
//!
//! Watches `networks/*`, `accepted/*`, `allocations/*`, tasks, the cluster, and what is said of nodes. Writes
//! `accepted/networks/*`, `allocations/*`, `status/networks/<ns>/<name>/network` and `status/services/<ns>/<name>/network`.
//!
//! Invariants:
//! - Acceptance is `runtime::accept`: a bad value keeps the spec in force (rule I1).
//! - What is given out is claimed in the store, where it is missing, and named with its owner; it is taken back once the
//!   owner's record is gone (`ipam.rs`). One pass at a time gives out numbers.
//! - A deleted network's record leaves at once where no task has an address in it; else it stays in force until none has, and
//!   is the same one if it is put once more meanwhile.
//! - What is asked for and not provided is a condition that is False, and holds nothing up.
//! - The network `default` of a namespace is there while a service leaves networks out, or somebody has written it; it is
//!   the same one whichever of the two is the reason.
//!
//! `blocks.rs` gives each node a part of each attachable network, from which its engine serves containers that are no tasks.
//!
//! `addresses.rs` gives out addresses and `ports.rs` published ports, where overlays are realised (`--networks`); `state.rs` says
//! what the data plane of each node should be, and whoever drives the node's engine asks it (`controllers/task/agent`).
//!
//! - What the store lost is taken over from what runs (rule S6): numbers of networks from the labels of those that engines
//!   have, as are nodes' blocks of them, addresses of tasks from their containers. A service's virtual address is given out anew.

mod addresses;
mod blocks;
mod ipam;
mod names;
mod plan;
mod ports;
mod reach;
mod snapshot;
pub mod state;
mod status;
mod strangers;

#[cfg(test)]
mod addresses_tests;
#[cfg(test)]
mod blocks_tests;
#[cfg(test)]
mod ipam6_tests;
#[cfg(test)]
mod ipam_tests;
#[cfg(test)]
mod ports_tests;
#[cfg(test)]
mod reach_tests;
#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod tests;

use crate::api::accepted::AcceptedService;
use crate::api::allocation::{Item, Owner};
use crate::api::key::Key;
use crate::api::name::{Kind, ObjectKey, Scoped};
use crate::api::subnet::Cidr;
use crate::api::uid::{Ids, TaskId};
use crate::runtime::cache::{Cache, Stored};
use crate::runtime::clock::Now;
use crate::runtime::controller::Controller;
use crate::runtime::plan::Plan;
use crate::runtime::{joins, view};
use std::fmt;
use std::net::Ipv4Addr;

/// Where networks without a subnet of their own get one: 4,096 of 256 addresses.
///
/// Swarm's 10.0.0.0/8 begins where most sites and clouds do; Docker's own bridges have 172.17.0.0/12 and 192.168.0.0/16.
/// This twelfth is nobody's default: Kubernetes has 10.96.0.0/12 and 10.244.0.0/16, k3s 10.42.0.0/15, Podman 10.88.0.0/15,
/// Google's networks 10.128.0.0/9, and 100.64.0.0/10 is what carriers, Tailscale and clouds use behind one's back.
pub const DEFAULT_POOL: Cidr = Cidr {
    address: Ipv4Addr::new(10, 64, 0, 0),
    length: 12,
};

/// Settings of the controller: the same for all managers, or the leader's count.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Where networks without a subnet of their own get one.
    pub pool: Cidr,
    /// Whether services and tasks get addresses, and services their published ports: off until nodes have the networks.
    pub addresses: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pool: DEFAULT_POOL,
            addresses: false,
        }
    }
}

/// The controller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network(pub Settings);

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// All numbers at once: what networks and nodes lack, and what nobody owns.
    Numbers,
    /// The addresses of a network.
    Addresses(Scoped),
    /// All published ports at once: what services lack, and what nobody asks for any more.
    Ports,
    /// A network or a service.
    Object(ObjectKey),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbers => f.write_str("numbers"),
            Self::Addresses(network) => write!(f, "addresses/{network}"),
            Self::Ports => f.write_str("ports"),
            Self::Object(object) => object.fmt(f),
        }
    }
}

impl Controller for Network {
    const NAME: &'static str = status::CONTROLLER;

    type Work = Work;

    fn work(&self, key: &Key, cache: &Cache) -> Vec<Work> {
        let object = |object: &ObjectKey| Work::Object(object.clone());
        let mut works = match key {
            Key::User(written) if written.kind == Kind::Network => vec![object(written)],
            Key::Accepted(record) => match record.kind {
                Kind::Network => vec![Work::Numbers, object(record)],
                Kind::Service => vec![object(record)],
                Kind::Node => vec![Work::Numbers],
            },
            Key::Status(of, controller) if controller == Self::NAME && concerns(of.kind) => {
                vec![object(of)]
            }
            Key::Status(of, controller) if controller == view::TASK && of.kind == Kind::Node => {
                refused_by(of, cache)
            }
            Key::Allocation(item) => of_allocation(item, cache),
            // Another life of the store: the records take over its numbers.
            Key::Cluster => self.all_work(cache),
            Key::User(_)
            | Key::Status(..)
            | Key::Scale(_)
            | Key::Revision(..)
            | Key::Task(..)
            | Key::Binding(..)
            | Key::TaskStatus(..)
            | Key::Election(..)
            | Key::Manager(_)
            | Key::Shard(_) => Vec::new(),
        };
        if self.0.addresses {
            works.extend(implied(key));
            works.extend(naming(key, cache));
            works.extend(addressed(key, cache).into_iter().map(Work::Addresses));
            works.extend(publishes(key, cache).then_some(Work::Ports));
            works.extend(reach::concerned(key, cache).into_iter().map(Work::Object));
            works.extend(attached(key, cache));
        }
        works
    }

    fn all_work(&self, cache: &Cache) -> Vec<Work> {
        let users = cache
            .users
            .keys()
            .filter(|object| object.kind == Kind::Network);
        let reported = cache
            .statuses
            .keys()
            .filter(|(object, controller)| controller == Self::NAME && concerns(object.kind))
            .map(|(object, _)| object);
        let mut all: Vec<ObjectKey> = users.chain(reported).cloned().collect();
        all.extend(cache.networks.keys().map(ObjectKey::network));
        all.extend(cache.services.keys().map(ObjectKey::service));
        if self.0.addresses {
            let names = cache.services.keys();
            all.extend(names.map(|name| default_of(name.namespace.as_str())));
        }
        all.sort();
        all.dedup();
        let objects = all.into_iter().map(Work::Object);
        let addressed = cache.networks.keys().filter(|_| self.0.addresses);
        let addressed = addressed.cloned().map(Work::Addresses);
        let ports = self.0.addresses.then_some(Work::Ports);
        let numbers = [Work::Numbers].into_iter().chain(ports);
        objects.chain(numbers).chain(addressed).collect()
    }

    fn plan(&self, work: &Work, cache: &Cache, now: Now, ids: &mut Ids) -> Plan {
        match work {
            Work::Numbers => ipam::plan(cache, self.0.pool),
            Work::Addresses(network) => addresses::plan(cache, network),
            Work::Ports => ports::plan(cache),
            Work::Object(object) => match object.kind {
                Kind::Network => snapshot::network(cache, object, self.0, now)
                    .map_or_else(Plan::default, |snapshot| plan::network(snapshot, ids)),
                Kind::Service => {
                    let snapshot = snapshot::service(cache, object, self.0.addresses, now);
                    plan::service(&snapshot)
                }
                Kind::Node => Plan::default(),
            },
        }
    }
}

fn concerns(kind: Kind) -> bool {
    match kind {
        Kind::Network | Kind::Service => true,
        Kind::Node => false,
    }
}

/// The networks that a node says it cannot have.
fn refused_by(node: &ObjectKey, cache: &Cache) -> Vec<Work> {
    let found = cache.status(node, view::TASK);
    let found = found.and_then(|status| status.found.as_ref());
    let owners = found.into_iter().flat_map(|found| found.refused.keys());
    let owners = owners.filter_map(|vni| {
        let given = cache.allocations.get(&Item::Vni(*vni))?;
        Some(&given.owner)
    });
    let networks = owners.filter_map(|owner| match owner {
        Owner::Network { name, .. } => Some(Work::Object(ObjectKey::network(name))),
        Owner::Node { .. } | Owner::Service { .. } | Owner::Task { .. } => None,
    });
    networks.collect()
}

/// What a change of an allocation leads to.
fn of_allocation(item: &Item, cache: &Cache) -> Vec<Work> {
    let network = |name: &Scoped| Work::Object(ObjectKey::network(name));
    let given = cache.allocations.get(item);
    match (item, given.map(|given| &given.owner)) {
        // Its network may be full now, or not any more.
        (Item::Address(uid, _) | Item::Block(uid, _), _) => cache
            .allocations
            .network(uid)
            .map(network)
            .into_iter()
            .collect(),
        (Item::Port(_), Some(Owner::Service { name, .. })) => {
            vec![Work::Object(ObjectKey::service(name))]
        }
        (Item::Port(_), _) => Vec::new(),
        (_, Some(Owner::Network { name, .. })) => vec![Work::Numbers, network(name)],
        (_, _) => vec![Work::Numbers],
    }
}

/// The network of its namespace that a service may need.
fn implied(key: &Key) -> Option<Work> {
    match key {
        Key::Accepted(object) if object.kind == Kind::Service => {
            Some(Work::Object(default_of(&object.namespace)))
        }
        _ => None,
    }
}

fn default_of(namespace: &str) -> ObjectKey {
    ObjectKey::network(&Scoped::new(namespace, joins::DEFAULT))
}

/// The services that name a network of which a change may concern what they are told.
fn naming(key: &Key, cache: &Cache) -> Vec<Work> {
    let network = match key {
        Key::Accepted(record) if record.kind == Kind::Network => record.scoped(),
        Key::Allocation(item @ (Item::Vni(_) | Item::Subnet(_) | Item::Subnet6(_))) => {
            match cache.allocations.get(item).map(|given| &given.owner) {
                Some(Owner::Network { name, .. }) => name.clone(),
                _ => return Vec::new(),
            }
        }
        _ => return Vec::new(),
    };
    let services = joins::services(cache, &network.namespace);
    let naming = services.filter(|(_, service)| joins::has(joins::of_service(service), &network));
    naming
        .map(|(name, _)| Work::Object(ObjectKey::service(name)))
        .collect()
}

/// Whether a change may concern published ports: of a service that has or wants one, or of one that is gone.
fn publishes(key: &Key, cache: &Cache) -> bool {
    match key {
        Key::Accepted(object) if object.kind == Kind::Service => {
            let name = object.scoped();
            let has_port = |service: &Stored<AcceptedService>| {
                let mut items = cache.allocations.of(&joins::service_owner(&name, service));
                items.any(|item| matches!(item, Item::Port(_)))
            };
            let has_none = |service: &Stored<AcceptedService>| {
                service.spec.ports.is_empty() && !has_port(service)
            };
            !cache.services.get(&name).is_some_and(has_none)
        }
        Key::Allocation(Item::Port(_)) => true,
        _ => false,
    }
}

/// The networks of which a change may concern the addresses.
fn addressed(key: &Key, cache: &Cache) -> Vec<Scoped> {
    match key {
        Key::Accepted(object) => match object.kind {
            Kind::Network => vec![object.scoped()],
            Kind::Service => of_service(&object.scoped(), cache),
            Kind::Node => attachable(cache).cloned().collect(),
        },
        Key::Task(service, task) => of_task(service, task, cache),
        // Until it is over a task keeps what it has; the address of one that was adopted is seen on its container.
        Key::TaskStatus(_, id) => match joins::task(cache, id) {
            Some((facets, service, task)) if joins::stage(facets, task) == joins::Stage::Over => {
                addresses::networks_with(cache, &joins::task_owner(service, id)).collect()
            }
            Some((_, service, task)) if task.adopted_from.is_some() => of_task(service, id, cache),
            Some(_) | None => Vec::new(),
        },
        Key::Allocation(item) => match item {
            Item::Address(uid, _) | Item::Block(uid, _)
                if cache.allocations.get(item).is_none() =>
            {
                let network = cache.allocations.network(uid);
                network.cloned().into_iter().collect()
            }
            Item::Subnet(_) | Item::Subnet6(_) => {
                match cache.allocations.get(item).map(|given| &given.owner) {
                    Some(Owner::Network { name, .. }) => vec![name.clone()],
                    Some(Owner::Node { .. } | Owner::Service { .. } | Owner::Task { .. })
                    | None => Vec::new(),
                }
            }
            Item::Address(..) | Item::Block(..) | Item::Node(_) | Item::Vni(_) | Item::Port(_) => {
                Vec::new()
            }
        },
        // Its engine may have blocks of networks that the store lost.
        Key::Status(object, controller)
            if object.kind == Kind::Node && controller == view::TASK =>
        {
            match of_other_lives(object, cache) {
                true => attachable(cache).cloned().collect(),
                false => Vec::new(),
            }
        }
        Key::User(_)
        | Key::Status(..)
        | Key::Scale(_)
        | Key::Revision(..)
        | Key::Binding(..)
        | Key::Cluster
        | Key::Election(..)
        | Key::Manager(_)
        | Key::Shard(_) => Vec::new(),
    }
}

/// The networks that containers of others may join.
fn attachable(cache: &Cache) -> impl Iterator<Item = &Scoped> {
    let networks = cache.networks.iter();
    let networks = networks.filter(|(_, record)| record.spec.attachable);
    networks.map(|(name, _)| name)
}

/// Whether a node's engine has networks from other lives of the store.
fn of_other_lives(node: &ObjectKey, cache: &Cache) -> bool {
    let status = cache.status(node, view::TASK);
    let found = status.and_then(|status| status.found.as_ref());
    found.is_some_and(|found| !found.networks.is_empty())
}

/// The attachable networks of which a node's coming, going or report changes what is said: it may have a block, or hold the last
/// container of others.
fn attached(key: &Key, cache: &Cache) -> Vec<Work> {
    let is_of_node = match key {
        Key::Accepted(object) => object.kind == Kind::Node,
        Key::Status(object, controller) => object.kind == Kind::Node && controller == view::TASK,
        _ => false,
    };
    let networks = attachable(cache).filter(|_| is_of_node);
    networks
        .map(|name| Work::Object(ObjectKey::network(name)))
        .collect()
}

/// The networks that a service names, and those in which it has an address; of one that is gone all of its namespace.
fn of_service(name: &Scoped, cache: &Cache) -> Vec<Scoped> {
    let Some(service) = cache.services.get(name) else {
        let all = cache.networks.keys();
        return all
            .filter(|network| network.namespace == name.namespace)
            .cloned()
            .collect();
    };
    let named = joins::of_service(service).iter();
    let named = named.map(|attachment| joins::named(name, attachment));
    let owner = joins::service_owner(name, service);
    named
        .chain(addresses::networks_with(cache, &owner))
        .collect()
}

/// The networks of a task by its revision, and those in which it has an address.
fn of_task(service: &Scoped, id: &TaskId, cache: &Cache) -> Vec<Scoped> {
    let record = joins::task(cache, id).map(|(_, _, task)| task);
    let named = record
        .map(|task| joins::of_task(cache, task))
        .unwrap_or_default();
    let named = named
        .iter()
        .map(|attachment| joins::named(service, attachment));
    let owner = joins::task_owner(service, id);
    named
        .chain(addresses::networks_with(cache, &owner))
        .collect()
}
