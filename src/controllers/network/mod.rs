//! The network controller: accepts networks, gives out numbers, and says what of networks and ports is not provided.
//!
//! Watches `networks/*`, `accepted/*`, `allocations/*` and the cluster. Writes `accepted/networks/*`, `allocations/*`,
//! `status/networks/<ns>/<name>/network` and `status/services/<ns>/<name>/network`.
//!
//! Invariants:
//! - Acceptance is `runtime::accept`: a bad value keeps the spec in force (rule I1).
//! - What is given out is claimed in the store, where it is missing, and named with its owner; it is taken back once the
//!   owner's record is gone (`ipam.rs`). One pass at a time gives out numbers.
//! - A deleted network's record leaves at once: nothing on any node follows from it.
//! - What is asked for and not provided is a condition that is False, and holds nothing up.
//!
//! Deliberately absent: addresses and overlays. Networks have numbers and are not realised; tasks join their engine's own
//! bridge.

mod ipam;
mod plan;
mod snapshot;
mod status;

#[cfg(test)]
mod ipam_tests;
#[cfg(test)]
mod tests;

use crate::api::key::Key;
use crate::api::name::{Kind, ObjectKey};
use crate::api::subnet::Cidr;
use crate::api::uid::Ids;
use crate::runtime::cache::Cache;
use crate::runtime::clock::Now;
use crate::runtime::controller::Controller;
use crate::runtime::plan::Plan;
use std::fmt;
use std::net::Ipv4Addr;

/// Where networks without a subnet of their own get one: 4,096 of 256 addresses.
///
/// Swarm's 10.0.0.0/8 begins where most sites and clouds do; Docker's own bridges have 172.17.0.0/12 and 192.168.0.0/16.
/// This twelfth is nobody's default: Kubernetes has 10.96.0.0/12 and 10.244.0.0/16, k3s 10.42.0.0/15, Podman 10.88.0.0/15,
/// Google's networks 10.128.0.0/9, and 100.64.0.0/10 is what carriers, Tailscale and clouds use behind one's back.
pub const DEFAULT_POOL: Cidr = Cidr {
    address: Ipv4Addr::new(10, 64, 0, 0),
    length: 12,
};

/// Settings of the controller: the same for all managers, or the leader's count.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Where networks without a subnet of their own get one.
    pub pool: Cidr,
}

impl Default for Settings {
    fn default() -> Self {
        Self { pool: DEFAULT_POOL }
    }
}

/// The controller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Network(pub Settings);

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// All numbers at once: what networks and nodes lack, and what nobody owns.
    Numbers,
    /// A network or a service.
    Object(ObjectKey),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbers => f.write_str("numbers"),
            Self::Object(object) => object.fmt(f),
        }
    }
}

impl Controller for Network {
    const NAME: &'static str = status::CONTROLLER;

    type Work = Work;

    fn work(&self, key: &Key, cache: &Cache) -> Vec<Work> {
        let object = |object: &ObjectKey| Work::Object(object.clone());
        match key {
            Key::User(written) if written.kind == Kind::Network => vec![object(written)],
            Key::Accepted(record) => match record.kind {
                Kind::Network => vec![Work::Numbers, object(record)],
                Kind::Service => vec![object(record)],
                Kind::Node => vec![Work::Numbers],
            },
            Key::Status(of, controller) if controller == Self::NAME && concerns(of.kind) => {
                vec![object(of)]
            }
            Key::Allocation(item) => {
                let owner = cache
                    .allocations
                    .get(item)
                    .map(|given| given.owner.object());
                let owner = owner.filter(|owner| owner.kind == Kind::Network);
                let owner = owner.map(Work::Object).into_iter();
                owner.chain([Work::Numbers]).collect()
            }
            // Another life of the store: the records take over its numbers.
            Key::Cluster => self.all_work(cache),
            Key::User(_)
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

    fn all_work(&self, cache: &Cache) -> Vec<Work> {
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
        let objects = all.into_iter().map(Work::Object);
        objects.chain([Work::Numbers]).collect()
    }

    fn plan(&self, work: &Work, cache: &Cache, now: Now, ids: &mut Ids) -> Plan {
        let pool = self.0.pool;
        match work {
            Work::Numbers => ipam::plan(cache, pool),
            Work::Object(object) => match object.kind {
                Kind::Network => snapshot::network(cache, object, pool, now)
                    .map_or_else(Plan::default, |snapshot| plan::network(snapshot, ids)),
                Kind::Service => plan::service(&snapshot::service(cache, object, now)),
                Kind::Node => Plan::default(),
            },
        }
    }
}

fn concerns(kind: Kind) -> bool {
    match kind {
        Kind::Network | Kind::Service => true,
        Kind::Node => false,
    }
}
