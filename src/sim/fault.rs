//! What can go wrong with a call, on demand.

use crate::engine::Error;
use std::time::Duration;

/// A way for a call to go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing answers; the call has no effect.
    Unreachable,
    /// No answer, and no effect.
    TimeoutBefore,
    /// The call has its effect, but no answer comes back: the ambiguous case.
    TimeoutAfter,
    /// The call has its effect, then the connection breaks.
    BrokenAfter,
    /// The engine refuses with this status and text (404 and 409 become their own errors); no effect.
    Refuse {
        /// The HTTP status.
        status: u16,
        /// What the engine says.
        message: String,
    },
    /// `list` leaves out the newest container that matches; other calls are not harmed.
    HideNewest,
}

impl Fault {
    /// The engine refuses with 500 and this text.
    pub fn server_error(message: &str) -> Self {
        Self::Refuse {
            status: 500,
            message: message.to_owned(),
        }
    }

    /// Whether the call has its effect all the same.
    pub(super) fn has_effect(&self) -> bool {
        match self {
            Self::TimeoutAfter | Self::BrokenAfter | Self::HideNewest => true,
            Self::Unreachable | Self::TimeoutBefore | Self::Refuse { .. } => false,
        }
    }

    /// What the caller gets; none: the call's own result.
    pub(super) fn error(
        &self,
        address: &str,
        call: &'static str,
        deadline: Duration,
    ) -> Option<Error> {
        let address = address.to_owned();
        match self {
            Self::Unreachable => Some(Error::Connect {
                address,
                message: "simulated: connection refused".into(),
            }),
            Self::TimeoutBefore | Self::TimeoutAfter => Some(Error::Timeout {
                address,
                call,
                deadline,
            }),
            Self::BrokenAfter => Some(Error::Broken {
                address,
                call,
                message: "simulated: connection closed before message completed".into(),
            }),
            Self::Refuse { status, message } => Some(refused(call, *status, message)),
            Self::HideNewest => None,
        }
    }
}

/// The error for an HTTP status.
pub(super) fn refused(call: &'static str, status: u16, message: &str) -> Error {
    let message = message.to_owned();
    match status {
        404 => Error::NotFound { message },
        409 => Error::Conflict { message },
        status => Error::Refused {
            call,
            status,
            message,
        },
    }
}
