//! A real etcd and one manager in this process, with the wiring of the binary; its engines are the caller's.

use crate::report::instant;
use crate::support::etcd::Etcd;
use futures::StreamExt;
use skep::api::task::TaskState;
use skep::api::unit::Revision;
use skep::app::manager::{self, CONTROLLERS, Doors, Options};
use skep::controllers::network::Settings;
use skep::engine::Connector;
use skep::metrics::Metrics;
use skep::runtime::cache::Cache;
use skep::runtime::clock::SystemClock;
use skep::runtime::measured::{MeasuredConnector, MeasuredKv};
use skep::runtime::shared::SharedCache;
use skep::runtime::view;
use skep::store::config::StoreConfig;
use skep::store::{Kv, Op, Outcome, RangeRequest, Txn, WatchEvent, WatchRequest, etcd};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a state is waited for.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often running tasks are counted: what this adds to a time of seconds is below its spread.
const LOOK: Duration = Duration::from_millis(5);
/// How long a state rests that was not there yet: who asks looks at every node, and the manager's watch waits for readers.
const REST: Duration = Duration::from_millis(50);

/// A store with a manager on it.
pub(crate) struct World {
    /// Another client than the manager's: the user's.
    pub(crate) kv: Arc<dyn Kv>,
    /// What the manager knows.
    pub(crate) cache: Arc<SharedCache>,
    stop: watch::Sender<bool>,
    manager: JoinHandle<()>,
    etcd: Etcd,
}

impl World {
    /// Starts both; nothing is in the store yet.
    pub(crate) async fn start(connector: Arc<dyn Connector>) -> Self {
        Self::start_with(connector, Default::default()).await
    }

    /// The same with these settings of networks.
    pub(crate) async fn start_with(connector: Arc<dyn Connector>, network: Settings) -> Self {
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
            network,
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
            etcd,
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
        match self.kv.txn(&txn).await {
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
        self.nodes_are_ready(nodes.len()).await;
    }

    /// Waits until so many nodes take tasks.
    pub(crate) async fn nodes_are_ready(&self, count: usize) {
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
                tokio::time::sleep(REST).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("waited {PATIENCE:?} in vain until {what}");
        }
    }

    /// Waits until so many tasks are running in the store, as far as the manager's own watch shows it: another watch would
    /// take from etcd what is measured.
    pub(crate) async fn running(&self, count: usize) {
        let deadline = instant() + PATIENCE;
        loop {
            let found = self.cache.read(|cache| {
                let statuses = cache.task_statuses.values();
                statuses
                    .filter(|status| status.state == TaskState::Running)
                    .count()
            });
            if found >= count {
                return;
            }
            assert!(
                instant() < deadline,
                "{found} of {count} tasks run after {PATIENCE:?}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The store's revision.
    pub(crate) async fn revision(&self) -> Revision {
        let range = self.kv.range(RangeRequest::key("/skep/cluster")).await;
        range.expect("etcd answers").revision
    }

    /// Processor time that this process and etcd have taken so far: unlike the time on the clock it is much the same on a
    /// busy machine.
    pub(crate) fn processor_times(&self) -> [Duration; 2] {
        [std::process::id(), self.etcd.id()].map(processor_time)
    }

    /// All that was written after one revision, up to another.
    pub(crate) async fn written(&self, after: Revision, until: Revision) -> Vec<WatchEvent> {
        let request = WatchRequest {
            prefix: "/skep/".into(),
            start: Revision(after.0 + 1),
        };
        let mut watch = self.kv.watch(request).await.expect("etcd takes a watch");
        let mut events = Vec::new();
        let mut reached = after;
        while reached < until {
            let batch = watch.next().await.expect("etcd keeps the watch open");
            let batch = batch.expect("etcd keeps the watch open");
            reached = batch.revision;
            events.extend(batch.events);
        }
        events
    }

    pub(crate) async fn stop(self) {
        self.stop.send(true).expect("the manager listens");
        self.manager.await.expect("the manager stops in peace");
    }
}

/// What the threads of a process have run.
fn processor_time(process: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("Linux, and it runs");
    let times = threads.filter_map(|thread| {
        // One that has ended meanwhile has nothing to say.
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(times.sum())
}
