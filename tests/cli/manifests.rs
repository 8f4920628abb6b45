//! Every example in `manifests/`, through the command line: applied, shown, applied again.

use crate::world::World;
use std::path::{Path, PathBuf};

fn manifests() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let mut found = Vec::new();
    for folder in [root.clone(), root.join("tour")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.extend(path.extension().is_some().then_some(path));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn what_get_shows_of_every_example_can_be_applied_and_writes_nothing() {
    let files = manifests();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let world = World::new();
        let file = file.display();
        let out = world.ok(&format!("apply -f {file} -o name")).await;
        let revision = world.revision();
        for key in out.lines() {
            let parts: Vec<&str> = key.split('/').collect();
            let namespace = match parts.as_slice() {
                [_, namespace, _] => namespace,
                _ => "default",
            };
            let (kind, name) = (parts[0], parts[parts.len() - 1]);
            for format in ["yaml", "json"] {
                let shown = world
                    .ok(&format!("get {kind} {name} -n {namespace} -o {format}"))
                    .await;
                let said = world.skep_with("apply -f -", &shown).await;
                assert!(
                    said.out.ends_with(" unchanged\n"),
                    "{file} {key} as {format}: {}{}",
                    said.out,
                    said.err
                );
            }
        }
        for format in ["yaml", "json"] {
            let all = world
                .ok(&format!("get services,nodes,networks -A -o {format}"))
                .await;
            let said = world.skep_with("diff -f -", &all).await;
            assert_eq!(
                (said.code, said.out.as_str()),
                (0, ""),
                "{file}: {}",
                said.err
            );
        }
        assert_eq!(world.revision(), revision, "{file}: nothing was written");
    }
}
