//! Who gets which number: VNIs and subnets of networks, indexes of nodes. Pure.
//!
//! One pass plans all that is missing at one view of the store, so no two of its claims meet; each is written only where its
//! key is missing, so none meets another's either. Subnets of different lengths may overlap under different keys: that none
//! do rests on there being one pass at a time, which the queue sees to.
//!
//! *A VNI* is searched from a place that the network's uid gives. So what a deleted network had is not had again soon, while
//! a node that was cut off may still send with it, and the same network gets the same number from a store that lost it.
//! *A subnet* is the one asked for, or the lowest free one of the pool.
//! *A subnet of IPv6*, of a network that carries it, is the one asked for, or a /64 of those that nobody routes to sites (RFC
//! 4193), which a hash of the network's uid gives. So two clusters hardly ever have the same one, and no pool of it runs out.
//! Where the store lost both, *engines still have them*: a network of that name, made in another life of the store, in which
//! containers run. Its numbers are taken over, and are given to nobody else (rule S6).
//! *A node's index* stands in packet marks, connection tracking and next hops of all other nodes for as long as connections
//! live. One that was released therefore stays in the store as nobody's and is given out again only once no index is left that
//! never was anybody's, the one released longest ago first. That needs no clock and no answer from nodes that may be away; a
//! cluster that loses a hundred nodes a day comes round in half a year.

use super::blocks;
use crate::api::accepted::AcceptedNetwork;
use crate::api::allocation::{Allocation, Item, NodeIndex, Owner, Vni};
use crate::api::key::Key;
use crate::api::network::NetworkSpec;
use crate::api::status::FoundNetwork;
use crate::api::subnet::{Address, Cidr, Cidr6, Dual, NODES6, Subnet};
use crate::api::task::network_name;
use crate::api::uid::Uid;
use crate::planted::{Bug, planted};
use crate::runtime::allocations::{Allocations, Numbers, Space, place};
use crate::runtime::cache::Cache;
pub(super) use crate::runtime::joins::network_owner as owner;
use crate::runtime::plan::{Plan, Step};
use crate::runtime::runs::Runs;
use crate::runtime::view;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the pool is carved into: room for 253 tasks and services, as Swarm's networks have.
const POOL_LENGTH: u8 = 24;
/// The same for attachable networks: half of it are blocks of 127 nodes (`blocks.rs`).
const ATTACHABLE_LENGTH: u8 = 20;

/// How many subnets of IPv6 a uid gives one after the other: of 2^56 no two are the same, and what makes one of them taken is a
/// large subnet that somebody asked for.
const TURNS: u32 = 256;

/// Subnets that mean something else on every host: this host, loopback, link-local (next hops of ours), multicast and above.
const RESERVED: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Why a network gets no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// A `PascalCase` word.
    pub(super) reason: &'static str,
    /// The same for people.
    pub(super) message: String,
}

impl Refused {
    pub(super) fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }
}

/// How a network stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has all that it needs; whether an address is left for a task.
    Has(Numbers, bool),
    /// It will get what it lacks.
    Pending(&'static str),
    /// It has no number, and gets none as things are.
    Refused(Refused),
    /// It has another subnet than is asked for by now.
    Fixed(Refused),
}

/// What is given out, and what this pass gives out beside it.
pub(super) struct Draft<'a> {
    allocations: &'a Allocations,
    pool: Cidr,
    /// Where engines are: an overlay around one of them would cut it off.
    hosts: BTreeMap<IpAddr, String>,
    /// What networks have that were made in other lives of the store, by what engines call them.
    held: BTreeMap<String, Numbers>,
    taken: BTreeMap<Space, Runs>,
    claims: BTreeMap<Item, Owner>,
}

impl<'a> Draft<'a> {
    /// Nothing is claimed yet.
    pub(super) fn new(cache: &'a Cache, pool: Cidr) -> Self {
        Self {
            allocations: &cache.allocations,
            pool,
            hosts: hosts(cache),
            held: held(cache),
            taken: BTreeMap::new(),
            claims: BTreeMap::new(),
        }
    }

