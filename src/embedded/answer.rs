//! What the MVCC answers and remembers, at the level of bytes: stored keys, what was found, how a transaction ended, and
//! the changes of keys. Pure.

use std::sync::Arc;

/// A key: any bytes, not empty. Shared: a clone costs a count.
pub type KeyBytes = Arc<[u8]>;

/// A value: any bytes. Shared between the current state, the history, watchers and the journal.
pub type ValueBytes = Arc<[u8]>;

/// One key with its value and history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The key.
    pub key: KeyBytes,
    /// The value.
    pub value: ValueBytes,
    /// The revision that created the key (this time).
    pub create_revision: i64,
    /// The revision that changed it last.
    pub mod_revision: i64,
    /// Writes since its creation, from 1.
    pub version: i64,
    /// The lease that it goes with; 0: none.
    pub lease: i64,
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
    pub fn key(&self) -> &KeyBytes {
        match self {
            Self::Put(kv) => &kv.key,
            Self::Delete(key, _) => key,
        }
    }

    /// The revision that changed it.
    pub fn revision(&self) -> i64 {
        match self {
            Self::Put(kv) => kv.mod_revision,
            Self::Delete(_, revision) => *revision,
        }
    }

    /// Whether it made a key that was not there, or that the same transaction had deleted.
    pub fn creates(&self) -> bool {
        self.stored()
            .is_some_and(|kv| kv.create_revision == kv.mod_revision)
    }

    /// What was written; none: it was deleted.
    pub fn stored(&self) -> Option<&Stored> {
        match self {
            Self::Put(kv) => Some(kv),
            Self::Delete(..) => None,
        }
    }
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The keys in the order that was asked for, ascending by key unless asked otherwise.
    pub kvs: Vec<Stored>,
    /// Whether the limit cut.
    pub more: bool,
    /// How many keys the span has in all, whatever the limit and the bounds on revisions.
    pub count: i64,
}

/// The answer to one operation of a transaction. Its revision is what etcd puts into the header of that one answer: the
/// old revision until the first write of the transaction, then the new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Written.
    Put {
        /// The store's revision as this operation saw it.
        revision: i64,
        /// What was there before.
        previous: Option<Stored>,
    },
    /// Deleted.
    Deleted {
        /// The store's revision as this operation saw it.
        revision: i64,
        /// What was there before.
        gone: Vec<Stored>,
    },
    /// What was read.
    Read {
        /// The store's revision as this operation saw it.
        revision: i64,
        /// The keys.
        found: Found,
    },
    /// How a nested transaction ended; its revision is 0, as in etcd's headers of nested answers.
    Txn(Done),
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Whether the conditions held.
    pub succeeded: bool,
    /// The store's revision after it; 0 for a nested one.
    pub revision: i64,
    /// One for each operation of the branch that was taken.
    pub answers: Vec<Answer>,
}
