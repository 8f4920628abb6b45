//! Runs `skep store` in process, over stores in memory by their names and over real ones by their addresses.

use clap::Parser;
use futures::FutureExt;
use skep::api::cluster::Cluster;
use skep::cli::store::{Cli, code};
use skep::cli::{Doors, Terminal};
use skep::embedded::memory::Memory;
use skep::runtime::clock::SystemClock;
use skep::sim::SimFleet;
use skep::store::etcd::Etcd;
use skep::store::{Kv, RangeRequest};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The cluster of all these tests.
pub(crate) const ID: &str = "0000000000000000000000001";

/// Stores in memory, by the endpoint that names them.
#[derive(Clone, Default)]
pub(crate) struct Stores(BTreeMap<String, Arc<dyn Kv>>);

/// What a verb said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Stores {
    pub(crate) fn with(mut self, name: &str, kv: impl Kv) -> Self {
        self.0.insert(format!("http://{name}"), Arc::new(kv));
        self
    }

    /// Runs `skep store WORDS`.
    pub(crate) async fn run(&self, words: &[&str]) -> Said {
        let words = std::iter::once("skep-store").chain(words.iter().copied());
        let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
        let (terminal, captured) = Terminal::captured(b"");
        let stores = self.0.clone();
        let doors = Doors {
            store: Box::new(move |config| {
                let known = stores.get(&config.endpoints[0]).cloned();
                async move {
                    Ok(match known {
                        Some(kv) => kv,
                        None => Arc::new(Etcd::new(&config)?),
                    })
                }
                .boxed()
            }),
            connector: Arc::new(SimFleet::new()),
            clock: Arc::new(SystemClock),
            terminal,
            environment: BTreeMap::new(),
            directory: PathBuf::from("/"),
            interrupted: std::future::pending().boxed(),
            grammar: clap::Command::new("skep"),
        };
        let code = code(cli, doors).await;
        Said {
            code,
            out: captured.take_out(),
            err: captured.take_err(),
        }
    }

    /// Runs a verb that has to succeed.
    pub(crate) async fn ok(&self, words: &[&str]) -> Said {
        let said = self.run(words).await;
        assert_eq!(said.code, 0, "{words:?}: {said:?}");
        said
    }

    /// Runs a verb that has to be refused, and says why.
    pub(crate) async fn refused(&self, words: &[&str]) -> String {
        let said = self.run(words).await;
        assert!(said.code > 0, "{words:?}: {said:?}");
        said.err
    }
}

/// A cluster with a service and what controllers wrote for it, in its second life.
pub(crate) fn cluster() -> Memory {
    let store = Memory::new();
    fill(&store);
    store
}

pub(crate) fn fill(store: &Memory) {
    store.put("/skep/cluster", record(2).as_str());
    for (key, value) in CONTENT {
        store.put(&format!("/skep/{key}"), *value);
    }
}

/// The record of [`ID`] in a life.
pub(crate) fn record(life: u64) -> String {
    format!(r#"{{"id":"{ID}","incarnation":{life},"format":1}}"#)
}

/// What goes along. The values need not be whole records: nobody reads them on the way.
pub(crate) const CONTENT: &[(&str, &str)] = &[
    (
        "services/default/web",
        "# mine\nreplicas: 2\ntemplate: {container: a:1}\n",
    ),
    ("nodes/n1", "{engine: 'unix:///run/n1.sock', manager: m1}"),
    ("scale/default/web", "3"),
    (
        "accepted/nodes/n1",
        r#"{"uid":"0000000000000000000000007","generation":1,"metadata":{},"spec":{"engine":{"url":"tcp://n1:2375"},"manager":"m1","role":"worker","availability":"active"},"createRevision":1,"modRevision":1,"incarnation":1,"createdAt":"2026-01-02T03:04:05.000Z"}"#,
    ),
    ("bindings/n1/0000000000000000000000abc", "{}"),
    ("tasks/default/web/0000000000000000000000abc", "{}"),
    ("status/tasks/n1/0000000000000000000000abc", "{}"),
    ("revisions/0000000000000000000000009/0000000001", "{}"),
    ("allocations/later", "x"),
];

/// Everything below the prefix but the record.
pub(crate) async fn content(kv: &dyn Kv) -> Vec<(String, String)> {
    let listing = skep::store::list(kv, "/skep/").await.unwrap();
    let kvs = listing.kvs.into_iter();
    kvs.filter(|kv| kv.key != "/skep/cluster")
        .map(|kv| (kv.key, String::from_utf8(kv.value).unwrap()))
        .collect()
}

/// What [`content`] gives for [`CONTENT`].
pub(crate) fn expected() -> Vec<(String, String)> {
    let all = CONTENT.iter();
    let mut all: Vec<_> = all
        .map(|(key, value)| (format!("/skep/{key}"), (*value).to_owned()))
        .collect();
    all.sort();
    all
}

/// The cluster's record.
pub(crate) async fn cluster_of(kv: &dyn Kv) -> Cluster {
    let found = kv.range(RangeRequest::key("/skep/cluster")).await.unwrap();
    serde_json::from_slice(&found.kvs[0].value).unwrap()
}
