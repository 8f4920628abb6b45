//! Gauges of small clusters, each as the lines that a scrape would show.

use super::*;
use crate::api::key::Key;
use crate::api::name::{NodeName, Scoped};
use crate::runtime::fixture::World;
use serde_json::{Value, json};

const UID: &str = "0000000000000000000000web";

fn put(world: &mut World, key: &str, value: &Value) {
    let key = Key::parse(key).expect("a key of ours");
    world.put(key, value);
}

fn accepted(generation: u64, spec: &Value) -> Value {
    json!({
        "uid": UID, "generation": generation, "spec": spec, "createRevision": 1, "modRevision": 1,
        "incarnation": 1, "createdAt": "2026-01-01T00:00:00Z",
    })
}

/// A service `default/web` of generation 2 and a node `n1` that is ready.
fn world() -> World {
    let mut world = World::default();
    let spec = json!({"template": {"container": {"image": "app:1"}}});
    put(
        &mut world,
        "accepted/services/default/web",
        &accepted(2, &spec),
    );
    let spec = json!({"engine": {"url": "tcp://n1:2375"}});
    put(&mut world, "accepted/nodes/n1", &accepted(1, &spec));
    let status = json!({"uid": UID, "engine": {"state": "ready"}});
    put(&mut world, "status/nodes/n1/health", &status);
    assert_eq!(world.cache.broken, BTreeMap::new());
    world
}

