//! What a node's data plane should be: one value, whole or as changes between two revisions. Pure.
//!
//! Whoever manages the node computes it; the agent programs exactly this and learns nothing from packets. Everything has
//! a key, so a change names what it puts or removes and nothing else moves.

use super::address::{Cidr, Cidr6, Dual};
use super::checks::Led;
use super::dns::names::{Names, ServiceNames, TaskName};
use super::shared::Shared;
pub use crate::api::allocation::{NodeIndex, Vni};
pub use crate::api::published::PublishedKey;
use crate::api::service::{Locality, SessionAffinity, Source};
use crate::api::unit::Port;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The port of VXLAN that IANA assigned. Others use it too (Docker's own overlay, Calico): the agent drops what comes
/// to its port from addresses that are no members, so where they run on the same nodes take another.
pub const VXLAN_PORT: Port = Port(4789);

/// The number of a state: the agent answers with the one that it has programmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StateRevision(pub u64);

/// All that a node's data plane should be.
///
/// A field that an agent does not know is an error: it must not take a state for programmed of which it left a part out.
///
/// Maps that are the same on many nodes, and large, are held once for all of them ([`Shared`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// Counts states.
    pub revision: StateRevision,
    /// This node.
    pub node: NodeIndex,
    /// Where VXLAN arrives; the same on every node.
    #[serde(default = "vxlan_port")]
    pub vxlan_port: Port,
    /// The nodes of the cluster, this one too, with the addresses that they reach each other at.
    pub members: Shared<BTreeMap<NodeIndex, Ipv4Addr>>,
    /// Their addresses of IPv6, as far as they say them: who comes from one of these is a node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub members6: Shared<BTreeMap<NodeIndex, BTreeSet<Ipv6Addr>>>,
    /// The overlays that this node has.
    #[serde(default)]
    pub networks: BTreeMap<Vni, Shared<Network>>,
    /// Virtual addresses of services.
    #[serde(default)]
    pub virtual_addresses: Shared<BTreeMap<Ipv4Addr, Shared<VirtualAddress>>>,
    /// Ports that every node answers on.
    #[serde(default)]
    pub ports: Shared<BTreeMap<PublishedKey, Shared<PublishedPort>>>,
    /// Ports on which the node tells whether it leads to tasks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub health: BTreeMap<Port, HealthPort>,
    /// What services and tasks are called.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub names: Names,
}

/// What a port that tells of health speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthPort {
    /// The service, as `<namespace>/<name>`.
    pub service: String,
    /// Its published ports.
    pub ports: BTreeSet<PublishedKey>,
}

fn is_empty(names: &Names) -> bool {
    *names == Names::default()
}

fn vxlan_port() -> Port {
    VXLAN_PORT
}

/// An overlay network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Network {
    /// Its addresses.
    pub subnet: Cidr,
    /// The router's address, the same on every node.
    pub gateway: Ipv4Addr,
    /// Its addresses of IPv6, which go with those of IPv4 as [`Dual`] says; none: it carries no IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet6: Option<Cidr6>,
    /// The largest packet in bytes: what the underlay carries less 50 for VXLAN's headers.
    pub mtu: u32,
    /// Without a way out.
    #[serde(default)]
    pub internal: bool,
    /// The nodes that have this network; this one need not be named.
    pub nodes: BTreeSet<NodeIndex>,
    /// The address of each of its tasks and attached containers, with the node where it is.
    #[serde(default)]
    pub tasks: BTreeMap<Ipv4Addr, NodeIndex>,
    /// Those of them whose containers are known to have the hardware address that
    /// [`Mac::of_container`](super::address::Mac::of_container) gives: what two of these say to each other stays on the
    /// bridges, all else passes the routers.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub bridged: BTreeSet<Ipv4Addr>,
    /// Those of them who have another address of IPv6 than goes with that of IPv4: containers of others, to which engines give
    /// each as they like.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses6: BTreeMap<Ipv4Addr, Ipv6Addr>,
}

/// What stands behind a virtual address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VirtualAddress {
    /// Addresses of serving tasks; none: connections are refused.
    pub backends: BTreeSet<Ipv4Addr>,
    /// Which of them a connection gets.
    #[serde(default)]
    pub affinity: SessionAffinity,
}

/// A port that every node answers on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublishedPort {
    /// The port of the tasks.
    pub target: Port,
    /// Addresses of serving tasks; none: connections are refused.
    pub backends: BTreeSet<Ipv4Addr>,
    /// Whether tasks see the client's address.
    #[serde(default)]
    pub source: Source,
    /// Whose tasks answer on this node.
    #[serde(default)]
    pub locality: Locality,
    /// Which of them a connection gets.
    #[serde(default)]
    pub affinity: SessionAffinity,
}

