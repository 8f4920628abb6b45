//! Every example in `manifests/` is accepted by a manager.

use crate::world::World;
use skep::api::manifest::parse_documents;
use skep::api::name::Kind;
use std::path::Path;

#[tokio::test(start_paused = true)]
async fn every_example_comes_into_force() {
    let world = World::start(1).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let mut objects = Vec::new();
    for folder in [root.clone(), root.join("tour")] {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("a file").path();
            if path.is_dir() {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("text");
            for manifest in parse_documents(&text, &path.display().to_string()) {
                let manifest = manifest.unwrap_or_else(|problems| panic!("{problems:?}"));
                // The node of the same name is the world's own.
                if manifest.key.to_string() == "nodes/n1" {
                    world.put("nodes/n9", &manifest.text.replace("name: n1", "name: n9"));
                    continue;
                }
                world.put(&manifest.key.to_string(), &manifest.text);
                objects.push(manifest.key);
            }
        }
    }
    assert!(objects.len() > 10, "{objects:?}");
    world
        .until("all examples are in force", |cache| {
            objects.iter().all(|key| match key.kind {
                Kind::Service => cache.services.contains_key(&key.scoped()),
                Kind::Network => cache.networks.contains_key(&key.scoped()),
                Kind::Node => cache.nodes.contains_key(&key.node_name()),
            }) && cache.nodes.keys().any(|name| name.to_string() == "n9")
        })
        .await;
}
