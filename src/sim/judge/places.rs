//! Where tasks may be and what they hold there; which nodes count as lost (rules C6, I4, N1, N2, and placement). Pure.

use super::store::{Record, Store};
use super::{Bench, Made, VIEW, object_of};
use crate::api::name::{Kind, NodeName, ObjectKey};
use crate::api::service::ServiceSpec;
use crate::api::status::{NodeState, Status};
use crate::api::task::{Binding, Desired, HostPort, Task};
use crate::api::uid::{TaskId, Uid};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A node that answered is not down before it has been silent for so long: half of the grace, because pings have gaps.
const SILENCE: Duration = Duration::from_secs(5);

/// A node that could be reached for less than this may have answered nobody: the next look may be a second away, and its way
/// there and back takes 600 ms at most.
const BREATH: Duration = Duration::from_millis(1_600);

/// So long a manager that lost most of its engines holds its verdicts, less what the detection may take.
const HOLD: Duration = Duration::from_secs(50);

/// What is remembered of nodes and specs.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// When a node was ready, and took tasks, for the last time.
    ready: BTreeMap<NodeName, Duration>,
    active: BTreeMap<NodeName, Duration>,
    /// The spec of a service before the last change, and when that was.
    earlier: BTreeMap<Uid, (Duration, ServiceSpec)>,
    /// Nodes that cannot be reached by one who leads: since when, and until when.
    cut: BTreeMap<String, (Duration, Option<Duration>)>,
    /// Managers that lost their way to all engines at once: since when, and which nodes there were.
    uplinks: BTreeMap<String, (Duration, BTreeSet<NodeName>)>,
}

impl Places {
    pub(super) fn lost(&mut self) {
        self.ready.clear();
        self.active.clear();
        self.earlier.clear();
    }
}

impl Bench {
    /// Whether the node of this engine is called ready.
    pub(super) fn answers(&self, engine: &str) -> bool {
        state(&self.store, &NodeName::from(engine)) == Some(NodeState::Ready)
    }

    /// A node cannot be reached any more, or can be again.
    pub(in crate::sim) fn set_cut(&mut self, node: &str, is_cut: bool) {
        let now = self.log.now;
        let cut = self
            .places
            .cut
            .entry(node.to_owned())
            .or_insert((now, None));
        *cut = match (is_cut, cut.1) {
            // Nobody was answered in between.
            (true, Some(until)) if now - until < BREATH => (cut.0, None),
            (true, Some(_)) => (now, None),
            (true, None) => (cut.0, None),
            (false, _) => (cut.0, Some(now)),
        };
    }

    /// A manager lost its way to all engines at once, or has it again.
    pub(in crate::sim) fn set_uplink(&mut self, manager: &str, is_cut: bool) {
        match is_cut {
            true => {
                let lost = (self.log.now, self.nodes().collect());
                self.places.uplinks.insert(manager.to_owned(), lost);
            }
            false => {
                self.places.uplinks.remove(manager);
            }
        }
    }

    /// Remembers what was in force until now.
    pub(super) fn note_in_force(&mut self, object: &ObjectKey) {
        let Some(old) = self.store.accepted.get(object) else {
            return;
        };
        let now = self.log.now;
        if object.kind == Kind::Service
            && let Ok(spec) = serde_json::from_value(old.spec.clone())
        {
            self.places.earlier.insert(old.uid.clone(), (now, spec));
        }
        if object.kind == Kind::Node && is_active(old) {
            self.places.active.insert(object.node_name(), now);
        }
    }

    /// Remembers that a node was ready until now, if it was.
    pub(super) fn note_ready(&mut self, object: &ObjectKey) {
        let node = object.node_name();
        if object.kind == Kind::Node && state(&self.store, &node) == Some(NodeState::Ready) {
            self.places.ready.insert(node, self.log.now);
        }
    }

    pub(super) fn check_health(&mut self, object: &ObjectKey, controller: &str, new: &Status) {
        if object.kind != Kind::Node || controller != "health" {
            return;
        }
        let node = object.node_name();
        let before = state(&self.store, &node);
        self.note_ready(object);
        let new = new.engine.as_ref().map(|engine| engine.state);
        if new != Some(NodeState::Down) || before == Some(NodeState::Down) {
            return;
        }
        let now = self.log.now;
        let cut = self.places.cut.get(node.as_str());
        let silent = cut.map(|(since, until)| until.unwrap_or(now).saturating_sub(*since));
        let is_now = cut.is_some_and(|(_, until)| until.is_none_or(|at| now - at < SILENCE));
        let is_kept = is_now && silent >= Some(SILENCE);
        self.log
            .check("a node is down only after the grace (N1)", is_kept, || {
                format!("{node} is down after {silent:?}")
            });
        self.check_doubt(&node, cut.map(|(since, _)| *since));
    }

