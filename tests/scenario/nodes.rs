//! Nodes, clocks and shards (rules N1 to N6).

use crate::world::{World, serving};
use skep::api::name::{NodeName, ObjectKey, Scoped};
use skep::api::status::NodeState;
use skep::runtime::cache::Cache;
use skep::runtime::clock::timer_now;
use skep::runtime::view;
use std::time::Duration;

const WEB: &str = "{replicas: 2, template: {container: IMAGE}}";

fn web() -> Scoped {
    Scoped::new("default", "web")
}

fn state(cache: &Cache, node: &str) -> NodeState {
    view::node(cache, &NodeName::from(node))
        .expect("the node is known")
        .state
}

#[tokio::test(start_paused = true)]
async fn n1_a_new_leader_without_heartbeats_counts_from_taking_over() {
    let mut world = World::start(3).await;
    world.service("web", "{replicas: 3, template: {container: IMAGE}}");
    world.serving("web", 3).await;
    world.manager("m2");
    world.pass(Duration::from_secs(2)).await;
    world.engine("n2").set_reachable(false);
    world.pass(Duration::from_secs(8)).await;
    world.kill("m1");
    // Twenty seconds of silence by the old leader's count, none of them the new one's own.
    world.pass(Duration::from_secs(7)).await;
    assert_ne!(state(&world.cache(), "n2"), NodeState::Down);
    world
        .until("it is down by the new leader's own count", |cache| {
            state(cache, "n2") == NodeState::Down
        })
        .await;
    world
        .until("its task is replaced", |_| world.running().len() == 4)
        .await;
    world.engine("n2").set_reachable(true);
    world
        .until("it gives it up", |_| world.running().len() == 3)
        .await;
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn n2_a_manager_that_loses_its_uplink_holds_evictions_for_a_minute() {
    let world = World::start(4).await;
    world.service("web", "{replicas: 4, template: {container: IMAGE}}");
    world.serving("web", 4).await;
    let before = world.running();
    let cut = |is_up: bool| {
        for node in ["n1", "n2", "n3"] {
            world.engine(node).set_reachable(is_up);
        }
    };
    cut(false);
    world.pass(Duration::from_secs(40)).await;
    assert_eq!(state(&world.cache(), "n1"), NodeState::Unknown);
    let object = ObjectKey::node(&"n1".into());
    let said = world.condition(&object, "health", "EvictionsHeld");
    assert_eq!(said.as_deref(), Some("True/EvictionsHeld"));
    assert!(world.told("EvictionsHeld") > 0);
    assert_eq!(world.running(), before, "nothing is replaced");
    cut(true);
    world
        .until("all are ready", |cache| {
            state(cache, "n1") == NodeState::Ready
        })
        .await;
    world.settled().await;
    assert_eq!(world.running(), before);
    // Really lost: after the minute the tasks are replaced.
    cut(false);
    world
        .until("all serve on the last node", |_| {
            world.engine("n4").running().len() == 4
        })
        .await;
    cut(true);
    world
        .until("the others give them up", |_| world.running().len() == 4)
        .await;
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn n3_with_wait_a_lost_nodes_task_is_never_doubled() {
    let world = World::start(2).await;
    world.service(
        "web",
        "{replicas: 2, template: {container: IMAGE, onNodeLost: wait}}",
    );
    world.serving("web", 2).await;
    let before = world.running();
    world.engine("n2").set_reachable(false);
    world.pass(Duration::from_secs(1_800)).await;
    assert_eq!(world.running(), before);
    world.engine("n2").set_reachable(true);
    world.serving("web", 2).await;
    world.settled().await;
    assert_eq!(world.running(), before);
}

#[tokio::test(start_paused = true)]
async fn n4_an_engine_whose_clock_is_wrong_hastens_nothing() {
    for offset in [-86_400_000_i64, 86_400_000] {
        let world = World::start(2).await;
        for node in ["n1", "n2"] {
            let engine = world.engine(node);
            let start = skep::runtime::clock::timer_now();
            engine.set_clock(move || {
                let passed = start.elapsed().as_millis() as i64;
                skep::api::time::Timestamp(1_767_225_600_000 + offset + passed)
            });
        }
        world.service("web", WEB);
        world.serving("web", 2).await;
        let before = world.running();
        world.service(
            "web",
            "{replicas: 2, template: {container: {image: IMAGE, env: {A: b}}}}",
        );
        world.pass(Duration::from_secs(4)).await;
        let left = world
            .running()
            .iter()
            .filter(|name| before.contains(name))
            .count();
        assert!(
            left >= 1,
            "the second waits until the first has proved itself"
        );
        world
            .until("both are of the new template", |cache| {
                let tasks = serving(cache, &web());
                tasks.len() == 2 && tasks.iter().all(|task| task.revision.0 == 2)
            })
            .await;
        world.settled().await;
        assert_eq!(world.running().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn n6_an_engine_has_one_manager_and_goes_over_when_that_ends() {
    let mut world = World::start(2).await;
    world.manager("m2");
    world.service("web", WEB);
    world.serving("web", 2).await;
    for (old, new) in [("m1", "m3"), ("m2", "m4"), ("m3", "m5")] {
        world.manager(new);
        world.pass(Duration::from_secs(1)).await;
        world.kill(old);
        let gone = world.engine("n1").running()[0].clone();
        world.engine("n1").remove_by_hand(&gone.id);
        world
            .until("another manager replaces it", |cache| {
                serving(cache, &web()).len() == 2 && world.running().len() == 2
            })
            .await;
        let holders = world.cache().shards.len();
        assert_eq!(holders, 1, "one shard, one holder");
    }
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn n6_a_socket_belongs_to_its_manager_and_is_given_back() {
    let mut world = World::start(1).await;
    world.manager("m2");
    let engine = world.fleet.add_at("unix:///run/docker.sock", "local");
    engine.add_image(crate::world::IMAGE);
    let node = |manager: &str| {
        let text = format!("{{engine: {{url: \"unix:///run/docker.sock\"}}, manager: {manager}}}");
        world.put("nodes/local", &text);
    };
    node("m1");
    let held_by = |cache: &Cache, manager: &str| {
        ["node-local", "health-local"].iter().all(|shard| {
            let held = cache.shards.get(*shard);
            held.is_some_and(|holder| holder.manager == manager)
        })
    };
    world
        .until("m1 holds it", |cache| held_by(cache, "m1"))
        .await;
    world.service("web", WEB);
    world.serving("web", 2).await;
    let before = world.running();
    node("m2");
    world
        .until("m2 holds it", |cache| held_by(cache, "m2"))
        .await;
    world.serving("web", 2).await;
    assert_eq!(world.running(), before);
    world.store.delete("/skep/nodes/local");
    world
        .until("nobody holds what is forgotten", |cache| {
            !cache.nodes.contains_key(&"local".into())
                && cache.shards.keys().map(String::as_str).eq(["000"])
        })
        .await;
    world.serving("web", 2).await;
    world.settled().await;
    node("m1");
    world
        .until("it may come back", |cache| held_by(cache, "m1"))
        .await;
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_is_driven_as_soon_as_its_node_is_ready() {
    let world = World::start(3).await;
    let ready = timer_now();
    world.service("web", "{replicas: 3, template: {container: IMAGE}}");
    world.serving("web", 3).await;
    // Virtual time: neither the store nor the engines take any, so what passes is what a controller waits for of its own
    // accord, and at most one of the world's own looks.
    let waited = timer_now() - ready;
    assert!(waited <= Duration::from_millis(50), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn the_only_node_that_is_removed_says_what_holds_it() {
    let world = World::start(1).await;
    world.service("web", "{replicas: 2, template: {container: IMAGE}}");
    world.serving("web", 2).await;
    world.store.delete("/skep/nodes/n1");
    world
        .until("the scheduler says why nothing moves", |cache| {
            let web = ObjectKey::service(&Scoped::new("default", "web"));
            let status = cache.status(&web, "scheduler");
            status.is_some_and(|status| {
                let mut waiting = status.waiting.iter();
                waiting.any(|waiting| waiting.message.starts_with("no suitable node"))
            })
        })
        .await;
    assert_eq!(world.running().len(), 2, "what has nowhere to go runs on");
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_is_added_is_ready_in_a_moment() {
    let mut world = World::empty();
    world.manager("m1");
    world.fleet.add_at("unix:///run/docker.sock", "local");
    world.quiet().await;
    let added = timer_now();
    world.put(
        "nodes/local",
        "{engine: {url: \"unix:///run/docker.sock\"}, manager: m1}",
    );
    world
        .until("it is ready", |cache| {
            cache.nodes.contains_key(&NodeName::from("local"))
                && state(cache, "local") == NodeState::Ready
        })
        .await;
    let waited = timer_now() - added;
    assert!(waited <= Duration::from_millis(200), "{waited:?}");
}
