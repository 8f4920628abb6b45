//! Engines with TLS and client certificates, and engines that cannot do what they are told.

use super::world::{SLEEP, World, node_value, until_soon};
use crate::support::certificates::Authority;
use crate::support::covered::not_covered;
use crate::support::fleet::Transport;
use std::collections::BTreeSet;

#[tokio::test]
async fn engines_with_tls_and_one_that_fails_hold_up_no_other() {
    let mut world = World::new("tls", 3, Transport::Tls).await;
    wrong_certificates(&mut world).await;
    full_disk(&world).await;
}

/// A node that cannot be trusted, or does not trust us, says so; the others work.
async fn wrong_certificates(world: &mut World) {
    let stranger = Authority::new(&world.fleet.dir().join("stranger"));
    let theirs = stranger.sign("client", &[]);
    let mut node = world.fleet.node(3).clone();
    let ours = node.tls.clone().expect("the fleet has TLS");

    let mut files = ours.clone();
    files.ca.clone_from(&theirs.ca);
    node.tls = Some(files);
    world.put("nodes/n3", &node_value(&node, "")).await;
    world.start_manager("m1", &["--node-grace", "3s"]);
    world.node_is("n1", "ready", "").await;
    world.node_is("n2", "ready", "").await;
    let engine = world.node_is("n3", "down", "TlsFailed").await;
    assert!(engine.message.is_some(), "{engine:?}");
    let spec = |count: usize| format!("{{replicas: {count}, template: {{container: {SLEEP}}}}}");
    world.put_service("web", &spec(4)).await;
    let web = world.settled("web", 4).await;
    let nodes: BTreeSet<&str> = web.values().map(|one| one.node.as_str()).collect();
    assert_eq!(nodes, BTreeSet::from(["n1", "n2"]));
    world.passed("an engine whose authority is another: TlsFailed, the others work");

    let mut files = theirs;
    files.ca.clone_from(&ours.ca);
    node.tls = Some(files);
    world.put("nodes/n3", &node_value(&node, "")).await;
    until_soon("n3 says that it refuses our certificate", async || {
        let engine = world.engine("n3").await?;
        let message = engine.message?;
        let is_told = engine.reason.as_deref() == Some("TlsFailed")
            && message.to_lowercase().contains("certificate");
        is_told.then_some(())
    })
    .await;
    world.passed("an engine that refuses our certificate: TlsFailed");

    node.tls = Some(ours);
    world.put("nodes/n3", &node_value(&node, "")).await;
    world.node_is("n3", "ready", "").await;
    world.put_service("web", &spec(6)).await;
    let web = world.settled("web", 6).await;
    assert!(web.values().any(|one| one.node == "n3"));
    world.passed("engines with TLS and client certificates");
    world.remove_service("web").await;
}

/// An engine whose disk is full says so in the task; nobody else waits, and it goes on when there is room.
async fn full_disk(world: &World) {
    let node = world.fleet.node(1);
    let small = "mount -t tmpfs -o size=48m small /var/lib/docker && \
        (mv /etc/docker/key.json /etc/docker/key.old 2>/dev/null || true)";
    node.exec(small).await;
    world.delete("nodes/n1").await;
    until_soon("n1 is forgotten", async || {
        let record = world.etcd.get("/skep/accepted/nodes/n1").await;
        record.is_none().then_some(())
    })
    .await;
    node.kill_engine().await;
    until_soon("the engine on the small disk answers", async || {
        let format = ["info", "--format", "{{.Images}}"];
        let images = node.try_docker(&format).await.ok()?;
        (images == "0").then_some(())
    })
    .await;
    node.load(&crate::support::image::busybox(world.fleet.dir()))
        .await;
    let works = node.try_docker(&["run", "--rm", "skep-test/busybox:1", "true"]);
    if let Err(error) = works.await {
        not_covered("engine disk full", &error);
        return;
    }
    world.put_node(node, "").await;
    world.node_is("n1", "ready", "").await;

    node.exec("dd if=/dev/zero of=/var/lib/docker/filler bs=65536 2>/dev/null || true")
        .await;
    let spec = format!("{{mode: global, template: {{container: {SLEEP}}}}}");
    world.put_service("each", &spec).await;
    let task = world
        .task("each", "told of the full disk", |seen| {
            let message = seen
                .status
                .as_ref()
                .and_then(|status| status.message.as_ref());
            message.is_some_and(|text| text.contains("no space left"))
        })
        .await;
    assert_eq!(task.node.as_deref(), Some("n1"), "{task:#?}");
    until_soon("the others run", async || {
        let running = world.containers("each").await;
        let nodes: BTreeSet<String> = running
            .into_iter()
            .filter(|one| one.is_running)
            .map(|one| one.node)
            .collect();
        (nodes == BTreeSet::from(["n2".into(), "n3".into()])).then_some(())
    })
    .await;
    node.exec("rm /var/lib/docker/filler").await;
    world.settled("each", 3).await;
    world.passed("an engine whose disk is full: told, tried again, no other waits");
}
