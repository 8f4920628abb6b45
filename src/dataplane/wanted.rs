//! What a kernel should be for a state. Pure.

use super::address::{Mac, Prefix, Version};
use super::constants::{GROUP, MARK, MARK_MASK, NODE_MASK, RULE_BEHIND, RULE_ENTRY, RULE_PAST};
use super::fast_path::{Stations, fast_paths, kept, stations};
use super::kernel::{
    Action, Forwarding, Kernel, Link, LinkKind, Place, Route, Rule, Tunnel, bridge_name,
    tunnel_name,
};
use super::nftables::elements;
use super::occupied::occupied;
use super::settings::settings;
use super::state::{Network, NodeIndex, PublishedKey, State, Vni};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What should be, and what cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The kernel.
    pub kernel: Kernel,
    /// Networks that clash with what the node has, and why. One that is there already may still be in `kernel`, as far as it
    /// can be.
    pub refused: BTreeMap<Vni, String>,
    /// Ports that programs of the node listen on, as far as they are published, or may be given to who leaves his out.
    pub occupied: BTreeSet<PublishedKey>,
    /// The ports of this node's tasks that frames are handed straight to.
    pub stations: Stations,
    /// The state without those ports, and without the networks that are not there.
    pub state: Option<State>,
}

/// What the kernel should be; `found` says what else is there, and `originals` which settings were before the first that is
/// ours.
pub fn wanted(state: &State, found: &Kernel, originals: &BTreeMap<String, String>) -> Wanted {
    let mut refused = refusals(state, found);
    let mut state = possible(state, &refused);
    refused.extend(blocked(&state, found));
    let occupied = occupied(&state, found);
    state.ports.retain(|key, _| !occupied.contains(key));
    let is_bridge = found.others.iter().filter(|other| other.is_bridge);
    let local: Vec<Prefix> = is_bridge.map(|other| other.subnet).collect();
    let paths = fast_paths(&state, found);
    let stations = paths.as_ref().map(|paths| stations(paths, found));
    let stations = stations.unwrap_or_default();
    let mut kernel = Kernel {
        tables: elements::ruleset(&state, &local, paths.as_ref()),
        indexes: found.indexes.clone(),
        ports: found.ports.clone(),
        stations: found.stations.clone(),
        has_fast_path: found.has_fast_path,
        legacy: found.legacy.clone(),
        others: found.others.clone(),
        ways: found.ways.clone(),
        rivals: found.rivals.clone(),
        listeners: found.listeners.clone(),
        advertised: found.advertised.clone(),
        uplinks: found.uplinks.clone(),
        has_ipv6: found.has_ipv6,
        hairpins: found
            .hairpins
            .keys()
            .map(|port| (port.clone(), true))
            .collect(),
        ..Kernel::default()
    };
    for (vni, network) in &state.networks {
        overlay(&mut kernel, &state, *vni, network);
        if refused.contains_key(vni) {
            kernel.forget(&tunnel_name(*vni));
        }
    }
    let kept = kept(&stations).map(|entry| (entry, None));
    kernel.forwarding.extend(kept);
    for version in Version::ALL {
        entries(&mut kernel, &state, version);
    }
    let settings = settings(&state, &kernel.links, found, originals);
    kernel.settings.extend(settings);
    Wanted {
        kernel,
        refused,
        occupied,
        stations,
        state: Some(state),
    }
}

/// The largest packet of the link that has the node's address; none: no link has it.
pub fn underlay_mtu(state: &State, found: &Kernel) -> Option<u32> {
    let mut others = found.others.iter();
    let own = others.find(|other| other.subnet.address() == IpAddr::V4(state.address()));
    own.map(|link| link.mtu)
}

/// The node's own addresses of IPv6, by which its programs speak to others; none while no network carries IPv6.
pub fn own_addresses6(state: &State, found: &Kernel) -> BTreeSet<Ipv6Addr> {
    let others = found.others.iter().filter(|_| state.carries_ipv6());
    let addresses = others.filter_map(|other| match other.subnet {
        Prefix::V6(subnet) => Some(subnet.address),
        Prefix::V4(_) => None,
    });
    addresses.filter(|address| !address.is_loopback()).collect()
}

