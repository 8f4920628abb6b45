//! [`Docker`]: a real engine behind the door [`Engine`].
//!
//! Calls whose types lose nothing go through bollard; bodies and answers that bollard's closed types would change (create,
//! inspect, info, events, output) are requests of our own. Both pass through one [`Transport`].
//!
//! Invariants: every call ends by its deadline, its body included; no call is repeated here, for only the caller knows
//! whether that is safe.

use super::constants::{BOLLARD_TIMEOUT_SECONDS, CALL, NEWEST_API, STOP_MARGIN};
use super::door::{
    Attached, Connector, Container, Engine, EventStream, ExecIo, ExecRequest, Identity, LogOptions,
    LogStream, Network, PullProgress,
};
use super::inspect::{self, Info};
use super::stream::{self, Owner};
use super::transport::Transport;
use super::wire::{self, Wire, encode};
use super::{Error, exec, images, logs, networks};
use crate::api::node::EngineSpec;
use crate::api::uid::ContainerId;
use async_trait::async_trait;
use bollard::query_parameters::{
    RemoveContainerOptions, ResizeExecOptions, StartContainerOptions, StopContainerOptions,
};
use futures::StreamExt;
use hyper::Method;
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A Docker Engine at the other end of a socket, TCP or TLS connection. Clones share connections.
#[derive(Clone)]
pub struct Docker {
    pub(super) wire: Wire,
    pub(super) bollard: bollard::Docker,
}

/// Makes [`Docker`]s from nodes' specs.
#[derive(Clone, Copy, Debug, Default)]
pub struct DockerConnector;

#[async_trait]
impl Connector for DockerConnector {
    async fn connect(&self, spec: &EngineSpec) -> Result<Arc<dyn Engine>, Error> {
        Ok(Arc::new(Docker::new(spec)?))
    }
}

/// An answer that matters for its id only.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Id {
    pub(super) id: String,
}

impl Docker {
    /// Prepares a client; reads key files, does not connect yet.
    ///
    /// # Errors
    /// [`Error::Config`]: the URL is not one, or a key file cannot be used.
    pub fn new(spec: &EngineSpec) -> Result<Self, Error> {
        let transport = Transport::new(spec)?;
        let carrier = transport.clone();
        let carry = move |request: bollard::BollardRequest| {
            let carrier = carrier.clone();
            async move { Ok(carrier.send(request).await?) }
        };
        let (major, minor) = NEWEST_API;
        let version = bollard::ClientVersion {
            major_version: usize::try_from(major).unwrap_or_default(),
            minor_version: usize::try_from(minor).unwrap_or_default(),
        };
        let bollard = bollard::Docker::connect_with_custom_transport(
            carry,
            Some(transport.base()),
            BOLLARD_TIMEOUT_SECONDS,
            &version,
        );
        let bollard = bollard.map_err(|error| Error::Config {
            message: format!("engine {}: {error}", spec.url),
        })?;
        Ok(Self {
            wire: Wire {
                address: spec.url.clone(),
                transport,
            },
            bollard,
        })
    }

    /// One of bollard's calls, against the deadline, with our errors.
    async fn bollard<T>(
        &self,
        call: &'static str,
        deadline: Duration,
        work: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, Error> {
        let site = self.wire.site(call);
        let work = async { work.await.map_err(|error| site.failed(&error)) };
        self.wire.within(call, deadline, work).await
    }

    pub(super) fn owner(&self, call: &'static str) -> Owner {
        Owner {
            address: self.wire.address.clone(),
            call,
        }
    }

    async fn inspect_value(&self, call: &'static str, container: &str) -> Result<Value, Error> {
        let path = format!("/containers/{}/json", encode(container));
        self.wire.get_json(call, &path).await
    }
}

#[async_trait]
impl Engine for Docker {
    fn address(&self) -> &str {
        &self.wire.address
    }

    async fn ping(&self) -> Result<(), Error> {
        self.bollard("ping", CALL, self.bollard.ping()).await?;
        Ok(())
    }

    async fn identity(&self) -> Result<Identity, Error> {
        let call = "identity";
        let work = async {
            // Asked anew each time: the engine may have been upgraded since.
            let version = self.wire.negotiate(call).await?.version;
            let info: Info = self.wire.get_json(call, "/info").await?;
            let api_version = self.wire.transport.version().map(wire::text);
            Ok(info.identity(version, api_version.unwrap_or_default()))
        };
        self.wire.within(call, CALL, work).await
    }

    async fn list(&self, label: &str, value: &str) -> Result<Vec<ContainerId>, Error> {
        let wanted = match value.is_empty() {
            true => label.to_owned(),
            false => format!("{label}={value}"),
        };
        let filters = json!({"label": [wanted]}).to_string();
        let path = format!("/containers/json?all=true&filters={}", encode(&filters));
        let work = self.wire.get_json::<Vec<Id>>("list", &path);
        let found = self.wire.within("list", CALL, work).await?;
        Ok(found
            .into_iter()
            .map(|found| ContainerId::from(found.id))
            .collect())
    }

    async fn inspect(&self, container: &str) -> Result<Container, Error> {
        let call = "inspect";
        let work = self.inspect_value(call, container);
        let answer = self.wire.within(call, CALL, work).await?;
        inspect::container(answer).map_err(|error| {
            let text = format!("its answer is not what the API says: {error}");
            self.wire.site(call).broken(text)
        })
    }

    async fn inspect_raw(&self, container: &str) -> Result<Value, Error> {
        let call = "inspect_raw";
        let work = self.inspect_value(call, container);
        self.wire.within(call, CALL, work).await
    }

