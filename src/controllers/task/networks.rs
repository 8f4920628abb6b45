//! Which overlays a task joins, by what names and addresses, and what it still waits for. Pure.
//!
//! A task that is to stop is stopped once no node sends anybody to it any more ([`Callers`]).
//!
//! The gates of rule C8: a container is made once its addresses are given out, the node's agent has programmed them and
//! the engine has their networks, and it is started under the same condition. What it waits for is said in its status once it
//! has waited for longer than programming takes.

use super::agent::acknowledged::Acknowledged;
use super::agent::plane::Plane;
use crate::api::name::Scoped;
use crate::api::service::Attachment;
use crate::api::task::{Desired, Task, network_name};
use crate::dataplane::address::Mac;
use crate::runtime::allocations::Numbers;
use crate::runtime::cache::{Cache, Stored};
use crate::runtime::{joins, view};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What a task's networks mean for its container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Networks {
    /// Those of the engine itself: overlays are switched off, or it names none.
    #[default]
    Engines,
    /// It may not be made or started yet, and why.
    Wait(String),
    /// These, the first at its creation.
    Overlays(Vec<Endpoint>),
}

/// A place in an overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The engine's name for the network.
    pub network: String,
    /// The address.
    pub address: Ipv4Addr,
    /// That of IPv6, where the network carries it.
    pub address6: Option<Ipv6Addr>,
    /// Where the node's agent answers for names.
    pub gateway: Ipv4Addr,
}

/// Who may still send callers to a task that is to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Callers {
    /// Nobody: it is on no overlay, or all nodes have acknowledged that it gets none.
    #[default]
    None,
    /// Nodes whose agents this manager speaks to, and which have not acknowledged it yet.
    Told,
    /// Nodes whose agents others speak to, or nobody does: what they have programmed is not known here.
    Unknown,
}

impl Callers {
    /// Those of a task, by what agents have acknowledged.
    pub fn of(
        cache: &Cache,
        service: &Scoped,
        task: &Stored<Task>,
        acknowledged: &Acknowledged,
    ) -> Self {
        let Some(facets) = cache.facets(&task.id) else {
            return Self::None;
        };
        let is_to_stop = task.desired > Desired::Running;
        if !is_to_stop || !joins::is_inside(cache, service, facets, &task.id) {
            return Self::None;
        }
        // The record says that it is to stop: in views from then on it gets nobody.
        match acknowledged.least() {
            Some(least) if least < task.mod_revision => Self::Told,
            _ if has_others(cache, acknowledged) => Self::Unknown,
            _ => Self::None,
        }
    }
}

/// Whether the agent of a node programs something, and is not spoken to from here.
fn has_others(cache: &Cache, acknowledged: &Acknowledged) -> bool {
    let mut others = cache.nodes.keys().filter(|node| !acknowledged.has(node));
    others.any(|node| view::is_programmed(cache, node))
}

impl Endpoint {
    /// Its configuration in the engine's words. No aliases: names are not the engine's business, which answers for them
    /// before anybody else, and only of its own containers. Before API 1.44 the hardware address is ignored, and given by the
    /// same rule. Engine 28 would give any, and does for the networks that a container joins after it was made: there the
    /// task's frames pass the routers.
    pub fn config(&self) -> Value {
        let mut config = json!({
            "IPAMConfig": {"IPv4Address": self.address.to_string()},
            "MacAddress": Mac::of_container(self.address).to_string(),
        });
        if let Some(address) = self.address6 {
            config["IPAMConfig"]["IPv6Address"] = json!(address.to_string());
        }
        config
    }
}

impl Networks {
    /// What a task needs, by what is given out and what is known of its node's data plane.
    pub fn of(cache: &Cache, service: &Scoped, task: &Task, plane: &Plane) -> Self {
        let attachments = joins::of_task(cache, task);
        let endpoints = attachments
            .iter()
            .map(|attachment| endpoint(cache, service, task, attachment, plane));
        match endpoints.collect::<Result<Vec<_>, String>>() {
            Ok(endpoints) if endpoints.is_empty() => Self::Engines,
            Ok(endpoints) => Self::Overlays(endpoints),
            Err(why) => Self::Wait(why),
        }
    }

    /// The overlays.
    pub fn endpoints(&self) -> &[Endpoint] {
        match self {
            Self::Overlays(endpoints) => endpoints,
            Self::Engines | Self::Wait(_) => &[],
        }
    }
}

fn endpoint(
    cache: &Cache,
    service: &Scoped,
    task: &Task,
    attachment: &Attachment,
    plane: &Plane,
) -> Result<Endpoint, String> {
    let name = joins::named(service, attachment);
    let record = cache.networks.get(&name);
    let record = record.ok_or_else(|| format!("there is no network {name}"))?;
    let owner = joins::network_owner(&name, &record.uid);
    let numbers = cache.allocations.all_of(&owner, &record.spec);
    let Numbers { vni, subnet, .. } =
        numbers.ok_or_else(|| format!("network {name} has no number yet"))?;
    let mut given = cache.allocations.of(&joins::task_owner(service, &task.id));
    let address = given.find_map(|item| {
        let (network, address) = item.address()?;
        (*network == record.uid).then_some(address)
    });
    let address = address.ok_or_else(|| format!("it has no address in network {name} yet"))?;
    plane.lacks(vni, &name, address)?;
    Ok(Endpoint {
        network: network_name(&name),
        address,
        address6: plane.address6(vni, address),
        gateway: subnet.gateway(),
    })
}
