//! What `skep down` takes away from a cluster: services with their containers, networks with the agents of nodes, and
//! containers without a record.
//!
//! It deletes what people wrote and waits until the controllers have cleaned up, so containers end as gracefully as
//! with any other delete. At the end the engines themselves are asked whether anything is left. Nodes stay: they are
//! the fleet, not what runs on it.
//!
//! Invariant: what is not ours by label and name is neither removed nor counted (rule C1).

use super::converge::Standing;
use super::delete;
use super::error::Error;
use super::kinds::title;
use super::object;
use super::print::{count, short};
use super::reach;
use super::reap;
use super::session::Session;
use super::tasks;
use crate::api::name::{Kind, NodeName, ObjectKey};
use crate::api::status::NodeState;
use crate::api::uid::{TaskId, Uid};
use crate::controllers::task::container::{CLUSTER, Claim, claim};
use crate::engine::Engine;
use crate::runtime::cache::Cache;
use crate::runtime::view;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};

/// What `skep down` was told.
#[derive(Clone, Debug)]
pub struct Request {
    /// Do not ask.
    pub yes: bool,
    /// What else goes, for the question; empty: nothing.
    pub also: String,
    /// How long containers may take to end.
    pub timeout: Duration,
}

/// Whether a manager runs: without one nothing that is deleted is cleaned up.
pub async fn is_managed(session: &Session) -> bool {
    let cache = session.snapshot().await;
    cache.is_ok_and(|cache| !cache.managers.is_empty())
}

/// Whether the agent of any node was heard of: managers realise networks.
pub async fn has_agents(session: &Session) -> bool {
    let cache = session.snapshot().await;
    cache.is_ok_and(|cache| !view::agents(&cache).is_empty())
}

/// Says what would go, and asks; the exit code if it is not to be.
///
/// # Errors
/// The exit code: the store does not answer, nobody says yes, or nobody can be asked.
pub async fn confirm(session: &Session, request: &Request) -> Result<(), u8> {
    let asked = async {
        let what = Doomed::of(&session.snapshot().await?);
        ask(session, &what, &request.also).await
    };
    match request.yes {
        true => Ok(()),
        false => match super::finish(asked.await, None, &session.terminal) {
            0 => Ok(()),
            code => Err(code),
        },
    }
}

/// Removes all of it, while a manager runs; the exit code.
pub async fn run(session: &Session, request: &Request) -> u8 {
    let removed = remove(session, request.timeout).await;
    super::finish(removed, None, &session.terminal)
}

async fn remove(session: &Session, timeout: Duration) -> Result<(), Error> {
    let cache = session.snapshot().await?;
    let what = Doomed::of(&cache);
    let done = tokio::time::timeout(timeout, async {
        take(session, &cache, &what).await?;
        reaped(session).await?;
        disarmed(session, view::agents(&cache)).await
    });
    if let Ok(result) = done.await {
        result?;
        return left(session).await;
    }
    let cache = session.snapshot().await?;
    let waits = what.objects().filter_map(|key| missing(&cache, key));
    let waits: Vec<String> = waits.chain(away(&cache)).collect();
    Err(Error::TimedOut(waits.join("; ")))
}

/// What is not gone yet of an object, in words.
fn missing(cache: &Cache, key: &ObjectKey) -> Option<String> {
    match delete::absence(cache, key) {
        Standing::Done => None,
        Standing::Waiting(why) | Standing::Refused(why) | Standing::Halted(why) => {
            Some(format!("{}: {why}", title(key)))
        }
    }
}

/// What is taken away.
struct Doomed {
    services: Vec<ObjectKey>,
    networks: Vec<ObjectKey>,
    /// Containers by their tasks, in words.
    containers: BTreeMap<TaskId, String>,
}

impl Doomed {
    fn of(cache: &Cache) -> Self {
        let containers = tasks::all(cache, None).into_iter().filter_map(|task| {
            let container = task.view.status?.container.as_ref()?;
            let text = format!(
                "container {} ({}{})",
                short(container.as_str()),
                task.name(),
                task.view
                    .node
                    .map(|node| format!(" on {node}"))
                    .unwrap_or_default()
            );
            Some((task.view.task.id.clone(), text))
        });
        Self {
            services: object::keys(cache, Kind::Service).into_iter().collect(),
            networks: object::keys(cache, Kind::Network).into_iter().collect(),
            containers: containers.collect(),
        }
    }

    fn objects(&self) -> impl Iterator<Item = &ObjectKey> {
        self.services.iter().chain(&self.networks)
    }

    fn text(&self) -> String {
        format!(
            "{} with {}, {}",
            count(self.services.len(), "service"),
            count(self.containers.len(), "container"),
            count(self.networks.len(), "network")
        )
    }
}

