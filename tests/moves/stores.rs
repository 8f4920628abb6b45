//! `copy`, there and back, over each kind of store.

use crate::embedded::Embedded;
use crate::support::etcd::{Etcd as Server, series};
use crate::world::{CONTENT, Stores, cluster, cluster_of, content, expected, fill};
use skep::api::cluster::Held;
use skep::api::unit::{Incarnation, LeaseId};
use skep::embedded::local::Local;
use skep::embedded::memory::Memory;
use skep::embedded::store::{Options, Store};
use skep::store::config::StoreConfig;
use skep::store::etcd::Etcd;
use skep::store::{Kv, Op, Txn};
use std::sync::Arc;
use std::time::Duration;

/// All is there, in a later life, and what runs is to be adopted.
async fn arrived(kv: &dyn Kv, life: u64) {
    assert_eq!(content(kv).await, expected());
    let record = cluster_of(kv).await;
    assert_eq!(record.incarnation, Incarnation(life));
    assert!(record.adopting_since.is_some() && record.held.is_none());
}

async fn left(kv: &dyn Kv, to: &str) {
    let held = cluster_of(kv).await.held;
    assert_eq!(held, Some(Held::MovedTo(to.to_owned())));
}

/// There and back; `at` is where the other store is, `kv` how to look into it.
async fn there_and_back(at: &str, kv: &dyn Kv) {
    println!("{at}");
    let source = cluster();
    let stores = Stores::default().with("mem:1", source.clone());
    let said = stores.ok(&["copy", "--from", "mem:1", "--to", at]).await;
    assert!(said.out.contains("its life 3 begins"), "{said:?}");
    assert!(said.err.contains("--name m1"), "{said:?}");
    arrived(kv, 3).await;
    left(&source, at).await;
    stores.ok(&["copy", "--from", at, "--to", "mem:1"]).await;
    arrived(&source, 4).await;
    left(kv, "http://mem:1").await;
}

#[tokio::test]
async fn a_cluster_moves_to_every_kind_of_store_and_back() {
    let other = Memory::new();
    let stores = Stores::default()
        .with("mem:1", cluster())
        .with("mem:2", other.clone());
    stores
        .ok(&["copy", "--from", "mem:1", "--to", "mem:2"])
        .await;
    arrived(&other, 3).await;

    let embedded = Embedded::start().await;
    let at = format!("http://{}", embedded.address);
    there_and_back(&at, &Local::new(embedded.store.clone())).await;
    for name in series() {
        let server = Server::of(name, &[]).await;
        let at = format!("http://{}", server.endpoint());
        let client = Etcd::new(&StoreConfig::plain(&server.endpoint())).unwrap();
        there_and_back(&at, &client).await;
    }
}

#[tokio::test]
async fn a_directory_is_a_store_too_as_source_and_as_target() {
    let home = tempfile::tempdir().unwrap();
    let at = home.path().join("skep").display().to_string();
    let memory = cluster();
    let stores = Stores::default().with("mem:1", memory.clone());
    stores.ok(&["copy", "--from", "mem:1", "--to", &at]).await;
    {
        let path = home.path().join("skep/store");
        let (store, _) = Store::open(&path, Options::default()).unwrap();
        arrived(&Local::new(store.clone()), 3).await;
        // The directory is in use.
        let why = stores
            .refused(&["copy", "--from", &at, "--to", "mem:1"])
            .await;
        assert!(why.contains(&std::process::id().to_string()), "{why}");
        store.stop().await;
    }
    stores.ok(&["copy", "--from", &at, "--to", "mem:1"]).await;
    arrived(&memory, 4).await;
    let missing = home.path().join("none").display().to_string();
    let why = stores
        .refused(&["copy", "--from", &missing, "--to", "mem:1"])
        .await;
    assert!(why.contains("no embedded store"), "{why}");
    assert!(!home.path().join("none").exists());
}

#[tokio::test]
async fn a_large_store_goes_in_fenced_batches_and_is_read_back() {
    let source = cluster();
    for number in 0..5_000 {
        source.put(&format!("/skep/something/{number:05}"), "x".repeat(700));
    }
    source.put("/skep/something/large", "y".repeat(500 * 1024));
    let server = Server::start().await;
    let at = format!("http://{}", server.endpoint());
    let stores = Stores::default().with("mem:1", source.clone());
    let said = stores.ok(&["copy", "--from", "mem:1", "--to", &at]).await;
    let keys = 5_001 + CONTENT.len();
    assert!(said.out.contains(&format!("{keys} keys")), "{said:?}");
    assert!(
        said.err.contains(&format!("2000 of {keys} keys written")),
        "{said:?}"
    );
    let client = Etcd::new(&StoreConfig::plain(&server.endpoint())).unwrap();
    assert_eq!(content(&client).await, content(&source).await);
}

