//! The scheduler's status of a service: why its tasks wait. Pure.
//!
//! The key exists only while tasks wait. Numbers in explanations move while other services are rolled out, so a new
//! explanation follows an old one after [`REST`] at the earliest (rule S8).

use super::SCHEDULER;
use super::explain::Explanation;
use crate::api::cluster::Severity;
use crate::api::key::Key;
use crate::api::name::{Kind, ObjectKey, Scoped};
use crate::api::status::{Status, Waiting};
use crate::api::time::Timestamp;
use crate::api::unit::RevisionNumber;
use crate::runtime::cache::Cache;
use crate::runtime::plan::{Plan, Step};
use std::collections::BTreeMap;
use std::time::Duration;

/// Rule S8: why a service's tasks wait is written at most so often.
const REST: Duration = Duration::from_secs(5);

/// Writes what waits and removes what does not any more.
pub(super) fn report(
    cache: &Cache,
    waiting: &BTreeMap<(&Scoped, RevisionNumber), Explanation>,
    now: Timestamp,
    units: &mut Vec<Step>,
    plan: &mut Plan,
) {
    let mut by_service: BTreeMap<&Scoped, Vec<Waiting>> = BTreeMap::new();
    for ((name, revision), explanation) in waiting {
        let of_service = by_service.entry(name).or_default();
        of_service.push(explanation.waiting(*revision));
    }
    for (object, controller) in cache.statuses.keys() {
        let is_ours = object.kind == Kind::Service && controller == SCHEDULER;
        if is_ours && !by_service.contains_key(&object.scoped()) {
            units.push(Step::default().delete(Key::Status(object.clone(), SCHEDULER.into())));
        }
    }
    for (name, waiting) in by_service {
        write(cache, name, waiting, now, units, plan);
    }
}

fn write(
    cache: &Cache,
    name: &Scoped,
    waiting: Vec<Waiting>,
    now: Timestamp,
    units: &mut Vec<Step>,
    plan: &mut Plan,
) {
    let Some(service) = cache.services.get(name) else {
        return;
    };
    let object = ObjectKey::service(name);
    let before = cache
        .status(&object, SCHEDULER)
        .filter(|status| status.value.uid.as_ref() == Some(&service.value.uid));
    let is_same = before.is_some_and(|before| {
        before.value.waiting == waiting
            && before.value.observed_generation == Some(service.value.generation)
    });
    if is_same {
        return;
    }
    let explained_at = before.and_then(|before| before.value.explained_at);
    if let Some(earlier) =
        explained_at.filter(|earlier| now.since(*earlier) < REST && *earlier <= now)
    {
        plan.look_again(REST.saturating_sub(now.since(earlier)));
        return;
    }
    for one in &waiting {
        let message = format!("{} tasks wait: {}", one.tasks, one.message);
        let uid = Some(&service.value.uid);
        plan.note(&object, uid, Severity::Warning, "NoSuitableNode", message);
    }
    let status = Status {
        uid: Some(service.value.uid.clone()),
        observed_generation: Some(service.value.generation),
        waiting,
        explained_at: Some(now),
        ..Status::default()
    };
    units.push(Step::default().put(Key::Status(object, SCHEDULER.into()), &status));
}
