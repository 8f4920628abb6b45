//! Scenarios: whole managers over the in-memory store and simulated engines, in virtual time.
//!
//! Each is named after what it shows; those that prove a rule of `src/lib.rs`'s invariants say which.

mod crash;
mod life;
mod manifests;
mod world;
