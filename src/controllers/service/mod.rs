//! Controller `service`: from what a user wrote to tasks that are wanted.
//!
//! Watches: `services/*` and `scale/*` (users), `accepted/services/*`, `revisions/*`, `tasks/*`, `bindings/*`,
//! `status/tasks/*`, and of nodes what drives tasks away or is found on them (`accepted/nodes/*`, `status/nodes/*`).
//!
//! Writes: `accepted/services/*`, `status/services/<ns>/<name>/service`, `revisions/*`; creates `tasks/*` and moves what
//! is wanted of them forward: `ready`, `running`, `shutdown`, or straight to `remove`.
//!
//! One work item is one service. Its plan: acceptance (`accept`), the revision (`revision`), then the tasks in a model
//! (`model`) to which the rules of a slot (`slot`) and of changes across slots (`update`) apply until nothing is left.
//!
//! Invariants:
//! - One task with desired `running` per slot, except the old and new pair of a start-first change (rule N3).
//! - What is wanted of a task only moves forward (rule C4); every write of a task compares what the plan saw, because the
//!   reaper writes tasks too.
//! - A bad value, a lost scale key, a rewind or a wipe stops nothing (rules I1, I2, S6).
//! - Progress lives in objects: waits in `notBefore`, rows of failures in `failures`, a halt in the status.
//!
//! Deliberately absent: where tasks run (scheduler), how they run (task), when history goes (reaper), jobs, and taking a
//! failed change back.

mod accept;
mod adopt;
mod model;
mod place;
mod plan;
mod restart;
mod retire;
mod revision;
mod scale;
mod slot;
mod slots;
mod snapshot;
mod status;
mod tell;
mod update;

#[cfg(test)]
mod adopt_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;

use crate::api::key::Key;
use crate::api::name::{Kind, NodeName, ObjectKey, Scoped};
use crate::api::service::Mode;
use crate::api::uid::Ids;
use crate::runtime::cache::Cache;
use crate::runtime::clock::Now;
use crate::runtime::controller::Controller;
use crate::runtime::plan::Plan;
use crate::runtime::view;
use snapshot::{SERVICE, Snapshot};
use std::collections::BTreeSet;

/// The controller of services.
#[derive(Clone, Copy, Debug, Default)]
pub struct Service;

impl Controller for Service {
    const NAME: &'static str = SERVICE;
    type Work = Scoped;

    fn work(&self, key: &Key, cache: &Cache) -> Vec<Scoped> {
        match key {
            Key::User(object) | Key::Accepted(object) => match object.kind {
                Kind::Service => vec![object.scoped()],
                Kind::Node => of_node(cache, &object.node_name()),
                Kind::Network => Vec::new(),
            },
            Key::Status(object, controller) => match object.kind {
                Kind::Service if controller == SERVICE => vec![object.scoped()],
                Kind::Node => of_node(cache, &object.node_name()),
                Kind::Service | Kind::Network => Vec::new(),
            },
            Key::Scale(name) | Key::Task(name, _) => vec![name.clone()],
            Key::Binding(_, task) | Key::TaskStatus(_, task) => cache
                .task(task)
                .map(|(name, _)| name.clone())
                .into_iter()
                .collect(),
            Key::Revision(uid, _) => cache.service_of(uid).cloned().into_iter().collect(),
            Key::Cluster => self.all_work(cache),
            Key::Allocation(_) | Key::Election(..) | Key::Manager(_) | Key::Shard(_) => Vec::new(),
        }
    }

    fn all_work(&self, cache: &Cache) -> Vec<Scoped> {
        let is_service = |object: &&ObjectKey| object.kind == Kind::Service;
        let users = cache.users.keys().filter(is_service);
        let statuses = cache.statuses.keys().map(|(object, _)| object);
        let names: BTreeSet<Scoped> = users
            .chain(statuses.filter(is_service))
            .map(ObjectKey::scoped)
            .chain(cache.services.keys().cloned())
            .chain(cache.tasks.keys().map(|(name, _)| name.clone()))
            .collect();
        names.into_iter().collect()
    }

    fn plan(&self, work: &Scoped, cache: &Cache, now: Now, ids: &mut Ids) -> Plan {
        plan::plan(&Snapshot::take(cache, work), now, ids)
    }
}

/// The services that a change of a node concerns: those with tasks there, those that cover every node, and those whose
/// containers were found there.
fn of_node(cache: &Cache, node: &NodeName) -> Vec<Scoped> {
    let bound = cache
        .bindings_on(node)
        .map(|binding| Scoped::new(&*binding.value.namespace, &*binding.value.service_name));
    let global = cache
        .services
        .iter()
        .filter(|(_, record)| record.value.spec.mode == Mode::Global)
        .map(|(name, _)| name.clone());
    let found = view::node(cache, node)
        .and_then(|view| view.found)
        .into_iter()
        .flat_map(|found| &found.unclaimed)
        .filter_map(|container| container.claim.as_ref())
        .map(|claim| Scoped::new(&*claim.namespace, &*claim.name));
    let names: BTreeSet<Scoped> = bound.chain(global).chain(found).collect();
    names.into_iter().collect()
}
