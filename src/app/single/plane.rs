//! The control plane of one process: the embedded store and a manager on its local door.

use super::super::hosted;
use super::super::manager::{self, CONTROLLERS, Options};
use super::super::process::{FAILED, explain, hostname};
use super::super::state::{Noted, StateDir};
use super::home::Home;
use crate::controllers::{cluster, network, node};
use crate::embedded::journal;
use crate::embedded::local::Local;
use crate::embedded::store::{self, Store};
use crate::runtime::shared::SharedCache;
use crate::store::Kv;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How the manager is run.
pub(super) struct Settings {
    /// Its name.
    pub(super) name: String,
    /// Prefix of all keys.
    pub(super) prefix: String,
    /// Where its metrics are served; none: nowhere.
    pub(super) metrics: Option<TcpListener>,
    /// Settings of controller `cluster`.
    pub(super) cluster: cluster::Settings,
    /// Settings of controller `network`.
    pub(super) network: network::Settings,
    /// Settings of controller `node`.
    pub(super) node: node::Settings,
}

/// A manager that runs.
pub(super) struct Plane {
    /// The store.
    pub(super) kv: Arc<dyn Kv>,
    /// What the manager knows.
    pub(super) cache: Arc<SharedCache>,
    stop: watch::Sender<bool>,
    manager: JoinHandle<Result<(), manager::Error>>,
}

/// Opens the store of a directory; with `salvage` also a damaged one, as far as it goes.
pub(super) async fn open(home: &Home, quota: u64, salvage: bool) -> Result<Store, (u8, String)> {
    let path = home.store();
    let options = store::Options {
        quota,
        journal: journal::Options {
            salvage,
            ..journal::Options::default()
        },
    };
    // Reading the journal blocks.
    let opened = tokio::task::spawn_blocking(move || Store::open(&path, options)).await;
    let opened = opened.expect("opening a store does not panic");
    opened
        .map(|(store, _)| store)
        .map_err(|error| (FAILED, explain(&error)))
}

impl Plane {
    /// Ends the leases of a process that was killed (rule N5), and starts the manager.
    pub(super) async fn start(
        home: &Home,
        store: &Store,
        settings: Settings,
    ) -> Result<Self, (u8, String)> {
        let state = StateDir::open(&home.manager()).map_err(|error| (FAILED, explain(&error)))?;
        let local: Arc<dyn Kv> = Arc::new(Local::new(store.clone()));
        let kv: Arc<dyn Kv> = Arc::new(Noted::start(local, state).await);
        let address = settings.metrics.as_ref().map(TcpListener::local_addr);
        let options = Options {
            name: settings.name,
            hostname: hostname(),
            controllers: CONTROLLERS.iter().map(ToString::to_string).collect(),
            metrics: address
                .and_then(Result::ok)
                .map(|address| address.to_string()),
            cluster: settings.cluster,
            network: settings.network,
            node: settings.node,
        };
        let cache = SharedCache::new(&settings.prefix);
        let (stop, stopped) = watch::channel(false);
        let manager = tokio::spawn(hosted::run(
            options,
            kv.clone(),
            cache.clone(),
            settings.metrics,
            stopped,
        ));
        Ok(Self {
            kv,
            cache,
            stop,
            manager,
        })
    }

    /// Turns true when the manager is to stop.
    pub(super) fn stopped(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Returns why, if the manager ends by itself.
    pub(super) async fn ended(&mut self) -> String {
        match (&mut self.manager).await {
            Ok(Ok(())) => "the manager ended".into(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Stops the manager: its leases are given back, containers go on.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        // One that has ended by itself was asked why already.
        if !self.manager.is_finished() {
            let _ = self.manager.await;
        }
    }
}
