//! What outlives a restart, and what a failing disk does to a running store.

use crate::embedded::Embedded;
use crate::within;
use skep::embedded::journal::{self, faulty::FaultyDisk};
use skep::embedded::mvcc::{Operation, Put, Query, Span, Transaction};
use skep::embedded::store::{Error, News, Options, Store, Wanted};
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
