//! What the data plane of each node should be, computed from the cache alone. Pure.
//!
//! [`Overlays`] is computed once for a view of the store and is the same for all nodes; [`Overlays::state`] cuts a node's
//! part out of it. A node has the networks of the tasks that are bound to it, those behind published ports, which every
//! node answers on, and attachable ones, as anybody may join them anywhere; of a network it knows all tasks, also those that
//! are not made yet: ways are there before anybody is sent on them. Containers of others in attachable networks are
//! reached and named as tasks are.
//!
//! A task's frames stay on bridges once its container was seen with the hardware address that they are sent to; until then,
//! and where it has another, they pass the routers.
//!
//! Behind a virtual address or a port stand tasks that serve. One that is on its way out leaves both first, and keeps its
//! way until it is over.
//!
//! Published ports are those of the ledger (`ports.rs`). What a task has open on its node in mode host stays its own there.
//!
//! A port that tells of a service's health is on every node, and says there what the node does with the service's ports.
//!
//! Names are what `names.rs` says, of the networks that the node has.
//!
//! A network that says no MTU has the largest that all nodes' underlays carry: the same on every node, and another one once
//! agents say so. Engines keep what they were told when they made their network; tasks that are there keep theirs.

use super::ipam;
use super::names::{Askers, Networks};
use super::strangers::Strangers;
use crate::api::accepted::AcceptedService;
use crate::api::allocation::{Item, NodeIndex, Owner, Vni};
use crate::api::name::{NodeName, Scoped};
use crate::api::published::PublishedKey;
use crate::api::service::{Protocol, ServicePort};
use crate::api::task::HostPort;
use crate::api::uid::Uid;
use crate::api::unit::Port;
use crate::dataplane::address::Dual;
use crate::dataplane::dns::names::{Names, ServiceNames, kept};
use crate::dataplane::shared::Shared;
use crate::dataplane::state::{
    HealthPort, Network, PublishedPort, State, StateRevision, VXLAN_PORT, VirtualAddress,
};
use crate::runtime::cache::{Cache, Stored};
use crate::runtime::published::{given, health};
use crate::runtime::{joins, view};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The largest packet that a network has at least which carries IPv6, in bytes (RFC 8200, 5).
const LEAST_MTU6: u32 = 1_280;

/// What services are called, by `<name>.<namespace>`.
type Services = Shared<BTreeMap<String, Shared<ServiceNames>>>;

/// All networks with their members, tasks, virtual addresses and ports.
#[derive(Clone, Debug, Default)]
pub struct Overlays {
    revision: StateRevision,
    /// The largest packet of networks that say nothing else, in bytes.
    mtu: u32,
    indexes: BTreeMap<NodeName, NodeIndex>,
    members: Shared<BTreeMap<NodeIndex, Ipv4Addr>>,
    members6: Shared<BTreeMap<NodeIndex, BTreeSet<Ipv6Addr>>>,
    /// What nodes without IPv6 know of those: nothing, held once.
    nobody6: Shared<BTreeMap<NodeIndex, BTreeSet<Ipv6Addr>>>,
    vnis: BTreeMap<Uid, Vni>,
    networks: BTreeMap<Vni, Shared<Network>>,
    virtual_addresses: Shared<BTreeMap<Ipv4Addr, Shared<VirtualAddress>>>,
    /// The networks of those, by address and in all.
    virtuals: BTreeMap<Ipv4Addr, Vni>,
    balanced: BTreeSet<Vni>,
    ports: Shared<BTreeMap<PublishedKey, Shared<PublishedPort>>>,
    /// The networks behind ports: every node answers, so every node has the network that leads to the tasks.
    published: BTreeSet<Vni>,
    health: BTreeMap<Port, HealthPort>,
    /// What services are called; who asks stands apart.
    names: Names,
    /// The networks that a service's names speak of, and all names.
    spans: BTreeMap<String, BTreeSet<Vni>>,
    named: BTreeSet<Vni>,
    askers: BTreeMap<NodeName, Askers>,
    /// Ports that tasks have open on their own nodes.
    hosts: BTreeMap<NodeName, BTreeSet<HostPort>>,
}

