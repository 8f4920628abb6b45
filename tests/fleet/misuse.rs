//! What people do wrong, with etcdctl and with docker: it is reported where it happened, and everything else goes on.

use super::see::Running;
use super::world::{SLEEP, World, until_soon};
use crate::support::fleet::Transport;
use crate::support::node::Node;

#[tokio::test]
async fn misuse_is_reported_and_harms_nothing_else() {
    let mut world = World::new("misuse", 3, Transport::Plain).await;
    world.start_manager("m1", &[]);
    world.nodes_are_ready().await;
    let spec = format!("{{replicas: 3, template: {{container: {SLEEP}}}}}");
    world.put_service("web", &spec).await;
    let web = world.settled("web", 3).await;

    garbage(&mut world, &web, &spec).await;
    other_keys(&world).await;
    no_such_image(&world).await;
    taken_name(&world).await;
    copied_labels(&world, &web).await;
    assert_eq!(world.settled("web", 3).await, web, "web ran through it all");
}

/// Garbage keeps what is in force, also over a restart of all managers; a correct value heals it.
async fn garbage(world: &mut World, web: &Running, spec: &str) {
    let object = "services/default/web";
    let refused = ("Accepted", "False", "Invalid");
    world.put_service("web", "replicas: 5\ngarbage: [").await;
    let message = world.condition_is(object, "service", refused).await;
    assert!(message.contains("web:2:"), "the line is named: {message}");
    world.event(object, "NotAccepted").await;
    world.stop_manager("m1").await;
    world.start_manager("m1", &[]);
    until_soon("the new manager serves", async || {
        let log = world.manager("m1").output();
        (log.matches("drives the engine").count() >= 6).then_some(())
    })
    .await;
    assert_eq!(
        world.settled("web", 3).await,
        *web,
        "the accepted one goes on"
    );

    let other = "metadata: {name: shop}\nspec: {template: {container: 'skep-test/busybox:1'}}";
    let other = format!("apiVersion: skep.dev/v1\nkind: Service\n{other}");
    world.put_service("web", &other).await;
    until_soon(
        "a name that disagrees with its key is refused",
        async || {
            let condition = world.condition(object, "service", "Accepted").await?;
            condition.message.contains("shop").then_some(())
        },
    )
    .await;

    let large = world.fleet.dir().join("large.yaml");
    let filler = format!("# {}\n", "x".repeat(98)).repeat(6 * 1024);
    std::fs::write(&large, format!("{spec}\n{filler}")).expect("the folder takes a file");
    world
        .etcd
        .put_file("/skep/services/default/web", &large)
        .await;
    until_soon("a value above 512 KiB is refused", async || {
        let condition = world.condition(object, "service", "Accepted").await?;
        condition.message.contains("524288").then_some(())
    })
    .await;
    assert_eq!(world.settled("web", 3).await, *web);

    world.put_service("web", spec).await;
    let accepted = ("Accepted", "True", "Accepted");
    world.condition_is(object, "service", accepted).await;
    assert_eq!(
        world.settled("web", 3).await,
        *web,
        "the same spec: no change"
    );
    world.passed(
        "garbage, a wrong name and a large value are refused, and a correct one heals them",
    );
}

/// Keys that mean nothing are told of, and garbage for a node or a network harms no other.
async fn other_keys(world: &World) {
    world.put("gadgets/default/x", "{a: 1}").await;
    let event = world.event("gadgets/default/x", "UnknownKey").await;
    assert!(event.message.contains("left alone"), "{event:?}");
    assert!(world.etcd.get("/skep/gadgets/default/x").await.is_some());
    world.delete("gadgets/default/x").await;

    world
        .put("nodes/n9", "{engine: {url: 'carrier-pigeon://x'}}")
        .await;
    let refused = ("Accepted", "False", "Invalid");
    world.condition_is("nodes/n9", "node", refused).await;
    world.delete("nodes/n9").await;
    world.put("networks/default/front", "driver: [").await;
    world
        .condition_is("networks/default/front", "network", refused)
        .await;
    world.delete("networks/default/front").await;
    world.passed("unknown keys and garbage of other kinds");
}

