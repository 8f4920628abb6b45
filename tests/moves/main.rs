//! A cluster that moves: between stores in memory, in directories and in real etcd, and on a real engine, where not one
//! container restarts.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, where clippy's own exception does not reach"
)]

#[allow(dead_code, reason = "no test program uses all of it")]
#[path = "../support/embedded.rs"]
mod embedded;
mod engine;
mod files;
mod refusals;
mod stores;
#[path = "../support/mod.rs"]
mod support;
mod world;
