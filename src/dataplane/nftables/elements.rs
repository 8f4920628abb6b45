//! What the sets and maps hold for a state. Pure.

use super::backends;
use super::ruleset::{Chain, Element, Family, Ruleset, Table};
use super::tables::{self, name, table};
use crate::api::service::{Locality, Protocol, SessionAffinity, Source};
use crate::dataplane::address::{Cidr, Mac, merge};
use crate::dataplane::constants::{MARK, OWN_SOURCE};
use crate::dataplane::kernel::bridge_name;
use crate::dataplane::shared::Shared;
use crate::dataplane::state::{
    Network, NodeIndex, PublishedKey, PublishedPort, State, VirtualAddress, Vni,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// The tables for a state, whole. `local` are the subnets of this node's other bridges.
pub(in crate::dataplane) fn ruleset(state: &State, local: &[Cidr]) -> Ruleset {
    let mut ruleset = tables::skeleton(state);
    let subnets: Vec<Cidr> = state
        .networks
        .values()
        .map(|network| network.subnet)
        .collect();
    for table in ruleset.values_mut() {
        fill(table, name::NETWORKS, ranges(&subnets));
    }
    if let Some(bridge) = ruleset.get_mut(&table(Family::Bridge)) {
        let networks = state.networks.values();
        let bridged = networks.flat_map(|network| &network.bridged);
        fill(bridge, name::BRIDGED, bridged.copied().map(one));
    }
    if let Some(ip) = ruleset.get_mut(&table(Family::Ip)) {
        let sources: Vec<Cidr> = local.iter().chain(&subnets).copied().collect();
        fill(ip, name::LOCAL_SOURCES, ranges(&sources));
        members(ip, state);
        overlays(ip, state.node, &state.networks);
        for (address, service) in &state.virtual_addresses {
            put_service(ip, *address, service);
        }
        for (key, port) in &state.ports {
            put_port(ip, state, key, port);
        }
    }
    ruleset
}

fn fill(table: &mut Table, set: &str, elements: impl IntoIterator<Item = (Vec<u8>, Element)>) {
    if let Some(set) = table.sets.get_mut(set) {
        set.elements.extend(elements);
    }
}

/// Subnets as ranges that neither overlap nor touch.
fn ranges(subnets: &[Cidr]) -> Vec<(Vec<u8>, Element)> {
    let merged = merge(subnets.iter().map(|subnet| subnet.range()).collect());
    let range = |(first, last): (u32, u32)| {
        let behind = last.checked_add(1);
        let behind = behind.map(|behind| behind.to_be_bytes().to_vec());
        (
            first.to_be_bytes().to_vec(),
            Element::Until(behind.unwrap_or_default()),
        )
    };
    merged.into_iter().map(range).collect()
}

fn one(address: Ipv4Addr) -> (Vec<u8>, Element) {
    (address.octets().to_vec(), Element::Member)
}

fn members(ip: &mut Table, state: &State) {
    fill(ip, name::MEMBERS, state.members.values().copied().map(one));
    let entry = |(index, address): (NodeIndex, Ipv4Addr)| {
        let mark = MARK | u32::from(index.0);
        let router = Mac::of_router(address).0.to_vec();
        (router, Element::Data(mark.to_ne_bytes().to_vec()))
    };
    fill(ip, name::ENTRY_MARKS, state.others().map(entry));
}

/// A link's name as registers hold it.
fn link(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

fn overlays(ip: &mut Table, own: NodeIndex, networks: &BTreeMap<Vni, Shared<Network>>) {
    for (vni, network) in networks {
        let bridge = link(&bridge_name(*vni));
        fill(
            ip,
            name::INSIDE,
            [([bridge.clone(), bridge.clone()].concat(), Element::Member)],
        );
        if network.internal {
            fill(ip, name::INTERNAL, [(bridge, Element::Member)]);
        }
        fill(ip, name::GATEWAYS, [one(network.gateway)]);
        let local = network.tasks.iter().filter(|(_, node)| **node == own);
        let twice = |(address, _): (&Ipv4Addr, _)| (address.octets().repeat(2), Element::Member);
        fill(ip, name::LOOPS, local.map(twice));
    }
}

fn put_service(ip: &mut Table, address: Ipv4Addr, service: &VirtualAddress) {
    fill(ip, name::VIRTUAL, [one(address)]);
    let Some(count) = some(service.backends.len()) else {
        return;
    };
    let by_client = service.affinity == SessionAffinity::ClientIp;
    let chain = named("service", by_client, false, count);
    fill(
        ip,
        name::SERVICES,
        [(address.octets().to_vec(), Element::Goto(chain.clone()))],
    );
    let slot = |(slot, backend): (u32, &Ipv4Addr)| {
        let key = [slot.to_ne_bytes(), address.octets()].concat();
        (key, Element::Data(backend.octets().to_vec()))
    };
    fill(
        ip,
        name::SERVICE_SLOTS,
        (0..).zip(&service.backends).map(slot),
    );
    put_chain(ip, chain, || backends::service(count, by_client));
}

fn put_port(ip: &mut Table, state: &State, key: &PublishedKey, port: &PublishedPort) {
    let backends = chosen(state, port);
    let Some(count) = some(backends.len()) else {
        return;
    };
    let by_client = port.affinity == SessionAffinity::ClientIp;
    let hides = port.source == Source::Masquerade;
    let flags = if hides { OWN_SOURCE } else { 0 };
    let protocol = match key.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    };
    let [high, low] = key.port.0.to_be_bytes();
    let address = match key.address {
        None => None,
        Some(IpAddr::V4(address)) => Some(address.octets().to_vec()),
        Some(IpAddr::V6(_)) => return,
    };
    let tail = [
        &address.clone().unwrap_or_default()[..],
        &[protocol, 0, 0, 0, high, low, 0, 0],
    ]
    .concat();
    let (kind, found, slots) = match address {
        None => ("port", name::PORTS, name::PORT_SLOTS),
        Some(_) => ("port_at", name::PORTS_AT, name::PORT_AT_SLOTS),
    };
    let chain = named(kind, by_client, hides, count);
    fill(ip, found, [(tail.clone(), Element::Goto(chain.clone()))]);
    let [high, low] = port.target.0.to_be_bytes();
    let slot = |(slot, backend): (u32, Ipv4Addr)| {
        let value = [backend.octets(), [high, low, 0, 0]].concat();
        (
            [&slot.to_ne_bytes()[..], &tail].concat(),
            Element::Data(value),
        )
    };
    fill(ip, slots, (0..).zip(backends).map(slot));
    put_chain(ip, chain, || match key.address {
        None => backends::port(count, by_client, flags),
        Some(_) => backends::port_at(count, by_client, flags),
    });
}

/// The backends that answer on this node.
pub(in crate::dataplane) fn chosen(state: &State, port: &PublishedPort) -> BTreeSet<Ipv4Addr> {
    let is_here = |task: &&Ipv4Addr| state.place(**task) == Some(state.node);
    let here: BTreeSet<Ipv4Addr> = port.backends.iter().filter(is_here).copied().collect();
    match port.locality {
        Locality::Local => here,
        Locality::PreferLocal if !here.is_empty() => here,
        Locality::PreferLocal | Locality::Any => port.backends.clone(),
    }
}

fn some(count: usize) -> Option<u32> {
    u32::try_from(count).ok().filter(|count| *count > 0)
}

/// The chain for a number of backends: it is shared by all that have as many and choose alike.
fn named(kind: &str, by_client: bool, hides: bool, count: u32) -> String {
    let by_client = if by_client { "_by_client" } else { "" };
    let hides = if hides { "_hidden" } else { "" };
    format!("{kind}{by_client}{hides}_{count}")
}

fn put_chain(ip: &mut Table, name: String, make: impl FnOnce() -> Chain) {
    ip.chains.entry(name).or_insert_with(make);
}