    /// What a network lacks, claimed all or not at all.
    pub(super) fn network(
        &mut self,
        owner: &Owner,
        uid: &Uid,
        spec: &NetworkSpec,
    ) -> Result<Vec<Item>, Refused> {
        let (vni, subnet) = self.allocations.numbers_of(owner);
        let lacks6 = spec.carries_ipv6() && self.allocations.subnet6_of(owner).is_none();
        let mut items = Vec::new();
        if vni.is_some() && subnet.is_some() && !lacks6 {
            return Ok(items);
        }
        // Of what engines hold the two are taken over together, or neither.
        let kept = self.kept(owner, spec);
        let held = kept.filter(|_| vni.is_none() && subnet.is_none());
        let own = match (subnet, held) {
            (Some(own), _) => own,
            (None, held) => {
                let new = held.map_or_else(|| self.subnet(spec), |held| Ok(held.subnet))?;
                items.push(Item::Subnet(new));
                new
            }
        };
        if lacks6 {
            let kept = kept.and_then(|kept| kept.subnet6);
            let new = kept.map_or_else(|| self.subnet6(uid, spec, own), Ok)?;
            items.push(Item::Subnet6(new));
        }
        if vni.is_none() {
            let new = held.map_or_else(|| self.vni(uid), |held| Ok(held.vni))?;
            items.push(Item::Vni(new));
        }
        for item in &items {
            self.claim(item, owner);
        }
        Ok(items)
    }

    /// The numbers that a network had before the store lost them, if nobody else has them by now and no other subnet is asked
    /// for. The subnet of IPv6 is looked at by itself: what runs is at home by the other.
    fn kept(&mut self, owner: &Owner, spec: &NetworkSpec) -> Option<Numbers> {
        let Owner::Network { name, .. } = owner else {
            return None;
        };
        let held = *self.held.get(&network_name(name))?;
        let Numbers { vni, subnet, .. } = held;
        let (first, last) = subnet.range();
        let (own_vni, own_subnet) = self.allocations.numbers_of(owner);
        let is_free = spec.subnet().is_none_or(|asked| asked == subnet)
            && (own_subnet == Some(subnet) || self.runs(&Space::Subnets).is_free(first, last))
            && (own_vni == Some(vni) || self.runs(&Space::Vnis).is_free(vni.0, vni.0));
        let own_subnet6 = self.allocations.subnet6_of(owner);
        let subnet6 = held.subnet6.filter(|subnet6| {
            let subnet6 = *subnet6;
            spec.carries_ipv6()
                && spec.subnet6().is_none_or(|asked| asked == subnet6)
                && Dual { subnet, subnet6 }.fits()
                && (own_subnet6 == Some(subnet6) || self.is_free6(subnet6))
        });
        is_free.then_some(Numbers { subnet6, ..held })
    }

    /// What a network has to get in place of numbers that an older backup brought back, and which: its engines have a younger
    /// network of its name, and keep it while anybody is in it.
    fn instead(&mut self, owner: &Owner, spec: &NetworkSpec) -> Vec<(Item, Item)> {
        let (Some(vni), Some(subnet)) = self.allocations.numbers_of(owner) else {
            return Vec::new();
        };
        let Some(kept) = self.kept(owner, spec) else {
            return Vec::new();
        };
        let pair6 = self.allocations.subnet6_of(owner).zip(kept.subnet6);
        let pair6 = pair6.map(|(old, new)| (Item::Subnet6(old), Item::Subnet6(new)));
        let pairs = [
            (Item::Vni(vni), Item::Vni(kept.vni)),
            (Item::Subnet(subnet), Item::Subnet(kept.subnet)),
        ];
        let pairs = pairs.into_iter().chain(pair6);
        let changed: Vec<_> = pairs.filter(|(old, new)| old != new).collect();
        for (_, new) in &changed {
            self.claim(new, owner);
        }
        changed
    }

    fn claim(&mut self, item: &Item, owner: &Owner) {
        if let Some((space, first, last)) = place(item) {
            self.runs(&space).take(first, last);
        }
        self.claims.insert(item.clone(), owner.clone());
    }

    fn runs(&mut self, space: &Space) -> &mut Runs {
        let allocations = self.allocations;
        let before = || allocations.taken(space).cloned().unwrap_or_default();
        self.taken.entry(space.clone()).or_insert_with(before)
    }

