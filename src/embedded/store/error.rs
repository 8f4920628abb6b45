//! What the running store could not do.

use crate::embedded::mvcc;

/// A refused or failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The MVCC refuses, as etcd would.
    #[error(transparent)]
    Refused(#[from] mvcc::Error),
    /// The request is larger than the store takes.
    #[error("a request of {0} bytes is too large; the most is {most} bytes", most = super::MOST_REQUEST_BYTES)]
    TooLarge(usize),
    /// The journal could not be written: no space, say. Nothing was changed; the store reads on, and writes again when it can.
    #[error("the journal cannot be written: {message}. Nothing was changed")]
    NotWritten {
        /// What the disk said.
        message: String,
    },
    /// The disk failed under the journal. The store has taken the change back and reads on; a restart may find it.
    #[error(
        "the disk failed under the journal: {message}. Whether the change is there after a restart is not known"
    )]
    Journal {
        /// What the disk said.
        message: String,
    },
    /// The store is being stopped.
    #[error("the store is stopping")]
    Stopping,
}

impl Error {
    /// Whether the same call may succeed later without anyone changing the request.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(error) => error.is_retryable(),
            Self::NotWritten { .. } | Self::Journal { .. } | Self::Stopping => true,
            Self::TooLarge(_) => false,
        }
    }
}