impl Overlays {
    /// Those of the store as the cache shows it.
    pub fn of(cache: &Cache) -> Self {
        let mut overlays = Self {
            revision: StateRevision(u64::try_from(cache.revision.0).unwrap_or_default()),
            mtu: view::overlay_mtu(cache),
            ..Self::default()
        };
        overlays.add_members(cache);
        overlays.add_hosts(cache);
        for name in cache.networks.keys() {
            overlays.add_network(cache, name);
        }
        for (name, service) in &cache.services {
            if !joins::of_service(service).is_empty() {
                overlays.add_service(cache, name, service);
            }
        }
        overlays.spread_published();
        overlays.add_strangers(cache);
        overlays
    }

    /// What a node should be; none while it has no index or nobody knows where others reach it.
    pub fn state(&self, node: &NodeName) -> Option<State> {
        let index = *self.indexes.get(node)?;
        let all = self.networks.iter();
        let networks = all.filter(|(_, network)| network.nodes.contains(&index));
        let networks: BTreeMap<_, _> = networks.map(|(vni, one)| (*vni, one.clone())).collect();
        let has_ipv6 = networks.values().any(|network| network.subnet6.is_some());
        let is_here = |vni: &Vni| networks.contains_key(vni);
        // Where all networks are that it speaks of, a map is as it stands for everybody, and held once.
        let has_all = |spoken_of: &BTreeSet<Vni>| spoken_of.iter().all(is_here);
        let virtuals = self.virtual_addresses.iter();
        let virtuals = virtuals.filter(|(address, _)| is_here(&self.virtuals[*address]));
        let virtual_addresses = match has_all(&self.balanced) {
            true => self.virtual_addresses.clone(),
            false => virtuals
                .map(|(address, value)| (*address, value.clone()))
                .collect(),
        };
        let mut names = Names {
            namespaces: kept(&self.names.namespaces, is_here),
            askers: BTreeMap::new(),
            services: match has_all(&self.named) {
                true => self.names.services.clone(),
                false => self.services_of(is_here),
            },
        };
        let askers = self.askers.get(node).into_iter().flatten();
        let here = |all: &BTreeSet<Vni>| all.iter().copied().filter(is_here).collect();
        names.askers = askers.map(|(address, all)| (*address, here(all))).collect();
        let hosts = self.hosts.get(node);
        let is_own = |key: &PublishedKey| {
            let mut hosts = hosts.into_iter().flatten();
            hosts.any(|host| {
                (host.protocol, host.published) == (key.protocol, key.port)
                    && key.meets_host(host.host_ip)
            })
        };
        let has_own = hosts.is_some() && self.ports.keys().any(is_own);
        let ports = self.ports.iter().filter(|(key, _)| !is_own(key));
        let ports = match has_own {
            true => ports.map(|(key, port)| (*key, port.clone())).collect(),
            false => self.ports.clone(),
        };
        Some(State {
            revision: self.revision,
            node: index,
            vxlan_port: VXLAN_PORT,
            members: self.members.clone(),
            members6: match has_ipv6 {
                true => self.members6.clone(),
                false => self.nobody6.clone(),
            },
            virtual_addresses,
            ports,
            health: self.health_of(is_own),
            names,
            networks,
        })
    }

    /// The same, with what is equal to something of `before` held once: whoever compares states of both sees it at once.
    #[must_use]
    pub fn sharing(mut self, before: &Self) -> Self {
        keep(&mut self.members, &before.members);
        keep(&mut self.members6, &before.members6);
        keep(&mut self.nobody6, &before.nobody6);
        share(&mut self.networks, &before.networks);
        share(&mut self.ports, &before.ports);
        keep(&mut self.ports, &before.ports);
        share(&mut self.names.services, &before.names.services);
        keep(&mut self.names.services, &before.names.services);
        share(&mut self.virtual_addresses, &before.virtual_addresses);
        keep(&mut self.virtual_addresses, &before.virtual_addresses);
        self
    }

