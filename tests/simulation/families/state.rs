//! The state of a world without what differs from run to run: ids, times, revisions, and which of several nodes.

use crate::happen::ours;
use serde_json::{Value, json};
use skep::api::key::Key;
use skep::sim::world::World;
use std::collections::{BTreeMap, BTreeSet};

/// Lines by subject.
pub(crate) type State = BTreeMap<String, String>;

/// What there is now. Containers without a record count as something left over, unless they lost it with the store.
pub(crate) fn state(world: &World, has_unclaimed: bool) -> State {
    let mut state = State::new();
    let stored = Stored::read(world, has_unclaimed);
    for (key, value) in &stored.all {
        if let Some((subject, line)) = stored.line(key, value) {
            state.insert(subject, line);
        }
    }
    containers(world, &stored, &mut state);
    state
}

/// How `here` differs from `expected`, in one line; nothing: it does not.
pub(crate) fn differs(here: &State, expected: &State) -> Option<String> {
    let subjects: BTreeSet<&String> = here.keys().chain(expected.keys()).collect();
    let mut differences = subjects.into_iter().filter_map(|subject| {
        let (is, was) = (here.get(subject), expected.get(subject));
        let none = "nothing".to_owned();
        (is != was).then(|| {
            let (is, was) = (is.unwrap_or(&none), was.unwrap_or(&none));
            format!("{subject}: {is}; in the reference run {was}")
        })
    });
    let first = differences.next()?;
    Some(match differences.count() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    })
}

struct Stored {
    all: Vec<(Key, Value)>,
    /// Tasks that have a record.
    tasks: BTreeSet<String>,
    /// Objects in force, by uid.
    uids: BTreeSet<String>,
    /// Containers may have lost their records with the store.
    has_unclaimed: bool,
}

impl Stored {
    fn read(world: &World, has_unclaimed: bool) -> Self {
        let kvs = world.store.dump("/skep/");
        let read = |kv: &skep::store::KeyValue| {
            let key = Key::parse(kv.key.strip_prefix("/skep/")?)?;
            let text = String::from_utf8_lossy(&kv.value).into_owned();
            Some((
                key,
                serde_json::from_slice(&kv.value).unwrap_or(json!(text)),
            ))
        };
        let all: Vec<(Key, Value)> = kvs.iter().filter_map(read).collect();
        let mut stored = Self {
            all: Vec::new(),
            tasks: BTreeSet::new(),
            uids: BTreeSet::new(),
            has_unclaimed,
        };
        for (key, value) in &all {
            match key {
                Key::Task(_, task) => drop(stored.tasks.insert(task.to_string())),
                Key::Accepted(_) => drop(stored.uids.insert(text(&value["uid"]))),
                _ => {}
            }
        }
        stored.all = all;
        stored
    }

    fn line(&self, key: &Key, value: &Value) -> Option<(String, String)> {
        match key {
            Key::User(_) | Key::Scale(_) => Some((format!("user's {key}"), value.to_string())),
            Key::Accepted(_) => {
                let ends = if value["deletedAt"].is_null() {
                    ""
                } else {
                    " (deleted)"
                };
                Some((key.to_string(), format!("{}{ends}", value["spec"])))
            }
            Key::Status(..) => Some((key.to_string(), self.status(value))),
            Key::Task(service, task) => self.task(&service.to_string(), task.as_str(), value),
            // What outlived its task or its service has a line; all else follows from what has one.
            Key::Binding(_, task) | Key::TaskStatus(_, task) => {
                let is_known = self.tasks.contains(task.as_str());
                (!is_known).then(|| ("left over".to_owned(), key.to_string()))
            }
            Key::Revision(uid, _) => {
                let is_known = self.uids.contains(uid.as_str());
                (!is_known).then(|| ("left over".to_owned(), key.to_string()))
            }
            // Which number is chance; in quarantine one is nobody's.
            Key::Allocation(_) => {
                let owner = &value["owner"];
                let is_known = value["released"] == true
                    || self.uids.contains(&text(&owner["uid"]))
                    || self.tasks.contains(&text(&owner["task"]));
                (!is_known).then(|| ("left over".to_owned(), key.to_string()))
            }
            Key::Cluster => Some((key.to_string(), text(&value["id"]))),
            Key::Election(controller, _) => Some((format!("election/{controller}"), "held".into())),
            Key::Shard(name) => Some((format!("shards/{name}"), "held".into())),
            Key::Manager(_) => None,
        }
    }

