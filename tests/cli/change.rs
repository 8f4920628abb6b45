//! Verbs that write: apply, diff, scale, delete, node, reap, and waiting for what they asked for.

use crate::world::{Meddled, UID, WEB, World, condition};
use serde_json::json;
use skep::embedded::fault::Fault;

#[tokio::test]
async fn apply_stores_the_text_byte_for_byte_and_twice_writes_nothing() {
    let world = World::new();
    let file = world.file("web.yaml", WEB);
    let out = world.ok(&format!("apply -f {file}")).await;
    assert_eq!(out, "service default/web created\n");
    assert_eq!(world.value("services/default/web").unwrap(), WEB);
    let revision = world.revision();
    let out = world.ok(&format!("apply -f {file}")).await;
    assert_eq!(out, "service default/web unchanged\n");
    // Another comment means the same.
    let file = world.file("web.yaml", &WEB.replace("three are enough", "or so"));
    world.ok(&format!("apply -f {file}")).await;
    assert_eq!(world.revision(), revision, "nothing was written");
}

#[tokio::test]
async fn apply_says_what_changes() {
    let world = World::new();
    world.put("services/default/web", WEB);
    let file = world.file("web.yaml", &WEB.replace("replicas: 3", "replicas: 5"));
    let revision = world.revision();
    let out = world.ok(&format!("apply --dry-run -f {file}")).await;
    assert_eq!(
        out,
        "service default/web configured (spec.replicas: 3 -> 5) (dry run)\n"
    );
    let said = world.skep(&format!("diff -f {file}")).await;
    assert_eq!(said.out, "service default/web spec.replicas: 3 -> 5\n");
    assert_eq!(said.code, 1, "diff: 1 means changes");
    assert_eq!(world.revision(), revision);
    world.ok(&format!("apply -f {file}")).await;
    assert_eq!(world.skep(&format!("diff -f {file}")).await.code, 0);
    let bad = world.file("bad.yaml", "a: [");
    assert_eq!(
        world.skep(&format!("diff -f {bad}")).await.code,
        2,
        "above 1: an error"
    );
}

#[tokio::test]
async fn several_documents_are_each_their_own_value() {
    let world = World::new();
    let network =
        "# a network\napiVersion: skep.dev/v1\nkind: Network\nmetadata: {name: front}\nspec: {}\n";
    let file = world.file("all.yaml", &format!("{WEB}---\n{network}"));
    let out = world.ok(&format!("apply -f {file} -o name")).await;
    assert_eq!(out, "services/default/web\nnetworks/default/front\n");
    assert_eq!(world.revision(), 2, "one transaction");
    assert!(
        world
            .value("services/default/web")
            .unwrap()
            .contains("# three are enough")
    );
    let stored = world.value("networks/default/front").unwrap();
    assert!(
        stored.contains("# a network") && !stored.contains("nginx"),
        "{stored}"
    );
}

#[tokio::test]
async fn a_bad_file_is_refused_with_its_place_and_nothing_is_written() {
    let world = World::new();
    let good = world.file("good.yaml", WEB);
    let bad = world.file(
        "bad.yaml",
        &WEB.replace("replicas: 3", "replicsa: 3")
            .replace("web", "bad"),
    );
    let said = world.skep(&format!("apply -f {good} -f {bad}")).await;
    assert_eq!(said.code, 1);
    assert!(said.err.starts_with("error: "), "{}", said.err);
    assert!(said.err.contains("bad.yaml:6:3"), "{}", said.err);
    assert!(
        said.err.contains("replicas"),
        "the nearest right word: {}",
        said.err
    );
    assert_eq!(world.value("services/default/web"), None);
}

#[tokio::test]
async fn a_value_above_512_kib_is_refused_before_it_is_tried() {
    let world = World::new();
    let large = format!("{WEB}# {}\n", "x".repeat(513 << 10));
    let revision = world.revision();
    let said = world
        .skep(&format!("apply -f {}", world.file("large.yaml", &large)))
        .await;
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("524288"), "{}", said.err);
    assert_eq!(world.revision(), revision);
}

