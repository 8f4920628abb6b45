//! Rules that the store shows by itself, by what they are about: objects and lives of the store, tasks, places, rights,
//! and what is left once all is at rest. Pure.
//!
//! A rule sees each changed record before it takes its place among the others, so it knows what was there, and all of
//! them after the step. Nothing here asks why something was done.

mod allocations;
mod identity;
mod places;
mod rest;
mod rights;
mod store;
mod tasks;
#[cfg(test)]
mod tests;

use super::check::Broken;
use super::mirror::Step;
use super::witness::Happening;
use crate::api::key::Key;
use crate::api::name::NodeName;
use crate::api::uid::{ContainerId, TaskId, Uid};
use crate::api::unit::{Incarnation, Revision};
use crate::engine::Container;
use std::collections::BTreeMap;
use std::time::Duration;
use store::{Entry, Store};

pub(in crate::sim) use rights::FORCED;

/// How long a write or an order may rest on what was true before: the engine's deadline and what a slow one adds.
const STALE: Duration = Duration::from_secs(20);

/// How old the view may be that a place was chosen by: simulated watches lag by twenty seconds, and a commit takes its time.
const VIEW: Duration = Duration::from_secs(45);

/// How late a process may hear of a change: simulated watches lag by twenty seconds at most.
const LAG: Duration = Duration::from_secs(22);

/// What was found, and how often each rule was looked at.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) now: Duration,
    pub(super) broken: Vec<Broken>,
    pub(super) checked: BTreeMap<&'static str, u64>,
}

impl Log {
    /// Looks at a rule: `what` says how it is broken, if it is.
    fn check(&mut self, rule: &'static str, is_kept: bool, what: impl FnOnce() -> String) {
        *self.checked.entry(rule).or_default() += 1;
        if !is_kept {
            self.broken.push(Broken::new(rule, what()));
        }
    }

    /// Whether `time` is no longer ago than `window`.
    fn is_within(&self, time: Option<Duration>, window: Duration) -> bool {
        time.is_some_and(|time| self.now.saturating_sub(time) <= window)
    }
}

/// A container of ours, by label and name.
#[derive(Clone, Debug)]
struct Made {
    /// The engine's own name: what its id is made of.
    engine: String,
    name: String,
    task: TaskId,
    node: Uid,
    hash: String,
    incarnation: Incarnation,
    term: Revision,
    /// The store's revision that who ordered it had seen.
    revision: Revision,
    runs: bool,
}

/// All rules with what they remember.
#[derive(Debug, Default)]
pub(super) struct Bench {
    pub(super) log: Log,
    store: Store,
    containers: BTreeMap<ContainerId, Made>,
    lives: identity::Lives,
    places: places::Places,
    rights: rights::Rights,
    tasks: tasks::Memory,
}

impl Bench {
    /// A step of the store; after a disaster (a wipe, an older backup) nothing follows from what was there.
    pub(super) fn stored(&mut self, step: &Step) {
        if step.is_disaster {
            self.disaster(step);
            return;
        }
        let mut left = Vec::new();
        for (key, created) in &step.gone {
            if let Some(key) = store::key_of(key) {
                self.gone(&key, *created);
                left.push(key.clone());
                self.store.remove(key, *created);
            }
        }
        let mut changed = Vec::new();
        for entry in step.changed.iter().filter_map(store::read) {
            self.changes(&entry);
            changed.push(entry.clone());
            self.store.put(entry);
        }
        self.settled(&left, &changed, step.newest.1);
    }

    /// The store went back, or is empty: it is read anew, and no rule compares.
    fn disaster(&mut self, step: &Step) {
        self.lives.lost(step.set_back, self.log.now);
        self.places.lost();
        self.rights.lost(self.log.now);
        self.tasks.lost();
        self.store = Store::default();
        for entry in step.changed.iter().filter_map(store::read) {
            self.store.put(entry);
        }
    }

    fn gone(&mut self, key: &Key, created: Revision) {
        match key {
            Key::Shard(_) => self.rights.ended(created, self.log.now),
            Key::Accepted(object) => {
                self.check_node_left(object);
                self.note_in_force(object);
            }
            Key::Status(object, controller) if controller == "health" => self.note_ready(object),
            _ => {}
        }
    }

    fn changes(&mut self, entry: &Entry) {
        match entry {
            Entry::Accepted(object, record) => {
                self.check_accepted(object, record);
                self.note_in_force(object);
            }
            Entry::Cluster(cluster) => self.check_cluster(cluster),
            Entry::Task(_, task) => self.check_task(task),
            Entry::TaskStatus(_, status) => self.check_status(status),
            Entry::Binding(node, binding) => self.check_binding(node, binding),
            Entry::Report(object, controller, status) => {
                self.check_health(object, controller, status);
            }
            Entry::Allocation(item, allocation) => self.check_allocation(item, allocation),
            Entry::User(..) | Entry::Template(..) | Entry::Holder(..) => {}
        }
    }

    /// After all changes of a step, the newest of which is of this revision.
    fn settled(&mut self, left: &[Key], changed: &[Entry], newest: Revision) {
        self.check_tombstones(left);
        for entry in changed {
            if let Entry::Task(_, task) = entry {
                self.check_adopted(task);
                self.check_pair(task);
            }
        }
        self.rights.reached(newest, self.log.now);
    }

    /// Something happened to a container. Whether it is ours by label and name its labels say.
    pub(super) fn happened(&mut self, engine: &str, happening: Happening, container: &Container) {
        let id = &container.id;
        if happening == Happening::Created
            && let Some(made) = made(engine, container)
        {
            self.check_made(&made);
            self.containers.insert(id.clone(), made);
        }
        let Some(made) = self.containers.get(id).cloned() else {
            return;
        };
        match happening {
            Happening::Started => self.check_started(&made),
            Happening::Created
            | Happening::Stopped
            | Happening::Ended
            | Happening::Removed
            | Happening::Lost => {}
        }
        if !matches!(happening, Happening::Ended | Happening::Lost) {
            self.check_ordered(&made, happening);
        }
        match happening {
            Happening::Removed | Happening::Lost => {
                self.containers.remove(id);
            }
            Happening::Created | Happening::Started | Happening::Stopped | Happening::Ended => {
                if let Some(made) = self.containers.get_mut(id) {
                    made.runs = happening == Happening::Started;
                }
            }
        }
    }

    /// A container was made by hand: no rule of ours is about it.
    pub(super) fn protect(&mut self, id: &ContainerId) {
        self.containers.remove(id);
    }
}

/// Reads a container's labels; none: it is not ours.
fn made(engine: &str, container: &Container) -> Option<Made> {
    let label = |name: &str| container.labels.get(&format!("dev.skep.{name}"));
    let number = |name: &str| label(name).and_then(|text| text.parse::<i64>().ok());
    // Labels are copied into images; the name is the proof.
    let task = label("task").filter(|task| container.name.ends_with(task.as_str()))?;
    Some(Made {
        engine: engine.to_owned(),
        name: container.name.clone(),
        task: TaskId::from(task.as_str()),
        node: Uid::from(label("node")?.as_str()),
        hash: label("hash")?.clone(),
        incarnation: Incarnation(u64::try_from(number("incarnation")?).ok()?),
        term: Revision(number("term")?),
        revision: Revision(number("store-revision")?),
        runs: false,
    })
}

/// A node as an object.
fn object_of(node: &NodeName) -> crate::api::name::ObjectKey {
    crate::api::name::ObjectKey::node(node)
}