/// Asks a person; where nobody can answer, the flag has to say yes.
async fn ask(session: &Session, what: &Doomed, also: &str) -> Result<(), Error> {
    let what = format!("{}{also}", what.text());
    if !session.terminal.is_interactive() {
        return Err(Error::Usage(format!(
            "this removes {what}: say so with --yes where nobody can be asked"
        )));
    }
    session.terminal.write_err(
        format!("Removes {what}. Manifests of services go with them. Go on? [y/N] ").as_bytes(),
    )?;
    let mut answer = String::new();
    let mut input = BufReader::new(session.terminal.input());
    input.read_line(&mut answer).await.map_err(Error::Output)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::refused("nothing was removed")),
    }
}

/// Deletes and waits, and says what is gone as it goes.
async fn take(session: &Session, cache: &Cache, what: &Doomed) -> Result<(), Error> {
    let keys: Vec<ObjectKey> = what.objects().cloned().collect();
    delete::quietly(session, cache, &keys).await?;
    let mut follow = session.follow(session.snapshot().await?);
    let mut containers = what.containers.clone();
    let mut objects: Vec<&ObjectKey> = what.objects().collect();
    loop {
        let now = &follow.cache;
        let (gone, left): (BTreeMap<_, _>, BTreeMap<_, _>) = containers
            .into_iter()
            .partition(|(task, _)| now.task(task).is_none());
        containers = left;
        for text in gone.values() {
            session.terminal.line(&format!("{text} removed"))?;
        }
        let (gone, left): (Vec<_>, Vec<_>) = objects
            .into_iter()
            .partition(|key| delete::absence(now, key) == Standing::Done);
        objects = left;
        for key in gone {
            session.terminal.line(&format!("{} removed", title(key)))?;
        }
        if containers.is_empty() && objects.is_empty() {
            return Ok(());
        }
        follow.changed().await?;
    }
}

/// Removes containers of this cluster that lost their record, and waits until they are gone.
async fn reaped(session: &Session) -> Result<(), Error> {
    let cache = session.snapshot().await?;
    let tasks = reap::lost(session, &cache).await?;
    let mut follow = session.follow(session.snapshot().await?);
    while tasks.iter().any(|task| follow.cache.task(task).is_some()) {
        follow.changed().await?;
    }
    Ok(())
}

/// Waits until the agents have taken back what they programmed, and are gone. One of a node that nobody reaches stays, as do
/// its containers.
async fn disarmed(session: &Session, mut nodes: BTreeSet<NodeName>) -> Result<(), Error> {
    let mut follow = session.follow(session.snapshot().await?);
    loop {
        let now = &follow.cache;
        let armed = view::agents(now);
        for gone in nodes.difference(&armed) {
            session.terminal.line(&format!("agent on {gone} removed"))?;
        }
        nodes.retain(|node| armed.contains(node));
        let is_reached = |node: &NodeName| {
            let view = view::node(now, node);
            view.is_some_and(|view| view.state == NodeState::Ready)
        };
        if !nodes.iter().any(is_reached) {
            for node in &nodes {
                let what = format!("warning: node {node} is not reached, and keeps its agent");
                session.terminal.note(&what);
            }
            return Ok(());
        }
        follow.changed().await?;
    }
}

/// Asks each engine whether a container of this cluster is left.
async fn left(session: &Session) -> Result<(), Error> {
    let cache = session.snapshot().await?;
    let Some(cluster) = cache.cluster.as_ref().map(|cluster| &cluster.id) else {
        return Ok(());
    };
    let mut found = Vec::new();
    for node in view::nodes(&cache) {
        let spec = &node.accepted.spec;
        // Ours are gone from the records, so what an engine out of reach still has is no longer known here.
        match reach::dial(session, &node.name, spec).await {
            Ok(engine) => found.extend(ours(engine.as_ref(), &node.name, cluster).await),
            Err(error) => session.terminal.note(&format!(
                "warning: node {} was not looked at: {}",
                node.name,
                error.chain()
            )),
        }
    }
    match found.is_empty() {
        true => Ok(()),
        false => Err(Error::advised(
            format!("left are {}", found.join(", ")),
            "run it again: containers whose record is lost are found after some seconds",
        )),
    }
}

async fn ours(engine: &dyn Engine, node: &NodeName, cluster: &Uid) -> Vec<String> {
    let mut found = Vec::new();
    let listed = engine.list(CLUSTER, cluster.as_str()).await;
    for id in listed.unwrap_or_default() {
        // An error: it is gone meanwhile.
        let container = engine.inspect(id.as_str()).await;
        let ours = container
            .ok()
            .filter(|container| matches!(claim(container, cluster), Claim::Ours(_)));
        found.extend(ours.map(|container| format!("container {} on {node}", container.name)));
    }
    found
}

/// Nodes that hold up the end.
fn away(cache: &Cache) -> Vec<String> {
    let nodes = view::nodes(cache).into_iter();
    let away = nodes.filter(|node| node.state != NodeState::Ready);
    away.map(|node| {
        format!(
            "node {} is {}: {} (`skep node rm --force {}` gives its containers up)",
            node.name,
            node.state.as_str(),
            node.reason,
            node.name
        )
    })
    .collect()
}
