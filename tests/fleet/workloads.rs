//! Services on engines of mixed versions: they converge, come back when a container is taken away, and change one task
//! after another.

use super::history::History;
use super::see::Running;
use super::world::{SLEEP, World, until_soon};
use crate::support::fleet::Transport;
use serde_json::Value;
use skep::api::status::{Status, UpdateState};
use skep::api::task::{Health, TaskState};
use std::collections::BTreeSet;

/// A web server with a page.
const SERVER: &str = "{image: 'skep-test/busybox:1', stopSignal: SIGKILL, \
    command: [sh, -c, 'echo hello >/tmp/index.html; exec httpd -f -p 80 -h /tmp'], \
    healthcheck: {test: [CMD-SHELL, 'wget -q -O /dev/null http://127.0.0.1/'], interval: 1s, retries: 5}}";

#[tokio::test]
async fn services_converge_and_return_on_engines_of_several_versions() {
    let mut world = World::new("workloads", 3, Transport::Plain).await;
    world.start_manager("m1", &[]);
    world.nodes_are_ready().await;
    versions(&world).await;

    let web = replicated(&world).await;
    global(&world).await;
    host_ports(&world).await;
    by_hand(&world, web).await;
    change_in_order(&world).await;
    failing_change(&world).await;
    delete_while_starting(&world).await;
}

async fn versions(world: &World) {
    for node in &world.fleet.nodes {
        let engine = world.engine(&node.name).await.expect("the node is ready");
        let (version, api) = (engine.version, engine.api_version);
        eprintln!("{}: Engine {version:?}, API {api:?}", node.name);
        let own = node.docker(&["info", "--format", "{{.ID}}"]).await;
        assert_eq!(engine.id, Some(own), "the engine's own id is on record");
    }
    world.passed("nodes of mixed versions are ready");
}

async fn replicated(world: &World) -> Running {
    let spec = format!("{{replicas: 6, template: {{container: {SLEEP}}}}}");
    world.put_service("web", &spec).await;
    let web = world.settled("web", 6).await;
    let slots: Vec<&str> = web.keys().map(String::as_str).collect();
    assert_eq!(slots, ["1", "2", "3", "4", "5", "6"]);
    for node in &world.fleet.nodes {
        let here = web.values().filter(|one| one.node == node.name);
        assert_eq!(here.count(), 2, "spread evenly: {web:#?}");
    }
    for one in web.values() {
        assert_eq!(one.name, format!("web.{}.{}", one.slot, one.task));
    }
    let one = &web["1"];
    let labels = labels(world, &one.node, &one.id).await;
    for name in [
        "cluster",
        "task",
        "service",
        "slot",
        "revision",
        "hash",
        "node",
        "store-revision",
        "incarnation",
        "term",
        "namespace",
        "name",
    ] {
        let label = format!("dev.skep.{name}");
        assert!(labels.get(&label).is_some(), "{label} in {labels}");
    }
    assert_eq!(labels["com.docker.swarm.service.name"], "web");
    assert_eq!(
        labels["com.docker.swarm.task.name"],
        one.name.as_str(),
        "dashboards for Swarm find the task"
    );
    world.passed("a replicated service: spread, names, labels");
    web
}

async fn labels(world: &World, node: &str, container: &str) -> Value {
    let nodes = &world.fleet.nodes;
    let node = nodes.iter().find(|one| one.name == node).expect("a node");
    let text = node
        .docker(&["inspect", "--format", "{{json .Config.Labels}}", container])
        .await;
    serde_json::from_str(&text).expect("labels are JSON")
}

async fn global(world: &World) {
    let spec = format!("{{mode: global, template: {{container: {SLEEP}}}}}");
    world.put_service("everywhere", &spec).await;
    let all = world.settled("everywhere", 3).await;
    for (slot, one) in &all {
        assert_eq!(*slot, one.node, "a global task's slot is its node");
        assert_eq!(one.name, format!("everywhere.{}.{}", one.node, one.task));
    }
    world.passed("a global service: one task per node");
    world.remove_service("everywhere").await;
    world.passed("a deleted service leaves nothing");
}

/// A fixed port keeps two tasks off one node; a port that is left out is chosen by the engine and told.
async fn host_ports(world: &World) {
    let ports = "[{target: 80, published: 18080, mode: host}, {target: 80, mode: host}]";
    let spec = format!("{{replicas: 3, template: {{container: {SERVER}}}, ports: {ports}}}");
    world.put_service("server", &spec).await;
    let tasks = world.settled("server", 3).await;
    let nodes: BTreeSet<&str> = tasks.values().map(|one| one.node.as_str()).collect();
    assert_eq!(nodes.len(), 3, "one fixed port per node: {tasks:#?}");
    for seen in world.tasks("server").await {
        let status = seen.status.as_ref().expect("it runs");
        assert_eq!(status.health, Some(Health::Healthy), "{status:#?}");
        let ports: BTreeSet<u16> = status.ports.iter().map(|port| port.published.0).collect();
        assert!(ports.contains(&18080), "the fixed port: {ports:?}");
        assert!(ports.len() > 1, "and one that the engine chose: {ports:?}");
        let node = seen.node.as_deref().expect("it is bound");
        let nodes = &world.fleet.nodes;
        let node = nodes.iter().find(|one| one.name == node).expect("a node");
        for port in ports {
            let address = format!("{}:{port}", node.address);
            until_soon(&format!("{address} answers"), async || {
                tokio::net::TcpStream::connect(&address).await.ok()
            })
            .await;
        }
    }
    world.passed("host ports, fixed and chosen by the engine, of tasks that are healthy");

    world
        .put_service("server", &spec.replace("replicas: 3", "replicas: 4"))
        .await;
    let waiting = until_soon("the scheduler says why the fourth waits", async || {
        let key = "status/services/default/server/scheduler";
        let status: Status = world.record(key).await?;
        status.waiting.into_iter().next()
    })
    .await;
    assert_eq!(waiting.tasks, 1);
    assert_eq!(
        waiting.nodes.len(),
        3,
        "each node has its reason: {waiting:#?}"
    );
    let (_, why) = world.skep(&["why", "server"]).await;
    assert!(why.contains("18080"), "skep why names the port: {why}");
    world.passed("a task without a place says why, per node");
    world.remove_service("server").await;
}

