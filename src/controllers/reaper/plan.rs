//! History and the end of task records.

use super::snapshot::{Place, Record, Service, UNCLAIMED};
use super::status::CONTROLLER;
use crate::api::key::Key;
use crate::api::name::{ObjectKey, Scoped};
use crate::api::status::Status;
use crate::api::task::{Desired, Slot, Task};
use crate::api::text::Text;
use crate::api::time::Timestamp;
use crate::api::uid::Uid;
use crate::planted::{Bug, planted};
use crate::runtime::cache::{Cache, Stored};
use crate::runtime::clock::Now;
use crate::runtime::plan::{Plan, Step};
use crate::runtime::view::{self, TaskView};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

/// Ended tasks that are kept per slot: enough to see a crash loop (rule S8; Swarm keeps as many).
pub(super) const PER_SLOT: usize = 5;
/// Ended tasks that are kept in all: with records of about 500 bytes a few MB of the store (rule S8).
pub(super) const PER_CLUSTER: usize = 10_000;
/// Ended tasks that are let go in one step: a write and a comparison each, within etcd's limits (rule S7).
const AT_ONCE: usize = 50;
/// How soon a record is looked at again whose container may still be found: looks at engines change it, and a task is not
/// searched for at each of them, as thousands report while much starts.
const FOUND: Duration = Duration::from_secs(5);
/// The reason of a task whose container is confirmed gone.
const REMOVED: &str = "Removed";
/// How long a lost container waits, and how long its record is counted (rule C3).
pub(super) const WAIT: Duration = Duration::from_secs(600);

/// Deletes what nothing is left of, and lets go of history beyond [`PER_SLOT`].
pub(super) fn service(snapshot: &Service<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut beyond = Vec::new();
    let mut history: BTreeMap<(&Uid, &Slot), Vec<&Stored<Task>>> = BTreeMap::new();
    for record in &snapshot.tasks {
        let task = record.view.task;
        match fate(record) {
            Fate::Stays => {}
            Fate::StaysUntilFound => plan.look_again(FOUND),
            Fate::History => history
                .entry((&task.service, &task.slot))
                .or_default()
                .push(task),
            Fate::Goes => plan.push(remove(snapshot.cache, snapshot.name, task, snapshot.now)),
            Fate::Gone => plan.push(delete(snapshot.cache, snapshot.name, task)),
            Fate::GoneLater(delay) => plan.look_again(delay),
        }
    }
    for mut tasks in history.into_values() {
        tasks.sort_by_key(|task| Reverse(age_order(task)));
        let kept = if planted(Bug::KeepsHistory) {
            usize::MAX
        } else {
            PER_SLOT
        };
        beyond.extend(tasks.into_iter().skip(kept));
    }
    plan.push(let_go(snapshot.cache, snapshot.name, &beyond, snapshot.now));
    plan.push(forget_count(snapshot));
    plan
}

/// Lets go of the oldest history beyond [`PER_CLUSTER`].
pub(super) fn history(cache: &Cache, now: Now) -> Plan {
    history_beyond(PER_CLUSTER, cache, now)
}

pub(super) fn history_beyond(limit: usize, cache: &Cache, now: Now) -> Plan {
    let mut plan = Plan::default();
    // Cheaper than looking at each: most clusters never have so many records.
    if cache.tasks.len() <= limit {
        return plan;
    }
    let ended = |task: &&Stored<Task>| {
        task.desired == Desired::Shutdown && view::task(cache, task).is_terminal()
    };
    let mut tasks: Vec<(&Scoped, &Stored<Task>)> = cache
        .tasks
        .iter()
        .filter(|(_, task)| ended(task))
        .map(|((name, _), task)| (name, task))
        .collect();
    tasks.sort_by_key(|(_, task)| Reverse(age_order(task)));
    let mut beyond: BTreeMap<&Scoped, Vec<&Stored<Task>>> = BTreeMap::new();
    for (name, task) in tasks.into_iter().skip(limit) {
        beyond.entry(name).or_default().push(task);
    }
    for (name, tasks) in beyond {
        plan.push(let_go(cache, name, &tasks, now));
    }
    plan
}