/// The task says that there is no such image, and the tries get rarer.
async fn no_such_image(world: &World) {
    let container = "{image: 'skep-test/nothing:1', pullPolicy: never}";
    let spec = format!("{{replicas: 1, template: {{container: {container}}}}}");
    world.put_service("nothing", &spec).await;
    let is_told = |seen: &super::see::Seen| seen.reason() == "NoSuchImage";
    world.task("nothing", "without an image", is_told).await;
    let waits = until_soon("it was tried four times", async || {
        let mut tasks = world.tasks("nothing").await;
        tasks.sort_by_key(|seen| seen.task.failures);
        let waits: Vec<i64> = tasks
            .iter()
            .filter_map(|seen| Some((seen.task.not_before?, seen.task.created_at)))
            .map(|(until, made)| i64::try_from(until.since(made).as_millis()).unwrap_or(i64::MAX))
            .collect();
        (waits.len() >= 3).then_some(waits)
    })
    .await;
    let doubles = waits.windows(2).all(|pair| pair[1] > pair[0] * 3 / 2);
    assert!(
        doubles,
        "each wait is longer than the one before: {waits:?}"
    );
    until_soon("skep why says so", async || {
        let (_, why) = world.skep(&["why", "nothing"]).await;
        why.contains("No such image").then_some(())
    })
    .await;
    world.remove_service("nothing").await;

    // A registry that cannot be reached is another matter: the same task tries again.
    let spec = "{replicas: 1, template: {container: 'registry.invalid/nothing:1'}}";
    world.put_service("nothing", spec).await;
    let is_told = |seen: &super::see::Seen| seen.reason() == "Retrying";
    let task = world.task("nothing", "trying again", is_told).await;
    let message = task.status.and_then(|status| status.message);
    assert!(
        message
            .as_ref()
            .is_some_and(|text| text.contains("registry.invalid")),
        "{message:?}"
    );
    world.remove_service("nothing").await;
    world.passed("no such image: told, tried again ever more rarely");
}

/// Somebody's container has the name that a task wants: reported, never touched; the service gets another task.
async fn taken_name(world: &World) {
    for node in &world.fleet.nodes {
        world.put_node(node, "availability: pause").await;
    }
    // Nothing may be bound before the names are taken.
    until_soon("all nodes are paused", async || {
        let mut records = world
            .records::<serde_json::Value>("/skep/accepted/nodes/")
            .await
            .into_values();
        let is_paused = records.all(|record| record["spec"]["availability"] == "pause");
        is_paused.then_some(())
    })
    .await;
    let spec = format!("{{replicas: 1, template: {{container: {SLEEP}}}}}");
    world.put_service("named", &spec).await;
    let task = world.task("named", "made", |_| true).await;
    assert_eq!(task.node, None, "a paused node takes nothing");
    let name = format!("named.1.{}", task.task.id);
    let mut strangers = Vec::new();
    for node in &world.fleet.nodes {
        let create = ["create", "--name", &name, "skep-test/busybox:1"];
        strangers.push((node, node.docker(&create).await));
        world.put_node(node, "").await;
    }
    world.settled("named", 1).await;
    let is_told = |seen: &super::see::Seen| seen.reason() == "NameConflict";
    let refused = world.task("named", "refused for its name", is_told).await;
    assert_eq!(refused.task.id, task.task.id);
    for (node, stranger) in strangers {
        assert_eq!(state(node, &stranger).await, "created", "left alone");
        node.docker(&["rm", &stranger]).await;
    }
    world.remove_service("named").await;
    world.passed("a name that somebody else has taken");
}

/// An image that was committed from a task carries its labels: what runs from it is reported, never touched.
async fn copied_labels(world: &World, web: &Running) {
    let original = &web["1"];
    let nodes = &world.fleet.nodes;
    let node = nodes.iter().find(|node| node.name == original.node);
    let node = node.expect("a node of the fleet");
    node.docker(&["commit", &original.id, "copy:1"]).await;
    let run = ["run", "--detach", "--name", "copycat", "copy:1"];
    let copy = node.docker(&run).await;
    let object = format!("nodes/{}", node.name);
    let told = ("CopiedLabels", "True", "NotATask");
    let message = world.condition_is(&object, "reaper", told).await;
    assert!(message.contains("copycat"), "{message}");
    world.event(&object, "CopiedLabels").await;
    // It survives what ends all of ours: the service's own removal.
    let spec = format!("{{replicas: 2, template: {{container: {SLEEP}}}}}");
    world.put_service("passing", &spec).await;
    world.settled("passing", 2).await;
    world.remove_service("passing").await;
    assert_eq!(state(node, &copy).await, "running", "left alone");
    node.docker(&["rm", "--force", &copy]).await;
    world.passed("a container with copied labels");
}

async fn state(node: &Node, container: &str) -> String {
    node.docker(&["inspect", "--format", "{{.State.Status}}", container])
        .await
}
