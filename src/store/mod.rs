//! Layer 1: the store, behind the door [`Kv`].
//!
//! The door is byte-level on purpose: a typed one would hide etcd's quirks from the simulator. Two things stand behind it:
//! [`etcd::Etcd`] for real clusters and `embedded::memory::Memory`, the in-memory MVCC that fast tests run on.
//!
//! Invariants:
//! - A write ends as [`Outcome::Committed`], [`Outcome::Refused`] or [`Outcome::Unknown`]; an `Err` means that it was
//!   certainly not applied.
//! - Every call has a deadline (`etcd/mod.rs`); nothing here retries a write whose outcome is unknown.

pub mod batch;
pub mod config;
mod constants;
pub mod election;
mod error;
pub mod etcd;
mod kv;
pub mod list;
pub mod session;

pub use batch::{Committed, Unit, commit};
pub use constants::{
    BATCH_BYTES, BATCH_OPERATIONS, CONNECT_DEADLINE, KEEP_ALIVE_INTERVAL, LEASE_MARGIN, LEASE_TTL,
    MAX_MESSAGE, PAGE, PING_DEADLINE, PING_INTERVAL, STORE_DEADLINE,
};
pub use election::{Candidate, Leadership};
pub use error::Error;
pub use kv::{
    BackupStream, Compare, KeyValue, Kv, LeaseStatus, Op, Outcome, RangeRequest, RangeResponse,
    Reply, StoreStatus, Txn, WatchBatch, WatchEvent, WatchRequest, WatchStream, prefix_end,
};
pub use list::list;
pub use session::{Boottime, Session};