    /// Whether every node should be the same as by `other`; the views may be different ones.
    pub fn is_same(&self, other: &Self) -> bool {
        let Self {
            revision: _,
            mtu: _,
            indexes,
            members,
            members6,
            nobody6: _,
            vnis,
            networks,
            virtual_addresses,
            virtuals,
            balanced: _,
            ports,
            published: _,
            health,
            names,
            spans: _,
            named: _,
            askers,
            hosts,
        } = self;
        (indexes, members, members6) == (&other.indexes, &other.members, &other.members6)
            && (vnis, networks) == (&other.vnis, &other.networks)
            && (virtual_addresses, virtuals) == (&other.virtual_addresses, &other.virtuals)
            && (ports, health) == (&other.ports, &other.health)
            && (names, askers, hosts) == (&other.names, &other.askers, &other.hosts)
    }

    /// What services are called in some networks.
    fn services_of(&self, is_here: impl Fn(&Vni) -> bool) -> Services {
        let services = self.names.services.iter().filter_map(|(name, service)| {
            let spans = self.spans.get(name)?;
            if spans.iter().all(&is_here) {
                return Some((name.clone(), service.clone()));
            }
            let part = service.of(&is_here);
            let is_known = !part.networks.is_empty() || !part.tasks.is_empty();
            is_known.then(|| (name.clone(), part.into()))
        });
        services.collect()
    }

    /// What a service is called, or a container of others, unless it is on no network: then it is called nowhere.
    fn call(&mut self, key: String, names: ServiceNames) {
        let spans: BTreeSet<Vni> = names.spoken_of().collect();
        self.named.extend(&spans);
        if !spans.is_empty() {
            self.names.services.insert(key.clone(), names.into());
        }
        self.spans.insert(key, spans);
    }

    /// The ports that tell of health on a node, but those that a task has open there.
    fn health_of(&self, is_own: impl Fn(&PublishedKey) -> bool) -> BTreeMap<Port, HealthPort> {
        let key = |port: Port| PublishedKey {
            protocol: Protocol::Tcp,
            port,
            address: None,
        };
        let health = self.health.iter().filter(|(port, _)| !is_own(&key(**port)));
        health
            .map(|(port, health)| (*port, health.clone()))
            .collect()
    }

    /// The ports that tasks have open on their own nodes, from the moment at which they are bound until they are over.
    fn add_hosts(&mut self, cache: &Cache) {
        for facets in cache.all_facets() {
            let (Some((node, binding)), Some((_, task))) = (&facets.binding, &facets.task) else {
                continue;
            };
            let status = facets.status_on(node);
            let open = status.map_or(&[][..], |status| &status.ports);
            let is_over = joins::stage(facets, task) == joins::Stage::Over;
            let held = binding.host_ports.iter().chain(open).filter(|_| !is_over);
            for port in held {
                let hosts = self.hosts.entry(node.clone()).or_default();
                hosts.insert(port.clone());
            }
        }
    }

    fn add_members(&mut self, cache: &Cache) {
        let mut addresses = BTreeSet::new();
        for node in view::nodes(cache) {
            let owner = Owner::Node {
                name: node.name.clone(),
                uid: node.uid().clone(),
            };
            let index = cache.allocations.of(&owner).find_map(Item::node);
            // Routers are told apart by their nodes' addresses: of twins only the first is one.
            if let (Some(index), Some(IpAddr::V4(address))) = (index, node.address())
                && addresses.insert(address)
            {
                let said = view::underlay(cache, &node.name);
                let others = said.filter(|said| !said.addresses6.is_empty());
                let others = others.map(|said| (index, said.addresses6.clone()));
                self.members6.extend(others);
                self.indexes.insert(node.name, index);
                self.members.insert(index, address);
            }
        }
    }

    /// Networks behind published ports are on every node.
    fn spread_published(&mut self) {
        for vni in &self.published {
            if let Some(network) = self.networks.get_mut(vni) {
                network.nodes.extend(self.members.keys().copied());
            }
        }
    }

