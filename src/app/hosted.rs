//! A manager with the machine's own doors and its HTTP server.

use super::manager::{self, Doors, Options};
use crate::engine::DockerConnector;
use crate::metrics::server::{Readiness, Refresh, Server};
use crate::metrics::{Metrics, list};
use crate::runtime::clock::SystemClock;
use crate::runtime::gauges;
use crate::runtime::measured::{MeasuredConnector, MeasuredKv};
use crate::runtime::shared::SharedCache;
use crate::store::Kv;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Runs a manager over `kv`, with its metrics on `listener`, until `stop` turns true.
///
/// # Errors
/// See [`manager::run`].
pub(super) async fn run(
    options: Options,
    kv: Arc<dyn Kv>,
    cache: Arc<SharedCache>,
    listener: Option<TcpListener>,
    stop: watch::Receiver<bool>,
) -> Result<(), manager::Error> {
    let metrics = Arc::new(Metrics::new());
    let serving = listener.map(|listener| {
        let server = Server::new(metrics.clone(), readiness(&cache), refresh(&cache));
        tokio::spawn(server.run(listener, until(stop.clone())))
    });
    let engines = Arc::new(DockerConnector);
    let doors = Doors {
        kv: Arc::new(MeasuredKv::new(kv, metrics.clone())),
        cache,
        connector: Arc::new(MeasuredConnector::new(engines, metrics.clone())),
        clock: Arc::new(SystemClock),
        metrics,
    };
    let result = manager::run(options, doors, stop).await;
    if let Some(serving) = serving {
        serving.abort();
    }
    result
}

/// Ready once the cache is filled, and while it follows the store and the cluster has its record.
fn readiness(cache: &Arc<SharedCache>) -> Readiness {
    let readiness = Readiness::new();
    readiness.waits("store", "not read yet");
    let (cache, told) = (cache.clone(), readiness.clone());
    tokio::spawn(async move {
        let mut progress = cache.follow();
        while progress.changed().await.is_ok() {
            progress.mark_unchanged();
            match cache.trouble() {
                None => told.ready("store"),
                Some(why) => told.waits("store", format!("{why}; what runs goes on")),
            }
            match cache.read(|cache| cache.cluster.is_some()) {
                true => told.ready("cluster"),
                false => told.waits(
                    "cluster",
                    "it has no record yet; a manager that runs the controller `cluster` writes it",
                ),
            }
        }
    });
    readiness
}

/// Brings the gauges up to date when they are read.
fn refresh(cache: &Arc<SharedCache>) -> Refresh {
    let cache = cache.clone();
    Arc::new(move |metrics| {
        let progress = cache.progress();
        metrics.set(
            &list::STORE_CONNECTED,
            &[],
            f64::from(u8::from(progress.is_connected)),
        );
        metrics.set(&list::CACHE_REVISION, &[], progress.revision.0 as f64);
        cache.read(|cache| gauges::refresh(metrics, cache));
    })
}

/// Returns when `stop` turns true.
pub(super) async fn until(mut stop: watch::Receiver<bool>) {
    // An error means that nobody can ask for the end any more: that is the end.
    let _ = stop.wait_for(|stop| *stop).await;
}
