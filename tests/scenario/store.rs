//! The store: writers, watches, unknown outcomes, rewinds, bounds (rules S1 to S10, N5).

use crate::world::{World, nodes_of, serving};
use skep::api::name::{ObjectKey, Scoped};
use skep::api::task::Desired;
use skep::app::manager::CONTROLLERS;
use skep::embedded::fault::Fault;
use skep::sim::Behaviour;
use std::collections::BTreeMap;
use std::time::Duration;

const WEB: &str = "{replicas: 3, template: {container: IMAGE}}";

fn web() -> Scoped {
    Scoped::new("default", "web")
}

#[tokio::test(start_paused = true)]
async fn s1_every_key_has_one_writer() {
    let mut world = World::empty();
    for node in ["n1", "n2", "n3"] {
        world.add_node(node);
    }
    world.managers_apart();
    world.service("web", WEB);
    world.serving("web", 3).await;
    world.service(
        "web",
        "{replicas: 1, template: {container: {image: IMAGE, env: {A: b}}}}",
    );
    world.serving("web", 1).await;
    world.settled().await;
    let mut writers: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for controller in CONTROLLERS {
        for key in world.line(controller).written() {
            writers.entry(key).or_default().push(controller);
        }
    }
    assert!(writers.len() > 30, "{}", world.describe());
    for (key, writers) in writers {
        let is_task = key.starts_with("/skep/tasks/");
        // The service makes tasks and says what is wanted; the reaper lets go of them. Each write compares the record.
        let is_fine = writers.len() == 1 || (is_task && writers == ["service", "reaper"]);
        assert!(is_fine, "{key} is written by {writers:?}");
        assert!(!key.starts_with("/skep/services/"), "{key} is a user's");
    }
}

