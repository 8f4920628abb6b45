//! `skep status`: one screen: managers and what they lead, nodes, services, and what is stuck and why.

use super::converge::{self, Standing};
use super::error::Error;
use super::kinds::title;
use super::object;
use super::print::{self, age, indent};
use super::session::Session;
use super::table::{self, Shape};
use crate::api::name::{Kind, ObjectKey};
use crate::api::status::{NodeState, Truth};
use crate::api::time::Timestamp;
use crate::api::unit::Revision;
use crate::runtime::cache::Cache;
use crate::runtime::view;
use crate::store::StoreStatus;
use std::collections::BTreeMap;

/// Arguments of `skep status`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Exit with 1 if something is stuck
    #[arg(long)]
    pub check: bool,
}

pub(super) async fn run(session: &Session, args: Args) -> Result<(), Error> {
    let cache = session.snapshot().await?;
    let store = session.kv.status().await?;
    let now = session.now();
    let stuck = stuck(&cache, &store);
    session
        .terminal
        .line(&screen(&cache, &store, &stuck, now))?;
    match args.check && !stuck.is_empty() {
        true => Err(Error::Said(1)),
        false => Ok(()),
    }
}

/// The screen.
pub(super) fn screen(
    cache: &Cache,
    store: &StoreStatus,
    stuck: &[String],
    now: Timestamp,
) -> String {
    let all = Shape {
        wide: false,
        namespaces: true,
    };
    let kinds = [Kind::Node, Kind::Service].map(|kind| {
        let rows: Vec<Vec<String>> = object::keys(cache, kind)
            .iter()
            .map(|key| table::row(cache, key, now, all))
            .collect();
        print::table(&table::header(kind, all), &rows)
    });
    let [nodes, services] = kinds;
    let stuck_text = match stuck.is_empty() {
        true => "nothing".to_owned(),
        false => stuck.join("\n"),
    };
    let sections = [
        ("Cluster", cluster(cache, store)),
        ("Managers", managers(cache, now)),
        ("Nodes", nodes),
        ("Services", services),
        ("Stuck", stuck_text),
    ];
    sections
        .into_iter()
        .map(|(name, body)| match body.is_empty() {
            true => format!("{name}:\n  none"),
            false => format!("{name}:\n{}", indent(&body, 2)),
        })
        .collect::<Vec<_>>()
        .join("\n\n")
}

fn cluster(cache: &Cache, store: &StoreStatus) -> String {
    let id = cache
        .cluster
        .as_ref()
        .map_or("not made yet".to_owned(), |cluster| {
            format!("{} (incarnation {})", cluster.id, cluster.incarnation)
        });
    let quota = store.quota.map(|quota| format!(" of {}", megabytes(quota)));
    format!(
        "id       {id}\nstore    version {}, {}{} on disk, revision {}",
        store.version,
        megabytes(store.db_size),
        quota.unwrap_or_default(),
        cache.revision
    )
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes % (1 << 20)) * 10) >> 20)
}

/// Each manager with the controllers that it leads and the shards that it holds.
fn managers(cache: &Cache, now: Timestamp) -> String {
    let mut leads: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut controllers: Vec<&String> = cache.elections.keys().map(|(name, _)| name).collect();
    controllers.dedup();
    for controller in controllers {
        if let Some((_, holder)) = cache.leader(controller) {
            leads
                .entry(&holder.value.manager)
                .or_default()
                .push(controller.clone());
        }
    }
    let mut holds: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (shard, holder) in &cache.shards {
        holds
            .entry(&holder.value.manager)
            .or_default()
            .push(shard.clone());
    }
    let listed = |map: &BTreeMap<&str, Vec<String>>, name: &str| {
        print::or_none(map.get(name).map(|list| list.join(",")).unwrap_or_default())
    };
    let rows: Vec<Vec<String>> = cache
        .managers
        .values()
        .map(|manager| {
            vec![
                manager.name.clone(),
                manager.version.clone(),
                listed(&leads, &manager.name),
                listed(&holds, &manager.name),
                age(now, manager.started_at),
            ]
        })
        .collect();
    print::table(&["NAME", "VERSION", "LEADS", "SHARDS", "AGE"], &rows)
}

/// What does not go on by itself, and why.
pub(super) fn stuck(cache: &Cache, store: &StoreStatus) -> Vec<String> {
    let mut stuck: Vec<String> = store
        .alarms
        .iter()
        .map(|alarm| format!("store: alarm {alarm}"))
        .collect();
    if cache.managers.is_empty() {
        stuck.push("no manager runs: what runs goes on, nothing is repaired".into());
    }
    if view::is_adopting(cache) && cache.cluster.is_some() {
        stuck.push(
            "the cluster adopts what runs after a restore: nothing is started or stopped".into(),
        );
    }
    for kind in Kind::ALL {
        for key in object::keys(cache, kind) {
            stuck.extend(of_object(cache, &key).map(|why| format!("{}: {why}", title(&key))));
        }
    }
    for node in view::nodes(cache) {
        let unclaimed = node.found.map_or(0, |found| found.total);
        if unclaimed > 0 {
            let containers = print::count(unclaimed as usize, "container");
            stuck.push(format!(
                "node {}: {containers} without a task: `skep reap`",
                node.name
            ));
        }
    }
    let broken = cache.broken.iter();
    stuck.extend(broken.map(|(key, why)| format!("record {key} cannot be read: {why}")));
    let unknown = cache.unknown.iter();
    stuck.extend(unknown.map(|key| format!("key {key} means nothing to skep")));
    stuck
}

fn of_object(cache: &Cache, key: &ObjectKey) -> Option<String> {
    let accepted = object::condition(cache, key, "Accepted");
    if let Some(condition) = accepted.filter(|condition| condition.status == Truth::False) {
        return Some(format!("not accepted: {}", condition.message));
    }
    match key.kind {
        Kind::Node => view::node(cache, &key.node_name())
            .filter(|node| node.state != NodeState::Ready)
            .map(|node| format!("{}: {}", node.state.as_str(), node.reason)),
        Kind::Service => match converge::explained(cache, key, Revision(0)) {
            Standing::Done => None,
            Standing::Waiting(why) | Standing::Refused(why) | Standing::Halted(why) => Some(why),
        },
        Kind::Network => None,
    }
}
