//! Managers and nodes that die.

use crate::world::{World, nodes_of};
use skep::api::name::{NodeName, Scoped};
use std::time::Duration;

fn web() -> Scoped {
    Scoped::new("default", "web")
}

#[tokio::test(start_paused = true)]
async fn a_second_manager_waits_and_takes_over() {
    let mut world = World::start(2).await;
    world.manager("m2");
    world.service("web", "{replicas: 2, template: {container: IMAGE}}");
    world.serving("web", 2).await;
    let before = world.running();
    world.kill("m1");
    world.service("web", "{replicas: 4, template: {container: IMAGE}}");
    world.serving("web", 4).await;
    for name in before {
        assert!(world.running().contains(&name), "{name} went on");
    }
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_manager_killed_at_any_moment_doubles_nothing_and_loses_nothing() {
    for delay in (0..400).step_by(7) {
        let mut world = World::start(2).await;
        for engine in world.fleet.all() {
            engine.set_latency("create", Duration::from_millis(40));
            engine.set_latency("start", Duration::from_millis(30));
        }
        world.service("web", "{replicas: 3, template: {container: IMAGE}}");
        world.pass(Duration::from_millis(delay)).await;
        world.kill("m1");
        world.manager("m2");
        world.serving("web", 3).await;
        world.pass(Duration::from_secs(30)).await;
        assert_eq!(
            world.running().len(),
            3,
            "killed after {delay} ms\n{}",
            world.describe()
        );
        world.check();
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_dead_node_are_replaced_and_a_node_that_returns_gives_them_up() {
    let world = World::start(3).await;
    world.service("web", "{replicas: 3, template: {container: IMAGE}}");
    world.serving("web", 3).await;
    let engine = world.engine("n2");
    engine.set_reachable(false);
    let away = |cache: &skep::runtime::cache::Cache| {
        let nodes = nodes_of(cache, &web());
        nodes
            .iter()
            .filter(|node| **node != NodeName::from("n2"))
            .count()
            == 3
    };
    world.until("three serve on the other nodes", away).await;
    assert_eq!(engine.running().len(), 1, "nobody can stop the old one yet");
    engine.set_reachable(true);
    world
        .until("the node gives up what was replaced", |_| {
            engine.running().is_empty()
        })
        .await;
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(world.running().len(), 3);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_drained_node_gives_up_its_tasks() {
    let world = World::start(2).await;
    world.service("web", "{replicas: 4, template: {container: IMAGE}}");
    world.serving("web", 4).await;
    world.put(
        "nodes/n1",
        "{engine: {url: \"tcp://n1:2375\"}, availability: drain}",
    );
    let engine = world.engine("n1");
    world
        .until("nothing runs on it", |_| engine.running().is_empty())
        .await;
    world.serving("web", 4).await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_stops_nothing_and_repeats_nothing() {
    let world = World::start(2).await;
    world.service("web", "{replicas: 3, template: {container: IMAGE}}");
    world.serving("web", 3).await;
    let before = world.running();
    let creates: usize = world
        .fleet
        .all()
        .iter()
        .map(|engine| engine.count("create"))
        .sum();
    world.store.set_reachable(false);
    world.pass(Duration::from_secs(300)).await;
    assert_eq!(world.running(), before);
    world.store.set_reachable(true);
    world.service("web", "{replicas: 4, template: {container: IMAGE}}");
    world.serving("web", 4).await;
    let after: usize = world
        .fleet
        .all()
        .iter()
        .map(|engine| engine.count("create"))
        .sum();
    assert_eq!(after, creates + 1);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn s6_a_wiped_store_stops_nothing_and_what_runs_is_adopted() {
    let world = World::start(2).await;
    world.service("web", "{replicas: 3, template: {container: IMAGE}}");
    world.serving("web", 3).await;
    let before = world.running();
    let id = world.cluster().id;
    world.store.wipe();
    world.pass(Duration::from_secs(120)).await;
    assert_eq!(world.running(), before, "nothing is stopped");
    assert_eq!(world.cluster().id, id, "the cluster keeps its id (I3)");
    for node in ["n1", "n2"] {
        world.put(
            &format!("nodes/{node}"),
            &format!("{{engine: {{url: \"tcp://{node}:2375\"}}}}"),
        );
    }
    world.service("web", "{replicas: 3, template: {container: IMAGE}}");
    world.serving("web", 3).await;
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(world.running(), before, "what runs is adopted");
    world.check();
}

#[tokio::test(start_paused = true)]
async fn s6_a_store_restored_from_before_stops_nothing() {
    let world = World::start(2).await;
    world.service("web", "{replicas: 2, template: {container: IMAGE}}");
    world.serving("web", 2).await;
    let backup = world.store.revision();
    world.service("web", "{replicas: 4, template: {container: IMAGE}}");
    world.serving("web", 4).await;
    let before = world.running();
    let incarnation = world.cluster().incarnation;
    world.store.rewind(backup).expect("the backup is there");
    world.pass(Duration::from_secs(5)).await;
    for name in &before[..2] {
        assert!(world.running().contains(name), "{name} goes on");
    }
    world
        .until("the store's new life is known", |cache| {
            cache.incarnation() > incarnation
        })
        .await;
    world.pass(Duration::from_secs(60)).await;
    assert!(world.running().len() >= 2, "{}", world.describe());
    assert_eq!(
        world.running(),
        before,
        "nothing is stopped after a restore, not even what the backup does not know"
    );
}
