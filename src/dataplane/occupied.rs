//! Which published ports are those of a node's own programs. Pure.

use super::kernel::{Kernel, Listener};
use super::state::{Network, PublishedKey, State};
use crate::api::published::CHOSEN;
use crate::api::service::Protocol;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What programs of the node listen on stays theirs: a published port would take it from them without a word.
pub(super) fn occupied(state: &State, found: &Kernel) -> BTreeSet<PublishedKey> {
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
        None => state.carries_ipv6(),
    }
}
