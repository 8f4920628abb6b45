//! `skep describe`: all that is known of one object: conditions, tasks by slot with their history, why tasks wait, events.

use super::error::Error;
use super::events;
use super::kinds::{self, Resource};
use super::object;
use super::print::{self, age, indent, or_none};
use super::session::Session;
use super::table::{self, Shape};
use super::tasks::{self, Named};
use super::why;
use crate::api::cluster::Event;
use crate::api::name::{DEFAULT_NAMESPACE, Kind, NodeName, ObjectKey, Scoped};
use crate::api::port_range::compact;
use crate::api::service::ServiceSpec;
use crate::api::time::Timestamp;
use crate::runtime::cache::Cache;
use crate::runtime::{joins, view};

/// Arguments of `skep describe`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// KIND NAME... or KIND/NAME...
    #[arg(required = true, value_name = "KIND NAME")]
    pub targets: Vec<String>,
    /// The namespace
    #[arg(short, long, default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
}

pub(super) async fn run(session: &Session, args: Args) -> Result<(), Error> {
    let cache = session.snapshot().await?;
    let (events, _) = events::all(session).await?;
    let now = session.now();
    let mut texts = Vec::new();
    for target in kinds::targets(&args.targets)? {
        match target.resource {
            Resource::Object(kind) => {
                let names: Vec<String> = match target.names.is_empty() {
                    true => every(&cache, kind, &args.namespace),
                    false => target.names,
                };
                for name in names {
                    let key = kinds::object(kind, &args.namespace, &name);
                    texts.push(describe(&cache, &key, &events, now)?);
                }
            }
            Resource::Task => {
                for name in target.names {
                    let found = tasks::named(&cache, Some(&args.namespace), &name)?;
                    texts.extend(found.iter().map(|t| task(&cache, t, &events, now)));
                }
            }
            Resource::Revision => {
                for name in target.names {
                    texts.extend(revisions(&cache, &args.namespace, &name, now)?);
                }
            }
            Resource::Endpoints => {
                return Err(Error::Usage(
                    "`skep get endpoints -o yaml` shows all there is of these".into(),
                ));
            }
            Resource::Event => {
                return Err(Error::Usage(
                    "`skep events` shows all there is of these".into(),
                ));
            }
        }
    }
    session.terminal.line(&texts.join("\n\n"))
}

fn every(cache: &Cache, kind: Kind, namespace: &str) -> Vec<String> {
    object::keys(cache, kind)
        .into_iter()
        .filter(|key| !kind.is_namespaced() || key.namespace == namespace)
        .map(|key| key.name)
        .collect()
}

/// One object in full.
pub(super) fn describe(
    cache: &Cache,
    key: &ObjectKey,
    events: &[Event],
    now: Timestamp,
) -> Result<String, Error> {
    let is_there = cache.users.contains_key(key) || object::record(cache, key).is_some();
    if !is_there {
        return Err(Error::refused(format!("there is no {}", kinds::title(key))));
    }
    let mut parts = vec![head(cache, key, now)];
    match key.kind {
        Kind::Service => parts.extend(service(cache, key, now)),
        Kind::Node => parts.extend(node(cache, key, now)),
        Kind::Network => parts.push(network(cache, key)),
    }
    parts.push(conditions(cache, key, now));
    parts.push(happened(events, &key.to_string(), now));
    parts.retain(|part| !part.is_empty());
    Ok(parts.join("\n"))
}

fn head(cache: &Cache, key: &ObjectKey, now: Timestamp) -> String {
    let (status, message) = table::standing(cache, key);
    let annotated = object::annotated(cache, key);
    let mut fields = vec![("Name", key.name.clone())];
    if key.kind.is_namespaced() {
        fields.push(("Namespace", key.namespace.clone()));
    }
    fields.push(("Labels", or_none(table::pairs(&annotated.labels))));
    if !annotated.annotations.is_empty() {
        fields.push(("Annotations", table::pairs(&annotated.annotations)));
    }
    fields.push(("Status", tasks::join(&status, &message)));
    if let Some(record) = object::record(cache, key) {
        fields.push(("UID", record.head.uid.to_string()));
        fields.push(("Generation", record.head.generation.to_string()));
        let created = record.head.created_at;
        fields.push(("Created", format!("{created} ({} ago)", age(now, created))));
    }
    list(&fields)
}