#[tokio::test]
async fn resource_version_is_a_precondition() {
    let world = World::new();
    let revision = world.put("services/default/web", WEB);
    let with = |revision: i64| {
        WEB.replace(
            "name: web",
            &format!("name: web, resourceVersion: '{revision}'"),
        )
        .replace("replicas: 3", "replicas: 4")
    };
    let said = world.skep_with("apply -f -", &with(revision + 7)).await;
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("conflict") && said.err.contains("hint:"),
        "{}",
        said.err
    );
    let said = world.skep_with("apply -f -", &with(revision)).await;
    assert_eq!(said.code, 0, "{}", said.err);
}

#[tokio::test]
async fn more_than_127_objects_go_in_chunks_that_are_told() {
    let world = World::new();
    let documents: Vec<String> = (0..300)
        .map(|n| WEB.replace("name: web", &format!("name: web{n}")))
        .collect();
    let said = world
        .skep_with("apply -f -", &documents.join("---\n"))
        .await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(world.revision(), 4, "three transactions");
    assert!(
        said.err.contains("transaction 3 of 3: 46 objects written"),
        "{}",
        said.err
    );
    assert_eq!(said.out.lines().count(), 300);
}

#[tokio::test]
async fn what_get_shows_can_be_applied_and_writes_nothing() {
    let world = World::new();
    world.put(
        "services/default/web",
        "{replicas: 2, template: {container: 'nginx:1.27'}, ports: ['host:8080:80']}",
    );
    world.accept("services/default/web", 1);
    world.counts("services/default/web", 1, 2, 2);
    world.node("n1");
    for kind in ["services", "nodes", "services,nodes"] {
        let revision = world.revision();
        for format in ["yaml", "json"] {
            let name = match kind {
                "services" => "web",
                "nodes" => "n1",
                _ => "",
            };
            let shown = world.ok(&format!("get {kind} {name} -o {format}")).await;
            let said = world.skep_with("apply -f -", &shown).await;
            assert_eq!(said.code, 0, "{shown}{}", said.err);
            assert!(
                said.out.lines().all(|line| line.ends_with("unchanged")),
                "{}",
                said.out
            );
        }
        assert_eq!(world.revision(), revision);
    }
}

#[tokio::test]
async fn scale_keeps_comments_and_layout() {
    let world = World::new();
    world.put("services/default/web", WEB);
    let out = world.ok("scale web --replicas 5").await;
    assert_eq!(out, "service default/web scaled (3 -> 5)\n");
    let wanted = WEB.replace("replicas: 3 ", "replicas: 5 ");
    assert_eq!(world.value("services/default/web").unwrap(), wanted);
    let revision = world.revision();
    assert!(world.ok("scale service/web=5").await.contains("unchanged"));
    let said = world
        .skep("scale web --replicas 6 --current-replicas 3")
        .await;
    assert_eq!(said.code, 1, "{}", said.err);
    assert_eq!(world.revision(), revision);
}

#[tokio::test]
async fn scale_of_a_manifest_without_replicas_is_said_beside_it() {
    let world = World::new();
    let text = "{template: {container: 'nginx:1.27'}}";
    world.put("services/default/web", text);
    world.ok("scale web=4").await;
    assert_eq!(world.value("scale/default/web").unwrap(), "4");
    assert_eq!(world.value("services/default/web").unwrap(), text);
    assert!(
        world
            .ok("scale web=2 --current-replicas 4")
            .await
            .contains("(4 -> 2)")
    );
    world.put(
        "services/default/all",
        "{mode: global, template: {container: 'nginx:1.27'}}",
    );
    let said = world.skep("scale all=4").await;
    assert!(
        said.code == 1 && said.err.contains("global"),
        "{}",
        said.err
    );
    assert_eq!(world.skep("scale nothing=4").await.code, 1);
    assert_eq!(world.skep("scale web").await.code, 2);
    for number in ["-1", "1.5", "5000000000"] {
        let said = world.skep(&format!("scale -- web {number}")).await;
        let expected = format!("error: `{number}` is no number of replicas for web\n");
        assert!(
            said.code == 2 && said.err.starts_with(&expected),
            "{}",
            said.err
        );
    }
    assert!(world.ok("scale web 5").await.contains("(2 -> 5)"));
    assert_eq!(
        world.skep("scale web 5 --replicas 6").await.code,
        1,
        "no service 5"
    );
}

