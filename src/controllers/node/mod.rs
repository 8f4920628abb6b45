//! Nodes: acceptance, and the health of their engines.
//!
//! Watches `nodes/*`, `accepted/nodes/*`, `status/nodes/*`, `bindings/*`, `status/tasks/*`, `shards/health-*`.
//! The elected part ([`Nodes`]) writes `accepted/nodes/*` and `status/nodes/<name>/node`; the holder of an engine's
//! health (leader of `health`, for a socket the manager that its spec names) writes `status/nodes/<name>/health`:
//! `pulse` contacts, [`health`] judges.
//!
//! Invariants:
//! - A node leaves only when no task is bound to it or was seen on it: the record is the tombstone (rule I1).
//! - Down rests on one's own failed contacts on one's own clock (rule N1), and is held while a manager suspects itself
//!   (rule N2).
//! - Another engine id than the recorded one is a condition and no action (rule I4).
//!
//! Deliberately absent: pressure on disks; moving tasks away (the service controller reads the verdicts).

pub mod accept;
pub mod health;
pub mod plan;
mod pulse;
pub mod snapshot;
pub mod status;
#[cfg(test)]
mod tests;

use crate::api::key::Key;
use crate::api::manifest::{self, Spec};
use crate::api::name::{Kind, NodeName, ObjectKey};
use crate::api::node::NodeSpec;
use crate::api::service::Annotated;
use crate::api::uid::Ids;
use crate::engine::Connector;
use crate::runtime::cache::Cache;
use crate::runtime::clock::Now;
use crate::runtime::context::Context;
use crate::runtime::controller::Controller;
use crate::runtime::plan::Plan;
use crate::runtime::reconciler;
use snapshot::{Snapshot, left_behind};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// Reads a user's value: labels and annotations, and the normalised spec; or all that is wrong with it.
pub type Read = fn(&ObjectKey, &[u8]) -> Result<(Annotated, NodeSpec), String>;

/// How long failed contacts last before a node counts as down, unless configured otherwise.
pub const GRACE: Duration = Duration::from_secs(10);

/// Settings of controller `node`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long failed contacts last before a node counts as down.
    pub grace: Duration,
    /// Where other machines reach this one: what stands for the address of an engine behind a socket. `None`: not known.
    pub address: Option<IpAddr>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            grace: GRACE,
            address: None,
        }
    }
}

/// Accepts nodes and judges engines until `stop`.
pub async fn run(
    settings: Settings,
    connector: Arc<dyn Connector>,
    context: Context,
    stop: watch::Receiver<bool>,
) {
    let nodes = Arc::new(Nodes::new(read, settings.grace));
    tokio::join!(
        reconciler::run(nodes, context.clone(), stop.clone()),
        pulse::run(settings, connector, context, stop),
    );
}

/// Reads a user's value as a node's manifest.
fn read(object: &ObjectKey, value: &[u8]) -> Result<(Annotated, NodeSpec), String> {
    let manifest = manifest::parse_value(object, value).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        problems.join("; ")
    })?;
    match manifest.spec {
        Spec::Node(spec) => Ok((manifest.metadata, *spec)),
        Spec::Service(_) | Spec::Network(_) => {
            Err("the key is for a Node, the value is not".into())
        }
    }
}

/// Looks further apart than this were not one watch: somebody else led in between, and the count starts anew.
const GAP: Duration = Duration::from_secs(5);

/// The elected controller of nodes.
pub struct Nodes {
    read: Read,
    grace: Duration,
    /// Since when sockets have had no holder, and when that was last looked at; on one's own clock since boot.
    missing: Mutex<BTreeMap<NodeName, (Duration, Duration)>>,
}

impl Nodes {
    /// A controller that reads values with `read`.
    pub fn new(read: Read, grace: Duration) -> Self {
        Self {
            read,
            grace,
            missing: Mutex::default(),
        }
    }

    /// How long this process has seen a socket without its manager; none: it has one, or is no socket.
    fn missing(&self, snapshot: &Snapshot<'_>) -> Option<Duration> {
        let mut missing = self
            .missing
            .lock()
            .expect("no code panics while it holds the lock");
        if !snapshot.is_socket() || snapshot.is_held {
            missing.remove(snapshot.name);
            return None;
        }
        let now = snapshot.now.since_boot;
        let watch = missing.entry(snapshot.name.clone()).or_insert((now, now));
        if now.saturating_sub(watch.1) > GAP {
            watch.0 = now;
        }
        watch.1 = now;
        Some(now.saturating_sub(watch.0))
    }
}

impl Controller for Nodes {
    const NAME: &'static str = crate::runtime::view::NODE;
    type Work = NodeName;

    fn work(&self, key: &Key, cache: &Cache) -> Vec<NodeName> {
        match key {
            Key::User(object) | Key::Accepted(object) | Key::Status(object, _)
                if object.kind == Kind::Node =>
            {
                vec![object.node_name()]
            }
            // A node that was deleted leaves when the last task has left it; to others tasks make no difference.
            Key::Binding(node, _) | Key::TaskStatus(node, _) => {
                let matters = match cache.nodes.get(node) {
                    Some(record) => record.deleted_at.is_some(),
                    None => left_behind(cache, node).next().is_some(),
                };
                matters.then(|| node.clone()).into_iter().collect()
            }
            Key::Task(_, task) if cache.task(task).is_none() => {
                let seen = cache.facets(task).map_or(&[][..], |task| &task.statuses);
                let nodes = seen.iter().map(|(node, _)| node);
                let nodes = nodes.filter(|node| !cache.nodes.contains_key(*node));
                nodes.cloned().collect()
            }
            Key::Shard(name) => name
                .strip_prefix("health-")
                .map(NodeName::from)
                .into_iter()
                .collect(),
            Key::Cluster => self.all_work(cache),
            _ => Vec::new(),
        }
    }

    fn all_work(&self, cache: &Cache) -> Vec<NodeName> {
        let written = cache
            .users
            .keys()
            .filter(|object| object.kind == Kind::Node)
            .map(ObjectKey::node_name);
        let reported = cache.statuses.keys().map(|(object, _)| object);
        let reported = reported
            .filter(|object| object.kind == Kind::Node)
            .map(ObjectKey::node_name);
        let seen = cache.task_statuses.keys().map(|(node, _)| node);
        let seen = seen.filter(|node| !cache.nodes.contains_key(*node));
        let all = cache.nodes.keys().chain(seen).cloned();
        let all = all.chain(written).chain(reported);
        let mut names: Vec<NodeName> = all.collect();
        names.sort();
        names.dedup();
        names
    }

    fn plan(&self, work: &NodeName, cache: &Cache, now: Now, ids: &mut Ids) -> Plan {
        let Some(snapshot) = Snapshot::new(cache, work, now) else {
            return Plan::default();
        };
        let missing = self.missing(&snapshot);
        plan::plan(&snapshot, self.read, missing, self.grace, ids)
    }
}
