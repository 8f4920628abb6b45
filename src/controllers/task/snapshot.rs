//! What one plan for one task rests on. Pure.

use super::networks::{Callers, Networks};
use crate::api::cluster::Cluster;
use crate::api::key::Key;
use crate::api::name::{NodeName, Scoped};
use crate::api::task::{Binding, ServiceRevision, Stamp, Task, TaskStatus};
use crate::api::time::Timestamp;
use crate::api::uid::TaskId;
use crate::api::unit::{Revision, Term};
use crate::engine::Container;
use crate::runtime::cache::{Cache, Stored};
use crate::runtime::clock::Now;
use crate::runtime::view;
use std::sync::Arc;
use std::time::Duration;

/// What is known of a task's container on the verified engine.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Seen {
    /// Nothing: a list that lacks it proves nothing (rule C5).
    #[default]
    Unknown,
    /// An inspect answered 404.
    Missing,
    /// This, at the last inspect; ours by rule C1.
    Here(Arc<Container>),
}

/// What this holder did for a task in this term. A successor starts without it and loses nothing but time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// `starting` is committed under this term, for the task and the binding of these revisions.
    pub committed: Option<(Revision, Revision)>,
    /// When the container was last looked at, on the clock since boot.
    pub looked_at: Option<Duration>,
    /// A start was sent: when, on the clock since boot. It is never sent a second time unless it certainly was not sent.
    pub start_sent: Option<Duration>,
    /// Whether the image has to be pulled before a create.
    pub image: Image,
    /// What a create, pull or start failed with for good.
    pub refused: Option<Refused>,
    /// No order before this, on the clock since boot.
    pub retry_at: Option<Duration>,
    /// What the last attempt failed with, for people.
    pub trouble: Option<String>,
    /// Since when it waits for its networks, or for callers to stay away, on the clock since boot.
    pub waits_since: Option<Duration>,
}

/// What is known of a task's image on the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Image {
    /// Nothing: a create finds out.
    #[default]
    Unknown,
    /// A create said that it is not there.
    Absent,
    /// It was pulled.
    Pulled,
}

/// A final error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// A `PascalCase` word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// What one plan rests on.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// The task.
    pub id: &'a TaskId,
    /// The node whose shard is held.
    pub node: &'a NodeName,
    /// Its record, and the service that it stands under.
    pub task: Option<(&'a Scoped, &'a Stored<Task>)>,
    /// Its binding to this very node (by uid).
    pub binding: Option<&'a Stored<Binding>>,
    /// What its container is made from.
    pub revision: Option<&'a ServiceRevision>,
    /// What was written of it last.
    pub status: Option<&'a TaskStatus>,
    /// Whether a status key exists at all, of whatever uid.
    pub has_status_key: bool,
    /// Whether a binding key exists on this node, of whatever uid.
    pub has_binding_key: bool,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// What runs is being adopted: nothing is ordered (rule S6).
    pub is_adopting: bool,
    /// What new containers are stamped with.
    pub stamp: Stamp,
    /// Its container.
    pub seen: &'a Seen,
    /// What this holder did so far.
    pub progress: &'a Progress,
    /// Which overlays it joins, and what it waits for before that.
    pub networks: &'a Networks,
    /// Who may still send callers to it, if it is to stop.
    pub callers: Callers,
    /// Now.
    pub now: Now,
}

impl<'a> Snapshot<'a> {
    /// Gathers what concerns one task; none as long as the cluster has no identity or the node is not accepted.
    pub fn new(
        cache: &'a Cache,
        node: &'a NodeName,
        id: &'a TaskId,
        term: Term,
        seen: &'a Seen,
        progress: &'a Progress,
        now: Now,
    ) -> Option<Self> {
        let cluster = &cache.cluster.as_ref()?.value;
        let accepted = cache.nodes.get(node)?;
        let facets = cache.facets(id);
        let bound = facets.and_then(|facets| facets.binding.as_ref());
        let binding_key = bound
            .filter(|(on, _)| on == node)
            .map(|(_, binding)| binding);
        let binding = binding_key.filter(|binding| binding.node == accepted.uid);
        let task = facets
            .and_then(|facets| facets.task.as_ref())
            .map(|(service, task)| (service, task));
        let status_key = facets.and_then(|facets| facets.status_on(node));
        let status = status_key
            .map(|status| &*status.value)
            .filter(|status| status.node == accepted.uid)
            .filter(|status| task.is_none_or(|(_, task)| task.service == status.service));
        let revision = task.and_then(|(_, task)| {
            let key = (task.service.clone(), task.revision);
            cache.revisions.get(&key).map(|revision| &*revision.value)
        });
        Some(Self {
            id,
            node,
            task,
            binding,
            revision,
            status,
            has_status_key: status_key.is_some(),
            has_binding_key: binding_key.is_some(),
            cluster,
            is_adopting: view::is_adopting(cache),
            stamp: Stamp {
                incarnation: cluster.incarnation,
                term,
                revision: cache.revision,
            },
            seen,
            progress,
            networks: &Networks::Engines,
            callers: Callers::None,
            now,
        })
    }

    /// The wall clock, for display.
    pub fn wall(&self) -> Timestamp {
        self.now.wall
    }

    /// Where the status is.
    pub fn status_key(&self) -> Key {
        Key::TaskStatus(self.node.clone(), self.id.clone())
    }
}
