//! `skep manager`: one process that runs all controllers or some of them.
//!
//! Any number of managers run at once. Each controller has one leader among them; the others wait. A manager that
//! stops gives its leases back; one that dies is replaced when they expire.

use crate::api::cluster::Manager;
use crate::api::uid::Uid;
use crate::controllers::cluster::{ProcessMemory, Refusal};
use crate::controllers::network::state::Overlays;
use crate::controllers::{cluster, network, node, reaper, scheduler, service, task};
use crate::engine::Connector;
use crate::metrics::{Metrics, list};
use crate::runtime::clock::Clock;
use crate::runtime::context::Context;
use crate::runtime::reconciler;
use crate::runtime::recorder::Recorder;
use crate::runtime::register::register;
use crate::runtime::shared::SharedCache;
use crate::runtime::watcher::Watcher;
use crate::spawn::part;
use crate::store::{Kv, STORE_DEADLINE};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info};

/// The controllers, in the order that help lists them.
pub const CONTROLLERS: [&str; 7] = [
    "cluster",
    "node",
    "network",
    "service",
    "scheduler",
    "task",
    "reaper",
];

/// What a stopping manager waits for its last writes and the return of its leases: the store's deadline, twice.
const STOPPING: Duration = Duration::from_secs(5);

/// What it waits for its last events: the store's deadline.
const LAST_EVENTS: Duration = STORE_DEADLINE;

/// What a manager is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name: what `spec.manager` of a node compares with.
    pub name: String,
    /// The host's name.
    pub hostname: String,
    /// The controllers that it runs.
    pub controllers: Vec<String>,
    /// Where its metrics are, for `skep status`.
    pub metrics: Option<String>,
    /// Settings of controller `cluster`.
    pub cluster: cluster::Settings,
    /// Settings of controller `network`.
    pub network: network::Settings,
    /// Settings of controller `node`.
    pub node: node::Settings,
}

/// The doors.
#[derive(Clone)]
pub struct Doors {
    /// The store.
    pub kv: Arc<dyn Kv>,
    /// The copy of it that the manager fills, for whoever reads along.
    pub cache: Arc<SharedCache>,
    /// Engines.
    pub connector: Arc<dyn Connector>,
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
    /// What Prometheus reads.
    pub metrics: Arc<Metrics>,
}

/// Why a manager ends by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store's record is not one that this process may serve.
    #[error("{0}")]
    Refused(Refusal),
    /// A part that should run for ever ended.
    #[error("a part of the manager ended: {0}")]
    Ended(String),
}

impl Error {
    /// Whether starting it again may help without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_retryable(),
            Self::Ended(_) => true,
        }
    }
}

