//! What a failed call proves: whether the request can have been applied, and what to tell the caller.
//!
//! The texts are etcd's (`rpctypes`), the same from 3.4 to 3.6; several share one code, so both are looked at.

use crate::api::unit::Revision;
use crate::store::Error;
use std::error::Error as Source;
use tonic::{Code, Status};

/// A failed call.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was certainly not applied, and another endpoint may take it.
    NotSent(Error),
    /// It was certainly not applied: our token is refused and a new one may help.
    Stale(Error),
    /// It was refused; asking again changes nothing.
    Definite(Error),
    /// It may have been applied, or may still be.
    Ambiguous(Error),
}

impl Failure {
    /// Like `from`, for a call that writes: an answer that came but could not be read proves that it was applied.
    pub(super) fn of_write(error: etcd_client::Error) -> Self {
        match &error {
            etcd_client::Error::GRpcStatus(status)
                if status.code() == Code::OutOfRange && is_local(status) =>
            {
                Self::Ambiguous(Error::TooLarge {
                    message: status.message().into(),
                })
            }
            _ => Self::from(error),
        }
    }

    /// The error, with the revision that was asked for where the server does not repeat it.
    pub(super) fn at(self, revision: Revision) -> Error {
        match Error::from(self) {
            Error::Compacted { oldest, .. } => Error::Compacted {
                asked: revision,
                oldest,
            },
            Error::Future { .. } => Error::Future { asked: revision },
            error => error,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotSent(error)
            | Failure::Stale(error)
            | Failure::Definite(error)
            | Failure::Ambiguous(error) => error,
        }
    }
}

impl From<etcd_client::Error> for Failure {
    fn from(error: etcd_client::Error) -> Self {
        use etcd_client::Error as E;
        match error {
            E::GRpcStatus(status) => of_status(&status),
            E::InvalidArgs(_) | E::InvalidUri(_) | E::InvalidMetadataValue(_) => {
                Self::Definite(other(&error.to_string()))
            }
            E::TransportError(error) => Self::Definite(other(&chain(&error))),
            E::IoError(_)
            | E::WatchError(_)
            | E::Utf8Error(_)
            | E::LeaseKeepAliveError(_)
            | E::ElectError(_)
            | E::EndpointError(_)
            | E::EndpointsNotManaged
            | E::Internal(_) => Self::Ambiguous(unreachable(&error.to_string())),
        }
    }
}

fn of_status(status: &Status) -> Failure {
    if let Some(error) = connect_error(status) {
        return Failure::NotSent(error);
    }
    let text = status.message();
    if let Some(failure) = of_text(text) {
        return failure;
    }
    match status.code() {
        Code::Unauthenticated => Failure::Stale(denied(text)),
        Code::PermissionDenied => Failure::Definite(denied(text)),
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::ResourceExhausted
        | Code::Unimplemented => Failure::Definite(other(text)),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Failure::Ambiguous(lost(status)),
    }
}

/// What the server's own words say, whatever code they came with.
pub(super) fn of_text(text: &str) -> Option<Failure> {
    let has = |part: &str| text.contains(part);
    let none = Revision(0);
    Some(
        if has("invalid auth token") || has("revision of auth store is old") {
            Failure::Stale(denied(text))
        } else if has("user name is empty") {
            // Authentication was switched on since we connected.
            Failure::Stale(denied(text))
        } else if has("permission denied") || has("authentication failed") {
            Failure::Definite(denied(text))
        } else if has("required revision has been compacted") {
            Failure::Definite(Error::Compacted {
                asked: none,
                oldest: none,
            })
        } else if has("required revision is a future revision") {
            Failure::Definite(Error::Future { asked: none })
        } else if has("database space exceeded") {
            Failure::Definite(Error::Full)
        } else if has("request is too large") || has("larger than max") || has("length too large") {
            Failure::Definite(Error::TooLarge {
                message: text.into(),
            })
        } else if has("requested lease not found") {
            Failure::Definite(Error::LeaseGone)
        } else if has("etcdserver: no leader") || has("etcdserver: too many requests") {
            // Both are said before a proposal is made.
            Failure::NotSent(unreachable(text))
        } else {
            return None;
        },
    )
}

