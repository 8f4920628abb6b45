//! What the checks share: waiting for a state, running on every store, short ways to write.

use crate::embedded::Embedded;
use crate::server::{Server, programs};
use futures::StreamExt;
use skep::api::unit::{LeaseId, Revision};
use skep::embedded::local::Local;
use skep::embedded::memory::Memory;
use skep::store::config::StoreConfig;
use skep::store::etcd::Etcd;
use skep::store::session::Boottime;
use skep::store::{Error, Kv, Op, Outcome, Txn, WatchBatch, WatchEvent, WatchRequest, WatchStream};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How long a state may take to come on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `state` holds.
pub(crate) async fn eventually(what: &str, mut state: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !state().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::time::timeout(PATIENCE, wait).await;
    assert!(done.is_ok(), "after {PATIENCE:?} still not: {what}");
}

pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, work).await;
    done.unwrap_or_else(|_| panic!("{what}: nothing within {PATIENCE:?}"))
}

/// Runs a check on the in-memory store, on the embedded one from within and over gRPC, and on every etcd.
pub(crate) async fn on_every_store<F: Future<Output = ()>>(check: impl Fn(Arc<dyn Kv>) -> F) {
    println!("on memory");
    check(Arc::new(Memory::new())).await;
    println!("on the embedded store");
    let embedded = Embedded::start().await;
    check(Arc::new(Local::new(embedded.store.clone()))).await;
    println!("on the embedded store over gRPC");
    let embedded = Embedded::start().await;
    let config = StoreConfig::plain(&embedded.address.to_string());
    check(Arc::new(Etcd::new(&config).unwrap())).await;
    for program in programs() {
        let server = Server::start(&program).await;
        check(Arc::new(server.client())).await;
    }
}

/// CLOCK_BOOTTIME, as the real clock door reads it.
pub(crate) fn boottime() -> Boottime {
    Arc::new(|| {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(
            time.tv_sec.unsigned_abs(),
            u32::try_from(time.tv_nsec).unwrap(),
        )
    })
}

pub(crate) fn put(key: &str, value: &str) -> Op {
    put_leased(key, value, None)
}

pub(crate) fn put_leased(key: &str, value: &str, lease: Option<LeaseId>) -> Op {
    Op::Put {
        key: key.into(),
        value: value.into(),
        lease,
    }
}

pub(crate) fn delete(key: &str) -> Op {
    Op::Delete { key: key.into() }
}

pub(crate) fn then(ops: Vec<Op>) -> Txn {
    Txn {
        then: ops,
        ..Txn::default()
    }
}

/// Commits operations and gives the revision.
pub(crate) async fn commit(kv: &dyn Kv, ops: Vec<Op>) -> Revision {
    match kv.txn(&then(ops)).await.unwrap() {
        Outcome::Committed { revision, .. } => revision,
        other => panic!("not committed: {other:?}"),
    }
}

pub(crate) async fn watch(
    kv: &dyn Kv,
    prefix: &str,
    start: Revision,
) -> Result<WatchStream, Error> {
    let request = WatchRequest {
        prefix: prefix.into(),
        start,
    };
    kv.watch(request).await
}

pub(crate) async fn next(stream: &mut WatchStream) -> Result<WatchBatch, Error> {
    let item = within("a watch", stream.next()).await;
    item.expect("the watch is over without an error")
}

/// The next changes until there are `count`: `+key@revision` and `-key@revision`.
pub(crate) async fn changes(stream: &mut WatchStream, count: usize) -> String {
    let mut words = Vec::new();
    while words.len() < count {
        for event in next(stream).await.unwrap().events {
            words.push(match event {
                WatchEvent::Put(kv) => format!("+{}@{}", kv.key, kv.mod_revision),
                WatchEvent::Delete { key, revision } => format!("-{key}@{revision}"),
            });
        }
    }
    words.join(" ")
}