#[tokio::test]
async fn waiting_for_replicas_that_the_manifest_leaves_out_ends() {
    let world = World::new();
    let key = "services/default/web";
    world.put(key, "{template: {container: 'nginx:1.27'}}");
    world.accept(key, 1);
    let mut record: serde_json::Value =
        serde_json::from_str(&world.value(&format!("accepted/{key}")).unwrap()).unwrap();
    // The controller fills them in.
    record["spec"]["replicas"] = json!(1);
    world.put_json(&format!("accepted/{key}"), &record);
    world.counts(key, 1, 1, 1);
    world
        .ok("wait svc web --for=condition=ready --timeout 1s")
        .await;
    world.ok("scale web=2").await;
    let early = world
        .skep("wait svc web --for=condition=ready --timeout 100ms")
        .await;
    assert_eq!(
        early.code, 4,
        "the scale key is not in force yet: {}",
        early.err
    );
    record["spec"]["replicas"] = json!(2);
    record["generation"] = json!(2);
    world.put_json(&format!("accepted/{key}"), &record);
    world.counts(key, 2, 2, 2);
    world
        .ok("wait svc web --for=condition=ready --timeout 1s")
        .await;
}

#[tokio::test]
async fn scaling_down_waits_until_the_surplus_has_stopped() {
    let world = World::new();
    let key = "services/default/web";
    world.put(key, WEB);
    world.accept(key, 1);
    world.counts(key, 1, 3, 3);
    world.node("n1");
    world.task("t1aaaaaaaaaaaaaaaaaaaaaaa", 4, "n1").await;
    let task = "tasks/default/web/t1aaaaaaaaaaaaaaaaaaaaaaa";
    let mut record: serde_json::Value = serde_json::from_str(&world.value(task).unwrap()).unwrap();
    record["desired"] = json!("shutdown");
    world.put_json(task, &record);
    let said = world
        .skep("wait svc web --for=condition=ready --timeout 100ms")
        .await;
    assert_eq!(said.code, 4);
    assert!(said.err.contains("1 task still to stop"), "{}", said.err);
    // Of a node that is out of reach nobody waits for the end of a task.
    let lost = json!({"uid": UID, "engine": {"state": "down", "reason": "Unreachable"}});
    world.put_json("status/nodes/n1/health", &lost);
    world
        .ok("wait svc web --for=condition=ready --timeout 1s")
        .await;
}

#[tokio::test]
async fn a_dry_run_prints_what_would_be() {
    let world = World::new();
    let file = world.file("web.yaml", WEB);
    for format in ["yaml", "json"] {
        let out = world
            .ok(&format!("apply -f {file} --dry-run -o {format}"))
            .await;
        let shown: serde_json::Value = serde_yaml::from_str(&out).unwrap();
        assert_eq!(shown["spec"]["replicas"], 3, "{out}");
        assert_eq!(shown["metadata"]["labels"]["app"], "web", "{out}");
    }
    let out = world
        .ok(&format!("apply -f {file} --dry-run -o name"))
        .await;
    assert_eq!(out, "services/default/web\n");
    assert_eq!(
        world.value("services/default/web"),
        None,
        "nothing is written"
    );
    world.ok(&format!("apply -f {file} -o yaml")).await;
    assert_eq!(world.value("services/default/web").unwrap(), WEB);
}

