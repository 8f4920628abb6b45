//! Who gets which number: VNIs and subnets of networks, indexes of nodes. Pure.
//!
//! One pass plans all that is missing at one view of the store, so no two of its claims meet; each is written only where its
//! key is missing, so none meets another's either. Subnets of different lengths may overlap under different keys: that none
//! do rests on there being one pass at a time, which the queue sees to.
//!
//! *A VNI* is searched from a place that the network's uid gives. So what a deleted network had is not had again soon, while
//! a node that was cut off may still send with it, and the same network gets the same number from a store that lost it.
//! *A subnet* is the one asked for, or the lowest free one of the pool.
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
use crate::api::name::ObjectKey;
use crate::api::network::NetworkSpec;
use crate::api::status::FoundNetwork;
use crate::api::subnet::Cidr;
use crate::api::task::network_name;
use crate::api::uid::Uid;
use crate::planted::{Bug, planted};
use crate::runtime::allocations::{Allocations, Space, place};
use crate::runtime::cache::Cache;
pub(super) use crate::runtime::joins::network_owner as owner;
use crate::runtime::plan::{Plan, Step};
use crate::runtime::runs::Runs;
use crate::runtime::view;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// What the pool is carved into: room for 253 tasks and services, as Swarm's networks have.
const POOL_LENGTH: u8 = 24;
/// The same for attachable networks: half of it are blocks of 127 nodes (`blocks.rs`).
const ATTACHABLE_LENGTH: u8 = 20;

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
    Has(Vni, Cidr, bool),
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
    hosts: BTreeMap<u32, String>,
    /// What networks have that were made in other lives of the store, by what engines call them.
    held: BTreeMap<String, (Vni, Cidr)>,
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
        let mut items = Vec::new();
        if let (None, None, Some((vni, subnet))) = (vni, subnet, self.kept(owner, spec)) {
            items.extend([Item::Subnet(subnet), Item::Vni(vni)]);
            for item in &items {
                self.claim(item, owner);
            }
            return Ok(items);
        }
        if subnet.is_none() {
            items.push(Item::Subnet(self.subnet(spec)?));
        }
        if vni.is_none() {
            items.push(Item::Vni(self.vni(uid)?));
        }
        for item in &items {
            self.claim(item, owner);
        }
        Ok(items)
    }

    /// The numbers that a network had before the store lost them, if nobody else has them by now and no other subnet is asked
    /// for.
    fn kept(&mut self, owner: &Owner, spec: &NetworkSpec) -> Option<(Vni, Cidr)> {
        let Owner::Network { name, .. } = owner else {
            return None;
        };
        let (vni, subnet) = *self.held.get(&network_name(name))?;
        let asked = asked(spec).ok()?;
        let (first, last) = subnet.range();
        let (own_vni, own_subnet) = self.allocations.numbers_of(owner);
        let is_free = asked.is_none_or(|asked| asked == subnet)
            && (own_subnet == Some(subnet) || self.runs(&Space::Subnets).is_free(first, last))
            && (own_vni == Some(vni) || self.runs(&Space::Vnis).is_free(vni.0, vni.0));
        is_free.then_some((vni, subnet))
    }

    /// What a network has to get in place of numbers that an older backup brought back, and which: its engines have a younger
    /// network of its name, and keep it while anybody is in it.
    fn instead(&mut self, owner: &Owner, spec: &NetworkSpec) -> Vec<(Item, Item)> {
        let (Some(vni), Some(subnet)) = self.allocations.numbers_of(owner) else {
            return Vec::new();
        };
        let Some((kept_vni, kept_subnet)) = self.kept(owner, spec) else {
            return Vec::new();
        };
        let pairs = [
            (Item::Vni(vni), Item::Vni(kept_vni)),
            (Item::Subnet(subnet), Item::Subnet(kept_subnet)),
        ];
        let changed: Vec<_> = pairs.into_iter().filter(|(old, new)| old != new).collect();
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
        let held: BTreeSet<u32> = self.held.values().map(|(vni, _)| vni.0).collect();
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
        match asked(spec)? {
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
        let (first, last) = subnet.range();
        if let Some((address, node)) = self.hosts.range(first..=last).next() {
            let address = Ipv4Addr::from(*address);
            let message = format!("{subnet} holds the address of node {node}, {address}");
            return Err(Refused::new("SubnetHoldsNode", message));
        }
        if self.runs(&Space::Subnets).is_free(first, last) {
            return Ok(subnet);
        }
        Err(Refused::new("SubnetTaken", self.whose(subnet)))
    }

    /// Who has what overlaps a subnet.
    fn whose(&self, subnet: Cidr) -> String {
        let claimed = self.claims.iter().filter_map(|(item, owner)| match item {
            Item::Subnet(other) if other.overlaps(subnet) => Some((*other, owner.to_string())),
            Item::Subnet(_)
            | Item::Subnet6(_)
            | Item::Node(_)
            | Item::Vni(_)
            | Item::Port(_)
            | Item::Address(..)
            | Item::Block(..) => None,
        });
        let given = self.allocations.overlapping(subnet).into_iter();
        let given = given.map(|other| {
            let stored = self.allocations.get(&Item::Subnet(other));
            let owner = stored.map(|stored| stored.owner.to_string());
            let unknown = || {
                format!(
                    "the key allocations/{}, which cannot be read",
                    Item::Subnet(other)
                )
            };
            (other, owner.unwrap_or_else(unknown))
        });
        let all: Vec<String> = given
            .chain(claimed)
            .take(3)
            .map(|(other, owner)| match other == subnet {
                true => format!("that of {owner}"),
                false => format!("{other} of {owner}"),
            })
            .collect();
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
            let is_held = held.any(|(_, held)| held.overlaps(subnet));
            if !is_held && self.hosts.range(at..=at + (size - 1)).next().is_none() {
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
        let released = self
            .allocations
            .numbers()
            .filter_map(|(item, stored)| match item {
                Item::Node(index) if stored.released && !self.claims.contains_key(item) => {
                    Some((stored.mod_revision, *index))
                }
                Item::Node(_)
                | Item::Vni(_)
                | Item::Subnet(_)
                | Item::Subnet6(_)
                | Item::Port(_)
                | Item::Address(..)
                | Item::Block(..) => None,
            });
        released.min().map(|(_, index)| index)
    }
}

/// What networks of ours have on engines that the store knows nothing of any more: of several of one name the one of the
/// latest life, and of those the one that most engines have.
fn held(cache: &Cache) -> BTreeMap<String, (Vni, Cidr)> {
    let found = cache.nodes.keys().filter_map(|node| {
        let status = cache.status(&ObjectKey::node(node), view::TASK)?;
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
    let numbers = |(network, _): (FoundNetwork, u32)| (network.name, (network.vni, network.subnet));
    all.into_iter().map(numbers).collect()
}

/// The addresses of nodes, as far as they are known.
fn hosts(cache: &Cache) -> BTreeMap<u32, String> {
    let address = |node: &view::NodeView<'_>| match node.accepted.spec.address {
        Some(address) => Some(address),
        None => node.engine.and_then(|engine| engine.address),
    };
    let nodes = cache
        .nodes
        .keys()
        .filter_map(|name| view::node(cache, name));
    nodes
        .filter_map(|node| match address(&node)? {
            IpAddr::V4(address) => Some((address.into(), node.name.to_string())),
            IpAddr::V6(_) => None,
        })
        .collect()
}

/// A place that only the text gives: FNV-1a.
pub(super) fn spread(text: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    text.bytes().fold(0x811c_9dc5, step)
}

/// The subnet that a spec asks for; none: one of the pool.
fn asked(spec: &NetworkSpec) -> Result<Option<Cidr>, Refused> {
    let not_provided = |what: &str| {
        let message =
            format!("{what} is not provided by this version: give one IPv4 subnet, or none");
        Err(Refused::new("NotProvided", message))
    };
    match spec.subnets.as_slice() {
        [] => Ok(None),
        [subnet] => match subnet.parse() {
            Ok(subnet) => Ok(Some(subnet)),
            // Acceptance let nothing else through.
            Err(_) => not_provided("IPv6"),
        },
        _ => not_provided("more than one subnet"),
    }
}

/// How a network stands.
pub(super) fn standing(
    cache: &Cache,
    pool: Cidr,
    owner: &Owner,
    record: &AcceptedNetwork,
) -> Standing {
    let spec = &record.spec;
    if let (Some(vni), Some(subnet)) = cache.allocations.numbers_of(owner) {
        return match asked(spec) {
            Err(refused) => Standing::Fixed(refused),
            Ok(Some(wanted)) if wanted != subnet => {
                let message = format!(
                    "the network keeps {subnet}, and {wanted} is asked for by now: a subnet does not change under its tasks; delete the network and make it anew"
                );
                Standing::Fixed(Refused::new("SubnetFixed", message))
            }
            Ok(_) => {
                let left = cache.allocations.free_addresses(&record.uid, subnet);
                Standing::Has(vni, subnet, left > 0)
            }
        };
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
        let (old, new): (Vec<Item>, Vec<Item>) = instead.into_iter().unzip();
        plan.push(old.into_iter().fold(claims(&new, &owner), |step, old| {
            let key = Key::Allocation(old);
            step.if_unchanged(cache, key.clone()).delete(key)
        }));
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
            let by_right = [vni.map(Item::Vni), subnet.map(Item::Subnet)];
            record.is_some_and(|record| record.uid == *uid)
                && by_right.iter().flatten().any(|one| one == item)
        }
        // Neither has numbers.
        Owner::Service { .. } | Owner::Task { .. } => false,
    }
}
