//! The view of one engine: the containers that carry a cluster's label, as last inspected. Pure.
//!
//! A container counts as a task's only by rule C1: its label names the cluster and its name ends in the task id that
//! its label names. The rest is kept apart and only reported.

use super::container::{self, CLUSTER, Claim};
use super::snapshot::Seen;
use crate::api::cluster::Cluster;
use crate::api::name::NodeName;
use crate::api::status::{self, Found, Unclaimed, UnclaimedKind};
use crate::api::time::Timestamp;
use crate::api::uid::{ContainerId, TaskId, Uid};
use crate::api::unit::{Incarnation, Revision, Term};
use crate::engine::{Container, ContainerState};
use crate::runtime::cache::Cache;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is known of one engine's containers.
#[derive(Clone, Debug, Default)]
pub struct EngineView {
    containers: BTreeMap<ContainerId, Known>,
    tasks: BTreeMap<TaskId, ContainerId>,
    missing: BTreeSet<TaskId>,
    first_seen: BTreeMap<ContainerId, Timestamp>,
    ahead: Option<Incarnation>,
    /// Whether the engine has been listed since the connection was made.
    pub is_listed: bool,
}

/// A container, and whose it is as far as one cluster is concerned: its labels are read once and asked for often.
#[derive(Clone, Debug)]
struct Known {
    container: Arc<Container>,
    cluster: Uid,
    claim: Arc<Claim>,
}

impl Known {
    fn new(cluster: &Uid, container: Container) -> Self {
        Self {
            claim: container::claim(&container, cluster).into(),
            cluster: cluster.clone(),
            container: Arc::new(container),
        }
    }

    /// Whether what was read of its name and labels holds for how it is seen now.
    fn tells_of(&self, cluster: &Uid, container: &Container) -> bool {
        self.cluster == *cluster
            && self.container.name == container.name
            && self.container.labels == container.labels
    }

    fn seen_as(&self, container: Container) -> Self {
        Self {
            container: Arc::new(container),
            ..self.clone()
        }
    }

    /// Whose it is, as far as `cluster` is concerned.
    fn claim(&self, cluster: &Uid) -> Cow<'_, Claim> {
        match self.cluster == *cluster {
            true => Cow::Borrowed(&self.claim),
            false => Cow::Owned(container::claim(&self.container, cluster)),
        }
    }
}

impl EngineView {
    /// What is known of a task's container.
    pub fn seen(&self, task: &TaskId) -> Seen {
        match self.tasks.get(task).and_then(|id| self.containers.get(id)) {
            Some(known) => Seen::Here(known.container.clone()),
            None if self.missing.contains(task) => Seen::Missing,
            None => Seen::Unknown,
        }
    }

    /// Takes in an inspected container; says whose it is, if it is ours.
    ///
    /// Two that claim one task cannot have the same name, so one of them is a copy by hand: the running one counts,
    /// else the one that was there first.
    pub fn put(&mut self, cluster: &Cluster, container: Container) -> Option<TaskId> {
        let known = match self.containers.get(&container.id) {
            Some(before) if before.tells_of(&cluster.id, &container) => before.seen_as(container),
            _ => Known::new(&cluster.id, container),
        };
        let container = &known.container;
        let task = match &*known.claim {
            Claim::Ours(ours) => Some(ours.task.clone()),
            Claim::ForeignCluster { .. } | Claim::Imposter { .. } | Claim::NotOurs => None,
        };
        let id = container.id.clone();
        if let Some(task) = &task {
            self.missing.remove(task);
            let holder = self
                .tasks
                .get(task)
                .and_then(|holder| self.containers.get(holder))
                .map(|holder| &holder.container);
            let takes_over = holder.is_none_or(|holder| {
                holder.id == id
                    || (holder.state != ContainerState::Running
                        && container.state == ContainerState::Running)
            });
            if takes_over {
                self.tasks.insert(task.clone(), id.clone());
            }
        }
        if container.labels.contains_key(CLUSTER) {
            self.containers.insert(id, known);
        }
        task
    }

