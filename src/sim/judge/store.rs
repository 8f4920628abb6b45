//! The store as rules read it: every record by its kind, as it is now. Pure.

use crate::api::accepted::Accepted;
use crate::api::allocation::{Allocation, Item};
use crate::api::cluster::{Cluster, Holder};
use crate::api::key::Key;
use crate::api::name::{NodeName, ObjectKey, Scoped};
use crate::api::service::ServiceSpec;
use crate::api::status::Status;
use crate::api::task::{Binding, ServiceRevision, Task, TaskStatus};
use crate::api::text::Text;
use crate::api::uid::{TaskId, Uid};
use crate::api::unit::{Revision, RevisionNumber};
use crate::store::KeyValue;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;

/// An accepted object of any kind.
pub(super) type Record = Accepted<Value>;

/// What stands under one key.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// A user's key: when it was created.
    User(ObjectKey, Revision),
    Accepted(ObjectKey, Box<Record>),
    Task(Scoped, Box<Task>),
    Binding(NodeName, Box<Binding>),
    TaskStatus(NodeName, Box<TaskStatus>),
    Report(ObjectKey, Text, Box<Status>),
    /// A template's hash.
    Template(Uid, RevisionNumber, String),
    /// What is given out, and to whom.
    Allocation(Item, Box<Allocation>),
    Cluster(Cluster),
    /// A right (`election/service`, `shards/000`), since when, and whose it is if nobody is before.
    Holder(String, Revision, String),
}

/// All that stands in the store and matters to a rule.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) users: BTreeMap<ObjectKey, Revision>,
    pub(super) accepted: BTreeMap<ObjectKey, Record>,
    pub(super) tasks: BTreeMap<TaskId, (Scoped, Task)>,
    pub(super) bindings: BTreeMap<TaskId, (NodeName, Binding)>,
    pub(super) statuses: BTreeMap<TaskId, (NodeName, TaskStatus)>,
    pub(super) reports: BTreeMap<(ObjectKey, Text), Status>,
    pub(super) templates: BTreeMap<(Uid, RevisionNumber), String>,
    pub(super) allocations: BTreeMap<Item, Allocation>,
    pub(super) cluster: Option<Cluster>,
    /// Who waits for each right, the one who has it first.
    pub(super) holders: BTreeMap<String, BTreeMap<Revision, String>>,
}

/// Reads a key with its value; none: no rule asks for it, or it cannot be read.
pub(super) fn read(kv: &KeyValue) -> Option<Entry> {
    Some(match key_of(&kv.key)? {
        Key::User(object) => Entry::User(object, kv.create_revision),
        Key::Accepted(object) => Entry::Accepted(object, Box::new(parse(kv)?)),
        Key::Task(service, _) => Entry::Task(service, Box::new(parse(kv)?)),
        Key::Binding(node, _) => Entry::Binding(node, Box::new(parse(kv)?)),
        Key::TaskStatus(node, _) => Entry::TaskStatus(node, Box::new(parse(kv)?)),
        Key::Status(object, controller) => Entry::Report(object, controller, Box::new(parse(kv)?)),
        Key::Revision(service, number) => {
            Entry::Template(service, number, parse::<ServiceRevision>(kv)?.hash)
        }
        Key::Allocation(item) => Entry::Allocation(item, Box::new(parse(kv)?)),
        Key::Cluster => Entry::Cluster(parse(kv)?),
        Key::Election(controller, _) => holder(kv, format!("election/{controller}"))?,
        Key::Shard(name) => holder(kv, format!("shards/{name}"))?,
        Key::Scale(_) | Key::Manager(_) => return None,
    })
}

/// The key below the prefix; none for what skep does not know.
pub(super) fn key_of(key: &str) -> Option<Key> {
    Key::parse(key.strip_prefix("/skep/")?)
}

fn holder(kv: &KeyValue, right: String) -> Option<Entry> {
    let holder: Holder = parse(kv)?;
    Some(Entry::Holder(right, kv.create_revision, holder.manager))
}

fn parse<T: DeserializeOwned>(kv: &KeyValue) -> Option<T> {
    serde_json::from_slice(&kv.value).ok()
}

impl Store {
    /// Takes in what stands under a key now.
    pub(super) fn put(&mut self, entry: Entry) {
        match entry {
            Entry::User(object, created) => {
                self.users.insert(object, created);
            }
            Entry::Accepted(object, record) => {
                self.accepted.insert(object, *record);
            }
            Entry::Task(service, task) => {
                self.tasks.insert(task.id.clone(), (service, *task));
            }
            Entry::Binding(node, binding) => {
                self.bindings.insert(binding.task.clone(), (node, *binding));
            }
            Entry::TaskStatus(node, status) => {
                self.statuses.insert(status.task.clone(), (node, *status));
            }
            Entry::Report(object, controller, status) => {
                self.reports.insert((object, controller), *status);
            }
            Entry::Template(service, number, hash) => {
                self.templates.insert((service, number), hash);
            }
            Entry::Allocation(item, allocation) => {
                self.allocations.insert(item, *allocation);
            }
            Entry::Cluster(cluster) => self.cluster = Some(cluster),
            Entry::Holder(right, since, manager) => {
                self.holders
                    .entry(right)
                    .or_default()
                    .insert(since, manager);
            }
        }
    }

    /// A key that was created at `created` is gone.
    pub(super) fn remove(&mut self, key: Key, created: Revision) {
        match key {
            Key::User(object) => {
                self.users.remove(&object);
            }
            Key::Accepted(object) => {
                self.accepted.remove(&object);
            }
            Key::Task(_, task) => {
                self.tasks.remove(&task);
            }
            Key::Binding(node, task) => {
                if self.bindings.get(&task).is_some_and(|(on, _)| *on == node) {
                    self.bindings.remove(&task);
                }
            }
            Key::TaskStatus(node, task) => {
                if self.statuses.get(&task).is_some_and(|(on, _)| *on == node) {
                    self.statuses.remove(&task);
                }
            }
            Key::Status(object, controller) => {
                self.reports.remove(&(object, controller));
            }
            Key::Revision(service, number) => {
                self.templates.remove(&(service, number));
            }
            Key::Allocation(item) => {
                self.allocations.remove(&item);
            }
            Key::Cluster => self.cluster = None,
            Key::Election(controller, _) => self.lose(&format!("election/{controller}"), created),
            Key::Shard(name) => self.lose(&format!("shards/{name}"), created),
            Key::Scale(_) | Key::Manager(_) => {}
        }
    }

    fn lose(&mut self, right: &str, created: Revision) {
        if let Some(holders) = self.holders.get_mut(right) {
            holders.remove(&created);
        }
    }

    /// Who has a right, and since which revision.
    pub(super) fn holder(&self, right: &str) -> Option<(Revision, &str)> {
        let (since, manager) = self.holders.get(right)?.first_key_value()?;
        Some((*since, manager))
    }

    /// Whether a task is known to be over.
    pub(super) fn is_over(&self, task: &TaskId) -> bool {
        let status = self.statuses.get(task);
        status.is_some_and(|(_, status)| status.state.is_terminal())
    }

    /// The spec in force of the service with this uid.
    pub(super) fn spec(&self, service: &Uid) -> Option<ServiceSpec> {
        let mut records = self.accepted.values();
        let record = records.find(|record| record.uid == *service)?;
        serde_json::from_value(record.spec.clone()).ok()
    }
}
