//! Tasks: a task's record and binding become a container on an engine, and what is seen of it becomes its status.
//!
//! Watches `tasks/*`, `bindings/<node>/*`, `revisions/*`, `accepted/nodes/*`, `status/nodes/<node>/health`, and each
//! engine's events. Writes `status/tasks/<node>/*` and `status/nodes/<node>/task` (what was found beside the tasks);
//! tells users what `note` says.
//!
//! ```text
//! session (one lease) -> shards (shards/000, shards/node-<name>) -> one driver per engine -> one worker per task
//! ```
//!
//! [`plan`] decides for one task, `worker` carries it out by `runtime::orders` and the shard's writer, `driver` keeps the
//! [`view`] of one engine by events and lists. A slow engine delays only its own driver; `pulls` go on beside the workers,
//! so that a slow registry delays only those that wait for it.
//!
//! Invariants ([`crate::rules`] C1-C9):
//! - Every write compares the shard's key; every order checks the lease's deadline right before it is sent.
//! - An engine is driven only while it answers with the id on record (rule I4), and only after a list that was made with
//!   the events already open.
//! - A crash at any await leaves a state that the next holder goes on from: names carry task ids, a container that was
//!   made under another term and never ran is made anew, one that ran is never started again.
//!
//! Deliberately absent: replacements (service), places (scheduler), removal of records (reaper).

pub mod agent;
pub mod container;
mod driver;
#[cfg(test)]
mod loop_tests;
pub mod networks;
mod note;
pub mod plan;
mod pulls;
mod shard;
pub mod snapshot;
pub mod status;
#[cfg(test)]
mod tests;
pub mod view;
#[cfg(test)]
mod view_tests;
mod worker;

pub use agent::feed::{Compute, StateOf};
pub use shard::run;
