//! Layer 3: the controllers. They are independent: none imports another; they meet in the store only.
//!
//! Each folder has the same files: `mod.rs` (what it watches and writes, its invariants, what is absent), `snapshot.rs`
//! (what may be seen), `plan.rs` (the decision), `status.rs` (what is reported), `tests.rs`.

pub mod cluster;
pub mod network;
pub mod reaper;
