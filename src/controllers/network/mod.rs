//! The network controller: accepts networks, and says what services ask of networks and ports that is not provided.
//!
//! Watches `networks/*`, `accepted/networks/*`, `accepted/services/*` and the cluster. Writes `accepted/networks/*`,
//! `status/networks/<ns>/<name>/network` and `status/services/<ns>/<name>/network`.
//!
//! Invariants:
//! - Acceptance is `runtime::accept`: a bad value keeps the spec in force (rule I1).
//! - A deleted network's record leaves at once: nothing on any node follows from it.
//! - What is asked for and not provided is a condition that is False, and holds nothing up.
//!
//! Deliberately absent: VNIs, subnets, addresses and overlays. Networks are accepted and not realised; tasks join their
//! engine's own bridge.

mod plan;
mod snapshot;
mod status;

#[cfg(test)]
mod tests;

use crate::api::key::Key;
use crate::api::name::{Kind, ObjectKey};
use crate::api::uid::Ids;
use crate::runtime::cache::Cache;
use crate::runtime::clock::Now;
use crate::runtime::controller::Controller;
use crate::runtime::plan::Plan;

/// The controller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network;

impl Controller for Network {
    const NAME: &'static str = status::CONTROLLER;

    /// A network or a service.
    type Work = ObjectKey;

    fn work(&self, key: &Key, cache: &Cache) -> Vec<ObjectKey> {
        match key {
            Key::User(object) if object.kind == Kind::Network => vec![object.clone()],
            Key::Accepted(object) if concerns(object.kind) => vec![object.clone()],
            Key::Status(object, controller)
                if controller == Self::NAME && concerns(object.kind) =>
            {
                vec![object.clone()]
            }
            // Another life of the store: the records take over its numbers.
            Key::Cluster => self.all_work(cache),
            Key::User(_)
            | Key::Accepted(_)
            | Key::Status(..)
            | Key::Scale(_)
            | Key::Revision(..)
            | Key::Task(..)
            | Key::Binding(..)
            | Key::TaskStatus(..)
            | Key::Election(..)
            | Key::Manager(_)
            | Key::Shard(_) => Vec::new(),
        }
    }

    fn all_work(&self, cache: &Cache) -> Vec<ObjectKey> {
        let users = cache
            .users
            .keys()
            .filter(|object| object.kind == Kind::Network);
        let reported = cache
            .statuses
            .keys()
            .filter(|(object, controller)| controller == Self::NAME && concerns(object.kind))
            .map(|(object, _)| object);
        let mut all: Vec<ObjectKey> = users.chain(reported).cloned().collect();
        all.extend(cache.networks.keys().map(ObjectKey::network));
        all.extend(cache.services.keys().map(ObjectKey::service));
        all.sort();
        all.dedup();
        all
    }

    fn plan(&self, work: &ObjectKey, cache: &Cache, now: Now, ids: &mut Ids) -> Plan {
        match work.kind {
            Kind::Network => snapshot::network(cache, work, now)
                .map_or_else(Plan::default, |snapshot| plan::network(snapshot, ids)),
            Kind::Service => plan::service(&snapshot::service(cache, work, now)),
            Kind::Node => Plan::default(),
        }
    }
}

fn concerns(kind: Kind) -> bool {
    match kind {
        Kind::Network | Kind::Service => true,
        Kind::Node => false,
    }
}
