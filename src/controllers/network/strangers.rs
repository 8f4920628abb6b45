//! What containers of others are called on the attachable networks that they are in, and which of those they may ask for. Pure.
//!
//! Each stands beside the services under the short form of its id, which nothing else is called; its name is an alias of
//! that. So what a service or a task is called nobody takes from it, and a name that two nodes have leads to both.

use super::names::Askers;
use crate::api::allocation::Vni;
use crate::api::name::{NodeName, Scoped};
use crate::api::uid::ContainerId;
use crate::dataplane::dns::names::{ServiceNames, TaskName};
use crate::dataplane::state::Network;
use crate::runtime::cache::Cache;
use crate::runtime::joins;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// How many digits of a container's id are shown and said.
const SHORT: usize = 12;

/// Those of all networks.
#[derive(Default)]
pub(super) struct Strangers {
    /// What they are called, by the short id with the namespace.
    pub(super) names: BTreeMap<String, ServiceNames>,
    places: BTreeMap<(NodeName, ContainerId), BTreeMap<Vni, Ipv4Addr>>,
}

impl Strangers {
    /// Adds those that a network leads to.
    pub(super) fn add(&mut self, cache: &Cache, name: &Scoped, vni: Vni, network: &Network) {
        let found = joins::strangers(cache, name);
        for (node, stranger) in found.filter(|(_, one)| network.tasks.contains_key(&one.address)) {
            let id = stranger.container.as_str();
            let short = id.get(..SHORT).unwrap_or(id);
            let called = format!("{short}.{}", name.namespace);
            let names = self.names.entry(called).or_default();
            names.is_round_robin = true;
            names.networks.insert(vni, None);
            let aliases = names.aliases.entry(vni).or_default();
            aliases.insert(stranger.name.clone());
            let task = names.tasks.entry(short.into()).or_insert_with(|| TaskName {
                slot: node.to_string(),
                addresses: BTreeMap::new(),
            });
            task.addresses.insert(vni, stranger.address);
            let places = self.places.entry((node, stranger.container.clone()));
            places.or_default().insert(vni, stranger.address);
        }
    }

    /// Those on several networks, by the nodes where they ask.
    pub(super) fn askers(&self) -> impl Iterator<Item = (&NodeName, Askers)> {
        let several = self.places.iter().filter(|(_, places)| places.len() > 1);
        several.map(|((node, _), places)| {
            let all = || places.keys().copied().collect();
            let askers = places.values().map(|address| (*address, all()));
            (node, askers.collect())
        })
    }
}
