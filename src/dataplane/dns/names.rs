//! Which names there are: a part of a node's state. Pure.

use crate::api::allocation::Vni;
use crate::api::unit::Port;
use crate::dataplane::shared::Shared;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// All names of the networks that a node has, and what is to know of who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Names {
    /// The namespace of each network: what is asked for without one is looked for there first.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaces: BTreeMap<Vni, String>,
    /// Tasks of this node that are on more than one network: by each of their addresses, all of those.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub askers: BTreeMap<Ipv4Addr, BTreeSet<Vni>>,
    /// Services, by `<name>.<namespace>`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: Shared<BTreeMap<String, Shared<ServiceNames>>>,
}

/// What a service and its tasks are called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceNames {
    /// The networks that it is on, with its virtual address there; `None`: it has none (yet).
    pub networks: BTreeMap<Vni, Option<Ipv4Addr>>,
    /// Whether its name leads to its tasks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_round_robin: bool,
    /// Further names, by network.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<Vni, BTreeSet<String>>,
    /// The ports of its tasks that have a name, by `<name>/<protocol>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, Port>,
    /// The tasks that serve, by the names of their containers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<String, TaskName>,
}

/// A task that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskName {
    /// Its slot: a number, or of a global service the node's name.
    pub slot: String,
    /// Its address in each of its networks.
    pub addresses: BTreeMap<Vni, Ipv4Addr>,
}

impl Names {
    /// The networks that are spoken of.
    pub fn networks(&self) -> BTreeSet<Vni> {
        let of_askers = self.askers.values().flatten();
        let all = self.namespaces.keys().chain(of_askers).copied();
        let services = self.services.values();
        all.chain(services.flat_map(|service| service.spoken_of()))
            .collect()
    }
}

impl ServiceNames {
    /// The networks that are spoken of, some of them again and again.
    pub fn spoken_of(&self) -> impl Iterator<Item = Vni> {
        let tasks = self.tasks.values();
        let of_tasks = tasks.flat_map(|task| task.addresses.keys());
        let named = self.networks.keys().chain(self.aliases.keys());
        named.chain(of_tasks).copied()
    }

    /// What of it is about some networks only.
    #[must_use]
    pub fn of(&self, is_there: impl Fn(&Vni) -> bool) -> Self {
        let tasks = self.tasks.iter().filter_map(|(name, task)| {
            let addresses = kept(&task.addresses, &is_there);
            let slot = task.slot.clone();
            (!addresses.is_empty()).then(|| (name.clone(), TaskName { slot, addresses }))
        });
        Self {
            networks: kept(&self.networks, &is_there),
            is_round_robin: self.is_round_robin,
            aliases: kept(&self.aliases, &is_there),
            ports: self.ports.clone(),
            tasks: tasks.collect(),
        }
    }
}

/// What of a map is about some networks only.
pub fn kept<V: Clone>(map: &BTreeMap<Vni, V>, is_there: impl Fn(&Vni) -> bool) -> BTreeMap<Vni, V> {
    let kept = map.iter().filter(|(vni, _)| is_there(vni));
    kept.map(|(vni, value)| (*vni, value.clone())).collect()
}
