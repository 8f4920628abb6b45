//! The judge on histories told by hand: what it must see, and what it must let pass.

use super::check::Judge;
use super::{Happening, SimEngine};
use crate::api::time::Timestamp;
use crate::api::unit::{LeaseId, Revision};
use crate::engine::Container;
use crate::store::KeyValue;
use std::sync::Arc;
use std::time::Duration;

/// A container of this task in slot 1 of service `s`.
fn container(task: &str) -> Container {
    let engine = SimEngine::new("n1");
    let labels = [
        ("dev.skep.task", task),
        ("dev.skep.service", "s"),
        ("dev.skep.slot", "1"),
    ];
    let id = engine.make_by_hand(&format!("web.1.{task}"), &labels, false);
    let mut container = engine.containers().remove(0);
    container.id = format!("{}-{task}", id.expect("the name is free")).into();
    container
}

/// Says of the store that the second task takes over from the first.
fn as_pair(mut kvs: Vec<KeyValue>, old: &str, new: &str) -> Vec<KeyValue> {
    for kv in &mut kvs {
        if kv.key.ends_with(&format!("tasks/default/web/{new}")) {
            let mut record: serde_json::Value =
                serde_json::from_slice(&kv.value).expect("a record");
            record["replaces"] = old.into();
            kv.value = record.to_string().into_bytes();
        }
    }
    kvs
}

/// The store after so many rounds, with these tasks of slot 1, each committed to be started.
fn store(round: i64, tasks: &[(&str, &str)]) -> Vec<KeyValue> {
    let mut kvs = Vec::new();
    for (task, desired) in tasks {
        let record = serde_json::json!({
            "id": task, "service": "s", "revision": 1, "slot": {"replica": 1},
            "desired": desired, "createdAt": Timestamp(0),
        });
        kvs.push(key(round, &format!("tasks/default/web/{task}"), &record));
        let status = serde_json::json!({
            "task": task, "service": "s", "node": "u", "state": "starting", "since": Timestamp(0),
        });
        kvs.push(key(round, &format!("status/tasks/n1/{task}"), &status));
    }
    kvs
}

fn key(round: i64, key: &str, value: &serde_json::Value) -> KeyValue {
    KeyValue {
        key: format!("/skep/{key}"),
        value: value.to_string().into_bytes(),
        create_revision: Revision(1),
        mod_revision: Revision(round),
        version: 1,
        lease: LeaseId(0),
    }
}

fn rules(judge: &Judge) -> Vec<&str> {
    judge.broken().iter().map(|broken| broken.rule).collect()
}

fn start(judge: &mut Judge, node: &str, task: &str) {
    judge.happened(node, Happening::Created, &container(task));
    judge.happened(node, Happening::Started, &container(task));
}

#[test]
fn an_ordinary_life_breaks_nothing() {
    let mut judge = Judge::new();
    judge.stored(store(1, &[("a", "running")]), false);
    start(&mut judge, "n1", "a");
    judge.stored(store(2, &[("a", "shutdown"), ("b", "running")]), false);
    judge.happened("n1", Happening::Stopped, &container("a"));
    start(&mut judge, "n1", "b");
    judge.happened("n1", Happening::Removed, &container("a"));
    assert_eq!(judge.broken(), []);
}

#[test]
fn a_start_that_no_record_asks_for_is_seen() {
    let mut judge = Judge::new();
    start(&mut judge, "n1", "a");
    assert_eq!(
        rules(&judge),
        ["a start is committed before it is ordered (C4)"]
    );
}

#[test]
fn a_stop_of_what_is_wanted_is_seen() {
    let mut judge = Judge::new();
    judge.stored(store(1, &[("a", "running")]), false);
    start(&mut judge, "n1", "a");
    judge.happened("n1", Happening::Stopped, &container("a"));
    assert_eq!(
        rules(&judge),
        ["a container that ran ends because its record says so (C2)"]
    );
}

#[test]
fn two_containers_of_a_slot_are_seen_unless_one_cannot_be_reached() {
    for is_cut in [false, true] {
        let mut judge = Judge::new();
        judge.set_time(Duration::from_secs(100));
        judge.stored(store(1, &[("a", "running")]), false);
        start(&mut judge, "n1", "a");
        if is_cut {
            judge.set_cut("n1", true);
        }
        judge.stored(store(2, &[("a", "shutdown"), ("b", "running")]), false);
        start(&mut judge, "n2", "b");
        assert_eq!(judge.broken().is_empty(), is_cut, "{:?}", judge.broken());
    }
}

