//! Layer 1: the Docker Engine API, the calls that skep uses and no more, behind the door [`Engine`].
//!
//! [`Docker`] is the real engine, made by [`DockerConnector`]: `address.rs` reads its URL, `connect.rs` and `tls.rs` open
//! connections, `transport.rs` pools them, `wire.rs` sends requests of our own, `failure.rs` says what an error means.
//!
//! Invariants:
//! - Every call has a deadline and an error that tells retryable from final.
//! - Requests go to `/v<negotiated>`; the engine's identity is read with `info` and compared by the caller (rule I4).
//! - Nothing is repeated here: after an ambiguous failure the caller looks first.
//!
//! Deliberately absent: Swarm mode, builds, networks beyond what overlays need, ssh.

mod address;
mod connect;
pub mod constants;
mod docker;
mod door;
mod error;
mod exec;
mod failure;
pub mod image;
mod images;
mod inspect;
mod logs;
mod networks;
mod stream;
mod tls;
mod transport;
mod wire;

pub use docker::{Docker, DockerConnector};
pub use door::{
    Attached, Connector, Container, ContainerState, Engine, EngineEvent, EventStream, ExecIo,
    ExecRequest, Identity, LogLine, LogOptions, LogStream, Network, PullProgress,
};
pub use error::Error;
