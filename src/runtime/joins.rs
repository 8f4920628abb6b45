//! Which networks services and tasks join, and where tasks are: what addresses and the state of nodes are made from. Pure.
//!
//! A service joins the networks that its template names, and so do tasks by the revision that they are made from: while a
//! change is under way the two may differ. Networks that are left out mean the namespace's own, [`DEFAULT`].
//!
//! All of this is asked only where overlays are realised.

use super::cache::{Cache, Facets, Stored};
use super::view::{self, NodeView};
use crate::api::accepted::{AcceptedNetwork, AcceptedService};
use crate::api::allocation::{Item, Owner, Vni};
use crate::api::name::{NodeName, Scoped};
use crate::api::service::{Attachment, EndpointMode};
use crate::api::status::Stranger;
use crate::api::subnet::{Cidr, Dual};
use crate::api::task::{Desired, Task, TaskState};
use crate::api::uid::{TaskId, Uid};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

/// The network of a namespace that services join which leave networks out. It is made when it is first needed, unless
/// somebody has written it.
pub const DEFAULT: &str = "default";

/// What a template joins.
pub fn attachments(named: Option<&Vec<Attachment>>) -> &[Attachment] {
    static LEFT_OUT: LazyLock<[Attachment; 1]> = LazyLock::new(|| {
        [Attachment {
            name: DEFAULT.into(),
            aliases: Vec::new(),
        }]
    });
    match named {
        Some(named) => named,
        None => &*LEFT_OUT,
    }
}

/// The networks of a service.
pub fn of_service(service: &AcceptedService) -> &[Attachment] {
    attachments(service.spec.template.networks.as_ref())
}

/// Whether a service leaves networks out.
pub fn leaves_out(service: &AcceptedService) -> bool {
    service.spec.template.networks.is_none()
}

/// The networks of a task; none until its revision is there.
pub fn of_task<'a>(cache: &'a Cache, task: &Task) -> &'a [Attachment] {
    let revision = cache.revisions.get(&(task.service.clone(), task.revision));
    match revision {
        Some(revision) => attachments(revision.value.template.networks.as_ref()),
        None => &[],
    }
}

/// The network that an attachment of a namespace's service names.
pub fn named(service: &Scoped, attachment: &Attachment) -> Scoped {
    Scoped::new(service.namespace.clone(), attachment.name.as_str())
}

/// Whether one of the attachments is to a network of this name.
pub fn has(attachments: &[Attachment], network: &Scoped) -> bool {
    let mut names = attachments
        .iter()
        .map(|attachment| attachment.name.as_str());
    names.any(|name| name == network.name.as_str())
}

/// Whether a service has a virtual address in a network of its namespace.
pub fn has_virtual(service: &AcceptedService, network: &Scoped) -> bool {
    service.spec.endpoint_mode == EndpointMode::Vip && has(of_service(service), network)
}

/// The accepted services of a namespace.
pub fn services<'a>(
    cache: &'a Cache,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a Scoped, &'a Stored<AcceptedService>)> {
    let first = Scoped::new(namespace, "");
    let services = cache.services.range(first..);
    services.take_while(move |(name, _)| name.namespace.as_str() == namespace)
}

/// How far a task is, as far as networks go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It will run, or runs.
    Wanted,
    /// It is on its way out; its container may still run.
    Leaving,
    /// Its container was seen stopped, or never will be.
    Over,
}

/// How far a task is. What it holds is free once it is over, not when something else is wanted of it (rule C6).
pub fn stage(facets: &Facets, task: &Task) -> Stage {
    let state = facets
        .status()
        .filter(|status| status.service == task.service);
    match state.map(|status| status.state) {
        Some(state) if TaskState::is_terminal(state) => Stage::Over,
        Some(_) | None if task.desired <= Desired::Running => Stage::Wanted,
        Some(_) | None => Stage::Leaving,
    }
}

/// Whether a task gets traffic: it serves, and is not on its way out.
pub fn gets_traffic(facets: &Facets, task: &Task) -> bool {
    let status = facets
        .status()
        .filter(|status| status.service == task.service);
    stage(facets, task) == Stage::Wanted && status.is_some_and(|status| status.is_serving())
}

/// Whether a task was seen at an address that it was given. One that was started before overlays were realised is not.
pub fn is_seen_at(facets: &Facets, address: Ipv4Addr) -> bool {
    let status = facets.status();
    status.is_some_and(|status| status.addresses.contains(&IpAddr::V4(address)))
}

/// Whether a task was seen at an address with the hardware address that follows from it.
pub fn stays_on_bridges(facets: &Facets, address: Ipv4Addr) -> bool {
    let status = facets.status();
    status.is_some_and(|status| status.bridged.contains(&address))
}

/// Whether a task was seen at any of the addresses that it was given.
pub fn is_inside(cache: &Cache, service: &Scoped, facets: &Facets, task: &TaskId) -> bool {
    let mut given = cache.allocations.of(&task_owner(service, task));
    given.any(|item| matches!(item, Item::Address(_, address) if is_seen_at(facets, *address)))
}