#[tokio::test]
async fn delete_takes_the_scale_with_it() {
    let world = World::new();
    world.put(
        "services/default/web",
        "{template: {container: 'nginx:1.27'}}",
    );
    world.ok("scale web=4").await;
    assert_eq!(
        world.ok("delete service web").await,
        "service default/web deleted\n"
    );
    assert_eq!(world.value("services/default/web"), None);
    assert_eq!(world.value("scale/default/web"), None);
    assert_eq!(world.skep("delete service web").await.code, 1);
    assert_eq!(
        world
            .skep("delete service web --ignore-not-found")
            .await
            .code,
        0
    );
}

#[tokio::test]
async fn delete_by_label_takes_only_those() {
    let world = World::new();
    world.put("services/default/web", WEB);
    world.put(
        "services/default/other",
        "{template: {container: 'nginx:1.27'}}",
    );
    world.ok("delete services -l app=web").await;
    assert_eq!(world.value("services/default/web"), None);
    assert!(world.value("services/default/other").is_some());
    assert_eq!(
        world.skep("delete services -l ,").await.code,
        2,
        "an empty selector"
    );
}

#[tokio::test(start_paused = true)]
async fn delete_waits_until_the_record_is_gone() {
    let world = World::new();
    world.put("services/default/web", WEB);
    world.accept("services/default/web", 1);
    let said = world.skep("delete service web --wait --timeout 10s").await;
    assert_eq!(said.code, 4, "{}", said.err);
    let store = world.store.clone();
    let waiting = world.skep("wait service web --for=delete --timeout 10s");
    let cleaning = async move {
        tokio::task::yield_now().await;
        store.delete("/skep/accepted/services/default/web");
    };
    let (said, ()) = tokio::join!(waiting, cleaning);
    assert_eq!(said.code, 0, "{}", said.err);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_all_is_there_or_with_a_code_that_says_why_not() {
    let world = World::new();
    let file = world.file("web.yaml", WEB);
    let said = world
        .skep(&format!("apply -f {file} --wait --timeout 10s"))
        .await;
    assert_eq!(said.code, 4);
    assert!(said.err.contains("still converging"), "{}", said.err);
    world.accept("services/default/web", 1);
    world.counts("services/default/web", 1, 3, 2);
    let said = world
        .skep("wait service/web --for=condition=Ready --timeout 5s")
        .await;
    assert_eq!(said.code, 4);
    assert!(said.err.contains("2 of 3 ready"), "{}", said.err);
    world.counts("services/default/web", 1, 3, 3);
    assert_eq!(world.skep(&format!("apply -f {file} --wait")).await.code, 0);
    assert_eq!(
        world
            .skep("wait svc web --for=condition=Available")
            .await
            .code,
        0
    );
    let paused = json!({
        "uid": UID, "observedGeneration": 1, "replicas": {"wanted": 3, "ready": 3, "updated": 1},
        "update": {"revision": 2, "state": "paused", "message": "task web.1 failed"},
    });
    world.put_json("status/services/default/web/service", &paused);
    let said = world.skep(&format!("apply -f {file} --wait")).await;
    assert_eq!(said.code, 5, "{}", said.err);
    assert!(said.err.contains("task web.1 failed"), "{}", said.err);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_an_earlier_value_does_not_end_the_wait() {
    let world = World::new();
    let refusal = json!({"conditions": [condition("Accepted", "False", "line 1: garbage")]});
    world.put("services/default/web", "garbage: [");
    world.put_json("status/services/default/web/service", &refusal);
    let file = world.file("web.yaml", WEB);
    let said = world
        .skep(&format!("apply -f {file} --wait --timeout 5s"))
        .await;
    assert_eq!(said.code, 4, "{}", said.err);
    world.put_json("status/services/default/web/service", &refusal);
    let waited = world.skep("wait svc web --for=condition=Accepted=False");
    assert_eq!(waited.await.code, 0);
}

#[tokio::test]
async fn edits_by_others_meanwhile_are_a_conflict() {
    let world = World::new();
    world.put("services/default/web", WEB);
    let other = WEB.replace("replicas: 3", "replicas: 9");
    let store = Meddled::new(&world, "/skep/services/default/web", &other);
    let mine = WEB.replace("replicas: 3", "replicas: 5");
    let said = world
        .skep_over(store, "apply -f -", &mine, std::future::pending())
        .await;
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("conflict") && said.err.contains("services/default/web"),
        "{}",
        said.err
    );
    assert_eq!(world.value("services/default/web").unwrap(), other);
}

#[tokio::test]
async fn an_unknown_outcome_is_told_and_may_be_repeated() {
    let world = World::new();
    world.store.fail_next(Fault::Committed);
    let said = world.skep_with("apply -f -", WEB).await;
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("unknown"), "{}", said.err);
    let said = world.skep_with("apply -f -", WEB).await;
    assert_eq!(said.out, "service default/web unchanged\n");
}

