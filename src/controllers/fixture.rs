//! A world for tests of planners: a cache that takes plans as the store would, and words for what nodes and engines do.

use crate::api::accepted::{Accepted, AcceptedNode};
use crate::api::allocation::Item;
use crate::api::cluster::{Cluster, FORMAT};
use crate::api::key::{DEFAULT_PREFIX, Key};
use crate::api::name::{NodeName, ObjectKey, Scoped};
use crate::api::node::{Availability, EngineSpec, NodeSpec, Role};
use crate::api::service::Annotated;
use crate::api::status::{EngineStatus, Found, NodeState, Status};
use crate::api::task::{Binding, Desired, Task, TaskState, TaskStatus};
use crate::api::time::Timestamp;
use crate::api::uid::{Ids, TaskId, Uid};
use crate::api::unit::{Bytes, Generation, Incarnation, LeaseId, NanoCpus, Revision};
use crate::runtime::cache::Cache;
use crate::runtime::clock::Now;
use crate::runtime::controller::Controller;
use crate::runtime::fixture::is_empty_below;
use crate::runtime::joins;
use crate::runtime::pack::OPERATIONS;
use crate::runtime::plan::{Expect, Note, Plan, Step, Write, encode};
use crate::runtime::view::{HEALTH, TASK};
use crate::store::{KeyValue, WatchBatch, WatchEvent};
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// A store's contents, a clock, and what was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) cache: Cache,
    pub(crate) now: Now,
    pub(crate) notes: Vec<Note>,
    pub(crate) writes: usize,
    seed: u128,
}

pub(crate) fn web_name() -> Scoped {
    Scoped::new("default", "web")
}

impl World {
    /// An empty cluster in its first incarnation.
    pub(crate) fn new() -> Self {
        let mut world = Self::default();
        world.now.wall = Timestamp(1_800_000_000_000);
        world.cluster(1, false);
        world
    }

    pub(crate) fn cluster(&mut self, incarnation: u64, is_adopting: bool) {
        let cluster = Cluster {
            id: Uid::from("cluster"),
            incarnation: Incarnation(incarnation),
            format: FORMAT,
            adopting_since: is_adopting.then_some(self.now.wall),
            held: None,
        };
        self.put(&Key::Cluster, &cluster);
    }

    pub(crate) fn put(&mut self, key: &Key, value: &impl Serialize) {
        self.apply(&Step::default().put(key.clone(), value));
    }

    pub(crate) fn delete(&mut self, key: &Key) {
        self.apply(&Step::default().delete(key.clone()));
    }

    /// A user's put.
    pub(crate) fn user(&mut self, text: &str) {
        let key = Key::User(ObjectKey::service(&web_name()));
        self.raw(&key, text.as_bytes());
    }

    pub(crate) fn raw(&mut self, key: &Key, value: &[u8]) {
        let step = Step {
            expects: Vec::new(),
            writes: vec![Write::Put(key.clone(), value.to_vec())],
        };
        self.apply(&step);
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now.wall = self.now.wall.after(time);
        self.now.since_boot += time;
    }

    /// A node with 4 CPUs and 8 GiB.
    pub(crate) fn node(
        &mut self,
        name: &str,
        state: NodeState,
        change: impl FnOnce(&mut AcceptedNode),
    ) {
        let node = NodeName::from(name);
        let mut record = Accepted {
            uid: Uid::from(format!("uid-{name}")),
            generation: Generation(1),
            metadata: Annotated::default(),
            spec: NodeSpec {
                engine: EngineSpec {
                    url: format!("tcp://{name}:2375"),
                    tls: None,
                },
                manager: None,
                role: Role::Worker,
                availability: Availability::Active,
                address: None,
                reserved: Default::default(),
                generic: Default::default(),
            },
            create_revision: Revision(1),
            mod_revision: Revision(1),
            incarnation: Incarnation(1),
            created_at: self.now.wall,
            deleted_at: None,
        };
        change(&mut record);
        self.put(&Key::Accepted(ObjectKey::node(&node)), &record);
        let engine = EngineStatus {
            state,
            api_version: Some("1.41".into()),
            cpus: NanoCpus(4_000_000_000),
            memory: Bytes(8 << 30),
            ..EngineStatus::default()
        };
        let status = Status {
            uid: Some(record.uid),
            engine: Some(engine),
            ..Status::default()
        };
        self.put(&Key::Status(ObjectKey::node(&node), HEALTH.into()), &status);
    }

