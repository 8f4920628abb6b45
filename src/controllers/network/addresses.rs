//! Who gets which address of a network: one for each service with a virtual address, one for each task. Pure.
//!
//! One pass plans all that is missing in a network at one view of the store; each address is claimed where its key is missing.
//! It is searched from a place that the owner's identity gives: who stopped a moment ago may still be spoken to by what has
//! not heard of it (caches of names, connection tracking), so its address is not the next one's.
//!
//! Where the store lost the addresses of tasks that run on, those are taken over from what is seen of the tasks, before anybody
//! is given another one (rule S6).
//!
//! A task has its address from the moment at which its record is there, before it is bound, and until its container was
//! seen stopped or its node is forgotten (rule C6). A service has its own for as long as it asks for it.
//!
//! Blocks of nodes (`blocks.rs`) are given out in the same pass, so that the two never meet.

use super::blocks::{Blocks, middle};
use super::ipam::{claims, owner, spread};
use crate::api::allocation::{Item, Owner};
use crate::api::key::Key;
use crate::api::name::Scoped;
use crate::api::subnet::Cidr;
use crate::api::uid::Uid;
use crate::runtime::allocations::Space;
use crate::runtime::cache::Cache;
use crate::runtime::joins::{self, Stage};
use crate::runtime::plan::{Plan, Step};
use crate::runtime::runs::Runs;
use crate::runtime::view;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// A network that is full, also of what nobody claims, is looked at again after this long: of its going nothing leads here.
const FULL: Duration = Duration::from_secs(15);

/// Gives out and takes back the addresses of a network. One that is gone loses them with its numbers.
pub(super) fn plan(cache: &Cache, name: &Scoped) -> Plan {
    let mut plan = Plan::default();
    let Some(record) = cache.networks.get(name) else {
        return plan;
    };
    let (_, subnet) = cache.allocations.numbers_of(&owner(name, &record.uid));
    let Some(subnet) = subnet else {
        return plan;
    };
    let hosts = subnet.hosts();
    // What was lost with the store is adopted first: its addresses are taken, and no key says so yet (rule S6).
    if view::is_adopting(cache) {
        return plan;
    }
    plan.is_unordered = true;
    let mut lacking = wanted(cache, name);
    for (address, given) in cache.allocations.addresses(&record.uid) {
        let is_inside = (hosts.0..=hosts.1).contains(&address.into());
        let is_first = lacking.remove(&given.owner) || is_leaving(cache, &given.owner);
        if !is_inside || !is_first {
            let key = Key::Allocation(Item::Address(record.uid.clone(), address));
            plan.push(Step::default().if_unchanged(cache, key.clone()).delete(key));
        }
    }
    let blocks = Blocks::of(cache, name, record, subnet);
    blocks.take_back(cache, &record.uid, &mut plan);
    if !lacking.is_empty() || !blocks.is_empty() {
        let network = Network {
            uid: &record.uid,
            subnet,
            is_attachable: record.spec.attachable,
        };
        claim(cache, network, lacking, blocks, &mut plan);
    }
    plan
}

/// A network in which addresses are given out.
#[derive(Clone, Copy)]
struct Network<'a> {
    uid: &'a Uid,
    subnet: Cidr,
    is_attachable: bool,
}

/// Claims an address for each, and blocks; those for whom there is none get one when one is freed.
fn claim(
    cache: &Cache,
    network: Network<'_>,
    lacking: BTreeSet<Owner>,
    mut blocks: Blocks,
    plan: &mut Plan,
) {
    let Network { uid, subnet, .. } = network;
    let hosts = subnet.hosts();
    let space = Space::Addresses(uid.clone());
    let mut taken = cache.allocations.taken(&space).cloned().unwrap_or_default();
    let mut lacking = lacking;
    let unclaimed = unclaimed(cache, hosts);
    // While one is yet to be looked at, any address may be its own.
    let mut waits = false;
    lacking.retain(|owner| match adopted(cache, owner, hosts) {
        Adopted::No => true,
        Adopted::Unseen => {
            waits = true;
            false
        }
        Adopted::At(number) if !taken.is_free(number, number) => true,
        Adopted::At(number) => {
            taken.take(number, number);
            let item = Item::Address(uid.clone(), Ipv4Addr::from(number));
            plan.push(claims(&[item], owner));
            false
        }
    });
    blocks.adopt(cache, uid, &mut taken, plan);
    if waits {
        return;
    }
    for number in &unclaimed {
        taken.take(*number, *number);
    }
    let mut is_full = !blocks.claim(uid, subnet, &mut taken, plan);
    for owner in lacking {
        let Some(number) = network.search(&taken, &owner) else {
            is_full = true;
            break;
        };
        taken.take(number, number);
        let item = Item::Address(uid.clone(), Ipv4Addr::from(number));
        plan.push(claims(&[item], &owner));
    }
    if is_full && !unclaimed.is_empty() {
        plan.look_again(FULL);
    }
}

