//! The door [`Kv`]: what skep asks of a store, at the level of bytes and revisions.

use super::Error;
use crate::api::unit::{LeaseId, Revision};
use async_trait::async_trait;
use futures::stream::BoxStream;
use std::time::Duration;

/// One key with its value and history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key, with the prefix.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// The revision that created the key (this time).
    pub create_revision: Revision,
    /// The revision that changed it last.
    pub mod_revision: Revision,
    /// Writes since its creation, from 1.
    pub version: i64,
    /// The lease that it goes with; 0: none.
    pub lease: LeaseId,
}

/// What to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeRequest {
    /// The first key.
    pub key: String,
    /// Where to end: `None` is this key alone, `Some(end)` all keys from `key` up to and without `end`.
    pub end: Option<String>,
    /// At most so many keys; 0: all.
    pub limit: i64,
    /// As of this revision; none: now, linearizable.
    pub revision: Option<Revision>,
    /// Whether values are left out.
    pub keys_only: bool,
}

impl RangeRequest {
    /// One key.
    pub fn key(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            ..Self::default()
        }
    }

    /// All keys that begin with `prefix`, which has to end in `/` (rule S10) or be empty.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        let key = prefix.into();
        let end = Some(prefix_end(&key));
        Self {
            key,
            end,
            ..Self::default()
        }
    }
}

/// The first key after all those that begin with `prefix`; `\0` (all) for the empty prefix.
pub fn prefix_end(prefix: &str) -> String {
    let mut bytes = prefix.as_bytes().to_vec();
    while let Some(last) = bytes.pop() {
        if last < 0x7f {
            bytes.push(last + 1);
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    "\0".into()
}

/// What a range holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeResponse {
    /// The store's revision when it answered.
    pub revision: Revision,
    /// The keys in ascending order.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut.
    pub more: bool,
    /// How many there are in all, limit or not.
    pub count: i64,
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Missing(String),
    /// The key was created at this revision: an election or shard key is still ours (rule S4).
    CreatedAt(String, Revision),
    /// The key was last changed at this revision.
    ModifiedAt(String, Revision),
    /// The key goes with this lease: a claim that others may make as well is still ours. A store that went back issues
    /// revisions again, leases it does not.
    HeldBy(String, LeaseId),
    /// No key begins with this prefix, which has to end in `/` (rule S10).
    NoneBelow(String),
}

impl Compare {
    /// The key that is compared, or the prefix of those that are.
    pub fn key(&self) -> &str {
        match self {
            Self::Missing(key)
            | Self::CreatedAt(key, _)
            | Self::ModifiedAt(key, _)
            | Self::HeldBy(key, _)
            | Self::NoneBelow(key) => key,
        }
    }
}

/// An operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a key.
    Put {
        /// The key.
        key: String,
        /// Its new value.
        value: Vec<u8>,
        /// The lease that it goes with; none: it stays.
        lease: Option<LeaseId>,
    },
    /// Deletes a key.
    Delete {
        /// The key.
        key: String,
    },
    /// Reads one key.
    Get {
        /// The key.
        key: String,
    },
}

impl Op {
    /// The key that is written, deleted or read.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } | Self::Get { key } => key,
        }
    }
}

/// Operations that happen together, if all comparisons hold; else `otherwise`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All have to hold.
    pub compares: Vec<Compare>,
    /// What happens then.
    pub then: Vec<Op>,
    /// What happens otherwise (reads of what was compared).
    pub otherwise: Vec<Op>,
}

/// The answer to one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Written.
    Put,
    /// So many keys deleted.
    Deleted(i64),
    /// What was read.
    Read(Vec<KeyValue>),
}

/// How a transaction ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The comparisons held and `then` happened.
    Committed {
        /// The store's revision after it.
        revision: Revision,
        /// One for each operation of `then`.
        replies: Vec<Reply>,
    },
    /// A comparison did not hold; `otherwise` happened.
    Refused {
        /// The store's revision.
        revision: Revision,
        /// One for each operation of `otherwise`.
        replies: Vec<Reply>,
    },
    /// Nobody knows: it may have happened, and may still happen later (rule S5).
    Unknown {
        /// What was seen instead of an answer.
        error: Error,
    },
}

/// What to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRequest {
    /// All keys that begin with this.
    pub prefix: String,
    /// From this revision on, itself included.
    pub start: Revision,
}

/// One change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// It was written.
    Put(KeyValue),
    /// It was deleted, at this revision.
    Delete {
        /// The key.
        key: String,
        /// When.
        revision: Revision,
    },
}

/// Changes of whole revisions, in order: never part of one (fragments are joined behind the door, rule S2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchBatch {
    /// The store's revision that this brings the reader to.
    pub revision: Revision,
    /// The changes.
    pub events: Vec<WatchEvent>,
}

/// A watch: ends with an error (connection lost, compacted), after which the caller watches or lists anew.
pub type WatchStream = BoxStream<'static, Result<WatchBatch, Error>>;

/// A backup on its way: pieces of a file, the last 32 bytes of which are the SHA-256 of those before them.
pub type BackupStream = BoxStream<'static, Result<Vec<u8>, Error>>;

/// A lease as the store sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseStatus {
    /// Its id.
    pub id: LeaseId,
    /// Time left, or granted, in seconds; 0: it is gone.
    pub ttl: Duration,
}

/// What the store says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// The server's version.
    pub version: String,
    /// Bytes on disk.
    pub db_size: u64,
    /// Bytes in use; the rest goes with a defragmentation.
    pub db_in_use: u64,
    /// The limit in bytes, where the server says it (etcd 3.6 and up).
    pub quota: Option<u64>,
    /// Alarms in force, such as `NOSPACE`.
    pub alarms: Vec<String>,
}

/// A store with etcd's semantics.
#[async_trait]
pub trait Kv: Send + Sync + 'static {
    /// Lists keys.
    ///
    /// # Errors
    /// The store cannot be reached, refuses, or the revision is compacted or in the future.
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error>;

    /// Runs a transaction.
    ///
    /// # Errors
    /// It was certainly not applied.
    async fn txn(&self, txn: &Txn) -> Result<Outcome, Error>;

    /// Follows changes.
    ///
    /// # Errors
    /// The store cannot be reached or the start is compacted.
    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error>;

    /// Grants a lease of at least `ttl` (whole seconds are asked for).
    ///
    /// # Errors
    /// The store cannot be reached or refuses.
    async fn grant(&self, ttl: Duration) -> Result<LeaseStatus, Error>;

    /// Renews a lease once; a `ttl` of zero in the answer means that it is gone.
    ///
    /// # Errors
    /// The store cannot be reached or refuses.
    async fn keep_alive(&self, lease: LeaseId) -> Result<LeaseStatus, Error>;

    /// Ends a lease and deletes its keys; no error if it is gone already.
    ///
    /// # Errors
    /// The store cannot be reached or refuses.
    async fn revoke(&self, lease: LeaseId) -> Result<(), Error>;

    /// Forgets history before `revision`; no error if that is done already.
    ///
    /// # Errors
    /// The store cannot be reached or refuses.
    async fn compact(&self, revision: Revision) -> Result<(), Error>;

    /// What the store says of itself.
    ///
    /// # Errors
    /// The store cannot be reached or refuses.
    async fn status(&self) -> Result<StoreStatus, Error>;

    /// A backup of all that the store holds, in its own format, taken while it runs.
    ///
    /// # Errors
    /// The store cannot be reached, refuses, or makes no backups.
    async fn backup(&self) -> Result<BackupStream, Error> {
        Err(Error::Other {
            message: "this store makes no backups".into(),
        })
    }
}
