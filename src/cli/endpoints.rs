//! `skep get endpoints`: where each service is reached: its virtual addresses, its published ports, and the addresses of its
//! tasks, with those that get no traffic and why. Pure.

use super::print::{self, or_none, short};
use super::table::{self, Shape};
use crate::api::accepted::AcceptedService;
use crate::api::allocation::Owner;
use crate::api::name::{NodeName, ObjectKey, Scoped};
use crate::api::published::PublishedKey;
use crate::api::service::ServicePort;
use crate::api::subnet::Dual;
use crate::api::task::{Health, HostPort, Task};
use crate::api::time::Timestamp;
use crate::runtime::cache::{Cache, Facets, Stored};
use crate::runtime::{joins, published, view};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many addresses a narrow table shows of a service, as kubectl does.
const SHOWN: usize = 3;

/// A service with everything that leads to it.
pub(super) struct Endpoints<'a> {
    name: &'a Scoped,
    service: &'a Stored<AcceptedService>,
    virtuals: Vec<Place>,
    ports: Vec<(&'a ServicePort, Option<PublishedKey>)>,
    tasks: Vec<Endpoint<'a>>,
}

/// An address in a network.
struct Place {
    network: String,
    address: Ipv4Addr,
    /// That of IPv6, where the network carries it.
    address6: Option<Ipv6Addr>,
}

/// A task, with where it is reached.
struct Endpoint<'a> {
    task: &'a Stored<Task>,
    node: Option<&'a NodeName>,
    places: Vec<Place>,
    /// Ports that are open on its node, with the address at which others reach that.
    hosts: Vec<(Option<IpAddr>, &'a HostPort)>,
    /// Why nobody is sent to it; none: it gets traffic.
    idle: Option<String>,
}

/// The columns.
pub(super) fn header(shape: Shape) -> Vec<&'static str> {
    let narrow = ["NAME", "VIRTUAL ADDRESS", "ENDPOINTS", "AGE"];
    table::with_namespace(true, &narrow, &["PUBLISHED", "WITHOUT TRAFFIC"], shape)
}

impl<'a> Endpoints<'a> {
    /// What leads to an accepted service.
    pub(super) fn of(
        cache: &'a Cache,
        name: &'a Scoped,
        service: &'a Stored<AcceptedService>,
    ) -> Self {
        let mut tasks: Vec<Endpoint<'a>> = cache
            .tasks_of(name)
            .filter(|task| task.service == service.uid)
            .filter_map(|task| Endpoint::of(cache, name, task))
            .collect();
        tasks.sort_by(|one, other| {
            let key =
                |endpoint: &Endpoint<'a>| (endpoint.task.slot.clone(), endpoint.task.id.clone());
            key(one).cmp(&key(other))
        });
        Self {
            name,
            service,
            virtuals: places(cache, &joins::service_owner(name, service)),
            ports: published::given(&cache.allocations, name, service),
            tasks,
        }
    }

    /// The row of a table.
    pub(super) fn row(&self, now: Timestamp, shape: Shape) -> Vec<String> {
        let mut row = Vec::new();
        if shape.namespaces {
            row.push(self.name.namespace.to_string());
        }
        let virtuals = self.virtuals.iter().flat_map(Place::texts);
        let serving = self.tasks.iter().filter(|task| task.idle.is_none());
        let reached: Vec<String> = serving
            .flat_map(|task| task.reached(&self.service.spec.ports))
            .collect();
        row.extend([
            self.name.name.to_string(),
            or_none(virtuals.collect::<Vec<_>>().join(",")),
            or_none(some_of(&reached, shape.wide)),
            print::age(now, self.service.created_at),
        ]);
        if shape.wide {
            let idle = self.tasks.iter().filter_map(Endpoint::apart);
            row.extend([
                or_none(table::published(&self.ports)),
                or_none(idle.collect::<Vec<_>>().join(", ")),
            ]);
        }
        row
    }

    /// The whole as an object.
    pub(super) fn value(&self) -> Value {
        let ports =
            self.service.spec.ports.iter().map(
                |port| json!({"name": port.name, "port": port.target, "protocol": port.protocol}),
            );
        let published = self.ports.iter().filter_map(|(port, given)| {
            let key = (*given)?;
            Some(json!({
                "protocol": key.protocol, "published": key.port, "hostIP": key.address, "target": port.target,
            }))
        });
        json!({
            "apiVersion": "skep.dev/v1",
            "kind": "Endpoints",
            "metadata": {"name": self.name.name, "namespace": self.name.namespace},
            "virtualAddresses": self.virtuals.iter().map(Place::value).collect::<Vec<_>>(),
            "ports": ports.collect::<Vec<_>>(),
            "published": published.collect::<Vec<_>>(),
            "endpoints": self.tasks.iter().map(Endpoint::value).collect::<Vec<_>>(),
        })
    }

    /// What it is called in lists of names.
    pub(super) fn called(&self) -> String {
        format!("endpoints/{}", self.name)
    }