/// Containers that are removed or killed by hand are replaced; the others are left alone.
async fn by_hand(world: &World, web: Running) {
    let [removed, killed] = ["1", "2"].map(|slot| web[slot].clone());
    for (one, arguments) in [
        (&removed, ["rm", "--force"].as_slice()),
        (&killed, &["kill"]),
    ] {
        let nodes = &world.fleet.nodes;
        let node = nodes.iter().find(|node| node.name == one.node);
        let arguments = [arguments, &[one.id.as_str()]].concat();
        node.expect("a node of the fleet").docker(&arguments).await;
    }
    let now = until_soon("both are replaced", async || {
        let now = world.settled("web", 6).await;
        let is_new = now["1"].id != removed.id && now["2"].id != killed.id;
        is_new.then_some(now)
    })
    .await;
    for slot in ["3", "4", "5", "6"] {
        assert_eq!(now[slot], web[slot], "what nobody touched stays");
    }
    let ended: BTreeSet<String> = world
        .tasks("web")
        .await
        .iter()
        .filter(|seen| seen.state() == Some(TaskState::Failed))
        .map(|seen| seen.reason().to_owned())
        .collect();
    assert_eq!(
        ended,
        BTreeSet::from(["ContainerGone".into(), "Exited".into()]),
        "history says what happened"
    );
    world.passed("a container that is removed or killed by hand is replaced");
}

/// A new template replaces one task after another, and never has fewer than all of them running.
async fn change_in_order(world: &World) {
    let spec = format!(
        "{{replicas: 6, update: {{monitor: 500ms}}, template: {{container: {}}}}}",
        SLEEP.replace("'1000000'", "'2000000'")
    );
    let history = History::start(world, "change").await;
    world.put_service("web", &spec).await;
    until_soon("the change is complete", async || {
        let status: Status = world.record("status/services/default/web/service").await?;
        let update = status.update?;
        let is_done = update.revision.0 == 2 && update.state == UpdateState::Completed;
        is_done.then_some(())
    })
    .await;
    let now = world.settled("web", 6).await;
    assert!(now.values().all(|one| one.revision == "2"), "{now:#?}");
    let (least, most) = history.bounds("web", 6);
    assert_eq!((least, most), (6, 7), "start-first, one after another");
    history.nothing_doubled("web");
    world.passed("a changed template replaces tasks one after another");
}

/// A new revision that fails halts the change; a correct one heals it.
async fn failing_change(world: &World) {
    let before = world.settled("web", 6).await;
    let broken = SLEEP.replace("sleep, '1000000'", "sh, -c, 'exit 3'");
    let spec = |container: &str| {
        format!("{{replicas: 6, update: {{monitor: 500ms}}, template: {{container: {container}}}}}")
    };
    world.put_service("web", &spec(&broken)).await;
    let object = "services/default/web";
    let paused = ("Progressing", "False", "Paused");
    world.condition_is(object, "service", paused).await;
    let running: BTreeSet<String> = world
        .containers("web")
        .await
        .into_iter()
        .filter(|one| one.is_running)
        .map(|one| one.id)
        .collect();
    let old: BTreeSet<String> = before.values().map(|one| one.id.clone()).collect();
    assert_eq!(running, old, "the old tasks go on");
    let (_, status) = world.skep(&["status"]).await;
    assert!(status.contains("halted"), "skep status says so: {status}");
    let (_, why) = world.skep(&["why", "web"]).await;
    assert!(why.contains("exit code 3"), "skep why says why: {why}");
    world.event(object, "UpdatePaused").await;
    world.passed("a change that fails halts, and the rest goes on");

    world.put_service("web", &spec(SLEEP)).await;
    let complete = ("Progressing", "False", "Complete");
    world.condition_is(object, "service", complete).await;
    world.settled("web", 6).await;
    world.passed("a correct template heals it");
}

/// A delete while tasks start leaves nothing behind.
async fn delete_while_starting(world: &World) {
    let spec = format!("{{replicas: 12, template: {{container: {SLEEP}}}}}");
    for round in 0..3 {
        world.put_service("short", &spec).await;
        until_soon("the first container is made", async || {
            (world.containers("short").await.len() > round * 3).then_some(())
        })
        .await;
        world.remove_service("short").await;
        let tasks = world.etcd.keys("/skep/tasks/default/short/").await;
        assert_eq!(tasks, Vec::<String>::new(), "no record is left");
    }
    world.passed("a delete while tasks start");
}