/// What leads from one state to the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delta {
    /// The state that it changes.
    pub from: StateRevision,
    /// The state that it makes.
    pub to: StateRevision,
    /// What changes.
    pub changes: Vec<Change>,
}

/// One thing is put, or with `None` removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// A node of the cluster.
    Member(NodeIndex, Option<Ipv4Addr>),
    /// The addresses of IPv6 of a node.
    Member6(NodeIndex, Option<BTreeSet<Ipv6Addr>>),
    /// A network, whole.
    Network(Vni, Option<Shared<Network>>),
    /// A task of a network.
    Task(Vni, Ipv4Addr, Option<NodeIndex>),
    /// Whether a task of a network is one of those whose frames stay on bridges.
    Bridged(Vni, Ipv4Addr, bool),
    /// The address of IPv6 of a task of a network, where it does not go with that of IPv4.
    Address6(Vni, Ipv4Addr, Option<Ipv6Addr>),
    /// A virtual address.
    VirtualAddress(Ipv4Addr, Option<Shared<VirtualAddress>>),
    /// A published port.
    Port(PublishedKey, Option<Shared<PublishedPort>>),
    /// A port that tells of health.
    Health(Port, Option<HealthPort>),
    /// The namespace of a network.
    Namespace(Vni, Option<String>),
    /// The networks of a task, by one of its addresses.
    Asker(Ipv4Addr, Option<BTreeSet<Vni>>),
    /// What a service and its tasks are called, whole.
    Service(String, Option<Shared<ServiceNames>>),
    /// What a task of a service is called, by the name of its container.
    ServiceTask(String, String, Option<TaskName>),
}

/// Why a state or a change is not taken. The state in force stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The change belongs to another state: the whole one is needed.
    #[error("a change from revision {from} does not fit revision {at}", from = from.0, at = at.0)]
    Gap {
        /// What the change is from.
        from: StateRevision,
        /// What there is.
        at: StateRevision,
    },
    /// It contradicts itself.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// Whether the whole state helps.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Gap { .. } => true,
            Self::Invalid(_) => false,
        }
    }
}

impl State {
    /// This node's address.
    pub fn address(&self) -> Ipv4Addr {
        let own = self.members.get(&self.node);
        own.copied().unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// The other members.
    pub fn others(&self) -> impl Iterator<Item = (NodeIndex, Ipv4Addr)> {
        let own = self.node;
        let members = self.members.iter().map(|(index, at)| (*index, *at));
        members.filter(move |(index, _)| *index != own)
    }

    /// Whether any of its networks carries IPv6.
    pub fn carries_ipv6(&self) -> bool {
        let mut networks = self.networks.values();
        networks.any(|network| network.subnet6.is_some())
    }

    /// The node of a task, by its address.
    pub fn place(&self, task: impl Into<IpAddr>) -> Option<NodeIndex> {
        let task = task.into();
        let mut places = self.networks.values();
        places.find_map(|network| {
            let task = network.version4(task)?;
            network.tasks.get(&task).copied()
        })
    }

    /// The address of IPv6 that goes with one of IPv4 of any network; none: it carries no IPv6.
    pub fn version6(&self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        let mut networks = self.networks.values();
        let network = networks.find(|network| network.subnet.holds(address))?;
        network.version6(address)
    }

    /// The state after `delta`.
    ///
    /// # Errors
    /// The delta belongs to another revision, or what it leads to contradicts itself.
    pub fn after(&self, delta: Delta) -> Result<Self, Error> {
        if delta.from != self.revision {
            return Err(Error::Gap {
                from: delta.from,
                at: self.revision,
            });
        }
        let led: Option<Vec<Led>> = delta
            .changes
            .iter()
            .map(|change| self.leads_elsewhere(change))
            .collect();
        let mut next = self.clone();
        next.revision = delta.to;
        for change in delta.changes {
            next.take(change)?;
        }
        match led {
            Some(led) => next.check_led(&led)?,
            None => next.check()?,
        }
        Ok(next)
    }

    fn take(&mut self, change: Change) -> Result<(), Error> {
        match change {
            Change::Member(index, value) => put(&mut self.members, index, value),
            Change::Member6(index, value) => put(&mut self.members6, index, value),
            Change::Network(vni, value) => put(&mut self.networks, vni, value),
            Change::Task(vni, address, value) => put(&mut self.network(vni)?.tasks, address, value),
            Change::Bridged(vni, address, is_so) => {
                let bridged = &mut self.network(vni)?.bridged;
                match is_so {
                    true => bridged.insert(address),
                    false => bridged.remove(&address),
                };
            }
            Change::Address6(vni, address, value) => {
                put(&mut self.network(vni)?.addresses6, address, value);
            }
            Change::VirtualAddress(address, value) => {
                put(&mut self.virtual_addresses, address, value);
            }
            Change::Port(key, value) => put(&mut self.ports, key, value),
            Change::Health(port, value) => put(&mut self.health, port, value),
            Change::Namespace(vni, value) => put(&mut self.names.namespaces, vni, value),
            Change::Asker(address, value) => put(&mut self.names.askers, address, value),
            Change::Service(name, value) => put(&mut self.names.services, name, value),
            Change::ServiceTask(name, container, value) => {
                let service = self.names.services.get_mut(&name);
                let service =
                    service.ok_or_else(|| Error::Invalid(format!("there is no service {name}")))?;
                put(&mut service.tasks, container, value);
            }
        }
        Ok(())
    }

    fn network(&mut self, vni: Vni) -> Result<&mut Network, Error> {
        let network = self.networks.get_mut(&vni);
        let network =
            network.ok_or_else(|| Error::Invalid(format!("there is no network {}", vni.0)))?;
        Ok(network)
    }
}

impl Network {
    /// Its two subnets; none: it carries no IPv6.
    pub fn dual(&self) -> Option<Dual> {
        let subnet = self.subnet;
        self.subnet6.map(|subnet6| Dual { subnet, subnet6 })
    }

