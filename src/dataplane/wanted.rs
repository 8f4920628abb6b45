//! What a kernel should be for a state. Pure.

use super::address::{Cidr, Mac};
use super::constants::{GROUP, MARK, MARK_MASK, NODE_MASK, RULE_BEHIND, RULE_ENTRY, RULE_PAST};
use super::kernel::{
    Action, Forwarding, Kernel, Link, LinkKind, Listener, Place, Route, Rule, Tunnel, bridge_name,
    tunnel_name,
};
use super::nftables::elements;
use super::state::{Network, NodeIndex, PublishedKey, State, Vni};
use crate::api::published::CHOSEN;
use crate::api::service::Protocol;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

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
    /// The state without those ports, and without the networks that are not there.
    pub state: Option<State>,
}

/// What the kernel should be; `found` says what else is there.
pub fn wanted(state: &State, found: &Kernel) -> Wanted {
    let mut refused = refusals(state, found);
    let mut state = possible(state, &refused);
    refused.extend(blocked(&state, found));
    let occupied = occupied(&state, found);
    state.ports.retain(|key, _| !occupied.contains(key));
    let is_bridge = found.others.iter().filter(|other| other.is_bridge);
    let local: Vec<Cidr> = is_bridge.map(|other| other.subnet).collect();
    let mut kernel = Kernel {
        tables: elements::ruleset(&state, &local),
        legacy: found.legacy,
        others: found.others.clone(),
        ways: found.ways.clone(),
        rivals: found.rivals.clone(),
        listeners: found.listeners.clone(),
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
    entries(&mut kernel, &state);
    settings(&mut kernel);
    Wanted {
        kernel,
        refused,
        occupied,
        state: Some(state),
    }
}

/// What programs of the node listen on stays theirs: a published port would take it from them without a word.
fn occupied(state: &State, found: &Kernel) -> BTreeSet<PublishedKey> {
    // Where the agent itself answers for names, at addresses that published ports leave alone, and tells of health.
    let both = |one: &Network| {
        let version6 = one.version6(one.gateway).map(IpAddr::from);
        [Some(one.gateway.into()), version6]
    };
    let networks = state.networks.values();
    let gateways = networks.flat_map(|one| both(one)).flatten();
    let gateways: BTreeSet<IpAddr> = gateways.collect();
    let is_own = |listener: &&Listener| {
        let is_name = listener.address.is_some_and(|at| gateways.contains(&at));
        let is_health = state.health.contains_key(&listener.port);
        is_name || is_health && listener.protocol == Protocol::Tcp
    };
    let mut occupied = BTreeSet::new();
    for listener in found.listeners.iter().filter(|one| !is_own(one)) {
        let own = PublishedKey {
            protocol: listener.protocol,
            port: listener.port,
            address: listener.address,
        };
        let is_met = |key: &PublishedKey| key.meets(&own) && is_served(state, *key, own.address);
        let chosen = PublishedKey {
            address: None,
            ..own
        };
        if CHOSEN.contains(&own.port.0) && is_met(&chosen) {
            occupied.insert(chosen);
        }
        let published = state.ports.range(own.anywhere()).map(|(key, _)| *key);
        occupied.extend(published.filter(is_met));
    }
    occupied
}

/// Whether a port may be served at an address, so that who listens there loses it. At one of IPv6 it is where its network carries
/// that, and never on the loopback, on addresses of one link, and on those of groups.
fn is_served(state: &State, key: PublishedKey, at: Option<IpAddr>) -> bool {
    let Some(IpAddr::V6(at)) = at else {
        return true;
    };
    if at.is_loopback() || at.is_unicast_link_local() || at.is_multicast() {
        return false;
    }
    let port = state.ports.get(&key);
    match port.and_then(|port| port.backends.first()) {
        Some(task) => state.version6(*task).is_some(),
        // Nobody knows which network it will lead to.
        None => {
            let mut networks = state.networks.values();
            networks.any(|network| network.subnet6.is_some())
        }
    }
}

/// The largest packet of the link that has the node's address; none: no link has it.
pub fn underlay_mtu(state: &State, found: &Kernel) -> Option<u32> {
    let mut others = found.others.iter();
    let own = others.find(|other| other.subnet.address == state.address());
    own.map(|link| link.mtu)
}

/// The networks whose subnets or numbers are somebody else's on this node. One that is there already stays: an address that
/// somebody adds must not take a running network down.
fn refusals(state: &State, found: &Kernel) -> BTreeMap<Vni, String> {
    let is_there = |vni: Vni, network: &Network| {
        let bridge = bridge_name(vni);
        found.addresses.contains(&(bridge, gateway(network)))
    };
    let networks = state.networks.iter();
    let new = networks.filter(|(vni, network)| !is_there(**vni, network));
    new.filter_map(|(vni, network)| {
        let clash = clash(state, found, network.subnet);
        Some((*vni, clash.or_else(|| rival(state, found, *vni))?))
    })
    .collect()
}

/// The networks that are there, and have no way to other nodes: their numbers are somebody else's.
fn blocked(state: &State, found: &Kernel) -> BTreeMap<Vni, String> {
    let all = state.networks.keys();
    all.filter_map(|vni| Some((*vni, rival(state, found, *vni)?)))
        .collect()
}

/// Who has a subnet already.
fn clash(state: &State, found: &Kernel, own: Cidr) -> Option<String> {
    let mut others = found.others.iter();
    let by_link = others.find(|other| other.subnet.overlaps(own));
    let by_link = by_link.map(|other| format!("{own} overlaps {} of {}", other.subnet, other.link));
    let mut members = state.members.values();
    let by_member = members.find(|member| own.holds(**member));
    let by_member = by_member.map(|member| format!("{own} holds the node {member}"));
    // A route to more than the subnet gives way to it, as it does to every subnet of the node.
    let mut ways = found.ways.iter();
    let by_way = ways.find(|(to, _)| to.length >= own.length && to.overlaps(own));
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

/// The router's address as its links have it.
fn gateway(network: &Network) -> Cidr {
    Cidr {
        address: network.gateway,
        length: network.subnet.length,
    }
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
    kernel.addresses.insert((bridge.clone(), gateway(network)));
    for (index, address) in state
        .others()
        .filter(|(index, _)| network.nodes.contains(index))
    {
        let mac = Mac::of_router(address);
        forward(kernel, &tunnel, mac, address);
        kernel
            .neighbours
            .insert((bridge.clone(), next_hop(index)), mac);
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
        kernel.neighbours.insert((tunnel.clone(), *task), answer);
        kernel.neighbours.insert((bridge.clone(), *task), hop);
        if answer == own {
            forward(kernel, &tunnel, own, *address);
        }
    }
    let inside = state.virtual_addresses.keys();
    for address in inside.filter(|address| network.subnet.holds(**address)) {
        kernel.neighbours.insert((tunnel.clone(), *address), router);
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

/// The address by which routes name a node's router: link-local, of no interface, answered by a permanent neighbour.
fn next_hop(index: NodeIndex) -> Ipv4Addr {
    let [high, low] = index.0.to_be_bytes();
    Ipv4Addr::new(169, 254, 64 + high, low)
}

/// The ways back to entry nodes: for each a table with one route, through the first overlay that it has too.
fn entries(kernel: &mut Kernel, state: &State) {
    for (index, _) in state.others() {
        let mut networks = state.networks.iter();
        let Some((vni, _)) = networks.find(|(_, network)| network.nodes.contains(&index)) else {
            continue;
        };
        let table = MARK | u32::from(index.0);
        let everywhere = Cidr {
            address: Ipv4Addr::UNSPECIFIED,
            length: 0,
        };
        let route = Route {
            gateway: next_hop(index),
            link: bridge_name(*vni),
        };
        kernel.routes.insert((table, everywhere), route);
        kernel.rules.insert(Rule {
            priority: RULE_ENTRY,
            mark: Some((table, MARK_MASK | NODE_MASK)),
            is_inverted: false,
            action: Action::Table(table),
        });
    }
    if kernel.routes.is_empty() {
        return;
    }
    // What is not marked is spared a rule for each node, and goes on where it would have without us.
    kernel.rules.insert(Rule {
        priority: RULE_PAST,
        mark: Some((MARK, MARK_MASK)),
        is_inverted: true,
        action: Action::Goto(RULE_BEHIND),
    });
    kernel.rules.insert(Rule {
        priority: RULE_BEHIND,
        mark: None,
        is_inverted: false,
        action: Action::Nothing,
    });
}

/// Settings of the whole namespace: routers forward, and do not tell tasks to go another way (which also eats what the
/// kernel allows itself of ICMP errors). What was found is put back on removal.
pub(super) const GLOBAL_SETTINGS: [(&str, &str); 2] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/send_redirects", "0"),
];

/// Settings of each bridge of ours: ports answer on the loopback too; a client's way back may be another one (2: loose,
/// which wins over a strict setting of the namespace); no redirects.
pub(super) const BRIDGE_SETTINGS: [(&str, &str); 3] = [
    ("route_localnet", "1"),
    ("rp_filter", "2"),
    ("send_redirects", "0"),
];

/// The path of a bridge's setting.
pub(super) fn setting(bridge: &str, name: &str) -> String {
    format!("net/ipv4/conf/{bridge}/{name}")
}

fn settings(kernel: &mut Kernel) {
    for (path, value) in GLOBAL_SETTINGS {
        kernel.settings.insert(path.to_owned(), value.to_owned());
    }
    let bridges = kernel
        .links
        .iter()
        .filter(|(_, link)| link.kind == LinkKind::Bridge);
    for (bridge, _) in bridges {
        for (name, value) in BRIDGE_SETTINGS {
            kernel
                .settings
                .insert(setting(bridge, name), value.to_owned());
        }
    }
}
