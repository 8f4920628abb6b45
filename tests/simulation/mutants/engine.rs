//! Planted bugs in what engines are asked and in what their answers are taken for.

use super::Door;
use serde_json::Value;
use skep::api::uid::ContainerId;
use skep::engine::{Container, ContainerState, Engine, Error};
use std::time::Duration;

const NOW: Duration = Duration::ZERO;

impl Door {
    pub(super) fn list(self, mut found: Vec<ContainerId>) -> Vec<ContainerId> {
        if self == Self::SkipsRemove {
            found.sort();
        }
        found
    }

    pub(super) async fn inspect(
        self,
        engine: &dyn Engine,
        found: Container,
    ) -> Result<Container, Error> {
        let is_running = found.state == ContainerState::Running;
        match self {
            Self::RestartsEnded if found.state == ContainerState::Exited => {
                engine.start(&found.id).await?;
            }
            Self::StartsCreated if found.state == ContainerState::Created => {
                engine.start(&found.id).await?;
            }
            Self::RemovesRunning if is_running => engine.remove(&found.id, true).await?,
            Self::StopsListed if is_running => engine.stop(&found.id, NOW).await?,
            _ => {}
        }
        Ok(found)
    }

    pub(super) async fn create(
        self,
        engine: &dyn Engine,
        name: &str,
        body: &str,
    ) -> Result<ContainerId, Error> {
        match self {
            Self::CreatesTwice => {
                let _ = engine.create(&format!("again.{name}"), body).await;
                engine.create(name, body).await
            }
            Self::MislabelsSlot => {
                let mut body: Value = serde_json::from_str(body).expect("it is JSON");
                body["Labels"]["dev.skep.slot"] = "1".into();
                engine.create(name, &body.to_string()).await
            }
            _ => engine.create(name, body).await,
        }
    }

    pub(super) async fn start(
        self,
        engine: &dyn Engine,
        container: &ContainerId,
    ) -> Result<(), Error> {
        match self {
            Self::SkipsStart => Ok(()),
            Self::TouchesForeign => {
                for other in engine.list("com.example.mine", "").await? {
                    engine.stop(&other, NOW).await?;
                }
                engine.start(container).await
            }
            _ => engine.start(container).await,
        }
    }

    pub(super) async fn stop(
        self,
        engine: &dyn Engine,
        container: &ContainerId,
        grace: Duration,
    ) -> Result<(), Error> {
        match self {
            Self::SkipsStop => Ok(()),
            _ => engine.stop(container, grace).await,
        }
    }

    pub(super) async fn remove(
        self,
        engine: &dyn Engine,
        container: &ContainerId,
        force: bool,
    ) -> Result<(), Error> {
        match self {
            Self::SkipsRemove => Ok(()),
            _ => engine.remove(container, force).await,
        }
    }
}