    /// The object whose labels it has.
    pub(super) fn object(&self) -> ObjectKey {
        ObjectKey::service(self.name)
    }
}

impl<'a> Endpoint<'a> {
    /// Of a task that is not over.
    fn of(cache: &'a Cache, service: &Scoped, task: &'a Stored<Task>) -> Option<Self> {
        let facets = cache.facets(&task.id)?;
        if joins::stage(facets, task) == joins::Stage::Over {
            return None;
        }
        let node = joins::node(facets);
        let at = node.and_then(|node| view::node(cache, node)?.address());
        let open = facets.status().map_or(&[][..], |status| &status.ports);
        let places = places(cache, &joins::task_owner(service, &task.id));
        Some(Self {
            task,
            node,
            idle: idle(cache, facets, task, &places),
            places,
            hosts: open
                .iter()
                .map(|port| (port.host_ip.or(at), port))
                .collect(),
        })
    }

    /// Where it is reached, as people type it.
    fn reached(&self, ports: &[ServicePort]) -> Vec<String> {
        let inside = self.places.iter().flat_map(|place| {
            let mut targets: Vec<_> = ports.iter().map(|port| port.target).collect();
            targets.sort_unstable();
            targets.dedup();
            let with_port = targets
                .iter()
                .map(|port| format!("{}:{port}", place.address));
            let mut all: Vec<String> = with_port.collect();
            if all.is_empty() {
                all.push(place.address.to_string());
            }
            all
        });
        let outside = self.hosts.iter().map(|(at, port)| match at {
            Some(IpAddr::V6(at)) => format!("[{at}]:{}", port.published),
            Some(IpAddr::V4(at)) => format!("{at}:{}", port.published),
            None => format!("*:{}", port.published),
        });
        inside.chain(outside).collect()
    }

    /// `2 <id>: unhealthy`, if nobody is sent to it.
    fn apart(&self) -> Option<String> {
        let why = self.idle.as_ref()?;
        Some(format!("{}: {why}", self.slot()))
    }

    fn slot(&self) -> String {
        format!("{} {}", self.task.slot, short(self.task.id.as_str()))
    }

    fn value(&self) -> Value {
        let hosts = self.hosts.iter().map(|(at, port)| {
            json!({"address": at, "published": port.published, "protocol": port.protocol, "target": port.target})
        });
        json!({
            "task": self.task.id,
            "slot": self.task.slot,
            "node": self.node,
            "addresses": self.places.iter().map(Place::value).collect::<Vec<_>>(),
            "hostPorts": hosts.collect::<Vec<_>>(),
            "serving": self.idle.is_none(),
            "reason": self.idle,
        })
    }
}

impl Place {
    fn value(&self) -> Value {
        let mut value = json!({"network": self.network, "address": self.address});
        if let Some(address) = self.address6 {
            value["address6"] = json!(address);
        }
        value
    }

    fn texts(&self) -> Vec<String> {
        let address6 = self.address6.map(|address| address.to_string());
        [self.address.to_string()]
            .into_iter()
            .chain(address6)
            .collect()
    }
}

/// What an owner has been given, by network.
fn places(cache: &Cache, owner: &Owner) -> Vec<Place> {
    let items = cache.allocations.of(owner).filter_map(|item| {
        let (uid, address) = item.address()?;
        let network = cache.allocations.network(uid)?;
        let its = joins::network_owner(network, uid);
        let (_, subnet) = cache.allocations.numbers_of(&its);
        let subnets = subnet.zip(cache.allocations.subnet6_of(&its));
        let dual = subnets.map(|(subnet, subnet6)| Dual { subnet, subnet6 });
        Some(Place {
            network: network.name.to_string(),
            address,
            address6: dual.and_then(|dual| dual.version6(address)),
        })
    });
    items.collect()
}

/// Why nobody is sent to a task; none: it gets traffic.
fn idle(cache: &Cache, facets: &Facets, task: &Stored<Task>, places: &[Place]) -> Option<String> {
    if joins::stage(facets, task) == joins::Stage::Leaving {
        return Some("on its way out".into());
    }
    if joins::gets_traffic(facets, task) {
        let is_there = |place: &Place| joins::is_seen_at(facets, place.address);
        let is_elsewhere = !places.is_empty() && !places.iter().any(is_there);
        return is_elsewhere.then(|| "started outside of its networks".into());
    }
    let health = facets.status().and_then(|status| status.health);
    Some(match health {
        Some(Health::Unhealthy) => "unhealthy".into(),
        Some(Health::Starting) => "health: starting".into(),
        Some(_) | None => view::task(cache, task).state.as_str().into(),
    })
}

/// The first of them, or all.
fn some_of(all: &[String], is_wide: bool) -> String {
    let shown = match is_wide {
        true => all.len(),
        false => all.len().min(SHOWN),
    };
    let mut text = all[..shown].join(",");
    if shown < all.len() {
        text.push_str(&format!(" + {} more", all.len() - shown));
    }
    text
}