    /// Whether an address is one of its.
    pub fn holds(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.subnet.holds(address),
            IpAddr::V6(address) => self.subnet6.is_some_and(|subnet| subnet.holds(address)),
        }
    }

    /// The address of IPv6 of who has one of IPv4.
    pub fn version6(&self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        let dual = self.dual()?;
        let other = self.addresses6.get(&address).copied();
        other.or_else(|| dual.version6(address))
    }

    /// The addresses of each version of who has one of IPv4.
    pub fn versions(&self, address: Ipv4Addr) -> impl Iterator<Item = IpAddr> + use<> {
        let other = self.version6(address).map(IpAddr::V6);
        [Some(address.into()), other].into_iter().flatten()
    }

    /// The address of IPv4 of who has one of either version.
    pub fn version4(&self, address: IpAddr) -> Option<Ipv4Addr> {
        let address = match address {
            IpAddr::V4(address) => return Some(address),
            IpAddr::V6(address) => address,
        };
        let mut others = self.addresses6.iter();
        match others.find(|(_, other)| **other == address) {
            Some((own, _)) => Some(*own),
            None => {
                let goes_with = self.dual()?.version4(address)?;
                (!self.addresses6.contains_key(&goes_with)).then_some(goes_with)
            }
        }
    }

    /// What contradicts itself.
    pub(super) fn contradiction(&self) -> Option<String> {
        if !self.subnet.is_subnet() {
            return Some(format!("{} has bits behind its length", self.subnet));
        }
        // What an IPv4 host must take whole, and the largest packet that there is.
        if !(576..=65_535).contains(&self.mtu) {
            return Some(format!("no packet is {} bytes long", self.mtu));
        }
        let mut addresses = self.tasks.keys().chain([&self.gateway]);
        if let Some(outside) = addresses.find(|address| !self.subnet.holds(**address)) {
            return Some(format!("{outside} is not in {}", self.subnet));
        }
        if let Some(dual) = self.dual() {
            if !dual.subnet6.is_subnet() {
                return Some(format!("{} has bits behind its length", dual.subnet6));
            }
            if !dual.fits() {
                let why = format!("{} has fewer addresses than {}", dual.subnet6, self.subnet);
                return Some(why);
            }
            // What an IPv6 host must take whole (RFC 8200, 5).
            if self.mtu < 1_280 {
                return Some(format!("IPv6 has packets of more than {} bytes", self.mtu));
            }
        }
        for (address, other) in &self.addresses6 {
            let holds = self.subnet6.is_some_and(|subnet| subnet.holds(*other));
            if !holds || !self.tasks.contains_key(address) {
                return Some(format!("{other} is not in it, or goes with no task"));
            }
        }
        let mut bridged = self.bridged.iter();
        if let Some(stranger) = bridged.find(|address| !self.tasks.contains_key(address)) {
            return Some(format!("{stranger} stays on bridges and is no task"));
        }
        let is_task = self.tasks.contains_key(&self.gateway);
        is_task.then(|| format!("{} is the gateway's and a task's", self.gateway))
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}
