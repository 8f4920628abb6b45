//! Layer 1: a store of our own with etcd's semantics.
//!
//! [`mvcc`] is the pure heart: keys, revisions, leases, history, with time as an argument; [`replay`] tells it as
//! [`change`]s, so that a journal can keep it. [`memory::Memory`] is the door
//! `Kv` over it, without a disk and with faults on demand: fast tests, the simulator and benchmarks run on it.
//!
//! [`journal`] keeps what has changed ([`change`]) on a disk.
//!
//! Invariants:
//! - It answers as etcd 3.4 does; `tests/store` runs the same checks on both.
//! - Nothing here starts a task or reads a clock, but for `memory.rs`, which takes tokio's (so that paused time works).
//!
//! Deliberately absent: the gRPC API. It comes on top of [`mvcc`].

pub mod answer;
pub mod change;
mod check;
pub mod fault;
mod hash;
mod history;
pub mod journal;
mod lease;
pub mod memory;
pub mod mvcc;
mod read;
pub mod refusal;
pub mod replay;
pub mod request;
mod txn;

#[cfg(test)]
mod etcd_tests;
#[cfg(test)]
mod memory_tests;
#[cfg(test)]
mod mvcc_tests;
#[cfg(test)]
mod replay_tests;
