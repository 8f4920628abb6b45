//! Which part of an attachable network each node's engine gives out by itself, to containers that are no tasks. Pure.
//!
//! Whoever says `docker run --network` gets an address from the engine, which asks nobody. So each node has a block of the
//! network's addresses, claimed like all else that is given out once, and its engine is told to give from it alone; no task
//! or service gets one of a block. A node has its block, whether it is ready or not, until it or the network is gone.
//!
//! Blocks come from the upper half of the subnet, and tasks' addresses from the lower one while that has some: a node that
//! joins later still finds a block, and tasks always have their half. For whom none is left, the network says so.
//!
//! Where the store lost blocks, engines still have them: a network keeps the one that it was made with (rule S6).

use super::ipam::claims;
use crate::api::accepted::AcceptedNetwork;
use crate::api::allocation::{Item, Owner};
use crate::api::key::Key;
use crate::api::name::{NodeName, Scoped};
use crate::api::subnet::Cidr;
use crate::api::task::network_name;
use crate::api::uid::Uid;
use crate::runtime::allocations::Space;
use crate::runtime::cache::Cache;
use crate::runtime::joins::node_owner;
use crate::runtime::plan::{Plan, Step};
use crate::runtime::runs::Runs;
use crate::runtime::view;
use std::collections::{BTreeMap, BTreeSet};

/// A block has a 32nd of its subnet, so that at least 15 nodes find one in the upper half, and no more than 16 addresses: more
/// serve hardly anybody, and wide subnets are for many nodes.
const SHARE: u8 = 5;
/// The length of the largest block.
const LARGEST: u8 = 28;

/// What is to be done about the blocks of a network.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Those that nobody has by right.
    gone: Vec<Cidr>,
    /// Nodes whose engines have one from another life of the store, and what they have by their key now.
    held: Vec<(Owner, Cidr, Option<Cidr>)>,
    /// Nodes without one.
    lacking: Vec<Owner>,
}

impl Blocks {
    /// By what is given out, and by what engines have.
    pub(super) fn of(cache: &Cache, name: &Scoped, record: &AcceptedNetwork, subnet: Cidr) -> Self {
        let mut blocks = Self::default();
        let mut has: BTreeMap<Owner, Cidr> = BTreeMap::new();
        for (block, given) in cache.allocations.blocks(&record.uid) {
            let is_by_right = record.spec.attachable && is_there(cache, &given.owner);
            match is_by_right && is_inside(block, subnet) && !has.contains_key(&given.owner) {
                true => _ = has.insert(given.owner.clone(), block),
                false => blocks.gone.push(block),
            }
        }
        if !record.spec.attachable {
            return blocks;
        }
        for (node, owner) in nodes(cache) {
            let own = has.get(&owner).copied();
            let held = held(cache, node, name, subnet).filter(|held| Some(*held) != own);
            match (held, own) {
                (Some(held), own) => blocks.held.push((owner, held, own)),
                (None, None) => blocks.lacking.push(owner),
                (None, Some(_)) => {}
            }
        }
        blocks
    }