/// The connection never came about, so nothing was sent.
fn connect_error(status: &Status) -> Option<Error> {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return Some(broken(&chain(error)));
        }
        source = error.source();
    }
    None
}

/// Whether the status was made on this side and not sent by the server.
fn is_local(status: &Status) -> bool {
    status.message().contains("length too large")
}

fn lost(status: &Status) -> Error {
    let text = status.source().map_or_else(
        || status.message().to_owned(),
        |source| format!("{}: {}", status.message(), chain(source)),
    );
    broken(&text)
}

/// A connection that broke: because of a certificate, which somebody has to mend, or else for now.
fn broken(text: &str) -> Error {
    if text.to_ascii_lowercase().contains("certificate") {
        denied(text)
    } else {
        unreachable(text)
    }
}

/// An error with its causes, each once.
pub(super) fn chain(error: &(dyn Source + 'static)) -> String {
    let mut words = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !words.iter().any(|word| word.contains(&text)) {
            words.push(text);
        }
        source = error.source();
    }
    words.join(": ")
}

pub(super) fn unreachable(message: &str) -> Error {
    Error::Unreachable {
        endpoints: "etcd".into(),
        message: message.into(),
    }
}

pub(super) fn denied(message: &str) -> Error {
    Error::Denied {
        message: message.into(),
    }
}

pub(super) fn other(message: &str) -> Error {
    Error::Other {
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: Code, text: &str, wanted: &str) {
        let failure = of_status(&Status::new(code, text));
        let kind = match &failure {
            Failure::NotSent(_) => "not sent",
            Failure::Stale(_) => "stale",
            Failure::Definite(_) => "definite",
            Failure::Ambiguous(_) => "ambiguous",
        };
        let error = format!("{:?}", Error::from(failure));
        let name: String = error.chars().take_while(|c| c.is_alphabetic()).collect();
        assert_eq!(format!("{kind} {name}"), wanted, "{code:?} {text}");
    }

    #[test]
    fn only_what_certainly_was_not_applied_is_definite() {
        use Code::*;
        check(
            Unavailable,
            "etcdserver: request timed out",
            "ambiguous Unreachable",
        );
        check(
            Unavailable,
            "etcdserver: leader changed",
            "ambiguous Unreachable",
        );
        check(Unknown, "anything", "ambiguous Unreachable");
        check(Cancelled, "h2 stream", "ambiguous Unreachable");
        check(Unavailable, "etcdserver: no leader", "not sent Unreachable");
        check(
            ResourceExhausted,
            "etcdserver: too many requests",
            "not sent Unreachable",
        );
        check(
            Unauthenticated,
            "etcdserver: invalid auth token",
            "stale Denied",
        );
        check(
            InvalidArgument,
            "etcdserver: revision of auth store is old",
            "stale Denied",
        );
        check(
            InvalidArgument,
            "etcdserver: user name is empty",
            "stale Denied",
        );
        check(
            PermissionDenied,
            "etcdserver: permission denied",
            "definite Denied",
        );
        check(
            OutOfRange,
            "etcdserver: mvcc: required revision has been compacted",
            "definite Compacted",
        );
        check(
            OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
            "definite Future",
        );
        check(
            ResourceExhausted,
            "etcdserver: mvcc: database space exceeded",
            "definite Full",
        );
        check(
            InvalidArgument,
            "etcdserver: request is too large",
            "definite TooLarge",
        );
        check(
            ResourceExhausted,
            "grpc: received message larger than max (9 vs. 2)",
            "definite TooLarge",
        );
        check(
            NotFound,
            "etcdserver: requested lease not found",
            "definite LeaseGone",
        );
        check(
            InvalidArgument,
            "etcdserver: duplicate key given in txn request",
            "definite Other",
        );
    }

    #[test]
    fn an_answer_that_is_too_large_to_read_proves_a_write_applied() {
        let status = Status::new(Code::OutOfRange, "Error, decoded message length too large");
        let failure = Failure::of_write(etcd_client::Error::GRpcStatus(status));
        assert!(matches!(failure, Failure::Ambiguous(_)), "{failure:?}");
    }
}