    fn vni(&mut self, uid: &Uid) -> Result<Vni, Refused> {
        let start = Vni::FIRST + spread(uid.as_str()) % (Vni::MOST - Vni::FIRST + 1);
        let held: BTreeSet<u32> = self.held.values().map(|held| held.vni.0).collect();
        let runs = self.runs(&Space::Vnis);
        let find = |mut from: u32, to: u32| {
            loop {
                match runs.next_free(from, to, 1) {
                    Some(at) if held.contains(&at) => from = at + 1,
                    found => return found,
                }
            }
        };
        let found = find(start, Vni::MOST).or_else(|| find(Vni::FIRST, start));
        let none = || {
            let message = "every number of VXLAN is taken: delete networks";
            Refused::new("VnisExhausted", message.into())
        };
        found.map(Vni).ok_or_else(none)
    }

    fn subnet(&mut self, spec: &NetworkSpec) -> Result<Cidr, Refused> {
        match spec.subnet() {
            Some(subnet) => self.given(subnet),
            None => self.next(match spec.attachable {
                true => ATTACHABLE_LENGTH,
                false => POOL_LENGTH,
            }),
        }
    }

    /// The subnet that the user gave.
    fn given(&mut self, subnet: Cidr) -> Result<Cidr, Refused> {
        let reserved = |(address, length): (Ipv4Addr, u8)| Cidr { address, length };
        let mut reserved = RESERVED.into_iter().map(reserved);
        if let Some(reserved) = reserved.find(|reserved| reserved.overlaps(subnet)) {
            let message = format!("{subnet} overlaps {reserved}, which no network can have");
            return Err(Refused::new("SubnetReserved", message));
        }
        self.without_nodes(subnet)?;
        let (first, last) = subnet.range();
        if self.runs(&Space::Subnets).is_free(first, last) {
            return Ok(subnet);
        }
        let given = self.allocations.overlapping(subnet).into_iter();
        let others = given.chain(self.claims.keys().filter_map(Item::subnet));
        let whose = self.whose(subnet, others, Item::Subnet);
        Err(Refused::new("SubnetTaken", whose))
    }

    /// No subnet that is asked for holds a node's address.
    fn without_nodes<A: Address + Into<IpAddr>>(&self, subnet: Subnet<A>) -> Result<(), Refused> {
        let (first, last) = subnet.ends();
        let mut inside = self.hosts.range(first.into()..=last.into());
        inside.next().map_or(Ok(()), |(address, node)| {
            let message = format!("{subnet} holds the address of node {node}, {address}");
            Err(Refused::new("SubnetHoldsNode", message))
        })
    }

    /// A subnet of IPv6 for a network that has this one of IPv4, or is about to.
    fn subnet6(&self, uid: &Uid, spec: &NetworkSpec, subnet: Cidr) -> Result<Cidr6, Refused> {
        let Some(subnet6) = spec.subnet6() else {
            let mut all = (0..TURNS).map(|turn| derived(uid, turn));
            let none = || {
                let message = "all subnets of IPv6 that follow from its uid are taken: give it one";
                Refused::new("SubnetsExhausted", message.into())
            };
            return all.find(|one| self.is_spare6(*one)).ok_or_else(none);
        };
        if !(Dual { subnet, subnet6 }).fits() {
            let message = format!(
                "{subnet6} has fewer addresses than {subnet}, and each of that goes with one of it: give a larger one"
            );
            return Err(Refused::new("SubnetTooSmall", message));
        }
        self.without_nodes(subnet6)?;
        if self.is_free6(subnet6) {
            return Ok(subnet6);
        }
        let given = self.allocations.overlapping6(subnet6);
        let others = given.chain(self.claims.keys().filter_map(Item::subnet6));
        let whose = self.whose(subnet6, others, Item::Subnet6);
        Err(Refused::new("SubnetTaken", whose))
    }

    /// Whether nobody has anything of a subnet of IPv6.
    fn is_free6(&self, subnet: Cidr6) -> bool {
        let mut claimed = self.claims.keys().filter_map(Item::subnet6);
        self.allocations.overlapping6(subnet).next().is_none()
            && !claimed.any(|other| other.overlaps(subnet))
    }

