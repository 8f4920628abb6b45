//! What is asked of the MVCC, at the level of bytes: spans of keys, queries, conditions and operations. Pure.

pub use super::answer::{Answer, Done, Event, Found, KeyBytes, Stored, ValueBytes};
pub use super::refusal::Error;
use std::ops::Bound;

/// etcd refuses larger requests by default (`--max-request-bytes`).
pub const MOST_REQUEST_BYTES: usize = 1536 * 1024;

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
    pub fn new(key: impl AsRef<[u8]>, end: impl AsRef<[u8]>) -> Self {
        let key = KeyBytes::from(key.as_ref());
        match end.as_ref() {
            [] => Self::One(key),
            [0] => Self::From(key),
            end => Self::Between(key, end.into()),
        }
    }

    /// All keys that there can be.
    pub fn all() -> Self {
        Self::From(KeyBytes::from([0]))
    }

    /// Whether the span holds `key`.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => **one == *key,
            Self::Between(start, end) => **start <= *key && *key < **end,
            Self::From(start) => **start <= *key,
        }
    }

    /// Whether no key can be in it: its end does not lie behind its start.
    pub fn is_empty(&self) -> bool {
        self.bounds().is_none()
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

/// What keys are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// Writes since its creation.
    Version,
    /// The revision of its creation.
    Create,
    /// The revision of its last change.
    Mod,
    /// Its value.
    Value,
}

/// The direction of a sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// Not asked for: ascending, but a limit then cuts by key *before* the sort, as in etcd.
    #[default]
    Unspecified,
    /// The least first.
    Ascend,
    /// The greatest first; equal ones stay in ascending order of keys.
    Descend,
}

/// Bounds on a revision of the keys that are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The least; 0: any.
    pub least: i64,
    /// The most; 0: any.
    pub most: i64,
}

impl Window {
    /// Whether it leaves nothing out.
    pub(super) fn is_open(self) -> bool {
        self == Self::default()
    }

    pub(super) fn contains(self, revision: i64) -> bool {
        (self.least == 0 || revision >= self.least) && (self.most == 0 || revision <= self.most)
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
    /// What the answer is sorted by.
    pub target: SortTarget,
    /// In which direction.
    pub order: SortOrder,
    /// Which revisions of creation are wanted.
    pub created: Window,
    /// Which revisions of the last change are wanted.
    pub modified: Window,
    /// Whether values are left out.
    pub keys_only: bool,
    /// Whether only the count is wanted.
    pub count_only: bool,
}

impl Query {
    /// Everything in `span`, now.
    pub fn now(span: Span) -> Self {
        Self {
            span,
            revision: 0,
            limit: 0,
            target: SortTarget::default(),
            order: SortOrder::default(),
            created: Window::default(),
            modified: Window::default(),
            keys_only: false,
            count_only: false,
        }
    }
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
    Value(ValueBytes),
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

/// A condition on one key, or on all keys of a span at once; over no key it compares with a missing one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The keys; each has to fulfil it.
    pub span: Span,
    /// What is compared with what.
    pub target: Target,
    /// How.
    pub relation: Relation,
}

/// Writes a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The key.
    pub key: KeyBytes,
    /// Its value; empty with `ignore_value`.
    pub value: ValueBytes,
    /// The lease that it goes with; 0: none, a former one is let go. 0 with `ignore_lease`.
    pub lease: i64,
    /// Whether the key keeps the value that it has.
    pub ignore_value: bool,
    /// Whether the key keeps the lease that it has.
    pub ignore_lease: bool,
}

impl Put {
    /// A write without a lease.
    pub fn new(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        Self {
            key: key.as_ref().into(),
            value: value.as_ref().into(),
            lease: 0,
            ignore_value: false,
            ignore_lease: false,
        }
    }
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes a key.
    Put(Put),
    /// Deletes keys.
    Delete(Span),
    /// Reads keys, and sees what the operations before it wrote.
    Read(Query),
    /// A transaction within: its conditions are judged with those of the outer one, before anything runs.
    Txn(Transaction),
    /// Nothing at all: an operation whose kind the client did not set, which is refused.
    Empty,
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

impl Transaction {
    /// One operation without conditions.
    pub fn one(operation: Operation) -> Self {
        Self {
            then: vec![operation],
            ..Self::default()
        }
    }

    /// Whether either branch, taken or not, may write a key: a full store refuses it then.
    /// etcd does not look into nested ones and lets their puts through, which fills the store further.
    pub fn has_puts(&self) -> bool {
        let writes = |operation: &Operation| match operation {
            Operation::Put(_) => true,
            Operation::Txn(inner) => inner.has_puts(),
            Operation::Delete(_) | Operation::Read(_) | Operation::Empty => false,
        };
        self.then.iter().chain(&self.otherwise).any(writes)
    }
}
