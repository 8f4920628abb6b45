//! Verbs that look: get, describe, why, events, status.

use crate::world::{UID, WEB, World, condition};
use serde_json::{Value, json};

/// Tables without the age, which moves.
fn without_age(table: &str, age_column: usize) -> Vec<String> {
    table
        .lines()
        .map(|line| {
            let mut cells: Vec<&str> = line
                .split("   ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect();
            if age_column < cells.len() {
                cells.remove(age_column);
            }
            cells.join(" | ")
        })
        .collect()
}

async fn shop() -> World {
    let world = World::new();
    world.put("services/default/web", WEB);
    world.accept("services/default/web", 1);
    world.counts("services/default/web", 1, 3, 2);
    world.put("services/shop/api", "garbage: [");
    let refused = json!({"conditions": [condition("Accepted", "False", "line 1, column 10: unfinished list")]});
    world.put_json("status/services/shop/api/service", &refused);
    world.node("n1");
    world.task("t1aaaaaaaaaaaaaaaaaaaaaaa", 1, "n1").await;
    world
}

#[tokio::test]
async fn tables_show_what_people_look_for() {
    let world = shop().await;
    let services = world.ok("get svc -A").await;
    assert_eq!(
        without_age(&services, 6),
        [
            "NAMESPACE | NAME | MODE | READY | STATUS | IMAGE",
            "default | web | replicated | 2/3 | starting | nginx:1.27",
            "shop | api | <none> | 0/0 | not accepted | <none>",
        ]
    );
    let nodes = world.ok("get nodes").await;
    assert_eq!(
        without_age(&nodes, 5),
        [
            "NAME | STATUS | AVAILABILITY | TASKS | ENGINE",
            "n1 | ready | active | 1 | 28.5.2"
        ]
    );
    let tasks = world.ok("get tasks -o wide").await;
    assert!(
        tasks.contains("32768->80/tcp") && tasks.contains("172.17.0.2"),
        "{tasks}"
    );
    assert!(
        tasks.contains("web.1") && tasks.contains("t1aaaaaaaaaa "),
        "{tasks}"
    );
    assert_eq!(
        world.ok("get services -o name").await,
        "services/default/web\n"
    );
    assert_eq!(
        world.ok("get tasks web -o name").await,
        "tasks/default/web/t1aaaaaaaaaaaaaaaaaaaaaaa\n"
    );
}

#[tokio::test]
async fn ports_that_were_left_out_are_shown_with_what_they_were_given() {
    let world = World::new();
    let value = "{template: {container: nginx}, ports: [\"8080:80\", \"81\", \"82\", {target: 83, published: 83, hostIP: 192.0.2.1}, \"host:84:84\"]}";
    world.put("services/default/web", value);
    world.accept("services/default/web", 1);
    let owner = json!({"kind": "Service", "namespace": "default", "name": "web", "uid": UID});
    for (key, target) in [("30123", 82), ("08080", 0)] {
        let mut given = json!({ "owner": owner });
        if target > 0 {
            given["target"] = target.into();
        }
        world.put_json(&format!("allocations/ports/tcp/{key}"), &given);
    }
    let expected = "8080->80/tcp,*->81/tcp,30123->82/tcp,192.0.2.1:83->83/tcp,84->84/tcp (host)";
    let wide = world.ok("get services -o wide").await;
    assert!(wide.contains(expected), "{wide}");
    let told = world.ok("describe service web").await;
    let line = told
        .lines()
        .find(|line| line.trim_start().starts_with("Ports:"));
    assert!(line.is_some_and(|line| line.ends_with(expected)), "{told}");
}

/// A service on a network, with a task that serves, one that is unwell, and one without a node.
async fn networked() -> World {
    let world = World::new();
    world.put("networks/default/front", "{}");
    world.accept("networks/default/front", 1);
    let value = "{template: {container: nginx, networks: [front]}, ports: [\"8080:80\"]}";
    world.put("services/default/web", value);
    world.accept("services/default/web", 1);
    world.node("n1");
    let owned = |owner: Value| json!({ "owner": owner });
    let named = |kind: &str, name: &str| json!({"kind": kind, "namespace": "default", "name": name, "uid": UID});
    world.put_json(
        "allocations/vnis/00070000",
        &owned(named("Network", "front")),
    );
    world.put_json(
        "allocations/ports/tcp/08080",
        &owned(named("Service", "web")),
    );
    let address = |at: &str| format!("allocations/addresses/{UID}/{at}");
    world.put_json(&address("10.64.0.2"), &owned(named("Service", "web")));
    for (id, slot) in [("t1", 1), ("t2", 2)] {
        world.task(id, slot, "n1").await;
        let of_task = json!({"kind": "Task", "namespace": "default", "name": "web", "task": id});
        world.put_json(&address(&format!("10.64.0.{}", slot + 2)), &owned(of_task));
        let health = if slot == 1 { "healthy" } else { "unhealthy" };
        let status = json!({
            "task": id, "service": UID, "node": UID, "state": "running", "health": health,
            "addresses": [format!("10.64.0.{}", slot + 2)], "since": "2026-01-02T03:04:05.000Z",
        });
        world.put_json(&format!("status/tasks/n1/{id}"), &status);
    }
    let waiting = json!({
        "id": "t3", "service": UID, "revision": 1, "slot": {"replica": 3}, "desired": "running",
        "createdAt": "2026-01-02T03:04:05.000Z",
    });
    world.put_json("tasks/default/web/t3", &waiting);
    world
}

#[tokio::test]
async fn endpoints_say_the_addresses_of_ipv6_that_go_with_the_others() {
    let world = networked().await;
    let owner = json!({"kind": "Network", "namespace": "default", "name": "front", "uid": UID});
    for subnet in ["10.64.0.0-24", "fd00:1::-64"] {
        let key = format!("allocations/subnets/{subnet}");
        world.put_json(&key, &json!({"owner": owner}));
    }
    let shown = world.ok("get endpoints").await;
    assert!(shown.contains(" 10.64.0.2,fd00:1::2 "), "{shown}");
    let shown = world.ok("get endpoints web -o json").await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["virtualAddresses"][0]["address6"], "fd00:1::2");
    let places = &shown["endpoints"][0]["addresses"];
    assert_eq!(places[0]["address6"], "fd00:1::3");
}

