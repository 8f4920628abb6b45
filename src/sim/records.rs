//! What the judge knows of the store: the records that give the right to act, and what they said before. Pure.

use super::check::Broken;
use super::mirror::Step;
use crate::api::accepted::AcceptedService;
use crate::api::key::Key;
use crate::api::name::{NodeName, Scoped};
use crate::api::service::{Mode, OnNodeLost, Order, ServiceSpec};
use crate::api::task::{Desired, Slot, Task, TaskState, TaskStatus};
use crate::api::uid::{TaskId, Uid};
use crate::store::KeyValue;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Everything that was ever committed and matters to a verdict.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Task records that are there now.
    pub(super) tasks: BTreeMap<TaskId, Task>,
    /// Tasks that were wanted no more at some time.
    pub(super) retired: BTreeSet<TaskId>,
    /// When a task was given up, by the store's present history: in a backup's it may still be wanted.
    pub(super) given_up: BTreeMap<TaskId, Duration>,
    /// Those of them whose service did not wait for lost nodes then: what is made in their place may run beside them while
    /// their node cannot be reached, whatever the service says later.
    pub(super) given_for_lost: BTreeSet<TaskId>,
    /// Tasks that were committed to be started at some time.
    pub(super) starting: BTreeSet<TaskId>,
    /// Where a task was bound first.
    pub(super) bound: BTreeMap<TaskId, NodeName>,
    /// Tasks that were first wanted running, in place of another (which), while their service started the new before it
    /// stopped the old: with that other they are a pair until one of both is gone, whatever the service says meanwhile, and
    /// whatever the store loses: the start of one may be on its way.
    paired: BTreeMap<TaskId, TaskId>,
    /// Services in force, by uid.
    pub(super) services: BTreeMap<Uid, (Scoped, ServiceSpec)>,
    /// What each service may run at most, as wanted and as surge, since when.
    limits: BTreeMap<Uid, Vec<(Duration, u64, u64)>>,
    /// Nodes with an accepted record.
    pub(super) nodes: BTreeSet<NodeName>,
    /// Whether services or nodes have changed since the limits were noted.
    is_resized: bool,
}

impl Records {
    /// Takes in a step of the store; what is broken is pushed. After a disaster (a wipe, an older backup) what was there
    /// before is no measure. Gives the tasks whose records are gone.
    pub(super) fn read(
        &mut self,
        step: &Step,
        now: Duration,
        broken: &mut Vec<Broken>,
    ) -> Vec<TaskId> {
        if step.is_disaster {
            self.tasks.clear();
            self.bound.clear();
            self.nodes.clear();
            self.is_resized = true;
            self.given_up.clear();
        }
        let gone = step.gone.iter();
        let lost = gone.filter_map(|(key, _)| self.forget(key)).collect();
        let mut slots = BTreeSet::new();
        for kv in &step.changed {
            slots.extend(self.learn(kv, now, broken));
        }
        for slot in slots {
            self.check_slot(&slot, broken);
        }
        lost
    }

    /// A key is gone: the task whose record it was.
    fn forget(&mut self, key: &str) -> Option<TaskId> {
        match Key::parse(key.strip_prefix("/skep/")?)? {
            Key::Task(_, task) => {
                self.tasks.remove(&task);
                Some(task)
            }
            Key::Accepted(object) if object.namespace.is_empty() => {
                self.is_resized |= self.nodes.remove(&NodeName::from(object.name.as_str()));
                None
            }
            _ => None,
        }
    }

    /// A key is new or changed: the slot that this may concern.
    fn learn(
        &mut self,
        kv: &KeyValue,
        now: Duration,
        broken: &mut Vec<Broken>,
    ) -> Option<(Uid, Slot)> {
        match Key::parse(kv.key.strip_prefix("/skep/")?)? {
            Key::Task(..) => {
                let task: Task = serde_json::from_slice(&kv.value).ok()?;
                let slot = (task.service.clone(), task.slot.clone());
                self.learn_task(task, now, broken);
                return Some(slot);
            }
            Key::Binding(node, task) => {
                let first = self.bound.entry(task.clone()).or_insert(node.clone());
                if *first != node {
                    let what = format!("task {task} was bound to {first} and is bound to {node}");
                    broken.push(Broken::new("a task never moves", what));
                }
            }
            Key::TaskStatus(_, task) => {
                let status: TaskStatus = serde_json::from_slice(&kv.value).ok()?;
                if matches!(status.state, TaskState::Starting | TaskState::Running) {
                    self.starting.insert(task);
                }
            }
            Key::Accepted(object) if object.namespace.is_empty() => {
                self.is_resized |= self.nodes.insert(NodeName::from(object.name.as_str()));
            }
            Key::Accepted(object) => {
                self.is_resized = true;
                let record: AcceptedService = serde_json::from_slice(&kv.value).ok()?;
                let name = Scoped::new(&*object.namespace, &*object.name);
                self.services.insert(record.uid, (name, record.spec));
            }
            _ => {}
        }
        if std::mem::take(&mut self.is_resized) {
            self.note_limits(now);
        }
        None
    }

