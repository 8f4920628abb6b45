//! What a transaction may look like, whatever the store holds: etcd's checks of a request, in etcd's order. Pure.

use super::refusal::Error;
use super::request::{Operation, Put, Span, Transaction};
use std::collections::BTreeSet;

/// etcd refuses larger transactions by default (`--max-txn-ops`).
pub const MAX_OPERATIONS: usize = 128;

/// Refuses what is malformed in any branch, taken or not.
pub(in crate::embedded) fn check_shape(txn: &Transaction) -> Result<(), Error> {
    check_transaction(txn, MAX_OPERATIONS)?;
    Writes::of(&txn.then)?;
    Writes::of(&txn.otherwise)?;
    Ok(())
}

/// Refuses a span that begins with no key.
pub(in crate::embedded) fn check_span(span: &Span) -> Result<(), Error> {
    if span.start().is_empty() {
        return Err(Error::EmptyKey);
    }
    Ok(())
}

/// Checks each operation by itself. A nested transaction has what the widest part of the outer one leaves of `most`.
fn check_transaction(txn: &Transaction, most: usize) -> Result<(), Error> {
    let parts = [txn.conditions.len(), txn.then.len(), txn.otherwise.len()];
    let count = parts.into_iter().max().unwrap_or(0);
    let Some(left) = most.checked_sub(count) else {
        return Err(Error::TooManyOperations { count, most });
    };
    for condition in &txn.conditions {
        check_span(&condition.span)?;
    }
    for operation in txn.then.iter().chain(&txn.otherwise) {
        match operation {
            Operation::Put(put) => check_put(put)?,
            Operation::Delete(span) => check_span(span)?,
            Operation::Read(query) => check_span(&query.span)?,
            Operation::Txn(inner) => check_transaction(inner, left)?,
            Operation::Empty => return Err(Error::KeyMissing),
        }
    }
    Ok(())
}

/// Refuses a write that is malformed by itself.
pub(in crate::embedded) fn check_put(put: &Put) -> Result<(), Error> {
    if put.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if put.ignore_value && !put.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

/// What a branch may write, with the branches of nested transactions.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Vec<&'a Span>,
}

impl<'a> Writes<'a> {
    /// Collects the writes of a branch; no key may be put twice, or put and deleted. Two deletes may overlap.
    ///
    /// Three turns, as in etcd, because they decide what meets what: the deletes of this level meet every put; a nested
    /// transaction's deletes meet the puts of later nested ones and of this level, but not those of earlier nested ones.
    fn of(branch: &'a [Operation]) -> Result<Self, Error> {
        let mut all = Self::default();
        for operation in branch {
            if let Operation::Delete(span) = operation {
                all.deletes.push(span);
            }
        }
        for operation in branch {
            if let Operation::Txn(inner) = operation {
                all.include(Self::of(&inner.then)?, Self::of(&inner.otherwise)?)?;
            }
        }
        for operation in branch {
            if let Operation::Put(put) = operation {
                all.put(&put.key)?;
            }
        }
        Ok(all)
    }

    /// Takes in a nested transaction; its two branches may put the same key, for only one of them runs.
    fn include(&mut self, then: Self, otherwise: Self) -> Result<(), Error> {
        for key in then.puts.union(&otherwise.puts) {
            self.put(key)?;
        }
        self.deletes.extend(then.deletes);
        self.deletes.extend(otherwise.deletes);
        Ok(())
    }

    fn put(&mut self, key: &'a [u8]) -> Result<(), Error> {
        if !self.puts.insert(key) || self.deletes.iter().any(|span| is_deleted(span, key)) {
            return Err(Error::DuplicateKey);
        }
        Ok(())
    }
}

/// Whether etcd's check sees that the span holds the key: it does not understand a delete to the end of the keys, which
/// then runs in order.
fn is_deleted(span: &Span, key: &[u8]) -> bool {
    match span {
        Span::One(_) | Span::Between(..) => span.contains(key),
        Span::From(_) => false,
    }
}
