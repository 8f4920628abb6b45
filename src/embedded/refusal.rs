//! Why the MVCC refuses, with the very texts that etcd answers. Pure.

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
    /// A key is empty.
    #[error("a key is empty")]
    EmptyKey,
    /// A write that keeps the value or the lease of a key finds no key; or a transaction holds an empty operation, which
    /// etcd answers with the same words.
    #[error("a write that keeps a key's value or lease finds no such key")]
    KeyMissing,
    /// A write that is to keep the value brings one.
    #[error("a write that keeps the value brings a value")]
    ValueProvided,
    /// A write that is to keep the lease brings one.
    #[error("a write that keeps the lease brings a lease")]
    LeaseProvided,
    /// An order or a target of sorting that there is not.
    #[error("there is no such order or target of sorting")]
    InvalidSort,
    /// A transaction writes a key twice, or deletes what it writes.
    #[error("a transaction writes a key twice")]
    DuplicateKey,
    /// A branch or the conditions of a transaction are too many.
    #[error("a transaction has {count} operations or conditions; the most is {most} here")]
    TooManyOperations {
        /// How many there are.
        count: usize,
        /// How many there may be: 128, and in a nested transaction what the outer ones leave of it.
        most: usize,
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
    /// The alarm is raised that the store is full: it reads and deletes only.
    #[error(
        "the store is full: it reads and deletes, and writes again once it is compacted and its alarm disarmed"
    )]
    Full,
}

impl Error {
    /// What etcd says in this case, to the letter: clients compare the text.
    pub fn etcd_text(&self) -> &'static str {
        match self {
            Self::Compacted { .. } => "etcdserver: mvcc: required revision has been compacted",
            Self::Future { .. } => "etcdserver: mvcc: required revision is a future revision",
            Self::EmptyKey => "etcdserver: key is not provided",
            Self::KeyMissing => "etcdserver: key not found",
            Self::ValueProvided => "etcdserver: value is provided",
            Self::LeaseProvided => "etcdserver: lease is provided",
            Self::InvalidSort => "etcdserver: invalid sort option",
            Self::DuplicateKey => "etcdserver: duplicate key given in txn request",
            Self::TooManyOperations { .. } => "etcdserver: too many operations in txn request",
            Self::LeaseMissing(_) => "etcdserver: requested lease not found",
            Self::LeaseExists(_) => "etcdserver: lease already exists",
            Self::LeaseTooLong(_) => "etcdserver: too large lease TTL",
            Self::Full => "etcdserver: mvcc: database space exceeded",
        }
    }

    /// Whether the same request may succeed later without anyone changing it.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Future { .. } | Self::Full => true,
            Self::Compacted { .. }
            | Self::EmptyKey
            | Self::KeyMissing
            | Self::ValueProvided
            | Self::LeaseProvided
            | Self::InvalidSort
            | Self::DuplicateKey
            | Self::TooManyOperations { .. }
            | Self::LeaseMissing(_)
            | Self::LeaseExists(_)
            | Self::LeaseTooLong(_) => false,
        }
    }
}
