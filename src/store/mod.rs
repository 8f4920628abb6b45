//! Layer 1: the store, behind the door [`Kv`].
//!
//! The door is byte-level on purpose: a typed one would hide etcd's quirks from the simulator. Two things stand behind it:
//! [`etcd::Etcd`] for real clusters and `embedded::memory::Memory`, the in-memory MVCC that fast tests run on.
//!
//! Invariants:
//! - A write ends as [`Outcome::Committed`], [`Outcome::Refused`] or [`Outcome::Unknown`]; an `Err` means that it was
//!   certainly not applied.
//! - Every call has a deadline (`etcd.rs`); nothing here retries a write whose outcome is unknown.

mod error;
mod kv;

pub use error::Error;
pub use kv::{
    Compare, KeyValue, Kv, LeaseStatus, Op, Outcome, RangeRequest, RangeResponse, Reply,
    StoreStatus, Txn, WatchBatch, WatchEvent, WatchRequest, WatchStream,
};
