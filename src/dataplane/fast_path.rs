//! Which frames go from link to link, past the bridges of overlays, and through which links. Pure.
//!
//! Towards a task of another node that is the overlay's tunnel. Towards one of this node it is its port, of which nobody tells
//! the agent: engines name ports as they like. The bridge learns it from the task's first frame, which is all that is used
//! of what it learns. From then on the bridge has it as an entry of ours, since it no longer sees the task's frames and would
//! forget it; the entry goes with the port.
//!
//! A port whose task is not known yet is left alone in both directions, so that connection tracking sees both or none.

use super::address::Mac;
use super::kernel::{Forwarding, Kernel, LinkKind, Place, bridge_name, tunnel_name};
use super::state::{Network, State, Vni};
use std::collections::{BTreeMap, BTreeSet};

/// The fast path of an overlay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FastPath {
    /// The bridge.
    pub(super) bridge: String,
    /// The links whose frames take it: the tunnel, and the ports of tasks.
    pub(super) links: BTreeSet<String>,
    /// The links by which the router sends to tasks: these and all other ports. A connection may be older than the knowledge of
    /// the port that it leads to.
    pub(super) exits: BTreeSet<String>,
    /// The tunnel among them.
    pub(super) tunnel: String,
    /// The ports, by their numbers, of tasks of this node.
    pub(super) here: BTreeMap<Mac, u32>,
    /// The tunnel's number for each task of other nodes.
    pub(super) away: BTreeMap<Mac, u32>,
}

/// Those of all overlays that have one.
pub(super) type FastPaths = BTreeMap<Vni, FastPath>;

/// The ports of tasks, by their bridges and hardware addresses.
pub(super) type Stations = BTreeMap<(String, Mac), String>;

/// The fast paths for a state; none: the kernel has no such thing. A link that has yet to be made is in none.
pub(super) fn fast_paths(state: &State, found: &Kernel) -> Option<FastPaths> {
    let paths = state.networks.iter().filter_map(|(vni, network)| {
        let path = fast_path(state, found, *vni, network)?;
        Some((*vni, path))
    });
    found.has_fast_path.then(|| paths.collect())
}

fn fast_path(state: &State, found: &Kernel, vni: Vni, network: &Network) -> Option<FastPath> {
    let (bridge, tunnel) = (bridge_name(vni), tunnel_name(vni));
    let kind = |link: &str| Some(&found.links.get(link)?.kind);
    if kind(&bridge) != Some(&LinkKind::Bridge) {
        return None;
    }
    // One that stands for another overlay is replaced first.
    let is_tunnel = matches!(kind(&tunnel), Some(LinkKind::Tunnel(of)) if of.vni == vni);
    let outside = found.indexes.get(&tunnel).filter(|_| is_tunnel);
    let of_bridge = |(port, parent): (&String, &String)| (*parent == bridge).then(|| port.clone());
    let ports = found.ports.iter().filter_map(of_bridge);
    let numbered = ports.filter(|port| found.indexes.contains_key(port));
    let mut path = FastPath {
        exits: numbered.chain(outside.map(|_| tunnel.clone())).collect(),
        links: outside.map(|_| tunnel.clone()).into_iter().collect(),
        tunnel,
        bridge,
        ..FastPath::default()
    };
    for task in &network.bridged {
        let mac = Mac::of_container(*task);
        let node = network.tasks.get(task);
        if node == Some(&state.node) {
            let port = port(found, &path.bridge, mac);
            path.links.extend(port.map(|(name, _)| name.clone()));
            path.here.extend(port.map(|(_, index)| (mac, *index)));
        } else if node.is_some_and(|node| state.members.contains_key(node)) {
            path.away.extend(outside.map(|index| (mac, *index)));
        }
    }
    Some(path)
}

/// The port behind which a bridge has seen a hardware address, with its number.
fn port<'a>(found: &'a Kernel, bridge: &str, mac: Mac) -> Option<(&'a String, &'a u32)> {
    let name = found.stations.get(&(bridge.to_owned(), mac))?;
    Some((name, found.indexes.get(name)?))
}

/// The ports that fast paths lead to.
pub(super) fn stations(paths: &FastPaths, found: &Kernel) -> Stations {
    let all = paths.values().flat_map(|path| {
        let of_path = path.here.keys().map(|mac| (path.bridge.clone(), *mac));
        of_path.filter_map(|key| Some((key.clone(), found.stations.get(&key)?.clone())))
    });
    all.collect()
}

/// The entries by which the bridges keep to them.
pub(super) fn kept(stations: &Stations) -> impl Iterator<Item = Forwarding> {
    stations.iter().map(|((_, mac), port)| Forwarding {
        link: port.clone(),
        mac: *mac,
        place: Place::Bridge,
    })
}
