//! What `get` shows of each kind in a row. Pure.

use super::object;
use super::print::{self, age, or_none, short};
use super::tasks::{self, Named};
use crate::api::allocation::Owner;
use crate::api::cluster::Event;
use crate::api::name::{Kind, NodeName, ObjectKey};
use crate::api::port_range::{Shown, before_port, compact};
use crate::api::published::PublishedKey;
use crate::api::service::{Mode, PortMode, ServicePort, ServiceSpec};
use crate::api::status::{ReplicaCounts, Truth, UpdateState};
use crate::api::time::Timestamp;
use crate::api::unit::Port;
use crate::runtime::cache::Cache;
use crate::runtime::published;
use crate::runtime::view;
use serde::Deserialize;

/// How much is shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    /// More columns.
    pub(super) wide: bool,
    /// The namespace first.
    pub(super) namespaces: bool,
}

/// The columns of a kind of objects.
pub(super) fn header(kind: Kind, shape: Shape) -> Vec<&'static str> {
    let (narrow, wide): (&[&str], &[&str]) = match kind {
        Kind::Service => (
            &["NAME", "MODE", "READY", "STATUS", "IMAGE", "AGE"],
            &["UPDATED", "PORTS", "MESSAGE"],
        ),
        Kind::Node => (
            &["NAME", "STATUS", "AVAILABILITY", "TASKS", "ENGINE", "AGE"],
            &[
                "ROLE", "URL", "PLATFORM", "CPUS", "MEMORY", "LABELS", "MESSAGE",
            ],
        ),
        Kind::Network => (
            &["NAME", "DRIVER", "SUBNET", "STATUS", "AGE"],
            &["VNI", "GATEWAY", "FREE", "IPV6 SUBNET", "MESSAGE"],
        ),
    };
    with_namespace(kind.is_namespaced(), narrow, wide, shape)
}

/// The columns of tasks.
pub(super) fn task_header(shape: Shape) -> Vec<&'static str> {
    let narrow = ["NAME", "ID", "NODE", "DESIRED", "STATE", "AGE"];
    let wide = ["CONTAINER", "PORTS", "ADDRESSES", "MESSAGE"];
    with_namespace(true, &narrow, &wide, shape)
}