#[tokio::test]
async fn nodes_are_added_drained_and_removed_with_their_comments() {
    let world = World::new();
    let out = world
        .ok("node add n1 --engine tcp://10.0.0.11:2375 --label disk=ssd")
        .await;
    assert_eq!(out, "node n1 created\n");
    let text = world.value("nodes/n1").unwrap();
    assert!(
        text.contains("availability: active   # active | pause | drain"),
        "{text}"
    );
    assert!(text.contains("\"disk\": \"ssd\""), "{text}");
    assert_eq!(
        world
            .skep("node add n1 --engine tcp://10.0.0.11:2375")
            .await
            .code,
        1
    );
    world.ok("node drain n1").await;
    assert_eq!(
        world.value("nodes/n1").unwrap(),
        text.replace("availability: active ", "availability: drain ")
    );
    let revision = world.revision();
    assert!(world.ok("node drain n1").await.contains("unchanged"));
    assert_eq!(world.revision(), revision);
    world.ok("node activate n1").await;
    assert_eq!(world.value("nodes/n1").unwrap(), text);
    world.put("nodes/n2", "{engine: 'tcp://10.0.0.12:2375'}");
    world.ok("node pause n2").await;
    assert!(
        world
            .value("nodes/n2")
            .unwrap()
            .contains("availability: pause")
    );
    world.accept("nodes/n1", 1);
    let said = world.skep("node rm n1 --force").await;
    assert!(
        said.code == 0 && said.err.contains("warning"),
        "{}",
        said.err
    );
    assert_eq!(
        (world.value("nodes/n1"), world.value("accepted/nodes/n1")),
        (None, None)
    );
    assert_eq!(world.skep("node rm n1").await.code, 1);
}

#[tokio::test(start_paused = true)]
async fn the_removal_of_a_node_says_what_holds_it() {
    let world = World::new();
    world.put("services/default/web", WEB);
    world.accept("services/default/web", 1);
    world.node("n1");
    world.task("t1", 1, "n1").await;
    let said = world.skep("node rm n1").await;
    assert_eq!((said.code, said.out.as_str()), (0, "node n1 deleted\n"));
    assert!(
        said.err
            .starts_with("node n1: 1 task to be moved first; --wait shows"),
        "{}",
        said.err
    );
    world.node("n1");
    let waiting = json!({
        "uid": UID, "waiting": [{
            "revision": 1, "tasks": 1, "filters": {}, "nodes": {}, "message": "no suitable node: there is none",
        }],
    });
    world.put_json("status/services/default/web/scheduler", &waiting);
    let said = world.skep("node rm n1 --wait --timeout 5s").await;
    assert_eq!(said.code, 4, "{}", said.err);
    let held = "node n1: 1 task left, service default/web: no suitable node: there is none (`skep node rm n1 --force` gives them up)";
    assert!(said.err.contains(held), "{}", said.err);
}

