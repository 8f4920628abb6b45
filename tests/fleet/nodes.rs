//! Nodes that are lost, return, are drained, deleted, or turn out to be another engine.

use super::history::History;
use super::see::Running;
use super::world::{SLEEP, World, until_soon};
use crate::support::fleet::Transport;
use skep::api::task::{Desired, TaskState};
use std::collections::BTreeSet;

/// How long the manager of these tests lets an engine be silent.
const GRACE: [&str; 2] = ["--node-grace", "3s"];

#[tokio::test]
async fn lost_nodes_are_replaced_and_give_up_what_was_replaced_when_they_return() {
    let mut world = World::new("nodes", 3, Transport::Plain).await;
    world.start_manager("m1", &GRACE);
    world.nodes_are_ready().await;
    let spec = format!("{{replicas: 6, template: {{container: {SLEEP}}}}}");
    world.put_service("web", &spec).await;
    let waits = "{replicas: 3, template: {container: CONTAINER, onNodeLost: wait, \
        placement: {maxReplicasPerNode: 1}}}";
    world
        .put_service("waits", &waits.replace("CONTAINER", SLEEP))
        .await;
    world.settled("web", 6).await;
    world.settled("waits", 3).await;

    for (number, loss) in [Loss::Pause, Loss::Unplug, Loss::Kill, Loss::Stop]
        .into_iter()
        .enumerate()
    {
        lose(&world, number % 3 + 1, loss).await;
    }
    short_silence(&world).await;
    drain(&world).await;
    deleted_while_nobody_looks(&mut world).await;
    another_engine(&world).await;
}

/// How a node is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// The engine is frozen; its containers go on.
    Pause,
    /// The network is unplugged; its containers go on.
    Unplug,
    /// The power fails; its containers end.
    Kill,
    /// It is shut down; its containers end.
    Stop,
}

impl Loss {
    fn containers_go_on(self) -> bool {
        matches!(self, Self::Pause | Self::Unplug)
    }
}

async fn lose(world: &World, number: usize, loss: Loss) {
    let node = world.fleet.node(number);
    let before = world.settled("web", 6).await;
    let waiting = world.settled("waits", 3).await;
    let history = History::start_without(world, &format!("{loss:?}"), number).await;
    match loss {
        Loss::Pause => node.pause().await,
        Loss::Unplug => node.disconnect().await,
        Loss::Kill => node.kill().await,
        Loss::Stop => node.stop().await,
    }
    world.node_is(&node.name, "down", "").await;
    let replaced = until_soon("the lost tasks run elsewhere", async || {
        let elsewhere: Running = world
            .containers("web")
            .await
            .into_iter()
            .filter(|one| one.is_running && one.node != node.name)
            .map(|one| (one.slot.clone(), one))
            .collect();
        (elsewhere.len() == 6).then_some(elsewhere)
    })
    .await;
    for (slot, one) in &before {
        if one.node != node.name {
            assert_eq!(&replaced[slot], one, "what runs elsewhere stays");
        }
    }
    let lost: BTreeSet<&str> = before
        .values()
        .filter(|one| one.node == node.name)
        .map(|one| one.task.as_str())
        .collect();
    assert!(!lost.is_empty(), "the node had work: {before:#?}");
    // A node that shuts down in order tells that its containers end: then nothing is lost, and they are restarted.
    for seen in world.tasks("web").await {
        if loss != Loss::Stop && lost.contains(seen.task.id.as_str()) {
            assert_eq!(seen.task.desired, Desired::Shutdown, "{seen:#?}");
            assert_eq!(seen.task.reason.as_deref(), Some("NodeLost"));
            assert_eq!(
                seen.state(),
                Some(TaskState::Running),
                "a lost node changes no observed state"
            );
        }
    }

    match loss {
        Loss::Pause => node.unpause().await,
        Loss::Unplug => node.connect().await,
        Loss::Kill | Loss::Stop => node.start().await,
    }
    world.node_is(&node.name, "ready", "").await;
    let after = world.settled("web", 6).await;
    assert_eq!(after, replaced, "the replacements stay, the old ones go");
    let still = world.settled("waits", 3).await;
    assert_eq!(
        still == waiting,
        loss.containers_go_on(),
        "onNodeLost: wait replaces nothing but what has really ended: {waiting:#?} {still:#?}"
    );
    history.nothing_doubled("web");
    world.passed(&format!(
        "a node is lost by {loss:?}: tasks are replaced, and given up when it returns"
    ));
    level(world).await;
}