/// The networks whose subnets or numbers are somebody else's on this node. One that is there already stays: an address that
/// somebody adds must not take a running network down.
fn refusals(state: &State, found: &Kernel) -> BTreeMap<Vni, String> {
    let is_there = |vni: Vni, network: &Network| {
        let bridge = bridge_name(vni);
        let own = Prefix::new(network.gateway.into(), network.subnet.length);
        found.addresses.contains(&(bridge, own))
    };
    let refusal = |vni: Vni, network: &Network| {
        let clash = || clash(state, found, network);
        let rival = || rival(state, found, vni);
        let is_new = !is_there(vni, network);
        let new = || is_new.then(|| clash().or_else(rival)).flatten();
        lacks_ipv6(network, found).or_else(new)
    };
    let networks = state.networks.iter();
    networks
        .filter_map(|(vni, network)| Some((*vni, refusal(*vni, network)?)))
        .collect()
}

/// The networks that are there, and have no way to other nodes: their numbers are somebody else's.
fn blocked(state: &State, found: &Kernel) -> BTreeMap<Vni, String> {
    let all = state.networks.keys();
    all.filter_map(|vni| Some((*vni, rival(state, found, *vni)?)))
        .collect()
}

/// Whether a network carries IPv6 and the kernel has none.
fn lacks_ipv6(network: &Network, found: &Kernel) -> Option<String> {
    let subnet = network.subnet6.filter(|_| !found.has_ipv6)?;
    Some(format!(
        "the node's kernel has no IPv6, and the network has {subnet}: start it without ipv6.disable"
    ))
}

/// Who has a subnet already.
fn clash(state: &State, found: &Kernel, network: &Network) -> Option<String> {
    let subnets = [
        Some(Prefix::V4(network.subnet)),
        network.subnet6.map(Prefix::V6),
    ];
    let mut subnets = subnets.into_iter().flatten();
    subnets.find_map(|subnet| whose(state, found, subnet))
}

fn whose(state: &State, found: &Kernel, own: Prefix) -> Option<String> {
    let mut others = found.others.iter();
    let by_link = others.find(|other| other.subnet.overlaps(own));
    let by_link = by_link.map(|other| format!("{own} overlaps {} of {}", other.subnet, other.link));
    let mut members = state.members.values();
    let by_member = members.find(|member| own.holds((**member).into()));
    let by_member = by_member.map(|member| format!("{own} holds the node {member}"));
    // A route to more than the subnet gives way to it, as it does to every subnet of the node.
    let mut ways = found.ways.iter();
    let by_way = ways.find(|(to, _)| to.length() >= own.length() && to.overlaps(own));
    let by_way = by_way.map(|(to, link)| match link.as_str() {
        "" => format!("{own} overlaps {to}, to which the node has a route"),
        link => format!("{own} overlaps {to}, to which the node has a route through {link}"),
    });
    by_link.or(by_member).or(by_way)
}

/// Who has a network's number: the kernel takes no second VXLAN device with the same number and port.
fn rival(state: &State, found: &Kernel, vni: Vni) -> Option<String> {
    let own = found.links.get(&tunnel_name(vni));
    if own.is_some_and(|link| matches!(link.kind, LinkKind::Tunnel(_))) {
        return None;
    }
    let is_same = |tunnel: &Tunnel| (tunnel.vni, tunnel.port) == (vni, state.vxlan_port);
    let mut rivals = found.rivals.iter();
    let (name, _) = rivals.find(|(_, tunnel)| is_same(tunnel))?;
    let (number, port) = (vni.0, state.vxlan_port.0);
    Some(format!(
        "the VXLAN device {name} has its number {number} and port {port}"
    ))
}

/// The router's addresses as its links have them.
fn gateways(network: &Network) -> impl Iterator<Item = Prefix> {
    let own = Prefix::new(network.gateway.into(), network.subnet.length);
    let other = network.version6(network.gateway).zip(network.subnet6);
    let other = other.map(|(gateway, subnet)| Prefix::new(gateway.into(), subnet.length));
    [Some(own), other].into_iter().flatten()
}

/// The state without the networks that are refused, and without what needs them.
fn possible(state: &State, refused: &BTreeMap<Vni, String>) -> State {
    let mut state = state.clone();
    if refused.is_empty() {
        return state;
    }
    state.networks.retain(|vni, _| !refused.contains_key(vni));
    let networks = state.networks.clone();
    let is_there = |address: Ipv4Addr| {
        networks
            .values()
            .any(|network| network.subnet.holds(address))
    };
    state
        .virtual_addresses
        .retain(|address, _| is_there(*address));
    for service in state.virtual_addresses.values_mut() {
        service.backends.retain(|backend| is_there(*backend));
    }
    for port in state.ports.values_mut() {
        port.backends.retain(|backend| is_there(*backend));
    }
    state
}