    /// Conditions and counts.
    fn status(&self, value: &Value) -> String {
        let conditions = value["conditions"].as_array().into_iter().flatten();
        // After the store was lost nothing unclaimed is removed by itself, and that is told (rule C3).
        let is_told = |condition: &&Value| {
            let kind = text(&condition["type"]);
            self.has_unclaimed && matches!(&*kind, "UnclaimedContainers" | "ReaperHeld")
        };
        let conditions = conditions.filter(|condition| !is_told(condition));
        let mut words: Vec<String> = conditions
            .map(|condition| {
                let word = |field: &str| text(&condition[field]);
                format!("{}={}/{}", word("type"), word("status"), word("reason"))
            })
            .collect();
        words.sort();
        let update = text(&value["update"]["state"]);
        if !update.is_empty() && update != "completed" {
            words.push(update);
        }
        if !value["replicas"].is_null() {
            words.push(value["replicas"].to_string());
        }
        let waiting = value["waiting"].as_array().into_iter().flatten();
        words.extend(waiting.map(|waiting| format!("{} wait", waiting["tasks"])));
        words.join(", ")
    }

    /// A task that is wanted, by its slot.
    fn task(&self, service: &str, task: &str, value: &Value) -> Option<(String, String)> {
        let desired = text(&value["desired"]);
        if desired == "shutdown" {
            return None;
        }
        let of_task = |key: &Key| matches!(key, Key::TaskStatus(_, of) if of.as_str() == task);
        let seen = self.all.iter().find(|(key, _)| of_task(key));
        let state = seen.map_or("unseen".to_owned(), |(_, status)| text(&status["state"]));
        Some((
            format!("task {service}.{} wanted {desired}", slot(&value["slot"])),
            state,
        ))
    }
}

/// Our containers, by service and slot: what they were made from and that they run.
fn containers(world: &World, stored: &Stored, state: &mut State) {
    for engine in world.fleet.all() {
        for container in engine.containers() {
            let label = |name: &str| container.labels.get(name).cloned().unwrap_or_default();
            let task = label("dev.skep.task");
            if task.is_empty() || !container.name.ends_with(&task) {
                continue;
            }
            if !stored.tasks.contains(&task) && !stored.has_unclaimed {
                state.insert("left over".into(), container.name.clone());
            }
        }
        for container in ours(&engine) {
            let label = |name: &str| container.labels.get(name).cloned().unwrap_or_default();
            if stored.has_unclaimed && !stored.tasks.contains(&label("dev.skep.task")) {
                continue;
            }
            let subject = format!(
                "container {}.{}",
                label("dev.skep.name"),
                label("dev.skep.slot")
            );
            let body = engine.body(&container.id).unwrap_or_default();
            let line = plain(body).to_string();
            if let Some(twin) = state.insert(subject.clone(), line) {
                state.insert(format!("{subject} again"), twin);
            }
        }
    }
}

/// A container's body without what names its task and its node.
fn plain(mut body: Value) -> Value {
    if let Some(labels) = body["Labels"].as_object_mut() {
        labels
            .retain(|key, _| !key.starts_with("dev.skep.") && !key.starts_with("com.docker.swarm"));
    }
    if let Some(variables) = body["Env"].as_array_mut() {
        let text = |variable: &Value| variable.as_str().unwrap_or_default().to_owned();
        let is_own =
            |text: String| text.starts_with("SKEP_TASK=") || text.starts_with("SKEP_NODE=");
        variables.retain(|variable| !is_own(text(variable)));
    }
    body
}

/// The version of a service's manifest, by what it says of the variable `V`.
pub(crate) fn running(state: &State) -> String {
    let version = |body: &str| {
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let all = body["Env"].as_array().into_iter().flatten();
        let mut texts = all.filter_map(Value::as_str);
        texts
            .find_map(|text| text.strip_prefix("V="))
            .unwrap_or("")
            .to_owned()
    };
    let containers = state.iter().filter_map(|(subject, body)| {
        let slot = subject.strip_prefix("container ")?;
        Some(format!("{slot} {}", version(body)))
    });
    containers.collect::<Vec<_>>().join(", ")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// `3`, or the node's name.
fn slot(value: &Value) -> String {
    let values = value.as_object().into_iter().flatten();
    let mut parts = values.map(|(_, part)| match part {
        Value::String(name) => name.clone(),
        other => other.to_string(),
    });
    parts.next().unwrap_or_default()
}