    /// Whether it can be given to somebody who asked for none.
    fn is_spare6(&self, subnet: Cidr6) -> bool {
        let mut held = self.held.values().filter_map(|held| held.subnet6);
        self.is_free6(subnet)
            && !NODES6.overlaps(subnet)
            && !held.any(|held| held.overlaps(subnet))
            && self.without_nodes(subnet).is_ok()
    }

    /// Who has what overlaps a subnet, of those that are given out or about to be.
    fn whose<A: Address>(
        &self,
        subnet: Subnet<A>,
        others: impl Iterator<Item = Subnet<A>>,
        item: fn(Subnet<A>) -> Item,
    ) -> String {
        let overlapping = others.filter(|other| other.overlaps(subnet));
        let all = overlapping.take(3).map(|other| {
            let item = item(other);
            let stored = self.allocations.get(&item).map(|stored| &stored.owner);
            let unknown = || format!("the key allocations/{item}, which cannot be read");
            let owner = stored.or_else(|| self.claims.get(&item));
            let owner = owner.map_or_else(unknown, ToString::to_string);
            match other.ends() == subnet.ends() {
                true => format!("that of {owner}"),
                false => format!("{other} of {owner}"),
            }
        });
        let all: Vec<String> = all.collect();
        format!("{subnet} is or overlaps {}", all.join(" and "))
    }

    /// The lowest free subnet of the pool.
    fn next(&mut self, length: u8) -> Result<Cidr, Refused> {
        let (first, last) = self.pool.range();
        let length = length.max(self.pool.length);
        let size = 1 << (32 - length);
        let mut from = Some(first);
        while let Some(at) =
            from.and_then(|from| self.runs(&Space::Subnets).next_free(from, last, size))
        {
            let address = Ipv4Addr::from(at);
            let subnet = Cidr { address, length };
            let mut held = self.held.values();
            let is_held = held.any(|held| held.subnet.overlaps(subnet));
            if !is_held && self.without_nodes(subnet).is_ok() {
                return Ok(subnet);
            }
            from = at.checked_add(size);
        }
        let message = format!(
            "no /{length} is free in {}: give the network a subnet, delete networks, or start managers with a larger --network-pool",
            self.pool
        );
        Err(Refused::new("PoolExhausted", message))
    }

    /// An index for a node: one that never was anybody's, or the one that was released first.
    fn node(&mut self, owner: &Owner) -> Option<NodeIndex> {
        let fresh = self
            .runs(&Space::Nodes)
            .next_free(1, NodeIndex::MOST.into(), 1);
        let fresh = fresh.and_then(|index| u16::try_from(index).ok());
        let index = fresh.map(NodeIndex).or_else(|| self.released())?;
        self.claim(&Item::Node(index), owner);
        Some(index)
    }

    fn released(&self) -> Option<NodeIndex> {
        let released = self.allocations.numbers().filter_map(|(item, stored)| {
            let is_free = stored.released && !self.claims.contains_key(item);
            let index = item.node().filter(|_| is_free)?;
            Some((stored.mod_revision, index))
        });
        released.min().map(|(_, index)| index)
    }
}

/// What networks of ours have on engines that the store knows nothing of any more: of several of one name the one of the
/// latest life, and of those the one that most engines have.
fn held(cache: &Cache) -> BTreeMap<String, Numbers> {
    let found = cache.nodes.keys().filter_map(|node| {
        let status = cache.status_of_node(node, view::TASK)?;
        status.found.as_ref()
    });
    // Without their blocks, which each engine has its own of.
    let same = |network: &FoundNetwork| FoundNetwork {
        block: None,
        ..network.clone()
    };
    let mut counts: BTreeMap<FoundNetwork, u32> = BTreeMap::new();
    for network in found.flat_map(|found| &found.networks) {
        *counts.entry(same(network)).or_default() += 1;
    }
    let mut all: Vec<(FoundNetwork, u32)> = counts.into_iter().collect();
    all.sort_by_key(|(network, count)| (network.incarnation, *count));
    let numbers = |(network, _): (FoundNetwork, u32)| {
        let numbers = Numbers {
            vni: network.vni,
            subnet: network.subnet,
            subnet6: network.subnet6,
        };
        (network.name, numbers)
    };
    all.into_iter().map(numbers).collect()
}

