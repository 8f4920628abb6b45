//! What only the in-memory store can do: faults on demand, paused time, rewind and wipe.

use super::fault::Fault;
use super::memory::Memory;
use crate::api::unit::{LeaseId, Revision};
use crate::store::{
    Compare, Error, Kv, Op, Outcome, RangeRequest, Txn, WatchBatch, WatchRequest, WatchStream,
};
use futures::{FutureExt, StreamExt};
use std::time::Duration;

fn put(key: &str, lease: Option<LeaseId>) -> Txn {
    Txn {
        then: vec![Op::Put {
            key: key.into(),
            value: b"v".to_vec(),
            lease,
        }],
        ..Txn::default()
    }
}

async fn watch(store: &Memory, start: i64) -> WatchStream {
    let request = WatchRequest {
        prefix: "/a/".into(),
        start: Revision(start),
    };
    store.watch(request).await.unwrap()
}

async fn next(stream: &mut WatchStream) -> Result<WatchBatch, Error> {
    stream.next().await.expect("the stream is over")
}

#[tokio::test(start_paused = true)]
async fn leases_end_on_paused_time_and_watchers_see_it() {
    let store = Memory::new();
    let lease = store.grant(Duration::from_secs(5)).await.unwrap();
    store.txn(&put("/a/1", Some(lease.id))).await.unwrap();
    let mut stream = watch(&store, 3).await;
    tokio::time::advance(Duration::from_millis(4_999)).await;
    assert!(stream.next().now_or_never().is_none());
    let batch = next(&mut stream).await.unwrap();
    assert_eq!((batch.revision, batch.events.len()), (Revision(3), 1));
    assert!(store.get("/a/1").is_none());
    let renewed = store.keep_alive(lease.id).await.unwrap();
    assert_eq!(renewed.ttl, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_waits_notices_a_lease_granted_meanwhile() {
    let store = Memory::new();
    let mut stream = watch(&store, 3).await;
    let other = store.clone();
    let task = tokio::spawn(async move { next(&mut stream).await });
    tokio::task::yield_now().await;
    let lease = other.grant(Duration::from_secs(2)).await.unwrap();
    other.txn(&put("/a/1", Some(lease.id))).await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    other.keep_alive(lease.id).await.unwrap();
    let batch = task.await.unwrap().unwrap();
    assert_eq!(batch.revision, Revision(3));
}

#[tokio::test]
async fn unknown_outcomes_commit_vanish_or_come_late() {
    let store = Memory::new();
    for fault in [Fault::Committed, Fault::Lost, Fault::Late] {
        store.fail_next(fault);
    }
    for key in ["/a/committed", "/a/lost", "/a/late"] {
        let outcome = store.txn(&put(key, None)).await.unwrap();
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    }
    let keys = |store: &Memory| -> Vec<String> {
        store.dump("/a/").into_iter().map(|kv| kv.key).collect()
    };
    assert_eq!(keys(&store), ["/a/committed"]);
    assert_eq!(store.apply_late(), 1);
    assert_eq!(keys(&store), ["/a/committed", "/a/late"]);
    let outcome = store.txn(&put("/a/sound", None)).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_late_commit_fails_its_fence_once_the_term_is_over() {
    let store = Memory::new();
    let term = store.put("/a/leader", "me");
    store.fail_next(Fault::Late);
    let mut late = put("/a/work", None);
    late.compares = vec![Compare::CreatedAt("/a/leader".into(), term)];
    store.txn(&late).await.unwrap();
    store.delete("/a/leader");
    store.put("/a/leader", "another");
    assert_eq!(store.apply_late(), 0);
    assert!(store.get("/a/work").is_none());
}

#[tokio::test]
async fn an_unreachable_store_errs_and_cuts_its_watches() {
    let store = Memory::new();
    let mut stream = watch(&store, 0).await;
    store.set_reachable(false);
    assert!(matches!(
        next(&mut stream).await,
        Err(Error::WatchEnded { .. })
    ));
    assert!(stream.next().await.is_none());
    let error = store.txn(&put("/a/1", None)).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(store.range(RangeRequest::prefix("")).await.is_err());
    store.set_reachable(true);
    store.txn(&put("/a/1", None)).await.unwrap();
}

#[tokio::test]
async fn after_a_rewind_a_watch_from_the_old_future_stays_silent() {
    let store = Memory::new();
    for key in ["/a/1", "/a/2", "/a/3"] {
        store.put(key, "v");
    }
    let mut stream = watch(&store, 5).await;
    store.rewind(Revision(2)).unwrap();
    assert!(matches!(
        next(&mut stream).await,
        Err(Error::WatchEnded { .. })
    ));
    assert_eq!(store.revision(), Revision(2));
    let mut stream = watch(&store, 5).await;
    store.put("/a/4", "v"); // 3
    store.put("/a/5", "v"); // 4
    assert!(stream.next().now_or_never().is_none());
    store.put("/a/6", "v"); // 5
    assert_eq!(next(&mut stream).await.unwrap().revision, Revision(5));
    store.wipe();
    assert_eq!((store.revision(), store.dump("").len()), (Revision(1), 0));
}

#[tokio::test]
async fn what_was_on_its_way_to_a_store_that_went_back_never_comes() {
    for is_wiped in [false, true] {
        let store = Memory::new();
        store.put("/a/1", "v");
        store.fail_next(Fault::Late);
        let outcome = store.txn(&put("/a/2", None)).await.unwrap();
        assert!(matches!(outcome, Outcome::Unknown { .. }));
        match is_wiped {
            true => store.wipe(),
            false => store.rewind(Revision(2)).unwrap(),
        }
        assert_eq!(store.apply_late(), 0);
    }
}

#[tokio::test]
async fn a_wiped_store_gives_no_lease_twice() {
    let store = Memory::new();
    let old = store.grant(Duration::from_secs(5)).await.unwrap();
    store.wipe();
    let new = store.grant(Duration::from_secs(5)).await.unwrap();
    assert_ne!(old.id, new.id);
    assert_eq!(store.keep_alive(old.id).await.unwrap().ttl, Duration::ZERO);
}

#[tokio::test]
async fn what_was_sent_to_a_watch_outlives_a_compaction() {
    let store = Memory::new();
    let mut stream = watch(&store, 0).await;
    store.put("/a/1", "v");
    store.put("/b/1", "v");
    store.compact(Revision(3)).await.unwrap();
    store.compact(Revision(3)).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap().events.len(), 1);
    store.put("/a/2", "v");
    assert_eq!(next(&mut stream).await.unwrap().revision, Revision(4));
}

#[tokio::test(start_paused = true)]
async fn a_full_store_refuses_what_puts_and_lets_the_rest_go_on() {
    let store = Memory::new();
    store.put("/a/1", "v");
    store.set_full(true);
    let refused = store.txn(&put("/a/2", None)).await;
    assert_eq!(refused.err(), Some(Error::Full));
    let refused = store.grant(Duration::from_secs(5)).await;
    assert_eq!(refused.err(), Some(Error::Full));
    let delete = Op::Delete { key: "/a/1".into() };
    let deletion = Txn {
        then: vec![delete],
        ..Txn::default()
    };
    store.txn(&deletion).await.unwrap();
    assert!(store.get("/a/1").is_none());
    store.set_full(false);
    store.txn(&put("/a/2", None)).await.unwrap();
}

#[test]
fn what_changed_since_a_revision_is_told_as_it_is_now() {
    let store = Memory::new();
    for key in ["/a/1", "/a/2", "/b/1"] {
        store.put(key, "old");
    }
    let seen = store.revision();
    assert_eq!(store.changed_since("/a/", seen), Some(Vec::new()));
    store.put("/a/3", "new");
    store.put("/a/3", "newer");
    store.delete("/a/1");
    store.put("/b/1", "new");
    let changed = store.changed_since("/a/", seen).unwrap();
    let told: Vec<_> = changed
        .into_iter()
        .map(|(key, kv)| (key, kv.map(|kv| kv.value)))
        .collect();
    let newer = Some(b"newer".to_vec());
    assert_eq!(told, [("/a/1".into(), None), ("/a/3".into(), newer)]);
}

#[tokio::test(start_paused = true)]
async fn what_was_compacted_is_not_told() {
    let store = Memory::new();
    let seen = store.put("/a/1", "old");
    store.put("/a/1", "new");
    store.put("/a/1", "newer");
    store.compact(store.revision()).await.unwrap();
    assert_eq!(store.changed_since("/a/", seen), None);
    assert_eq!(
        store.changed_since("/a/", store.revision()),
        Some(Vec::new())
    );
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_a_compaction_forgets_is_not_passed_over() {
    let store = Memory::new();
    let seen = store.put("/a/1", "old");
    let deleted = store.delete("/a/1");
    store.compact(deleted).await.unwrap();
    assert_eq!(store.changed_since("/a/", seen), None);
}