    fn add_network(&mut self, cache: &Cache, name: &Scoped) {
        let Some(record) = cache.networks.get(name) else {
            return;
        };
        let owner = ipam::owner(name, &record.uid);
        let (Some(vni), Some(subnet)) = cache.allocations.numbers_of(&owner) else {
            return;
        };
        let (first, last) = subnet.hosts();
        let given = cache.allocations.addresses(&record.uid);
        let is_inside = |address: Ipv4Addr| (first..=last).contains(&u32::from(address));
        let mut tasks: BTreeMap<Ipv4Addr, NodeIndex> = given
            .filter(|(address, _)| is_inside(*address))
            .filter_map(|(address, given)| match &given.owner {
                Owner::Task { task, .. } => {
                    let (facets, _, task) = joins::task(cache, task)?;
                    let is_there = joins::stage(facets, task) != joins::Stage::Over;
                    let index = self.indexes.get(joins::node(facets)?)?;
                    is_there.then_some((address, *index))
                }
                Owner::Node { .. } | Owner::Network { .. } | Owner::Service { .. } => None,
            })
            .collect();
        let mtu = match record.spec.mtu {
            0 => self.mtu,
            mtu => mtu,
        };
        // One that carries IPv6 and has no subnet of it yet goes on as it is, as one does whose links are too narrow for it.
        let carries = record.spec.carries_ipv6() && mtu >= LEAST_MTU6;
        let subnet6 = cache.allocations.subnet6_of(&owner).filter(|_| carries);
        let dual = subnet6.map(|subnet6| Dual { subnet, subnet6 });
        let dual = dual.filter(|dual| dual.fits());
        let mut addresses6 = BTreeMap::new();
        let mut bridged = bridged(cache, &record.uid, &tasks);
        for (node, stranger) in joins::strangers(cache, name) {
            let index = self.indexes.get(&node);
            if let Some(index) = index.filter(|_| is_inside(stranger.address)) {
                tasks.insert(stranger.address, *index);
                let other =
                    dual.and_then(|dual| joins::address6(cache, name, &node, stranger, dual));
                addresses6.extend(other.map(|other| (stranger.address, other)));
                bridged.extend(Some(stranger.address).filter(|_| stranger.bridged));
            }
        }
        let blocks = cache.allocations.blocks(&record.uid);
        let joinable = blocks.filter_map(|(_, given)| match &given.owner {
            Owner::Node { name, .. } => self.indexes.get(name).copied(),
            Owner::Network { .. } | Owner::Service { .. } | Owner::Task { .. } => None,
        });
        let network = Network {
            subnet,
            gateway: subnet.gateway(),
            subnet6: dual.map(|dual| dual.subnet6),
            mtu,
            internal: record.spec.internal,
            nodes: tasks.values().copied().chain(joinable).collect(),
            bridged,
            addresses6,
            tasks,
        };
        let namespace = name.namespace.to_string();
        self.names.namespaces.insert(vni, namespace);
        self.vnis.insert(record.uid.clone(), vni);
        self.networks.insert(vni, network.into());
    }

    fn add_service(&mut self, cache: &Cache, name: &Scoped, service: &Stored<AcceptedService>) {
        let backends = self.backends(cache, name, service);
        let affinity = service.spec.session_affinity;
        for item in cache.allocations.of(&joins::service_owner(name, service)) {
            let Item::Address(network, address) = item else {
                continue;
            };
            let Some(vni) = self.vnis.get(network) else {
                continue;
            };
            if self.networks[vni].subnet.holds(*address) {
                let backends = backends.get(vni).cloned().unwrap_or_default();
                let value = VirtualAddress { backends, affinity };
                self.virtual_addresses.insert(*address, value.into());
                self.virtuals.insert(*address, *vni);
                self.balanced.insert(*vni);
            }
        }
        self.add_names(cache, name, service);
        let mut networks = joins::of_service(service).iter().filter_map(|attachment| {
            let record = cache.networks.get(&joins::named(name, attachment))?;
            self.vnis.get(&record.uid).copied()
        });
        // Connections from outside go to the network that is named first.
        let Some(vni) = networks.next() else {
            return;
        };
        let backends = backends.get(&vni).cloned().unwrap_or_default();
        let mut ports = BTreeSet::new();
        for (port, given) in given(&cache.allocations, name, service) {
            if let Some(key) = given {
                self.add_port(key, port, vni, &backends, service);
                ports.insert(key);
            }
        }
        let mut items = cache.allocations.of(&joins::service_owner(name, service));
        let health =
            health(&service.spec).filter(|key| items.any(|item| *item == Item::Port(*key)));
        if let Some(key) = health.filter(|_| !ports.is_empty()) {
            let service = format!("{}/{}", name.namespace, name.name);
            self.health.insert(key.port, HealthPort { service, ports });
        }
    }

