//! The probe at the door to engines.

use super::{Kind, Moment, Tap, Trick};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use skep::api::node::EngineSpec;
use skep::api::uid::ContainerId;
use skep::engine::{
    Attached, Connector, Container, Engine, EngineEvent, Error, EventStream, ExecIo, ExecRequest,
    Identity, LogOptions, LogStream, Network, PullProgress,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// So long an event waits for the next one, after which it comes.
const COMPANY: Duration = Duration::from_secs(2);

/// Engines behind a probe.
pub(super) struct Engines {
    pub(super) inner: Arc<dyn Connector>,
    pub(super) tap: Tap,
}

#[async_trait]
impl Connector for Engines {
    async fn connect(&self, spec: &EngineSpec) -> Result<Arc<dyn Engine>, Error> {
        Ok(Arc::new(Probed {
            inner: self.inner.connect(spec).await?,
            tap: self.tap.clone(),
        }))
    }
}

#[derive(Clone)]
struct Probed {
    inner: Arc<dyn Engine>,
    tap: Tap,
}

impl Probed {
    /// An order went out and was answered.
    async fn ordered<T>(&self, call: &str, of: &str, result: Result<T, Error>) -> Result<T, Error> {
        let trick = self.meet(Kind::Order, format!("{call} {}", self.tap.probe.name(of)));
        self.tap.play(trick.as_ref()).await;
        self.tap.alive().await;
        result
    }

    fn meet(&self, kind: Kind, what: String) -> Option<Trick> {
        let node = self.inner.address().to_owned();
        let describe = |place| Moment {
            place,
            what,
            changes: Vec::new(),
            node,
            revision: 0,
        };
        self.tap.probe.meet(self.tap.process, kind, describe)
    }

    fn meet_event(&self, event: &EngineEvent) -> Option<Trick> {
        self.meet(Kind::Event, format!("{} {}", event.action, event.name))
    }
}

/// An event stream behind a probe.
struct Feed {
    engine: Probed,
    stream: EventStream,
    /// What comes before anything else.
    waiting: VecDeque<Result<EngineEvent, Error>>,
}

async fn next(mut feed: Feed) -> Option<(Result<EngineEvent, Error>, Feed)> {
    loop {
        if let Some(item) = feed.waiting.pop_front() {
            return Some((item, feed));
        }
        let event = match feed.stream.next().await? {
            Ok(event) => event,
            Err(error) => return Some((Err(error), feed)),
        };
        let trick = feed.engine.meet_event(&event);
        feed.engine.tap.play(trick.as_ref()).await;
        match trick {
            Some(Trick::Drop) => continue,
            Some(Trick::Twice) => feed.waiting.push_back(Ok(event.clone())),
            Some(Trick::Swap) => {
                let next = tokio::time::timeout(COMPANY, feed.stream.next()).await;
                if let Ok(Some(Ok(next))) = &next {
                    feed.engine.meet_event(next);
                }
                feed.waiting.extend(next.ok().flatten());
                feed.waiting.push_back(Ok(event));
                continue;
            }
            _ => {}
        }
        return Some((Ok(event), feed));
    }
}

#[async_trait]
impl Engine for Probed {
    fn address(&self) -> &str {
        self.inner.address()
    }

    async fn ping(&self) -> Result<(), Error> {
        self.tap.alive().await;
        self.inner.ping().await
    }

    async fn identity(&self) -> Result<Identity, Error> {
        self.tap.alive().await;
        self.inner.identity().await
    }

    async fn list(&self, label: &str, value: &str) -> Result<Vec<ContainerId>, Error> {
        self.tap.alive().await;
        self.inner.list(label, value).await
    }

    async fn inspect(&self, container: &str) -> Result<Container, Error> {
        self.tap.alive().await;
        self.inner.inspect(container).await
    }

    async fn inspect_raw(&self, container: &str) -> Result<serde_json::Value, Error> {
        self.tap.alive().await;
        self.inner.inspect_raw(container).await
    }

    async fn create(&self, name: &str, body: &str) -> Result<ContainerId, Error> {
        self.tap.alive().await;
        let result = self.inner.create(name, body).await;
        if let Ok(id) = &result {
            self.tap.probe.know(id.as_str(), name);
        }
        self.ordered("create", name, result).await
    }

    async fn start(&self, container: &ContainerId) -> Result<(), Error> {
        self.tap.alive().await;
        let result = self.inner.start(container).await;
        self.ordered("start", container.as_str(), result).await
    }

    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<(), Error> {
        self.tap.alive().await;
        let result = self.inner.stop(container, grace).await;
        self.ordered("stop", container.as_str(), result).await
    }

    async fn remove(&self, container: &ContainerId, force: bool) -> Result<(), Error> {
        self.tap.alive().await;
        let result = self.inner.remove(container, force).await;
        self.ordered("remove", container.as_str(), result).await
    }

    async fn image(&self, image: &str) -> Result<String, Error> {
        self.tap.alive().await;
        self.inner.image(image).await
    }

    async fn pull(&self, image: &str, progress: PullProgress<'_>) -> Result<(), Error> {
        self.tap.alive().await;
        let result = self.inner.pull(image, progress).await;
        self.ordered("pull", image, result).await
    }

    async fn load(&self, tar: Vec<u8>) -> Result<(), Error> {
        self.tap.alive().await;
        let result = self.inner.load(tar).await;
        self.ordered("load", "an image", result).await
    }

    async fn load_program(&self) -> Result<(), Error> {
        self.tap.alive().await;
        self.inner.load_program().await
    }

    async fn networks(&self, label: &str) -> Result<Vec<Network>, Error> {
        self.tap.alive().await;
        self.inner.networks(label).await
    }

    async fn attached(&self, networks: &[&str]) -> Result<Vec<Attached>, Error> {
        self.tap.alive().await;
        self.inner.attached(networks).await
    }

    async fn create_network(&self, body: &serde_json::Value) -> Result<String, Error> {
        self.tap.alive().await;
        self.inner.create_network(body).await
    }

    async fn remove_network(&self, network: &str) -> Result<(), Error> {
        self.tap.alive().await;
        self.inner.remove_network(network).await
    }

    async fn connect_network(
        &self,
        network: &str,
        container: &ContainerId,
        endpoint: &serde_json::Value,
    ) -> Result<(), Error> {
        self.tap.alive().await;
        self.inner
            .connect_network(network, container, endpoint)
            .await
    }

    async fn remove_volume(&self, volume: &str) -> Result<(), Error> {
        self.tap.alive().await;
        self.inner.remove_volume(volume).await
    }

    async fn remove_image(&self, image: &str) -> Result<(), Error> {
        self.tap.alive().await;
        let result = self.inner.remove_image(image).await;
        self.ordered("remove_image", image, result).await
    }

    async fn events(&self) -> Result<EventStream, Error> {
        self.tap.alive().await;
        let feed = Feed {
            stream: self.inner.events().await?,
            engine: self.clone(),
            waiting: VecDeque::new(),
        };
        Ok(stream::unfold(feed, next).boxed())
    }

    async fn logs(
        &self,
        container: &ContainerId,
        options: &LogOptions,
    ) -> Result<LogStream, Error> {
        self.tap.alive().await;
        self.inner.logs(container, options).await
    }

    async fn exec(&self, container: &ContainerId, request: &ExecRequest) -> Result<ExecIo, Error> {
        self.tap.alive().await;
        self.inner.exec(container, request).await
    }

    async fn exec_exit_code(&self, exec: &str) -> Result<Option<i64>, Error> {
        self.tap.alive().await;
        self.inner.exec_exit_code(exec).await
    }

    async fn exec_resize(&self, exec: &str, columns: u16, rows: u16) -> Result<(), Error> {
        self.tap.alive().await;
        self.inner.exec_resize(exec, columns, rows).await
    }
}
