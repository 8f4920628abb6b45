//! One manager's links to engines: each can be cut by itself, and what goes wrong on them is on record.

use super::court::Court;
use super::fleet::SimFleet;
use super::judge::FORCED;
use crate::api::node::EngineSpec;
use crate::api::uid::ContainerId;
use crate::engine::{
    Attached, Connector, Container, Engine, Error, EventStream, ExecIo, ExecRequest, Identity,
    LogOptions, LogStream, Network, PullProgress,
};
use async_trait::async_trait;
use futures::StreamExt;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long one waits for the answer to a call.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// Which of a manager's links are cut, by URL.
#[derive(Clone, Debug, Default)]
pub struct Cuts {
    /// Cut from these engines.
    pub urls: BTreeSet<String>,
    /// What is sent to these engines arrives, and nothing comes back.
    pub answers: BTreeSet<String>,
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

    /// Returns once it is cut, in whatever way.
    fn cut(&self) -> impl Future<Output = ()> + Send + use<> {
        let address = self.engine.address().to_owned();
        let mut cuts = self.links.cuts.subscribe();
        async move {
            let is_cut = |cuts: &Cuts| {
                cuts.is_dead || cuts.urls.contains(&address) || cuts.answers.contains(&address)
            };
            let _ = cuts.wait_for(is_cut).await;
        }
    }

    /// Returns once an answer is heard: never, where nothing comes back.
    async fn back(&self, call: &'static str) -> Result<(), Error> {
        let is_lost = {
            let cuts = self.links.cuts.borrow();
            cuts.answers.contains(self.engine.address())
        };
        if is_lost {
            tokio::time::sleep(CALL_DEADLINE).await;
            return Err(Error::Timeout {
                address: self.engine.address().to_owned(),
                call,
                deadline: CALL_DEADLINE,
            });
        }
        Ok(())
    }

    /// A question: nobody else sees whether it was asked.
    async fn ask<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.out().await?;
        let answer = answer.await;
        self.back(call).await?;
        answer
    }

    /// Shows the judge an order that is about to be sent.
    fn show(&self, call: &str, container: &str) {
        if self.links.cuts.borrow().is_dead {
            return;
        }
        let address = self.engine.address();
        let node = address.trim_start_matches("tcp://").split(':').next();
        let (court, name) = (&self.links.court, &self.links.name);
        court.look_at_store(false);
        court.judge(|judge| judge.orders(name, node.unwrap_or(address), call, container));
    }

    /// Sends an order, which arrives also if the one who sent it waits no more. On record is how it failed.
    async fn order<T, F>(
        &self,
        call: &'static str,
        container: &str,
        order: impl FnOnce(Arc<dyn Engine>) -> F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.show(call, container);
        self.out().await?;
        // A task of the network's, not of the process that sent it.
        let sent = tokio::spawn(order(self.engine.clone()));
        let answer = sent.await.expect("an engine's call does not panic");
        let answer = self.back(call).await.and(answer);
        if let Err(error) = &answer {
            let short: String = container.chars().take(44).collect();
            let what = format!(
                "orders {call} {short} of {}: {error}",
                self.engine.address()
            );
            self.links.court.note(&self.links.name, &what);
        }
        answer
    }
}

#[async_trait]
impl Engine for Link {
    fn address(&self) -> &str {
        self.engine.address()
    }

    async fn ping(&self) -> Result<(), Error> {
        self.ask("ping", self.engine.ping()).await
    }

    async fn identity(&self) -> Result<Identity, Error> {
        self.ask("identity", self.engine.identity()).await
    }

    async fn list(&self, label: &str, value: &str) -> Result<Vec<ContainerId>, Error> {
        self.ask("list", self.engine.list(label, value)).await
    }

    async fn inspect(&self, container: &str) -> Result<Container, Error> {
        self.ask("inspect", self.engine.inspect(container)).await
    }

    async fn inspect_raw(&self, container: &str) -> Result<serde_json::Value, Error> {
        self.ask("inspect_raw", self.engine.inspect_raw(container))
            .await
    }

    async fn create(&self, name: &str, body: &str) -> Result<ContainerId, Error> {
        let (its_name, its_body) = (name.to_owned(), body.to_owned());
        let order =
            |engine: Arc<dyn Engine>| async move { engine.create(&its_name, &its_body).await };
        self.order("create", name, order).await
    }

