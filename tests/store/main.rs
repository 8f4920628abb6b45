//! The store: the same checks on the in-memory one, on the embedded one and on every etcd at hand.
//!
//! `SKEP_TEST_ETCD` names etcd programs, separated by colons; without it `etcd` from the path is taken. A program that
//! is missing fails the tests and says which package brings it. Versions met are printed.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, where clippy's own exception does not reach"
)]

mod access;
mod checks;
#[path = "../support/embedded.rs"]
#[allow(
    dead_code,
    reason = "the tests of the embedded store use the rest of it"
)]
mod embedded;
mod failures;
#[path = "../support/frozen.rs"]
mod frozen;
mod leadership;
mod server;
mod support;