#[tokio::test]
async fn endpoints_say_where_a_service_is_reached_and_who_gets_no_traffic() {
    let world = networked().await;
    let wide = world.ok("get endpoints -o wide").await;
    assert_eq!(
        without_age(&wide, 3),
        [
            "NAME | VIRTUAL ADDRESS | ENDPOINTS | PUBLISHED | WITHOUT TRAFFIC",
            "web | 10.64.0.2 | 10.64.0.3:80 | 8080->80/tcp | 2 t2: unhealthy, 3 t3: pending",
        ]
    );
    let value: Value = serde_json::from_str(&world.ok("get ep web -o json").await).unwrap();
    assert_eq!(
        value["endpoints"][0]["addresses"],
        json!([{"network": "front", "address": "10.64.0.3"}])
    );
    let serving: Vec<_> = (0..3)
        .map(|at| value["endpoints"][at]["serving"].clone())
        .collect();
    assert_eq!(serving, [true, false, false]);
    assert_eq!(value["published"][0]["published"], 8080);
    assert_eq!(
        world.ok("get endpoints -o name").await,
        "endpoints/default/web\n"
    );
    let said = world.skep("get endpoints nothing").await;
    assert_eq!(said.code, 1);
    assert_eq!(said.err, "error: there is no service default/nothing\n");
}

#[tokio::test]
async fn ports_of_tasks_on_their_nodes_are_endpoints_as_well() {
    let world = shop().await;
    let health = json!({"uid": UID, "engine": {"state": "ready", "address": "192.0.2.7"}});
    world.put_json("status/nodes/n1/health", &health);
    let shown = world.ok("get endpoints web").await;
    assert!(shown.contains("192.0.2.7:32768"), "{shown}");
}

#[tokio::test]
async fn netcheck_without_agents_says_what_has_to_be_there_first() {
    let world = shop().await;
    let said = world.skep("netcheck").await;
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(
        said.err.starts_with("error: no node has an agent"),
        "{}",
        said.err
    );
    assert!(said.err.contains("--networks"), "{}", said.err);
}