    /// The nodes that there are.
    fn nodes(&self) -> impl Iterator<Item = NodeName> {
        let objects = self.store.accepted.keys();
        let nodes = objects.filter(|object| object.kind == Kind::Node);
        nodes.map(ObjectKey::node_name)
    }

    /// Whether a node could not be reached at a time already.
    fn was_cut(&self, node: &NodeName, at: Duration) -> bool {
        let cut = self.places.cut.get(node.as_str());
        cut.is_some_and(|(since, until)| *since < at && until.is_none_or(|until| until > at))
    }

    /// Who lost most engines at once does not call them down at once.
    fn check_doubt(&mut self, node: &NodeName, cut: Option<Duration>) {
        let judge = self.store.holder("election/health");
        let judge = judge.map(|(_, manager)| manager.to_owned());
        let lost = judge.and_then(|manager| self.places.uplinks.get(&manager));
        let since = lost.map(|(since, _)| *since);
        // What users have removed since, and what was away before, is no loss.
        let is_most = lost.is_some_and(|(since, lost)| {
            let answered = self.nodes().filter(|node| !self.was_cut(node, *since));
            let (lost, others): (Vec<_>, Vec<_>) = answered.partition(|node| lost.contains(node));
            lost.len() > 1 && lost.len() > others.len()
        });
        let is_alone = is_most && cut >= since;
        let is_kept = !is_alone || !self.log.is_within(since, HOLD);
        let rule = "a manager that loses most engines at once suspects itself (N2)";
        self.log.check(rule, is_kept, || {
            format!("{node} is down, and its judge has lost its own way out")
        });
    }

    /// A node is forgotten once nothing of ours runs on it.
    pub(super) fn check_node_left(&mut self, object: &ObjectKey) {
        if object.kind != Kind::Node {
            return;
        }
        let engine = object.name.as_str();
        let is_recorded = |made: &&Made| self.store.tasks.contains_key(&made.task);
        let mut containers = self.containers.values().filter(is_recorded);
        let left = containers.find(|made| made.runs && made.engine == engine);
        let left = left.map(|made| made.name.clone());
        let rule = "a node is forgotten once nothing of ours runs there (I1)";
        self.log.check(rule, left.is_none(), || {
            format!("{engine} is forgotten, and {left:?} runs there")
        });
    }

    /// Orders reach only the engine that is on record for the container's node.
    pub(super) fn check_engine(&mut self, made: &Made, what: &str) {
        let mut nodes = self.store.accepted.iter();
        let of_node = |(object, record): &(&ObjectKey, &Record)| {
            object.kind == Kind::Node && record.uid == made.node
        };
        let Some((object, _)) = nodes.find(of_node) else {
            return;
        };
        let health = (object.clone(), "health".into());
        let report = self.store.reports.get(&health);
        let id = report.and_then(|report| report.engine.as_ref()?.id.clone());
        let is_kept = id.is_none_or(|id| id == format!("SIM:{}", made.engine));
        let rule = "another engine behind an address is left alone (I4)";
        self.log.check(rule, is_kept, || what.to_owned());
    }

    /// A task gets its place: what is found there is left where it is.
    pub(super) fn check_binding(&mut self, node: &NodeName, new: &Binding) {
        let task = self
            .store
            .tasks
            .get(&new.task)
            .map(|(_, task)| task.clone());
        let is_known = self.store.bindings.contains_key(&new.task);
        let mut containers = self.containers.values();
        let is_home = containers.any(|made| made.task == new.task && made.engine == node.as_str());
        let is_found = |task: &Task| is_home || task.adopted_from.is_some();
        let Some(task) = task.filter(|task| !is_known && !is_found(task)) else {
            return;
        };
        let what = || format!("task {} is bound to {node}", new.task);
        let is_ready = state(&self.store, node) == Some(NodeState::Ready)
            || self
                .log
                .is_within(self.places.ready.get(node).copied(), VIEW);
        self.log
            .check("a task is bound to a node that answers", is_ready, what);
        let record = self.store.accepted.get(&object_of(node));
        let takes = record.is_some_and(is_active)
            || self
                .log
                .is_within(self.places.active.get(node).copied(), VIEW);
        self.log
            .check("a task is bound to a node that takes tasks", takes, what);
        self.check_spec(node, new, &task);
        self.check_held(node, new);
    }

