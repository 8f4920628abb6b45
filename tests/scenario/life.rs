//! The ordinary life of services.

use crate::world::{World, nodes_of, serving};
use skep::api::name::Scoped;
use skep::runtime::cache::Cache;
use skep::runtime::clock::timer_now;
use std::time::Duration;

fn web() -> Scoped {
    Scoped::new("default", "web")
}

#[tokio::test(start_paused = true)]
async fn a_service_put_with_etcdctl_runs_and_then_nothing_is_written() {
    let world = World::start(3).await;
    world.service("web", "{replicas: 3, template: {container: IMAGE}}");
    world.serving("web", 3).await;
    assert_eq!(nodes_of(&world.cache(), &web()).len(), 3);
    let mut nodes = nodes_of(&world.cache(), &web());
    nodes.dedup();
    assert_eq!(nodes.len(), 3, "spread over all nodes");
    world.quiet().await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_removed_container_returns() {
    let world = World::start(1).await;
    world.service("web", "{replicas: 2, template: {container: IMAGE}}");
    world.serving("web", 2).await;
    let engine = world.engine("n1");
    let gone = engine.running()[0].clone();
    engine.remove_by_hand(&gone.id);
    world
        .until("another runs in its place", |cache| {
            serving(cache, &web()).len() == 2 && !world.running().contains(&gone.name)
        })
        .await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn scaling_down_removes_the_highest_slots_and_deleting_the_key_removes_all() {
    let world = World::start(2).await;
    world.service("web", "{replicas: 4, template: {container: IMAGE}}");
    world.serving("web", 4).await;
    world.service("web", "{replicas: 1, template: {container: IMAGE}}");
    world
        .until("one container is left", |_| world.running().len() == 1)
        .await;
    assert!(
        world.running()[0].starts_with("web.1."),
        "{:?}",
        world.running()
    );
    world.store.delete("/skep/services/default/web");
    world
        .until("nothing of it is left", |cache| {
            cache.services.is_empty()
                && cache.tasks.is_empty()
                && cache.bindings.is_empty()
                && cache.revisions.is_empty()
                && cache.task_statuses.is_empty()
        })
        .await;
    assert_eq!(world.running(), Vec::<String>::new());
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_garbage_put_keeps_the_accepted_service_and_a_correct_one_heals_it() {
    let mut world = World::start(1).await;
    world.service("web", "{replicas: 2, template: {container: IMAGE}}");
    world.serving("web", 2).await;
    let before = world.running();
    world.service("web", "garbage: [");
    let refused = |cache: &skep::runtime::cache::Cache| {
        let object = skep::api::name::ObjectKey::service(&web());
        let status = cache.status(&object, "service");
        status
            .and_then(|status| status.condition("Accepted").cloned())
            .map(|condition| condition.reason)
    };
    world
        .until("it is refused", |cache| {
            refused(cache).as_deref() == Some("Invalid")
        })
        .await;
    world.kill("m1");
    world.manager("m2");
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(
        world.running(),
        before,
        "what ran goes on, also after a restart of all managers"
    );
    world.service("web", "{replicas: 3, template: {container: IMAGE}}");
    world.serving("web", 3).await;
    world
        .until("it is accepted", |cache| {
            refused(cache).as_deref() == Some("Accepted")
        })
        .await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_global_service_runs_on_every_node_also_on_new_ones() {
    let mut world = World::start(2).await;
    world.service("web", "{mode: global, template: {container: IMAGE}}");
    world.serving("web", 2).await;
    world.add_node("n3");
    world.serving("web", 3).await;
    world.check();
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_is_stopped_hands_over_before_its_leases_end() {
    let mut world = World::start(1).await;
    world.manager("m2");
    world.quiet().await;
    let start = timer_now();
    world.stop("m1").await;
    for controller in ["service", "scheduler", "health"] {
        let leads = |cache: &Cache| {
            cache
                .leader(controller)
                .is_some_and(|(_, holder)| holder.manager == "m2")
        };
        world.until(&format!("m2 leads {controller}"), leads).await;
    }
    let took = start.elapsed();
    assert!(took < skep::store::LEASE_TTL, "it took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_stops_in_the_middle_of_a_write_sees_it_and_ends_at_once() {
    for moment in [1, 5, 15, 25, 35, 45] {
        let mut world = World::start(1).await;
        world.line("m1").lengthen(Duration::from_millis(10));
        world.service("web", "{replicas: 3, template: {container: IMAGE}}");
        world.pass(Duration::from_millis(moment)).await;
        let start = timer_now();
        world.stop("m1").await;
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "after {moment} ms: {took:?}");
    }
}