    /// Takes in a 404 for a container; says whose it was.
    pub fn remove(&mut self, id: &ContainerId) -> Option<TaskId> {
        self.first_seen.remove(id);
        self.containers.remove(id);
        let task = self
            .tasks
            .iter()
            .find(|(_, holder)| *holder == id)
            .map(|(task, _)| task.clone())?;
        self.tasks.remove(&task);
        self.missing.insert(task.clone());
        Some(task)
    }

    /// Takes in a 404 for all that a task's container could be called.
    pub fn remove_task(&mut self, task: &TaskId) {
        if let Some(id) = self.tasks.remove(task) {
            self.containers.remove(&id);
            self.first_seen.remove(&id);
        }
        self.missing.insert(task.clone());
    }

    /// An order went to a task's container and nobody saw what came of it: nothing is known of it any more.
    pub fn doubt(&mut self, task: &TaskId) {
        if let Some(id) = self.tasks.remove(task) {
            self.containers.remove(&id);
        }
        self.missing.remove(task);
    }

    /// Forgets a task whose records are gone.
    pub fn forget(&mut self, task: &TaskId) {
        self.missing.remove(task);
    }

    /// Every container that is known, to look at those that a new list lacks (rule C5).
    pub fn ids(&self) -> BTreeSet<ContainerId> {
        self.containers.keys().cloned().collect()
    }

    /// Whether a container was running when it was looked at last.
    pub fn is_running(&self, id: &ContainerId) -> bool {
        let container = self.containers.get(id);
        container.is_some_and(|known| known.container.state == ContainerState::Running)
    }

    /// The tasks with a container here.
    pub fn tasks(&self) -> impl Iterator<Item = &TaskId> {
        self.tasks.keys()
    }

    /// What is reported of the engine beside its tasks.
    pub fn found(
        &mut self,
        cache: &Cache,
        cluster: &Cluster,
        node: &NodeName,
        now: Timestamp,
    ) -> Found {
        let before = cache
            .status_of_node(node, crate::runtime::view::TASK)
            .and_then(|status| status.found.as_ref());
        let mut unclaimed: Vec<Unclaimed> = self
            .containers
            .values()
            .filter_map(|known| self.unclaimed(cache, cluster, node, known, now))
            .collect();
        for found in &mut unclaimed {
            let earlier = before
                .into_iter()
                .flat_map(|before| &before.unclaimed)
                .find(|old| old.container == found.container);
            let own = self.first_seen.entry(found.container.clone());
            found.since = *own.or_insert(earlier.map_or(now, |old| old.since));
        }
        let claimed = &unclaimed;
        let ids: BTreeSet<_> = claimed
            .iter()
            .map(|found| found.container.clone())
            .collect();
        self.first_seen.retain(|id, _| ids.contains(id));
        unclaimed.sort_by(|a, b| order(a).cmp(&order(b)));
        // A neighbour's containers come and go: one for each of its services says enough, and costs no writes.
        let mut neighbours = BTreeSet::new();
        unclaimed.retain(|found| match found.kind {
            UnclaimedKind::ForeignCluster => neighbours.insert(owner(found)),
            UnclaimedKind::Unbound
            | UnclaimedKind::Lost
            | UnclaimedKind::Stray
            | UnclaimedKind::Imposter => true,
        });
        let total = u32::try_from(unclaimed.len()).unwrap_or(u32::MAX);
        unclaimed.truncate(Found::LIMIT);
        Found {
            incarnation: cluster.incarnation,
            highest: self.highest(cluster),
            is_ahead: self.is_ahead(cluster.incarnation),
            unclaimed,
            total,
            networks: Vec::new(),
            strangers: Vec::new(),
            refused: BTreeMap::new(),
        }
    }

    /// The highest store revision that a container of ours was ordered at (rule S6).
    pub fn highest(&self, cluster: &Cluster) -> Option<(Incarnation, Revision)> {
        self.containers
            .values()
            .filter_map(|known| match &*known.claim(&cluster.id) {
                Claim::Ours(ours) => Some((ours.stamp.incarnation, ours.stamp.revision)),
                Claim::ForeignCluster { .. } | Claim::Imposter { .. } | Claim::NotOurs => None,
            })
            .max()
    }

