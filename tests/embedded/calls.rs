//! Calls, their limits, and what is said when one is refused.

use crate::embedded::Embedded;
use crate::{client, said};
use etcd_client::{
    AlarmAction, AlarmType, GetOptions, LeaseGrantOptions, LeaseTimeToLiveOptions, PutOptions,
    SortOrder, SortTarget, Txn, TxnOp,
};
use skep::embedded::backup::Backup;
use skep::embedded::mvcc::{Mvcc, Query, Span};
use skep::embedded::store::Options;
use std::time::Duration;

#[tokio::test]
async fn refusals_have_the_codes_and_the_words_of_etcd() {
    let server = Embedded::start().await;
    let mut client = client(&server).await;
    client.put("a", "1", None).await.unwrap();
    client.put("a", "2", None).await.unwrap();
    client.compact(3, None).await.unwrap();
    let at = |revision| Some(GetOptions::new().with_revision(revision));
    let lease = |id| Some(PutOptions::new().with_lease(id));
    let twice = Txn::new().and_then(vec![TxnOp::put("a", "", None), TxnOp::put("a", "", None)]);
    let many = Txn::new().and_then(vec![TxnOp::get("a", None); 129]);
    let ignores = Some(PutOptions::new().with_ignore_value());
    let grant = |id| Some(LeaseGrantOptions::new().with_id(id));
    client.lease_grant(60, grant(7)).await.unwrap();
    let wanted = [
        (
            said(client.put("", "", None).await),
            "InvalidArgument: etcdserver: key is not provided",
        ),
        (
            said(client.get("", None).await),
            "InvalidArgument: etcdserver: key is not provided",
        ),
        (
            // Its shape is looked at before its revision.
            said(client.get("", at(9)).await),
            "InvalidArgument: etcdserver: key is not provided",
        ),
        (
            said(client.get("a", at(2)).await),
            "OutOfRange: etcdserver: mvcc: required revision has been compacted",
        ),
        (
            said(client.get("a", at(9)).await),
            "OutOfRange: etcdserver: mvcc: required revision is a future revision",
        ),
        (
            said(client.compact(3, None).await),
            "OutOfRange: etcdserver: mvcc: required revision has been compacted",
        ),
        (
            said(client.put("a", "", lease(5)).await),
            "NotFound: etcdserver: requested lease not found",
        ),
        (
            // A lone write looks for its lease before its key.
            said(
                client
                    .put("new", "", lease(5).map(PutOptions::with_ignore_value))
                    .await,
            ),
            "NotFound: etcdserver: requested lease not found",
        ),
        (
            said(client.lease_revoke(5).await),
            "NotFound: etcdserver: requested lease not found",
        ),
        (
            said(client.lease_grant(60, grant(7)).await),
            "FailedPrecondition: etcdserver: lease already exists",
        ),
        (
            said(client.lease_grant(9_000_000_001, None).await),
            "OutOfRange: etcdserver: too large lease TTL",
        ),
        (
            said(client.txn(twice).await),
            "InvalidArgument: etcdserver: duplicate key given in txn request",
        ),
        (
            said(client.txn(many).await),
            "InvalidArgument: etcdserver: too many operations in txn request",
        ),
        (
            said(client.put("new", "", ignores).await),
            "InvalidArgument: etcdserver: key not found",
        ),
        (
            said(client.put("a", vec![0; 1024 * 1600], None).await),
            "InvalidArgument: etcdserver: request is too large",
        ),
    ];
    for (said, wanted) in wanted {
        assert_eq!(said, wanted);
    }
    // What is malformed and too large is malformed in the first place.
    assert_eq!(
        said(client.put("", vec![0; 1024 * 1600], None).await),
        "InvalidArgument: etcdserver: key is not provided"
    );
    let huge = said(client.put("a", vec![0; 3_000_000], None).await);
    let (front, back) = (
        "ResourceExhausted: grpc: received message larger than max (30000",
        " vs. 2097152)",
    );
    assert!(huge.starts_with(front) && huge.ends_with(back), "{huge}");
}

