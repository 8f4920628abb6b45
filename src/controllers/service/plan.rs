//! The plan of one service: acceptance, revision, tasks, status. Pure.
//!
//! Order of the writes: accepted record, revision and status, then tasks by slot; all of one slot happen together.

use super::accept::accept;
use super::adopt::adopt;
use super::model::{Action, Member, Model};
use super::place::Places;
use super::revision::{self, Current};
use super::slot;
use super::snapshot::{SERVICE, Snapshot};
use super::status;
use super::update;
use crate::api::accepted::AcceptedService;
use crate::api::cluster::Severity;
use crate::api::key::Key;
use crate::api::name::ObjectKey;
use crate::api::service::Mode;
use crate::api::status::{Condition, UpdateState, UpdateStatus};
use crate::api::task::{Desired, Slot, Task};
use crate::api::time::Timestamp;
use crate::api::uid::Ids;
use crate::api::unit::{Incarnation, RevisionNumber};
use crate::runtime::clock::Now;
use crate::runtime::pack::pack;
use crate::runtime::plan::{Plan, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Rules that went round more often than this would never come to rest. Each round moves a slot forward, and no slot
/// has more than a handful of moves to make.
const ROUNDS: usize = 32;

/// Decides for one service. An empty plan means: in step.
pub(super) fn plan(snapshot: &Snapshot<'_>, now: Now, ids: &mut Ids) -> Plan {
    let mut plan = Plan::default();
    let key = Key::Accepted(ObjectKey::service(snapshot.name));
    // Without the cluster's record nothing can be dated; a record that cannot be read is not a deletion.
    let Some(incarnation) = snapshot.incarnation else {
        return plan;
    };
    if snapshot.cache.broken.contains_key(&key.to_string()) {
        return plan;
    }
    let acceptance = accept(snapshot, incarnation, now.wall, ids);
    acceptance.tell(
        &ObjectKey::service(snapshot.name),
        snapshot.conditions(),
        &mut plan,
    );
    let mut units: Vec<Step> = Vec::new();
    if let Some(record) = acceptance.record.to_write() {
        tell_scale(snapshot, record, &mut plan);
        units.push(Step::default().put(key, record));
    }
    match acceptance.record.get() {
        None => retire_tasks(snapshot, &mut units, now.wall),
        Some(record) if record.deleted_at.is_some() => end(snapshot, &mut units, now.wall),
        Some(record) => {
            run(
                snapshot,
                record,
                acceptance.condition,
                incarnation,
                now.wall,
                ids,
                &mut units,
                &mut plan,
            );
            plan.steps = pack(units);
            return plan;
        }
    }
    let is_ended = units
        .iter()
        .flat_map(|unit| &unit.writes)
        .any(|write| matches!(write, crate::runtime::plan::Write::Delete(Key::Accepted(_))));
    if !is_ended {
        let record = acceptance.record.get();
        units.extend(status::resting(snapshot, record, acceptance.condition));
    }
    plan.steps = pack(units);
    plan
}

/// A service that was deleted: its tasks go, then what is left of it, the tombstone last.
fn end(snapshot: &Snapshot<'_>, units: &mut Vec<Step>, now: Timestamp) {
    retire_tasks(snapshot, units, now);
    if snapshot.is_adopting || !snapshot.tasks.is_empty() || !units.is_empty() {
        return;
    }
    let object = ObjectKey::service(snapshot.name);
    for old in &snapshot.revisions {
        let key = Key::Revision(old.service.clone(), old.number);
        units.push(Step::default().delete(key));
    }
    let status = Key::Status(object.clone(), SERVICE.into());
    if snapshot.cache.mod_revision(&status).is_some() {
        units.push(Step::default().delete(status));
    }
    let key = Key::Accepted(object);
    let unit = Step::default().if_unchanged(snapshot.cache, key.clone());
    units.push(unit.delete(key));
}

/// All tasks under the name go; nothing is stopped while what runs is being adopted.
fn retire_tasks(snapshot: &Snapshot<'_>, units: &mut Vec<Step>, now: Timestamp) {
    if snapshot.is_adopting {
        return;
    }
    for view in &snapshot.tasks {
        if view.task.desired < Desired::Remove {
            units.push(removal(snapshot, &view.task.value, now));
        }
    }
}

fn removal(snapshot: &Snapshot<'_>, task: &Task, now: Timestamp) -> Step {
    let task = Task {
        desired: Desired::Remove,
        reason: Some("ServiceDeleted".into()),
        ended_at: task.ended_at.or(Some(now)),
        ..task.clone()
    };
    write_task(snapshot, Step::default(), &task)
}

fn write_task(snapshot: &Snapshot<'_>, step: Step, task: &Task) -> Step {
    let key = Key::Task(snapshot.name.clone(), task.id.clone());
    step.if_unchanged(snapshot.cache, key.clone())
        .put(key, task)
}

/// A service in force.
#[allow(
    clippy::too_many_arguments,
    reason = "the parts of one plan, handed on once"
)]
fn run(
    snapshot: &Snapshot<'_>,
    record: &AcceptedService,
    accepted: Option<Condition>,
    incarnation: Incarnation,
    now: Timestamp,
    ids: &mut Ids,
    units: &mut Vec<Step>,
    plan: &mut Plan,
) {
    let current = revision::current(record, &snapshot.revisions, now);
    if let Current::New(new) = &current {
        let key = Key::Revision(new.service.clone(), new.number);
        units.push(Step::default().put(key, &**new));
    }
    let places = Places::new(&snapshot.nodes, &record.spec);
    let number = current.get().number;
    let mut model = Model::new(record, number, now, &snapshot.tasks, &places);
    adopt(&mut model, snapshot, incarnation, current.get());
    let halt = match snapshot.is_adopting {
        true => stored_halt(snapshot, number),
        false => halt(&model, &places, snapshot),
    };
    model.is_paused = halt.is_some();
    if !snapshot.is_adopting {
        converge(&mut model, &places, ids, plan);
    }
    let wanted = wanted_slots(&model, &places);
    let report = status::report(snapshot, &model, &wanted, accepted, halt);
    units.extend(report.unit);
    tell_update(snapshot, record, report.update.as_ref(), plan);
    units.extend(foreign(snapshot, record, now));
    units.extend(changes(snapshot, &model, plan));
    if !snapshot.is_adopting {
        units.extend(outlived(snapshot, &model));
    }
}