    /// Whether nobody is to get one.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.lacking.is_empty()
    }

    /// Takes back what nobody has by right.
    pub(super) fn take_back(&self, cache: &Cache, network: &Uid, plan: &mut Plan) {
        let gone = self.gone.iter();
        gone.for_each(|block| plan.push(take_back(cache, network, *block)));
    }

    /// Claims what engines have, where nobody else has it.
    pub(super) fn adopt(
        &mut self,
        cache: &Cache,
        network: &Uid,
        taken: &mut Runs,
        plan: &mut Plan,
    ) {
        for (owner, held, own) in std::mem::take(&mut self.held) {
            let (first, last) = held.range();
            let mut others = taken.clone();
            if let Some((first, last)) = own.map(Cidr::range) {
                others.free(first, last);
            }
            if others.is_free(first, last) {
                let claim = claims(&[Item::Block(network.clone(), held)], &owner);
                plan.push(own.into_iter().fold(claim, |step, own| {
                    let key = Key::Allocation(Item::Block(network.clone(), own));
                    step.if_unchanged(cache, key.clone()).delete(key)
                }));
                taken.take(first, last);
            } else if own.is_none() {
                self.lacking.push(owner);
            }
        }
    }

    /// Claims one for each node that lacks it; says whether all got one.
    pub(super) fn claim(
        self,
        network: &Uid,
        subnet: Cidr,
        taken: &mut Runs,
        plan: &mut Plan,
    ) -> bool {
        for owner in self.lacking {
            let Some(block) = next(taken, subnet) else {
                return false;
            };
            let (first, last) = block.range();
            taken.take(first, last);
            plan.push(claims(&[Item::Block(network.clone(), block)], &owner));
        }
        true
    }
}

/// The nodes that lack their block of an attachable network, and whether one is left for them.
pub(super) fn without(
    cache: &Cache,
    record: &AcceptedNetwork,
    subnet: Cidr,
) -> (BTreeSet<NodeName>, bool) {
    let given = cache.allocations.blocks(&record.uid);
    let have: BTreeSet<&Owner> = given.map(|(_, given)| &given.value.owner).collect();
    let lacking = nodes(cache).filter(|(_, owner)| !have.contains(owner));
    let lacking = lacking.map(|(node, _)| node.clone()).collect();
    let taken = cache
        .allocations
        .taken(&Space::Addresses(record.uid.clone()));
    let is_left = next(taken.unwrap_or(&Runs::default()), subnet).is_some();
    (lacking, is_left)
}

/// A step that takes back a block.
pub(super) fn take_back(cache: &Cache, network: &Uid, block: Cidr) -> Step {
    let key = Key::Allocation(Item::Block(network.clone(), block));
    Step::default().if_unchanged(cache, key.clone()).delete(key)
}

/// The first address of the upper half of a subnet.
pub(super) fn middle(subnet: Cidr) -> u32 {
    let (first, last) = subnet.range();
    first.saturating_add((last - first) / 2 + 1)
}

/// The lowest free block.
fn next(taken: &Runs, subnet: Cidr) -> Option<Cidr> {
    let length = subnet.length.saturating_add(SHARE).clamp(LARGEST, 32);
    let size = 1 << (32 - length);
    let (first, last) = subnet.hosts();
    let at = taken.next_free(first.max(middle(subnet)), last, size)?;
    let address = at.into();
    Some(Cidr { address, length })
}

fn is_inside(block: Cidr, subnet: Cidr) -> bool {
    let ((first, last), (start, end)) = (subnet.hosts(), block.range());
    first <= start && end <= last
}

/// The nodes that are to have a block.
fn nodes(cache: &Cache) -> impl Iterator<Item = (&NodeName, Owner)> {
    let nodes = cache.nodes.iter();
    let nodes = nodes.filter(|(_, record)| record.deleted_at.is_none());
    nodes.map(|(node, record)| (node, node_owner(node, &record.uid)))
}

/// Whether an owner is a node that is not forgotten: containers may be there until then.
fn is_there(cache: &Cache, owner: &Owner) -> bool {
    let Owner::Node { name, uid } = owner else {
        return false;
    };
    cache
        .nodes
        .get(name)
        .is_some_and(|record| record.uid == *uid)
}

/// The block with which a node's engine has made the network in another life of the store.
fn held(cache: &Cache, node: &NodeName, name: &Scoped, subnet: Cidr) -> Option<Cidr> {
    let found = cache.status_of_node(node, view::TASK)?;
    let mut networks = found.found.as_ref()?.networks.iter();
    let name = network_name(name);
    let network = networks.find(|found| found.name == name && found.subnet == subnet)?;
    network.block.filter(|block| is_inside(*block, subnet))
}
