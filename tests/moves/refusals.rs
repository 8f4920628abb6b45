//! What a copy refuses, and how managers are kept away.

use crate::stores::leased;
use crate::world::{ID, Stores, cluster, cluster_of, content, expected, record};
use skep::api::cluster::Held;
use skep::api::unit::Incarnation;
use skep::embedded::memory::Memory;
use skep::store::Kv;
use std::time::Duration;

const COPY: [&str; 5] = ["copy", "--from", "mem:1", "--to", "mem:2"];

fn stores(source: &Memory, target: &Memory) -> Stores {
    Stores::default()
        .with("mem:1", source.clone())
        .with("mem:2", target.clone())
}

fn with<'a>(words: &[&'a str], flag: &'a str) -> Vec<&'a str> {
    words.iter().copied().chain([flag]).collect()
}

#[tokio::test]
async fn a_target_that_holds_something_is_refused_until_a_flag_says_otherwise() {
    let other = record(7).replace(ID, "0000000000000000000000002");
    for (key, value, expected_word) in [
        ("/skep/other/key", "x", "a key and no"),
        ("/skep/cluster", other.as_str(), "another cluster"),
        ("/skep/cluster", record(1).as_str(), "this cluster"),
    ] {
        let (source, target) = (cluster(), Memory::new());
        target.put(key, value);
        let stores = stores(&source, &target);
        let why = stores.refused(&COPY).await;
        assert!(why.contains(expected_word), "{why}");
        assert!(why.contains("--overwrite"), "{why}");
        assert_eq!(cluster_of(&source).await.held, None, "nothing was touched");
        stores.ok(&with(&COPY, "--overwrite")).await;
        assert_eq!(content(&target).await, expected());
        assert_eq!(cluster_of(&target).await.incarnation, Incarnation(3));
    }
}

#[tokio::test]
async fn keys_beside_the_prefix_are_nobodys_business() {
    let (source, target) = (cluster(), Memory::new());
    target.put("/other/key", "x");
    stores(&source, &target).ok(&COPY).await;
    assert!(target.get("/other/key").is_some());
}

#[tokio::test]
async fn a_source_without_a_cluster_and_the_same_store_twice_are_refused() {
    let (source, target) = (Memory::new(), Memory::new());
    let stores = stores(&source, &target);
    assert!(stores.refused(&COPY).await.contains("no cluster"));
    let same = ["copy", "--from", "mem:1", "--to", "http://mem:1"];
    assert!(stores.refused(&same).await.contains("same store"));
    source.put("/skep/cluster", record(1).replace(":1}", ":99}").as_str());
    assert!(stores.refused(&COPY).await.contains("format 99"));
}

#[tokio::test(start_paused = true)]
async fn managers_that_work_there_are_named_and_ended_only_when_told_so() {
    let (source, target) = (cluster(), Memory::new());
    let lease = source.grant(Duration::from_secs(5)).await.unwrap().id;
    let holder = r#"{"manager":"m1","since":"2026-01-02T03:04:05.000Z"}"#;
    leased(
        &source,
        "/skep/election/service/00000000000004d2",
        holder,
        lease,
    )
    .await;
    let stores = stores(&source, &target);
    let why = stores.refused(&COPY).await;
    assert!(why.contains("managers work on http://mem:1: m1"), "{why}");
    assert!(why.contains("--stop-managers"), "{why}");
    assert_eq!(cluster_of(&source).await.held, None);
    let said = stores.ok(&with(&COPY, "--stop-managers")).await;
    assert!(said.err.contains("manager m1"), "{said:?}");
    assert!(
        source
            .get("/skep/election/service/00000000000004d2")
            .is_none()
    );
    assert_eq!(content(&target).await, expected());
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_does_not_end_leaves_everything_as_it_was() {
    let (source, target) = (cluster(), Memory::new());
    // A process that claims its right anew, and again.
    let clinging = {
        let source = source.clone();
        tokio::spawn(async move {
            let holder = r#"{"manager":"m1","since":"2026-01-02T03:04:05.000Z"}"#;
            loop {
                source.put("/skep/election/service/00000000000004d2", holder);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    };
    tokio::task::yield_now().await;
    let why = stores(&source, &target)
        .refused(&with(&COPY, "--stop-managers"))
        .await;
    clinging.abort();
    assert!(
        why.contains("still work on http://mem:1") && why.contains("m1"),
        "{why}"
    );
    assert!(why.contains("as it was"), "{why}");
    assert_eq!(cluster_of(&source).await.held, None);
    assert_eq!(content(&target).await, []);
}

#[tokio::test]
async fn a_store_that_was_left_is_no_source_until_it_is_released() {
    let (source, target) = (cluster(), Memory::new());
    let stores = stores(&source, &target).with("mem:3", Memory::new());
    stores.ok(&COPY).await;
    let again = ["copy", "--from", "mem:1", "--to", "mem:3"];
    let why = stores.refused(&again).await;
    assert!(why.contains("moved to http://mem:2"), "{why}");
    let release = ["release", "--from", "mem:1"];
    assert!(stores.refused(&release).await.contains("--yes"));
    stores.ok(&with(&release, "--yes")).await;
    let record = cluster_of(&source).await;
    assert_eq!(record.incarnation, Incarnation(3));
    assert!(record.held.is_none() && record.adopting_since.is_some());
    assert!(
        stores
            .refused(&with(&release, "--yes"))
            .await
            .contains("is not left")
    );
    stores.ok(&again).await;
}

#[tokio::test]
async fn a_target_that_fails_under_way_leaves_the_source_to_its_managers() {
    let (source, target) = (cluster(), Memory::new());
    let stores = stores(&source, &target);
    target.set_reachable(false);
    let said = stores.run(&COPY).await;
    assert_eq!(said.code, 3, "{said:?}");
    assert_eq!(cluster_of(&source).await.held, None);
    target.set_reachable(true);
    // The claim itself is lost on its way: nobody knows whether it holds.
    target.fail_next(skep::embedded::fault::Fault::Committed);
    let said = stores.run(&COPY).await;
    assert!(said.err.contains("stays marked as moved"), "{said:?}");
    let held = cluster_of(&target).await.held;
    assert_eq!(held, Some(Held::FilledFrom("http://mem:1".into())));
    stores.ok(&COPY).await;
    assert_eq!(content(&target).await, expected());
}