/// What was given up while its service replaced what is lost may be doubled also after the service was told to wait.
#[test]
fn what_a_service_waits_for_is_told_from_what_it_gave_up_before() {
    for given_up_under in ["replace", "wait"] {
        let mut judge = Judge::new();
        judge.set_time(Duration::from_secs(100));
        judge.stored(store(1, &[("a", "running")]), false);
        start(&mut judge, "n1", "a");
        judge.set_cut("n1", true);
        for (round, policy) in [(2, given_up_under), (3, "wait")] {
            let mut kvs = store(round, &[("a", "shutdown"), ("b", "running")]);
            let generation = 1 + u64::from(policy != given_up_under);
            let mut service = service(round, "stop-first", generation);
            let text = String::from_utf8(service.value).expect("a record");
            let policy = format!("\"template\":{{\"onNodeLost\":\"{policy}\",");
            service.value = text.replace("\"template\":{", &policy).into_bytes();
            kvs.insert(0, service);
            judge.stored(kvs, false);
        }
        start(&mut judge, "n2", "b");
        let is_fine = given_up_under == "replace";
        assert_eq!(judge.broken().is_empty(), is_fine, "{:?}", judge.broken());
    }
}

/// A service that waits for lost nodes wants fewer: what is given up on one of those runs on until somebody can stop it.
#[test]
fn what_nobody_can_reach_to_stop_it_counts_for_no_limit() {
    for is_cut in [true, false] {
        let mut judge = Judge::new();
        judge.set_time(Duration::from_secs(100));
        let waits = |round| {
            let mut service = service(round, "stop-first", 1);
            let text = String::from_utf8(service.value).expect("a record");
            let text = text.replace("\"container\":{", "\"onNodeLost\":\"wait\",\"container\":{");
            let text = text.replace("\"template\":{", "\"replicas\":1,\"template\":{");
            service.value = text.into_bytes();
            service
        };
        let stored = |round, a: &str| {
            let mut kvs = store(round, &[("a", a), ("b", "running")]);
            for kv in kvs.iter_mut().filter(|kv| kv.key.ends_with("web/b")) {
                let text = String::from_utf8(kv.value.clone()).expect("a record");
                let text = text.replace("\"replica\":1", "\"replica\":2");
                kv.value = text.into_bytes();
            }
            kvs.insert(0, waits(round));
            kvs
        };
        judge.stored(stored(1, "running"), false);
        start(&mut judge, "n1", "a");
        if is_cut {
            judge.set_cut("n1", true);
        }
        judge.stored(stored(2, "shutdown"), false);
        let mut other = container("b");
        let labels = Arc::make_mut(&mut other.labels);
        labels.insert("dev.skep.slot".into(), "2".into());
        judge.happened("n2", Happening::Created, &other);
        judge.happened("n2", Happening::Started, &other);
        let expected: &[&str] = match is_cut {
            true => &[],
            false => &["never more than wanted and surge run"],
        };
        assert_eq!(rules(&judge), expected, "{:?}", judge.broken());
    }
}

/// The accepted record of service `s`.
fn service(round: i64, order: &str, generation: u64) -> KeyValue {
    let spec = serde_json::json!({
        "template": {"container": {"image": "app:1"}}, "update": {"order": order},
    });
    let record = serde_json::json!({
        "uid": "s", "generation": generation, "incarnation": 1, "createRevision": 1, "modRevision": 1, "createdAt": Timestamp(0), "spec": spec,
    });
    key(round, "accepted/services/default/web", &record)
}

#[test]
fn of_a_pair_either_may_start_first() {
    for order in [["a", "b"], ["b", "a"]] {
        let mut judge = Judge::new();
        let tasks = store(1, &[("a", "running"), ("b", "running")]);
        judge.stored(as_pair(tasks, "a", "b"), false);
        for task in order {
            start(&mut judge, "n1", task);
        }
        // There is no such service in the store, and one that is not known starts the new first.
        assert_eq!(judge.broken(), []);
    }
}