    pub(crate) fn found(&mut self, node: &str, found: Found) {
        let node = NodeName::from(node);
        let uid = self.cache.nodes[&node].value.uid.clone();
        let status = Status {
            uid: Some(uid),
            found: Some(found),
            ..Status::default()
        };
        self.put(&Key::Status(ObjectKey::node(&node), TASK.into()), &status);
    }

    pub(crate) fn plan<C: Controller>(&mut self, controller: &C) -> Plan {
        let mut all = Plan::default();
        for work in controller.all_work(&self.cache) {
            self.seed += 1;
            let mut ids = Ids::from_seed(self.seed);
            let plan = controller.plan(&work, &self.cache, self.now, &mut ids);
            all.steps.extend(plan.steps);
            all.notes.extend(plan.notes);
            all.look_again = plan.look_again.or(all.look_again);
        }
        all
    }

    /// Whether a change of `key` makes the controller look.
    pub(crate) fn wakes<C: Controller>(&self, controller: &C, key: &Key) -> bool {
        !controller.work(key, &self.cache).is_empty()
    }

    /// Plans and writes once; planning again has to plan nothing.
    pub(crate) fn settle<C: Controller>(&mut self, controller: &C) -> Plan {
        let plan = self.plan(controller);
        for step in &plan.steps {
            assert!(step.writes.len() <= OPERATIONS && step.expects.len() <= OPERATIONS);
            self.apply(step);
        }
        self.notes.extend(plan.notes.clone());
        let again = self.plan(controller);
        assert!(again.is_in_step(), "planned again: {}", show(&again));
        plan
    }

    /// Has two controllers plan and write in turn, each on what the other wrote, often enough for both to be done.
    pub(crate) fn settle_both<A: Controller, B: Controller>(&mut self, one: &A, other: &B) {
        for _ in 0..10 {
            let first = self.plan(one);
            first.steps.iter().for_each(|step| self.apply(step));
            let second = self.plan(other);
            second.steps.iter().for_each(|step| self.apply(step));
        }
    }

    pub(crate) fn apply(&mut self, step: &Step) {
        for expect in &step.expects {
            match expect {
                Expect::Missing(key) => assert_eq!(self.cache.mod_revision(key), None, "{key}"),
                Expect::Unchanged(key, revision) | Expect::Known(key, revision) => {
                    assert_eq!(self.cache.mod_revision(key), Some(*revision), "{key}");
                }
                Expect::NoneBelow(prefix) => assert!(is_empty_below(&self.cache, prefix)),
            }
        }
        let revision = Revision(self.cache.revision.0 + 1);
        let events = step
            .writes
            .iter()
            .map(|write| self.event(write, revision))
            .collect();
        self.writes += step.writes.len();
        self.cache
            .advance(DEFAULT_PREFIX, &WatchBatch { revision, events });
        assert!(self.cache.broken.is_empty(), "{:?}", self.cache.broken);
    }

    fn event(&self, write: &Write, revision: Revision) -> WatchEvent {
        match write {
            Write::Delete(key) => WatchEvent::Delete {
                key: key.full(DEFAULT_PREFIX),
                revision,
            },
            Write::Put(key, value) => {
                let before = match key {
                    Key::User(object) => {
                        self.cache.users.get(object).map(|old| old.create_revision)
                    }
                    _ => None,
                };
                WatchEvent::Put(KeyValue {
                    key: key.full(DEFAULT_PREFIX),
                    value: value.clone(),
                    create_revision: before.unwrap_or(revision),
                    mod_revision: revision,
                    version: 1,
                    lease: LeaseId(0),
                })
            }
        }
    }

    pub(crate) fn tasks(&self) -> Vec<Task> {
        let mut tasks: Vec<Task> = self
            .cache
            .tasks
            .values()
            .map(|task| (**task).clone())
            .collect();
        tasks.sort_by_key(|task| {
            (
                task.slot.clone(),
                task.created_at,
                task.replaces.is_some(),
                task.id.clone(),
            )
        });
        tasks
    }

