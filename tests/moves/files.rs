//! `export` and `import`, `backup` and `restore`, without an engine.

use crate::embedded::Embedded;
use crate::support::etcd::Etcd as Server;
use crate::support::wait::until;
use crate::world::{ID, Stores, cluster, cluster_of, content, fill, record};
use skep::api::unit::Incarnation;
use skep::embedded::local::Local;
use skep::embedded::memory::Memory;
use skep::embedded::store::{OpenError, Options, Store};
use std::path::Path;
use std::time::Duration;

/// What users wrote of the world's cluster.
const WRITTEN: [&str; 3] = [
    "/skep/nodes/n1",
    "/skep/scale/default/web",
    "/skep/services/default/web",
];

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn an_export_fills_a_new_store_with_what_users_wrote_and_the_next_life() {
    let folder = tempfile::tempdir().unwrap();
    for output in [text(&folder.path().join("all.yaml")), text(folder.path())] {
        let new = Memory::new();
        let stores = Stores::default()
            .with("mem:1", cluster())
            .with("mem:2", new.clone());
        stores
            .ok(&["export", "--from", "mem:1", "-o", &output])
            .await;
        stores.ok(&["import", "-f", &output, "--to", "mem:2"]).await;
        let keys: Vec<String> = content(&new)
            .await
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        assert_eq!(keys, WRITTEN);
        let record = cluster_of(&new).await;
        assert_eq!(
            (record.id.as_str(), record.incarnation),
            (ID, Incarnation(3))
        );
        assert!(record.adopting_since.is_some());
        assert_eq!(new.get("/skep/scale/default/web").unwrap().value, b"3");
        let web = String::from_utf8(new.get("/skep/services/default/web").unwrap().value).unwrap();
        assert!(web.contains("  # mine\n  replicas: 2\n"), "{web}");
        // What was imported is exported byte for byte from then on.
        let again = stores.ok(&["export", "--from", "mem:2"]).await.out;
        assert!(again.contains(&web), "{again}");
        let why = stores
            .refused(&["import", "-f", &output, "--to", "mem:2"])
            .await;
        assert!(why.contains("skep apply -f"), "{why}");
        std::fs::remove_file(folder.path().join("all.yaml")).unwrap_or_default();
    }
}

#[tokio::test]
async fn apply_takes_an_export_and_finds_nothing_to_change() {
    let folder = tempfile::tempdir().unwrap();
    let output = text(&folder.path().join("all.yaml"));
    let stores = Stores::default().with("mem:1", cluster());
    stores
        .ok(&["export", "--from", "mem:1", "-o", &output])
        .await;
    let exported = std::fs::read_to_string(&output).unwrap();
    let read = skep::api::manifest::parse_documents(&exported, "all.yaml");
    let keys: Vec<String> = read
        .into_iter()
        .map(|it| it.unwrap().key.to_string())
        .collect();
    assert_eq!(keys, ["nodes/n1", "services/default/web"]);
}

#[tokio::test]
async fn what_cannot_be_exported_is_said_and_the_rest_is_written() {
    let store = cluster();
    store.put("/skep/services/default/bad", "replicas: [");
    let said = Stores::default()
        .with("mem:1", store)
        .run(&["export", "--from", "mem:1"])
        .await;
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("not exported: service default/bad"),
        "{said:?}"
    );
    assert!(said.out.contains("kind: Node"), "{said:?}");
}

/// An embedded store in a data directory, with the world's cluster.
async fn directory(path: &Path) {
    let memory = Memory::new();
    fill(&memory);
    let stores = Stores::default().with("mem:1", memory);
    stores
        .ok(&["copy", "--from", "mem:1", "--to", &text(path)])
        .await;
}

async fn look<T>(path: &Path, look: impl AsyncFnOnce(Local) -> T) -> T {
    // A program that another test starts holds copies of all open files, locks with them, until it is loaded.
    let store = until(
        Duration::from_secs(5),
        "the store is let go",
        async || match Store::open(&path.join("store"), Options::default()) {
            Err(OpenError::Journal(error)) if error.is_retryable() => None,
            opened => Some(opened.unwrap().0),
        },
    )
    .await;
    let seen = look(Local::new(store.clone())).await;
    store.stop().await;
    seen
}

