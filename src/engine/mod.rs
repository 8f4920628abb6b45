//! Layer 1: the Docker Engine API, the calls that skep uses and no more, behind the door [`Engine`].
//!
//! Invariants:
//! - Every call has a deadline and an error that tells retryable from final.
//! - Requests go to `/v<negotiated>`; the engine's identity is read with `info` and compared by the caller (rule I4).

mod door;
mod error;

pub use door::{
    Connector, Container, ContainerState, Engine, EngineEvent, EventStream, ExecIo, ExecRequest,
    Identity, LogLine, LogOptions, LogStream, PullProgress,
};
pub use error::Error;