/// A task of which an allocation speaks, if its record is there.
pub fn task<'a>(
    cache: &'a Cache,
    id: &TaskId,
) -> Option<(&'a Facets, &'a Scoped, &'a Stored<Task>)> {
    let facets = cache.facets(id)?;
    let (service, task) = facets.task.as_ref()?;
    Some((facets, service, task))
}

/// The node that a task is bound to.
pub fn node(facets: &Facets) -> Option<&NodeName> {
    facets.binding.as_ref().map(|(node, _)| node)
}

/// The owner that a service is.
pub fn service_owner(name: &Scoped, service: &AcceptedService) -> Owner {
    Owner::Service {
        name: name.clone(),
        uid: service.uid.clone(),
    }
}

/// The owner that a task is.
pub fn task_owner(service: &Scoped, task: &TaskId) -> Owner {
    Owner::Task {
        service: service.clone(),
        task: task.clone(),
    }
}

/// The owner that a network is.
pub fn network_owner(name: &Scoped, uid: &Uid) -> Owner {
    Owner::Network {
        name: name.clone(),
        uid: uid.clone(),
    }
}

/// The owner that a node is.
pub fn node_owner(name: &NodeName, uid: &Uid) -> Owner {
    Owner::Node {
        name: name.clone(),
        uid: uid.clone(),
    }
}

/// The block that a node has of a network, for containers that are no tasks.
pub fn block(cache: &Cache, network: &Scoped, node: &Owner) -> Option<Cidr> {
    let record = cache.networks.get(network)?;
    let mut blocks = cache.allocations.of(node).filter_map(Item::block);
    let (_, block) = blocks.find(|(network, _)| **network == record.uid)?;
    Some(block)
}

/// The blocks that nodes have of the networks with these numbers.
pub fn blocks(cache: &Cache, numbers: &BTreeMap<Vni, &Scoped>) -> BTreeMap<(Vni, NodeName), Cidr> {
    let mut blocks = BTreeMap::new();
    for (vni, name) in numbers {
        let record = cache.networks.get(*name).into_iter();
        let given = record.flat_map(|record| cache.allocations.blocks(&record.uid));
        for (block, given) in given {
            if let Owner::Node { name, uid } = &given.owner
                && cache.nodes.get(name).is_some_and(|node| node.uid == *uid)
            {
                blocks.insert((*vni, name.clone()), block);
            }
        }
    }
    blocks
}

/// The containers of others that engines have in an attachable network, whatever address they have.
pub fn attached<'a>(
    cache: &'a Cache,
    network: &Scoped,
) -> impl Iterator<Item = (NodeView<'a>, &'a Stranger)> + use<'a> {
    let record = cache.networks.get(network);
    let record = record.filter(|record| record.spec.attachable);
    let owner = record.map(|record| network_owner(network, &record.uid));
    let vni = owner.and_then(|owner| cache.allocations.numbers_of(&owner).0);
    let nodes = cache.nodes.keys().filter(move |_| vni.is_some());
    let nodes = nodes.filter_map(|name| view::node(cache, name));
    nodes.flat_map(move |node| {
        let found = node.found.into_iter().flat_map(|found| &found.strangers);
        let here = found.filter(move |stranger| vni == Some(stranger.network));
        here.map(move |stranger| (node.clone(), stranger))
    })
}

/// The containers of others that are reached in an attachable network: those of a node that have an address of its block,
/// which its engine gives to nobody else. Any other address may be somebody else's elsewhere.
pub fn strangers<'a>(
    cache: &'a Cache,
    network: &'a Scoped,
) -> impl Iterator<Item = (NodeName, &'a Stranger)> {
    let record = cache.networks.get(network);
    let reached = attached(cache, network).filter(move |(node, stranger)| {
        let block = block(cache, network, &node_owner(&node.name, node.uid()));
        let is_nobodys = |record: &Stored<AcceptedNetwork>| {
            let item = Item::Address(record.uid.clone(), stranger.address);
            cache.allocations.get(&item).is_none()
        };
        block.is_some_and(|block| block.holds(stranger.address)) && record.is_some_and(is_nobodys)
    });
    reached.map(|(node, stranger)| (node.name, stranger))
}

/// The address of IPv6 of a container of others, where it is not the one that goes with its other address: one of its node's
/// part of the network, from which its engine gives them. Any other may be somebody else's elsewhere.
pub fn address6(
    cache: &Cache,
    network: &Scoped,
    node: &NodeName,
    stranger: &Stranger,
    dual: Dual,
) -> Option<Ipv6Addr> {
    let address = stranger.address6?;
    let owner = node_owner(node, &cache.nodes.get(node)?.uid);
    let part = dual.part(block(cache, network, &owner)?)?;
    let is_other = dual.version6(stranger.address) != Some(address);
    (is_other && part.holds(address)).then_some(address)
}

/// The accepted networks that have a number on the wire, by it.
pub fn by_number(cache: &Cache) -> BTreeMap<Vni, &Scoped> {
    let numbered = cache.networks.iter().filter_map(|(name, record)| {
        let (vni, _) = cache
            .allocations
            .numbers_of(&network_owner(name, &record.uid));
        Some((vni?, name))
    });
    numbered.collect()
}