    /// Looks for labels that this history of the store cannot have brought forth (rule S6).
    ///
    /// Whoever ordered under another right than `term` did so before `term` began: its labels name earlier revisions.
    /// A later one was ordered in a future that the store has lost.
    pub fn look_for_rewind(&mut self, cluster: &Cluster, term: Term) {
        let is_of_lost_future = |known: &Known| match &*known.claim(&cluster.id) {
            Claim::Ours(ours) if ours.stamp.incarnation == cluster.incarnation => {
                ours.stamp.term > term
                    || (ours.stamp.term != term && ours.stamp.revision.0 >= term.0)
            }
            Claim::Ours(ours) => ours.stamp.incarnation > cluster.incarnation,
            Claim::ForeignCluster { .. } | Claim::Imposter { .. } | Claim::NotOurs => false,
        };
        let found = self.containers.values().any(is_of_lost_future);
        self.ahead = found.then_some(cluster.incarnation);
    }

    /// Whether labels were ahead of the store in this life: nothing is ordered until the next one begins.
    pub fn is_ahead(&self, life: Incarnation) -> bool {
        self.ahead == Some(life)
    }

    fn unclaimed(
        &self,
        cache: &Cache,
        cluster: &Cluster,
        node: &NodeName,
        known: &Known,
        now: Timestamp,
    ) -> Option<Unclaimed> {
        let container = &known.container;
        let (kind, claim) = match &*known.claim(&cluster.id) {
            Claim::NotOurs => return None,
            Claim::ForeignCluster {
                cluster: other,
                theirs,
            } => {
                let claim = theirs.as_deref().map(|theirs| reported(other, theirs));
                (UnclaimedKind::ForeignCluster, claim)
            }
            Claim::Imposter { .. } => (UnclaimedKind::Imposter, None),
            Claim::Ours(ours) => {
                let is_holder = self.tasks.get(&ours.task) == Some(&container.id);
                let kind = lack(cache, node, &ours.task, is_holder)?;
                (kind, Some(reported(&cluster.id, ours)))
            }
        };
        Some(Unclaimed {
            container: container.id.clone(),
            name: container.name.clone(),
            kind,
            running: container.state == ContainerState::Running,
            since: now,
            addresses: match container.state {
                ContainerState::Running => container.addresses.clone(),
                ContainerState::Created
                | ContainerState::Exited
                | ContainerState::Removing
                | ContainerState::Dead => Vec::new(),
            },
            claim,
        })
    }
}

/// What a container of ours lacks; nothing: its task is where it is, or on its way there.
fn lack(cache: &Cache, node: &NodeName, task: &TaskId, is_holder: bool) -> Option<UnclaimedKind> {
    let Some((_, record)) = cache.task(task) else {
        return Some(UnclaimedKind::Lost);
    };
    match cache.binding(task) {
        _ if !is_holder => Some(UnclaimedKind::Imposter),
        Some((on, _)) => (on != node).then_some(UnclaimedKind::Stray),
        None => (record.adopted_from.as_ref() != Some(node)).then_some(UnclaimedKind::Unbound),
    }
}

/// What is ours comes first, because the list is cut; then what waits longest.
fn order(found: &Unclaimed) -> (UnclaimedKind, Timestamp, &ContainerId) {
    (found.kind, found.since, &found.container)
}

/// The cluster and service that a foreign container is of; none where its labels cannot be read.
fn owner(found: &Unclaimed) -> Option<(Uid, String, String)> {
    let claim = found.claim.as_ref()?;
    Some((
        claim.cluster.clone(),
        claim.namespace.clone(),
        claim.name.clone(),
    ))
}

/// A claim as it stands in the status.
fn reported(cluster: &Uid, ours: &container::Ours) -> status::Claim {
    let ours = ours.clone();
    status::Claim {
        cluster: cluster.clone(),
        task: ours.task,
        service: ours.service,
        namespace: ours.name.namespace.into(),
        name: ours.name.name.into(),
        slot: ours.slot,
        revision: ours.revision,
        hash: ours.hash,
        node: ours.node,
        stamp: ours.stamp,
    }
}
