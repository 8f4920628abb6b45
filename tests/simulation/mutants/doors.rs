//! A manager's doors with a planted bug behind them.

use super::Door;
use async_trait::async_trait;
use futures::StreamExt;
use skep::api::node::EngineSpec;
use skep::api::uid::ContainerId;
use skep::api::unit::{LeaseId, Revision};
use skep::app::manager::Doors;
use skep::engine::{
    Attached, Connector, Container, Engine, EventStream, ExecIo, ExecRequest, Identity, LogOptions,
    LogStream, Network, PullProgress,
};
use skep::sim::world::Hook;
use skep::store::{
    Error, Kv, LeaseStatus, Op, Outcome, RangeRequest, RangeResponse, StoreStatus, Txn,
    WatchRequest, WatchStream,
};
use std::sync::Arc;
use std::time::Duration;

type EngineError = skep::engine::Error;

impl Door {
    /// Plants it into a manager that starts.
    pub(crate) fn hook(self) -> Hook {
        Arc::new(move |doors: Doors| Doors {
            kv: Arc::new(Store {
                kv: doors.kv,
                mutant: self,
            }),
            connector: Arc::new(Engines {
                connector: doors.connector,
                mutant: self,
            }),
            ..doors
        })
    }
}

struct Store {
    kv: Arc<dyn Kv>,
    mutant: Door,
}

#[async_trait]
impl Kv for Store {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        self.kv.range(request).await
    }

    async fn txn(&self, txn: &Txn) -> Result<Outcome, Error> {
        self.kv.txn(&self.mutant.write(txn.clone())).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        let mutant = self.mutant;
        let batches = self.kv.watch(request).await?;
        let heard = batches.map(move |batch| batch.map(|batch| mutant.hear(batch)));
        Ok(heard.boxed())
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseStatus, Error> {
        self.kv.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<LeaseStatus, Error> {
        if self.mutant == Door::WritesAlways {
            let tick = Op::Put {
                key: "/skep/status/services/default/web/tick".into(),
                value: b"{}".to_vec(),
                lease: None,
            };
            let _ = self
                .kv
                .txn(&Txn {
                    then: vec![tick],
                    ..Txn::default()
                })
                .await;
        }
        self.kv.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.kv.revoke(lease).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.kv.compact(revision).await
    }

    async fn status(&self) -> Result<StoreStatus, Error> {
        self.kv.status().await
    }
}

struct Engines {
    connector: Arc<dyn Connector>,
    mutant: Door,
}

#[async_trait]
impl Connector for Engines {
    async fn connect(&self, spec: &EngineSpec) -> Result<Arc<dyn Engine>, EngineError> {
        Ok(Arc::new(Buggy {
            engine: self.connector.connect(spec).await?,
            mutant: self.mutant,
        }))
    }
}

struct Buggy {
    engine: Arc<dyn Engine>,
    mutant: Door,
}

#[async_trait]
impl Engine for Buggy {
    fn address(&self) -> &str {
        self.engine.address()
    }

    async fn ping(&self) -> Result<(), EngineError> {
        self.engine.ping().await
    }

    async fn identity(&self) -> Result<Identity, EngineError> {
        self.engine.identity().await
    }

    async fn list(&self, label: &str, value: &str) -> Result<Vec<ContainerId>, EngineError> {
        let found = self.engine.list(label, value).await?;
        Ok(self.mutant.list(found))
    }

    async fn inspect(&self, container: &str) -> Result<Container, EngineError> {
        let found = self.engine.inspect(container).await?;
        self.mutant.inspect(&*self.engine, found).await
    }

    async fn inspect_raw(&self, container: &str) -> Result<serde_json::Value, EngineError> {
        self.engine.inspect_raw(container).await
    }

    async fn create(&self, name: &str, body: &str) -> Result<ContainerId, EngineError> {
        self.mutant.create(&*self.engine, name, body).await
    }

    async fn start(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.mutant.start(&*self.engine, container).await
    }

    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        self.mutant.stop(&*self.engine, container, grace).await
    }

    async fn remove(&self, container: &ContainerId, force: bool) -> Result<(), EngineError> {
        self.mutant.remove(&*self.engine, container, force).await
    }

    async fn image(&self, image: &str) -> Result<String, EngineError> {
        self.engine.image(image).await
    }

    async fn pull(&self, image: &str, progress: PullProgress<'_>) -> Result<(), EngineError> {
        self.engine.pull(image, progress).await
    }

    async fn load(&self, tar: Vec<u8>) -> Result<(), EngineError> {
        self.engine.load(tar).await
    }

    async fn load_program(&self) -> Result<(), EngineError> {
        self.engine.load_program().await
    }

    async fn networks(&self, label: &str) -> Result<Vec<Network>, EngineError> {
        self.engine.networks(label).await
    }

    async fn attached(&self, networks: &[&str]) -> Result<Vec<Attached>, EngineError> {
        self.engine.attached(networks).await
    }

    async fn create_network(&self, body: &serde_json::Value) -> Result<String, EngineError> {
        self.engine.create_network(body).await
    }

    async fn remove_network(&self, network: &str) -> Result<(), EngineError> {
        self.engine.remove_network(network).await
    }

    async fn connect_network(
        &self,
        network: &str,
        container: &ContainerId,
        endpoint: &serde_json::Value,
    ) -> Result<(), EngineError> {
        self.engine
            .connect_network(network, container, endpoint)
            .await
    }

    async fn remove_volume(&self, volume: &str) -> Result<(), EngineError> {
        self.engine.remove_volume(volume).await
    }

    async fn remove_image(&self, image: &str) -> Result<(), EngineError> {
        self.engine.remove_image(image).await
    }

    async fn events(&self) -> Result<EventStream, EngineError> {
        self.engine.events().await
    }

    async fn logs(
        &self,
        container: &ContainerId,
        options: &LogOptions,
    ) -> Result<LogStream, EngineError> {
        self.engine.logs(container, options).await
    }

    async fn exec(
        &self,
        container: &ContainerId,
        request: &ExecRequest,
    ) -> Result<ExecIo, EngineError> {
        self.engine.exec(container, request).await
    }

    async fn exec_exit_code(&self, exec: &str) -> Result<Option<i64>, EngineError> {
        self.engine.exec_exit_code(exec).await
    }

    async fn exec_resize(&self, exec: &str, columns: u16, rows: u16) -> Result<(), EngineError> {
        self.engine.exec_resize(exec, columns, rows).await
    }
}
