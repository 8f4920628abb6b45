//! What the sets and maps hold for a state. Pure.
//!
//! The table of IPv6 holds the same as that of IPv4, with the addresses that go with those there; what has none is left out.

use super::backends;
use super::bridge::names;
use super::ruleset::{Chain, Element, Family, Ruleset, Table};
use super::tables::{self, name, table};
use crate::api::service::{Locality, Protocol, SessionAffinity, Source};
use crate::dataplane::address::{Mac, Prefix, Version, merge, octets};
use crate::dataplane::constants::{MARK, OWN_SOURCE};
use crate::dataplane::fast_path::FastPaths;
use crate::dataplane::kernel::bridge_name;
use crate::dataplane::state::{
    Network, NodeIndex, PublishedKey, PublishedPort, State, VirtualAddress,
};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// The tables for a state, whole. `local` are the subnets of this node's other bridges, `paths` the fast paths where the
/// kernel has them.
pub(in crate::dataplane) fn ruleset(
    state: &State,
    local: &[Prefix],
    paths: Option<&FastPaths>,
) -> Ruleset {
    let mut ruleset = tables::skeleton(state, paths);
    // Who asks whose frames do not pass the router.
    let asks = match paths {
        Some(_) => Family::Netdev,
        None => Family::Bridge,
    };
    for version in Version::ALL {
        let subnets = subnets(state, version);
        let names = names(version);
        if let Some(bridge) = ruleset.get_mut(&table(Family::Bridge)) {
            fill(bridge, names.networks, ranges(version, &subnets));
        }
        if let Some(frames) = ruleset.get_mut(&table(asks)) {
            let networks = state.networks.values();
            let bridged = networks.flat_map(|network| {
                let bridged = network.bridged.iter();
                bridged.filter_map(move |address| in_network(network, version, *address))
            });
            fill(frames, names.bridged, bridged.map(one));
        }
        if let Some(packets) = ruleset.get_mut(&table(Family::of(version))) {
            fill(packets, name::NETWORKS, ranges(version, &subnets));
            let sources: Vec<Prefix> = local.iter().chain(&subnets).copied().collect();
            fill(packets, name::LOCAL_SOURCES, ranges(version, &sources));
            Filling {
                table: packets,
                state,
                version,
            }
            .fill();
        }
    }
    ruleset
}

/// What of the tables leads to backends, and nothing else: the maps of services and ports with the chains that they lead to.
pub(in crate::dataplane) fn backends(state: &State) -> Ruleset {
    let versions = Version::ALL.into_iter();
    let carried = versions.filter(|version| *version == Version::V4 || state.carries_ipv6());
    let filled = carried.map(|version| {
        let mut packets = Table {
            sets: tables::sets(version),
            ..Table::default()
        };
        Filling {
            table: &mut packets,
            state,
            version,
        }
        .backends();
        (table(Family::of(version)), packets)
    });
    filled.collect()
}

fn subnets(state: &State, version: Version) -> Vec<Prefix> {
    let networks = state.networks.values();
    let subnets = networks.filter_map(|network| match version {
        Version::V4 => Some(Prefix::V4(network.subnet)),
        Version::V6 => network.subnet6.map(Prefix::V6),
    });
    subnets.collect()
}

/// The address of a version of who has an address in a network.
fn in_network(network: &Network, version: Version, address: Ipv4Addr) -> Option<IpAddr> {
    match version {
        Version::V4 => Some(address.into()),
        Version::V6 => network.version6(address).map(IpAddr::V6),
    }
}

fn fill(table: &mut Table, set: &str, elements: impl IntoIterator<Item = (Vec<u8>, Element)>) {
    if let Some(set) = table.sets.get_mut(set) {
        set.elements.extend(elements);
    }
}

/// Subnets of a version as ranges that neither overlap nor touch.
fn ranges(version: Version, subnets: &[Prefix]) -> Vec<(Vec<u8>, Element)> {
    let ends = subnets.iter().filter_map(|subnet| match (version, subnet) {
        (Version::V4, Prefix::V4(subnet)) => {
            let (first, last) = subnet.range();
            Some((first.into(), last.into()))
        }
        (Version::V6, Prefix::V6(subnet)) => {
            let (first, last) = subnet.ends();
            Some((first.into(), last.into()))
        }
        (Version::V4, Prefix::V6(_)) | (Version::V6, Prefix::V4(_)) => None,
    });
    // The last 4 or 16 bytes of a number are the address.
    let (start, most) = match version {
        Version::V4 => (12, u32::MAX.into()),
        Version::V6 => (0, u128::MAX),
    };
    let bytes = |number: u128| number.to_be_bytes()[start..].to_vec();
    let range = |(first, last): (u128, u128)| {
        let behind = (last < most).then(|| bytes(last + 1));
        (bytes(first), Element::Until(behind.unwrap_or_default()))
    };
    merge(ends.collect()).into_iter().map(range).collect()
}

fn one(address: impl Into<IpAddr>) -> (Vec<u8>, Element) {
    (octets(address.into()), Element::Member)
}

