//! The door [`Engine`]: what skep asks of one Docker Engine.

use super::Error;
use crate::api::node::EngineSpec;
use crate::api::task::{Health, HostPort};
use crate::api::time::Timestamp;
use crate::api::uid::ContainerId;
use async_trait::async_trait;
use futures::stream::BoxStream;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// What an engine says of itself (`/info` and `/version`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The engine's own id.
    pub id: String,
    /// The host's name.
    pub hostname: String,
    /// The engine's version.
    pub version: String,
    /// The API version that is spoken: the lower of both sides' newest, at least 1.41.
    pub api_version: String,
    /// `linux`, `windows`.
    pub os: String,
    /// `x86_64`, `aarch64` ...
    pub arch: String,
    /// Number of processors.
    pub cpus: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// Labels of the engine.
    pub labels: BTreeMap<String, String>,
    /// Plugins as `kind/name`, sorted.
    pub plugins: Vec<String>,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, not (yet) running: also after a failed start.
    Created,
    /// Running; a paused or restarting one too.
    Running,
    /// Ended.
    Exited,
    /// Being removed.
    Removing,
    /// Broken: the engine could not remove it.
    Dead,
}

/// A container as its engine shows it (`inspect`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id.
    pub id: ContainerId,
    /// Its name, without the leading slash.
    pub name: String,
    /// Its labels.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Where it is in its life.
    pub state: ContainerState,
    /// When it was started last; none: never (rule C4).
    pub started_at: Option<Timestamp>,
    /// When it ended; none: it has not.
    pub finished_at: Option<Timestamp>,
    /// Its exit code, once it ended.
    pub exit_code: i64,
    /// Whether the kernel killed it for memory.
    pub oom_killed: bool,
    /// What the engine says went wrong; empty: nothing.
    pub error: String,
    /// What its health check says; none: it has no check.
    pub health: Option<Health>,
    /// The networks that it is in, by their names.
    pub networks: Arc<BTreeSet<String>>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The hardware addresses of those, as the engine writes them.
    pub hardware: Arc<BTreeMap<IpAddr, String>>,
    /// Its open host ports, with the numbers that the engine chose.
    pub ports: Vec<HostPort>,
}

/// A running container in a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The network's id.
    pub network: String,
    /// The container.
    pub container: ContainerId,
    /// Its name, without the leading slash.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its address in the network.
    pub address: Ipv4Addr,
    /// Its address of IPv6 there, if it has one.
    pub address6: Option<Ipv6Addr>,
    /// The hardware address of that, as the engine writes it.
    pub hardware: String,
}

/// A change that an engine reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineEvent {
    /// The container that it is about.
    pub container: ContainerId,
    /// Its name.
    pub name: String,
    /// `create`, `start`, `die`, `destroy`, `health_status: healthy` ...; of a network `connect` and `disconnect`.
    pub action: String,
    /// The container's labels (the engine adds `exitCode`, a real one also `name` and `image`); of an event of a network none of
    /// them, and [`EngineEvent::NETWORK`].
    pub attributes: Arc<BTreeMap<String, String>>,
}

impl EngineEvent {
    /// The attribute that names the network's id.
    pub const NETWORK: &str = "network";
}

/// Events of containers, and of their joining and leaving networks; ends with an error when the connection breaks.
pub type EventStream = BoxStream<'static, Result<EngineEvent, Error>>;

/// Which output to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on as new lines come.
    pub follow: bool,
    /// Only so many of the last lines; none: all.
    pub tail: Option<u64>,
    /// Only since then.
    pub since: Option<Timestamp>,
    /// Whether each line begins with its time (the engine's RFC 3339 text).
    pub timestamps: bool,
}

/// A piece of a container's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Whether it is standard error.
    pub is_stderr: bool,
    /// The bytes, mostly one line with its end.
    pub bytes: Vec<u8>,
}

/// A container's output.
pub type LogStream = BoxStream<'static, Result<LogLine, Error>>;

/// A command to run in a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether its standard input is attached.
    pub stdin: bool,
    /// Environment variables as `NAME=value`.
    pub env: Vec<String>,
    /// Its user; none: the container's.
    pub user: Option<String>,
    /// Its directory; none: the container's.
    pub working_dir: Option<String>,
}