#[tokio::test]
async fn what_is_not_there_says_so_and_what_to_do_instead() {
    let server = Embedded::start().await;
    let mut client = client(&server).await;
    let check = |said: String, word: &str| {
        assert!(
            said.starts_with("Unimplemented: the embedded store has no "),
            "{said}"
        );
        assert!(said.contains(word), "{said}");
    };
    check(
        said(client.member_add(["http://127.0.0.1:1"], None).await),
        "skep store copy",
    );
    check(said(client.move_leader(1).await), "always leads");
    check(
        said(client.user_add("me", "secret", None).await),
        "client certificates",
    );
    check(said(client.lock("name", None).await), "keys and leases");
    let options = etcd_client::ConnectOptions::new().with_user("root", "secret");
    let address = server.address.to_string();
    let refused = said(
        etcd_client::Client::connect([address], Some(options))
            .await
            .map(|_| ()),
    );
    assert_eq!(
        refused,
        "FailedPrecondition: etcdserver: authentication is not enabled"
    );
}

#[tokio::test]
async fn ranges_are_sorted_counted_and_bounded() {
    let server = Embedded::start().await;
    let mut client = client(&server).await;
    for (key, value) in [("a", "3"), ("b", "1"), ("c", "2"), ("a", "0")] {
        client.put(key, value, None).await.unwrap();
    }
    let mut get = async |options: GetOptions| {
        let found = client.get("", Some(options)).await.unwrap();
        let keys: Vec<_> = found
            .kvs()
            .iter()
            .map(|kv| kv.key_str().unwrap().to_owned())
            .collect();
        format!("{} {} {}", keys.join(""), found.count(), found.more())
    };
    let all = || GetOptions::new().with_all_keys();
    assert_eq!(get(all()).await, "abc 3 false");
    assert_eq!(get(all().with_limit(2)).await, "ab 3 true");
    assert_eq!(get(all().with_count_only()).await, " 3 false");
    assert_eq!(
        get(all().with_sort(SortTarget::Value, SortOrder::Descend)).await,
        "cba 3 false"
    );
    assert_eq!(
        get(all().with_sort(SortTarget::Mod, SortOrder::Ascend)).await,
        "bca 3 false"
    );
    assert_eq!(get(all().with_min_mod_revision(4)).await, "ac 3 false");
    assert_eq!(get(all().with_max_create_revision(3)).await, "ab 3 false");
    assert_eq!(get(all().with_revision(3)).await, "ab 2 false");
}

#[tokio::test]
async fn a_full_store_reads_and_deletes_until_it_has_room_and_its_alarm_is_taken_back() {
    let options = Options {
        quota: 100_000,
        ..Options::default()
    };
    let server = Embedded::start_with(options.clone()).await;
    let mut client = client(&server).await;
    let full = "ResourceExhausted: etcdserver: mvcc: database space exceeded";
    client.put("big", vec![0; 60_000], None).await.unwrap();
    assert_eq!(said(client.put("more", vec![0; 60_000], None).await), full);
    let alarms = client
        .alarm(AlarmAction::Get, AlarmType::None, None)
        .await
        .unwrap();
    assert_eq!(alarms.alarms().len(), 1);
    // The alarm holds for small ones too, and over a restart.
    let server = server.restarted(options).await;
    let mut client = crate::client(&server).await;
    assert_eq!(said(client.put("small", "", None).await), full);
    assert_eq!(said(client.lease_grant(60, None).await), full);
    let both = Txn::new().or_else(vec![TxnOp::put("a", "", None)]);
    assert_eq!(said(client.txn(both).await), full);
    assert_eq!(client.get("big", None).await.unwrap().count(), 1);
    let deleted = client.delete("big", None).await.unwrap();
    let revision = deleted.header().unwrap().revision();
    client.compact(revision, None).await.unwrap();
    client.defragment().await.unwrap();
    // An alarm belongs to a member.
    let member = client.status().await.unwrap().leader();
    let mut of = etcd_client::AlarmOptions::new();
    of.with_member(member);
    client
        .alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(of))
        .await
        .unwrap();
    client.put("more", vec![0; 60_000], None).await.unwrap();
    assert!(client.status().await.unwrap().db_size() < 100_000);
}

