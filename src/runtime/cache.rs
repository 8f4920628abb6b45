//! The cache: a local copy of everything below the prefix, with the revision it has reached.
//!
//! Pure: the watcher feeds it listings and batches of whole revisions, so a snapshot is always of one revision
//! (rule S2). The maps are ordered by key, which makes most indexes free: the tasks of a service and the bindings of a
//! node are neighbours. The few others are kept beside them.
//!
//! Invariant: a record of a controller that does not parse never looks like a deletion. The last value that did parse
//! stays in force, and the key is listed in [`Cache::broken`].

use super::allocations::Allocations;
use super::said::Said;
use crate::api::accepted::{AcceptedNetwork, AcceptedNode, AcceptedService};
use crate::api::allocation::Item;
use crate::api::cluster::{Cluster, Holder, Manager};
use crate::api::key::Key;
use crate::api::name::{Kind, NodeName, ObjectKey, Scoped};
use crate::api::status::Status;
use crate::api::task::{Binding, ServiceRevision, Task, TaskStatus};
use crate::api::text::Text;
use crate::api::uid::{TaskId, Uid};
use crate::api::unit::{Incarnation, LeaseId, Revision, RevisionNumber};
use crate::planted::{Bug, planted};
use crate::store::{KeyValue, WatchBatch, WatchEvent};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A value with its place in the store's history; a clone shares the value.
#[derive(Debug)]
pub struct Stored<T> {
    /// The value.
    pub value: Arc<T>,
    /// The revision that created its key (this time).
    pub create_revision: Revision,
    /// The revision that wrote it last.
    pub mod_revision: Revision,
    /// The lease that it goes with; 0: none.
    pub lease: LeaseId,
}

// Not derived: that would ask for `T: Clone`.
impl<T> Clone for Stored<T> {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            lease: self.lease,
        }
    }
}

impl<T> std::ops::Deref for Stored<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// All that is stored of one task, under whatever keys: planners ask for it thousands of times while a large service
/// starts, so it is one search and no allocation.
#[derive(Clone, Debug, Default)]
pub struct Facets {
    /// Its record, with the service whose key it stands under.
    pub task: Option<(Scoped, Stored<Task>)>,
    /// Its binding, with the name of its node.
    pub binding: Option<(NodeName, Stored<Binding>)>,
    /// What was seen of it, by node: mostly one.
    pub statuses: Vec<(NodeName, Stored<TaskStatus>)>,
}

impl Facets {
    /// What was seen of it on one node.
    pub fn status_on(&self, node: &NodeName) -> Option<&Stored<TaskStatus>> {
        let status = self.statuses.iter().find(|(on, _)| on == node);
        status.map(|(_, status)| status)
    }

    /// What was seen of it on the node that it is bound to.
    pub fn status(&self) -> Option<&Stored<TaskStatus>> {
        self.status_on(&self.binding.as_ref()?.0)
    }

    fn is_empty(&self) -> bool {
        self.task.is_none() && self.binding.is_none() && self.statuses.is_empty()
    }
}

/// Everything below the prefix, typed.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    /// The revision that it has reached.
    pub revision: Revision,
    /// The store was seen to be rewound in this life of it, and the cluster's record does not say so yet (rule S6):
    /// until it does, nothing is stopped or started.
    pub rewound_in: Option<Incarnation>,
    /// The cluster's identity.
    pub cluster: Option<Stored<Cluster>>,
    /// What users wrote, byte for byte.
    pub users: BTreeMap<ObjectKey, Stored<Vec<u8>>>,
    /// Replicas asked for beside the manifest, byte for byte.
    pub scales: BTreeMap<Scoped, Stored<Vec<u8>>>,
    /// Accepted services.
    pub services: BTreeMap<Scoped, Stored<AcceptedService>>,
    /// Accepted nodes.
    pub nodes: BTreeMap<NodeName, Stored<AcceptedNode>>,
    /// Accepted networks.
    pub networks: BTreeMap<Scoped, Stored<AcceptedNetwork>>,
    /// What controllers report, by object and controller.
    pub statuses: BTreeMap<(ObjectKey, Text), Stored<Status>>,
    /// Templates by service uid and number.
    pub revisions: BTreeMap<(Uid, RevisionNumber), Stored<ServiceRevision>>,
    /// Tasks by service and id.
    pub tasks: BTreeMap<(Scoped, TaskId), Stored<Task>>,
    /// Bindings by node and task.
    pub bindings: BTreeMap<(NodeName, TaskId), Stored<Binding>>,
    /// What was seen of tasks, by node and task.
    pub task_statuses: BTreeMap<(NodeName, TaskId), Stored<TaskStatus>>,
    /// What is given out once, and to whom.
    pub allocations: Allocations,
    /// Candidates by controller.
    pub elections: BTreeMap<(String, LeaseId), Stored<Holder>>,
    /// Live managers.
    pub managers: BTreeMap<String, Stored<Manager>>,
    /// Claimed shards.
    pub shards: BTreeMap<String, Stored<Holder>>,
    /// Controllers' records that do not parse, and why.
    pub broken: BTreeMap<String, String>,
    /// Keys below the prefix that mean nothing to skep.
    pub unknown: BTreeSet<String>,
    by_task: BTreeMap<TaskId, Facets>,
    by_node: Said,
    uid_index: BTreeMap<Uid, Scoped>,
}