    /// What containers of others are called.
    fn add_strangers(&mut self, cache: &Cache) {
        let mut strangers = Strangers::default();
        for (name, record) in &cache.networks {
            let vni = self.vnis.get(&record.uid);
            if let Some((vni, network)) = vni.and_then(|vni| self.networks.get_key_value(vni)) {
                strangers.add(cache, name, *vni, network);
            }
        }
        for (node, askers) in strangers.askers() {
            self.askers.entry(node.clone()).or_default().extend(askers);
        }
        for (key, names) in strangers.names {
            if !self.spans.contains_key(&key) {
                self.call(key, names);
            }
        }
    }

    fn add_names(&mut self, cache: &Cache, name: &Scoped, service: &Stored<AcceptedService>) {
        let networks = Networks {
            cache,
            vnis: &self.vnis,
            networks: &self.networks,
        };
        let key = format!("{}.{}", name.name, name.namespace);
        let names = networks.of_service(name, service);
        for (node, askers) in networks.askers(name) {
            self.askers.entry(node).or_default().extend(askers);
        }
        self.call(key, names);
    }

    /// The addresses of a service's tasks that get traffic, by network.
    fn backends(
        &self,
        cache: &Cache,
        name: &Scoped,
        service: &AcceptedService,
    ) -> BTreeMap<Vni, BTreeSet<Ipv4Addr>> {
        let mut backends: BTreeMap<Vni, BTreeSet<Ipv4Addr>> = BTreeMap::new();
        for task in cache.tasks_of(name) {
            let facets = cache.facets(&task.id);
            let serves = facets.is_some_and(|facets| joins::gets_traffic(facets, task));
            if task.service != service.uid || !serves {
                continue;
            }
            for item in cache.allocations.of(&joins::task_owner(name, &task.id)) {
                let Item::Address(network, address) = item else {
                    continue;
                };
                let vni = self.vnis.get(network);
                // One that was started before overlays were realised is not where its address says.
                let is_there = facets.is_some_and(|facets| joins::is_seen_at(facets, *address));
                let is_known =
                    |vni: &&Vni| is_there && self.networks[*vni].tasks.contains_key(address);
                if let Some(vni) = vni.filter(is_known) {
                    backends.entry(*vni).or_default().insert(*address);
                }
            }
        }
        backends
    }

    fn add_port(
        &mut self,
        key: PublishedKey,
        port: &ServicePort,
        vni: Vni,
        backends: &BTreeSet<Ipv4Addr>,
        service: &AcceptedService,
    ) {
        let value = PublishedPort {
            target: port.target,
            backends: backends.clone(),
            source: port.source,
            locality: port.locality,
            affinity: service.spec.session_affinity,
        };
        self.ports.insert(key, value.into());
        self.published.insert(vni);
    }
}

/// Has a value that is equal to the old one be that.
fn keep<T: Eq>(new: &mut Shared<T>, old: &Shared<T>) {
    if new == old {
        new.clone_from(old);
    }
}

/// Has values that are equal to old ones be those.
fn share<K: Ord, V: Eq>(new: &mut BTreeMap<K, Shared<V>>, old: &BTreeMap<K, Shared<V>>) {
    for (key, value) in new {
        if let Some(known) = old.get(key).filter(|known| *known == value) {
            value.clone_from(known);
        }
    }
}

/// Those of a network's tasks whose containers were seen with the hardware addresses that follow from theirs.
fn bridged(
    cache: &Cache,
    network: &Uid,
    tasks: &BTreeMap<Ipv4Addr, NodeIndex>,
) -> BTreeSet<Ipv4Addr> {
    let is_bridged = |address: Ipv4Addr, owner: &Owner| {
        let Owner::Task { task, .. } = owner else {
            return false;
        };
        let found = joins::task(cache, task);
        found.is_some_and(|(facets, ..)| joins::stays_on_bridges(facets, address))
    };
    let given = cache.allocations.addresses(network);
    given
        .filter(|(address, given)| {
            tasks.contains_key(address) && is_bridged(*address, &given.owner)
        })
        .map(|(address, _)| address)
        .collect()
}