/// The longest name and its colon, so that all lists of a screen stand below each other.
const NAMES: usize = "Engine labels:".len();

/// `Name:   value`, the values below each other.
fn list(fields: &[(&str, String)]) -> String {
    let line = |(name, value): &(&str, String)| {
        let value = print::one_line(value);
        format!("{:NAMES$} {value}", format!("{name}:"))
    };
    fields.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn section(title: &str, body: &str) -> String {
    match body.is_empty() {
        true => String::new(),
        false => format!("{title}:\n{}", indent(body, 2)),
    }
}

fn service(cache: &Cache, key: &ObjectKey, now: Timestamp) -> Vec<String> {
    let mut fields = Vec::new();
    if let Some(spec) = table::spec::<ServiceSpec>(cache, key) {
        fields.push(("Mode", table::mode(spec.mode).to_owned()));
        fields.push(("Image", spec.template.container.image.clone()));
        if !spec.ports.is_empty() {
            fields.push(("Ports", table::ports(cache, key, Some(&spec))));
        }
        if let Some(port) = spec.health_port {
            fields.push(("Health port", port.to_string()));
        }
    }
    if let Some(counts) = table::counts(cache, key) {
        fields.push((
            "Replicas",
            format!(
                "{} wanted, {} running, {} ready, {} up to date, {} pending",
                counts.wanted, counts.running, counts.ready, counts.updated, counts.pending
            ),
        ));
    }
    let removed: u64 = object::statuses(cache, key)
        .iter()
        .map(|(_, status)| status.tasks_removed)
        .sum();
    if removed > 0 {
        let removed = print::count(usize::try_from(removed).unwrap_or(usize::MAX), "ended task");
        fields.push(("History", format!("{removed} beyond its bounds removed")));
    }
    let update = object::statuses(cache, key)
        .into_iter()
        .find_map(|(_, status)| status.update.clone());
    if let Some(update) = update {
        let message = update
            .message
            .map(|text| format!(": {text}"))
            .unwrap_or_default();
        let state = format!("{:?}", update.state).to_lowercase();
        fields.push((
            "Change",
            format!("revision {} {state}{message}", update.revision),
        ));
    }
    let spec = object::meaning(cache, key)
        .map(|meaning| print::yaml(&meaning.spec_json()))
        .unwrap_or_default();
    vec![
        list(&fields),
        section("Spec", &spec),
        section("Tasks", &slots(cache, key, now)),
        section("Waiting", &why::waiting(cache, key, "")),
    ]
}

fn slots(cache: &Cache, key: &ObjectKey, now: Timestamp) -> String {
    let shape = Shape {
        wide: true,
        namespaces: false,
    };
    let rows: Vec<Vec<String>> = tasks::all(cache, Some(&key.namespace))
        .iter()
        .filter(|task| task.service.name == key.name)
        .map(|task| table::task_row(task, now, shape))
        .collect();
    print::table(&table::task_header(shape), &rows)
}

fn network(cache: &Cache, key: &ObjectKey) -> String {
    let numbers = table::Numbers::of(cache, key);
    let free = match numbers.free.parse::<u64>() {
        Ok(free) => format!("{free} free"),
        Err(_) => numbers.free,
    };
    let mut fields = vec![
        ("VNI", numbers.vni),
        ("Subnet", numbers.subnet),
        ("Gateway", numbers.gateway),
        ("MTU", mtu(cache, key)),
        ("Addresses", free),
    ];
    let record = cache.networks.get(&key.scoped());
    if record.is_some_and(|record| record.spec.carries_ipv6()) {
        fields.insert(2, ("IPv6 subnet", numbers.subnet6));
    }
    fields.extend(attached(cache, &key.scoped()).map(|attached| ("Attached", attached)));
    list(&fields)
}

/// Containers of others in an attachable network.
fn attached(cache: &Cache, name: &Scoped) -> Option<String> {
    let record = cache.networks.get(name);
    let strangers = joins::strangers(cache, name);
    let strangers = strangers
        .map(|(node, stranger)| format!("{} {} on {node}", stranger.name, stranger.address));
    let is_attachable = record.is_some_and(|record| record.spec.attachable);
    is_attachable.then(|| or_none(strangers.collect::<Vec<_>>().join(", ")))
}

/// The largest packet of a network, and where it is from.
fn mtu(cache: &Cache, key: &ObjectKey) -> String {
    let record = cache.networks.get(&key.scoped());
    match record.map(|record| record.spec.mtu) {
        None => or_none(String::new()),
        Some(0) => format!("{} (of the nodes' links)", view::overlay_mtu(cache)),
        Some(mtu) => mtu.to_string(),
    }
}

/// What its agent says of the node: its link's largest packet, and ports that are its programs' own.
fn underlay(cache: &Cache, name: &NodeName) -> String {
    let Some(said) = view::underlay(cache, name) else {
        return or_none(String::new());
    };
    let mtu = said.mtu.map(|mtu| format!("MTU {mtu}"));
    let shown = compact(said.occupied.iter().map(|key| key.to_show()));
    let occupied = format!("programs listen on {}", shown.join(", "));
    let occupied = (!shown.is_empty()).then_some(occupied);
    let others: Vec<String> = said.addresses6.iter().map(ToString::to_string).collect();
    let others = format!("IPv6 {}", others.join(", "));
    let others = (!said.addresses6.is_empty()).then_some(others);
    let said: Vec<String> = mtu.into_iter().chain(others).chain(occupied).collect();
    or_none(said.join("; "))
}

fn node(cache: &Cache, key: &ObjectKey, now: Timestamp) -> Vec<String> {
    let Some(node) = view::node(cache, &key.node_name()) else {
        return Vec::new();
    };
    let spec = &node.accepted.spec;
    let engine = node.engine.cloned().unwrap_or_default();
    let found = node.found.map_or(0, |found| found.total);
    let fields = [
        ("State", tasks::join(node.state.as_str(), &node.reason)),
        ("Availability", spec.availability.as_str().to_owned()),
        ("Role", spec.role.as_str().to_owned()),
        ("Engine", spec.engine.url.clone()),
        ("Manager", or_none(spec.manager.clone().unwrap_or_default())),
        ("Engine ID", or_none(engine.id.unwrap_or_default())),
        (
            "Version",
            match (engine.version, engine.api_version) {
                (Some(version), Some(api)) => format!("{version} (API {api})"),
                (version, _) => or_none(version.unwrap_or_default()),
            },
        ),
        ("Host", or_none(engine.hostname.unwrap_or_default())),
        (
            "Capacity",
            format!(
                "{} CPUs, {} memory",
                engine.cpus,
                print::size(engine.memory)
            ),
        ),
        ("Underlay", underlay(cache, &node.name)),
        ("Engine labels", or_none(table::pairs(&engine.labels))),
        (
            "Unclaimed",
            format!(
                "{} without a task",
                print::count(found as usize, "container")
            ),
        ),
    ];
    let shape = Shape {
        wide: true,
        namespaces: true,
    };
    let rows: Vec<Vec<String>> = tasks::all(cache, None)
        .iter()
        .filter(|task| task.view.node == Some(&node.name))
        .map(|task| table::task_row(task, now, shape))
        .collect();
    let table = print::table(&table::task_header(shape), &rows);
    vec![list(&fields), section("Tasks", &table)]
}

/// The revisions of a service (`web`), or one of them (`web-2`).
fn revisions(
    cache: &Cache,
    namespace: &str,
    name: &str,
    now: Timestamp,
) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for (service, accepted) in &cache.services {
        for revision in cache.revisions_of(&accepted.uid) {
            let own = format!("{}-{}", service.name, revision.number);
            if service.namespace != namespace || (service.name != *name && name != own) {
                continue;
            }
            let fields = [
                ("Service", service.to_string()),
                ("Revision", revision.number.to_string()),
                ("Cause", revision.cause.clone()),
                ("Hash", revision.hash.clone()),
                (
                    "Created",
                    format!(
                        "{} ({} ago)",
                        revision.created_at,
                        age(now, revision.created_at)
                    ),
                ),
            ];
            let template = serde_json::to_value(&revision.template).unwrap_or_default();
            let template = section("Template", &print::yaml(&template));
            found.push(format!("{}\n{template}", list(&fields)));
        }
    }
    match found.is_empty() {
        true => Err(Error::advised(
            format!("no service or revision `{name}`"),
            "`skep get revisions -A` lists them; name them SERVICE or SERVICE-NUMBER",
        )),
        false => Ok(found),
    }
}