/// Applies the rules until there is nothing left to do.
fn converge(model: &mut Model<'_>, places: &Places<'_>, ids: &mut Ids, plan: &mut Plan) {
    for _ in 0..ROUNDS {
        let wanted = wanted_slots(model, places);
        let mut actions = surplus(model, &wanted, places);
        actions.extend(wanted.iter().flat_map(|slot| slot::settle(model, slot)));
        if actions.is_empty() {
            let (next, again) = update::advance(model, &wanted);
            actions = next;
            if let (true, Some(again)) = (actions.is_empty(), again) {
                plan.look_again(again);
            }
        }
        if actions.is_empty() {
            break;
        }
        for action in &actions {
            model.apply(action, ids);
        }
    }
    for delay in waits(model) {
        plan.look_again(delay);
    }
}

/// How long replacements that wait for their time have to wait still.
fn waits(model: &Model<'_>) -> Vec<Duration> {
    model
        .members
        .iter()
        .filter(|member| member.task.desired == Desired::Ready)
        .filter_map(|member| member.task.not_before)
        .filter(|time| *time > model.now)
        .map(|time| time.since(model.now))
        .collect()
}

/// The slots that should have a task.
///
/// Fills the lowest free slots and empties the highest used ones, so that a service scaled down and up again keeps the
/// tasks in its low slots.
fn wanted_slots(model: &Model<'_>, places: &Places<'_>) -> Vec<Slot> {
    let is_used = |slot: &&Slot| model.wanted(slot).next().is_some();
    match model.spec().mode {
        Mode::Replicated | Mode::ReplicatedJob => {
            let count = model.spec().replicas.unwrap_or(1);
            let mut used: BTreeSet<u32> = model
                .slots()
                .filter(is_used)
                .filter_map(|slot| match slot {
                    Slot::Replica(number) => Some(*number),
                    Slot::Node(_) => None,
                })
                .take(usize::try_from(count).unwrap_or(usize::MAX))
                .collect();
            let mut next = 1;
            while used.len() < usize::try_from(count).unwrap_or(usize::MAX) {
                used.insert(next);
                next += 1;
            }
            used.into_iter().map(Slot::Replica).collect()
        }
        Mode::Global | Mode::GlobalJob => {
            let kept = model.slots().filter(is_used).filter_map(|slot| match slot {
                Slot::Node(node) if places.keeps(node) => Some(node.clone()),
                Slot::Node(_) | Slot::Replica(_) => None,
            });
            let covered = places.covered().cloned();
            let nodes: BTreeSet<_> = kept.chain(covered).collect();
            nodes.into_iter().map(Slot::Node).collect()
        }
    }
}

