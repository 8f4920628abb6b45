//! What is asked of the MVCC, at the level of bytes: keys, spans of keys, comparisons, operations and answers. Pure.

use std::ops::Bound;
use std::sync::Arc;

/// A key: any bytes, not empty.
pub type KeyBytes = Vec<u8>;

/// One key with its value and history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The key.
    pub key: KeyBytes,
    /// The value, shared between the current state and the history.
    pub value: Arc<[u8]>,
    /// The revision that created the key (this time).
    pub create_revision: i64,
    /// The revision that changed it last.
    pub mod_revision: i64,
    /// Writes since its creation, from 1.
    pub version: i64,
    /// The lease that it goes with; 0: none.
    pub lease: i64,
}

/// Which keys are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Span {
    /// This key.
    One(KeyBytes),
    /// From the first up to and without the second.
    Between(KeyBytes, KeyBytes),
    /// From this key to the end.
    From(KeyBytes),
}

/// First and last of a span, for an ordered map.
pub(super) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

impl Span {
    /// Reads etcd's `key` and `range_end`: an empty end is the key alone, a single zero byte means to the end.
    pub fn new(key: impl Into<KeyBytes>, end: impl Into<KeyBytes>) -> Self {
        let (key, end) = (key.into(), end.into());
        match end.as_slice() {
            [] => Self::One(key),
            [0] => Self::From(key),
            _ => Self::Between(key, end),
        }
    }

    /// Whether the span holds `key`.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => one == key,
            Self::Between(start, end) => start.as_slice() <= key && key < end.as_slice(),
            Self::From(start) => start.as_slice() <= key,
        }
    }

    /// The bounds for an ordered map; none where the span is empty (its end lies before its start).
    pub(super) fn bounds(&self) -> Option<Bounds<'_>> {
        match self {
            Self::One(one) => Some((Bound::Included(one), Bound::Included(one))),
            Self::Between(start, end) if start < end => {
                Some((Bound::Included(start), Bound::Excluded(end)))
            }
            Self::Between(..) => None,
            Self::From(start) => Some((Bound::Included(start), Bound::Unbounded)),
        }
    }

    /// The first key that may be meant; etcd refuses the empty one.
    pub(super) fn start(&self) -> &[u8] {
        match self {
            Self::One(start) | Self::Between(start, _) | Self::From(start) => start,
        }
    }
}

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The keys.
    pub span: Span,
    /// As of this revision; 0 or less: now.
    pub revision: i64,
    /// At most so many keys; 0 or less: all.
    pub limit: i64,
    /// Whether values are left out.
    pub keys_only: bool,
}

impl Query {
    /// Everything in `span`, now.
    pub fn now(span: Span) -> Self {
        Self {
            span,
            revision: 0,
            limit: 0,
            keys_only: false,
        }
    }
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The keys in ascending order.
    pub kvs: Vec<Stored>,
    /// Whether the limit cut.
    pub more: bool,
    /// How many there are in all, limit or not.
    pub count: i64,
}

/// What of a key is compared; of a missing key every number is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Writes since its creation.
    Version(i64),
    /// The revision of its creation.
    Create(i64),
    /// The revision of its last change.
    Mod(i64),
    /// Its value; false for a missing key, whatever the relation.
    Value(Vec<u8>),
    /// Its lease.
    Lease(i64),
}

/// How the stored side stands to the given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same.
    Equal,
    /// Another.
    NotEqual,
    /// The stored one is greater.
    Greater,
    /// The stored one is less.
    Less,
}

/// A condition on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The key.
    pub key: KeyBytes,
    /// What is compared with what.
    pub target: Target,
    /// How.
    pub relation: Relation,
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes a key.
    Put {
        /// The key.
        key: KeyBytes,
        /// Its value.
        value: Arc<[u8]>,
        /// The lease that it goes with; 0: none, a former one is let go.
        lease: i64,
    },
    /// Deletes keys.
    Delete(Span),
    /// Reads keys, and sees what the operations before it wrote.
    Read(Query),
}

/// The answer to one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Written; what was there before.
    Put(Option<Stored>),
    /// Deleted; what was there before.
    Deleted(Vec<Stored>),
    /// What was read.
    Read(Found),
}

/// Operations that happen together: `then` if all conditions hold, else `otherwise`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// All have to hold.
    pub conditions: Vec<Condition>,
    /// What happens then.
    pub then: Vec<Operation>,
    /// What happens otherwise.
    pub otherwise: Vec<Operation>,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Whether the conditions held.
    pub succeeded: bool,
    /// The revision after it.
    pub revision: i64,
    /// One for each operation of the branch that was taken.
    pub answers: Vec<Answer>,
}

/// One change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was written.
    Put(Stored),
    /// It was deleted at this revision.
    Delete(KeyBytes, i64),
}

impl Event {
    /// The key that changed.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put(kv) => &kv.key,
            Self::Delete(key, _) => key,
        }
    }
}

/// Why the MVCC refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The revision is gone.
    #[error("revision {asked} is compacted; the oldest is {oldest}")]
    Compacted {
        /// What was asked for.
        asked: i64,
        /// The oldest that there is.
        oldest: i64,
    },
    /// The revision is not there yet.
    #[error("revision {asked} is in the future; the newest is {newest}")]
    Future {
        /// What was asked for.
        asked: i64,
        /// The newest that there is.
        newest: i64,
    },
    /// The lease does not exist.
    #[error("lease {0:x} does not exist")]
    LeaseMissing(i64),
    /// The lease exists already.
    #[error("lease {0:x} exists already")]
    LeaseExists(i64),
    /// The lease would live too long.
    #[error("a lease of {0} s is too long; the longest is 9000000000 s")]
    LeaseTooLong(i64),
    /// A key is empty.
    #[error("a key is empty")]
    EmptyKey,
    /// A transaction writes a key twice.
    #[error("a transaction writes a key twice")]
    DuplicateKey,
    /// A branch or the conditions of a transaction are too many.
    #[error("a transaction has {0} operations or conditions; the most is 128")]
    TooManyOperations(usize),
}

impl Error {
    /// Whether the same request may succeed later without anyone changing it.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Future { .. } => true,
            Self::Compacted { .. }
            | Self::LeaseMissing(_)
            | Self::LeaseExists(_)
            | Self::LeaseTooLong(_)
            | Self::EmptyKey
            | Self::DuplicateKey
            | Self::TooManyOperations(_) => false,
        }
    }
}