    async fn start(&self, container: &ContainerId) -> Result<(), Error> {
        let id = container.clone();
        let order = |engine: Arc<dyn Engine>| async move { engine.start(&id).await };
        self.order("start", container.as_str(), order).await
    }

    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<(), Error> {
        let id = container.clone();
        let order = |engine: Arc<dyn Engine>| async move { engine.stop(&id, grace).await };
        self.order("stop", container.as_str(), order).await
    }

    async fn remove(&self, container: &ContainerId, force: bool) -> Result<(), Error> {
        let id = container.clone();
        let order = |engine: Arc<dyn Engine>| async move { engine.remove(&id, force).await };
        let call = if force { FORCED } else { "remove" };
        self.order(call, container.as_str(), order).await
    }

    async fn image(&self, image: &str) -> Result<String, Error> {
        self.ask("image", self.engine.image(image)).await
    }

    async fn pull(&self, image: &str, progress: PullProgress<'_>) -> Result<(), Error> {
        self.ask("pull", self.engine.pull(image, progress)).await
    }

    async fn load(&self, tar: Vec<u8>) -> Result<(), Error> {
        self.ask("load", self.engine.load(tar)).await
    }

    async fn load_program(&self) -> Result<(), Error> {
        self.ask("load", self.engine.load_program()).await
    }

    async fn networks(&self, label: &str) -> Result<Vec<Network>, Error> {
        self.ask("networks", self.engine.networks(label)).await
    }

    async fn attached(&self, networks: &[&str]) -> Result<Vec<Attached>, Error> {
        self.ask("attached", self.engine.attached(networks)).await
    }

    async fn create_network(&self, body: &serde_json::Value) -> Result<String, Error> {
        let its_body = body.clone();
        let order = |engine: Arc<dyn Engine>| async move { engine.create_network(&its_body).await };
        let name = body["Name"].as_str().unwrap_or_default();
        self.order("create_network", name, order).await
    }

    async fn remove_network(&self, network: &str) -> Result<(), Error> {
        let id = network.to_owned();
        let order = |engine: Arc<dyn Engine>| async move { engine.remove_network(&id).await };
        self.order("remove_network", network, order).await
    }

    async fn connect_network(
        &self,
        network: &str,
        container: &ContainerId,
        endpoint: &serde_json::Value,
    ) -> Result<(), Error> {
        let (name, id, endpoint) = (network.to_owned(), container.clone(), endpoint.clone());
        let order = |engine: Arc<dyn Engine>| async move {
            engine.connect_network(&name, &id, &endpoint).await
        };
        self.order("connect_network", container.as_str(), order)
            .await
    }

    async fn remove_volume(&self, volume: &str) -> Result<(), Error> {
        let name = volume.to_owned();
        let order = |engine: Arc<dyn Engine>| async move { engine.remove_volume(&name).await };
        self.order("remove_volume", volume, order).await
    }

    async fn remove_image(&self, image: &str) -> Result<(), Error> {
        self.ask("remove_image", self.engine.remove_image(image))
            .await
    }

    async fn events(&self) -> Result<EventStream, Error> {
        self.out().await?;
        let cut = self.cut();
        let events = self.engine.events().await?;
        self.back("events").await?;
        Ok(events.take_until(Box::pin(cut)).boxed())
    }

    async fn logs(
        &self,
        container: &ContainerId,
        options: &LogOptions,
    ) -> Result<LogStream, Error> {
        self.ask("logs", self.engine.logs(container, options)).await
    }

    async fn exec(&self, container: &ContainerId, request: &ExecRequest) -> Result<ExecIo, Error> {
        let cut = self.cut();
        let mut io = self
            .ask("exec", self.engine.exec(container, request))
            .await?;
        io.output = io.output.take_until(Box::pin(cut)).boxed();
        Ok(io)
    }

    async fn exec_exit_code(&self, exec: &str) -> Result<Option<i64>, Error> {
        self.ask("exec_exit_code", self.engine.exec_exit_code(exec))
            .await
    }

    async fn exec_resize(&self, exec: &str, columns: u16, rows: u16) -> Result<(), Error> {
        self.ask("exec_resize", self.engine.exec_resize(exec, columns, rows))
            .await
    }
}
