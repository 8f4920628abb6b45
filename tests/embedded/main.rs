//! The embedded store as others see it: over gRPC with etcd's own clients, over restarts, and beside a real etcd.
//!
//! `etcd` and `etcdctl` from the path are taken for comparison; a program that is missing fails the tests and says which
//! package brings it.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, where clippy's own exception does not reach"
)]

mod access;
mod calls;
mod durable;
#[path = "../support/embedded.rs"]
mod embedded;
mod etcdctl;
#[path = "../support/frozen.rs"]
#[allow(dead_code, reason = "the tests of the store use the rest of it")]
mod frozen;
#[path = "../store/server.rs"]
#[allow(dead_code, reason = "the tests of the store use the rest of it")]
mod server;
mod support;
mod watches;

use embedded::Embedded;
use etcd_client::Client;
use std::time::Duration;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client of etcd's API, as others have.
async fn client(server: &Embedded) -> Client {
    let address = server.address.to_string();
    Client::connect([address], None).await.unwrap()
}

/// Waits for something that has to come.
async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("{what}: nothing within {PATIENCE:?}"))
}

/// What a failed call said: its code and text.
fn said<T: std::fmt::Debug>(result: Result<T, etcd_client::Error>) -> String {
    match result.unwrap_err() {
        etcd_client::Error::GRpcStatus(status) => {
            format!("{:?}: {}", status.code(), status.message())
        }
        other => panic!("not of the server's: {other}"),
    }
}