/// Tasks of slots that nobody wants.
fn surplus(model: &Model<'_>, wanted: &[Slot], places: &Places<'_>) -> Vec<Action> {
    let wanted: BTreeSet<&Slot> = wanted.iter().collect();
    model
        .members
        .iter()
        .filter(|member| member.is_wanted() && !wanted.contains(&member.task.slot))
        .map(|member| {
            let reason = match &member.task.slot {
                Slot::Replica(_) => "ScaledDown",
                Slot::Node(node) => places.fault(node).unwrap_or("ScaledDown"),
            };
            slot::remove(member, reason)
        })
        .collect()
}

/// Why the change to the current revision is halted: since now, or since earlier.
fn halt(model: &Model<'_>, places: &Places<'_>, snapshot: &Snapshot<'_>) -> Option<String> {
    if let Some(message) = stored_halt(snapshot, model.current) {
        return Some(message);
    }
    let wanted = wanted_slots(model, places);
    let failed = update::failed_slots(model, &wanted);
    update::halts(model.spec(), failed, wanted.len()).then(|| {
        let how = update::failure(model, &wanted).map_or_else(String::new, |how| format!(" ({how})"));
        format!(
            "{failed} of {} new tasks failed{how}; the rest of the old ones goes on until the manifest changes",
            wanted.len()
        )
    })
}

fn stored_halt(snapshot: &Snapshot<'_>, current: RevisionNumber) -> Option<String> {
    let update = snapshot.status?.value.update.as_ref()?;
    (update.revision == current && update.state == UpdateState::Paused)
        .then(|| update.message.clone().unwrap_or_default())
}

/// Tasks of another uid: their service is gone.
fn foreign(snapshot: &Snapshot<'_>, record: &AcceptedService, now: Timestamp) -> Vec<Step> {
    if snapshot.is_adopting {
        return Vec::new();
    }
    snapshot
        .tasks
        .iter()
        .filter(|view| view.task.service != record.uid && view.task.desired < Desired::Remove)
        .map(|view| removal(snapshot, &view.task.value, now))
        .collect()
}

/// The changed tasks, those of one slot together.
fn changes(snapshot: &Snapshot<'_>, model: &Model<'_>, plan: &mut Plan) -> Vec<Step> {
    let mut by_slot: BTreeMap<&Slot, Step> = BTreeMap::new();
    for member in &model.members {
        let is_changed = member.before.is_none_or(|before| *before != member.task);
        // Made and withdrawn within one plan: it never was.
        let is_void = member.before.is_none() && !member.is_wanted();
        if !is_changed || is_void {
            continue;
        }
        tell_task(snapshot, member, plan);
        let step = by_slot.remove(&member.task.slot).unwrap_or_default();
        by_slot.insert(&member.task.slot, write_task(snapshot, step, &member.task));
    }
    by_slot.into_values().collect()
}