#[tokio::test]
async fn each_side_is_told_who_we_are_by_flags_of_its_own() {
    let server = Server::with_tls(series()[0]).await;
    let at = server.endpoint();
    let files = server.client_files().unwrap();
    let (ca, cert, key) = (text(&files.ca), text(&files.cert), text(&files.key));
    let source = cluster();
    let stores = Stores::default().with("mem:1", source.clone());
    let plain = ["copy", "--from", "mem:1", "--to", &at];
    let why = stores.refused(&plain).await;
    assert!(why.contains("needs --to-cacert"), "{why}");
    assert_eq!(cluster_of(&source).await.held, None);
    let own = ["--to-cacert", &ca, "--to-cert", &cert, "--to-key", &key];
    let there: Vec<&str> = plain.into_iter().chain(own).collect();
    stores.ok(&there).await;
    let own = ["--cacert", &ca, "--cert", &cert, "--key", &key];
    let home = tempfile::tempdir().unwrap();
    let home = text(&home.path().join("skep"));
    let down = ["copy", "--from", &at, "--to", &home];
    stores
        .ok(&down.into_iter().chain(own).collect::<Vec<_>>())
        .await;
    // The source is a directory: the flags without a prefix can only mean the target.
    let up = ["copy", "--from", &home, "--to", &at];
    stores
        .ok(&up.into_iter().chain(own).collect::<Vec<_>>())
        .await;
    let back = ["copy", "--from", &at, "--to", "mem:1"];
    stores
        .ok(&back.into_iter().chain(own).collect::<Vec<_>>())
        .await;
    arrived(&source, 6).await;
}

fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn an_interrupted_copy_is_repeated_and_goes_on() {
    let (source, target) = (cluster(), Memory::new());
    let stores = Stores::default()
        .with("mem:1", source.clone())
        .with("mem:2", target.clone());
    stores
        .ok(&["copy", "--from", "mem:1", "--to", "mem:2"])
        .await;
    // As it is when the process was killed between the claim and the last key.
    let record = r#"{"id":"0000000000000000000000001","incarnation":2,"format":1,"held":{"filledFrom":"http://mem:1"}}"#;
    target.put("/skep/cluster", record);
    target.delete("/skep/nodes/n1");
    target.put("/skep/bindings/n1/0000000000000000000000abc", "old");
    target.put("/skep/bindings/n1/0000000000000000000000xyz", "surplus");
    let said = stores
        .ok(&["copy", "--from", "mem:1", "--to", "mem:2"])
        .await;
    assert!(
        said.out.contains("2 of them written now") || said.out.contains("3 of them"),
        "{said:?}"
    );
    arrived(&target, 3).await;
    let before = target.revision();
    let said = stores
        .ok(&["copy", "--from", "mem:1", "--to", "mem:2"])
        .await;
    assert!(said.out.contains("is in http://mem:2 already"), "{said:?}");
    assert_eq!(target.revision(), before);
}

#[tokio::test]
async fn rights_stay_and_what_had_a_lease_goes_without() {
    let (source, target) = (Memory::new(), Memory::new());
    fill(&source);
    let lease = source.grant(Duration::from_secs(600)).await.unwrap().id;
    leased(&source, "/skep/services/default/short", "{}", lease).await;
    let stores = Stores::default()
        .with("mem:1", source.clone())
        .with("mem:2", target.clone());
    let said = stores
        .ok(&["copy", "--from", "mem:1", "--to", "mem:2"])
        .await;
    assert!(
        said.err
            .contains("services/default/short went with a lease"),
        "{said:?}"
    );
    let kv = target.get("/skep/services/default/short").unwrap();
    assert_eq!(kv.lease, LeaseId(0));
}

pub(crate) async fn leased(store: &Memory, key: &str, value: &str, lease: LeaseId) {
    let put = Op::Put {
        key: key.into(),
        value: value.into(),
        lease: Some(lease),
    };
    let txn = Txn {
        then: vec![put],
        ..Txn::default()
    };
    let kv: Arc<dyn Kv> = Arc::new(store.clone());
    kv.txn(&txn).await.unwrap();
}