impl Cache {
    /// The tasks of a service's name, of any uid, in order of their ids.
    pub fn tasks_of<'a>(&'a self, service: &'a Scoped) -> impl Iterator<Item = &'a Stored<Task>> {
        let first = (service.clone(), TaskId::from(""));
        self.tasks
            .range(first..)
            .take_while(move |((owner, _), _)| owner == service)
            .map(|(_, task)| task)
    }

    /// The bindings on a node.
    pub fn bindings_on<'a>(
        &'a self,
        node: &'a NodeName,
    ) -> impl Iterator<Item = &'a Stored<Binding>> {
        let first = (node.clone(), TaskId::from(""));
        self.bindings
            .range(first..)
            .take_while(move |((owner, _), _)| owner == node)
            .map(|(_, binding)| binding)
    }

    /// What was seen of tasks on a node.
    pub fn task_statuses_on<'a>(
        &'a self,
        node: &'a NodeName,
    ) -> impl Iterator<Item = &'a Stored<TaskStatus>> {
        let first = (node.clone(), TaskId::from(""));
        self.task_statuses
            .range(first..)
            .take_while(move |((owner, _), _)| owner == node)
            .map(|(_, status)| status)
    }

    /// The revisions of a service, the oldest first.
    pub fn revisions_of<'a>(
        &'a self,
        service: &'a Uid,
    ) -> impl Iterator<Item = &'a Stored<ServiceRevision>> {
        let first = (service.clone(), RevisionNumber(0));
        self.revisions
            .range(first..)
            .take_while(move |((owner, _), _)| owner == service)
            .map(|(_, revision)| revision)
    }

    /// All that is stored of a task.
    pub fn facets(&self, id: &TaskId) -> Option<&Facets> {
        self.by_task.get(id)
    }

    /// All that is stored of all tasks, in order of their ids.
    pub fn all_facets(&self) -> impl Iterator<Item = &Facets> {
        self.by_task.values()
    }

    /// A task by its id, with the service whose key it stands under.
    pub fn task(&self, id: &TaskId) -> Option<(&Scoped, &Stored<Task>)> {
        let (service, task) = self.facets(id)?.task.as_ref()?;
        Some((service, task))
    }

    /// The binding of a task, with its node's name.
    pub fn binding(&self, id: &TaskId) -> Option<(&NodeName, &Stored<Binding>)> {
        let (node, binding) = self.facets(id)?.binding.as_ref()?;
        Some((node, binding))
    }

    /// What was seen of a task on the node that it is bound to.
    pub fn task_status(&self, id: &TaskId) -> Option<&Stored<TaskStatus>> {
        self.facets(id)?.status()
    }

    /// The name of the accepted service with this uid.
    pub fn service_of(&self, uid: &Uid) -> Option<&Scoped> {
        self.uid_index.get(uid)
    }

    /// What one controller reports of an object.
    pub fn status(&self, object: &ObjectKey, controller: &str) -> Option<&Stored<Status>> {
        self.statuses.get(&(object.clone(), controller.into()))
    }

    /// What all controllers report of a node.
    pub(super) fn statuses_of_node(&self, node: &NodeName) -> &[(Text, Stored<Status>)] {
        self.by_node.all(node)
    }

    /// What one controller reports of a node: asked for of all nodes again and again, so it takes nothing from the allocator.
    pub fn status_of_node(&self, node: &NodeName, controller: &str) -> Option<&Stored<Status>> {
        self.by_node.of(node, controller)
    }

    /// All that controllers report of an object, by controller.
    pub fn statuses_of<'a>(
        &'a self,
        object: &'a ObjectKey,
    ) -> impl Iterator<Item = (&'a str, &'a Stored<Status>)> {
        let first = (object.clone(), Text::default());
        self.statuses
            .range(first..)
            .take_while(move |((owner, _), _)| owner == object)
            .map(|((_, controller), status)| (controller.as_str(), status))
    }

    /// The candidate that leads a controller: the oldest.
    pub fn leader(&self, controller: &str) -> Option<(LeaseId, &Stored<Holder>)> {
        self.elections
            .iter()
            .filter(|((name, _), _)| name == controller)
            .min_by_key(|(_, holder)| holder.create_revision)
            .map(|((_, lease), holder)| (*lease, holder))
    }

    /// The revision that wrote `key` last; none if it does not exist.
    pub fn mod_revision(&self, key: &Key) -> Option<Revision> {
        fn of<K: Ord, T>(map: &BTreeMap<K, Stored<T>>, key: &K) -> Option<Revision> {
            map.get(key).map(|stored| stored.mod_revision)
        }
        match key {
            Key::User(object) => of(&self.users, object),
            Key::Scale(service) => of(&self.scales, service),
            Key::Accepted(object) => match object.kind {
                Kind::Service => of(&self.services, &object.scoped()),
                Kind::Network => of(&self.networks, &object.scoped()),
                Kind::Node => of(&self.nodes, &object.node_name()),
            },
            Key::Status(object, controller) => {
                of(&self.statuses, &(object.clone(), controller.clone()))
            }
            Key::Revision(uid, number) => of(&self.revisions, &(uid.clone(), *number)),
            Key::Task(service, task) => of(&self.tasks, &(service.clone(), task.clone())),
            Key::Binding(node, task) => of(&self.bindings, &(node.clone(), task.clone())),
            Key::TaskStatus(node, task) => of(&self.task_statuses, &(node.clone(), task.clone())),
            Key::Allocation(item) => self.allocations.get(item).map(|stored| stored.mod_revision),
            Key::Cluster => self.cluster.as_ref().map(|stored| stored.mod_revision),
            Key::Election(controller, lease) => of(&self.elections, &(controller.clone(), *lease)),
            Key::Manager(id) => of(&self.managers, id),
            Key::Shard(name) => of(&self.shards, name),
        }
    }

    /// Takes in the changes of whole revisions; says which keys changed (unknown ones left out).
    pub fn advance(&mut self, prefix: &str, batch: &WatchBatch) -> Vec<Key> {
        let mut changed = Vec::new();
        for event in &batch.events {
            let (text, kv, revision) = match event {
                WatchEvent::Put(kv) => (&kv.key, Some(kv), kv.mod_revision),
                WatchEvent::Delete { key, revision } => (key, None, *revision),
            };
            // A batch that was delivered twice must not take the cache back.
            if revision > self.revision {
                changed.extend(self.change(prefix, text, kv));
            }
        }
        self.revision = self.revision.max(batch.revision);
        changed
    }

    /// Takes in a whole listing at one revision; says which keys changed, also those that are gone.
    pub fn replace(&mut self, prefix: &str, kvs: &[KeyValue], revision: Revision) -> Vec<Key> {
        let before = std::mem::take(self);
        if planted(Bug::KeepsWhatListsLack) {
            *self = before.clone();
        }
        for kv in kvs {
            self.change(prefix, &kv.key, Some(kv));
        }
        self.keep_unreadable(&before);
        self.revision = revision;
        let mut keys = before.keys();
        keys.extend(self.keys());
        keys.retain(|key| before.mod_revision(key) != self.mod_revision(key));
        keys.into_iter().collect()
    }

    /// Every key with a value.
    pub fn keys(&self) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        keys.extend(self.cluster.iter().map(|_| Key::Cluster));
        keys.extend(self.users.keys().cloned().map(Key::User));
        keys.extend(self.scales.keys().cloned().map(Key::Scale));
        keys.extend(
            self.services
                .keys()
                .map(|name| Key::Accepted(ObjectKey::service(name))),
        );
        keys.extend(
            self.nodes
                .keys()
                .map(|name| Key::Accepted(ObjectKey::node(name))),
        );
        keys.extend(
            self.networks
                .keys()
                .map(|name| Key::Accepted(ObjectKey::network(name))),
        );
        keys.extend(
            self.statuses
                .keys()
                .cloned()
                .map(|(object, controller)| Key::Status(object, controller)),
        );
        keys.extend(
            self.revisions
                .keys()
                .cloned()
                .map(|(uid, number)| Key::Revision(uid, number)),
        );
        keys.extend(
            self.tasks
                .keys()
                .cloned()
                .map(|(service, task)| Key::Task(service, task)),
        );
        keys.extend(
            self.bindings
                .keys()
                .cloned()
                .map(|(node, task)| Key::Binding(node, task)),
        );
        keys.extend(
            self.task_statuses
                .keys()
                .cloned()
                .map(|(node, task)| Key::TaskStatus(node, task)),
        );
        keys.extend(self.allocations.keys().cloned().map(Key::Allocation));
        keys.extend(
            self.elections
                .keys()
                .cloned()
                .map(|(controller, lease)| Key::Election(controller, lease)),
        );
        keys.extend(self.managers.keys().cloned().map(Key::Manager));
        keys.extend(self.shards.keys().cloned().map(Key::Shard));
        keys
    }

    /// After a listing: records that were readable before and are not now stay as they were.
    fn keep_unreadable(&mut self, before: &Self) {
        let broken: Vec<Key> = self
            .broken
            .keys()
            .filter_map(|text| Key::parse(text))
            .collect();
        for key in broken {
            match &key {
                Key::Accepted(object) => match object.kind {
                    Kind::Service => {
                        carry(&mut self.services, &before.services, &object.scoped());
                    }
                    Kind::Network => {
                        carry(&mut self.networks, &before.networks, &object.scoped());
                    }
                    Kind::Node => {
                        carry(&mut self.nodes, &before.nodes, &object.node_name());
                    }
                },
                Key::Task(service, task) => {
                    let key = (service.clone(), task.clone());
                    let found = carry(&mut self.tasks, &before.tasks, &key);
                    self.index_task(service, task, found);
                }
                Key::Binding(node, task) => {
                    let key = (node.clone(), task.clone());
                    let found = carry(&mut self.bindings, &before.bindings, &key);
                    self.index_binding(node, task, found);
                }
                Key::TaskStatus(node, task) => {
                    let key = (node.clone(), task.clone());
                    let found = carry(&mut self.task_statuses, &before.task_statuses, &key);
                    self.index_status(node, task, found);
                }
                Key::Revision(uid, number) => {
                    carry(
                        &mut self.revisions,
                        &before.revisions,
                        &(uid.clone(), *number),
                    );
                }
                Key::Allocation(item) => {
                    if let Some(old) = before.allocations.get(item) {
                        self.allocations.put(item, old.clone());
                    }
                }
                Key::Cluster => self.cluster = before.cluster.clone(),
                Key::User(_)
                | Key::Scale(_)
                | Key::Status(..)
                | Key::Election(..)
                | Key::Manager(_)
                | Key::Shard(_) => {}
            }
        }
    }

    /// Takes in one key; none if it means nothing to skep.
    fn change(&mut self, prefix: &str, text: &str, kv: Option<&KeyValue>) -> Option<Key> {
        let text = text.strip_prefix(prefix)?;
        let Some(key) = Key::parse(text) else {
            match kv {
                Some(_) => self.unknown.insert(text.to_owned()),
                None => self.unknown.remove(text),
            };
            return None;
        };
        self.broken.remove(text);
        let result = match &key {
            Key::User(object) => raw(&mut self.users, object, kv),
            Key::Scale(service) => raw(&mut self.scales, service, kv),
            Key::Accepted(object) => self.change_accepted(object, kv),
            Key::Status(object, controller) => {
                let key = (object.clone(), controller.clone());
                json(&mut self.statuses, key, kv)
                    .map(|found| self.by_node.take(object, controller, found))
            }
            Key::Revision(uid, number) => {
                json(&mut self.revisions, (uid.clone(), *number), kv).map(drop)
            }
            Key::Task(service, task) => json(&mut self.tasks, (service.clone(), task.clone()), kv)
                .map(|found| self.index_task(service, task, found)),
            Key::Binding(node, task) => json(&mut self.bindings, (node.clone(), task.clone()), kv)
                .map(|found| self.index_binding(node, task, found)),
            Key::TaskStatus(node, task) => {
                json(&mut self.task_statuses, (node.clone(), task.clone()), kv)
                    .map(|found| self.index_status(node, task, found))
            }
            Key::Allocation(item) => self.change_allocation(item, kv),
            Key::Cluster => match kv.map(read).transpose() {
                Ok(value) => {
                    self.cluster = value;
                    Ok(())
                }
                Err(error) => Err(error),
            },
            Key::Election(controller, lease) => {
                json(&mut self.elections, (controller.clone(), *lease), kv).map(drop)
            }
            Key::Manager(id) => json(&mut self.managers, id.clone(), kv).map(drop),
            Key::Shard(name) => json(&mut self.shards, name.clone(), kv).map(drop),
        };
        if let Err(error) = result {
            self.broken.insert(text.to_owned(), error);
        }
        Some(key)
    }

    fn change_allocation(&mut self, item: &Item, kv: Option<&KeyValue>) -> Result<(), String> {
        match kv.map(read).transpose() {
            Ok(Some(value)) => self.allocations.put(item, value),
            Ok(None) => self.allocations.remove(item),
            Err(error) => {
                self.allocations.occupy(item);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Brings the index by task up to what stands under the task's key now.
    fn index_task(&mut self, service: &Scoped, id: &TaskId, found: Option<Stored<Task>>) {
        self.index(id, |facets| match found {
            Some(task) => facets.task = Some((service.clone(), task)),
            None if facets
                .task
                .as_ref()
                .is_some_and(|(owner, _)| owner == service) =>
            {
                facets.task = None;
            }
            None => {}
        });
    }

    fn index_binding(&mut self, node: &NodeName, id: &TaskId, found: Option<Stored<Binding>>) {
        self.index(id, |facets| match found {
            Some(binding) => facets.binding = Some((node.clone(), binding)),
            None if facets.binding.as_ref().is_some_and(|(on, _)| on == node) => {
                facets.binding = None;
            }
            None => {}
        });
    }

    fn index_status(&mut self, node: &NodeName, id: &TaskId, found: Option<Stored<TaskStatus>>) {
        self.index(id, |facets| {
            facets.statuses.retain(|(on, _)| on != node);
            facets
                .statuses
                .extend(found.map(|status| (node.clone(), status)));
        });
    }

    fn index(&mut self, id: &TaskId, change: impl FnOnce(&mut Facets)) {
        let facets = self.by_task.entry(id.clone()).or_default();
        change(facets);
        if facets.is_empty() {
            self.by_task.remove(id);
        }
    }

    fn change_accepted(&mut self, object: &ObjectKey, kv: Option<&KeyValue>) -> Result<(), String> {
        match object.kind {
            Kind::Service => {
                let name = object.scoped();
                if let Some(old) = self.services.get(&name) {
                    self.uid_index.remove(&old.uid);
                }
                let result = json(&mut self.services, name.clone(), kv);
                if let Some(new) = self.services.get(&name) {
                    self.uid_index.insert(new.uid.clone(), name);
                }
                result.map(drop)
            }
            Kind::Network => json(&mut self.networks, object.scoped(), kv).map(drop),
            Kind::Node => json(&mut self.nodes, object.node_name(), kv).map(drop),
        }
    }
}

/// Takes over what stood under a key before, if anything did; gives what stands there now.
fn carry<K: Ord + Clone, T>(
    map: &mut BTreeMap<K, Stored<T>>,
    before: &BTreeMap<K, Stored<T>>,
    key: &K,
) -> Option<Stored<T>> {
    if let Some(old) = before.get(key) {
        map.insert(key.clone(), old.clone());
    }
    map.get(key).cloned()
}

fn stored<T>(kv: &KeyValue, value: T) -> Stored<T> {
    Stored {
        value: Arc::new(value),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        lease: kv.lease,
    }
}

fn read<T: DeserializeOwned>(kv: &KeyValue) -> Result<Stored<T>, String> {
    let value = serde_json::from_slice(&kv.value).map_err(|error| error.to_string())?;
    Ok(stored(kv, value))
}

fn raw<K: Ord + Clone>(
    map: &mut BTreeMap<K, Stored<Vec<u8>>>,
    key: &K,
    kv: Option<&KeyValue>,
) -> Result<(), String> {
    match kv {
        Some(kv) => map.insert(key.clone(), stored(kv, kv.value.clone())),
        None => map.remove(key),
    };
    Ok(())
}

/// Takes in a record; gives what stands under its key now. One that does not parse changes nothing.
fn json<K: Ord, T: DeserializeOwned>(
    map: &mut BTreeMap<K, Stored<T>>,
    key: K,
    kv: Option<&KeyValue>,
) -> Result<Option<Stored<T>>, String> {
    let found = kv.map(read::<T>).transpose()?;
    match &found {
        Some(stored) => map.insert(key, stored.clone()),
        None => map.remove(&key),
    };
    Ok(found)
}
