//! Registries that are silent: nothing but the tasks that wait for them is held up.

use crate::world::World;
use skep::api::task::TaskStatus;
use skep::runtime::cache::Stored;
use skep::runtime::orders::PULL_DEADLINE;
use std::time::Duration;

/// Longer than anything else here takes, and than a pull may.
const SILENCE: Duration = Duration::from_secs(40 * 60);

/// More tasks than an engine's driver has workers.
const SLOW: &str = "{replicas: 100, template: {container: 'elsewhere:1'}}";

/// A node whose registry is silent, with a hundred tasks that wait for it.
async fn waiting() -> World {
    let world = World::start(1).await;
    world.engine("n1").set_latency("pull", SILENCE);
    world.service("slow", SLOW);
    world
        .until("all wait for the registry", |cache| {
            let statuses = cache.task_statuses.values();
            let is_told = |status: &Stored<TaskStatus>| status.reason.as_deref() == Some("Pulling");
            statuses.filter(|status| is_told(status)).count() == 100
        })
        .await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_silent_registry_holds_up_no_other_task_of_the_node() {
    let world = waiting().await;
    world.service("web", "{replicas: 2, template: {container: IMAGE}}");
    world.serving("web", 2).await;
    assert_eq!(
        world.engine("n1").count("pull"),
        1,
        "one pull serves them all"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_nobody_waits_for_any_more_is_dropped() {
    let world = waiting().await;
    world.store.delete("/skep/services/default/slow");
    world
        .until("all is gone", |cache| {
            cache.tasks.is_empty() && cache.services.is_empty()
        })
        .await;
    world.settled().await;
    world.service("slow", SLOW);
    world
        .until("the image is pulled anew", |_| {
            world.engine("n1").count("pull") == 2
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_stays_silent_is_told_and_asked_again() {
    let world = waiting().await;
    // The first attempt is given up after half an hour, and repeated soon after.
    world.pass(PULL_DEADLINE - Duration::from_secs(60)).await;
    world
        .until("it is told", |cache| {
            cache.task_statuses.values().any(|status| {
                let message = status.message.clone().unwrap_or_default();
                status.reason.as_deref() == Some("Retrying") && message.contains("pull within")
            })
        })
        .await;
    world.engine("n1").set_latency("pull", Duration::ZERO);
    world.pass(PULL_DEADLINE).await;
    world.serving("slow", 100).await;
    world.settled().await;
}
