//! What a kernel did not do.

use crate::dataplane::netlink;
use std::io;

/// What a kernel did not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It refused a request.
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    /// A setting could not be read or written.
    #[error("cannot use the setting {path}")]
    Setting {
        /// Its path below `/proc/sys`.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A link that something belongs to is not there.
    #[error("there is no link {0}")]
    NoLink(String),
}

impl Error {
    /// Whether the same may succeed later by itself.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Netlink(error) => error.is_retryable(),
            Self::Setting { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            Self::NoLink(_) => true,
        }
    }
}