impl Network<'_> {
    /// A free address for a task or a service; in an attachable network one of the upper half only where no other is left.
    fn search(self, taken: &Runs, owner: &Owner) -> Option<u32> {
        let (first, last) = self.subnet.hosts();
        match self.is_attachable {
            false => search(taken, (first, last), owner),
            true => {
                let middle = middle(self.subnet).max(first);
                let lower = search(taken, (first, middle - 1), owner);
                lower.or_else(|| search(taken, (middle, last), owner))
            }
        }
    }
}

/// What containers have that follow from no record, of ours or of others: their engines give it to nobody else, and no key
/// says so.
fn unclaimed(cache: &Cache, (first, last): (u32, u32)) -> BTreeSet<u32> {
    let found = cache.nodes.keys().filter_map(|node| {
        let status = cache.status_of_node(node, view::TASK)?;
        status.found.as_ref()
    });
    let numbers = found.flat_map(|found| {
        let ours = found.unclaimed.iter().flat_map(|ours| &ours.addresses);
        let ours = ours.filter_map(|address| match address {
            IpAddr::V4(address) => Some(u32::from(*address)),
            IpAddr::V6(_) => None,
        });
        let others = found.strangers.iter();
        ours.chain(others.map(|stranger| stranger.address.into()))
    });
    numbers
        .filter(|number| (first..=last).contains(number))
        .collect()
}

/// What is known of the address of a task that was adopted.
enum Adopted {
    /// It was not, or it has none here.
    No,
    /// Its container is about to be looked at.
    Unseen,
    /// Its container has this one.
    At(u32),
}

fn adopted(cache: &Cache, owner: &Owner, (first, last): (u32, u32)) -> Adopted {
    let Owner::Task { task, .. } = owner else {
        return Adopted::No;
    };
    let Some((facets, _, task)) = joins::task(cache, task) else {
        return Adopted::No;
    };
    match (&task.adopted_from, facets.status()) {
        (None, _) => Adopted::No,
        (Some(_), None) => Adopted::Unseen,
        (Some(_), Some(status)) => {
            let addresses = status.addresses.iter();
            let mut numbers = addresses.filter_map(|address| match address {
                IpAddr::V4(address) => Some(u32::from(*address)),
                IpAddr::V6(_) => None,
            });
            let inside = numbers.find(|number| (first..=last).contains(number));
            inside.map_or(Adopted::No, Adopted::At)
        }
    }
}

/// The first free address from the owner's place on.
fn search(taken: &Runs, (first, last): (u32, u32), owner: &Owner) -> Option<u32> {
    let identity = match owner {
        Owner::Task { task, .. } => task.as_str(),
        Owner::Service { uid, .. } | Owner::Network { uid, .. } | Owner::Node { uid, .. } => {
            uid.as_str()
        }
    };
    let count = last.checked_sub(first)?.saturating_add(1);
    let start = first + spread(identity) % count;
    let after = taken.next_free(start, last, 1);
    after.or_else(|| taken.next_free(first, start, 1))
}

/// Who is to have an address: services before tasks, so that a full network still has them.
fn wanted(cache: &Cache, network: &Scoped) -> BTreeSet<Owner> {
    let mut wanted = BTreeSet::new();
    for (name, service) in joins::services(cache, &network.namespace) {
        if joins::has_virtual(service, network) {
            wanted.insert(joins::service_owner(name, service));
        }
        let tasks = cache.tasks_of(name).filter(|task| {
            let joins = joins::has(joins::of_task(cache, task), network);
            let facets = cache.facets(&task.id);
            let stage = facets.map(|facets| joins::stage(facets, task));
            joins && stage == Some(Stage::Wanted)
        });
        wanted.extend(tasks.map(|task| joins::task_owner(name, &task.id)));
    }
    wanted
}

/// Whether an owner is a task that is on its way out, and keeps its address until it is over. That it is of this network
/// its having one says.
fn is_leaving(cache: &Cache, owner: &Owner) -> bool {
    let Owner::Task { service, task } = owner else {
        return false;
    };
    joins::task(cache, task).is_some_and(|(facets, name, task)| {
        name == service && joins::stage(facets, task) == Stage::Leaving
    })
}

/// The networks in which an owner has an address.
pub(super) fn networks_with<'a>(
    cache: &'a Cache,
    owner: &Owner,
) -> impl Iterator<Item = Scoped> + use<'a> {
    let items = cache.allocations.of(owner);
    items.filter_map(|item| {
        let (uid, _) = item.address()?;
        cache.allocations.network(uid).cloned()
    })
}