#[tokio::test(start_paused = true)]
async fn s2_a_delete_during_a_compaction_away_is_not_missed() {
    let world = World::start(2).await;
    world.service("web", WEB);
    world.service("api", WEB);
    world.serving("web", 3).await;
    world.serving("api", 3).await;
    world.line("m1").set_up(false);
    world.pass(Duration::from_secs(2)).await;
    world.store.delete("/skep/services/default/web");
    world.put("other/key", "x");
    let revision = world.store.revision();
    skep::store::Kv::compact(&world.store, revision)
        .await
        .unwrap();
    world.line("m1").set_up(true);
    world
        .until("what was deleted is cleaned up", |cache| {
            !cache.services.contains_key(&web()) && world.running().len() == 3
        })
        .await;
    world.serving("api", 3).await;
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn s2_watches_that_are_cut_again_and_again_lose_nothing() {
    let world = World::start(2).await;
    for replicas in [3, 1, 5, 2, 4] {
        world.service(
            "web",
            &format!("{{replicas: {replicas}, template: {{container: IMAGE}}}}"),
        );
        for _ in 0..5 {
            world.store.cut_watches();
            world.pass(Duration::from_millis(130)).await;
        }
        world.serving("web", replicas).await;
    }
    world.settled().await;
    assert_eq!(world.running().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn s5_after_any_unknown_outcome_all_is_as_it_should_be() {
    for fault in [Fault::Committed, Fault::Lost, Fault::Late] {
        for skipped in 0..24 {
            let world = World::start(2).await;
            world.service("web", "{replicas: 1, template: {container: IMAGE}}");
            world.serving("web", 1).await;
            world.quiet().await;
            let before = world.store.revision().0;
            world.service("web", WEB);
            for _ in 0..10_000 {
                if world.store.revision().0 - before > skipped {
                    break;
                }
                tokio::task::yield_now().await;
            }
            world.store.fail_next(fault);
            world.pass(Duration::from_secs(8)).await;
            world.store.apply_late();
            world.serving("web", 3).await;
            world.settled().await;
            assert_eq!(world.running().len(), 3, "{fault:?} after {skipped} writes");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn s5_a_commit_that_comes_late_is_fenced() {
    let world = World::start(1).await;
    world.quiet().await;
    // The next transaction is the acceptance of this put, under the term that its unknown outcome ends.
    world.store.fail_next(Fault::Late);
    world.service("web", WEB);
    world.serving("web", 3).await;
    world.quiet().await;
    let before = world.store.dump("/skep/");
    assert_eq!(world.store.apply_late(), 0, "the term is over");
    assert_eq!(world.store.dump("/skep/"), before);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn s6_a_fresh_manager_on_an_older_backup_adopts_what_the_backup_does_not_know() {
    let mut world = World::start(2).await;
    world.service("web", "{replicas: 2, template: {container: IMAGE}}");
    world.serving("web", 2).await;
    world.quiet().await;
    let backup = world.store.revision();
    // Others write as well: the backup is not the very last moment's.
    for _ in 0..300 {
        world.store.put("/elsewhere", "x");
    }
    world.service("web", "{replicas: 4, template: {container: IMAGE}}");
    world.serving("web", 4).await;
    world.quiet().await;
    let before = world.running();
    let incarnation = world.cluster().incarnation;
    world.kill("m1");
    world.pass(Duration::from_secs(10)).await;
    world.store.rewind(backup).expect("the backup is there");
    // This process has never seen the store: only the labels tell.
    world.manager("m2");
    world
        .until("a new life of the store begins", |cache| {
            cache.incarnation() > incarnation && !skep::runtime::view::is_adopting(cache)
        })
        .await;
    assert_eq!(world.running(), before, "nothing is stopped or started");
    assert!(world.told("StoreRewound") > 0);
    world.pass(Duration::from_secs(1_200)).await;
    for name in &before {
        assert!(world.running().contains(name), "{name} goes on");
    }
    world.service("web", "{replicas: 4, template: {container: IMAGE}}");
    world.serving("web", 4).await;
    world.settled().await;
    assert_eq!(world.running(), before, "what runs is adopted");
}

/// A backup from between a task's record and its binding; node n1 takes nothing new any more.
async fn restored_from_before_the_binding(away: bool) -> World {
    let world = World::start(2).await;
    world.service("web", "{replicas: 1, template: {container: IMAGE}}");
    world.serving("web", 1).await;
    world.quiet().await;
    let cache = world.cache();
    assert_eq!(nodes_of(&cache, &web()), ["n1".into()]);
    let record = cache.tasks.values().next().expect("a task").create_revision;
    world.engine("n1").set_reachable(!away);
    world.store.rewind(record).expect("the backup is there");
    let node = "{engine: {url: \"tcp://n1:2375\"}, availability: pause}";
    world.put("nodes/n1", node);
    world
}

#[tokio::test(start_paused = true)]
async fn s6_a_task_restored_from_before_its_binding_is_bound_to_where_it_runs() {
    let world = restored_from_before_the_binding(false).await;
    let before = world.running();
    world.serving("web", 1).await;
    world.settled().await;
    assert_eq!(world.running(), before, "one container");
    assert_eq!(nodes_of(&world.cache(), &web()), ["n1".into()]);
    assert_eq!(world.calls("create"), 1);
}

#[tokio::test(start_paused = true)]
async fn s6_a_task_that_may_run_on_a_node_that_is_away_is_given_up_for_another() {
    let world = restored_from_before_the_binding(true).await;
    let lost = world.cache().tasks.keys().next().expect("a task").clone();
    world.serving("web", 1).await;
    let cache = world.cache();
    assert_eq!(nodes_of(&cache, &web()), ["n2".into()]);
    let given_up = cache.tasks[&lost].desired;
    assert_eq!(given_up, Desired::Remove, "its record stays");
    assert_eq!(world.running().len(), 2, "nobody can stop the one on n1");
    world.engine("n1").set_reachable(true);
    world
        .until("it is removed", |cache| !cache.tasks.contains_key(&lost))
        .await;
    world.settled().await;
    assert_eq!(world.running().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn s8_history_is_bounded_and_what_left_it_is_counted() {
    let world = World::start(1).await;
    let engine = world.engine("n1");
    engine.set_behaviour(crate::world::IMAGE, Behaviour::Exit(3));
    world.service(
        "web",
        "{replicas: 1, template: {container: IMAGE, restart: {condition: on-failure, delay: 1s, maxDelay: 2s, maxAttempts: 20}}}",
    );
    let object = ObjectKey::service(&web());
    world
        .until("twenty attempts failed and most are forgotten", |cache| {
            let removed = cache
                .status(&object, "reaper")
                .map(|status| status.tasks_removed);
            removed == Some(15)
        })
        .await;
    world.settled().await;
    assert_eq!(world.cache().tasks.len(), 6, "five ended ones and the last");
    assert_eq!(engine.containers().len(), 6);
    world.store.delete("/skep/services/default/web");
    world
        .until("nothing is left, the count neither", |cache| {
            cache.services.is_empty() && cache.status(&object, "reaper").is_none()
        })
        .await;
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn s10_a_name_that_begins_like_another_is_another() {
    let world = World::start(1).await;
    world.service("web", "{replicas: 1, template: {container: IMAGE}}");
    world.service("web2", "{replicas: 2, template: {container: IMAGE}}");
    world.serving("web", 1).await;
    world.serving("web2", 2).await;
    world.store.delete("/skep/services/default/web");
    world
        .until("only web2 is left", |_| world.running().len() == 2)
        .await;
    world.serving("web2", 2).await;
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn n5_a_manager_cut_off_from_the_store_gives_no_order_after_its_deadline() {
    let mut world = World::start(2).await;
    world.manager("m2");
    world.service("web", WEB);
    world.serving("web", 3).await;
    // As a process that was stopped for a while: it knows nothing of what happens, and its lease ends.
    world.line("m1").set_up(false);
    world.pass(Duration::from_millis(4_100)).await;
    let calls = world.calls("create") + world.calls("start") + world.calls("stop");
    let gone = world.engine("n1").running()[0].clone();
    world.engine("n1").remove_by_hand(&gone.id);
    world.pass(Duration::from_millis(300)).await;
    assert_eq!(
        world.calls("create") + world.calls("start") + world.calls("stop"),
        calls,
        "past its deadline it acts no more, though its lease lives on at the store"
    );
    world
        .until("the other has replaced it", |cache| {
            serving(cache, &web()).len() == 3 && world.running().len() == 3
        })
        .await;
    world.line("m1").set_up(true);
    world.settled().await;
    assert_eq!(world.running().len(), 3);
}
