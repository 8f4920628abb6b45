//! Whole screens as people see them.

use crate::world::{UID, WEB, World, condition};
use serde_json::json;

async fn shop() -> World {
    let world = World::new();
    world.put_json(
        "cluster",
        &json!({"id": "c000000000000000000000001", "incarnation": 1, "format": 1}),
    );
    let manager = json!({
        "name": "m1", "hostname": "h", "version": "0.1.0", "controllers": ["service"],
        "startedAt": "2026-01-02T03:04:05.000Z",
    });
    world.put_json("managers/m1", &manager);
    let holder = json!({"manager": "m1", "since": "2026-01-02T03:04:05.000Z"});
    world.put_json("election/service/0000000000000001", &holder);
    world.put_json("shards/000", &holder);
    world.put("services/default/web", WEB);
    world.accept("services/default/web", 1);
    world.counts("services/default/web", 1, 3, 2);
    world.put("services/shop/api", "garbage: [");
    let refused = json!({"conditions": [condition("Accepted", "False", "line 1, column 10: unfinished list")]});
    world.put_json("status/services/shop/api/service", &refused);
    let waiting = json!({
        "uid": UID,
        "waiting": [{
            "revision": 1, "tasks": 1, "filters": {"resources": 1},
            "nodes": {"n1": {"filter": "resources", "message": "needs 2 CPUs, has 1"}},
            "message": "no suitable node: 1 of 1 lacks resources",
        }],
    });
    world.put_json("status/services/default/web/scheduler", &waiting);
    let event = json!({
        "object": "services/default/web", "severity": "Warning", "reason": "Waiting", "message": "no suitable node",
        "controller": "scheduler", "count": 3, "first": "2026-01-02T03:04:05.000Z", "last": "2026-01-02T03:05:00.000Z",
    });
    world
        .store
        .put("/skep-events/default/e1", event.to_string());
    network(&world);
    world.node("n1");
    world.task("t1aaaaaaaaaaaaaaaaaaaaaaa", 1, "n1").await;
    world
}

/// A network that has what it needs, and one whose subnet the first has.
fn network(world: &World) {
    for (name, allocated) in [
        (
            "back",
            condition(
                "Allocated",
                "False",
                "10.64.0.0/25 is or overlaps 10.64.0.0/24 of network default/front",
            ),
        ),
        (
            "front",
            condition(
                "Allocated",
                "True",
                "VNI 70000, subnet 10.64.0.0/24, gateway 10.64.0.1, IPv6 subnet fd00:1:2:3::/64",
            ),
        ),
    ] {
        let key = format!("networks/default/{name}");
        world.put(
            &key,
            if name == "front" {
                "{ipv6: true}"
            } else {
                "{}"
            },
        );
        world.accept(&key, 1);
        let status = json!({
            "uid": UID, "observedGeneration": 1,
            "conditions": [condition("Accepted", "True", ""), allocated],
        });
        world.put_json(&format!("status/{key}/network"), &status);
    }
    let owner = json!({"kind": "Network", "namespace": "default", "name": "front", "uid": UID});
    world.put_json("allocations/vnis/00070000", &json!({"owner": owner}));
    for subnet in ["10.64.0.0-24", "fd00:1:2:3::-64"] {
        let key = format!("allocations/subnets/{subnet}");
        world.put_json(&key, &json!({"owner": owner}));
    }
    let owner = json!({"kind": "Service", "namespace": "default", "name": "web", "uid": UID});
    world.put_json(
        &format!("allocations/addresses/{UID}/10.64.0.7"),
        &json!({"owner": owner}),
    );
}

/// Compares a screen with its file beside this one; `SKEP_GOLDEN=write` writes it, to be read before it is committed.
async fn check(words: &str, file: &str) {
    let world = shop().await;
    let mut shown = world.ok(words).await;
    for container in world.fleet.get("tcp://n1:2375").unwrap().running() {
        let id = container.id.to_string();
        shown = shown.replace(&id, "CONTAINER");
        if let Some(short) = id.get(..12) {
            shown = shown.replace(short, "CONTAINER---");
        }
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cli/golden")
        .join(file);
    if std::env::var("SKEP_GOLDEN").is_ok_and(|word| word == "write") {
        std::fs::write(&path, &shown).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(shown, expected, "skep {words}:\n{shown}");
}

#[tokio::test]
async fn status() {
    check("status", "status.txt").await;
}

#[tokio::test]
async fn a_service_described() {
    check("describe service web", "service.txt").await;
}

#[tokio::test]
async fn a_node_described() {
    check("describe node n1", "node.txt").await;
}

#[tokio::test]
async fn a_task_described() {
    check("describe task web.1", "task.txt").await;
}

#[tokio::test]
async fn why() {
    check("why web", "why.txt").await;
}

#[tokio::test]
async fn a_network_described() {
    check("describe network front", "network.txt").await;
}

#[tokio::test]
async fn networks_listed() {
    check("get networks -o wide", "networks.txt").await;
}
