//! What is ours in a node's kernel, as one value: the same type for what should be and for what is. Pure.
//!
//! Ours are links by their names, what belongs to them, routing tables and rules by their numbers, tables of nf_tables by
//! their name. The rest of the kernel is not in it, but for what has a bearing: subnets and routes of other links, other
//! VXLAN devices, ports of our bridges, Docker's chains.

use super::address::{Mac, Prefix, Version};
use super::constants::{BRIDGE_PREFIX, TUNNEL_PREFIX};
use super::nftables::guest;
use super::nftables::ruleset::{Hook, Ruleset};
use super::state::Vni;
use super::xtables::Standing;
use crate::api::service::Protocol;
use crate::api::unit::Port;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// The kernel of a node, as far as it is ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    /// Bridges and VXLAN devices by name.
    pub links: BTreeMap<String, Link>,
    /// Other links that are ports of our bridges: whether a frame may leave where it came from.
    pub hairpins: BTreeMap<String, bool>,
    /// The numbers of our links and of those ports.
    pub indexes: BTreeMap<String, u32>,
    /// The bridges of those ports.
    pub ports: BTreeMap<String, String>,
    /// The ports behind which our bridges have seen hardware addresses, by the bridge.
    pub stations: BTreeMap<(String, Mac), String>,
    /// Whether the kernel hands frames on from link to link (`nftables/fast_path.rs`).
    pub has_fast_path: bool,
    /// Addresses of our links.
    pub addresses: BTreeSet<(String, Prefix)>,
    /// Where frames go; `None`: to the link itself.
    pub forwarding: BTreeMap<Forwarding, Option<Ipv4Addr>>,
    /// Permanent neighbours of our links.
    pub neighbours: BTreeMap<(String, IpAddr), Mac>,
    /// Routes in our tables.
    pub routes: BTreeMap<(u32, Prefix), Route>,
    /// Which packets look into which table.
    pub rules: BTreeSet<Rule>,
    /// Settings by their path below `/proc/sys`.
    pub settings: BTreeMap<String, String>,
    /// Our tables of nf_tables.
    pub tables: Ruleset,
    /// Chains of Docker's that are there, with what they have of ours.
    pub guests: BTreeMap<(Version, guest::Chain), guest::Found>,
    /// How our rule stands in Docker's chain of iptables-legacy and ip6tables-legacy, where it is there.
    pub legacy: BTreeMap<Version, Standing>,
    /// Subnets of links that are not ours.
    pub others: BTreeSet<Other>,
    /// Routes of others in the main table, with their links; not those that come with a link's own subnet.
    pub ways: BTreeSet<(Prefix, String)>,
    /// Links of others whose routes routers advertise, of IPv6.
    pub advertised: BTreeSet<String>,
    /// Links of others that are no ports of bridges: what may lead out of the node.
    pub uplinks: BTreeSet<String>,
    /// Whether the kernel has IPv6.
    pub has_ipv6: bool,
    /// VXLAN devices that are not ours, by name.
    pub rivals: BTreeMap<String, Tunnel>,
    /// Where programs listen.
    pub listeners: BTreeSet<Listener>,
}

/// Where a program listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port.
    pub port: Port,
    /// The only address; `None`: all.
    pub address: Option<IpAddr>,
}

/// A subnet of a link that is not ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Other {
    /// The link.
    pub link: String,
    /// Whether it is a bridge.
    pub is_bridge: bool,
    /// Its address with the length of its subnet.
    pub subnet: Prefix,
    /// The link's largest packet, in bytes.
    pub mtu: u32,
}

/// A link of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it is.
    pub kind: LinkKind,
    /// Its hardware address.
    pub mac: Mac,
    /// Its largest packet; `None`: it follows its ports.
    pub mtu: Option<u32>,
    /// By which rules know it.
    pub group: u32,
    /// The bridge that it is a port of.
    pub bridge: Option<String>,
    /// Whether its bridge learns from it.
    pub is_learned_from: bool,
    /// Whether it is switched on.
    pub is_up: bool,
}

/// What a link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// A bridge.
    Bridge,
    /// A VXLAN device.
    Tunnel(Tunnel),
    /// Something else under a name of ours.
    Foreign(String),
}

/// What a VXLAN device cannot change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The overlay's number.
    pub vni: Vni,
    /// The node's address.
    pub local: Ipv4Addr,
    /// Where the other nodes listen.
    pub port: Port,
    /// Whether it learns where to send from what it receives.
    pub learns: bool,
    /// Whether it answers for neighbours that it knows, and swallows questions for others.
    pub is_proxy: bool,
}

/// The key of an entry that says where frames for an address go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forwarding {
    /// The link.
    pub link: String,
    /// For whom the frames are.
    pub mac: Mac,
    /// Whose table it is in.
    pub place: Place,
}

/// Whose table an entry is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The bridge's: which port. Without it the bridge floods.
    Bridge,
    /// The VXLAN device's: which node.
    Tunnel,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The next hop.
    pub gateway: IpAddr,
    /// The link.
    pub link: String,
}

/// A rule of policy routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Whose packets it is for.
    pub version: Version,
    /// Lowest first.
    pub priority: u32,
    /// The mark and mask that it looks for.
    pub mark: Option<(u32, u32)>,
    /// Whether it is for packets that have it not.
    pub is_inverted: bool,
    /// What is done.
    pub action: Action,
}

/// What a rule of policy routing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Looks into a table.
    Table(u32),
    /// Goes on at another priority.
    Goto(u32),
    /// Nothing: it is where others go on.
    Nothing,
}

impl Kernel {
    /// Takes away what goes with a link.
    pub(super) fn forget(&mut self, link: &str) {
        self.links.remove(link);
        self.indexes.remove(link);
        self.stations.retain(|(bridge, _), _| bridge != link);
        self.addresses.retain(|(of, _)| of != link);
        self.neighbours.retain(|(of, _), _| of != link);
        self.forwarding.retain(|key, _| key.link != link);
        self.routes.retain(|_, route| route.link != link);
        for table in self.tables.values_mut() {
            let is_of = |hook: &Hook| hook.device.as_deref() == Some(link);
            let chains = &mut table.chains;
            chains.retain(|_, chain| !chain.hook.as_ref().is_some_and(is_of));
        }
        let of = format!("/{link}/");
        self.settings.retain(|path, _| !path.contains(&of));
        for port in self.links.values_mut() {
            if port.bridge.as_deref() == Some(link) {
                port.bridge = None;
                port.is_learned_from = true;
            }
        }
    }
}

/// The name of an overlay's bridge, also the one that the Docker network is told to adopt.
pub fn bridge_name(vni: Vni) -> String {
    format!("{BRIDGE_PREFIX}{}", vni.0)
}

/// The name of an overlay's VXLAN device.
pub fn tunnel_name(vni: Vni) -> String {
    format!("{TUNNEL_PREFIX}{}", vni.0)
}

/// Whether a link's name is one of ours.
pub(super) fn is_ours(name: &str) -> bool {
    let is_number = |text: &str| text.parse().is_ok_and(|vni: u32| vni.to_string() == text);
    let rest = name.strip_prefix(TUNNEL_PREFIX);
    let rest = rest.or_else(|| name.strip_prefix(BRIDGE_PREFIX));
    rest.is_some_and(is_number)
}