/// Runs a manager until `stop` turns true.
///
/// # Errors
/// The store has a newer format, or a part ended that should not.
pub async fn run(options: Options, doors: Doors, stop: watch::Receiver<bool>) -> Result<(), Error> {
    let cache = doors.cache.clone();
    let context = Context {
        kv: doors.kv.clone(),
        cache: cache.clone(),
        clock: doors.clock.clone(),
        metrics: doors.metrics.clone(),
        recorder: Recorder::start(
            doors.kv.clone(),
            cache.prefix(),
            doors.clock.clone(),
            doors.metrics.clone(),
        ),
        manager: options.name.clone(),
    };
    doors
        .metrics
        .set(&list::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
    let mut parts = JoinSet::new();
    // Controllers wait until they see their own last writes, so the watcher is the last to go.
    let (last, ended) = watch::channel(false);
    let watcher = Watcher::new(doors.kv.clone(), cache.clone(), doors.clock.seed());
    parts.spawn(part(watcher.run(ended)));
    let record = record(&options, &*doors.clock);
    parts.spawn(part(register(context.clone(), record, stop.clone())));
    start_controllers(&options, &doors, &context, &stop, &mut parts);
    info!(
        name = options.name,
        controllers = options.controllers.join(","),
        "manager started"
    );
    let result = watch_over(&mut parts, &cache, options.cluster.id.clone(), stop).await;
    if result.is_err() {
        // Not one more write or order on a store that is not ours; leases end by themselves.
        parts.shutdown().await;
    }
    // Parts give their leases back; a store that does not answer must not keep the process.
    let _ = tokio::time::timeout(STOPPING, async {
        while parts.len() > 1 && parts.join_next().await.is_some() {}
        last.send_replace(true);
        while parts.join_next().await.is_some() {}
    })
    .await;
    if result.is_ok() {
        // The last events tell what the last writes did.
        let _ = tokio::time::timeout(LAST_EVENTS, context.recorder.flush()).await;
    }
    info!("manager stopped; containers go on");
    result
}

fn start_controllers(
    options: &Options,
    doors: &Doors,
    context: &Context,
    stop: &watch::Receiver<bool>,
    parts: &mut JoinSet<()>,
) {
    for name in &options.controllers {
        let (context, stop) = (context.clone(), stop.clone());
        match name.as_str() {
            "service" => parts.spawn(part(reconciler::run(
                Arc::new(service::Service),
                context,
                stop,
            ))),
            "scheduler" => {
                let scheduler = Arc::new(scheduler::Scheduler);
                parts.spawn(part(reconciler::run(scheduler, context, stop)))
            }
            "network" => parts.spawn(part(reconciler::run(
                Arc::new(network::Network(options.network)),
                context,
                stop,
            ))),
            "reaper" => {
                let reaper = Arc::new(reaper::Reaper::default());
                parts.spawn(part(reconciler::run(reaper, context, stop)))
            }
            "cluster" => parts.spawn(part(cluster::run(options.cluster.clone(), context, stop))),
            "node" => {
                let connector = doors.connector.clone();
                parts.spawn(part(node::run(options.node, connector, context, stop)))
            }
            "task" => {
                let compute = options.network.addresses.then(overlays);
                let connector = doors.connector.clone();
                parts.spawn(part(task::run(connector, compute, context, stop)))
            }
            other => {
                // The command line has checked the names.
                error!(controller = other, "there is no such controller");
                continue;
            }
        };
    }
}

/// How the state of each node follows from the store. A view that changes nothing for any node gives what the one before gave.
fn overlays() -> task::Compute {
    let last: Mutex<Option<(Arc<Overlays>, task::StateOf)>> = Mutex::default();
    Arc::new(move |cache| {
        let mut last = last.lock().expect("no code panics while it holds the last");
        let mut overlays = Overlays::of(cache);
        if let Some((before, of)) = &*last {
            overlays = overlays.sharing(before);
            if overlays.is_same(before) {
                return of.clone();
            }
        }
        let overlays = Arc::new(overlays);
        let own = overlays.clone();
        let of: task::StateOf = Arc::new(move |node| own.state(node));
        *last = Some((overlays, of.clone()));
        of
    })
}

/// Waits for `stop`, for a part that ends by itself, or for a store that this version must not write to.
async fn watch_over(
    parts: &mut JoinSet<()>,
    cache: &Arc<SharedCache>,
    told_id: Option<Uid>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let told = stop.clone();
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Ok(()),
        refusal = refused(cache, told_id) => Err(Error::Refused(refusal)),
        ended = parts.join_next() => match ended {
            // It was told to stop, between the look at `stop` above and this one.
            Some(Ok(())) if *told.borrow() => Ok(()),
            Some(Err(error)) => Err(Error::Ended(error.to_string())),
            Some(Ok(())) | None => Err(Error::Ended("it should run until it is stopped".into())),
        },
    }
}

/// Remembers what this process served, whoever leads; returns once it must not work on the store any more.
async fn refused(cache: &SharedCache, told_id: Option<Uid>) -> Refusal {
    let memory = ProcessMemory::new(told_id);
    let mut progress = cache.follow();
    loop {
        let refusal = cache.read(|cache| {
            memory.observe(cache);
            cluster::refusal(cache, memory.known().as_ref())
        });
        if let Some(refusal) = refusal {
            return refusal;
        }
        if progress.changed().await.is_err() {
            // The cache outlives this: there is nothing left to refuse.
            std::future::pending::<()>().await;
        }
    }
}

fn record(options: &Options, clock: &dyn Clock) -> Manager {
    Manager {
        name: options.name.clone(),
        hostname: options.hostname.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        controllers: options.controllers.clone(),
        metrics: options.metrics.clone(),
        started_at: clock.now().wall,
        saw_end_of: None,
    }
}