/// A link's name as registers hold it.
pub(super) fn link(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

/// The table of a version's packets, while it is filled.
struct Filling<'a> {
    table: &'a mut Table,
    state: &'a State,
    version: Version,
}

impl Filling<'_> {
    fn fill(&mut self) {
        let state = self.state;
        self.members();
        for (vni, network) in &state.networks {
            self.overlay(&bridge_name(*vni), network);
        }
        self.backends();
    }

    fn backends(&mut self) {
        let state = self.state;
        for (address, service) in &state.virtual_addresses {
            self.service(*address, service);
        }
        for (key, port) in &state.ports {
            self.port(key, port);
        }
    }

    fn put(&mut self, set: &str, elements: impl IntoIterator<Item = (Vec<u8>, Element)>) {
        fill(self.table, set, elements);
    }

    /// The octets of the version's address of who has an address in any network.
    fn octets(&self, address: Ipv4Addr) -> Option<Vec<u8>> {
        match self.version {
            Version::V4 => Some(address.octets().to_vec()),
            Version::V6 => {
                let address = self.state.version6(address)?;
                Some(address.octets().to_vec())
            }
        }
    }

    fn members(&mut self) {
        let state = self.state;
        let (own, others) = (state.members.values(), state.members6.values().flatten());
        match self.version {
            Version::V4 => self.put(name::MEMBERS, own.copied().map(one)),
            Version::V6 => self.put(name::MEMBERS, others.copied().map(one)),
        }
        let entry = |(index, address): (NodeIndex, Ipv4Addr)| {
            let mark = MARK | u32::from(index.0);
            let router = Mac::of_router(address).0.to_vec();
            (router, Element::Data(mark.to_ne_bytes().to_vec()))
        };
        self.put(name::ENTRY_MARKS, state.others().map(entry));
    }

    fn overlay(&mut self, bridge: &str, network: &Network) {
        let version = self.version;
        let Some(gateway) = in_network(network, version, network.gateway) else {
            return;
        };
        let bridge = link(bridge);
        let twice = [bridge.clone(), bridge.clone()].concat();
        self.put(name::INSIDE, [(twice, Element::Member)]);
        if network.internal {
            self.put(name::INTERNAL, [(bridge, Element::Member)]);
        }
        self.put(name::GATEWAYS, [one(gateway)]);
        let own = self.state.node;
        let local = network.tasks.iter().filter(|(_, node)| **node == own);
        let local = local.filter_map(|(address, _)| in_network(network, version, *address));
        let twice = |address: IpAddr| (octets(address).repeat(2), Element::Member);
        self.put(name::LOOPS, local.map(twice));
    }

    fn service(&mut self, address: Ipv4Addr, service: &VirtualAddress) {
        let Some(address) = self.octets(address) else {
            return;
        };
        self.put(name::VIRTUAL, [(address.clone(), Element::Member)]);
        let backends: Vec<_> = service
            .backends
            .iter()
            .filter_map(|backend| self.octets(*backend))
            .collect();
        let Some(count) = some(backends.len()) else {
            return;
        };
        let by_client = service.affinity == SessionAffinity::ClientIp;
        let chain = named("service", by_client, false, count);
        self.put(
            name::SERVICES,
            [(address.clone(), Element::Goto(chain.clone()))],
        );
        let slot = |(slot, backend): (u32, Vec<u8>)| {
            let key = [&slot.to_ne_bytes()[..], &address].concat();
            (key, Element::Data(backend))
        };
        self.put(name::SERVICE_SLOTS, (0..).zip(backends).map(slot));
        let version = self.version;
        self.chain(chain, || backends::service(version, count, by_client));
    }

    fn port(&mut self, key: &PublishedKey, port: &PublishedPort) {
        let is_other = |address: IpAddr| Version::of(address) != self.version;
        if key.address.is_some_and(is_other) {
            return;
        }
        let backends: Vec<_> = chosen(self.state, port)
            .into_iter()
            .filter_map(|backend| self.octets(backend))
            .collect();
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
        let address = key.address.map(octets).unwrap_or_default();
        let tail = [&address[..], &[protocol, 0, 0, 0, high, low, 0, 0]].concat();
        let (kind, found, slots) = match key.address {
            None => ("port", name::PORTS, name::PORT_SLOTS),
            Some(_) => ("port_at", name::PORTS_AT, name::PORT_AT_SLOTS),
        };
        let chain = named(kind, by_client, hides, count);
        self.put(found, [(tail.clone(), Element::Goto(chain.clone()))]);
        let [high, low] = port.target.0.to_be_bytes();
        let slot = |(slot, backend): (u32, Vec<u8>)| {
            let value = [&backend[..], &[high, low, 0, 0]].concat();
            (
                [&slot.to_ne_bytes()[..], &tail].concat(),
                Element::Data(value),
            )
        };
        self.put(slots, (0..).zip(backends).map(slot));
        let version = self.version;
        self.chain(chain, || match key.address {
            None => backends::port(version, count, by_client, flags),
            Some(_) => backends::port_at(version, count, by_client, flags),
        });
    }

    fn chain(&mut self, name: String, make: impl FnOnce() -> Chain) {
        self.table.chains.entry(name).or_insert_with(make);
    }
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