/// The addresses of nodes, as far as they are known.
fn hosts(cache: &Cache) -> BTreeMap<IpAddr, String> {
    let address = |node: &view::NodeView<'_>| match node.accepted.spec.address {
        Some(address) => Some(address),
        None => node.engine.and_then(|engine| engine.address),
    };
    let nodes = cache
        .nodes
        .keys()
        .filter_map(|name| view::node(cache, name));
    nodes
        .filter_map(|node| Some((address(&node)?, node.name.to_string())))
        .collect()
}

/// A subnet that only a uid gives, and how many of it were taken: `fd`, and 56 bits of a hash for what RFC 4193 wants to be
/// random, and for the number within a site.
fn derived(uid: &Uid, turn: u32) -> Cidr6 {
    let hash = Sha256::digest(format!("skep network {uid} {turn}"));
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..8].copy_from_slice(&hash[..7]);
    Cidr6 {
        address: Ipv6Addr::from(octets),
        length: 64,
    }
}

/// A place that only the text gives: FNV-1a.
pub(super) fn spread(text: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    text.bytes().fold(0x811c_9dc5, step)
}

/// That a network keeps another subnet than is asked for by now.
fn fixed<A: Address + PartialEq>(has: Subnet<A>, asked: Option<Subnet<A>>) -> Option<Standing> {
    let asked = asked.filter(|asked| *asked != has)?;
    let message = format!(
        "the network keeps {has}, and {asked} is asked for by now: a subnet does not change under its tasks; delete the network and make it anew"
    );
    Some(Standing::Fixed(Refused::new("SubnetFixed", message)))
}

/// How a network stands.
pub(super) fn standing(
    cache: &Cache,
    pool: Cidr,
    owner: &Owner,
    record: &AcceptedNetwork,
) -> Standing {
    let spec = &record.spec;
    if let Some(numbers) = cache.allocations.all_of(owner, spec) {
        let subnet = numbers.subnet;
        let subnet6 = numbers.subnet6;
        let differs = fixed(subnet, spec.subnet()).or_else(|| fixed(subnet6?, spec.subnet6()));
        return differs.unwrap_or_else(|| {
            let left = cache.allocations.free_addresses(&record.uid, subnet);
            Standing::Has(numbers, left > 0)
        });
    }
    if view::is_adopting(cache) {
        return Standing::Pending("what runs is looked at first");
    }
    match Draft::new(cache, pool).network(owner, &record.uid, spec) {
        Ok(_) => Standing::Pending("numbers are about to be given out"),
        Err(refused) => Standing::Refused(refused),
    }
}

/// Gives out what networks and nodes lack, and takes back what nobody owns any more.
pub(super) fn plan(cache: &Cache, pool: Cidr) -> Plan {
    let mut plan = Plan::default();
    // What the store lost is adopted first: until then nothing is known to be free, or to be nobody's (rule S6).
    if view::is_adopting(cache) {
        return plan;
    }
    plan.is_unordered = true;
    take_back(cache, &mut plan);
    let mut draft = Draft::new(cache, pool);
    for (name, record) in &cache.networks {
        let owner = owner(name, &record.uid);
        if record.deleted_at.is_some() {
            continue;
        }
        let instead = draft.instead(&owner, &record.spec);
        if !instead.is_empty() {
            // What it lacks beside goes with what it is to have: that comes first.
            let (old, new): (Vec<Item>, Vec<Item>) = instead.into_iter().unzip();
            plan.push(old.into_iter().fold(claims(&new, &owner), |step, old| {
                let key = Key::Allocation(old);
                step.if_unchanged(cache, key.clone()).delete(key)
            }));
            continue;
        }
        if let Ok(items) = draft.network(&owner, &record.uid, &record.spec) {
            plan.push(claims(&items, &owner));
        }
    }
    for (name, record) in &cache.nodes {
        let owner = Owner::Node {
            name: name.clone(),
            uid: record.uid.clone(),
        };
        let mut items = cache.allocations.of(&owner);
        let has_index = items.any(|item| matches!(item, Item::Node(_)));
        if record.deleted_at.is_some() || has_index {
            continue;
        }
        match draft.node(&owner) {
            Some(index) => plan.push(node_claim(cache, index, &owner)),
            None => plan.note(
                owner.object(),
                Some(&record.uid),
                crate::api::cluster::Severity::Warning,
                "NodeIndexesExhausted",
                format!(
                    "the cluster has {} nodes already: no network reaches this one",
                    NodeIndex::MOST
                ),
            ),
        }
    }
    plan
}