    fn learn_task(&mut self, task: Task, now: Duration, broken: &mut Vec<Broken>) {
        if task.desired >= Desired::Shutdown {
            if self.retired.insert(task.id.clone()) && !self.waits(&task.service) {
                self.given_for_lost.insert(task.id.clone());
            }
            self.given_up.entry(task.id.clone()).or_insert(now);
        }
        let before = self.tasks.get(&task.id).map(|before| before.desired);
        if let Some(before) = before.filter(|before| *before > task.desired) {
            let what = format!(
                "task {} was wanted {before:?} and is wanted {:?} again",
                task.id, task.desired
            );
            broken.push(Broken::new("what is wanted never goes back (C4)", what));
        }
        let begins = task.desired == Desired::Running && before != Some(Desired::Running);
        if let (true, Some(old)) = (begins, &task.replaces)
            && self.is_start_first(&task.service)
        {
            self.paired.insert(task.id.clone(), old.clone());
        }
        self.tasks.insert(task.id.clone(), task);
    }

    /// Whether one of the tasks takes over from the other, in the order that allows both to run (rule N3).
    ///
    /// Which of both starts first is nobody's promise: an old one that has yet to run (its node was slow, its container
    /// was made anew by another leader) may start after the new one that is there to take over from it.
    pub(super) fn is_pair(&self, one: &TaskId, other: &TaskId) -> bool {
        let takes_over = |new: &TaskId, old: &TaskId| self.paired.get(new) == Some(old);
        takes_over(one, other) || takes_over(other, one)
    }

    /// What each service may run at most from now on.
    fn note_limits(&mut self, now: Duration) {
        for (uid, (_, spec)) in &self.services {
            let wanted = match spec.mode {
                Mode::Global | Mode::GlobalJob => self.nodes.len() as u64,
                // A service whose manifest leaves the number out follows its scale key.
                _ => spec.replicas.map_or(u64::MAX, u64::from),
            };
            let surge = match spec.update.order {
                Some(Order::StopFirst) => 0,
                _ => match spec.update.parallelism.unwrap_or(1) {
                    0 => wanted,
                    some => u64::from(some),
                },
            };
            let history = self.limits.entry(uid.clone()).or_default();
            let is_same =
                |(_, many, more): &(Duration, u64, u64)| (*many, *more) == (wanted, surge);
            if !history.last().is_some_and(is_same) {
                history.push((now, wanted, surge));
            }
        }
    }

    /// The most that a service might have run at any time of the last `window`; none: it never was in force. Of a service
    /// that was made smaller and changed at once, what was wanted before is still stopping while new ones start: what was
    /// wanted and what may come on top are each the most of the window.
    pub(super) fn limit(&self, uid: &Uid, now: Duration, window: Duration) -> Option<u64> {
        let history = self.limits.get(uid)?;
        let since = now.saturating_sub(window);
        // The one in force at the window's begin, and all later ones.
        let first = history.iter().rposition(|(at, ..)| *at <= since);
        let within = &history[first.unwrap_or(0)..];
        let wanted = within.iter().map(|(_, wanted, _)| *wanted).max()?;
        let surge = within.iter().map(|(.., surge)| *surge).max()?;
        Some(wanted.saturating_add(surge))
    }

    /// Whether a service waits for nodes that are lost.
    pub(super) fn waits(&self, uid: &Uid) -> bool {
        let spec = self.services.get(uid).map(|(_, spec)| spec);
        spec.is_some_and(|spec| spec.template.on_node_lost == OnNodeLost::Wait)
    }

    /// Whether a service's update starts the new before it stops the old.
    fn is_start_first(&self, uid: &Uid) -> bool {
        let order = self.services.get(uid).map(|(_, spec)| spec.update.order);
        order != Some(Some(Order::StopFirst))
    }

    /// One task of a slot is wanted running, or a pair of which one takes over from the other.
    fn check_slot(&self, (service, slot): &(Uid, Slot), broken: &mut Vec<Broken>) {
        let wanted: Vec<&Task> = self
            .tasks
            .values()
            .filter(|task| task.service == *service && task.slot == *slot)
            .filter(|task| task.desired == Desired::Running)
            .collect();
        let is_fine = match wanted.as_slice() {
            [] | [_] => true,
            [a, b] => self.is_pair(&a.id, &b.id),
            _ => false,
        };
        if !is_fine {
            let names: Vec<String> = wanted.iter().map(|task| task.id.to_string()).collect();
            let what = format!(
                "slot {slot} of service {service} is wanted by {}",
                names.join(", ")
            );
            broken.push(Broken::new("one task is wanted for a slot (N3)", what));
        }
    }
}
