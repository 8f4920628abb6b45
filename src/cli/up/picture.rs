//! What `skep up` shows of the cluster: services, nodes, the last events. Pure.

use crate::api::cluster::Event;
use crate::api::name::{DEFAULT_NAMESPACE, Kind, NodeName, ObjectKey};
use crate::api::time::Timestamp;
use crate::cli::{object, table, tasks};
use crate::runtime::cache::Cache;
use crate::runtime::view;
use std::collections::BTreeMap;

/// Where this `skep up` is, for the person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Where its store listens, as clients write it.
    pub store: String,
    /// Its data directory.
    pub data: String,
    /// When it started.
    pub since: Timestamp,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// Tasks that are asked for.
    pub(super) wanted: u32,
    /// Tasks that run.
    pub(super) running: u32,
    /// Tasks that serve.
    pub(super) ready: u32,
    /// How it stands, in a word.
    pub(super) status: String,
    /// Why; empty: nothing to say.
    pub(super) message: String,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// How it stands, in a word.
    pub(super) status: String,
    /// Why; empty: nothing to say.
    pub(super) message: String,
    /// Tasks on it that have not ended.
    pub(super) tasks: usize,
    /// Its engine's version; empty: not known.
    pub(super) engine: String,
}

/// All of it, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Picture {
    /// Services; those outside `default` with their namespace.
    pub(super) services: BTreeMap<String, Service>,
    /// Nodes.
    pub(super) nodes: BTreeMap<String, Node>,
    /// Events, the latest last.
    pub(super) events: Vec<Event>,
    /// Warnings of this process, the latest last.
    pub(super) warnings: Vec<String>,
}

impl Picture {
    /// The cluster as the cache has it.
    pub(super) fn of(cache: &Cache) -> Self {
        let services = object::keys(cache, Kind::Service).into_iter();
        let nodes = object::keys(cache, Kind::Node).into_iter();
        Self {
            services: services
                .map(|key| (service_name(&key), service(cache, &key)))
                .collect(),
            nodes: nodes
                .map(|key| (key.name.clone(), node(cache, &key)))
                .collect(),
            ..Self::default()
        }
    }
}

fn service_name(key: &ObjectKey) -> String {
    match key.namespace.as_str() {
        DEFAULT_NAMESPACE => key.name.clone(),
        namespace => format!("{namespace}/{}", key.name),
    }
}

fn service(cache: &Cache, key: &ObjectKey) -> Service {
    let counts = table::counts(cache, key).unwrap_or_default();
    let (status, message) = table::standing(cache, key);
    Service {
        wanted: counts.wanted,
        running: counts.running,
        ready: counts.ready,
        status,
        message,
    }
}

fn node(cache: &Cache, key: &ObjectKey) -> Node {
    let name = NodeName(key.name.clone());
    let tasks = tasks::all(cache, None);
    let live = tasks
        .iter()
        .filter(|task| task.view.node == Some(&name) && task.view.is_live());
    let (status, message, engine) = match view::node(cache, &name) {
        Some(node) => {
            let version = node.engine.and_then(|engine| engine.version.clone());
            (
                node.state.as_str().to_owned(),
                node.reason,
                version.unwrap_or_default(),
            )
        }
        None => {
            let (status, message) = table::standing(cache, key);
            (status, message, String::new())
        }
    };
    Node {
        status,
        message,
        tasks: live.count(),
        engine,
    }
}
