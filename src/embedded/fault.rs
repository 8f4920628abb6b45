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
    /// The most operations of a transaction; none: as many as etcd takes.
    pub(super) most: Option<usize>,
}

impl Faults {
    /// Refuses what is larger than the store takes.
    pub(super) fn check_operations(&self, txn: &Txn) -> Result<(), Error> {
        let sizes = [txn.compares.len(), txn.then.len(), txn.otherwise.len()];
        let most = self.most.unwrap_or(usize::MAX);
        match sizes.into_iter().any(|size| size > most) {
            false => Ok(()),
            true => Err(Error::TooLarge {
                message: "etcdserver: too many operations in txn request".into(),
            }),
        }
    }

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
