//! What an engine could not do.

use std::time::Duration;

/// A failed call to an engine.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Nothing answers at the address: the request was certainly not sent.
    #[error("cannot connect to the engine at {address}: {message}")]
    Connect {
        /// The engine's URL.
        address: String,
        /// What was seen.
        message: String,
    },
    /// TLS failed: a wrong authority, an expired or missing certificate.
    #[error("TLS with the engine at {address} failed: {message}")]
    Tls {
        /// The engine's URL.
        address: String,
        /// What was seen.
        message: String,
    },
    /// No answer in time: the call may have had its effect.
    #[error("the engine at {address} did not answer {call} within {deadline:?}")]
    Timeout {
        /// The engine's URL.
        address: String,
        /// The call.
        call: &'static str,
        /// How long it had.
        deadline: Duration,
    },
    /// The connection broke: the call may have had its effect.
    #[error("the connection to the engine at {address} broke during {call}: {message}")]
    Broken {
        /// The engine's URL.
        address: String,
        /// The call.
        call: &'static str,
        /// What was seen.
        message: String,
    },
    /// There is no such container, image or network (404).
    #[error("{message}")]
    NotFound {
        /// What the engine said.
        message: String,
    },
    /// It is in use, or the name is taken (409).
    #[error("{message}")]
    Conflict {
        /// What the engine said.
        message: String,
    },
    /// The engine answered with another error.
    #[error("the engine answered {call} with {status}: {message}")]
    Refused {
        /// The call.
        call: &'static str,
        /// The HTTP status.
        status: u16,
        /// What the engine said.
        message: String,
    },
    /// The node's engine is not spoken to: bad URL, unreadable key files, an API version out of range.
    #[error("{message}")]
    Config {
        /// What is wrong and what to do.
        message: String,
    },
}

impl Error {
    /// Whether the same call may succeed later without anyone changing the request.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Tls { .. }
            | Self::Timeout { .. }
            | Self::Broken { .. } => true,
            Self::NotFound { .. } | Self::Conflict { .. } | Self::Config { .. } => false,
            Self::Refused { status, .. } => *status >= 500 || *status == 429,
        }
    }

    /// Whether the call may have had its effect all the same: look before repeating it.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Broken { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            Self::Connect { .. }
            | Self::Tls { .. }
            | Self::NotFound { .. }
            | Self::Conflict { .. }
            | Self::Config { .. } => false,
        }
    }
}