#[tokio::test]
async fn a_restore_names_what_changes_touches_nothing_unasked_and_keeps_what_was() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("skep");
    directory(&home).await;
    let file = text(&folder.path().join("backup"));
    let stores = Stores::default();
    stores.ok(&["backup", &file, "--from", &text(&home)]).await;
    look(&home, async |kv| {
        let put = skep::store::Op::Put {
            key: "/skep/services/default/later".into(),
            value: b"{template: {container: 'a:1'}}".to_vec(),
            lease: None,
        };
        let txn = skep::store::Txn {
            then: vec![put],
            ..Default::default()
        };
        skep::store::Kv::txn(&kv, &txn).await.unwrap();
    })
    .await;
    let restore = ["restore", &file, "--data-dir", &text(&home)];
    let said = stores.run(&restore).await;
    assert_eq!(said.code, 2, "nobody can be asked: {said:?}");
    assert!(
        said.out.contains("- service default/later goes"),
        "{said:?}"
    );
    let there = look(&home, async |kv| content(&kv).await).await;
    assert_eq!(
        there.len(),
        crate::world::CONTENT.len() + 1,
        "nothing was touched"
    );

    let yes: Vec<&str> = restore.into_iter().chain(["--yes"]).collect();
    let said = stores.ok(&yes).await;
    assert!(said.err.contains("what was there is in"), "{said:?}");
    let (there, record) = look(&home, async |kv| {
        (content(&kv).await, cluster_of(&kv).await)
    })
    .await;
    assert_eq!(there, crate::world::expected());
    assert_eq!(record.incarnation, Incarnation(4), "the copy began life 3");
    assert!(record.adopting_since.is_some());
    let names = std::fs::read_dir(&home).unwrap();
    let kept = names.filter_map(Result::ok).filter(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with("store.before-")
    });
    assert_eq!(kept.count(), 1);
}

#[tokio::test]
async fn a_restore_makes_a_store_where_there_is_none_and_replaces_a_damaged_one() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::start().await;
    let at = format!("http://{}", embedded.address);
    let memory = cluster();
    let stores = Stores::default().with("mem:1", memory);
    stores.ok(&["copy", "--from", "mem:1", "--to", &at]).await;
    let file = text(&folder.path().join("backup"));
    stores.ok(&["backup", &file, "--from", &at]).await;
    let home = folder.path().join("skep");
    let restore = ["restore", &file, "--yes", "--data-dir", &text(&home)];
    let said = stores.ok(&restore).await;
    assert!(
        said.out.contains("+ service default/web comes back"),
        "{said:?}"
    );
    let there = look(&home, async |kv| content(&kv).await).await;
    assert_eq!(there, crate::world::expected());
    for entry in std::fs::read_dir(home.join("store")).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("snapshot-")
        {
            std::fs::write(&path, "nonsense").unwrap();
        }
    }
    let said = stores.ok(&restore).await;
    assert!(said.err.contains("cannot be read"), "{said:?}");
    let there = look(&home, async |kv| content(&kv).await).await;
    assert_eq!(there, crate::world::expected());
}

#[tokio::test]
async fn files_that_are_no_backup_of_ours_are_refused_and_etcds_own_is_saved_for_etcd() {
    let folder = tempfile::tempdir().unwrap();
    let home = text(&folder.path().join("skep"));
    let file = folder.path().join("backup");
    let stores = Stores::default();
    std::fs::write(&file, "nonsense").unwrap();
    let restore = ["restore", &text(&file), "--yes", "--data-dir", &home];
    assert!(
        stores
            .refused(&restore)
            .await
            .contains("no snapshot of skep's")
    );
    let server = Server::start().await;
    server.ctl(&["put", "/skep/cluster", &record(1)]).await;
    let at = format!("http://{}", server.endpoint());
    let said = stores.ok(&["backup", &text(&file), "--from", &at]).await;
    assert!(said.err.contains("etcdctl snapshot restore"), "{said:?}");
    let why = stores.refused(&restore).await;
    assert!(
        why.contains("etcd's own") && why.contains("skep store copy"),
        "{why}"
    );
    assert!(!Path::new(&home).exists(), "nothing was touched");
    let mut server = server;
    server.restore(&file).await;
    assert_eq!(server.get("/skep/cluster").await, Some(record(1)));
}
