//! 60 containers on three real engines of different versions, through skep and by bare Engine API calls, in pairs.
//!
//! Bare: create and start with eight in flight per engine. Skep: from the put of a service until its status says that all
//! run. Both make the same containers by the same client; which goes first alternates.

use crate::report::{Aim, Report, Samples, instant};
use crate::size;
use crate::support::fleet::{Fleet, Transport};
use crate::support::image;
use crate::world::World;
use futures::StreamExt;
use serde_json::{Value, json};
use skep::api::node::EngineSpec;
use skep::engine::{Connector, ContainerState, DockerConnector, Engine};
use std::sync::Arc;
use std::time::Duration;

const CONTAINERS: usize = 60;
const NODES: usize = 3;
/// As many as skep has in flight.
const IN_FLIGHT: usize = 8;
/// Time for engines to end what removals left behind.
const REST: Duration = Duration::from_secs(2);

/// Runs it; `PAIRS=` says how many pairs.
pub(crate) async fn run() -> Report {
    let pairs = size("PAIRS", 10);
    let fleet = Fleet::mixed(NODES, Transport::Plain).await;
    let connector = Arc::new(DockerConnector);
    let mut engines: Vec<Arc<dyn Engine>> = Vec::new();
    for node in &fleet.nodes {
        let spec = EngineSpec {
            url: node.url(),
            tls: None,
        };
        let engine = connector
            .connect(&spec)
            .await
            .expect("the engine of a fleet answers");
        image::load(&*engine).await;
        engines.push(engine);
    }
    let world = World::start(connector).await;
    let nodes = fleet
        .nodes
        .iter()
        .map(|node| (node.name.clone(), node.url()));
    world.nodes(&nodes.collect::<Vec<_>>()).await;

    // Not counted: the first containers of an engine are slow.
    of_bare(&engines).await;
    of_skep(&world, "warm", &engines).await;
    let mut skep = Samples::new("skep", "s");
    let mut bare = Samples::new("bare calls", "s");
    let mut ratio = Samples::new("skep over bare", "");
    for pair in 0..pairs {
        let name = format!("p{pair}");
        let (through, by_hand) = if pair % 2 == 0 {
            let by_hand = of_bare(&engines).await;
            (of_skep(&world, &name, &engines).await, by_hand)
        } else {
            let through = of_skep(&world, &name, &engines).await;
            (through, of_bare(&engines).await)
        };
        println!("pair {}: skep {through:.2?}, bare {by_hand:.2?}", pair + 1);
        skep.add(through.as_secs_f64());
        bare.add(by_hand.as_secs_f64());
        ratio.add(through.as_secs_f64() / by_hand.as_secs_f64());
    }
    world.stop().await;
    let median = ratio.median();
    let versions: Vec<&str> = fleet.nodes.iter().map(|node| node.version).collect();
    Report {
        name: "pairs",
        about: format!(
            "{CONTAINERS} containers on engines {}, {pairs} pairs",
            versions.join(", ")
        ),
        samples: vec![skep, bare, ratio],
        ratio: (
            "median over the pairs of skep's time over that of bare calls",
            median,
            Aim::AtMost(1.05),
        ),
    }
}

/// The time until skep says that all run.
async fn of_skep(world: &World, name: &str, engines: &[Arc<dyn Engine>]) -> Duration {
    let key = format!("/skep/services/default/{name}");
    let image = image::BUSYBOX;
    let value = format!(
        "{{replicas: {CONTAINERS}, template: {{container: {{image: \"{image}\", command: [sleep, \"3600\"], stopSignal: SIGKILL}}}}}}"
    );
    let start = instant();
    world.put(&key, &value).await;
    world.running(CONTAINERS).await;
    let time = start.elapsed();
    let running = futures::future::join_all(engines.iter().map(count)).await;
    assert_eq!(
        running.iter().sum::<usize>(),
        CONTAINERS,
        "skep told the truth"
    );
    world.delete(&key).await;
    world
        .until("all is cleaned up", |cache| {
            cache.tasks.is_empty() && cache.task_statuses.is_empty()
        })
        .await;
    tokio::time::sleep(REST).await;
    time
}

/// Containers of skep's that run.
async fn count(engine: &Arc<dyn Engine>) -> usize {
    let namespace = engine.list("dev.skep.namespace", "default").await;
    let ids = namespace.expect("an engine lists its containers");
    let looks = ids.iter().map(|id| engine.inspect(id.as_str()));
    let seen = futures::future::join_all(looks).await;
    seen.into_iter()
        .filter(|seen| matches!(seen, Ok(one) if one.state == ContainerState::Running))
        .count()
}

/// The time until bare calls have started as many.
async fn of_bare(engines: &[Arc<dyn Engine>]) -> Duration {
    let start = instant();
    let made = engines.iter().enumerate().map(|(number, engine)| {
        let names = (number..CONTAINERS).step_by(engines.len());
        futures::stream::iter(names)
            .map(async |number| {
                let name = format!("bare-{number}");
                let id = engine
                    .create(&name, &body().to_string())
                    .await
                    .expect("the engine makes it");
                engine.start(&id).await.expect("the engine starts it");
                id
            })
            .buffer_unordered(IN_FLIGHT)
            .collect::<Vec<_>>()
    });
    let made = futures::future::join_all(made).await;
    let time = start.elapsed();
    for (engine, ids) in engines.iter().zip(made) {
        futures::stream::iter(ids)
            .for_each_concurrent(IN_FLIGHT, async |id| {
                engine
                    .remove(&id, true)
                    .await
                    .expect("the engine removes it");
            })
            .await;
    }
    tokio::time::sleep(REST).await;
    time
}

fn body() -> Value {
    json!({
        "Image": image::BUSYBOX,
        "Entrypoint": ["sleep", "3600"],
        "StopSignal": "SIGKILL",
        "HostConfig": {"NetworkMode": "bridge", "RestartPolicy": {"Name": "no"}},
    })
}
