//! What services and tasks are called on their networks, for the agents' resolvers. Pure.
//!
//! A service is called so on the networks that it joins, also while it has no tasks; a task on those that it has an address
//! in, while it gets traffic.

use crate::api::accepted::AcceptedService;
use crate::api::allocation::{Owner, Vni};
use crate::api::name::{NodeName, Scoped};
use crate::api::service::{EndpointMode, ServicePort};
use crate::api::task::container_name;
use crate::api::uid::Uid;
use crate::api::unit::Port;
use crate::dataplane::dns::names::{ServiceNames, TaskName};
use crate::dataplane::shared::Shared;
use crate::dataplane::state::Network;
use crate::runtime::cache::{Cache, Stored};
use crate::runtime::joins;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// The networks that there are: by the uids of their records, and with their tasks.
#[derive(Clone, Copy)]
pub(super) struct Networks<'a> {
    pub(super) cache: &'a Cache,
    pub(super) vnis: &'a BTreeMap<Uid, Vni>,
    pub(super) networks: &'a BTreeMap<Vni, Shared<Network>>,
}

/// By each address of a task on several networks, all of those.
pub(super) type Askers = BTreeMap<Ipv4Addr, BTreeSet<Vni>>;

impl Networks<'_> {
    /// What a service and its tasks are called.
    pub(super) fn of_service(
        &self,
        name: &Scoped,
        service: &Stored<AcceptedService>,
    ) -> ServiceNames {
        let mut names = ServiceNames {
            is_round_robin: service.spec.endpoint_mode == EndpointMode::Dnsrr,
            ports: service.spec.ports.iter().filter_map(port).collect(),
            ..ServiceNames::default()
        };
        let virtuals = self.addresses(&joins::service_owner(name, service));
        for attachment in joins::of_service(service) {
            let record = self.cache.networks.get(&joins::named(name, attachment));
            let Some(vni) = record.and_then(|record| self.vnis.get(&record.uid)) else {
                continue;
            };
            names.networks.insert(*vni, virtuals.get(vni).copied());
            if !attachment.aliases.is_empty() {
                let aliases = attachment.aliases.iter().cloned();
                names.aliases.insert(*vni, aliases.collect());
            }
        }
        for task in self.cache.tasks_of(name) {
            let facets = self.cache.facets(&task.id);
            let Some(facets) = facets.filter(|facets| joins::gets_traffic(facets, task)) else {
                continue;
            };
            if task.service != service.uid {
                continue;
            }
            let mut addresses = self.addresses(&joins::task_owner(name, &task.id));
            addresses.retain(|vni, address| {
                let is_known = self.networks[vni].tasks.contains_key(address);
                is_known && joins::is_seen_at(facets, *address)
            });
            if !addresses.is_empty() {
                let called = container_name(name, &task.slot, &task.id);
                let slot = task.slot.to_string();
                names.tasks.insert(called, TaskName { slot, addresses });
            }
        }
        names
    }

    /// The tasks of a service on several networks, by the nodes where they ask.
    pub(super) fn askers(&self, name: &Scoped) -> Vec<(NodeName, Askers)> {
        let tasks = self.cache.tasks_of(name).filter_map(|task| {
            let facets = self.cache.facets(&task.id)?;
            let node = joins::node(facets)?;
            let addresses = self.addresses(&joins::task_owner(name, &task.id));
            let is_one = addresses.len() > 1 && joins::stage(facets, task) != joins::Stage::Over;
            let all: BTreeSet<Vni> = addresses.keys().copied().collect();
            let askers = addresses.values().map(|address| (*address, all.clone()));
            is_one.then(|| (node.clone(), askers.collect()))
        });
        tasks.collect()
    }

    /// What an owner has in each network.
    fn addresses(&self, owner: &Owner) -> BTreeMap<Vni, Ipv4Addr> {
        let items = self.cache.allocations.of(owner);
        let addresses = items.filter_map(|item| {
            let (network, address) = item.address()?;
            let vni = self.vnis.get(network)?;
            let is_inside = self.networks[vni].subnet.holds(address);
            is_inside.then_some((*vni, address))
        });
        addresses.collect()
    }
}

/// A port with a name, as `<name>/<protocol>`.
fn port(port: &ServicePort) -> Option<(String, Port)> {
    let name = port.name.as_ref()?;
    Some((format!("{name}/{}", port.protocol.as_str()), port.target))
}
