//! The plan of one service: acceptance, revision, tasks, status. Pure.
//!
//! Order of the writes: accepted record, revision and status, then tasks by slot; all of one slot happen together.

use super::accept::accept;
use super::adopt::adopt;
use super::model::{Member, Model};
use super::place::Places;
use super::retire;
use super::revision::{self, Current};
use super::slot;
use super::slots::{self, surplus};
use super::snapshot::Snapshot;
use super::status;
use super::tell;
use super::update;
use crate::api::accepted::AcceptedService;
use crate::api::key::Key;
use crate::api::name::ObjectKey;
use crate::api::status::{Condition, UpdateState};
use crate::api::task::{Desired, Slot};
use crate::api::time::Timestamp;
use crate::api::uid::Ids;
use crate::api::unit::{Incarnation, RevisionNumber};
use crate::planted::{Bug, planted};
use crate::runtime::clock::Now;
use crate::runtime::pack::pack;
use crate::runtime::plan::{Plan, Step, Write};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Rules that went round more often than this would never come to rest. Each round moves a slot forward, and no slot
/// has more than a handful of moves to make.
const ROUNDS: usize = 32;

/// Decides for one service. An empty plan means: in step.
pub(super) fn plan(snapshot: &Snapshot<'_>, now: Now, ids: &mut Ids) -> Plan {
    let key = Key::Accepted(ObjectKey::service(snapshot.name));
    // Without the cluster's record nothing can be dated; a record that cannot be read is not a deletion.
    let Some(incarnation) = snapshot.incarnation else {
        return Plan::default();
    };
    if snapshot.cache.broken.contains_key(&key.to_string()) {
        return Plan::default();
    }
    let mut draft = Draft {
        snapshot,
        incarnation,
        now: now.wall,
        ids,
        units: Vec::new(),
        plan: Plan::default(),
    };
    draft.decide(key);
    draft.plan.steps = pack(draft.units);
    draft.plan
}

/// A plan in the making.
struct Draft<'a, 'b> {
    snapshot: &'b Snapshot<'a>,
    incarnation: Incarnation,
    now: Timestamp,
    ids: &'b mut Ids,
    /// What is written together or not at all, in order.
    units: Vec<Step>,
    /// What is told, and when to look again.
    plan: Plan,
}

impl Draft<'_, '_> {
    fn decide(&mut self, key: Key) {
        let snapshot = self.snapshot;
        let acceptance = accept(snapshot, self.incarnation, self.now, self.ids);
        let object = ObjectKey::service(snapshot.name);
        acceptance.tell(&object, snapshot.conditions(), &mut self.plan);
        if let Some(record) = acceptance.record.to_write() {
            tell::scale(snapshot, record, &mut self.plan);
            let seen = snapshot.user.map(|user| user.mod_revision);
            let step = acceptance.guard(Step::default(), &object, seen);
            self.units.push(step.put(key, record));
        }
        let record = acceptance.record.get();
        let leaving = match record {
            Some(record) if record.deleted_at.is_none() => {
                return self.run(record, acceptance.condition);
            }
            Some(_) => retire::end(snapshot, self.now, self.units.is_empty()),
            None => retire::tasks(snapshot, self.now),
        };
        let mut writes = leaving.iter().flat_map(|unit| &unit.writes);
        let is_ended = writes.any(|write| matches!(write, Write::Delete(Key::Accepted(_))));
        self.units.extend(leaving);
        if !is_ended {
            let status = status::resting(snapshot, record, acceptance.condition);
            self.units.extend(status);
        }
    }

    /// A service in force.
    fn run(&mut self, record: &AcceptedService, accepted: Option<Condition>) {
        let snapshot = self.snapshot;
        let current = revision::current(record, &snapshot.revisions, self.now);
        if let Current::New(new) = &current {
            let key = Key::Revision(new.service.clone(), new.number);
            self.units.push(Step::default().put(key, &**new));
        }
        let places = Places::new(&snapshot.nodes, &snapshot.homes, &record.spec);
        let number = current.get().number;
        let mut model = Model::new(record, number, self.now, &snapshot.tasks, &places);
        adopt(&mut model, snapshot, self.incarnation, current.get());
        let halt = match snapshot.is_adopting {
            true => stored_halt(snapshot, number),
            false => halt(&model, &places, snapshot),
        };
        model.is_paused = halt.is_some();
        if !snapshot.is_adopting || planted(Bug::ConvergesWhileAdopting) {
            converge(&mut model, &places, self.ids, &mut self.plan);
        }
        let wanted = slots::wanted(&model, &places);
        let report = status::report(snapshot, &model, &wanted, accepted, halt);
        self.units.extend(report.unit);
        tell::update(snapshot, record, report.update.as_ref(), &mut self.plan);
        let foreign = retire::foreign(snapshot, &record.uid, self.now);
        self.units.extend(foreign);
        let changes = changes(snapshot, &model, &mut self.plan);
        self.units.extend(changes);
        if !snapshot.is_adopting {
            self.units.extend(outlived(snapshot, &model));
        }
    }
}

/// Applies the rules until there is nothing left to do.
fn converge(model: &mut Model<'_>, places: &Places<'_>, ids: &mut Ids, plan: &mut Plan) {
    for _ in 0..ROUNDS {
        let wanted = slots::wanted(model, places);
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

/// Why the change to the current revision is halted: since now, or since earlier.
fn halt(model: &Model<'_>, places: &Places<'_>, snapshot: &Snapshot<'_>) -> Option<String> {
    if let Some(message) = stored_halt(snapshot, model.current) {
        return Some(message);
    }
    let wanted = slots::wanted(model, places);
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
        tell::task(snapshot, member, plan);
        let step = by_slot.remove(&member.task.slot).unwrap_or_default();
        let step = expect_predecessor(snapshot, model, member, step);
        by_slot.insert(
            &member.task.slot,
            retire::write_task(snapshot, step, &member.task),
        );
    }
    by_slot.into_values().collect()
}

/// A new task comes only where what it takes over from is as the cache shows it. Who makes a pair does not write the old one,
/// and would make a second one beside what is wanted where the store went back and nobody has noticed yet.
fn expect_predecessor(
    snapshot: &Snapshot<'_>,
    model: &Model<'_>,
    new: &Member<'_>,
    step: Step,
) -> Step {
    let old = new.task.replaces.as_ref().filter(|_| new.before.is_none());
    let old = old.and_then(|old| model.member(old));
    match old {
        Some(old) if old.before.is_some_and(|before| *before == old.task) => {
            let key = Key::Task(snapshot.name.clone(), old.task.id.clone());
            step.if_unchanged(snapshot.cache, key)
        }
        Some(_) | None => step,
    }
}

/// Revisions that no task uses and nobody is likely to go back to.
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
