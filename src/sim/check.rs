//! The judge of a simulated run: what must hold after every step, told from the store and the engines alone. Pure.
//!
//! It shares no code with planners and asks nobody why something was done: it sees records and containers, and knows
//! what was done to the world by hand (nodes cut off, a store wiped), because that is what rules make exceptions for.
//!
//! Deliberately absent: whether the goal is reached, and in what time; the one who drives the run sees that.

use super::judge::Bench;
use super::mirror::{Mirror, Step};
use super::records::Records;
use super::witness::Happening;
use crate::api::name::NodeName;
use crate::api::uid::{ContainerId, TaskId, Uid};
use crate::api::unit::Revision;
use crate::engine::Container;
use crate::store::{KeyValue, Txn};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long an order may be on its way when what is wanted changes: the engine's deadline and what a slow one adds.
const ON_ITS_WAY: Duration = Duration::from_secs(20);

/// How long after a node came back its tasks may still be doubled by an order given before.
const BACK: Duration = Duration::from_secs(30);

/// How long what was wanted before still counts: a start that was ordered then may arrive, and what ran needs its grace
/// to stop.
const LIMIT_WINDOW: Duration = Duration::from_secs(60);

/// A rule that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The rule, in few words.
    pub rule: &'static str,
    /// What happened, with names.
    pub what: String,
}

impl Broken {
    /// What broke which rule.
    pub fn new(rule: &'static str, what: String) -> Self {
        Self { rule, what }
    }
}

/// A container as the judge knows it.
#[derive(Clone, Debug)]
struct Seen {
    node: String,
    name: String,
    task: Option<TaskId>,
    service: Option<Uid>,
    slot: String,
    has_started: bool,
    runs: bool,
    /// Whether it is the agent of its node's data plane: no record speaks of it.
    is_agent: bool,
}

/// Watches one run.
#[derive(Debug, Default)]
pub struct Judge {
    now: Duration,
    containers: BTreeMap<ContainerId, Seen>,
    mirror: Mirror,
    records: Records,
    /// Rules that the store shows by itself.
    bench: Bench,
    /// Containers that were made by hand: nobody else's to touch.
    protected: BTreeSet<ContainerId>,
    /// Nodes that cannot be reached now: how many causes there are.
    cut: BTreeMap<String, u32>,
    /// When a node could be reached again.
    back: BTreeMap<String, Duration>,
    /// When the store was wiped or set back last in this run: containers may have lost their records.
    lost: Option<Duration>,
    broken: Vec<Broken>,
    checked: BTreeMap<&'static str, u64>,
}

impl Judge {
    /// A judge who has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells the time since the run began.
    pub fn set_time(&mut self, now: Duration) {
        self.now = now;
        self.bench.log.now = now;
    }

    /// What was found broken so far, the first one first.
    pub fn broken(&self) -> &[Broken] {
        &self.broken
    }

