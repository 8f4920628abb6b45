//! One manager's links to engines: each can be cut by itself, and what goes wrong on them is on record.

use super::court::Court;
use super::fleet::SimFleet;
use crate::api::node::EngineSpec;
use crate::api::uid::ContainerId;
use crate::engine::{
    Connector, Container, Engine, Error, EventStream, ExecIo, ExecRequest, Identity, LogOptions,
    LogStream, PullProgress,
};
use async_trait::async_trait;
use futures::StreamExt;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Which of a manager's links are cut, by URL.
#[derive(Clone, Debug, Default)]
pub struct Cuts {
    /// Cut from these engines.
    pub urls: BTreeSet<String>,
    /// The manager is dead: nothing goes out, ever.
    pub is_dead: bool,
}

/// The links of one manager; clones are the same.
#[derive(Clone)]
pub struct Links {
    pub(super) name: Arc<str>,
    pub(super) fleet: SimFleet,
    pub(super) cuts: Arc<watch::Sender<Cuts>>,
    pub(super) court: Court,
}

#[async_trait]
impl Connector for Links {
    async fn connect(&self, spec: &EngineSpec) -> Result<Arc<dyn Engine>, Error> {
        Ok(Arc::new(Link {
            engine: self.fleet.connect(spec).await?,
            links: self.clone(),
        }))
    }
}

/// One link.
struct Link {
    engine: Arc<dyn Engine>,
    links: Links,
}

impl Link {
    fn is_cut(&self) -> bool {
        let cuts = self.links.cuts.borrow();
        cuts.urls.contains(self.engine.address())
    }

    async fn out(&self) -> Result<(), Error> {
        self.links.court.call(&self.links.name).await;
        if self.links.cuts.borrow().is_dead {
            std::future::pending::<()>().await;
        }
        match self.is_cut() {
            false => Ok(()),
            true => Err(Error::Connect {
                address: self.engine.address().to_owned(),
                message: "simulated: the link is cut".into(),
            }),
        }
    }

    /// Puts an order on record, with how it failed.
    fn note<T>(&self, order: &str, container: &str, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            let short: String = container.chars().take(44).collect();
            let what = format!(
                "orders {order} {short} of {}: {error}",
                self.engine.address()
            );
            self.links.court.note(&self.links.name, &what);
        }
        result
    }
}

#[async_trait]
impl Engine for Link {
    fn address(&self) -> &str {
        self.engine.address()
    }

    async fn ping(&self) -> Result<(), Error> {
        self.out().await?;
        self.engine.ping().await
    }

    async fn identity(&self) -> Result<Identity, Error> {
        self.out().await?;
        self.engine.identity().await
    }

    async fn list(&self, label: &str, value: &str) -> Result<Vec<ContainerId>, Error> {
        self.out().await?;
        self.engine.list(label, value).await
    }

    async fn inspect(&self, container: &str) -> Result<Container, Error> {
        self.out().await?;
        self.engine.inspect(container).await
    }

    async fn inspect_raw(&self, container: &str) -> Result<serde_json::Value, Error> {
        self.out().await?;
        self.engine.inspect_raw(container).await
    }

    async fn create(&self, name: &str, body: &serde_json::Value) -> Result<ContainerId, Error> {
        self.out().await?;
        let result = self.engine.create(name, body).await;
        self.note("create", name, result)
    }

    async fn start(&self, container: &ContainerId) -> Result<(), Error> {
        self.out().await?;
        let result = self.engine.start(container).await;
        self.note("start", container.as_str(), result)
    }

    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<(), Error> {
        self.out().await?;
        let result = self.engine.stop(container, grace).await;
        self.note("stop", container.as_str(), result)
    }

    async fn remove(&self, container: &ContainerId, force: bool) -> Result<(), Error> {
        self.out().await?;
        let result = self.engine.remove(container, force).await;
        self.note("remove", container.as_str(), result)
    }

    async fn image(&self, image: &str) -> Result<String, Error> {
        self.out().await?;
        self.engine.image(image).await
    }

    async fn pull(&self, image: &str, progress: PullProgress<'_>) -> Result<(), Error> {
        self.out().await?;
        self.engine.pull(image, progress).await
    }

    async fn load(&self, tar: Vec<u8>) -> Result<(), Error> {
        self.out().await?;
        self.engine.load(tar).await
    }

    async fn remove_image(&self, image: &str) -> Result<(), Error> {
        self.out().await?;
        self.engine.remove_image(image).await
    }

    async fn events(&self) -> Result<EventStream, Error> {
        self.out().await?;
        let address = self.engine.address().to_owned();
        let mut cuts = self.links.cuts.subscribe();
        let cut = async move {
            let is_cut = |cuts: &Cuts| cuts.is_dead || cuts.urls.contains(&address);
            let _ = cuts.wait_for(is_cut).await;
        };
        let events = self.engine.events().await?;
        Ok(events.take_until(Box::pin(cut)).boxed())
    }

    async fn logs(
        &self,
        container: &ContainerId,
        options: &LogOptions,
    ) -> Result<LogStream, Error> {
        self.out().await?;
        self.engine.logs(container, options).await
    }

    async fn exec(&self, container: &ContainerId, request: &ExecRequest) -> Result<ExecIo, Error> {
        self.out().await?;
        self.engine.exec(container, request).await
    }

    async fn exec_exit_code(&self, exec: &str) -> Result<Option<i64>, Error> {
        self.out().await?;
        self.engine.exec_exit_code(exec).await
    }

    async fn exec_resize(&self, exec: &str, columns: u16, rows: u16) -> Result<(), Error> {
        self.out().await?;
        self.engine.exec_resize(exec, columns, rows).await
    }
}
