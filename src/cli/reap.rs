//! `skep reap`: lists containers that no task accounts for, and approves the removal of those without a record (rule C3).
//!
//! Approval is a task record with desired `remove`, made under the condition that there is none: the node's manager
//! then removes the container as it removes any other. Containers of other clusters and copies are only listed.

use super::error::Error;
use super::print::{self, age, short};
use super::session::Session;
use super::write::{self, CHUNK, Guarded};
use crate::api::key::Key;
use crate::api::name::NodeName;
use crate::api::status::{Unclaimed, UnclaimedKind};
use crate::api::task::{Desired, Task};
use crate::api::time::Timestamp;
use crate::api::uid::TaskId;
use crate::runtime::cache::Cache;
use crate::runtime::view;

/// Why a task record is there: a person approved the removal.
const REASON: &str = "Reaped";

/// Arguments of `skep reap`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Remove them
    #[arg(long)]
    pub yes: bool,
    /// Only on these nodes
    #[arg(value_name = "NODE")]
    pub nodes: Vec<String>,
}

pub(super) async fn run(session: &Session, args: Args) -> Result<(), Error> {
    let cache = session.snapshot().await?;
    let found = found(&cache, &args.nodes);
    if found.is_empty() {
        session
            .terminal
            .note("no container without a record is known");
        return Ok(());
    }
    let now = session.now();
    if args.yes {
        return approve(session, &cache, &found, now).await;
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|(node, container)| row(&cache, node, container, now))
        .collect();
    let header = [
        "NODE",
        "CONTAINER",
        "NAME",
        "SERVICE",
        "RUNS",
        "SEEN",
        "WHY",
    ];
    session.terminal.line(&print::table(&header, &rows))?;
    session
        .terminal
        .note("`skep reap --yes` removes those that can be");
    Ok(())
}

fn found<'a>(cache: &'a Cache, nodes: &[String]) -> Vec<(NodeName, &'a Unclaimed)> {
    view::nodes(cache)
        .into_iter()
        .filter(|node| nodes.is_empty() || nodes.iter().any(|name| name == node.name.as_str()))
        .flat_map(|node| {
            let unclaimed = node.found.map(|found| found.unclaimed.as_slice());
            let name = node.name;
            unclaimed
                .unwrap_or_default()
                .iter()
                .map(move |one| (name.clone(), one))
        })
        .collect()
}

fn row(cache: &Cache, node: &NodeName, container: &Unclaimed, now: Timestamp) -> Vec<String> {
    let service = container
        .claim
        .as_ref()
        .map(|claim| format!("{}/{}", claim.namespace, claim.name));
    let why = match (container.kind, record(cache, node, container, now)) {
        (UnclaimedKind::ForeignCluster, _) => "of another cluster: never touched",
        (UnclaimedKind::Imposter, _) => "a copy of a task's container: never touched",
        (UnclaimedKind::Lost, None) => "its labels make no task of this cluster: never touched",
        (UnclaimedKind::Lost, Some(_)) => "its record is lost: can be removed",
        (UnclaimedKind::Unbound, _) => "its task's binding is lost: it gets one back",
        (UnclaimedKind::Stray, _) => {
            "its task runs on another node: remove it with `docker rm` once it is not needed"
        }
    };
    vec![
        node.to_string(),
        short(container.container.as_str()).to_owned(),
        container.name.clone(),
        print::or_none(service.unwrap_or_default()),
        if container.running { "yes" } else { "no" }.to_owned(),
        age(now, container.since),
        why.to_owned(),
    ]
}

/// The record that removes a container, with its key; none: it is not ours to remove. Which node its labels name does not
/// matter: after a wipe, or where a node was removed and added again, the same engine is a node of another uid.
fn record(
    cache: &Cache,
    node: &NodeName,
    container: &Unclaimed,
    now: Timestamp,
) -> Option<(Key, Task)> {
    let claim = container.claim.as_ref()?;
    let key = claim.key()?;
    let cluster = cache.cluster.as_ref()?;
    let is_ours = container.kind == UnclaimedKind::Lost && cluster.id == claim.cluster;
    let task = || Task {
        id: claim.task.clone(),
        service: claim.service.clone(),
        revision: claim.revision,
        slot: claim.slot.clone(),
        desired: Desired::Remove,
        reason: Some(REASON.into()),
        replaces: None,
        failures: 0,
        not_before: None,
        created_at: now,
        ended_at: Some(now),
        adopted_from: Some(node.clone()),
    };
    is_ours.then(|| (key, task()))
}

/// Removes every container whose record is lost; the tasks under which that is ordered.
pub(super) async fn lost(session: &Session, cache: &Cache) -> Result<Vec<TaskId>, Error> {
    let now = session.now();
    let lost: Vec<(NodeName, &Unclaimed)> = found(cache, &[])
        .into_iter()
        .filter(|(node, container)| record(cache, node, container, now).is_some())
        .collect();
    approve(session, cache, &lost, now).await?;
    let claims = lost
        .iter()
        .filter_map(|(_, container)| container.claim.as_ref());
    Ok(claims.map(|claim| claim.task.clone()).collect())
}

async fn approve(
    session: &Session,
    cache: &Cache,
    found: &[(NodeName, &Unclaimed)],
    now: Timestamp,
) -> Result<(), Error> {
    let mut left = 0;
    let mut writes = Vec::new();
    let mut lines = Vec::new();
    for (node, container) in found {
        let Some((key, task)) = record(cache, node, container, now) else {
            left += 1;
            continue;
        };
        if cache.task(&task.id).is_some() {
            continue;
        }
        let value = serde_json::to_vec(&task).expect("a task has only text keys");
        writes.push(Guarded {
            key: session.key(&key),
            value: Some(value),
            read: None,
        });
        lines.push(format!(
            "container {} on node {node}: removal ordered",
            container.name
        ));
    }
    for (chunk, lines) in writes.chunks(CHUNK).zip(lines.chunks(CHUNK)) {
        write::commit(session, chunk).await?;
        lines
            .iter()
            .try_for_each(|line| session.terminal.line(line))?;
    }
    if left > 0 {
        let containers = print::count(left, "container");
        session
            .terminal
            .note(&format!("{containers} left alone: `skep reap` says why"));
    }
    Ok(())
}
