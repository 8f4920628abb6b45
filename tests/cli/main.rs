//! The command line: verbs in process over the in-memory store and simulated engines, and the real binary where no
//! store is needed or it has its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod binary;
mod change;
mod golden;
mod look;
mod manifests;
mod single;
#[path = "../support/mod.rs"]
mod support;
mod tasks;
mod world;