/// A running command in a container.
pub struct ExecIo {
    /// Its id, for `exec_exit_code` and `exec_resize`.
    pub id: String,
    /// Its output: with a terminal as it comes (`is_stderr` false), else split by stream.
    pub output: LogStream,
    /// Its input; shutting it down is the end of file.
    pub input: Box<dyn AsyncWrite + Send + Unpin>,
}

/// A network of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// How far a pull is: one line for people.
pub type PullProgress<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// One Docker Engine.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The engine's URL, for messages.
    fn address(&self) -> &str;

    /// Whether it answers.
    ///
    /// # Errors
    /// It does not.
    async fn ping(&self) -> Result<(), Error>;

    /// What it says of itself.
    ///
    /// # Errors
    /// See [`Error`]; so for every call.
    async fn identity(&self) -> Result<Identity, Error>;

    /// Ids of all containers, running or not, that carry this label with this value; an empty value: with any.
    async fn list(&self, label: &str, value: &str) -> Result<Vec<ContainerId>, Error>;

    /// One container, by id or name.
    async fn inspect(&self, container: &str) -> Result<Container, Error>;

    /// One container as the engine's own JSON, for tests and `describe`.
    async fn inspect_raw(&self, container: &str) -> Result<serde_json::Value, Error>;

    /// Makes a container from the JSON body of `POST /containers/create`.
    async fn create(&self, name: &str, body: &str) -> Result<ContainerId, Error>;

    /// Starts a container; no error if it runs already.
    async fn start(&self, container: &ContainerId) -> Result<(), Error>;

    /// Asks a container to stop and kills it after `grace`; no error if it does not run.
    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<(), Error>;

    /// Removes a container and its anonymous volumes; with `force` also a running one.
    async fn remove(&self, container: &ContainerId, force: bool) -> Result<(), Error>;

    /// Whether the engine has the image; its id.
    async fn image(&self, image: &str) -> Result<String, Error>;

    /// Pulls an image.
    async fn pull(&self, image: &str, progress: PullProgress<'_>) -> Result<(), Error>;

    /// Loads images from a tar (`docker load`).
    async fn load(&self, tar: Vec<u8>) -> Result<(), Error>;

    /// Loads the image of this very program, `skep:VERSION`.
    async fn load_program(&self) -> Result<(), Error>;

    /// Removes an image by name.
    async fn remove_image(&self, image: &str) -> Result<(), Error>;

    /// The networks that carry this label, with whatever value.
    async fn networks(&self, label: &str) -> Result<Vec<Network>, Error>;

    /// Makes a network from the JSON body of `POST /networks/create`; its id.
    async fn create_network(&self, body: &serde_json::Value) -> Result<String, Error>;

    /// Removes a network by id; one that a running container is in is refused.
    async fn remove_network(&self, network: &str) -> Result<(), Error>;

    /// The running containers in these networks, by the ids of those; of several networks all.
    async fn attached(&self, networks: &[&str]) -> Result<Vec<Attached>, Error>;

    /// Connects a container to a further network, by the JSON of an endpoint's configuration.
    async fn connect_network(
        &self,
        network: &str,
        container: &ContainerId,
        endpoint: &serde_json::Value,
    ) -> Result<(), Error>;

    /// Removes a volume by name.
    async fn remove_volume(&self, volume: &str) -> Result<(), Error>;

    /// Follows the events of containers, and of networks that they join and leave, from now on; the stream is open when this returns.
    ///
    /// None is lost, and one of the second before may come as well: look at the container, not at the event.
    async fn events(&self) -> Result<EventStream, Error>;

    /// Reads a container's output.
    async fn logs(&self, container: &ContainerId, options: &LogOptions)
    -> Result<LogStream, Error>;

    /// Runs a command in a container.
    async fn exec(&self, container: &ContainerId, request: &ExecRequest) -> Result<ExecIo, Error>;

    /// The exit code of a command; none while it runs.
    async fn exec_exit_code(&self, exec: &str) -> Result<Option<i64>, Error>;

    /// Tells a command's terminal its size.
    async fn exec_resize(&self, exec: &str, columns: u16, rows: u16) -> Result<(), Error>;
}

/// Where engines come from: real ones in `app`, simulated ones in tests.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// An engine for this spec. Reads key files; does not yet talk to the engine.
    ///
    /// # Errors
    /// The URL is not one, or the files cannot be read.
    async fn connect(&self, spec: &EngineSpec) -> Result<Arc<dyn Engine>, Error>;
}

/// A duplex stream under a connection.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
