//! Watches: the order of answers, ids, history, filters, fragments, and readers that are slow.

use crate::embedded::Embedded;
use crate::{client, within};
use etcd_client::{
    EventType, PutOptions, WatchFilterType, WatchOptions, WatchResponse, WatchStream,
};

/// One answer in short: `7 created`, `7 canceled`, `7: +key@revision -key@revision`.
fn short(answer: &WatchResponse) -> String {
    let mut text = answer.watch_id().to_string();
    if answer.created() {
        text += " created";
    }
    if answer.canceled() {
        text += " canceled";
    }
    if answer.compact_revision() > 0 {
        text += &format!(" compacted {}", answer.compact_revision());
    }
    if !answer.cancel_reason().is_empty() {
        text += &format!(" ({})", answer.cancel_reason());
    }
    if !answer.events().is_empty() {
        text += ":";
    }
    for event in answer.events() {
        let kv = event.kv().unwrap();
        let sign = match event.event_type() {
            EventType::Put => '+',
            EventType::Delete => '-',
        };
        text += &format!(" {sign}{}@{}", kv.key_str().unwrap(), kv.mod_revision());
        if let Some(previous) = event.prev_kv() {
            text += &format!("({})", previous.value_str().unwrap());
        }
    }
    text
}

async fn next(stream: &mut WatchStream) -> WatchResponse {
    let answer = within("a watch", stream.message()).await;
    answer.unwrap().expect("the watch goes on")
}

async fn check(stream: &mut WatchStream, wanted: &[&str]) {
    for wanted in wanted {
        assert_eq!(short(&next(stream).await), *wanted);
    }
}

#[tokio::test]
async fn a_stream_has_many_watches_and_answers_in_the_order_of_etcd() {
    let server = Embedded::start().await;
    let mut client = client(&server).await;
    client.put("a", "1", None).await.unwrap();
    client.put("a", "2", None).await.unwrap();
    client.put("b", "1", None).await.unwrap();
    let mut stream = client.watch("a", None).await.unwrap();
    check(&mut stream, &["0 created"]).await;
    let with = |options: WatchOptions| Some(options);
    stream
        .watch(
            "a",
            with(WatchOptions::new().with_watch_id(9).with_prev_key()),
        )
        .await
        .unwrap();
    stream
        .watch("a", with(WatchOptions::new().with_watch_id(9)))
        .await
        .unwrap();
    stream
        .watch("b", with(WatchOptions::new().with_range("a")))
        .await
        .unwrap();
    let history = WatchOptions::new().with_prefix().with_start_revision(2);
    stream
        .watch("", with(history.with_filters([WatchFilterType::NoDelete])))
        .await
        .unwrap();
    check(
        &mut stream,
        &[
            "9 created",
            "-1 created canceled (mvcc: duplicate watch ID provided on the WatchStream)",
            "-1 created canceled (mvcc: watcher range is empty)",
            "1 created",
            "1: +a@2 +a@3 +b@4",
        ],
    )
    .await;
    client.delete("a", None).await.unwrap();
    // Watches of one revision answer in the order in which they were found: sorted here.
    let mut answers = [
        short(&next(&mut stream).await),
        short(&next(&mut stream).await),
    ];
    answers.sort();
    assert_eq!(answers, ["0: -a@5", "9: -a@5(2)"]);
    stream.cancel(9).await.unwrap();
    stream.cancel(77).await.unwrap();
    stream.request_progress().await.unwrap();
    check(&mut stream, &["9 canceled", "-1"]).await;
    client.compact(4, None).await.unwrap();
    stream
        .watch("a", with(WatchOptions::new().with_start_revision(3)))
        .await
        .unwrap();
    check(&mut stream, &["2 created"]).await;
    let cut = next(&mut stream).await;
    assert_eq!(short(&cut), "2 canceled compacted 4");
    assert_eq!(cut.header().unwrap().revision(), 0);
    stream.cancel(2).await.unwrap();
    check(&mut stream, &["2 canceled"]).await;
}

#[tokio::test]
async fn a_watch_of_the_future_is_silent_until_then() {
    let server = Embedded::start().await;
    let mut client = client(&server).await;
    let later = WatchOptions::new().with_start_revision(4);
    let mut stream = client.watch("a", Some(later)).await.unwrap();
    check(&mut stream, &["0 created"]).await;
    for value in ["1", "2", "3"] {
        client.put("a", value, None).await.unwrap();
    }
    check(&mut stream, &["0: +a@4"]).await;
}