/// The samples as `name{labels} value`, those with this name.
fn lines(world: &World, family: &Family) -> Vec<String> {
    assert_eq!(world.cache.broken, BTreeMap::new());
    gauges(&world.cache)
        .iter()
        .filter(|sample| sample.family == family)
        .map(|sample| {
            let labels = sample.labels.join(" ");
            format!("{labels}: {}", sample.value)
        })
        .collect()
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

#[test]
fn an_empty_cluster_shows_zeros_and_no_objects() {
    let world = World::default();
    assert_eq!(
        lines(&world, &list::NODES),
        ["ready: 0", "down: 0", "unknown: 0"]
    );
    assert_eq!(lines(&world, &list::TASKS).len(), TaskState::ALL.len());
    assert_eq!(
        lines(&world, &list::NOT_ACCEPTED),
        ["Service: 0", "Node: 0", "Network: 0"]
    );
    assert_eq!(lines(&world, &list::GENERATION), Vec::<String>::new());
}

#[test]
fn every_sample_has_its_familys_labels_and_every_family_is_listed() {
    for sample in gauges(&world().cache) {
        assert_eq!(sample.labels.len(), sample.family.labels.len());
        assert!(FAMILIES.contains(&sample.family), "{:?}", sample.family);
    }
}

#[test]
fn nodes_are_counted_by_state_and_shown_one_by_one() {
    let mut world = world();
    let status = json!({"uid": UID, "found": {"unclaimed": [], "total": 3}});
    put(&mut world, "status/nodes/n1/task", &status);
    assert_eq!(
        lines(&world, &list::NODES),
        ["ready: 1", "down: 0", "unknown: 0"]
    );
    assert_eq!(
        lines(&world, &list::NODE_STATE),
        ["n1 ready: 1", "n1 down: 0", "n1 unknown: 0"]
    );
    assert_eq!(lines(&world, &list::NODE_UNSCHEDULABLE), ["n1: 0"]);
    assert_eq!(lines(&world, &list::UNCLAIMED), ["n1: 3"]);
}

#[test]
fn a_drained_node_takes_no_tasks() {
    let mut world = world();
    let spec = json!({"engine": {"url": "tcp://n1:2375"}, "availability": "drain"});
    put(&mut world, "accepted/nodes/n1", &accepted(2, &spec));
    assert_eq!(lines(&world, &list::NODE_UNSCHEDULABLE), ["n1: 1"]);
}

#[test]
fn replicas_are_what_the_service_controller_counted_for_this_uid() {
    let mut world = world();
    let counts = json!({"wanted": 3, "running": 2, "ready": 1, "updated": 0, "pending": 1});
    let mut status = json!({"uid": UID, "observedGeneration": 1, "replicas": counts});
    put(&mut world, "status/services/default/web/service", &status);
    assert_eq!(lines(&world, &list::REPLICAS), ["default web: 3"]);
    assert_eq!(lines(&world, &list::REPLICAS_RUNNING), ["default web: 2"]);
    assert_eq!(lines(&world, &list::REPLICAS_READY), ["default web: 1"]);
    assert_eq!(lines(&world, &list::REPLICAS_UPDATED), ["default web: 0"]);

    status["uid"] = json!("another");
    put(&mut world, "status/services/default/web/service", &status);
    assert_eq!(lines(&world, &list::REPLICAS), Vec::<String>::new());
}

#[test]
fn a_generation_that_nobody_dealt_with_shows_as_a_difference() {
    let mut world = world();
    assert_eq!(
        lines(&world, &list::GENERATION),
        ["Service default web: 2", "Node  n1: 1"]
    );
    assert_eq!(
        lines(&world, &list::OBSERVED_GENERATION),
        ["Service default web: 0", "Node  n1: 0"]
    );
    let status = json!({"uid": UID, "observedGeneration": 2});
    put(&mut world, "status/services/default/web/service", &status);
    assert_eq!(
        lines(&world, &list::OBSERVED_GENERATION)[0],
        "Service default web: 2"
    );
}

#[test]
fn a_refused_value_is_counted_and_one_on_its_way_out_is_not() {
    let check = |reason: &str, expected: &str| {
        let mut world = world();
        let said = condition("Accepted", "False", reason);
        let status = json!({"uid": UID, "conditions": [said]});
        put(&mut world, "status/services/default/web/service", &status);
        assert_eq!(lines(&world, &list::NOT_ACCEPTED)[0], expected, "{reason}");
        assert_eq!(
            lines(&world, &list::CONDITION),
            ["Service default web Accepted false: 1"]
        );
    };
    check("Invalid", "Service: 1");
    check("Deleted", "Service: 0");
    check("Terminating", "Service: 0");
}

#[test]
fn a_waiting_service_shows_how_many_nodes_each_filter_refused() {
    let mut world = world();
    let waiting = |revision: u32, filters: Value| json!({"revision": revision, "tasks": 2, "filters": filters, "nodes": {}, "message": ""});
    let status = json!({"uid": UID, "waiting": [
        waiting(1, json!({"resources": 2, "constraint": 1})),
        waiting(2, json!({"resources": 3})),
    ]});
    put(&mut world, "status/services/default/web/scheduler", &status);
    assert_eq!(
        lines(&world, &list::PENDING_REASON),
        ["default web constraint: 1", "default web resources: 3"]
    );
}

#[test]
fn tasks_are_counted_by_their_observed_state() {
    let mut world = world();
    for id in ["a", "b"] {
        let task = json!({
            "id": id, "service": UID, "revision": 1, "slot": {"replica": 1}, "desired": "running",
            "createdAt": "2026-01-01T00:00:00Z",
        });
        put(&mut world, &format!("tasks/default/web/{id}"), &task);
    }
    let binding = json!({
        "task": "a", "service": UID, "namespace": "default", "serviceName": "web", "node": UID,
        "boundAt": "2026-01-01T00:00:00Z",
    });
    put(&mut world, "bindings/n1/a", &binding);
    let states: Vec<String> = lines(&world, &list::TASKS)
        .into_iter()
        .filter(|line| !line.ends_with(" 0"))
        .collect();
    assert_eq!(states, ["pending: 1", "assigned: 1"]);
}

#[test]
fn what_is_gone_leaves_the_metrics() {
    let mut world = world();
    let metrics = Metrics::new();
    refresh(&metrics, &world.cache);
    assert!(metrics.render().contains("name=\"web\""));
    world.del(&Key::Accepted(ObjectKey::service(&Scoped::new(
        "default", "web",
    ))));
    world.del(&Key::Accepted(ObjectKey::node(&NodeName::from("n1"))));
    refresh(&metrics, &world.cache);
    let text = metrics.render();
    assert!(
        !text.contains("name=\"web\"") && !text.contains("n1"),
        "{text}"
    );
}