/// The columns of a kind, as many as are asked for.
pub(super) fn with_namespace(
    is_namespaced: bool,
    narrow: &[&'static str],
    wide: &[&'static str],
    shape: Shape,
) -> Vec<&'static str> {
    let mut header = Vec::new();
    if shape.namespaces && is_namespaced {
        header.push("NAMESPACE");
    }
    header.extend(narrow);
    if shape.wide {
        header.extend(wide);
    }
    header
}

/// One object.
pub(super) fn row(cache: &Cache, key: &ObjectKey, now: Timestamp, shape: Shape) -> Vec<String> {
    let (narrow, wide) = match key.kind {
        Kind::Service => service(cache, key, now),
        Kind::Node => node(cache, key, now),
        Kind::Network => network(cache, key, now),
    };
    let namespace = (shape.namespaces && key.kind.is_namespaced()).then(|| key.namespace.clone());
    let wide = if shape.wide { wide } else { Vec::new() };
    namespace.into_iter().chain(narrow).chain(wide).collect()
}

type Cells = (Vec<String>, Vec<String>);

fn service(cache: &Cache, key: &ObjectKey, now: Timestamp) -> Cells {
    let spec: Option<ServiceSpec> = spec(cache, key);
    let counts = counts(cache, key).unwrap_or_default();
    let (status, message) = standing(cache, key);
    let text = |of: &dyn Fn(&ServiceSpec) -> String| spec.as_ref().map(of).unwrap_or_default();
    (
        vec![
            key.name.clone(),
            or_none(text(&|spec| mode(spec.mode).into())),
            format!("{}/{}", counts.ready, counts.wanted),
            status,
            or_none(text(&|spec| spec.template.container.image.clone())),
            created(cache, key, now),
        ],
        vec![
            counts.updated.to_string(),
            or_none(ports(cache, key, spec.as_ref())),
            message,
        ],
    )
}

fn node(cache: &Cache, key: &ObjectKey, now: Timestamp) -> Cells {
    let Some(node) = view::node(cache, &NodeName::from(key.name.clone())) else {
        let (status, message) = standing(cache, key);
        let none = || "<none>".to_owned();
        let narrow = vec![key.name.clone(), status, none(), "0".into(), none(), none()];
        let mut wide = vec![none(); 6];
        wide.push(message);
        return (narrow, wide);
    };
    let live = tasks::all(cache, None)
        .iter()
        .filter(|task| task.view.node == Some(&node.name) && task.view.is_live())
        .count();
    let spec = &node.accepted.spec;
    let engine = node.engine.cloned().unwrap_or_default();
    let status = match node.accepted.deleted_at {
        Some(_) => "deleting".into(),
        None => node.state.as_str().to_owned(),
    };
    let platform = [engine.os, engine.arch].into_iter().flatten();
    let labels = &node.accepted.metadata.labels;
    (
        vec![
            key.name.clone(),
            status,
            spec.availability.as_str().into(),
            live.to_string(),
            or_none(engine.version.unwrap_or_default()),
            created(cache, key, now),
        ],
        vec![
            spec.role.as_str().into(),
            spec.engine.url.clone(),
            or_none(platform.collect::<Vec<_>>().join("/")),
            engine.cpus.to_string(),
            print::size(engine.memory),
            or_none(pairs(labels)),
            node.reason.clone(),
        ],
    )
}

fn network(cache: &Cache, key: &ObjectKey, now: Timestamp) -> Cells {
    let spec: Option<crate::api::network::NetworkSpec> = spec(cache, key);
    let (status, message) = standing(cache, key);
    let driver = spec.as_ref().map(|spec| spec.driver.clone());
    let numbers = Numbers::of(cache, key);
    (
        vec![
            key.name.clone(),
            or_none(driver.unwrap_or_default()),
            numbers.subnet,
            status,
            created(cache, key, now),
        ],
        vec![
            numbers.vni,
            numbers.gateway,
            numbers.free,
            numbers.subnet6,
            message,
        ],
    )
}

/// What a network was given, as text.
pub(super) struct Numbers {
    pub(super) vni: String,
    pub(super) subnet: String,
    pub(super) subnet6: String,
    pub(super) gateway: String,
    /// Addresses that are left for tasks and services.
    pub(super) free: String,
}

impl Numbers {
    /// What the network has, `<none>` for what it has not.
    pub(super) fn of(cache: &Cache, key: &ObjectKey) -> Self {
        let uid = object::record(cache, key).map(|record| record.head.uid);
        let owner = uid.clone().map(|uid| Owner::Network {
            name: key.scoped(),
            uid,
        });
        let subnet6 = owner
            .as_ref()
            .and_then(|owner| cache.allocations.subnet6_of(owner));
        let has = owner.map(|owner| cache.allocations.numbers_of(&owner));
        let (vni, subnet) = has.unwrap_or_default();
        let free = uid
            .zip(subnet)
            .map(|(uid, subnet)| cache.allocations.free_addresses(&uid, subnet));
        let text = |value: Option<String>| or_none(value.unwrap_or_default());
        Self {
            vni: text(vni.map(|vni| vni.0.to_string())),
            subnet: text(subnet.map(|subnet| subnet.to_string())),
            subnet6: text(subnet6.map(|subnet| subnet.to_string())),
            gateway: text(subnet.map(|subnet| subnet.gateway().to_string())),
            free: text(free.map(|free| free.to_string())),
        }
    }
}

/// One task.
pub(super) fn task_row(task: &Named<'_>, now: Timestamp, shape: Shape) -> Vec<String> {
    let record = task.view.task;
    let status = task.view.status;
    let mut row = Vec::new();
    if shape.namespaces {
        row.push(task.service.namespace.to_string());
    }
    row.extend([
        task.name(),
        short(record.id.as_str()).to_owned(),
        or_none(task.view.node.map(ToString::to_string).unwrap_or_default()),
        desired(record.desired).into(),
        task.state(),
        age(now, record.created_at),
    ]);
    if shape.wide {
        let container = status.and_then(|status| status.container.as_ref());
        let ports = status.map(|status| tasks::ports(&status.ports).join(","));
        let addresses = status.map(|s| list(s.addresses.iter().map(ToString::to_string)));
        row.extend([
            or_none(
                container
                    .map(|id| short(id.as_str()).to_owned())
                    .unwrap_or_default(),
            ),
            or_none(ports.unwrap_or_default()),
            or_none(addresses.unwrap_or_default()),
            task.message(),
        ]);
    }
    row
}

/// The columns of events.
pub(super) fn event_header(shape: Shape) -> Vec<&'static str> {
    let narrow = ["LAST", "TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE"];
    let wide = ["FIRST", "CONTROLLER"];
    match shape.wide {
        true => narrow.into_iter().chain(wide).collect(),
        false => narrow.into(),
    }
}

/// One event.
pub(super) fn event_row(event: &Event, now: Timestamp, shape: Shape) -> Vec<String> {
    let mut row = vec![
        age(now, event.last),
        format!("{:?}", event.severity),
        event.reason.clone(),
        event.object.clone(),
        event.count.to_string(),
        event.message.clone(),
    ];
    if shape.wide {
        row.extend([age(now, event.first), event.controller.clone()]);
    }
    row
}

/// How an object stands, in a word, and why.
pub(super) fn standing(cache: &Cache, key: &ObjectKey) -> (String, String) {
    let record = object::record(cache, key);
    let deleted = record
        .as_ref()
        .is_some_and(|record| record.head.deleted_at.is_some());
    if deleted || !cache.users.contains_key(key) {
        return ("deleting".into(), String::new());
    }
    let accepted = object::condition(cache, key, "Accepted");
    if let Some(condition) = accepted.filter(|condition| condition.status == Truth::False) {
        return ("not accepted".into(), condition.message.clone());
    }
    if record.is_none() {
        return ("new".into(), "no manager has looked at it yet".into());
    }
    match key.kind {
        Kind::Service => service_standing(cache, key),
        Kind::Network => network_standing(cache, key),
        Kind::Node => ("accepted".into(), String::new()),
    }
}