/// Lets go of ended tasks of one service and counts them in its status: the summary of what history held (rule S8).
/// What does not fit into one step follows at the next look.
fn let_go(cache: &Cache, name: &Scoped, tasks: &[&Stored<Task>], now: Now) -> Step {
    let mut step = Step::default();
    let tasks = &tasks[..tasks.len().min(AT_ONCE)];
    for task in tasks {
        let more = remove(cache, name, task, now);
        step.expects.extend(more.expects);
        step.writes.extend(more.writes);
    }
    let Some(service) = cache.services.get(name).filter(|_| !tasks.is_empty()) else {
        return step;
    };
    let of_it = |task: &&&Stored<Task>| task.service == service.uid;
    let (object, controller) = count_key(name);
    let before = cache.status(&object, &controller);
    let counted = before
        .filter(|status| status.uid.as_ref() == Some(&service.uid))
        .map_or(0, |status| status.tasks_removed);
    let status = Status {
        uid: Some(service.uid.clone()),
        observed_generation: Some(service.generation),
        tasks_removed: counted + tasks.iter().filter(of_it).count() as u64,
        ..Status::default()
    };
    let key = Key::Status(object, controller);
    // Two looks at once, at the service and at all history, must not count over each other.
    step.if_unchanged(cache, key.clone()).put(key, &status)
}

/// The count of a service that is gone, or made anew under its name, goes with it (rule I2).
fn forget_count(snapshot: &Service<'_>) -> Step {
    let (object, controller) = count_key(snapshot.name);
    let service = snapshot.cache.services.get(snapshot.name);
    let is_stale = snapshot
        .cache
        .status(&object, &controller)
        .is_some_and(|status| status.uid.as_ref() != service.map(|service| &service.uid));
    match is_stale {
        true => Step::default().delete(Key::Status(object, controller)),
        false => Step::default(),
    }
}

fn count_key(name: &Scoped) -> (ObjectKey, Text) {
    (ObjectKey::service(name), CONTROLLER.into())
}

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing yet: somebody else moves it.
    Stays,
    /// Nothing yet: its container may still be found, or its binding made anew.
    StaysUntilFound,
    /// It ended and is kept, within bounds.
    History,
    /// Its container is to be removed.
    Goes,
    /// Nothing is left of it.
    Gone,
    /// Nothing is left of it, but it is still counted.
    GoneLater(Duration),
}

fn fate(record: &Record<'_>) -> Fate {
    match (record.view.task.desired, record.place) {
        (Desired::Ready | Desired::Running, _) => Fate::Stays,
        (Desired::Shutdown, Place::Nowhere) => Fate::Gone,
        (Desired::Shutdown, Place::Forgotten) => Fate::Goes,
        (Desired::Shutdown, place @ (Place::Node | Place::Expected)) => {
            match (record.view.is_terminal(), place) {
                (true, _) => Fate::History,
                (false, Place::Expected) => Fate::StaysUntilFound,
                (false, _) => Fate::Stays,
            }
        }
        // History would keep the node for ever.
        (Desired::Shutdown, Place::Leaving) => match record.view.is_terminal() {
            true => Fate::Goes,
            false => Fate::Stays,
        },
        (Desired::Remove, Place::Nowhere | Place::Forgotten) => end(record),
        (Desired::Remove, Place::Expected) => Fate::StaysUntilFound,
        (Desired::Remove, Place::Node | Place::Leaving) => {
            match is_removed(&record.view) || planted(Bug::DeletesRecordsEarly) {
                true => end(record),
                false => Fate::Stays,
            }
        }
    }
}

/// A record that the reaper made is the counter of its rate for [`WAIT`].
fn end(record: &Record<'_>) -> Fate {
    let is_counted = record.view.task.reason.as_deref() == Some(UNCLAIMED) && record.age < WAIT;
    match is_counted {
        true => Fate::GoneLater(WAIT - record.age),
        false => Fate::Gone,
    }
}

/// A terminal state alone does not do: a create whose answer was lost may have left a container.
fn is_removed(view: &TaskView<'_>) -> bool {
    view.status.is_some_and(|status| {
        status.state.is_terminal()
            && status.container.is_none()
            && status.reason.as_deref() == Some(REMOVED)
    })
}

fn remove(cache: &Cache, name: &Scoped, task: &Stored<Task>, now: Now) -> Step {
    let key = Key::Task(name.clone(), task.id.clone());
    let removed = Task {
        desired: Desired::Remove,
        ended_at: task.ended_at.or(Some(now.wall)),
        ..task.value.as_ref().clone()
    };
    Step::default()
        .if_unchanged(cache, key.clone())
        .put(key, &removed)
}

fn delete(cache: &Cache, name: &Scoped, task: &Stored<Task>) -> Step {
    let key = Key::Task(name.clone(), task.id.clone());
    Step::default().if_unchanged(cache, key.clone()).delete(key)
}

/// The order of history: by when a task was made; ids settle ties.
fn age_order(task: &Task) -> (Timestamp, &str) {
    (task.created_at, task.id.as_str())
}