    async fn create(&self, name: &str, body: &str) -> Result<ContainerId, Error> {
        let path = format!("/containers/create?name={}", encode(name));
        let body = Bytes::copy_from_slice(body.as_bytes());
        let json = Some("application/json");
        let request = self.wire.request(Method::POST, &path, body, json);
        let work = async {
            let response = self.wire.send("create", request).await?;
            self.wire.json::<Id>("create", response).await
        };
        let made = self.wire.within("create", CALL, work).await?;
        Ok(ContainerId::from(made.id))
    }

    async fn start(&self, container: &ContainerId) -> Result<(), Error> {
        let id = encode(container.as_str());
        let work = self
            .bollard
            .start_container(&id, None::<StartContainerOptions>);
        self.bollard("start", CALL, work).await
    }

    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<(), Error> {
        // Whole seconds is what the API takes: rounded up, for a process is not to be cut short.
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let options = StopContainerOptions {
            t: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
            ..Default::default()
        };
        let deadline = Duration::from_secs(seconds).saturating_add(STOP_MARGIN);
        let id = encode(container.as_str());
        let work = self.bollard.stop_container(&id, Some(options));
        self.bollard("stop", deadline, work).await
    }

    async fn remove(&self, container: &ContainerId, force: bool) -> Result<(), Error> {
        let options = RemoveContainerOptions {
            v: true,
            force,
            ..Default::default()
        };
        let id = encode(container.as_str());
        let work = self.bollard.remove_container(&id, Some(options));
        self.bollard("remove", CALL, work).await
    }

    async fn image(&self, image: &str) -> Result<String, Error> {
        let path = format!("/images/{}/json", encode(image));
        let work = self.wire.get_json::<Id>("image", &path);
        Ok(self.wire.within("image", CALL, work).await?.id)
    }

    async fn pull(&self, image: &str, progress: PullProgress<'_>) -> Result<(), Error> {
        images::pull(self, image, progress).await
    }

    async fn load(&self, tar: Vec<u8>) -> Result<(), Error> {
        images::load(self, tar).await
    }

    async fn load_program(&self) -> Result<(), Error> {
        images::load(self, images::program().await?).await
    }

    async fn networks(&self, label: &str) -> Result<Vec<Network>, Error> {
        networks::list(self, label).await
    }

    async fn attached(&self, networks: &[&str]) -> Result<Vec<Attached>, Error> {
        networks::attached(self, networks).await
    }

    async fn create_network(&self, body: &Value) -> Result<String, Error> {
        networks::create(self, body).await
    }

    async fn remove_network(&self, network: &str) -> Result<(), Error> {
        networks::remove(self, network).await
    }

    async fn connect_network(
        &self,
        network: &str,
        container: &ContainerId,
        endpoint: &Value,
    ) -> Result<(), Error> {
        networks::connect(self, network, container, endpoint).await
    }

    async fn remove_volume(&self, volume: &str) -> Result<(), Error> {
        networks::remove_volume(self, volume).await
    }

    async fn remove_image(&self, image: &str) -> Result<(), Error> {
        let path = format!("/images/{}", encode(image));
        let request = self.wire.request(Method::DELETE, &path, Bytes::new(), None);
        let work = self.wire.send("remove_image", request);
        self.wire.within("remove_image", CALL, work).await?;
        Ok(())
    }

    async fn events(&self) -> Result<EventStream, Error> {
        let call = "events";
        let work = async {
            // An engine answers before it listens to itself. From the second at which it was asked (on its own clock)
            // no event is lost; one of that second may come although it happened just before.
            let ping = self.wire.get(call, "/_ping").await?;
            let since = stream::date(ping.headers()).map(|s| format!("&since={s}"));
            let path = format!(
                "/events?filters={}{}",
                encode(r#"{"type":["container","network"]}"#),
                since.unwrap_or_default()
            );
            self.wire.get(call, &path).await
        };
        let response = self.wire.within(call, CALL, work).await?;
        let owner = self.owner(call);
        let ended = owner.site().broken("the engine ended the event stream");
        let lines = stream::json_lines(stream::chunks(response.into_body()), owner);
        let events = lines.filter_map(|line| async {
            match line {
                Ok(line) => inspect::event(line).map(Ok),
                Err(error) => Some(Err(error)),
            }
        });
        Ok(events.chain(futures::stream::iter([Err(ended)])).boxed())
    }

    async fn logs(
        &self,
        container: &ContainerId,
        options: &LogOptions,
    ) -> Result<LogStream, Error> {
        logs::open(self, container, options).await
    }

    async fn exec(&self, container: &ContainerId, request: &ExecRequest) -> Result<ExecIo, Error> {
        exec::start(self, container, request).await
    }

    async fn exec_exit_code(&self, exec: &str) -> Result<Option<i64>, Error> {
        let id = encode(exec);
        let work = self.bollard.inspect_exec(&id);
        let seen = self.bollard("exec_exit_code", CALL, work).await?;
        Ok(match seen.running {
            Some(true) => None,
            _ => seen.exit_code,
        })
    }

    async fn exec_resize(&self, exec: &str, columns: u16, rows: u16) -> Result<(), Error> {
        let options = ResizeExecOptions {
            h: i32::from(rows),
            w: i32::from(columns),
        };
        let id = encode(exec);
        let work = self.bollard.resize_exec(&id, options);
        self.bollard("exec_resize", CALL, work).await
    }
}