    pub(crate) fn name_of(&self, id: &TaskId) -> Scoped {
        self.cache
            .task(id)
            .map(|(name, _)| name.clone())
            .expect("a task")
    }

    pub(crate) fn bind(&mut self, id: &TaskId, node: &str) {
        let name = self.name_of(id);
        let task = self.cache.task(id).expect("a task").1.value.clone();
        let node = NodeName::from(node);
        let binding = Binding {
            task: id.clone(),
            service: task.service.clone(),
            namespace: name.namespace,
            service_name: name.name,
            node: self.cache.nodes[&node].value.uid.clone(),
            reserved: Default::default(),
            host_ports: Vec::new(),
            bound_at: self.now.wall,
        };
        self.put(&Key::Binding(node, id.clone()), &binding);
    }

    pub(crate) fn observe(&mut self, id: &TaskId, state: TaskState) {
        self.observe_with(id, state, |_| {});
    }

    pub(crate) fn observe_with(
        &mut self,
        id: &TaskId,
        state: TaskState,
        change: impl FnOnce(&mut TaskStatus),
    ) {
        let (node, binding) = self.cache.binding(id).expect("a binding");
        let (node, binding) = (node.clone(), binding.value.clone());
        let mut status = TaskStatus {
            task: id.clone(),
            service: binding.service.clone(),
            node: binding.node.clone(),
            state,
            reason: None,
            message: None,
            container: None,
            exit_code: None,
            health: None,
            addresses: self.given(id),
            bridged: Vec::new(),
            ports: Vec::new(),
            started_at: None,
            finished_at: None,
            since: self.now.wall,
        };
        change(&mut status);
        self.put(&Key::TaskStatus(node, id.clone()), &status);
    }

    /// The addresses of overlays that a task was given: where its engine shows it.
    fn given(&self, id: &TaskId) -> Vec<IpAddr> {
        let Some((name, _)) = self.cache.task(id) else {
            return Vec::new();
        };
        let items = self.cache.allocations.of(&joins::task_owner(name, id));
        let addresses = items.filter_map(Item::address);
        addresses.map(|(_, address)| IpAddr::V4(address)).collect()
    }

    /// What nodes that are ready do with what is wanted: everything works at once.
    pub(crate) fn engines(&mut self) {
        for task in self.tasks() {
            let Some((node, _)) = self.cache.binding(&task.id) else {
                if task.desired >= Desired::Shutdown {
                    self.delete(&Key::Task(self.name_of(&task.id), task.id));
                }
                continue;
            };
            let node = node.clone();
            let is_ready = crate::runtime::view::node(&self.cache, &node)
                .is_some_and(|view| view.state == NodeState::Ready);
            let state = self
                .cache
                .task_status(&task.id)
                .map(|status| status.value.state);
            let is_over = state.is_some_and(TaskState::is_terminal);
            match task.desired {
                _ if !is_ready => {}
                Desired::Remove => {
                    self.delete(&Key::Task(self.name_of(&task.id), task.id.clone()));
                    self.delete(&Key::Binding(node.clone(), task.id.clone()));
                    self.delete(&Key::TaskStatus(node, task.id));
                }
                _ if is_over => {}
                Desired::Ready if state != Some(TaskState::Ready) => {
                    self.observe(&task.id, TaskState::Ready)
                }
                Desired::Running if state != Some(TaskState::Running) => {
                    self.observe(&task.id, TaskState::Running)
                }
                Desired::Shutdown => self.observe(&task.id, TaskState::Shutdown),
                Desired::Ready | Desired::Running => {}
            }
        }
    }
}

/// A plan in one line per write, without values.
pub(crate) fn show(plan: &Plan) -> String {
    let line = |write: &Write| match write {
        Write::Put(key, value) => format!("put {key} {}", String::from_utf8_lossy(value)),
        Write::Delete(key) => format!("del {key}"),
    };
    let lines: Vec<String> = plan
        .steps
        .iter()
        .flat_map(|step| &step.writes)
        .map(line)
        .collect();
    lines.join("\n")
}

/// The bytes of a record, for keys that tests write by hand.
pub(crate) fn bytes(value: &impl Serialize) -> Vec<u8> {
    encode(value)
}
