//! Each rule on a history told by hand: what it must see, and what it must let pass.

use super::{Bench, FORCED};
use crate::api::time::Timestamp;
use crate::api::uid::ContainerId;
use crate::api::unit::{LeaseId, Revision};
use crate::engine::{Container, ContainerState};
use crate::sim::mirror::Mirror;
use crate::sim::witness::Happening;
use crate::store::{Compare, KeyValue, Op, Txn};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

mod rest;

/// A store written by hand, with its judge.
#[derive(Default)]
struct Court {
    bench: Bench,
    mirror: Mirror,
    kvs: BTreeMap<String, KeyValue>,
    revision: i64,
}

impl Court {
    /// A cluster with node n1, ready and active, whose engine has 4 CPUs and 8 GiB.
    fn new() -> Self {
        let mut court = Self::default();
        court.put(
            "cluster",
            &json!({"id": "c", "incarnation": 1, "format": 1}),
        );
        court.node("n1", 1, &json!({}));
        court.health("n1", "ready");
        court
    }

    fn write(&mut self, key: &str, value: &Value) {
        self.revision += 1;
        let key = format!("/skep/{key}");
        let now = Revision(self.revision);
        let created = self.kvs.get(&key).map_or(now, |kv| kv.create_revision);
        let kv = KeyValue {
            key: key.clone(),
            value: value.to_string().into_bytes(),
            create_revision: created,
            mod_revision: now,
            version: 1,
            lease: LeaseId(0),
        };
        self.kvs.insert(key, kv);
    }

    fn show(&mut self, is_disaster: bool) {
        let kvs: Vec<KeyValue> = self.kvs.values().cloned().collect();
        let step = self.mirror.whole(kvs, is_disaster);
        self.bench.stored(&step);
    }

    fn put(&mut self, key: &str, value: &Value) {
        self.write(key, value);
        self.show(false);
    }

    fn delete(&mut self, key: &str) {
        self.kvs.remove(&format!("/skep/{key}"));
        self.show(false);
    }

    fn at(&mut self, seconds: u64) {
        self.bench.log.now = Duration::from_secs(seconds);
    }

    fn node(&mut self, name: &str, generation: u64, spec: &Value) {
        self.write(&format!("nodes/{name}"), &json!(""));
        let record = accepted(&format!("uid-{name}"), generation, spec);
        self.put(&format!("accepted/nodes/{name}"), &record);
    }

    fn health(&mut self, node: &str, state: &str) {
        let engine =
            json!({"state": state, "id": format!("SIM:{node}"), "cpus": 4, "memory": 8u64 << 30});
        self.put(
            &format!("status/nodes/{node}/health"),
            &json!({"engine": engine}),
        );
    }

    /// Service `web` with uid `s` and a spec.
    fn service(&mut self, generation: u64, more: &Value) {
        let mut spec = json!({"mode": "replicated", "replicas": 3, "template": {"container": {"image": "app:1"}}});
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        self.put(
            "accepted/services/default/web",
            &accepted("s", generation, &spec),
        );
    }

