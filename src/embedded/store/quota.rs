//! How much a store holds, and what a request may add to it, as etcd reckons that. Pure.

use crate::embedded::change::Change;
use crate::embedded::mvcc::{Event, Mvcc, Operation, Put, Stored, Transaction};

/// etcd's allowance for a key's place in the store, beside its own bytes, when it looks ahead.
const PER_KEY: usize = 256;

/// etcd's allowance for a lease.
pub(super) const PER_LEASE: usize = 64;

/// What an event takes in the journal beside key and value: numbers and lengths.
const PER_EVENT: usize = 32;

/// The most bytes that a transaction may add; 0 where neither branch writes a value.
pub(super) fn cost(txn: &Transaction) -> usize {
    let branch = |operations: &[Operation]| operations.iter().map(operation).sum();
    usize::max(branch(&txn.then), branch(&txn.otherwise))
}

/// The most bytes that a write may add.
pub(super) fn cost_of_put(put: &Put) -> usize {
    PER_KEY + put.key.len() + put.value.len()
}

fn operation(operation: &Operation) -> usize {
    match operation {
        Operation::Put(put) => cost_of_put(put),
        Operation::Txn(inner) => cost(inner),
        Operation::Delete(_) | Operation::Read(_) | Operation::Empty => 0,
    }
}

/// The bytes of a stored key.
pub(super) fn stored(stored: &Stored) -> usize {
    PER_EVENT + stored.key.len() + stored.value.len()
}

/// The bytes of an event.
pub(super) fn event(event: &Event) -> usize {
    event
        .stored()
        .map_or_else(|| PER_EVENT + event.key().len(), stored)
}

/// The bytes of a change.
pub(super) fn size(change: &Change) -> u64 {
    let bytes = match change {
        Change::Written { events, .. } => events.iter().map(event).sum(),
        Change::Granted { .. } => PER_EVENT,
        Change::Compacted { .. } | Change::Ended { .. } | Change::Full { .. } => 0,
    };
    bytes as u64
}

/// The bytes of a whole store.
pub(super) fn in_use(mvcc: &Mvcc) -> u64 {
    mvcc.changes().map(|change| size(&change)).sum()
}