#[tokio::test]
async fn selectors_namespaces_and_names_narrow() {
    let world = shop().await;
    assert_eq!(
        world.ok("get svc -l app=web -o name").await,
        "services/default/web\n"
    );
    assert_eq!(world.ok("get svc -l app!=web -o name").await, "");
    assert_eq!(
        world.ok("get svc -n shop -o name").await,
        "services/shop/api\n"
    );
    let said = world.skep("get svc nothing").await;
    assert_eq!(said.code, 1);
    assert_eq!(said.err, "error: there is no service default/nothing\n");
    let said = world.skep("get svc web nothing -o name").await;
    assert_eq!(
        (said.code, said.out.as_str()),
        (1, "services/default/web\n"),
        "what is there is shown"
    );
    assert!(world.ok("get all").await.contains("n1 "));
    assert_eq!(world.skep("get pods").await.code, 2);
    assert_eq!(world.skep("get svc -l a=(").await.code, 2);
}

#[tokio::test]
async fn an_object_in_full_has_the_users_spec_and_all_status() {
    let world = shop().await;
    let shown: Value = serde_json::from_str(&world.ok("get svc web -o json").await).unwrap();
    assert_eq!(shown["apiVersion"], "skep.dev/v1");
    assert_eq!(shown["metadata"]["uid"], UID);
    assert_eq!(shown["metadata"]["generation"], 1);
    assert_eq!(shown["metadata"]["labels"]["app"], "web");
    assert_eq!(
        shown["metadata"]["creationTimestamp"],
        "2026-01-02T03:04:05.000Z"
    );
    assert_eq!(shown["metadata"]["resourceVersion"], "2");
    assert_eq!(shown["spec"]["replicas"], 3);
    assert_eq!(shown["status"]["replicas"]["ready"], 2);
    assert_eq!(shown["status"]["conditions"][0]["type"], "Accepted");
    let list: Value = serde_json::from_str(&world.ok("get svc -A -o json").await).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn describe_and_why_say_the_reasons() {
    let world = shop().await;
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
        "controller": "scheduler", "count": 3, "first": "2026-01-02T03:04:05.000Z", "last": "2026-01-02T03:04:06.000Z",
    });
    world
        .store
        .put("/skep-events/default/e1", event.to_string());
    for words in ["describe svc web", "why web", "status"] {
        let out = world.ok(words).await;
        assert!(
            out.contains("no suitable node: 1 of 1 lacks resources"),
            "{words}: {out}"
        );
    }
    let described = world.ok("describe service/web").await;
    for part in [
        "Conditions:",
        "Tasks:",
        "web.1",
        "needs 2 CPUs, has 1",
        "Events:",
        "3 wanted",
    ] {
        assert!(described.contains(part), "{part} in {described}");
    }
    assert!(world.ok("why web").await.contains("needs 2 CPUs, has 1"));
    assert!(
        world
            .ok("describe task web.1")
            .await
            .contains("32768->80/tcp")
    );
    assert!(world.ok("describe node n1").await.contains("28.5.2"));
    let events = world.ok("events").await;
    assert!(
        events.contains("Warning") && events.contains("services/default/web"),
        "{events}"
    );
    assert_eq!(events, world.ok("get events").await);
    assert_eq!(world.ok("events other").await, "");
    assert_eq!(world.skep("why nothing").await.code, 1);
}