    fn task(&mut self, task: &str, desired: &str, more: &Value) {
        let mut record = json!({
            "id": task, "service": "s", "revision": 1, "slot": {"replica": 1}, "desired": desired,
            "createdAt": Timestamp(0),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            record[key] = value.clone();
        }
        self.put(&format!("tasks/default/web/{task}"), &record);
    }

    fn status(&mut self, task: &str, state: &str) {
        let status = json!({"task": task, "service": "s", "node": "uid-n1", "state": state, "since": Timestamp(0)});
        self.put(&format!("status/tasks/n1/{task}"), &status);
    }

    fn bind(&mut self, node: &str, task: &str, more: &Value) {
        let mut binding = json!({
            "task": task, "service": "s", "namespace": "default", "serviceName": "web",
            "node": format!("uid-{node}"), "boundAt": Timestamp(0),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            binding[key] = value.clone();
        }
        self.put(&format!("bindings/{node}/{task}"), &binding);
    }

    fn happens(&mut self, engine: &str, task: &str, happening: Happening) {
        self.bench.happened(engine, happening, &container(task, 1));
    }

    /// The rules that were broken since the last look, each once.
    fn broken(&mut self) -> Vec<&'static str> {
        let mut rules: Vec<_> = self
            .bench
            .log
            .broken
            .drain(..)
            .map(|broken| broken.rule)
            .collect();
        rules.dedup();
        rules
    }

    #[track_caller]
    fn is_fine(&mut self) {
        let broken: Vec<_> = self.bench.log.broken.drain(..).collect();
        assert_eq!(broken, []);
    }

    #[track_caller]
    fn breaks(&mut self, part: &str) {
        let broken = self.broken();
        assert!(
            broken.len() == 1 && broken[0].contains(part),
            "{part}: {broken:?}"
        );
    }
}

fn accepted(uid: &str, generation: u64, spec: &Value) -> Value {
    json!({
        "uid": uid, "generation": generation, "spec": spec, "createRevision": 2, "modRevision": 2,
        "incarnation": 1, "createdAt": Timestamp(0),
    })
}

fn container(task: &str, incarnation: u64) -> Container {
    let labels = [
        ("task", task),
        ("service", "s"),
        ("slot", "1"),
        ("node", "uid-n1"),
        ("hash", "h1"),
        ("incarnation", &incarnation.to_string()),
        ("term", "7"),
        ("store-revision", "7"),
    ];
    let labels = labels.map(|(key, value)| (format!("dev.skep.{key}"), value.to_owned()));
    Container {
        id: ContainerId::from(format!("id-{task}").as_str()),
        name: format!("web.1.{task}"),
        labels: Arc::new(labels.into()),
        state: ContainerState::Created,
        started_at: None,
        finished_at: None,
        exit_code: 0,
        oom_killed: false,
        error: String::new(),
        health: None,
        networks: Default::default(),
        addresses: Vec::new(),
        hardware: Default::default(),
        ports: Vec::new(),
    }
}

fn holder(manager: &str) -> Value {
    json!({"manager": manager, "since": Timestamp(0)})
}

/// A transaction that writes a key under a fence.
fn txn(fence: Option<(&str, i64)>, key: &str) -> Txn {
    Txn {
        compares: fence
            .map(|(key, at)| Compare::CreatedAt(format!("/skep/{key}"), Revision(at)))
            .into_iter()
            .collect(),
        then: vec![Op::Delete {
            key: format!("/skep/{key}"),
        }],
        otherwise: Vec::new(),
    }
}

#[test]
fn another_cluster_and_a_life_that_returns_are_seen() {
    let mut court = Court::new();
    let cluster = |id: &str, life: u64| json!({"id": id, "incarnation": life, "format": 1});
    court.put("cluster", &cluster("c", 1));
    court.put("cluster", &cluster("c", 2));
    court.put("cluster", &cluster("c", 2));
    court.is_fine();
    court.put("cluster", &cluster("c", 1));
    court.breaks("never returns");
    // A number that was never there is no next life either, unless the store was lost.
    let mut court = Court::new();
    court.put("cluster", &cluster("c", 5));
    court.put("cluster", &cluster("c", 3));
    court.breaks("never returns");
    court.show(true);
    court.put("cluster", &cluster("c", 2));
    court.is_fine();
    court.put("cluster", &cluster("c", 5));
    court.breaks("never returns");
    court.put("cluster", &cluster("other", 6));
    court.breaks("keeps its id");
}

/// A cluster whose store went back far, a minute ago; nobody has begun another life.
fn set_back() -> Court {
    let mut court = Court::new();
    court.revision += 50;
    court.put("status/nodes/n1/node", &json!({}));
    court.kvs.remove("/skep/status/nodes/n1/node");
    court.show(true);
    court.at(60);
    court
}

#[test]
fn who_cannot_know_that_the_store_went_back_may_order() {
    let campaign = txn(None, "election/service/0000000000000001");
    let orders = |court: &mut Court, task| court.happens("n1", task, Happening::Created);
    // m2 came afterwards, and nothing tells it.
    let mut court = set_back();
    court.put("shards/000", &holder("m2"));
    court.bench.sends("m2", &campaign);
    orders(&mut court, "a");
    court.is_fine();
    // A container of another term, which is ahead of the right that m2 has.
    court.delete("shards/000");
    court.revision = 1;
    court.put("shards/000", &holder("m2"));
    orders(&mut court, "b");
    court.breaks("next life");
    // Where its node does not answer, nobody reads its labels.
    court.health("n1", "down");
    orders(&mut court, "c");
    court
        .bench
        .log
        .broken
        .retain(|broken| broken.rule.contains("next life"));
    court.is_fine();

    // m1 was there before, and is there still.
    let mut court = Court::new();
    court.bench.sends("m1", &campaign);
    court.at(1);
    court.revision += 50;
    court.put("status/nodes/n1/node", &json!({}));
    court.kvs.remove("/skep/status/nodes/n1/node");
    court.show(true);
    court.at(2);
    court.put("shards/000", &holder("m2"));
    court.bench.sends("m2", &campaign);
    court.bench.sends("m1", &campaign);
    court.at(60);
    orders(&mut court, "a");
    court.breaks("next life");
}

#[test]
fn a_store_is_set_back_by_its_revisions() {
    for (revisions, is_far) in [(20, false), (50, true)] {
        let mut court = Court::new();
        court.revision += 50;
        court.put("status/nodes/n1/node", &json!({}));
        court.kvs.remove("/skep/status/nodes/n1/node");
        // The newest key that is left is much older.
        let kvs = court.kvs.values().cloned().collect();
        let mut step = court.mirror.whole(kvs, true);
        step.set_back = revisions;
        court.bench.stored(&step);
        court.at(60);
        court.happens("n1", "a", Happening::Created);
        let broken = court.bench.log.broken.iter();
        let is_seen = broken
            .clone()
            .any(|broken| broken.rule.contains("next life"));
        assert_eq!(is_seen, is_far, "{revisions}");
    }
}

#[test]
fn a_generation_that_does_not_count_is_seen() {
    let mut court = Court::new();
    court.service(1, &json!({}));
    court.service(2, &json!({"replicas": 4}));
    court.is_fine();
    court.service(2, &json!({"replicas": 5}));
    court.breaks("generation counts");
    court.service(3, &json!({"replicas": 5}));
    court.breaks("generation counts");
}

#[test]
fn a_uid_that_outlives_its_object_is_seen() {
    let mut court = Court::new();
    court.service(1, &json!({}));
    let mut record: Value =
        serde_json::from_slice(&court.kvs["/skep/accepted/services/default/web"].value).unwrap();
    record["createRevision"] = 9.into();
    court.put("accepted/services/default/web", &record);
    court.breaks("another object");
}

#[test]
fn a_service_that_ends_though_it_is_written_and_leaves_before_its_tasks_is_seen() {
    let mut court = Court::default();
    court.write("services/default/web", &json!("garbage"));
    court.service(1, &json!({}));
    court.task("a", "running", &json!({}));
    let mut record: Value =
        serde_json::from_slice(&court.kvs["/skep/accepted/services/default/web"].value).unwrap();
    let created = court.kvs["/skep/services/default/web"].create_revision;
    record["createRevision"] = created.0.into();
    court.put("accepted/services/default/web", &record);
    court.broken();
    record["deletedAt"] = json!(Timestamp(1));
    court.put("accepted/services/default/web", &record);
    court.breaks("only its absence");
    court.delete("accepted/services/default/web");
    court.breaks("leaves after its tasks");
}

#[test]
fn what_happens_before_a_new_life_and_while_adopting_is_seen() {
    let mut court = Court::new();
    court.put("shards/000", &holder("m1"));
    court.revision += 50;
    court.put("status/nodes/n1/node", &json!({}));
    court.kvs.remove("/skep/status/nodes/n1/node");
    court.show(true);
    court.at(60);
    court.happens("n1", "a", Happening::Created);
    court.breaks("next life");
    let adopting = json!({"id": "c", "incarnation": 2, "format": 1, "adoptingSince": Timestamp(1)});
    court.put("cluster", &adopting);
    court.put("shards/000", &holder("m1"));
    court.at(65);
    court.bench.orders("m1", "n1", "stop", "id-a");
    court.is_fine();
    let record = serde_json::to_vec(&adopting).unwrap();
    court.bench.hears("m1", &record);
    court.bench.orders("m1", "n1", "stop", "id-a");
    court.is_fine();
    court.at(70);
    court.bench.orders("m1", "n1", "stop", "id-a");
    court.breaks("nothing is ordered while");
    court.at(90);
    court.happens("n1", "a", Happening::Stopped);
    court.breaks("nothing is ordered while");
    court.put("shards/000", &holder("m1"));
    court.bench.orders("m1", "n1", "stop", "id-a");
    court.breaks("nothing is ordered while");
    court.task("b", "running", &json!({"adoptedFrom": "n1"}));
    court.is_fine();
    court.task("c", "running", &json!({}));
    court.breaks("nothing is stopped or started");
    court.put(
        "cluster",
        &json!({"id": "c", "incarnation": 2, "format": 1}),
    );
    court.breaks("once each node was looked at");
}

#[test]
fn a_task_that_goes_back_and_one_that_is_made_anew_are_seen() {
    let mut court = Court::new();
    court.status("a", "running");
    court.status("a", "starting");
    court.breaks("never goes back");
    court.happens("n1", "a", Happening::Created);
    court.breaks("not made anew");
}

#[test]
fn a_start_of_another_term_and_a_removal_of_what_runs_are_seen() {
    let mut court = Court::new();
    court.revision = 6;
    court.put("shards/000", &holder("m1"));
    court.happens("n1", "a", Happening::Created);
    court.happens("n1", "a", Happening::Started);
    court.is_fine();
    court.bench.orders("m1", "n1", FORCED, "id-a");
    court.breaks("stopped before it is removed");
    court.status("a", "shutdown");
    court.breaks("seen stopped");
    court.delete("shards/000");
    court.put("shards/000", &holder("m2"));
    court.happens("n1", "b", Happening::Created);
    court.happens("n1", "b", Happening::Started);
    court.is_fine();
    court.at(60);
    court.happens("n1", "b", Happening::Started);
    court.breaks("who had a container made");
}

#[test]
fn an_old_task_that_goes_before_the_new_one_runs_is_seen() {
    for runs in [true, false] {
        let mut court = Court::new();
        court.task("a", "running", &json!({}));
        court.task("b", "running", &json!({"replaces": "a"}));
        court.status("b", if runs { "running" } else { "ready" });
        court.task("a", "shutdown", &json!({"reason": "Updated"}));
        match runs {
            true => court.is_fine(),
            false => court.breaks("once the new one runs"),
        }
    }
}

#[test]
fn what_is_adopted_as_something_else_and_what_is_reaped_of_an_earlier_life_are_seen() {
    let mut court = Court::new();
    let template = json!({
        "service": "s", "number": 1, "hash": "h2", "template": {"container": {"image": "app:1"}},
        "cause": "", "createdAt": Timestamp(0),
    });
    court.put("revisions/s/0000000001", &template);
    court.happens("n1", "a", Happening::Created);
    court.task("a", "running", &json!({"adoptedFrom": "n1"}));
    court.breaks("revision that its record names");
    court.put(
        "cluster",
        &json!({"id": "c", "incarnation": 2, "format": 1}),
    );
    court.happens("n1", "b", Happening::Created);
    court.task(
        "b",
        "remove",
        &json!({"adoptedFrom": "n1", "reason": "Unclaimed"}),
    );
    court.breaks("waits for a person");
}

#[test]
fn a_place_that_is_none_is_seen() {
    let placement =
        |more: Value| json!({"template": {"container": {"image": "app:1"}, "placement": more}});
    let mut court = Court::new();
    court.service(1, &placement(json!({"constraints": ["node.name != n1"]})));
    court.task("a", "running", &json!({}));
    court.bind("n1", "a", &json!({}));
    court.breaks("constraints hold");

    let mut court = Court::new();
    court.service(1, &placement(json!({"maxReplicasPerNode": 1})));
    for task in ["a", "b"] {
        court.task(task, "running", &json!({}));
        court.bind("n1", task, &json!({}));
    }
    court.breaks("than it may have");

    // Whoever takes the place of another one adds none.
    let mut court = Court::new();
    court.service(1, &placement(json!({"maxReplicasPerNode": 2})));
    for (task, more) in [
        ("a", json!({})),
        ("b", json!({"replaces": "a"})),
        ("c", json!({})),
    ] {
        court.task(task, "running", &more);
        court.bind("n1", task, &json!({}));
    }
    let broken = &court.bench.log.broken;
    assert!(!broken.iter().any(|broken| broken.rule.contains("may have")));

    let mut court = Court::new();
    court.bench.set_cut("n1", true);
    court.at(15);
    court.health("n1", "down");
    court.at(30);
    court.task("a", "running", &json!({}));
    court.bind("n1", "a", &json!({}));
    court.is_fine();
    court.at(80);
    court.task("b", "running", &json!({}));
    court.bind("n1", "b", &json!({}));
    court.breaks("that answers");

    let mut court = Court::new();
    court.node("n1", 2, &json!({"availability": "drain"}));
    court.at(80);
    court.task("a", "running", &json!({}));
    court.bind("n1", "a", &json!({}));
    court.breaks("takes tasks");
}

#[test]
fn what_is_held_twice_is_seen_until_its_holder_is_over() {
    let port = json!({"hostPorts": [{"published": 80, "protocol": "tcp", "target": 80}]});
    let much = json!({"reserved": {"memory": "5GiB"}});
    for (held, rule) in [(&port, "one holder"), (&much, "no more is reserved")] {
        for is_over in [true, false] {
            let mut court = Court::new();
            court.task("a", "shutdown", &json!({}));
            court.bind("n1", "a", held);
            if is_over {
                court.status("a", "shutdown");
            }
            court.task("b", "running", &json!({}));
            court.is_fine();
            court.bind("n1", "b", held);
            match is_over {
                true => court.is_fine(),
                false => court.breaks(rule),
            }
        }
    }
}

#[test]
fn a_node_that_is_down_too_soon_is_seen() {
    let mut court = Court::new();
    court.node("n2", 1, &json!({}));
    court.put("election/health/0000000000000001", &holder("m1"));
    court.at(100);
    court.bench.set_cut("n1", true);
    court.at(102);
    court.health("n1", "down");
    court.breaks("after the grace");
    court.health("n1", "ready");
    court.at(115);
    court.health("n1", "down");
    court.is_fine();
    court.health("n1", "ready");
    court.bench.set_cut("n1", false);
    court.at(118);
    court.bench.set_uplink("m1", true);
    court.bench.set_cut("n1", true);
    court.at(130);
    court.health("n1", "down");
    court.breaks("suspects itself");
    court.health("n1", "ready");
    court.delete("accepted/nodes/n2");
    court.health("n1", "down");
    court.is_fine();
}

/// Back for less than a look takes it has answered nobody.
#[test]
fn a_node_that_was_back_for_a_breath_only_was_silent_all_the_time() {
    for (back, is_fine) in [(1, true), (3, false)] {
        let mut court = Court::new();
        court.put("election/health/0000000000000001", &holder("m1"));
        court.at(100);
        court.bench.set_cut("n1", true);
        court.at(106);
        court.bench.set_cut("n1", false);
        court.at(106 + back);
        court.bench.set_cut("n1", true);
        court.at(110);
        court.health("n1", "down");
        match is_fine {
            true => court.is_fine(),
            false => court.breaks("after the grace"),
        }
    }
}

#[test]
fn a_node_forgotten_with_what_runs_there_and_another_engine_are_seen() {
    let mut court = Court::new();
    court.revision = 6;
    court.put("shards/000", &holder("m1"));
    court.task("a", "running", &json!({}));
    court.happens("n1", "a", Happening::Created);
    court.happens("n1", "a", Happening::Started);
    court.delete("accepted/nodes/n1");
    court.breaks("nothing of ours runs there");

    let mut court = Court::new();
    court.happens("twin", "a", Happening::Created);
    court.breaks("left alone");
}

#[test]
fn a_write_without_its_right_is_seen() {
    let mut court = Court::new();
    let election = "election/service/0000000000000001";
    court.put(election, &holder("m1"));
    let term = court.revision;
    let key = "tasks/default/web/a";
    let mut good = txn(Some((election, term)), key);
    let seen = Compare::ModifiedAt(format!("/skep/{key}"), Revision(1));
    good.compares.push(seen.clone());
    court.bench.sends("m1", &good);
    court.bench.commits("m1", &good);
    court.is_fine();
    court.bench.sends("m1", &txn(Some((election, term)), key));
    court.breaks("what others may write");
    let mut unfenced = txn(None, key);
    unfenced.compares.push(seen);
    court.bench.sends("m1", &unfenced);
    court.breaks("every write compares");
    court
        .bench
        .sends("m1", &txn(Some((election, term)), "bindings/n1/a"));
    court.breaks("every write compares");
    court.bench.commits("m2", &good);
    court.breaks("who leads");
    court.bench.knows_not("m1", &good);
    court.at(1);
    court
        .bench
        .sends("m1", &txn(Some((election, term)), election));
    court.is_fine();
    court.bench.sends("m1", &good);
    court.breaks("unknown outcome");
}

#[test]
fn a_binding_of_a_task_that_nobody_looked_at_is_seen() {
    let mut court = Court::new();
    let election = "election/scheduler/0000000000000001";
    court.put(election, &holder("m1"));
    let term = court.revision;
    let key = "bindings/n1/a";
    let mut bound = txn(Some((election, term)), key);
    bound.then = vec![Op::Put {
        key: format!("/skep/{key}"),
        value: Vec::new(),
        lease: None,
    }];
    let of = |task: &str| {
        let key = format!("/skep/tasks/default/web/{task}");
        Compare::ModifiedAt(key, Revision(1))
    };
    bound.compares.push(of("b"));
    court.bench.sends("m1", &bound);
    court.breaks("what others may write");
    bound.compares.push(of("a"));
    court.bench.sends("m1", &bound);
    court.is_fine();
}

#[test]
fn a_fence_that_anothers_claim_may_fulfil_is_seen() {
    let mut court = Court::new();
    let mut fenced = txn(Some(("shards/000", 3)), "status/tasks/n1/a");
    court.bench.sends("m1", &fenced);
    court.breaks("every write compares");
    let shard = "/skep/shards/000".to_owned();
    fenced.compares.push(Compare::HeldBy(shard, LeaseId(7)));
    court.bench.sends("m1", &fenced);
    court.is_fine();
}

#[test]
fn an_order_of_another_manager_is_seen() {
    let mut court = Court::new();
    court.put("shards/000", &holder("m1"));
    court.bench.orders("m1", "n1", "start", "");
    court.is_fine();
    court.bench.orders("m2", "n1", "start", "");
    court.breaks("who holds its shard");
    court.delete("shards/000");
    court.bench.orders("m1", "n1", "start", "");
    court.breaks("who holds its shard");
}

#[test]
fn a_store_that_forgets_too_much_is_seen() {
    let mut court = Court::new();
    let old = Revision(court.revision);
    court.at(300);
    court.put("shards/000", &holder("m1"));
    court.bench.compacts("m1", old);
    court.is_fine();
    court.bench.compacts("m1", Revision(court.revision));
    court.breaks("remembers five minutes");
}

/// The key of the newest change goes: what is left is older, and the store is not.
#[test]
fn a_deletion_takes_no_revision_back() {
    let mut court = Court::new();
    court.put("shards/000", &holder("m1"));
    let old = Revision(court.revision);
    court.at(100);
    court.delete("shards/000");
    court.at(310);
    court.bench.compacts("m1", old);
    court.is_fine();
}