#[tokio::test]
async fn who_creates_a_key_has_nothing_before_it_also_where_the_same_transaction_deleted_it() {
    let server = Embedded::start().await;
    let mut client = client(&server).await;
    client.put("b", "1", None).await.unwrap();
    let wanted = WatchOptions::new().with_prev_key();
    let mut stream = client.watch("b", Some(wanted)).await.unwrap();
    check(&mut stream, &["0 created"]).await;
    // The only deletion that etcd lets a transaction write over: one to the end of all keys.
    let all = etcd_client::DeleteOptions::new().with_from_key();
    let delete = etcd_client::TxnOp::delete("a", Some(all));
    let put = etcd_client::TxnOp::put("b", "2", None);
    let txn = etcd_client::Txn::new().and_then([delete, put]);
    client.txn(txn).await.unwrap();
    check(&mut stream, &["0: -b@3(1) +b@3"]).await;
}

#[tokio::test]
async fn a_progress_answer_comes_after_all_that_is_older() {
    let server = Embedded::start().await;
    let mut client = client(&server).await;
    let mut stream = client.watch("a", None).await.unwrap();
    check(&mut stream, &["0 created"]).await;
    for _ in 0..50 {
        client.put("a", "", None).await.unwrap();
    }
    stream.request_progress().await.unwrap();
    let mut seen = 1;
    loop {
        let answer = next(&mut stream).await;
        if answer.events().is_empty() {
            let told = answer.header().unwrap().revision();
            assert!(told <= seen, "{told} was told, and events up to {seen}");
            break;
        }
        seen = answer.events().last().unwrap().kv().unwrap().mod_revision();
    }
}

#[tokio::test]
async fn a_large_revision_comes_in_fragments_where_that_was_asked_for() {
    let server = Embedded::start().await;
    let mut client = client(&server).await;
    let big = vec![7u8; 700_000];
    let ops = |names: [&str; 2]| {
        let put = |name| etcd_client::TxnOp::put(name, big.clone(), None);
        names.map(put).to_vec()
    };
    let asked = WatchOptions::new()
        .with_prefix()
        .with_prev_key()
        .with_fragment();
    let mut split = client.watch("k", Some(asked)).await.unwrap();
    check(&mut split, &["0 created"]).await;
    for _ in 0..2 {
        let txn = etcd_client::Txn::new().and_then(ops(["k1", "k2"]));
        client.txn(txn).await.unwrap();
    }
    // The second revision is 2.8 MB with its former values.
    let (mut fragments, mut events) = (0, 0);
    while events < 4 {
        let answer = next(&mut split).await;
        fragments += usize::from(answer.0.fragment);
        events += answer.events().len();
    }
    assert_eq!((fragments, events), (1, 4));
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nobody_and_misses_nothing() {
    let server = Embedded::start().await;
    let mut client = client(&server).await;
    let mut slow = client.watch("k", None).await.unwrap();
    check(&mut slow, &["0 created"]).await;
    let mut quick = client.watch("k", None).await.unwrap();
    check(&mut quick, &["0 created"]).await;
    // 40 MB: more than what a connection takes ahead.
    let value = vec![7u8; 40_000];
    for number in 0..1000 {
        client.put("k", value.clone(), None).await.unwrap();
        let answer = next(&mut quick).await;
        assert_eq!(short(&answer), format!("0: +k@{}", number + 2));
    }
    let mut wanted = 2;
    while wanted < 1002 {
        for event in next(&mut slow).await.events() {
            assert_eq!(event.kv().unwrap().mod_revision(), wanted);
            wanted += 1;
        }
    }
}

#[tokio::test]
async fn a_reader_that_lags_behind_a_compaction_is_told() {
    let server = Embedded::start().await;
    let mut client = client(&server).await;
    let mut slow = client.watch("k", None).await.unwrap();
    check(&mut slow, &["0 created"]).await;
    let value = vec![7u8; 1_000_000];
    for _ in 0..100 {
        client.put("k", value.clone(), None).await.unwrap();
    }
    client.compact(100, None).await.unwrap();
    let mut last = 1;
    loop {
        let answer = next(&mut slow).await;
        if answer.canceled() {
            assert_eq!((answer.compact_revision(), answer.events().len()), (100, 0));
            break;
        }
        for event in answer.events() {
            last += 1;
            assert_eq!(event.kv().unwrap().mod_revision(), last);
        }
    }
    assert!(last < 100, "all was told before the compaction");
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let server = Embedded::start().await;
    let mut client = client(&server).await;
    let mut stream = client.watch("k", None).await.unwrap();
    check(&mut stream, &["0 created"]).await;
    client.put("k", "1", Some(PutOptions::new())).await.unwrap();
    check(&mut stream, &["0: +k@2"]).await;
    let _next = within("the end", server.restarted(Default::default())).await;
    let over = within("the end of the stream", stream.message()).await;
    assert!(!matches!(over, Ok(Some(_))), "{over:?}");
}