#[test]
fn a_pair_stays_one_when_its_service_changes_the_order() {
    for first in ["start-first", "stop-first"] {
        let mut judge = Judge::new();
        for (round, order) in [(1, first), (2, "stop-first")] {
            let tasks = store(1, &[("a", "running"), ("b", "running")]);
            let mut kvs = as_pair(tasks, "a", "b");
            let generation = 1 + u64::from(order != first);
            kvs.insert(0, service(round, order, generation));
            judge.stored(kvs, false);
        }
        start(&mut judge, "n1", "a");
        start(&mut judge, "n1", "b");
        let is_pair = first == "start-first";
        assert_eq!(judge.broken().is_empty(), is_pair, "{:?}", judge.broken());
    }
}

#[test]
fn what_is_on_its_way_when_the_store_loses_it_may_start_and_a_pair_stays_one() {
    for (is_paired, seconds) in [(true, 30), (false, 3), (false, 30)] {
        let mut judge = Judge::new();
        let mut tasks = store(1, &[("a", "running"), ("b", "running")]);
        if is_paired {
            tasks = as_pair(tasks, "a", "b");
        } else {
            tasks.retain(|kv| !kv.key.ends_with("tasks/default/web/b"));
        }
        judge.stored(tasks, false);
        start(&mut judge, "n1", "a");
        judge.stored(store(1, &[("a", "running")]), true);
        judge.set_time(Duration::from_secs(seconds));
        start(&mut judge, "n1", "b");
        let broken = rules(&judge);
        assert_eq!(
            !broken.iter().any(|rule| rule.contains("two containers")),
            is_paired || seconds == 3,
            "{broken:?}"
        );
    }
}

#[test]
fn what_was_ordered_before_its_node_was_lost_may_start() {
    for (is_lost, seconds) in [(true, 10), (true, 30), (false, 10)] {
        let mut judge = Judge::new();
        judge.stored(store(1, &[("a", "running")]), false);
        if is_lost {
            judge.set_cut("n2", true);
        }
        let now = store(2, &[("a", "shutdown"), ("b", "running")]);
        judge.stored(now, false);
        start(&mut judge, "n1", "b");
        judge.set_time(Duration::from_secs(seconds));
        start(&mut judge, "n2", "a");
        let broken = rules(&judge);
        let is_seen = broken.iter().any(|rule| rule.contains("two containers"));
        assert_eq!(is_seen, !is_lost || seconds == 30, "{broken:?}");
    }
}

#[test]
fn two_that_are_no_pair_are_seen() {
    let mut judge = Judge::new();
    judge.stored(store(1, &[("a", "shutdown"), ("b", "running")]), false);
    for task in ["b", "a"] {
        start(&mut judge, "n1", task);
    }
    let rule = "two containers of a slot run only while a node cannot be reached (N3)";
    assert_eq!(rules(&judge), [rule]);
}

#[test]
fn a_container_started_again_is_seen() {
    let mut judge = Judge::new();
    judge.stored(store(1, &[("a", "running")]), false);
    start(&mut judge, "n1", "a");
    judge.happened("n1", Happening::Ended, &container("a"));
    judge.happened("n1", Happening::Started, &container("a"));
    assert_eq!(
        rules(&judge),
        ["a container that ran is never started again (C4)"]
    );
}

#[test]
fn what_is_wanted_again_and_two_for_a_slot_are_seen() {
    let mut judge = Judge::new();
    judge.stored(store(1, &[("a", "shutdown")]), false);
    judge.stored(store(2, &[("b", "running"), ("a", "running")]), false);
    assert_eq!(
        rules(&judge),
        [
            "what is wanted never goes back (C4)",
            "one task is wanted for a slot (N3)"
        ]
    );
}

#[test]
fn a_record_that_leaves_before_its_container_is_seen() {
    let mut judge = Judge::new();
    let mut kvs = store(1, &[("a", "running")]);
    kvs.push(KeyValue {
        key: "/skep/accepted/nodes/n1".into(),
        ..kvs[0].clone()
    });
    judge.stored(kvs.clone(), false);
    start(&mut judge, "n1", "a");
    kvs.retain(|kv| !kv.key.contains("/tasks/default/"));
    judge.stored(kvs, false);
    assert_eq!(rules(&judge), ["a task record outlives its container (C2)"]);
}

#[test]
fn what_was_made_by_hand_is_nobody_elses() {
    let mut judge = Judge::new();
    judge.happened("n1", Happening::Created, &container("a"));
    judge.protect(container("a").id);
    judge.happened("n1", Happening::Started, &container("a"));
    judge.happened("n1", Happening::Removed, &container("a"));
    assert_eq!(rules(&judge), ["what is not ours is never touched (C1)"]);
}