fn conditions(cache: &Cache, key: &ObjectKey, now: Timestamp) -> String {
    let rows: Vec<Vec<String>> = object::conditions(cache, key)
        .into_iter()
        .map(|condition| {
            vec![
                condition.kind.clone(),
                condition.status.as_str().into(),
                condition.reason.clone(),
                age(now, condition.last_transition_time),
                condition.message.clone(),
            ]
        })
        .collect();
    let header = ["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"];
    section("Conditions", &print::table(&header, &rows))
}

fn happened(events: &[Event], object: &str, now: Timestamp) -> String {
    let shape = Shape::default();
    let rows: Vec<Vec<String>> = events
        .iter()
        .filter(|event| events::is_about(event, object))
        .map(|event| table::event_row(event, now, shape))
        .collect();
    section("Events", &print::table(&table::event_header(shape), &rows))
}

fn task(cache: &Cache, task: &Named<'_>, events: &[Event], now: Timestamp) -> String {
    let record = task.view.task;
    let status = task.view.status;
    let text = |value: Option<String>| or_none(value.unwrap_or_default());
    let ports = status.map(|status| tasks::ports(&status.ports));
    let fields = [
        ("Task", record.id.to_string()),
        ("Service", task.service.to_string()),
        ("Slot", record.slot.to_string()),
        ("Revision", record.revision.to_string()),
        ("Desired", table::desired(record.desired).to_owned()),
        ("Reason", text(record.reason.clone())),
        ("State", tasks::join(&task.state(), &task.message())),
        ("Node", text(task.view.node.map(ToString::to_string))),
        (
            "Container",
            text(
                status
                    .and_then(|s| s.container.as_ref())
                    .map(ToString::to_string),
            ),
        ),
        ("Ports", text(ports.map(|ports| ports.join(", ")))),
        (
            "Addresses",
            text(status.map(|s| {
                s.addresses
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            })),
        ),
        (
            "Exit code",
            text(
                status
                    .and_then(|s| s.exit_code)
                    .map(|code| code.to_string()),
            ),
        ),
        (
            "Started",
            text(
                status
                    .and_then(|s| s.started_at)
                    .map(|time| time.to_string()),
            ),
        ),
        (
            "Finished",
            text(
                status
                    .and_then(|s| s.finished_at)
                    .map(|time| time.to_string()),
            ),
        ),
        (
            "Replaces",
            text(record.replaces.as_ref().map(ToString::to_string)),
        ),
        ("Failures", record.failures.to_string()),
        (
            "Created",
            format!(
                "{} ({} ago)",
                record.created_at,
                age(now, record.created_at)
            ),
        ),
    ];
    let key = format!("tasks/{}/{}", task.service, record.id);
    let parts = [
        list(&fields),
        match task.view.is_terminal() {
            true => String::new(),
            false => section("Waiting", &why::task(cache, task)),
        },
        happened(events, &key, now),
    ];
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}
