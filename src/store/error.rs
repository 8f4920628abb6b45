//! What a store could not do.

use crate::api::unit::Revision;
use std::time::Duration;

/// A failed call to the store.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// No endpoint answers.
    #[error("cannot reach the store at {endpoints}: {message}")]
    Unreachable {
        /// The endpoints that were tried.
        endpoints: String,
        /// What was seen.
        message: String,
    },
    /// No answer in time.
    #[error("the store did not answer {call} within {deadline:?}")]
    Timeout {
        /// The call.
        call: &'static str,
        /// How long it had.
        deadline: Duration,
    },
    /// The revision is no longer there: list anew.
    #[error("revision {asked} of the store is compacted; the oldest is {oldest}")]
    Compacted {
        /// What was asked for.
        asked: Revision,
        /// The oldest that there is (0 where the store did not say).
        oldest: Revision,
    },
    /// The revision is not there yet: the store was rewound, or this is another one.
    #[error("revision {asked} of the store is in the future")]
    Future {
        /// What was asked for.
        asked: Revision,
    },
    /// The store is full: it reads but does not write.
    #[error("the store is full (NOSPACE): compact and defragment it, then disarm its alarm")]
    Full,
    /// The value or transaction is larger than the store takes.
    #[error("the store refuses the request as too large: {message}")]
    TooLarge {
        /// What it said.
        message: String,
    },
    /// User, password or certificate are refused.
    #[error("the store refuses us: {message}")]
    Denied {
        /// What it said.
        message: String,
    },
    /// The lease does not exist (any more).
    #[error("the lease is gone")]
    LeaseGone,
    /// A stream ended.
    #[error("the watch ended: {message}")]
    WatchEnded {
        /// Why.
        message: String,
    },
    /// Anything else that it said.
    #[error("the store answered: {message}")]
    Other {
        /// What it said.
        message: String,
    },
}

impl Error {
    /// Whether the store was not there at all, as against what it said.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::WatchEnded { .. } => true,
            Self::Compacted { .. }
            | Self::Future { .. }
            | Self::Full
            | Self::TooLarge { .. }
            | Self::Denied { .. }
            | Self::LeaseGone
            | Self::Other { .. } => false,
        }
    }

    /// Whether the same call may succeed later without anyone changing the request.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::WatchEnded { .. }
            | Self::Full => true,
            Self::Compacted { .. }
            | Self::Future { .. }
            | Self::TooLarge { .. }
            | Self::Denied { .. } => false,
            Self::LeaseGone | Self::Other { .. } => false,
        }
    }
}
