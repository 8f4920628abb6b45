//! Transactions, lists, watches and leases, on every store.

use crate::server::{Server, programs};
use crate::support::*;
use async_trait::async_trait;
use skep::api::unit::{LeaseId, Revision};
use skep::store::list::{latest_revision, list, list_in_pages};
use skep::store::{
    Compare, Error, Kv, LeaseStatus, Op, Outcome, RangeRequest, RangeResponse, Reply, StoreStatus,
    Txn, WatchRequest, WatchStream,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[tokio::test]
async fn transactions_commit_or_are_refused() {
    on_every_store(async |kv: Arc<dyn Kv>| {
        let kv = kv.as_ref();
        let base = latest_revision(kv, "/t/").await.unwrap();
        let create = Txn {
            compares: vec![Compare::Missing("/t/a".into())],
            then: vec![put("/t/a", "1"), Op::Get { key: "/t/a".into() }],
            otherwise: vec![Op::Get { key: "/t/a".into() }, delete("/t/none")],
        };
        let Outcome::Committed { revision, replies } = kv.txn(&create).await.unwrap() else {
            panic!("the key was missing");
        };
        assert_eq!(revision.0, base.0 + 1);
        let Reply::Read(read) = &replies[1] else {
            panic!("{replies:?}");
        };
        assert_eq!((read[0].create_revision, read[0].version), (revision, 1));

        let Outcome::Refused {
            revision: seen,
            replies,
        } = kv.txn(&create).await.unwrap()
        else {
            panic!("the key was there");
        };
        assert_eq!((seen, &replies[1]), (revision, &Reply::Deleted(0)));

        let second = commit(kv, vec![put("/t/a", "2")]).await;
        let holds = async |compare: Compare| {
            let txn = Txn {
                compares: vec![compare],
                ..Txn::default()
            };
            matches!(kv.txn(&txn).await.unwrap(), Outcome::Committed { .. })
        };
        assert!(holds(Compare::CreatedAt("/t/a".into(), revision)).await);
        assert!(!holds(Compare::CreatedAt("/t/a".into(), second)).await);
        assert!(holds(Compare::ModifiedAt("/t/a".into(), second)).await);
        assert!(!holds(Compare::ModifiedAt("/t/a".into(), revision)).await);
        assert!(!holds(Compare::Missing("/t/a".into())).await);
        let lease = kv.grant(Duration::from_secs(60)).await.unwrap().id;
        assert!(!holds(Compare::HeldBy("/t/a".into(), lease)).await);
        let leased = Op::Put {
            key: "/t/a".into(),
            value: b"3".to_vec(),
            lease: Some(lease),
        };
        let second = commit(kv, vec![leased]).await;
        assert!(holds(Compare::HeldBy("/t/a".into(), lease)).await);
        assert!(!holds(Compare::HeldBy("/t/b".into(), lease)).await);
        assert!(!holds(Compare::NoneBelow("/t/".into())).await);
        assert!(holds(Compare::NoneBelow("/t/a/".into())).await);
        assert_eq!(latest_revision(kv, "/t/").await.unwrap(), second);
    })
    .await;
}

#[tokio::test]
async fn what_the_store_refuses_is_certainly_not_applied() {
    on_every_store(async |kv: Arc<dyn Kv>| {
        let kv = kv.as_ref();
        let before = latest_revision(kv, "/t/").await.unwrap();
        let gone = put_leased("/t/a", "", Some(LeaseId(77)));
        assert_eq!(
            kv.txn(&then(vec![gone])).await.unwrap_err(),
            Error::LeaseGone
        );
        let twice = then(vec![put("/t/a", "1"), put("/t/a", "2")]);
        assert!(matches!(kv.txn(&twice).await, Err(Error::Other { .. })));
        let many = (0..129).map(|n| put(&format!("/t/{n}"), "")).collect();
        assert!(matches!(
            kv.txn(&then(many)).await,
            Err(Error::Other { .. })
        ));
        for bytes in [1_700_000, 5_000_000] {
            let large = then(vec![put("/t/a", &"x".repeat(bytes))]);
            let result = kv.txn(&large).await;
            assert!(matches!(result, Err(Error::TooLarge { .. })), "{result:?}");
        }
        assert_eq!(latest_revision(kv, "/t/").await.unwrap(), before);
        let most = (0..128).map(|n| put(&format!("/t/{n}"), "")).collect();
        commit(kv, most).await;
    })
    .await;
}

#[tokio::test]
async fn ranges_read_prefixes_revisions_and_keys_alone() {
    on_every_store(async |kv: Arc<dyn Kv>| {
        let kv = kv.as_ref();
        let first = commit(kv, vec![put("/t/web/1", "a"), put("/t/web2/1", "b")]).await;
        let second = commit(kv, vec![put("/t/web/2", "c"), delete("/t/web/1")]).await;
        let range = async |request: RangeRequest| -> Result<String, Error> {
            let response = kv.range(request).await?;
            let text = |kv: skep::store::KeyValue| {
                format!("{}={}", kv.key, String::from_utf8(kv.value).unwrap())
            };
            let kvs: Vec<String> = response.kvs.into_iter().map(text).collect();
            Ok(kvs.join(" "))
        };
        let web = RangeRequest::prefix("/t/web/");
        assert_eq!(range(web.clone()).await.unwrap(), "/t/web/2=c");
        let old = RangeRequest {
            revision: Some(first),
            ..web.clone()
        };
        assert_eq!(range(old.clone()).await.unwrap(), "/t/web/1=a");
        let all = RangeRequest {
            keys_only: true,
            ..RangeRequest::prefix("")
        };
        assert_eq!(range(all).await.unwrap(), "/t/web/2= /t/web2/1=");
        let future = RangeRequest {
            revision: Some(Revision(second.0 + 1)),
            ..web
        };
        let asked = Revision(second.0 + 1);
        assert_eq!(range(future).await, Err(Error::Future { asked }));
        kv.compact(second).await.unwrap();
        kv.compact(second).await.unwrap();
        let compacted = range(old).await;
        assert!(matches!(compacted, Err(Error::Compacted { asked, .. }) if asked == first));
        assert!(kv.compact(Revision(second.0 + 9)).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_watch_begins_where_it_is_told_and_sees_only_its_prefix() {
    on_every_store(async |kv: Arc<dyn Kv>| {
        let kv = kv.as_ref();
        let first = commit(kv, vec![put("/t/web/1", "a")]).await.0;
        commit(kv, vec![put("/t/web/2", "b"), put("/t/web2/1", "c")]).await;
        commit(kv, vec![delete("/t/web/1")]).await;
        let start = Revision(first + 1);
        let mut stream = watch(kv, "/t/web/", start).await.unwrap();
        let wanted = format!("+/t/web/2@{} -/t/web/1@{}", first + 1, first + 2);
        assert_eq!(changes(&mut stream, 2).await, wanted);
        let third = commit(kv, vec![put("/t/web/3", "d")]).await;
        let batch = next(&mut stream).await.unwrap();
        assert_eq!((batch.revision, batch.events.len()), (third, 1));
    })
    .await;
}

#[tokio::test]
async fn a_watch_from_the_future_is_silent_until_then() {
    on_every_store(async |kv: Arc<dyn Kv>| {
        let kv = kv.as_ref();
        let now = latest_revision(kv, "/t/").await.unwrap().0;
        let mut stream = watch(kv, "/t/", Revision(now + 3)).await.unwrap();
        for key in ["/t/1", "/t/2", "/t/3"] {
            commit(kv, vec![put(key, "")]).await;
        }
        let wanted = format!("+/t/3@{}", now + 3);
        assert_eq!(changes(&mut stream, 1).await, wanted);
    })
    .await;
}

#[tokio::test]
async fn a_watch_from_a_compacted_revision_says_so() {
    on_every_store(async |kv: Arc<dyn Kv>| {
        let kv = kv.as_ref();
        let first = commit(kv, vec![put("/t/1", "")]).await;
        let last = commit(kv, vec![put("/t/2", "")]).await;
        kv.compact(last).await.unwrap();
        // The notice may come with the call or as the first item.
        let error = match watch(kv, "/t/", first).await {
            Err(error) => error,
            Ok(mut stream) => next(&mut stream).await.unwrap_err(),
        };
        let oldest = last;
        assert_eq!(
            error,
            Error::Compacted {
                asked: first,
                oldest
            }
        );
        let mut stream = watch(kv, "/t/", last).await.unwrap();
        assert_eq!(changes(&mut stream, 1).await, format!("+/t/2@{last}"));
    })
    .await;
}

/// Seven revisions of three keys of 400 KiB each: a replay of 8 MiB.
async fn write_much(kv: &dyn Kv) -> Revision {
    let value = "x".repeat(400 * 1024);
    let mut first = None;
    for round in 0..7 {
        let ops = (0..3).map(|n| put(&format!("/t/{round}/{n}"), &value));
        let revision = commit(kv, ops.collect()).await;
        first.get_or_insert(revision);
    }
    first.unwrap()
}

#[tokio::test]
async fn a_large_replay_comes_in_whole_revisions() {
    on_every_store(async |kv: Arc<dyn Kv>| {
        let kv = kv.as_ref();
        let first = write_much(kv).await;
        let mut stream = watch(kv, "/t/", first).await.unwrap();
        let mut seen = 0;
        while seen < 21 {
            let batch = next(&mut stream).await.unwrap();
            assert_eq!(batch.events.len() % 3, 0, "part of a revision");
            seen += batch.events.len();
            let last = i64::try_from(seen / 3).unwrap();
            assert_eq!(batch.revision.0, first.0 + last - 1);
        }
    })
    .await;
}

#[tokio::test]
async fn etcd_does_send_such_a_replay_in_fragments() {
    for program in programs() {
        let server = Server::start(&program).await;
        write_much(&server.client()).await;
        let mut client = etcd_client::Client::connect([&server.address], None)
            .await
            .unwrap();
        let options = etcd_client::WatchOptions::new()
            .with_prefix()
            .with_start_revision(1)
            .with_fragment();
        let mut stream = client.watch("/t/", Some(options)).await.unwrap();
        let fragment = async {
            loop {
                let response = stream.message().await.unwrap().unwrap();
                if response.0.fragment {
                    return;
                }
            }
        };
        within("a fragment", fragment).await;
    }
}

#[tokio::test]
async fn leases_take_their_keys_with_them() {
    on_every_store(async |kv: Arc<dyn Kv>| {
        let kv = kv.as_ref();
        let lease = kv.grant(Duration::from_millis(59_500)).await.unwrap();
        assert_eq!(lease.ttl, Duration::from_secs(60));
        let renewed = kv.keep_alive(lease.id).await.unwrap();
        assert_eq!(renewed, lease);
        let ops = vec![
            put_leased("/t/b", "", Some(lease.id)),
            put_leased("/t/a", "", Some(lease.id)),
            put_leased("/t/free", "", Some(lease.id)),
        ];
        commit(kv, ops).await;
        let at = commit(kv, vec![put("/t/free", "")]).await.0 + 1;
        let mut stream = watch(kv, "/t/", Revision(at)).await.unwrap();
        kv.revoke(lease.id).await.unwrap();
        kv.revoke(lease.id).await.unwrap();
        let wanted = format!("-/t/a@{at} -/t/b@{at}");
        assert_eq!(changes(&mut stream, 2).await, wanted);
        let gone = kv.keep_alive(lease.id).await.unwrap();
        assert_eq!(gone.ttl, Duration::ZERO);

        let short = kv.grant(Duration::from_secs(1)).await.unwrap();
        commit(kv, vec![put_leased("/t/short", "", Some(short.id))]).await;
        let wanted = format!("+/t/short@{} -/t/short@{}", at + 1, at + 2);
        assert_eq!(changes(&mut stream, 2).await, wanted);
    })
    .await;
}

/// Lets somebody write and compact between two pages of a list.
struct Meddler {
    kv: Arc<dyn Kv>,
    pages: AtomicUsize,
    times: usize,
}

#[async_trait]
impl Kv for Meddler {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let page = self.pages.fetch_add(1, Ordering::Relaxed);
        if page % 2 == 1 && page / 2 < self.times {
            commit(self.kv.as_ref(), vec![delete("/t/0")]).await;
            let now = commit(self.kv.as_ref(), vec![put("/t/z", "")]).await;
            self.kv.compact(now).await.unwrap();
        }
        self.kv.range(request).await
    }
    async fn txn(&self, txn: &Txn) -> Result<Outcome, Error> {
        self.kv.txn(txn).await
    }
    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        self.kv.watch(request).await
    }
    async fn grant(&self, ttl: Duration) -> Result<LeaseStatus, Error> {
        self.kv.grant(ttl).await
    }
    async fn keep_alive(&self, lease: LeaseId) -> Result<LeaseStatus, Error> {
        self.kv.keep_alive(lease).await
    }
    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.kv.revoke(lease).await
    }
    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.kv.compact(revision).await
    }
    async fn status(&self) -> Result<StoreStatus, Error> {
        self.kv.status().await
    }
}

#[tokio::test]
async fn a_list_in_pages_is_of_one_revision_even_when_it_is_compacted_under_way() {
    on_every_store(async |kv: Arc<dyn Kv>| {
        let ops = (0..7).map(|n| put(&format!("/t/{n}"), "")).collect();
        let revision = commit(kv.as_ref(), ops).await;
        let listing = list_in_pages(kv.as_ref(), "/t/", 3).await.unwrap();
        assert_eq!(listing.revision, revision);
        assert_eq!(listing, list(kv.as_ref(), "/t/").await.unwrap());
        assert_eq!(listing.kvs.len(), 7);

        let meddled = async |times: usize| {
            let meddler = Meddler {
                kv: Arc::clone(&kv),
                pages: AtomicUsize::new(0),
                times,
            };
            list_in_pages(&meddler, "/t/", 3).await
        };
        let listing = meddled(2).await.unwrap();
        let keys: Vec<String> = listing.kvs.into_iter().map(|kv| kv.key).collect();
        assert_eq!(keys.join(" "), "/t/1 /t/2 /t/3 /t/4 /t/5 /t/6 /t/z");
        let endless = meddled(usize::MAX).await;
        assert!(
            matches!(endless, Err(Error::Compacted { .. })),
            "{endless:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn the_store_tells_its_version_and_size() {
    for program in programs() {
        let server = Server::start(&program).await;
        let status = server.client().status().await.unwrap();
        println!("{status:?}");
        assert!(status.version.starts_with("3."), "{status:?}");
        assert!(status.db_size >= status.db_in_use && status.db_in_use > 0);
        assert!(status.alarms.is_empty());
    }
}

#[tokio::test]
async fn a_full_store_says_so_and_goes_on_reading() {
    for program in programs() {
        let server = Server::start_with(&program, &["--quota-backend-bytes", "4000000"]).await;
        let kv = server.client();
        let value = "x".repeat(1_000_000);
        let mut n = 0;
        let full = loop {
            n += 1;
            assert!(n < 200, "4 MB hold more than 200 MB");
            // etcd measures its file when its backend commits, every 100 ms: on a fast disk more
            // than 20 MB arrive before it looks.
            tokio::time::sleep(Duration::from_millis(10)).await;
            match kv.txn(&then(vec![put(&format!("/t/{n}"), &value)])).await {
                Ok(Outcome::Committed { .. }) => {}
                other => break other,
            }
        };
        assert!(matches!(full, Err(Error::Full)), "{full:?}");
        assert!(!list(&kv, "/t/").await.unwrap().kvs.is_empty());
        assert_eq!(kv.status().await.unwrap().alarms, ["NOSPACE"]);
    }
}