#[tokio::test]
async fn a_unix_socket_needs_its_manager() {
    let world = World::new();
    let out = world
        .ok("node add local --engine unix:///var/run/docker.sock --manager m1 --dry-run")
        .await;
    assert!(out.contains("manager: \"m1\""), "{out}");
    assert_eq!(world.value("nodes/local"), None, "a dry run");
    let none = world
        .skep("node add local --engine unix:///var/run/docker.sock")
        .await;
    assert_eq!(none.code, 2, "{}", none.err);
    for name in ["m1", "m2"] {
        let manager = json!({
            "name": name, "hostname": "h", "version": "0.1.0", "controllers": ["service"],
            "startedAt": "2026-01-02T03:04:05.000Z",
        });
        world.put_json(&format!("managers/{name}"), &manager);
        let said = world
            .skep("node add local --engine unix:///var/run/docker.sock --dry-run")
            .await;
        match name {
            "m1" => assert!(
                said.out.contains("manager: \"m1\""),
                "the only one: {}",
                said.err
            ),
            _ => assert!(
                said.code == 2 && said.err.contains("m1, m2"),
                "{}",
                said.err
            ),
        }
    }
    let said = world.skep("node add n1 --engine nonsense").await;
    assert!(
        said.err.starts_with("error: spec.engine.url: "),
        "{}",
        said.err
    );
}

#[tokio::test]
async fn reap_removes_what_is_ours_and_nothing_else() {
    let world = World::new();
    world.node("n1");
    world.put_json(
        "cluster",
        &json!({"id": "c", "incarnation": 1, "format": 1}),
    );
    let id = |number: u32| format!("t{number:a<24}");
    let one = |number: u32, kind: &str, cluster: &str| {
        let task = id(number);
        json!({
            "container": format!("{task}-container"), "name": format!("web.1.{task}"), "kind": kind,
            "running": true, "since": "2026-01-02T03:04:05.000Z",
            "claim": {"cluster": cluster, "task": task, "service": UID, "namespace": "default", "name": "web",
                "slot": {"replica": 1}, "revision": 1, "hash": "h", "node": UID,
                "stamp": {"incarnation": 1, "term": 1, "revision": 1}},
        })
    };
    // Its task is there: bound again by itself, or bound elsewhere.
    let unbound = one(7, "Unbound", "c");
    let stray = one(8, "Stray", "c");
    let mut unclaimed = [
        one(1, "Lost", "c"),
        one(2, "ForeignCluster", "d"),
        one(3, "Imposter", "c"),
        one(4, "Lost", "d"),
        one(5, "Lost", "c"),
        one(6, "Lost", "c"),
        unbound,
        stray,
    ];
    // Of the node's life before: the store was wiped, or the node removed and added again.
    unclaimed[4]["claim"]["node"] = "0000000000000000000000002".into();
    unclaimed[5]["claim"]["namespace"] = "no/namespace".into();
    let found =
        json!({"uid": UID, "found": {"incarnation": 1, "unclaimed": unclaimed, "total": 8}});
    world.put_json("status/nodes/n1/task", &found);
    let revision = world.revision();
    let out = world.ok("reap").await;
    assert_eq!(out.lines().count(), 9, "{out}");
    assert!(out.contains("it gets one back"), "{out}");
    assert!(out.contains("its task runs on another node"), "{out}");
    assert_eq!(world.revision(), revision, "listing writes nothing");
    let said = world.skep("reap --yes").await;
    assert_eq!(said.code, 0, "{}", said.err);
    for number in [1, 5] {
        let task = world.value(&format!("tasks/default/web/{}", id(number)));
        let task = task.unwrap();
        assert!(
            task.contains("\"desired\":\"remove\"") && task.contains("\"adoptedFrom\":\"n1\""),
            "{task}"
        );
    }
    let ordered = world.store.dump("/skep/tasks/");
    assert_eq!(ordered.len(), 2, "{ordered:?}");
    let revision = world.revision();
    world.ok("reap --yes").await;
    assert_eq!(world.revision(), revision, "ordered once");
}
