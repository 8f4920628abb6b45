//! Lost containers in ordinary life (rule C3), and what is told of those that are not ours.

use super::plan::WAIT;
use super::snapshot::{Fleet, FoundOn, Lost, UNCLAIMED};
use super::status::{self, Tally};
use crate::api::key::Key;
use crate::api::name::{NodeName, Scoped};
use crate::api::status::Claim;
use crate::api::task::{Desired, Task};
use crate::planted::{Bug, planted};
use crate::runtime::clock::Now;
use crate::runtime::plan::{Plan, Step};
use std::time::Duration;

/// What becomes of a lost container.
enum Fate<'a> {
    /// Its labels cannot be read, or it is of an earlier life of the store: a person decides.
    Held,
    /// Its service may take it back, or it has not waited long enough.
    Waits(Option<Duration>),
    /// It may be taken.
    Due(&'a Claim),
}

/// Takes lost containers that are due, the oldest first, as far as the rate allows; reports the rest.
pub(super) fn plan(fleet: &Fleet<'_>) -> Plan {
    let mut plan = Plan::default();
    let limit = limit(fleet.tasks);
    let counted = fleet.taken.iter().filter(|age| **age < WAIT);
    let mut allowed = limit.saturating_sub(counted.clone().count());
    let next_slot = counted.max().map(|oldest| WAIT - *oldest);
    for node in &fleet.nodes {
        let mut tally = Tally {
            lost: node.lost.len(),
            limit,
            ..Tally::default()
        };
        for lost in &node.lost {
            match fate(lost) {
                Fate::Held => tally.held += 1,
                Fate::Waits(delay) => delay.into_iter().for_each(|delay| plan.look_again(delay)),
                Fate::Due(claim) if allowed > 0 => {
                    allowed -= 1;
                    plan.push(take(fleet, claim, &node.node.name));
                }
                Fate::Due(_) => {
                    tally.over_rate += 1;
                    plan.look_again(next_slot.unwrap_or(WAIT));
                }
            }
        }
        report(fleet, node, &tally, &mut plan);
    }
    forget(fleet, &mut plan);
    plan
}

/// At most a hundredth of the fleet's tasks, and at least one, per [`WAIT`].
fn limit(tasks: usize) -> usize {
    (tasks / 100).max(1)
}

fn fate<'a>(lost: &Lost<'a>) -> Fate<'a> {
    match lost.claim {
        None => Fate::Held,
        Some(claim) if planted(Bug::ReapsEarlierLives) => Fate::Due(claim),
        Some(_) if !lost.is_of_this_life => Fate::Held,
        Some(_) if lost.is_adoptable => Fate::Waits(None),
        Some(_) if lost.age < WAIT => Fate::Waits(Some(WAIT - lost.age)),
        Some(claim) => Fate::Due(claim),
    }
}

/// A record that says what is to become of the container: the scheduler binds it to its node, the task controller acts.
fn take(fleet: &Fleet<'_>, claim: &Claim, node: &NodeName) -> Step {
    let Now { wall, .. } = fleet.now;
    let task = Task {
        id: claim.task.clone(),
        service: claim.service.clone(),
        revision: claim.revision,
        slot: claim.slot.clone(),
        desired: Desired::Remove,
        reason: Some(UNCLAIMED.into()),
        replaces: None,
        failures: 0,
        not_before: None,
        created_at: wall,
        ended_at: Some(wall),
        adopted_from: Some(node.clone()),
    };
    let key = Key::Task(
        Scoped::new(&*claim.namespace, &*claim.name),
        claim.task.clone(),
    );
    // The life of the store may change between this look and the write: then nothing is taken.
    Step::default()
        .if_missing(key.clone())
        .if_unchanged(fleet.cache, Key::Cluster)
        .put(key, &task)
}

/// Writes what changed of a node's status, and tells once of what is new.
fn report(fleet: &Fleet<'_>, node: &FoundOn<'_>, tally: &Tally, plan: &mut Plan) {
    let key = status::key(&node.node.name);
    let before = fleet.cache.status(&key.0, &key.1);
    let next = status::of(
        node,
        tally,
        before.map(|status| &*status.value),
        fleet.now.wall,
    );
    status::tell(node, &next, before.map(|status| &*status.value), plan);
    match (before, next.conditions.is_empty()) {
        (Some(_), true) => plan.delete(Key::Status(key.0, key.1)),
        (None, true) => {}
        (Some(before), false) if *before.value == next => {}
        (_, false) => plan.put(Key::Status(key.0, key.1), &next),
    }
}

/// Deletes statuses of nodes that are forgotten.
fn forget(fleet: &Fleet<'_>, plan: &mut Plan) {
    for (object, controller) in fleet.cache.statuses.keys() {
        let is_ours =
            controller == status::CONTROLLER && object.kind == crate::api::name::Kind::Node;
        if is_ours && !fleet.cache.nodes.contains_key(&object.node_name()) {
            plan.delete(Key::Status(object.clone(), controller.clone()));
        }
    }
}