/// Puts the tasks back onto all three nodes: scaled away and up again.
async fn level(world: &World) {
    let spec = |count: usize| format!("{{replicas: {count}, template: {{container: {SLEEP}}}}}");
    world.put_service("web", &spec(1)).await;
    world.settled("web", 1).await;
    world.put_service("web", &spec(6)).await;
    world.settled("web", 6).await;
}

/// An engine that restarts is back before the grace is over: nothing moves.
async fn short_silence(world: &World) {
    let before = world.settled("web", 6).await;
    let node = world.fleet.node(2);
    let engine = node.exec("cat /run/engine").await;
    node.kill_engine().await;
    until_soon("the engine is back", async || {
        let now = node.exec("cat /run/engine").await;
        (now != engine && node.engine_version().await.is_some()).then_some(())
    })
    .await;
    world.node_is("n2", "ready", "").await;
    let after = world.settled("web", 6).await;
    let elsewhere = |running: &Running| -> Vec<String> {
        let others = running.values().filter(|one| one.node != "n2");
        others.map(|one| one.id.clone()).collect()
    };
    for id in elsewhere(&before) {
        assert!(elsewhere(&after).contains(&id), "other nodes keep theirs");
    }
    world.passed("an engine that is killed and restarted");
}

async fn drain(world: &World) {
    let (code, said) = world.skep(&["node", "drain", "n1"]).await;
    assert_eq!(code, 0, "{said}");
    until_soon("n1 is empty", async || {
        let running = world.settled("web", 6).await;
        running.values().all(|one| one.node != "n1").then_some(())
    })
    .await;
    let (code, said) = world.skep(&["node", "activate", "n1"]).await;
    assert_eq!(code, 0, "{said}");
    level(world).await;
    until_soon("n1 is used again", async || {
        let running = world.settled("web", 6).await;
        running.values().any(|one| one.node == "n1").then_some(())
    })
    .await;
    world.passed("drain and activate");
}

/// `etcdctl del` of a node while no manager runs: found and cleaned up when one starts.
async fn deleted_while_nobody_looks(world: &mut World) {
    world.remove_service("waits").await;
    let here = |running: Running| running.into_values().any(|one| one.node == "n3");
    assert!(here(world.settled("web", 6).await), "n3 has work");
    world.stop_manager("m1").await;
    world.delete("nodes/n3").await;
    world.start_manager("m1", &GRACE);
    until_soon("n3 is forgotten", async || {
        let keys = world.etcd.keys("/skep/").await;
        let of_n3 = keys.iter().filter(|key| {
            let words: Vec<&str> = key.split('/').collect();
            words.contains(&"n3") && words.get(2) != Some(&"shards")
        });
        (of_n3.count() == 0).then_some(())
    })
    .await;
    let running = world.settled("web", 6).await;
    assert!(running.values().all(|one| one.node != "n3"));
    let left = world.containers("web").await;
    assert!(
        left.iter().all(|one| one.node != "n3"),
        "nothing is left on it"
    );
    world.passed("a node deleted while no manager runs is emptied and forgotten");
    world.put_node(world.fleet.node(3), "").await;
    world.node_is("n3", "ready", "").await;
}

/// Another engine answers at the node's address: said, and nothing is done on it or because of it.
async fn another_engine(world: &World) {
    level(world).await;
    let before = world.settled("web", 6).await;
    let node = world.fleet.node(3);
    let old = world.engine("n3").await.and_then(|engine| engine.id);
    // A fresh machine at the same address: an empty engine with an identity of its own.
    let fresh = "mount -t tmpfs fresh /var/lib/docker && \
        (mv /etc/docker/key.json /etc/docker/key.old 2>/dev/null || true)";
    node.exec(fresh).await;
    node.kill_engine().await;
    world.node_is("n3", "unknown", "EngineChanged").await;
    world
        .condition_is(
            "nodes/n3",
            "health",
            ("EngineChanged", "True", "EngineChanged"),
        )
        .await;
    let engine = world.engine("n3").await;
    assert_eq!(engine.and_then(|engine| engine.id), old, "the record stays");
    node.ready().await;
    assert_eq!(
        node.docker(&["ps", "--all", "--quiet"]).await,
        "",
        "no action"
    );
    for one in before.values().filter(|one| one.node != "n3") {
        let running = world.containers("web").await;
        assert!(running.contains(one), "other nodes go on");
    }

    let old = "umount -l /var/lib/docker && \
        (mv /etc/docker/key.old /etc/docker/key.json 2>/dev/null || true)";
    node.exec(old).await;
    node.kill_engine().await;
    world.node_is("n3", "ready", "").await;
    world.settled("web", 6).await;
    world.passed(
        "another engine behind the address: EngineChanged, no action; the right one returns",
    );
}