fn overlay(kernel: &mut Kernel, state: &State, vni: Vni, network: &Network) {
    let (bridge, tunnel) = (bridge_name(vni), tunnel_name(vni));
    let router = Mac::of_router(state.address());
    let link = Link {
        kind: LinkKind::Bridge,
        mac: router,
        mtu: None,
        group: GROUP,
        bridge: None,
        is_learned_from: true,
        is_up: true,
    };
    let device = Tunnel {
        vni,
        local: state.address(),
        port: state.vxlan_port,
        learns: false,
        is_proxy: true,
    };
    let port = Link {
        kind: LinkKind::Tunnel(device),
        mtu: Some(network.mtu),
        group: 0,
        bridge: Some(bridge.clone()),
        is_learned_from: false,
        ..link.clone()
    };
    kernel.links.insert(bridge.clone(), link);
    kernel.links.insert(tunnel.clone(), port);
    for gateway in gateways(network) {
        kernel.addresses.insert((bridge.clone(), gateway));
    }
    for (index, address) in state
        .others()
        .filter(|(index, _)| network.nodes.contains(index))
    {
        let mac = Mac::of_router(address);
        forward(kernel, &tunnel, mac, address);
        for version in versions(network) {
            let hop = (bridge.clone(), next_hop(version, index));
            kernel.neighbours.insert(hop, mac);
        }
    }
    for (task, node) in network
        .tasks
        .iter()
        .filter(|(_, node)| **node != state.node)
    {
        // A task of a node that is no member (any more) is nowhere.
        let Some(address) = state.members.get(node) else {
            continue;
        };
        let own = Mac::of_container(*task);
        let (answer, hop) = match network.bridged.contains(task) {
            true => (own, own),
            false => (router, Mac::of_router(*address)),
        };
        for task in network.versions(*task) {
            kernel.neighbours.insert((tunnel.clone(), task), answer);
            kernel.neighbours.insert((bridge.clone(), task), hop);
        }
        if answer == own {
            forward(kernel, &tunnel, own, *address);
        }
    }
    let inside = state.virtual_addresses.keys();
    for address in inside.filter(|address| network.subnet.holds(**address)) {
        for address in network.versions(*address) {
            kernel.neighbours.insert((tunnel.clone(), address), router);
        }
    }
}

/// Frames for a hardware address leave through a tunnel, to a node.
fn forward(kernel: &mut Kernel, tunnel: &str, mac: Mac, node: Ipv4Addr) {
    for (place, target) in [(Place::Tunnel, Some(node)), (Place::Bridge, None)] {
        let link = tunnel.to_owned();
        kernel
            .forwarding
            .insert(Forwarding { link, mac, place }, target);
    }
}

/// The versions that a network carries.
fn versions(network: &Network) -> impl Iterator<Item = Version> {
    let other = network.subnet6.map(|_| Version::V6);
    [Some(Version::V4), other].into_iter().flatten()
}

/// The address by which routes name a node's router: link-local, of no interface, answered by a permanent neighbour.
fn next_hop(version: Version, index: NodeIndex) -> IpAddr {
    match version {
        Version::V4 => {
            let [high, low] = index.0.to_be_bytes();
            Ipv4Addr::new(169, 254, 64 + high, low).into()
        }
        Version::V6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x64, index.0).into(),
    }
}

/// The ways back to entry nodes: for each a table with one route, through the first overlay that it has too and that
/// carries the version.
fn entries(kernel: &mut Kernel, state: &State, version: Version) {
    for (index, _) in state.others() {
        let mut networks = state.networks.iter();
        let leads = |network: &Network| {
            network.nodes.contains(&index) && versions(network).any(|carried| carried == version)
        };
        let Some((vni, _)) = networks.find(|(_, network)| leads(network)) else {
            continue;
        };
        let table = MARK | u32::from(index.0);
        let route = Route {
            gateway: next_hop(version, index),
            link: bridge_name(*vni),
        };
        let everywhere = Prefix::everywhere(version);
        kernel.routes.insert((table, everywhere), route);
        kernel.rules.insert(Rule {
            version,
            priority: RULE_ENTRY,
            mark: Some((table, MARK_MASK | NODE_MASK)),
            is_inverted: false,
            action: Action::Table(table),
        });
    }
    let mut routes = kernel.routes.keys();
    if !routes.any(|(_, to)| to.version() == version) {
        return;
    }
    // What is not marked is spared a rule for each node, and goes on where it would have without us.
    kernel.rules.insert(Rule {
        version,
        priority: RULE_PAST,
        mark: Some((MARK, MARK_MASK)),
        is_inverted: true,
        action: Action::Goto(RULE_BEHIND),
    });
    kernel.rules.insert(Rule {
        version,
        priority: RULE_BEHIND,
        mark: None,
        is_inverted: false,
        action: Action::Nothing,
    });
}