fn outlived(snapshot: &Snapshot<'_>, model: &Model<'_>) -> Vec<Step> {
    let mut used: BTreeSet<RevisionNumber> = model
        .members
        .iter()
        .map(|member| member.task.revision)
        .collect();
    used.insert(model.current);
    revision::outlived(&snapshot.revisions, &used)
        .into_iter()
        .map(|number| {
            let key = Key::Revision(model.service.uid.clone(), number);
            Step::default().delete(key)
        })
        .collect()
}

fn tell_scale(snapshot: &Snapshot<'_>, record: &AcceptedService, plan: &mut Plan) {
    let before = snapshot.accepted.and_then(|old| old.value.spec.replicas);
    if let (Some(before), Some(after)) = (before, record.spec.replicas)
        && before != after
    {
        let object = ObjectKey::service(snapshot.name);
        let message = format!("scaled from {before} to {after}");
        plan.note(
            object,
            Some(&record.uid),
            Severity::Normal,
            "Scaled",
            message,
        );
    }
}

fn tell_update(
    snapshot: &Snapshot<'_>,
    record: &AcceptedService,
    update: Option<&UpdateStatus>,
    plan: &mut Plan,
) {
    let before = snapshot
        .status
        .and_then(|status| status.value.update.as_ref())
        .map(|update| (update.revision, update.state));
    let Some(update) = update.filter(|update| before != Some((update.revision, update.state)))
    else {
        return;
    };
    let revision = update.revision;
    let (severity, reason, message) = match update.state {
        UpdateState::Updating => (
            Severity::Normal,
            "UpdateStarted",
            format!("rolling out revision {revision}"),
        ),
        UpdateState::Completed => (
            Severity::Normal,
            "UpdateCompleted",
            format!("all tasks are of revision {revision}"),
        ),
        UpdateState::Paused => (
            Severity::Warning,
            "UpdatePaused",
            format!(
                "revision {revision} is halted: {}",
                update.message.as_deref().unwrap_or("a new task failed")
            ),
        ),
    };
    let object = ObjectKey::service(snapshot.name);
    plan.note(object, Some(&record.uid), severity, reason, message);
}

/// What users care about: failures, lost nodes, adoption. Starts and ordinary stops would drown it.
fn tell_task(snapshot: &Snapshot<'_>, member: &Member<'_>, plan: &mut Plan) {
    let task = &member.task;
    let was = member.before.map(|before| before.desired);
    let seen = member.status.and_then(|status| status.message.as_deref());
    let exit = member.status.and_then(|status| status.exit_code);
    let how = match (seen, exit) {
        (Some(message), _) => message.to_owned(),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => format!("state {}", member.state.as_str()),
    };
    let slot = &task.slot;
    let (severity, reason, message) = match (task.reason.as_deref(), was) {
        (Some("Adopted"), None) => (
            Severity::Normal,
            "Adopted",
            format!("slot {slot}: its record is rebuilt from its container"),
        ),
        (Some("Failed" | "Rejected" | "Unhealthy"), Some(was)) if task.desired != was => (
            Severity::Warning,
            "TaskFailed",
            format!("slot {slot}: {how}; it is replaced"),
        ),
        (Some("NodeLost"), Some(was)) if task.desired > was && was == Desired::Running => (
            Severity::Warning,
            "NodeLost",
            format!("slot {slot}: its node is lost; its replacement starts elsewhere"),
        ),
        _ => return,
    };
    let object = format!("tasks/{}/{}", snapshot.name, task.id);
    plan.note(object, Some(&task.service), severity, reason, message);
}
