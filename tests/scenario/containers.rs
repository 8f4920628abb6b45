//! Containers and what is ordered of them (rules C2 to C9).

use crate::world::{IMAGE, World, in_state, serving};
use skep::api::name::{ObjectKey, Scoped};
use skep::api::task::{Desired, Task, TaskState};
use skep::api::time::Timestamp;
use skep::sim::{Behaviour, Fault};
use std::time::Duration;

const WEB: &str = "{replicas: 2, template: {container: IMAGE}}";

fn web() -> Scoped {
    Scoped::new("default", "web")
}

#[tokio::test(start_paused = true)]
async fn c2_a_record_outlives_its_container() {
    let world = World::start(1).await;
    world.service("web", WEB);
    world.serving("web", 2).await;
    let engine = world.engine("n1");
    engine.set_reachable(false);
    world.store.delete("/skep/services/default/web");
    world.pass(Duration::from_secs(600)).await;
    assert_eq!(world.cache().tasks.len(), 2, "nobody saw the containers go");
    assert!(world.cache().services.contains_key(&web()), "its tombstone");
    engine.set_reachable(true);
    world
        .until("all is gone", |cache| {
            cache.services.is_empty() && cache.tasks.is_empty() && engine.containers().is_empty()
        })
        .await;
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn c3_lost_records_are_acted_on_one_in_ten_minutes() {
    let world = World::start(1).await;
    world.service("web", "{replicas: 4, template: {container: IMAGE}}");
    world.serving("web", 4).await;
    world.quiet().await;
    // Everything that is known of the service is lost, and nobody asks for it any more.
    for prefix in [
        "services",
        "accepted/services",
        "tasks",
        "bindings/n1",
        "status/tasks/n1",
    ] {
        for kv in world.store.dump(&format!("/skep/{prefix}/")) {
            world.store.delete(&kv.key);
        }
    }
    world.pass(Duration::from_secs(540)).await;
    assert_eq!(world.running().len(), 4, "nothing is removed at once");
    let mut seen = vec![4];
    for _ in 0..60 {
        world.pass(Duration::from_secs(60)).await;
        let now = world.running().len();
        let last = *seen.last().unwrap();
        assert!(
            now + 1 >= last,
            "more than one within a minute: {seen:?} {now}"
        );
        seen.push(now);
    }
    for window in seen.windows(10) {
        assert!(
            window[0] - window[9] <= 1,
            "more than one in ten minutes: {seen:?}"
        );
    }
    assert_eq!(world.running().len(), 0, "{seen:?}");
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn c3_a_container_whose_slot_was_filled_anew_goes_after_ten_minutes() {
    let world = World::start(1).await;
    world.service("web", "{replicas: 1, template: {container: IMAGE}}");
    world.serving("web", 1).await;
    let before = world.running();
    for prefix in ["tasks", "bindings/n1", "status/tasks/n1"] {
        for kv in world.store.dump(&format!("/skep/{prefix}/")) {
            world.store.delete(&kv.key);
        }
    }
    world.serving("web", 1).await;
    world.pass(Duration::from_secs(590)).await;
    assert!(world.running().contains(&before[0]), "it is only reported");
    assert_eq!(world.told("UnclaimedContainers"), 1);
    world
        .until("it is removed", |_| !world.running().contains(&before[0]))
        .await;
    world.serving("web", 1).await;
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn c3_skep_reap_removes_what_an_earlier_life_left() {
    let world = World::start(1).await;
    world.service("web", "{replicas: 1, template: {container: IMAGE}}");
    world.serving("web", 1).await;
    world.store.wipe();
    world.pass(Duration::from_secs(5)).await;
    world.node("n1");
    world
        .until("adopting has ended", |cache| {
            cache.cluster.is_some() && !skep::runtime::view::is_adopting(cache)
        })
        .await;
    world.pass(Duration::from_secs(1_800)).await;
    assert_eq!(world.running().len(), 1, "nobody asks for it, and it stays");
    // As `skep reap` writes it.
    let object = ObjectKey::node(&"n1".into());
    let cache = world.cache();
    let found = cache
        .status(&object, "task")
        .and_then(|status| status.found.clone());
    let claim = found.unwrap().unclaimed[0]
        .claim
        .clone()
        .expect("it is readable");
    let task = Task {
        id: claim.task.clone(),
        service: claim.service,
        revision: claim.revision,
        slot: claim.slot,
        desired: Desired::Remove,
        reason: Some("Reaped".into()),
        replaces: None,
        failures: 0,
        not_before: None,
        created_at: Timestamp(0),
        ended_at: None,
        adopted_from: Some("n1".into()),
    };
    let text = serde_json::to_string(&task).unwrap();
    world.put(&format!("tasks/default/web/{}", claim.task), &text);
    world
        .until("it is gone, its record too", |cache| {
            world.engine("n1").containers().is_empty() && cache.tasks.is_empty()
        })
        .await;
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn c4_a_container_that_ran_is_never_started_again() {
    let world = World::start(2).await;
    world.service("web", "{replicas: 4, template: {container: IMAGE}}");
    world.serving("web", 4).await;
    let before = world.running();
    for round in 0..5 {
        let engine = world.engine(["n1", "n2"][round % 2]);
        engine.reboot();
        world
            .until("all are replaced", |cache| {
                serving(cache, &web()).len() == 4 && world.running().len() == 4
            })
            .await;
    }
    // `check` fails on any start of a container that ran.
    world.settled().await;
    assert!(world.running().iter().all(|name| !before.contains(name)));
}

#[tokio::test(start_paused = true)]
async fn c4_a_lost_answer_to_any_order_doubles_nothing() {
    for call in ["create", "start", "stop", "remove", "inspect", "list"] {
        for fault in [
            Fault::TimeoutAfter,
            Fault::BrokenAfter,
            Fault::TimeoutBefore,
        ] {
            let world = World::start(1).await;
            let engine = world.engine("n1");
            engine.fail(call, fault.clone(), 2);
            world.service("web", "{replicas: 3, template: {container: IMAGE}}");
            world.serving("web", 3).await;
            world.service(
                "web",
                "{replicas: 1, template: {container: {image: IMAGE, env: {A: b}}}}",
            );
            world
                .until(&format!("one is left after {call} {fault:?}"), |cache| {
                    serving(cache, &web()).len() == 1 && world.running().len() == 1
                })
                .await;
            world.settled().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn c5_a_list_that_lacks_a_container_proves_nothing() {
    let world = World::start(1).await;
    world.service("web", WEB);
    world.serving("web", 2).await;
    let before = world.running();
    let engine = world.engine("n1");
    engine.fail("list", Fault::HideNewest, 1_000);
    for _ in 0..5 {
        engine.drop_events();
        world.pass(Duration::from_secs(120)).await;
    }
    assert_eq!(world.running(), before);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn c6_a_host_port_is_taken_again_only_after_its_holder_was_seen_stopped() {
    let world = World::start(1).await;
    let engine = world.engine("n1");
    engine.set_behaviour(IMAGE, Behaviour::Stubborn);
    let spec = |name: &str| {
        format!(
            "{{replicas: 1, template: {{container: {{image: IMAGE, stopGracePeriod: 30s, env: {{A: {name}}}}}}}, ports: [{{target: 80, published: 8080, mode: host}}]}}"
        )
    };
    world.service("web", &spec("one"));
    world.serving("web", 1).await;
    let first = world.running();
    world.service("web", &spec("two"));
    world.pass(Duration::from_secs(25)).await;
    assert_eq!(world.running(), first, "the old one is still stopping");
    world
        .until("the new one has the port", |cache| {
            serving(cache, &web()).len() == 1 && world.running() != first
        })
        .await;
    assert_eq!(
        world.told("StartFailed"),
        0,
        "nobody tried a port that was taken"
    );
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn c7_engines_start_nothing_by_themselves() {
    let world = World::start(1).await;
    world.service("web", WEB);
    world.serving("web", 2).await;
    let engine = world.engine("n1");
    for container in engine.running() {
        let body = engine.body(&container.id).expect("it was made from one");
        let policy = body["HostConfig"]["RestartPolicy"]["Name"].clone();
        assert!(
            policy.is_null() || policy == "no" || policy == "",
            "{policy}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn c8_what_is_not_provided_is_said_and_holds_nothing_up() {
    let world = World::start(1).await;
    world.service(
        "web",
        "{replicas: 2, template: {container: IMAGE, networks: [front]}, ports: [\"8080:80\"], \
         update: {failureAction: rollback}}",
    );
    world.serving("web", 2).await;
    let object = ObjectKey::service(&web());
    let said = |controller, kind| world.condition(&object, controller, kind);
    let missing = Some("False/NotProvided".to_owned());
    world
        .until("it is said", |_| said("network", "PortsReady").is_some())
        .await;
    assert_eq!(said("network", "NetworksReady"), missing);
    assert_eq!(said("network", "PortsReady"), missing);
    assert_eq!(said("service", "RollbackReady"), missing);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn c9_two_commits_and_no_delay_lead_from_a_put_to_the_first_call() {
    let world = World::start(1).await;
    world.quiet().await;
    // The call is counted when it begins: what goes beside it is not over then.
    world
        .engine("n1")
        .set_latency("create", Duration::from_millis(40));
    let clock = skep::runtime::clock::timer_now();
    let put = world.store.revision().0;
    world.service("web", "{replicas: 1, template: {container: IMAGE}}");
    while world.calls("create") == 0 {
        tokio::task::yield_now().await;
        assert_eq!(clock.elapsed(), Duration::ZERO, "nobody waits for anything");
    }
    let cache = world.cache();
    let task = cache.tasks.values().next().expect("there is a task");
    let accepted = &cache.services[&web()];
    assert_eq!(
        accepted.mod_revision.0,
        put + 2,
        "the first commit after the put"
    );
    assert_eq!(
        task.create_revision, accepted.mod_revision,
        "the task is part of it"
    );
    let (_, binding) = cache.binding(&task.id).expect("it is bound");
    assert!(binding.create_revision > task.create_revision);
    let before_call = cache.task_status(&task.id).map(|status| status.state);
    assert!(
        before_call.is_none() || before_call == Some(TaskState::Starting),
        "nothing is written before the call but what goes beside it"
    );
    world.serving("web", 1).await;
    assert_eq!(in_state(&world.cache(), &web(), TaskState::Running), 1);
}
