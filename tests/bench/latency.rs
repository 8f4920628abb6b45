//! From the acknowledged put of a service to the create call that reaches its engine, beside single puts to the same etcd.
//!
//! What lies between: two commits (what is accepted and wanted, and where), three watches, three plans.

use crate::report::{Aim, Report, Samples, instant};
use crate::size;
use crate::world::World;
use futures::StreamExt;
use skep::engine::Engine;
use skep::sim::SimFleet;
use std::sync::Arc;
use std::time::Duration;

const NODES: usize = 4;

/// Runs it; `SAMPLES=` says how often.
pub(crate) async fn run() -> Report {
    let samples = size("SAMPLES", 400);
    let fleet = SimFleet::new();
    let world = World::start(Arc::new(fleet.clone())).await;
    let mut streams = Vec::new();
    let mut nodes = Vec::new();
    for number in 1..=NODES {
        let (name, url) = (format!("n{number}"), format!("tcp://n{number}:2375"));
        let engine = fleet.add_at(&url, &name);
        engine.add_image("app:1");
        streams.push(
            engine
                .events()
                .await
                .expect("a simulated engine has events"),
        );
        nodes.push((name, url));
    }
    world.nodes(&nodes).await;
    let mut creates = futures::stream::select_all(streams);

    let mut put = Samples::new("one put", "ms");
    let mut create = Samples::new("acknowledged -> create call", "ms");
    for number in 0..samples {
        let value = "{replicas: 1, template: {container: \"app:1\"}}";
        let start = instant();
        world.put(&format!("/bench/b{number}"), value).await;
        put.add_ms(start.elapsed());
        pause().await;

        world
            .put(&format!("/skep/services/default/s{number}"), value)
            .await;
        let start = instant();
        let prefix = format!("s{number}.");
        loop {
            let event = creates.next().await.expect("engines go on");
            let event = event.expect("a simulated engine keeps its events open");
            if event.action == "create" && event.name.starts_with(&prefix) {
                break;
            }
        }
        create.add_ms(start.elapsed());
        // The next one starts on a quiet store, as the single put does.
        world.running(number + 1).await;
        pause().await;
    }
    world.stop().await;
    let ratio = create.p99() / put.p99();
    Report {
        name: "latency",
        about: format!(
            "{samples} services, one after another, on {NODES} simulated engines and a real etcd"
        ),
        samples: vec![put, create],
        ratio: (
            "p99 of put acknowledged -> create call, over p99 of one put",
            ratio,
            Aim::AtMost(3.0),
        ),
    }
}

/// Lets what was written last come to rest.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}