/// A step that claims items, all or none.
pub(super) fn claims(items: &[Item], owner: &Owner) -> Step {
    let value = allocation(owner);
    items.iter().fold(Step::default(), |step, item| {
        let key = Key::Allocation(item.clone());
        step.put(key.clone(), &value).if_missing(key)
    })
}

fn node_claim(cache: &Cache, index: NodeIndex, owner: &Owner) -> Step {
    let key = Key::Allocation(Item::Node(index));
    // Missing, or in quarantine as this view has it.
    Step::default()
        .put(key.clone(), &allocation(owner))
        .if_unchanged(cache, key)
}

fn allocation(owner: &Owner) -> Allocation {
    Allocation {
        owner: owner.clone(),
        released: false,
        target: None,
    }
}

/// Takes back what belonged to objects whose record is gone.
fn take_back(cache: &Cache, plan: &mut Plan) {
    for (item, stored) in cache.allocations.numbers() {
        // Those of ports are in another hand.
        if matches!(item, Item::Port(_))
            || stored.released
            || planted(Bug::KeepsNumbers)
            || is_kept(cache, item, &stored.owner)
        {
            continue;
        }
        let key = Key::Allocation(item.clone());
        let step = Step::default().if_unchanged(cache, key.clone());
        plan.push(match item {
            Item::Node(_) => step.put(
                key,
                &Allocation {
                    released: true,
                    ..stored.value.as_ref().clone()
                },
            ),
            Item::Vni(_)
            | Item::Subnet(_)
            | Item::Subnet6(_)
            | Item::Port(_)
            | Item::Address(..)
            | Item::Block(..) => step.delete(key),
        });
    }
    take_back_addresses(cache, plan);
}

/// The addresses and blocks of networks that are gone. Those of networks in force are given out and taken back network by network.
fn take_back_addresses(cache: &Cache, plan: &mut Plan) {
    let gone = cache.allocations.addressed().filter(|uid| {
        let name = cache.allocations.network(uid);
        let record = name.and_then(|name| cache.networks.get(name));
        record.is_none_or(|record| record.uid != **uid)
    });
    for uid in gone {
        for (address, _) in cache.allocations.addresses(uid) {
            let key = Key::Allocation(Item::Address(uid.clone(), address));
            plan.push(Step::default().if_unchanged(cache, key.clone()).delete(key));
        }
        for (block, _) in cache.allocations.blocks(uid) {
            plan.push(blocks::take_back(cache, uid, block));
        }
    }
}

/// Whether an owner is in force and has this by right: its record is there (one of another uid is another's), and it is not
/// a second one of its kind, as a hand may have made it.
fn is_kept(cache: &Cache, item: &Item, owner: &Owner) -> bool {
    match owner {
        Owner::Node { name, uid } => {
            let record = cache.nodes.get(name);
            let mut items = cache.allocations.of(owner);
            record.is_some_and(|record| record.uid == *uid) && items.next() == Some(item)
        }
        Owner::Network { name, uid } => {
            let record = cache.networks.get(name);
            let (vni, subnet) = cache.allocations.numbers_of(owner);
            let subnet6 = cache.allocations.subnet6_of(owner);
            let subnet6 = subnet6.filter(|_| record.is_some_and(|one| one.spec.carries_ipv6()));
            let by_right = [
                vni.map(Item::Vni),
                subnet.map(Item::Subnet),
                subnet6.map(Item::Subnet6),
            ];
            record.is_some_and(|record| record.uid == *uid)
                && by_right.iter().flatten().any(|one| one == item)
        }
        // Neither has numbers.
        Owner::Service { .. } | Owner::Task { .. } => false,
    }
}
