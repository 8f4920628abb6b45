//! What outlives a restart, and what a failing disk does to a running store.

use crate::embedded::Embedded;
use crate::within;
use skep::embedded::journal::{
    self,
    faulty::{Fault, FaultyDisk, Restart},
};
use skep::embedded::mvcc::{Operation, Put, Query, Span, Transaction};
use skep::embedded::store::{Error, News, Options, Store, Wanted};
use std::collections::BTreeMap;
use std::sync::Arc;

fn put(key: &str, value: &str) -> Transaction {
    Transaction::one(Operation::Put(Put::new(key, value)))
}

/// Every key with its value: `a=1 b=2`.
fn all(store: &Store) -> String {
    let (found, _) = store.range(Query::now(Span::all())).unwrap();
    let words = found.kvs.iter().map(|kv| {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        format!("{}={}", text(&kv.key), text(&kv.value))
    });
    words.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_restart_changes_nothing_but_the_time_of_leases() {
    let server = Embedded::start().await;
    let identity = server.store.identity();
    let (lease, _, _) = server.store.grant(0, 600).await.unwrap();
    let leased = Operation::Put(Put {
        lease,
        ..Put::new("mine", "1")
    });
    server.store.txn(&Transaction::one(leased)).await.unwrap();
    for value in ["1", "2", "3"] {
        server.store.txn(&put("a", value)).await.unwrap();
    }
    server.store.compact(4).await.unwrap();
    let hash = server.store.hash(0).unwrap();
    let server = server.restarted(Options::default()).await;
    assert_eq!(server.store.identity(), identity);
    assert_eq!(server.store.hash(0).unwrap(), hash);
    assert_eq!(all(&server.store), "a=3 mine=1");
    let left = server.store.lease(lease).unwrap();
    assert_eq!((left.granted, left.keys.len()), (600, 1));
    // A snapshot in place of the journal gives the same store.
    server.store.defragment().await.unwrap();
    server.store.txn(&put("b", "1")).await.unwrap();
    let server = server.restarted(Options::default()).await;
    assert_eq!(all(&server.store), "a=3 b=1 mine=1");
    let future = server.store.range(Query {
        revision: 7,
        ..Query::now(Span::all())
    });
    assert!(matches!(future, Err(Error::Refused(_))), "{future:?}");
}

#[tokio::test]
async fn many_writers_at_once_are_all_there_after_a_restart() {
    let server = Embedded::start().await;
    let writes = (0..500).map(|number| {
        let store = server.store.clone();
        async move {
            store
                .txn(&put(&format!("k{number:03}"), "v"))
                .await
                .unwrap()
                .revision
        }
    });
    let mut revisions = futures::future::join_all(writes).await;
    revisions.sort_unstable();
    assert_eq!(revisions, (2..=501).collect::<Vec<i64>>());
    let server = server.restarted(Options::default()).await;
    let (found, revision) = server.store.range(Query::now(Span::all())).unwrap();
    assert_eq!((found.count, revision), (500, 501));
}

/// A journal that begins a new file often, so that everything happens within a few writes.
fn small() -> Options {
    Options {
        journal: journal::Options {
            segment: 600,
            chunk: 1,
            snapshot_after: 1500,
            reserve: 0,
            ..journal::Options::default()
        },
        ..Options::default()
    }
}

/// Writes until all is well again; gives what was acknowledged.
async fn write_through(store: &Store) -> BTreeMap<String, String> {
    let mut acknowledged = BTreeMap::new();
    for number in 0..40 {
        let (key, value) = (format!("k{}", number % 7), number.to_string());
        match store.txn(&put(&key, &value)).await {
            Ok(_) => {
                acknowledged.insert(key, value);
            }
            Err(Error::NotWritten { .. } | Error::Journal { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        assert_eq!(all(store), words(&acknowledged), "after write {number}");
    }
    acknowledged
}

fn words(keys: &BTreeMap<String, String>) -> String {
    let words = keys.iter().map(|(key, value)| format!("{key}={value}"));
    words.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn whatever_fails_on_the_disk_what_was_acknowledged_is_there_and_writes_go_on() {
    for fault in [Fault::NoSpace, Fault::Failure] {
        for operation in 1..60 {
            let disk = FaultyDisk::new(operation);
            let (store, _) = Store::on_disk(Arc::new(disk.clone()), small()).unwrap();
            disk.plan(disk.operations() + operation, fault);
            let mut acknowledged = write_through(&store).await;
            disk.heal();
            let last = store.txn(&put("last", "1")).await;
            last.unwrap_or_else(|error| panic!("{fault:?} {operation}: {error}"));
            acknowledged.insert("last".into(), "1".into());
            store.stop().await;
            drop(store);
            disk.restart(Restart::PowerLostNothingKept);
            let (store, _) = Store::on_disk(Arc::new(disk), small()).unwrap();
            assert_eq!(all(&store), words(&acknowledged), "{fault:?} {operation}");
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_is_read_on() {
    let disk = FaultyDisk::new(1);
    let options = Options {
        journal: journal::Options {
            chunk: 1,
            reserve: 0,
            ..journal::Options::default()
        },
        ..Options::default()
    };
    let (store, _) = Store::on_disk(Arc::new(disk.clone()), options).unwrap();
    store.txn(&put("a", "1")).await.unwrap();
    let watcher = store.watcher();
    watcher.add(Wanted {
        span: Span::all(),
        start: 0,
        previous: false,
    });
    disk.limit(Some(disk.used()));
    let refused = store.txn(&put("a", &"x".repeat(100_000))).await;
    assert!(
        matches!(refused, Err(Error::NotWritten { .. })),
        "{refused:?}"
    );
    assert_eq!(all(&store), "a=1", "what was refused is not seen");
    disk.limit(None);
    let done = store.txn(&put("a", "3")).await.unwrap();
    assert_eq!(done.revision, 3, "the refused one took no revision");
    within("news", watcher.changed()).await;
    let Some(News::Events { events, .. }) = watcher.take() else {
        panic!("the write is told, and only that");
    };
    assert_eq!(events.len(), 1);
}
