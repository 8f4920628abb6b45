//! One backend changes: how long until the agent of the last of many nodes has taken it. Beside it a single put to the same etcd.
//!
//! Nodes and their agents are simulated; the agents take each order at once, so what is measured is the manager: the engine's
//! event, what is written of it, what follows for every node, and a thousand orders. Every node has all services: they are on one
//! network, and published.

use crate::report::{Aim, Report, Samples, instant};
use crate::size;
use crate::world::World;
use skep::controllers::network::{DEFAULT_POOL, Settings};
use skep::sim::{SimEngine, SimFleet};
use std::sync::Arc;
use std::time::Duration;

/// How often it is asked who has heard.
const LOOK: Duration = Duration::from_millis(1);
/// How long nothing may happen before the next change.
const REST: Duration = Duration::from_secs(2);

/// Runs it; `NODES=`, `SERVICES=`, `BACKENDS=` and `SAMPLES=` say how large and how often.
pub(crate) async fn run() -> Report {
    let nodes = size("NODES", 1_000);
    let (services, backends) = (size("SERVICES", 1_000), size("BACKENDS", 10));
    let samples = size("SAMPLES", 10);
    let fleet = SimFleet::new();
    let settings = Settings {
        pool: DEFAULT_POOL,
        addresses: true,
    };
    let world = World::start_with(Arc::new(fleet.clone()), settings).await;
    let engines = add_nodes(&world, &fleet, nodes).await;
    let network = "{subnets: [10.200.0.0/16]}";
    world.put("/skep/networks/default/wide", network).await;
    for number in 0..services {
        let value = format!(
            "{{replicas: {backends}, ports: [\"{}:80\"], template: {{container: \"app:1\", networks: [wide]}}}}",
            10_000 + number
        );
        world
            .put(&format!("/skep/services/default/s{number}"), &value)
            .await;
    }
    world.running(services * backends).await;
    println!("{} tasks run on {nodes} nodes", services * backends);

    let mut put = Samples::new("one put", "ms");
    let mut last = Samples::new("container ends -> last node told", "ms");
    let mut first = Samples::new("container ends -> first node told", "ms");
    for number in 0..samples {
        rest(&engines).await;
        let start = instant();
        world.put(&format!("/bench/b{number}"), "x").await;
        put.add_ms(start.elapsed());
        let before: Vec<u64> = engines.iter().map(SimEngine::agent_orders).collect();
        let engine = &engines[number % engines.len()];
        let tasks = engine.running();
        // Not the agent.
        let task = tasks.iter().find(|one| one.name.contains('.'));
        let task = task.expect("a task runs there").id.clone();
        let start = instant();
        engine.exit(&task, 1);
        let mut told = 0;
        while told < engines.len() {
            let heard = |(engine, before): &(&SimEngine, &u64)| engine.agent_orders() > **before;
            let now = engines.iter().zip(&before).filter(heard).count();
            if told == 0 && now > 0 {
                first.add_ms(start.elapsed());
            }
            told = now;
            tokio::time::sleep(LOOK).await;
        }
        last.add_ms(start.elapsed());
    }
    world.stop().await;
    let seconds = last.median() / 1_000.0;
    Report {
        name: "spread",
        about: format!(
            "{services} services of {backends} tasks on {nodes} simulated nodes, all published on all; one task ends"
        ),
        samples: vec![put, first, last],
        ratio: (
            "seconds from the end of a container until the last node is told, median",
            seconds,
            Aim::AtMost(1.0),
        ),
    }
}

/// Nodes with light agents.
async fn add_nodes(world: &World, fleet: &SimFleet, count: usize) -> Vec<SimEngine> {
    let mut engines = Vec::new();
    for number in 1..=count {
        let (name, url) = (format!("n{number}"), format!("tcp://n{number}:2375"));
        let engine = fleet.add_at(&url, &name);
        engine.add_image("app:1");
        engine.lighten_agent();
        engines.push(engine);
        let address = format!("172.30.{}.{}", number / 250, number % 250 + 1);
        let spec = format!("{{engine: {{url: \"{url}\"}}, address: {address}}}");
        world.put(&format!("/skep/nodes/{name}"), &spec).await;
    }
    world.nodes_are_ready(count).await;
    engines
}

/// Waits until no agent is told anything for a while.
async fn rest(engines: &[SimEngine]) {
    let all = || engines.iter().map(SimEngine::agent_orders).sum::<u64>();
    let mut before = all();
    loop {
        tokio::time::sleep(REST).await;
        let now = all();
        if now == before {
            return;
        }
        before = now;
    }
}
