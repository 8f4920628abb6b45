//! Faults that [`super::memory::Memory`] plays on demand. Pure.

use crate::store::{Error, Outcome, Txn};
use std::collections::VecDeque;

/// How a transaction ends for a caller that is told [`Outcome::Unknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It happened; only the answer is lost.
    Committed,
    /// It never happens.
    Lost,
    /// It happens when `apply_late` says so (rule S5: a late commit).
    Late,
}

/// The faults that wait for their moment.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) next: VecDeque<Fault>,
    pub(super) late: VecDeque<Txn>,
    pub(super) unreachable: bool,
    pub(super) full: bool,
}

impl Faults {
    pub(super) fn check_reachable(&self) -> Result<(), Error> {
        if self.unreachable {
            return Err(unreachable());
        }
        Ok(())
    }
}

fn unreachable() -> Error {
    Error::Unreachable {
        endpoints: "memory".into(),
        message: "made unreachable by the test".into(),
    }
}

pub(super) fn unknown() -> Outcome {
    Outcome::Unknown {
        error: Error::Timeout {
            call: "txn",
            deadline: crate::store::STORE_DEADLINE,
        },
    }
}
