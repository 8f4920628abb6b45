//! Layer 1: a store of our own with etcd's semantics.
//!
//! [`mvcc`] is the pure heart: keys, revisions, leases, history, with time as an argument; [`replay`] tells it as
//! [`change`]s, so that the [`journal`] can keep it. Two stores stand on it:
//!
//! - [`store::Store`], the running one: durable, with leases that end in time and watchers. People reach
//!   it through the gRPC [`server`], a manager in the same process through the door [`local::Local`]. [`backup`] is its
//!   whole content as one file.
//! - [`memory::Memory`], without a disk and with faults on demand: fast tests, the simulator and benchmarks run on it.
//!
//! [`journal`] keeps what has changed ([`change`]) on a disk.
//!
//! Invariants:
//! - It answers as etcd 3.4 does; `tests/store` runs the same checks on all of them and on real etcd, `tests/parity` random
//!   operations on the running one and on real etcd.
//! - Clocks and randomness are read in `memory.rs` and `store/mod.rs` only: tokio's clock, so that paused time works.
//!
//! Deliberately absent: replication, users and roles.

pub mod answer;
pub mod backup;
pub mod change;
mod check;
mod door;
pub mod fault;
mod hash;
mod history;
pub mod journal;
mod lease;
pub mod local;
pub mod memory;
pub mod mvcc;
mod read;
pub mod refusal;
pub mod replay;
pub mod request;
pub mod server;
pub mod store;
mod txn;

#[cfg(test)]
mod etcd_tests;
#[cfg(test)]
mod memory_tests;
#[cfg(test)]
mod mvcc_tests;
#[cfg(test)]
mod replay_tests;
