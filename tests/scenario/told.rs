//! What users are told: each trouble once, with its name.

use crate::world::{IMAGE, World};
use skep::api::task::Health;
use skep::sim::{Behaviour, Registry};
use std::time::Duration;

const WEB: &str =
    "{replicas: 1, template: {container: IMAGE, restart: {delay: 60s, maxDelay: 60s}}}";

#[tokio::test(start_paused = true)]
async fn a_container_that_ends_is_told_with_its_code() {
    let world = World::start(1).await;
    world.service("web", WEB);
    world.serving("web", 1).await;
    let engine = world.engine("n1");
    engine.exit(&engine.running()[0].id, 42);
    world
        .until("it is told", |_| world.told("Exited") == 1)
        .await;
    let events = world.events();
    let told = events
        .iter()
        .find(|event| event.reason == "Exited")
        .unwrap();
    assert!(told.message.contains("exit code 42"), "{}", told.message);
    assert!(told.message.contains("n1"), "{}", told.message);
    assert!(
        told.object.starts_with("tasks/default/web/"),
        "{}",
        told.object
    );
    world.serving("web", 1).await;
    engine.oom_kill(&engine.running()[0].id);
    world
        .until("it is told", |_| world.told("OomKilled") == 1)
        .await;
    world.serving("web", 1).await;
    engine.exit(&engine.running()[0].id, 0);
    world
        .until("it is told", |_| world.told("Completed") == 1)
        .await;
    world.serving("web", 1).await;
    engine.remove_by_hand(&engine.running()[0].id);
    world
        .until("it is told", |_| world.told("ContainerGone") == 1)
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_nowhere_is_told() {
    let world = World::start(1).await;
    let engine = world.engine("n1");
    engine.set_registry(Registry::Only(Default::default()));
    world.service("web", &WEB.replace("IMAGE", "nowhere:1"));
    world
        .until("it is told", |_| world.told("NoSuchImage") > 0)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_is_told_once_and_tried_again() {
    let world = World::start(1).await;
    let engine = world.engine("n1");
    engine.set_registry(Registry::Unreachable);
    world.service("web", &WEB.replace("IMAGE", "elsewhere:1"));
    world
        .until("it is told", |_| world.told("Retrying") > 0)
        .await;
    world.pass(Duration::from_secs(300)).await;
    assert!(engine.count("pull") > 3, "it is tried again");
    assert_eq!(world.told("Retrying"), 1, "not at every attempt");
    engine.set_registry(Registry::Everything);
    world.serving("web", 1).await;
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_is_told() {
    let world = World::start(1).await;
    let engine = world.engine("n1");
    engine.set_behaviour(IMAGE, Behaviour::RefuseStart("no such device".into()));
    world.service("web", WEB);
    world
        .until("it is told", |_| world.told("StartFailed") > 0)
        .await;
    let events = world.events();
    let told = events
        .iter()
        .find(|event| event.reason == "StartFailed")
        .unwrap();
    assert!(told.message.contains("no such device"), "{}", told.message);
}

#[tokio::test(start_paused = true)]
async fn a_health_check_that_fails_and_passes_again_is_told() {
    let world = World::start(1).await;
    let engine = world.engine("n1");
    engine.set_first_health(Health::Healthy);
    world.service(
        "web",
        "{replicas: 1, template: {container: {image: IMAGE, healthcheck: {test: [CMD, \"true\"]}}}}",
    );
    world.serving("web", 1).await;
    let id = engine.running()[0].id.clone();
    engine.set_health(&id, Health::Unhealthy);
    world
        .until("it is told", |_| world.told("Unhealthy") == 1)
        .await;
    if engine.running().iter().any(|container| container.id == id) {
        engine.set_health(&id, Health::Healthy);
        world
            .until("it is told", |_| world.told("Healthy") == 1)
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_goes_and_returns_is_told_each_time_once() {
    let world = World::start(2).await;
    world
        .until("both are told", |_| world.told("NodeReady") == 2)
        .await;
    world.engine("n2").set_reachable(false);
    world
        .until("it is told", |_| world.told("NodeDown") == 1)
        .await;
    world.pass(Duration::from_secs(300)).await;
    assert_eq!(world.told("NodeDown"), 1);
    world.engine("n2").set_reachable(true);
    world
        .until("it is told", |_| world.told("NodeReady") == 3)
        .await;
    world.settled().await;
}