fn network_standing(cache: &Cache, key: &ObjectKey) -> (String, String) {
    match object::condition(cache, key, "Allocated") {
        Some(condition) if condition.status == Truth::False => {
            ("not allocated".into(), condition.message.clone())
        }
        Some(_) | None => ("accepted".into(), String::new()),
    }
}

fn service_standing(cache: &Cache, key: &ObjectKey) -> (String, String) {
    let statuses = object::statuses(cache, key);
    let waiting = statuses
        .iter()
        .flat_map(|(_, status)| &status.waiting)
        .next();
    let update = statuses
        .iter()
        .find_map(|(_, status)| status.update.as_ref());
    let counts = counts(cache, key).unwrap_or_default();
    if let Some(update) = update.filter(|update| update.state == UpdateState::Paused) {
        return ("paused".into(), update.message.clone().unwrap_or_default());
    }
    if let Some(waiting) = waiting {
        return ("waiting".into(), waiting.message.clone());
    }
    if update.is_some_and(|update| update.state == UpdateState::Updating) {
        return ("updating".into(), String::new());
    }
    match counts.ready >= counts.wanted && is_current(cache, key) {
        true => ("ready".into(), String::new()),
        false => ("starting".into(), String::new()),
    }
}

/// Whether the service's counts speak of the generation in force.
pub(super) fn is_current(cache: &Cache, key: &ObjectKey) -> bool {
    let generation = object::record(cache, key).map(|record| record.head.generation);
    object::statuses(cache, key)
        .iter()
        .any(|(_, status)| status.replicas.is_some() && status.observed_generation == generation)
}

/// The counts of a service.
pub(super) fn counts(cache: &Cache, key: &ObjectKey) -> Option<ReplicaCounts> {
    object::statuses(cache, key)
        .into_iter()
        .find_map(|(_, status)| status.replicas.clone())
}

/// The spec: the user's if it can be read, else the one in force.
pub(super) fn spec<S: for<'de> Deserialize<'de>>(cache: &Cache, key: &ObjectKey) -> Option<S> {
    let json = object::meaning(cache, key)
        .map(|meaning| meaning.spec_json())
        .or_else(|| object::record(cache, key).map(|record| record.spec))?;
    serde_json::from_value(json).ok()
}

/// The word of a mode.
pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Replicated => "replicated",
        Mode::Global => "global",
        Mode::ReplicatedJob => "replicated-job",
        Mode::GlobalJob => "global-job",
    }
}

/// The word of a desired state.
pub(super) fn desired(desired: crate::api::task::Desired) -> &'static str {
    use crate::api::task::Desired;
    match desired {
        Desired::Ready => "ready",
        Desired::Running => "running",
        Desired::Shutdown => "shutdown",
        Desired::Remove => "remove",
    }
}

/// The ports of a service, those that were left out with the numbers that they were given.
pub(super) fn ports(cache: &Cache, key: &ObjectKey, spec: Option<&ServiceSpec>) -> String {
    let given = cache.services.get(&key.scoped());
    let given = given.map(|service| published::given(&cache.allocations, &key.scoped(), service));
    let given = given.unwrap_or_default();
    let number = |wanted: &ServicePort| {
        let mut same = given.iter().filter(|(port, _)| *port == wanted);
        same.find_map(|(_, key)| key.map(|key| key.port))
    };
    let ports = spec.into_iter().flat_map(|spec| &spec.ports);
    let shown = ports.map(|wanted| port(wanted, wanted.published.or_else(|| number(wanted))));
    compact(shown).join(",")
}

/// Ports of mode ingress with the numbers that they were given.
pub(super) fn published(given: &[(&ServicePort, Option<PublishedKey>)]) -> String {
    let ports = given.iter();
    let shown = ports.map(|(wanted, key)| port(wanted, key.map(|key| key.port)));
    compact(shown).join(",")
}

/// `8080->80/tcp`, with `(host)` for ports of the task's node, and the address where it is one only.
fn port(port: &ServicePort, published: Option<Port>) -> Shown {
    let mode = match port.mode {
        PortMode::Host => " (host)",
        PortMode::Ingress => "",
    };
    Shown {
        before: before_port(port.host_ip),
        published,
        target: Some(port.target),
        behind: format!("/{}{mode}", port.protocol.as_str()),
    }
}

/// `a=b,c=d`.
pub(super) fn pairs(labels: &std::collections::BTreeMap<String, String>) -> String {
    list(labels.iter().map(|(name, value)| format!("{name}={value}")))
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

fn created(cache: &Cache, key: &ObjectKey, now: Timestamp) -> String {
    object::record(cache, key).map_or("<none>".into(), |record| age(now, record.head.created_at))
}