#[tokio::test]
async fn status_is_one_screen_with_what_is_stuck() {
    let world = shop().await;
    let out = world.ok("status").await;
    for part in [
        "Managers:\n  none",
        "no manager runs",
        "service shop/api: not accepted: line 1",
        "Stuck:",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
    assert_eq!(world.skep("status --check").await.code, 1);
    let manager = json!({
        "name": "m1", "hostname": "h", "version": "0.1.0", "controllers": ["service"],
        "startedAt": "2026-01-02T03:04:05.000Z",
    });
    world.put_json("managers/m1", &manager);
    let holder = json!({"manager": "m1", "since": "2026-01-02T03:04:05.000Z"});
    world.put_json("election/service/0000000000000001", &holder);
    world.put_json("shards/000", &holder);
    let out = world.ok("status").await;
    assert!(out.contains("m1     0.1.0     service   000"), "{out}");
    assert!(!out.contains("no manager runs"), "{out}");
}

/// A task of `default/web` in slot 2 that is bound and was seen in this state, and why.
fn seen(world: &World, id: &str, created: &str, desired: &str, state: &str, message: &str) {
    let task = json!({
        "id": id, "service": UID, "revision": 1, "slot": {"replica": 2}, "desired": desired,
        "createdAt": created, "reason": "Restarted",
    });
    world.put_json(&format!("tasks/default/web/{id}"), &task);
    let binding = json!({
        "task": id, "service": UID, "namespace": "default", "serviceName": "web", "node": UID, "boundAt": created,
    });
    world.put_json(&format!("bindings/n1/{id}"), &binding);
    let mut status =
        json!({"task": id, "service": UID, "node": UID, "state": state, "since": created});
    if !message.is_empty() {
        status["reason"] = "StartFailed".into();
        status["message"] = message.into();
    }
    world.put_json(&format!("status/tasks/n1/{id}"), &status);
}

#[tokio::test(start_paused = true)]
async fn what_keeps_tasks_from_running_is_said_where_people_look_first() {
    const FIRST: &str = "2026-01-02T03:04:05.000Z";
    const THEN: &str = "2026-01-02T03:04:06.000Z";
    let world = shop().await;
    let failed = "t2aaaaaaaaaaaaaaaaaaaaaaa";
    let next = "t3aaaaaaaaaaaaaaaaaaaaaaa";
    seen(&world, failed, FIRST, "shutdown", "failed", "no such file");
    seen(&world, next, THEN, "ready", "ready", "");
    let expected =
        "service default/web: 2 of 3 ready, 2 up to date, web.2: StartFailed: no such file\n";
    let status = world.ok("status").await;
    assert!(status.contains(expected), "{status}");
    let said = world.skep("wait svc/web --for=condition=Ready").await;
    assert!(
        said.code == 4 && said.err.contains(expected),
        "{}",
        said.err
    );
    let why = world.ok("why web").await;
    let lines = "  task web.2: ready\n    is prepared and not started yet\n    Restarted\n    the one before it failed: StartFailed: no such file";
    assert!(why.contains(lines), "{why}");

    // What an engine refuses at once was never prepared.
    seen(&world, next, THEN, "ready", "rejected", "no such runtime");
    let why = world.ok("why web").await;
    assert!(
        why.contains("web.2: rejected\n    StartFailed: no such runtime"),
        "{why}"
    );
    let status = world.ok("status").await;
    assert!(
        status.contains("web.2: StartFailed: no such runtime\n"),
        "{status}"
    );
}

#[tokio::test]
async fn what_has_no_namespace_is_not_missed_in_one() {
    let world = World::new();
    let words = [
        ("get nodes", "nothing found\n"),
        ("get svc", "nothing found in namespace default\n"),
    ];
    for (words, expected) in words {
        assert_eq!(world.skep(words).await.err, expected, "{words}");
    }
}

#[tokio::test(start_paused = true)]
async fn watching_prints_what_changes_until_it_is_interrupted() {
    let world = shop().await;
    let store = world.store.clone();
    let person = async move {
        let pause = || tokio::time::sleep(std::time::Duration::from_secs(5));
        pause().await;
        store.put(
            "/skep/services/default/new",
            "{template: {container: 'nginx:1.27'}}",
        );
        pause().await;
        store.cut_watches();
        pause().await;
        store.delete("/skep/services/default/new");
        pause().await;
    };
    let said = world.skep_until("get svc -w", "", person).await;
    assert_eq!(said.code, 130);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), 4, "{}", said.out);
    assert!(
        lines[2].starts_with("new ") && lines[2].contains("nginx:1.27"),
        "{}",
        said.out
    );
    assert!(
        lines[3].starts_with("new ") && lines[3].ends_with("(gone)"),
        "{}",
        said.out
    );
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_is_exit_code_3() {
    let world = World::new();
    world.store.set_reachable(false);
    let said = world.skep("get services").await;
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(
        said.err.contains("hint: ") && said.err.matches("error:").count() == 1,
        "{}",
        said.err
    );
}

#[tokio::test]
async fn a_service_says_how_much_of_its_history_was_removed() {
    let world = shop().await;
    let plain = world.ok("describe service web").await;
    assert!(!plain.contains("History:"), "{plain}");
    let reaped = json!({"uid": UID, "observedGeneration": 1, "tasksRemoved": 12});
    world.put_json("status/services/default/web/reaper", &reaped);
    let text = world.ok("describe service web").await;
    assert!(
        text.contains("\nHistory:       12 ended tasks beyond its bounds removed\n"),
        "{text}"
    );
}