    /// Constraints and the most per node, by the spec in force or the one right before.
    fn check_spec(&mut self, node: &NodeName, new: &Binding, task: &Task) {
        let earlier = self.places.earlier.get(&new.service);
        let earlier = earlier.filter(|(at, _)| self.log.is_within(Some(*at), VIEW));
        let specs: Vec<ServiceSpec> = self
            .store
            .spec(&new.service)
            .into_iter()
            .chain(earlier.map(|(_, spec)| spec.clone()))
            .collect();
        let fits = specs.is_empty() || specs.iter().any(|spec| is_allowed(spec, node));
        self.log
            .check("a task is bound where its constraints hold", fits, || {
                format!("task {} is bound to {node}", new.task)
            });
        let is_other = |id: &TaskId, on: &NodeName, other: &Binding| {
            *id != new.task
                && on == node
                && other.service == new.service
                && Some(id) != task.replaces.as_ref()
                && !self.store.is_over(id)
                && self
                    .store
                    .tasks
                    .get(id)
                    .is_some_and(|(_, task)| task.desired <= Desired::Running)
        };
        let bindings = self.store.bindings.iter();
        let others: BTreeSet<&TaskId> = bindings
            .filter(|(id, (on, other))| is_other(id, on, other))
            .map(|(id, _)| id)
            .collect();
        // A task that takes the place of one of them adds none.
        let replaces = |id: &&TaskId| {
            let task = self.store.tasks.get(*id);
            let replaced = task.and_then(|(_, task)| task.replaces.as_ref());
            replaced.is_some_and(|replaced| others.contains(replaced))
        };
        let others = others.iter().filter(|id| !replaces(id)).count();
        let most = specs
            .iter()
            .map(|spec| match spec.template.placement.max_replicas_per_node {
                0 => usize::MAX,
                most => most as usize,
            });
        let has_room = most.max().is_none_or(|most| others < most);
        let rule = "no more tasks of a service on a node than it may have";
        self.log.check(rule, has_room, || {
            format!("task {} is bound to {node}, which has {others}", new.task)
        });
    }

    /// Ports and reservations: held until whoever has them was seen stopped (rule C6).
    fn check_held(&mut self, node: &NodeName, new: &Binding) {
        let holds =
            |id: &TaskId, on: &NodeName| *id != new.task && on == node && !self.store.is_over(id);
        let all = self.store.bindings.iter();
        let held: Vec<&Binding> = all
            .filter(|(id, (on, _))| holds(id, on))
            .map(|(_, (_, binding))| binding)
            .collect();
        let is_taken = |port: &HostPort| {
            let mut others = held.iter().flat_map(|binding| &binding.host_ports);
            others.any(|held| {
                (held.published, held.protocol) == (port.published, port.protocol)
                    && (held.host_ip == port.host_ip
                        || held.host_ip.is_none()
                        || port.host_ip.is_none())
            })
        };
        let taken = new.host_ports.iter().find(|port| is_taken(port));
        let taken = taken.map(|port| port.published);
        let report = self.store.reports.get(&(object_of(node), "health".into()));
        let engine = report.and_then(|report| report.engine.as_ref());
        let sum = |of: fn(&Binding) -> u64| held.iter().map(|held| of(held)).sum::<u64>() + of(new);
        let memory = sum(|binding| binding.reserved.memory.0);
        let cpus = sum(|binding| binding.reserved.cpus.0);
        let has_room = engine.is_none_or(|has| memory <= has.memory.0 && cpus <= has.cpus.0);
        let reserves = new.reserved.memory.0 + new.reserved.cpus.0 > 0;
        let rule = "a host port has one holder until that was seen stopped (C6)";
        self.log.check(rule, taken.is_none(), || {
            format!("task {} takes port {taken:?} of {node}", new.task)
        });
        let rule = "no more is reserved than a node has (C6)";
        self.log.check(rule, has_room || !reserves, || {
            format!("task {} brings {node} to {memory} bytes", new.task)
        });
    }
}

fn state(store: &Store, node: &NodeName) -> Option<NodeState> {
    let report = store.reports.get(&(object_of(node), "health".into()))?;
    Some(report.engine.as_ref()?.state)
}

fn is_active(node: &Record) -> bool {
    let availability = node.spec["availability"].as_str().unwrap_or("active");
    node.deleted_at.is_none() && availability == "active"
}

/// Reads constraints of names by itself; others are not drawn.
fn is_allowed(spec: &ServiceSpec, node: &NodeName) -> bool {
    let constraints = &spec.template.placement.constraints;
    constraints.iter().all(|text| {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["node.name", "==", name] => *name == node.as_str(),
            ["node.name", "!=", name] => *name != node.as_str(),
            _ => true,
        }
    })
}
