//! The door `Kv` in the words of the MVCC and back: what [`super::memory::Memory`] and [`super::local::Local`] share. Pure.

use super::mvcc::{
    Answer, Condition, Error as Refusal, Event, Operation, Put, Query, Relation, Span, Stored,
    Target, Transaction,
};
use super::request::MOST_REQUEST_BYTES;
use crate::api::unit::{LeaseId, Revision};
use crate::store::{
    Compare, Error, KeyValue, LeaseStatus, Op, RangeRequest, Reply, Txn, WatchEvent, prefix_end,
};
use std::time::Duration;

/// Refuses what etcd refuses for its size.
pub(super) fn check_size(txn: &Txn) -> Result<(), Error> {
    let size = |op: &Op| match op {
        Op::Put { key, value, .. } => key.len() + value.len(),
        Op::Delete { key } | Op::Get { key } => key.len(),
    };
    let bytes: usize = txn.then.iter().chain(&txn.otherwise).map(size).sum();
    if bytes > MOST_REQUEST_BYTES {
        return Err(Error::TooLarge {
            message: "etcdserver: request is too large".into(),
        });
    }
    Ok(())
}

/// The keys of a list.
pub(super) fn range_span(request: &RangeRequest) -> Span {
    match &request.end {
        None => Span::new(request.key.as_str(), ""),
        Some(end) => Span::new(first_key(&request.key), end.as_str()),
    }
}

/// All keys that begin with `prefix`.
pub(super) fn prefix_span(prefix: &str) -> Span {
    Span::new(first_key(prefix), prefix_end(prefix))
}

/// etcd refuses the empty key; the first key that there can be is a zero byte.
fn first_key(key: &str) -> &str {
    if key.is_empty() { "\0" } else { key }
}

/// What a transaction asks.
pub(super) fn transaction(txn: &Txn) -> Transaction {
    Transaction {
        conditions: txn.compares.iter().map(condition).collect(),
        then: txn.then.iter().map(operation).collect(),
        otherwise: txn.otherwise.iter().map(operation).collect(),
    }
}

fn condition(compare: &Compare) -> Condition {
    let (key, target) = match compare {
        Compare::NoneBelow(prefix) => {
            return Condition {
                span: prefix_span(prefix),
                target: Target::Create(0),
                relation: Relation::Equal,
            };
        }
        Compare::Missing(key) => (key, Target::Create(0)),
        Compare::CreatedAt(key, revision) => (key, Target::Create(revision.0)),
        Compare::ModifiedAt(key, revision) => (key, Target::Mod(revision.0)),
        Compare::HeldBy(key, lease) => (key, Target::Lease(lease.0)),
    };
    Condition {
        span: Span::One(key.as_bytes().into()),
        target,
        relation: Relation::Equal,
    }
}

fn operation(op: &Op) -> Operation {
    match op {
        Op::Put { key, value, lease } => Operation::Put(Put {
            lease: lease.map_or(0, |lease| lease.0),
            ..Put::new(key.as_str(), value.as_slice())
        }),
        Op::Delete { key } => Operation::Delete(Span::new(key.as_str(), "")),
        Op::Get { key } => Operation::Read(Query::now(Span::new(key.as_str(), ""))),
    }
}

/// The answer to one operation.
pub(super) fn reply(answer: Answer) -> Reply {
    match answer {
        Answer::Put { .. } => Reply::Put,
        Answer::Deleted { gone, .. } => {
            Reply::Deleted(i64::try_from(gone.len()).unwrap_or(i64::MAX))
        }
        Answer::Read { found, .. } => Reply::Read(found.kvs.into_iter().map(key_value).collect()),
        Answer::Txn(_) => unreachable!("the door has no nested transactions"),
    }
}

/// A change of a key.
pub(super) fn watch_event(event: Event) -> WatchEvent {
    match event {
        Event::Put(kv) => WatchEvent::Put(key_value(kv)),
        Event::Delete(key, revision) => WatchEvent::Delete {
            key: text(&key),
            revision: Revision(revision),
        },
    }
}

/// A key with its value.
pub(super) fn key_value(kv: Stored) -> KeyValue {
    KeyValue {
        key: text(&kv.key),
        value: kv.value.to_vec(),
        create_revision: Revision(kv.create_revision),
        mod_revision: Revision(kv.mod_revision),
        version: kv.version,
        lease: LeaseId(kv.lease),
    }
}

/// Keys of others may be no text; those of skep are.
fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// A TTL as etcd takes it: rounded up.
pub(super) fn whole_seconds(ttl: Duration) -> i64 {
    let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// A lease with so many seconds.
pub(super) fn lease_status(id: LeaseId, ttl: i64) -> LeaseStatus {
    LeaseStatus {
        id,
        ttl: Duration::from_secs(ttl.unsigned_abs()),
    }
}

/// A refusal in the words of the door.
pub(super) fn refused(error: Refusal) -> Error {
    match error {
        Refusal::Compacted { asked, oldest } => Error::Compacted {
            asked: Revision(asked),
            oldest: Revision(oldest),
        },
        Refusal::Future { asked, .. } => Error::Future {
            asked: Revision(asked),
        },
        Refusal::LeaseMissing(_) => Error::LeaseGone,
        Refusal::Full => Error::Full,
        Refusal::EmptyKey
        | Refusal::KeyMissing
        | Refusal::ValueProvided
        | Refusal::LeaseProvided
        | Refusal::InvalidSort
        | Refusal::DuplicateKey
        | Refusal::TooManyOperations { .. }
        | Refusal::LeaseExists(_)
        | Refusal::LeaseTooLong(_) => Error::Other {
            message: error.to_string(),
        },
    }
}