    /// How often each rule was looked at.
    pub fn checked(&self) -> BTreeMap<&'static str, u64> {
        let mut checked = self.checked.clone();
        checked.extend(&self.bench.log.checked);
        checked
    }

    /// A container is somebody else's.
    pub fn protect(&mut self, id: ContainerId) {
        self.bench.protect(&id);
        self.protected.insert(id);
    }

    /// A node cannot be reached any more by one who leads it, or can be again.
    pub fn set_cut(&mut self, node: &str, is_cut: bool) {
        let causes = self.cut.entry(node.to_owned()).or_default();
        *causes = match is_cut {
            true => *causes + 1,
            false => causes.saturating_sub(1),
        };
        let is_cut = *causes > 0;
        if !is_cut {
            self.back.insert(node.to_owned(), self.now);
        }
        self.bench.set_cut(node, is_cut);
    }

    /// The whole store as it is after a step. `is_disaster`: it was wiped or set back, and nothing of this follows from what
    /// was there before.
    pub fn stored(&mut self, kvs: Vec<KeyValue>, is_disaster: bool) {
        let step = self.mirror.whole(kvs, is_disaster);
        self.saw(&step);
    }

    /// The whole store after it was wiped or set back by `revisions`. The newest key that is left may be older than that: what
    /// changed last was deleted.
    pub fn set_back(&mut self, kvs: Vec<KeyValue>, revisions: i64) {
        let mut step = self.mirror.whole(kvs, true);
        step.set_back = revisions;
        self.saw(&step);
    }

    /// The keys that changed in a step, as they are after it; none: the key is gone.
    pub fn changed(&mut self, keys: Vec<(String, Option<KeyValue>)>) {
        let step = self.mirror.part(keys);
        self.saw(&step);
    }

    fn saw(&mut self, step: &Step) {
        self.lost = step.is_disaster.then_some(self.now).or(self.lost);
        let lost = self.records.read(step, self.now, &mut self.broken);
        self.count("records are consistent");
        for task in lost {
            self.check_outlived(&task);
        }
        self.asks(|bench| bench.stored(step));
    }

    /// A manager lost its way to all engines at once, or has it again.
    pub fn set_uplink(&mut self, manager: &str, is_cut: bool) {
        self.bench.set_uplink(manager, is_cut);
    }

    /// A manager sends a transaction.
    pub fn sends(&mut self, manager: &str, txn: &Txn) {
        self.asks(|bench| bench.sends(manager, txn));
    }

    /// A transaction of a manager was committed right now, and the store was not shown since.
    pub fn commits(&mut self, manager: &str, txn: &Txn) {
        self.asks(|bench| bench.commits(manager, txn));
    }

    /// A manager was told that the outcome of its transaction is unknown.
    pub fn knows_not(&mut self, manager: &str, txn: &Txn) {
        self.asks(|bench| bench.knows_not(manager, txn));
    }

    /// A manager hears what the cluster's record says.
    pub fn hears(&mut self, manager: &str, record: &[u8]) {
        self.bench.hears(manager, record);
    }

    /// A manager gives a node's engine an order that changes something: one container, or none yet.
    pub fn orders(&mut self, manager: &str, node: &str, order: &str, container: &str) {
        self.asks(|bench| bench.orders(manager, node, order, container));
    }

    /// A manager has the store forget what was before a revision.
    pub fn compacts(&mut self, manager: &str, revision: Revision) {
        self.asks(|bench| bench.compacts(manager, revision));
    }

    /// Everything is as users want it, and nothing is written any more: what is left follows from that.
    pub fn rests(&mut self) {
        self.asks(Bench::rests);
    }

    fn asks(&mut self, ask: impl FnOnce(&mut Bench)) {
        ask(&mut self.bench);
        self.broken.append(&mut self.bench.log.broken);
    }

    /// Something happened to a container.
    pub fn happened(&mut self, node: &str, happening: Happening, container: &Container) {
        self.asks(|bench| bench.happened(node, happening, container));
        let id = &container.id;
        if happening == Happening::Created {
            let seen = seen(node, container);
            self.check_created(&seen);
            self.containers.insert(id.clone(), seen);
        }
        let Some(seen) = self.containers.get(id).cloned() else {
            return;
        };
        match happening {
            Happening::Created => {}
            Happening::Started => self.check_started(id, &seen),
            Happening::Stopped | Happening::Removed => self.check_ended(id, &seen, happening),
            Happening::Ended | Happening::Lost => {}
        }
        if let Some(seen) = self.containers.get_mut(id) {
            seen.has_started |= happening == Happening::Started;
            seen.runs = happening == Happening::Started;
        }
        if matches!(happening, Happening::Removed | Happening::Lost) {
            self.containers.remove(id);
        }
    }

    fn check_created(&mut self, new: &Seen) {
        let rule = "one container of a task";
        self.count(rule);
        let twin = self
            .containers
            .values()
            .find(|other| other.task.is_some() && other.task == new.task);
        if let Some(twin) = twin.map(|twin| (twin.node.clone(), twin.name.clone())) {
            let what = format!(
                "{} is made on {} while {} is on {}",
                new.name, new.node, twin.1, twin.0
            );
            self.broken.push(Broken::new(rule, what));
        }
    }

    fn check_started(&mut self, id: &ContainerId, seen: &Seen) {
        let rule = "a container that ran is never started again (C4)";
        self.count(rule);
        if seen.has_started {
            self.break_rule(rule, seen, "is started again");
        }
        if self.protected.contains(id) {
            return;
        }
        let (Some(task), Some(service)) = (&seen.task, &seen.service) else {
            return;
        };
        self.check_right_to_start(task, seen);
        self.check_slot(id, seen, task, service);
        self.check_limit(id, seen, service);
    }

    fn check_right_to_start(&mut self, task: &TaskId, seen: &Seen) {
        let rule = "a start is committed before it is ordered (C4)";
        self.count(rule);
        if !self.records.starting.contains(task) {
            self.break_rule(rule, seen, "starts, and no record says so");
        }
        let rule = "what is not wanted any more is not started (C4)";
        self.count(rule);
        let given_up = self.records.given_up.get(task);
        if given_up.is_some_and(|at| self.now.saturating_sub(*at) > ON_ITS_WAY) {
            self.break_rule(rule, seen, "starts long after its task was given up");
        }
        let rule = "a task runs where it is bound";
        self.count(rule);
        let bound = self.records.bound.get(task).map(NodeName::as_str);
        if bound.is_some_and(|node| node != seen.node) {
            self.break_rule(rule, seen, "starts on another node than its task's");
        }
    }

    /// Others of the slot run only on nodes that cannot be reached, but for the pair of a start-first change.
    fn check_slot(&mut self, id: &ContainerId, seen: &Seen, task: &TaskId, service: &Uid) {
        let rule = "two containers of a slot run only while a node cannot be reached (N3)";
        self.count(rule);
        let is_pair = |other: &Seen| {
            let other = other.task.as_ref();
            other.is_some_and(|other| self.records.is_pair(task, other))
        };
        let others: Vec<&Seen> = self
            .containers
            .iter()
            .filter(|(other, _)| *other != id && !self.protected.contains(*other))
            .map(|(_, other)| other)
            .filter(|other| other.runs && other.service.as_ref() == Some(service))
            .filter(|other| other.slot == seen.slot && !is_pair(other))
            .filter(|other| !self.is_excused(other, service))
            .filter(|_| !self.is_left_over(task) && !self.is_late(seen))
            .collect();
        if let Some(other) = others.first() {
            let how = format!("starts while {} runs on {}", other.name, other.node);
            self.break_rule(rule, seen, &how);
        }
    }

    /// Whether a container may run on beside its replacement: its node cannot (or could not just now) be reached and
    /// its service does not wait for it, or its record was lost with the store.
    fn is_excused(&self, other: &Seen, service: &Uid) -> bool {
        let is_given_up = other
            .task
            .as_ref()
            .is_some_and(|task| self.records.given_for_lost.contains(task));
        let waits = self.records.waits(service) && !is_given_up;
        let is_cut = self.cut.get(&other.node).is_some_and(|causes| *causes > 0);
        let back = self.back.get(&other.node);
        let was_cut = back.is_some_and(|at| self.now.saturating_sub(*at) < BACK);
        let is_known = other
            .task
            .as_ref()
            .is_some_and(|task| self.records.tasks.contains_key(task));
        ((is_cut || was_cut) && !waits) || (self.lost.is_some() && !is_known)
    }

    /// Whether the start of a task was on its way to its engine when the store lost its record.
    fn is_left_over(&self, task: &TaskId) -> bool {
        let is_recent = |lost| self.now.saturating_sub(lost) <= ON_ITS_WAY;
        self.lost.is_some_and(is_recent)
            && self.records.starting.contains(task)
            && !self.records.tasks.contains_key(task)
    }

    /// Whether a container was given up on a node that cannot, or could not just now, be reached to stop it. A service that
    /// waits for its node replaces it by none, but it may want fewer meanwhile.
    fn is_out_of_reach(&self, other: &Seen) -> bool {
        let is_cut = self.cut.get(&other.node).is_some_and(|causes| *causes > 0);
        let back = self.back.get(&other.node);
        let was_cut = back.is_some_and(|at| self.now.saturating_sub(*at) < BACK);
        let task = other.task.as_ref();
        (is_cut || was_cut) && task.is_some_and(|task| self.records.retired.contains(task))
    }

    /// Whether a container that was given up for its lost node starts by an order that was on its way when it was.
    fn is_late(&self, seen: &Seen) -> bool {
        let given_up = seen.task.as_ref().and_then(|task| {
            let is_for_lost = self.records.given_for_lost.contains(task);
            self.records.given_up.get(task).filter(|_| is_for_lost)
        });
        let is_recent = |at: &Duration| self.now.saturating_sub(*at) <= ON_ITS_WAY;
        given_up.is_some_and(is_recent) && self.is_out_of_reach(seen)
    }

    fn check_limit(&mut self, id: &ContainerId, seen: &Seen, service: &Uid) {
        let rule = "never more than wanted and surge run";
        self.count(rule);
        let running = self
            .containers
            .iter()
            .filter(|(other, of)| {
                let counts = || !self.is_excused(of, service) && !self.is_out_of_reach(of);
                *other == id || (of.runs && counts())
            })
            .filter(|(other, of)| {
                of.service.as_ref() == Some(service) && !self.protected.contains(*other)
            })
            .count() as u64;
        let limit = self.records.limit(service, self.now, LIMIT_WINDOW);
        if limit.is_some_and(|limit| running > limit) {
            let how = format!("starts as number {running} of {}", limit.unwrap_or(0));
            self.break_rule(rule, seen, &how);
        }
    }

    fn check_ended(&mut self, id: &ContainerId, seen: &Seen, happening: Happening) {
        let rule = "what is not ours is never touched (C1)";
        self.count(rule);
        if self.protected.contains(id) {
            self.break_rule(rule, seen, happening.as_str());
        }
        let rule = "a container that ran ends because its record says so (C2)";
        self.count(rule);
        let is_retired = |task: &TaskId| self.records.retired.contains(task);
        let is_for_tasks = !seen.is_agent && !self.protected.contains(id);
        let has_started = seen.has_started && is_for_tasks;
        if has_started && !seen.task.as_ref().is_some_and(is_retired) {
            let how = format!(
                "its engine {} it, and it was still wanted",
                happening.as_str()
            );
            self.break_rule(rule, seen, &how);
        }
    }

    /// A task's record is gone: nothing of it runs on a node that can be reached.
    fn check_outlived(&mut self, task: &TaskId) {
        let rule = "a task record outlives its container (C2)";
        self.count(rule);
        let of_task = |seen: &&Seen| {
            seen.runs
                && seen.task.as_ref() == Some(task)
                && self.records.nodes.contains(&NodeName::from(&*seen.node))
        };
        if let Some(seen) = self.containers.values().find(of_task).cloned() {
            self.break_rule(rule, &seen, "runs, and its record is gone");
        }
    }

    fn break_rule(&mut self, rule: &'static str, seen: &Seen, how: &str) {
        let what = format!("{} on {}: {how}", seen.name, seen.node);
        self.broken.push(Broken::new(rule, what));
    }

    fn count(&mut self, rule: &'static str) {
        *self.checked.entry(rule).or_default() += 1;
    }
}

fn seen(node: &str, container: &Container) -> Seen {
    // Labels are copied into images; the name is the proof.
    let task = container.labels.get("dev.skep.task");
    let is_ours = task.is_some_and(|task| container.name.ends_with(task.as_str()));
    let label = |name: &str| container.labels.get(name).filter(|_| is_ours).cloned();
    Seen {
        node: node.to_owned(),
        name: container.name.clone(),
        task: label("dev.skep.task").map(|task| TaskId::from(task.as_str())),
        service: label("dev.skep.service").map(|uid| Uid::from(uid.as_str())),
        slot: label("dev.skep.slot").unwrap_or_default(),
        has_started: false,
        runs: false,
        is_agent: container.labels.contains_key("dev.skep.agent") && container.name == "skep-agent",
    }
}
