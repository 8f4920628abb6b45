//! A real etcd and one manager in this process, with the wiring of the binary; its engines are the caller's.

use crate::support::etcd::Etcd;
use futures::StreamExt;
use skep::app::manager::{self, CONTROLLERS, Doors, Options};
use skep::engine::Connector;
use skep::metrics::Metrics;
use skep::runtime::cache::Cache;
use skep::runtime::clock::SystemClock;
use skep::runtime::measured::{MeasuredConnector, MeasuredKv};
use skep::runtime::shared::SharedCache;
use skep::runtime::view;
use skep::store::config::StoreConfig;
use skep::store::{Kv, Op, Outcome, Txn, WatchEvent, WatchRequest, WatchStream, etcd};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a state is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// A store with a manager on it.
pub(crate) struct World {
    /// Another client than the manager's: the user's.
    pub(crate) kv: Arc<dyn Kv>,
    /// What the manager knows.
    pub(crate) cache: Arc<SharedCache>,
    stop: watch::Sender<bool>,
    manager: JoinHandle<()>,
    _etcd: Etcd,
}

impl World {
    /// Starts both; nothing is in the store yet.
    pub(crate) async fn start(connector: Arc<dyn Connector>) -> Self {
        let etcd = Etcd::start().await;
        let connect = || -> Arc<dyn Kv> {
            let config = StoreConfig::plain(&etcd.endpoint());
            Arc::new(etcd::Etcd::new(&config).expect("no certificate is asked for"))
        };
        let (stop, stopped) = watch::channel(false);
        let cache = SharedCache::new("/skep/");
        let metrics = Arc::new(Metrics::new());
        let options = Options {
            name: "bench".into(),
            hostname: "bench".into(),
            controllers: CONTROLLERS.iter().map(ToString::to_string).collect(),
            metrics: None,
            cluster: Default::default(),
            node: Default::default(),
        };
        let doors = Doors {
            kv: Arc::new(MeasuredKv::new(connect(), metrics.clone())),
            cache: cache.clone(),
            connector: Arc::new(MeasuredConnector::new(connector, metrics.clone())),
            clock: Arc::new(SystemClock),
            metrics,
        };
        let manager = tokio::spawn(async move {
            manager::run(options, doors, stopped)
                .await
                .expect("the manager runs until it is stopped");
        });
        Self {
            kv: connect(),
            cache,
            stop,
            manager,
            _etcd: etcd,
        }
    }

    /// Puts a value, as a user does; returns when etcd has acknowledged it.
    pub(crate) async fn put(&self, key: &str, value: &str) {
        self.write(vec![Op::Put {
            key: key.into(),
            value: value.as_bytes().to_vec(),
            lease: None,
        }])
        .await;
    }

    pub(crate) async fn delete(&self, key: &str) {
        self.write(vec![Op::Delete { key: key.into() }]).await;
    }

    /// One transaction without conditions.
    pub(crate) async fn write(&self, then: Vec<Op>) {
        let txn = Txn {
            then,
            ..Txn::default()
        };
        match self.kv.txn(txn).await {
            Ok(Outcome::Committed { .. }) => {}
            other => panic!("etcd did not take a write of the benchmark: {other:?}"),
        }
    }

    /// Adds nodes by name and engine URL, and waits until all are ready.
    pub(crate) async fn nodes(&self, nodes: &[(String, String)]) {
        for (name, url) in nodes {
            let spec = format!("{{engine: {{url: \"{url}\"}}}}");
            self.put(&format!("/skep/nodes/{name}"), &spec).await;
        }
        let count = nodes.len();
        self.until("all nodes are ready", |cache| {
            let views = view::nodes(cache);
            views.iter().filter(|node| node.is_schedulable()).count() == count
        })
        .await;
    }

    /// Waits until the manager's copy of the store says so.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Cache) -> bool) {
        let mut progress = self.cache.follow();
        let wait = async {
            loop {
                progress.borrow_and_update();
                if self.cache.read(&holds) {
                    return;
                }
                progress
                    .changed()
                    .await
                    .expect("the manager follows the store");
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("waited {PATIENCE:?} in vain until {what}");
        }
    }

    /// Follows everything under the prefix from now on.
    pub(crate) async fn follow(&self) -> Follower {
        let here = skep::store::RangeRequest::key("/skep/cluster");
        let here = self.kv.range(here).await.expect("etcd answers").revision;
        let request = WatchRequest {
            prefix: "/skep/".into(),
            start: skep::api::unit::Revision(here.0 + 1),
        };
        Follower {
            stream: self.kv.watch(request).await.expect("etcd takes a watch"),
            events: Vec::new(),
        }
    }

    pub(crate) async fn stop(self) {
        self.stop.send(true).expect("the manager listens");
        self.manager.await.expect("the manager stops in peace");
    }
}

/// Keeps all that is written.
pub(crate) struct Follower {
    stream: WatchStream,
    pub(crate) events: Vec<WatchEvent>,
}

impl Follower {
    /// Waits until so many different tasks were written as running.
    pub(crate) async fn running(&mut self, count: usize) {
        let mut running = std::collections::BTreeSet::new();
        let wait = async {
            while running.len() < count {
                let batch = self.stream.next().await.expect("etcd keeps the watch open");
                let batch = batch.expect("etcd keeps the watch open");
                for event in &batch.events {
                    if let WatchEvent::Put(kv) = event
                        && kv.key.starts_with("/skep/status/tasks/")
                        && contains(&kv.value, b"\"state\":\"running\"")
                    {
                        running.insert(kv.key.clone());
                    }
                }
                self.events.extend(batch.events);
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("{} of {count} tasks run after {PATIENCE:?}", running.len());
        }
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
