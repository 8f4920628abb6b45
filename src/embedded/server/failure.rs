//! What the store could not do, in etcd's words and codes: clients decide by both.

use crate::embedded::mvcc::Error as Refusal;
use crate::embedded::store::Error;
use tonic::{Code, Status};

/// The answer to a call that failed.
pub(super) fn status(error: Error) -> Status {
    match error {
        Error::Refused(refusal) => refused(&refusal),
        Error::TooLarge(_) => too_large(),
        Error::NotWritten { .. } => Status::resource_exhausted(format!("etcdserver: {error}")),
        Error::Journal { .. } | Error::Stopping => {
            Status::unavailable(format!("etcdserver: {error}"))
        }
    }
}

/// A request above the limit.
pub(super) fn too_large() -> Status {
    Status::invalid_argument("etcdserver: request is too large")
}

/// Something of etcd's API that makes no sense here; says what to do instead.
pub(super) fn absent(what: &str, instead: &str) -> Status {
    Status::unimplemented(format!("the embedded store has no {what}: {instead}"))
}

/// A refusal of the MVCC's.
pub(super) fn refused(refusal: &Refusal) -> Status {
    let code = match refusal {
        Refusal::Compacted { .. } | Refusal::Future { .. } | Refusal::LeaseTooLong(_) => {
            Code::OutOfRange
        }
        Refusal::LeaseMissing(_) => Code::NotFound,
        Refusal::LeaseExists(_) => Code::FailedPrecondition,
        Refusal::Full => Code::ResourceExhausted,
        Refusal::EmptyKey
        | Refusal::KeyMissing
        | Refusal::ValueProvided
        | Refusal::LeaseProvided
        | Refusal::InvalidSort
        | Refusal::DuplicateKey
        | Refusal::TooManyOperations { .. } => Code::InvalidArgument,
    };
    Status::new(code, refusal.etcd_text())
}