#[tokio::test]
async fn a_hash_tells_the_last_compaction_also_one_at_nothing() {
    let server = Embedded::start().await;
    let mut client = client(&server).await;
    let mut told = async || client.hash_kv(0).await.unwrap().compact_version();
    assert_eq!(told().await, -1);
    server.store.compact(0).await.unwrap();
    assert_eq!(told().await, 0);
}

#[tokio::test]
async fn leases_are_listed_by_what_is_left_and_take_their_keys_along() {
    let server = Embedded::start().await;
    let mut client = client(&server).await;
    let mut ids = Vec::new();
    for ttl in [600, 60, 6000] {
        let granted = client.lease_grant(ttl, None).await.unwrap();
        assert_eq!(granted.ttl(), ttl);
        ids.push(granted.id());
    }
    let listed = client.leases().await.unwrap();
    let listed: Vec<i64> = listed.leases().iter().map(|lease| lease.id()).collect();
    assert_eq!(listed, [ids[1], ids[0], ids[2]]);
    for key in ["b", "a"] {
        let leased = PutOptions::new().with_lease(ids[0]);
        client.put(key, "", Some(leased)).await.unwrap();
    }
    let keys = LeaseTimeToLiveOptions::new().with_keys();
    let left = client.lease_time_to_live(ids[0], Some(keys)).await.unwrap();
    assert_eq!(left.keys(), [b"a", b"b"]);
    assert_eq!((left.granted_ttl(), left.ttl() <= 600), (600, true));
    client.lease_revoke(ids[0]).await.unwrap();
    assert_eq!(client.get("a", None).await.unwrap().count(), 0);
    let gone = client.lease_time_to_live(ids[0], None).await.unwrap();
    assert_eq!(gone.ttl(), -1);
    let (mut keeper, mut renewals) = client.lease_keep_alive(ids[1]).await.unwrap();
    keeper.keep_alive().await.unwrap();
    assert_eq!(renewals.message().await.unwrap().unwrap().ttl(), 60);
}

#[tokio::test]
async fn leases_end_in_time_and_watchers_see_it() {
    let server = Embedded::start().await;
    let mut client = client(&server).await;
    let lease = client.lease_grant(2, None).await.unwrap().id();
    let leased = PutOptions::new().with_lease(lease);
    client.put("mine", "", Some(leased)).await.unwrap();
    let mut watch = client.watch("mine", None).await.unwrap();
    let told = crate::within("the end of the lease", async {
        loop {
            let answer = watch.message().await.unwrap().unwrap();
            if let Some(event) = answer.events().first() {
                return event.event_type();
            }
        }
    });
    assert_eq!(told.await, etcd_client::EventType::Delete);
}

#[tokio::test]
async fn a_snapshot_has_the_whole_store() {
    let server = Embedded::start().await;
    let mut client = client(&server).await;
    for number in 0..200 {
        client
            .put(format!("k{number}"), vec![7; 1000], None)
            .await
            .unwrap();
    }
    let mut stream = client.snapshot().await.unwrap();
    let (mut bytes, mut last) = (Vec::new(), u64::MAX);
    while let Some(answer) = stream.message().await.unwrap() {
        assert!(answer.blob().len() <= 32 * 1024 && answer.remaining_bytes() <= last);
        last = answer.remaining_bytes();
        bytes.extend_from_slice(answer.blob());
    }
    assert_eq!(last, 0);
    let backup = Backup::from_bytes(&bytes).unwrap();
    assert_eq!(backup.revision, 201);
    let mut store = Mvcc::new();
    for change in backup.changes {
        store.replay(change, Duration::ZERO).unwrap();
    }
    let found = store.range(&Query::now(Span::all())).unwrap();
    assert_eq!(found.count, 200);
    let hash = client.hash_kv(0).await.unwrap().hash();
    assert_eq!(hash, store.hash(0).unwrap());
}
