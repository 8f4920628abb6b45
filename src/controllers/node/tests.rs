//! Verdicts over engines, and the life of a node's record.

use super::health::{Contact, Doubt, Evidence, HOLD, judge};
use super::{GRACE, Nodes, read};
use crate::api::key::Key;
use crate::api::name::{NodeName, ObjectKey, Scoped};
use crate::api::status::{NodeState, Status, Truth};
use crate::api::time::Timestamp;
use crate::api::uid::Ids;
use crate::api::unit::{LeaseId, Revision};
use crate::engine::Error;
use crate::runtime::cache::Cache;
use crate::runtime::clock::Now;
use crate::runtime::controller::Controller;
use crate::runtime::plan::{Expect, Plan, Write};
use crate::runtime::view::MANAGER_GONE;
use crate::store::KeyValue;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn refused() -> Error {
    Error::Connect {
        address: "tcp://n1:2375".into(),
        message: "Connection refused".into(),
    }
}

/// Contacts: taken over at 100 s; `answered` and an error as said. Now is 120 s.
fn contact(answered: Option<u64>, error: Option<Error>) -> Contact {
    Contact {
        taken_at: seconds(100),
        answered_at: answered.map(seconds),
        error,
        id: Some("engine-1".into()),
    }
}

#[track_caller]
fn check(contact: &Contact, edit: impl FnOnce(&mut Evidence<'_>), expected: &str) {
    let mut evidence = Evidence {
        contact,
        recorded: Some("engine-1"),
        twin: None,
        before: NodeState::Ready,
        grace: GRACE,
        holds: false,
        now: seconds(120),
    };
    edit(&mut evidence);
    let verdict = judge(&evidence);
    let reason = verdict.reason.map(|reason| format!(" {reason}"));
    let said = format!("{}{}", verdict.state.as_str(), reason.unwrap_or_default());
    assert_eq!(said, expected, "{evidence:?}");
}

#[test]
fn down_needs_ones_own_failed_contacts_for_the_grace() {
    let broken = |answered| contact(answered, Some(refused()));
    check(&contact(Some(119), None), |_| {}, "ready");
    check(&broken(Some(118)), |_| {}, "ready");
    check(&broken(Some(115)), |_| {}, "unknown ConnectionRefused");
    check(&broken(Some(110)), |_| {}, "unknown ConnectionRefused");
    check(&broken(Some(109)), |_| {}, "down ConnectionRefused");
    // Counted from taking the node over, whatever anybody saw before (N1).
    check(
        &broken(None),
        |it| it.now = seconds(105),
        "unknown ConnectionRefused",
    );
    check(
        &broken(None),
        |it| it.now = seconds(111),
        "down ConnectionRefused",
    );
    check(&Contact::taken(seconds(119)), |_| {}, "ready");
    check(
        &Contact::taken(seconds(119)),
        |it| it.before = NodeState::Down,
        "down NotContacted",
    );
    check(
        &contact(Some(119), None),
        |it| it.before = NodeState::Down,
        "ready",
    );
}

#[test]
fn another_engine_or_a_twin_is_a_condition_and_no_action() {
    let well = contact(Some(119), None);
    check(
        &well,
        |it| it.recorded = Some("engine-0"),
        "unknown EngineChanged",
    );
    check(&well, |it| it.twin = Some("n2"), "unknown DuplicateEngine");
    check(&well, |it| it.recorded = None, "ready");
    let wrong = |message: &str| {
        contact(
            None,
            Some(Error::Config {
                message: message.into(),
            }),
        )
    };
    check(
        &wrong("API 1.30 is too old"),
        |_| {},
        "unknown WrongApiVersion",
    );
    check(
        &wrong("cannot read key.pem"),
        |_| {},
        "unknown BadConfiguration",
    );
    let tls = Error::Tls {
        address: String::new(),
        message: String::new(),
    };
    check(&contact(Some(100), Some(tls)), |_| {}, "down TlsFailed");
}

#[test]
fn a_manager_that_loses_most_engines_at_once_suspects_itself() {
    let lost = |at| contact(Some(at), Some(refused()));
    let well = || contact(Some(119), None);
    let holds = |contacts: &[Contact]| Doubt::default().look(contacts, GRACE, seconds(120));
    assert!(!holds(&[lost(109)]), "a single engine is no proof");
    assert!(holds(&[lost(109), lost(112)]));
    assert!(!holds(&[lost(109), well()]), "half is not more than half");
    assert!(holds(&[lost(109), lost(112), well()]));
    assert!(
        !holds(&[lost(50), lost(112), well()]),
        "not within one grace"
    );
    assert!(!holds(&[lost(109), lost(112), well(), well()]));
    assert!(
        holds(&[lost(50), lost(50), lost(109), lost(112)]),
        "all that answered"
    );

    let all = [lost(109), lost(112)];
    let mut doubt = Doubt::default();
    assert!(doubt.look(&all, GRACE, seconds(120)));
    assert!(doubt.look(&all, GRACE, seconds(120) + HOLD - seconds(1)));
    assert!(
        !doubt.look(&all, GRACE, seconds(120) + HOLD),
        "held, not for ever"
    );
    assert!(!doubt.look(&[well(), well()], GRACE, seconds(190)));
    assert!(
        doubt.look(&all, GRACE, seconds(200)),
        "a new loss is a new doubt"
    );

    let mut doubt = Doubt::default();
    let most = [lost(50), lost(51), lost(52), well(), well()];
    assert!(doubt.look(&most, GRACE, seconds(62)));
    assert!(!doubt.look(&most, GRACE, seconds(62) + HOLD));
    let rest = [lost(50), lost(51), lost(52), lost(130), lost(131)];
    assert!(
        doubt.look(&rest, GRACE, seconds(141)),
        "the rest at once is another loss"
    );
    assert!(!doubt.look(&rest, GRACE, seconds(141) + HOLD));

    check(&lost(100), |it| it.holds = true, "unknown EvictionsHeld");
    check(
        &lost(115),
        |it| it.holds = true,
        "unknown ConnectionRefused",
    );
}

/// A store for the elected controller: plans are applied to it.
#[derive(Default)]
struct Store {
    keys: BTreeMap<String, KeyValue>,
    revision: i64,
}

impl Store {
    fn new() -> Self {
        let mut store = Self::default();
        store.put("cluster", r#"{"id": "c", "incarnation": 1, "format": 1}"#);
        store
    }

    fn put(&mut self, key: &str, value: &str) {
        self.revision += 1;
        let created = self
            .keys
            .get(key)
            .map_or(Revision(self.revision), |kv| kv.create_revision);
        let kv = KeyValue {
            key: key.into(),
            value: value.into(),
            create_revision: created,
            mod_revision: Revision(self.revision),
            version: 1,
            lease: LeaseId(0),
        };
        self.keys.insert(key.into(), kv);
    }

    fn cache(&self) -> Cache {
        let mut cache = Cache::default();
        let kvs: Vec<KeyValue> = self.keys.values().cloned().collect();
        cache.replace("", &kvs, Revision(self.revision));
        assert!(cache.broken.is_empty(), "{:?}", cache.broken);
        cache
    }

    fn plan(&mut self, nodes: &Nodes, at: u64) -> Plan {
        let now = Now {
            wall: Timestamp(1_000),
            since_boot: seconds(at),
        };
        let plan = nodes.plan(&"n1".into(), &self.cache(), now, &mut Ids::from_seed(3));
        for write in plan.steps.iter().flat_map(|step| &step.writes) {
            match write {
                Write::Put(key, value) => {
                    self.put(&key.to_string(), std::str::from_utf8(value).unwrap());
                }
                Write::Delete(key) => {
                    self.keys.remove(&key.to_string());
                }
            }
        }
        plan
    }

    fn status(&self) -> Status {
        let key = Key::Status(ObjectKey::node(&NodeName::from("n1")), "node".into());
        serde_json::from_slice(&self.keys[&key.to_string()].value).unwrap()
    }
}

fn nodes() -> Nodes {
    Nodes::new(read, GRACE)
}

#[test]
fn a_bad_put_keeps_the_spec_and_a_deletion_waits_for_the_tasks() {
    let mut store = Store::new();
    let nodes = nodes();
    store.put("nodes/n1", "engine: tcp://10.0.0.1:2375");
    store.plan(&nodes, 1);
    assert!(store.keys.contains_key("accepted/nodes/n1"));
    assert!(
        store.plan(&nodes, 2).is_in_step(),
        "planning again plans nothing"
    );

    let before = store.keys["accepted/nodes/n1"].clone();
    store.put("nodes/n1", "garbage: [");
    store.plan(&nodes, 3);
    assert_eq!(store.keys["accepted/nodes/n1"], before);
    assert_eq!(store.status().conditions[0].status, Truth::False);

    store.keys.remove("nodes/n1");
    let binding = json!({
        "task": "t", "service": "s", "namespace": "default", "serviceName": "web", "node": "u",
        "boundAt": "2026-01-01T00:00:00Z",
    });
    store.put("bindings/n1/t", &binding.to_string());
    let bound = Key::Binding("n1".into(), "t".into());
    assert_eq!(nodes.work(&bound, &store.cache()), [], "nobody leaves yet");
    store.plan(&nodes, 4);
    let cache = store.cache();
    assert!(cache.nodes[&NodeName::from("n1")].deleted_at.is_some());
    store.keys.remove("bindings/n1/t");
    assert_eq!(nodes.work(&bound, &store.cache()), ["n1".into()]);
    // Bindings may be lost with an earlier life of the store, and what was found on the node is of that life.
    let cluster =
        |adopting: &str| format!(r#"{{"id": "c", "incarnation": 1, "format": 1{adopting}}}"#);
    store.put(
        "cluster",
        &cluster(r#", "adoptingSince": "2026-01-01T00:00:00Z""#),
    );
    store.plan(&nodes, 5);
    assert!(store.keys.contains_key("accepted/nodes/n1"));
    store.put("cluster", &cluster(""));
    store.plan(&nodes, 5);
    let left: Vec<&String> = store.keys.keys().collect();
    assert_eq!(left, ["cluster"], "the tombstone leaves with its statuses");

    // Judged on a view from before the store went back, and committed a moment before the tombstone left.
    store.put("status/nodes/n1/health", "{}");
    assert_eq!(nodes.all_work(&store.cache()), ["n1".into()]);
    store.plan(&nodes, 6);
    let left: Vec<&String> = store.keys.keys().collect();
    assert_eq!(
        left,
        ["cluster"],
        "and what is reported afterwards goes too"
    );
}

#[test]
fn no_node_is_forgotten_under_a_task_that_was_bound_to_it_meanwhile_or_beside_its_key() {
    let mut store = Store::new();
    let nodes = nodes();
    store.put("nodes/n1", "engine: tcp://10.0.0.1:2375");
    store.plan(&nodes, 1);
    store.keys.remove("nodes/n1");
    let plan = store.plan(&nodes, 2);
    let below = |prefix: &str| Expect::NoneBelow(prefix.into());
    let key = Expect::Missing(Key::User(ObjectKey::node(&"n1".into())));
    let expected = [below("bindings/n1/"), below("status/tasks/n1/"), key];
    assert_eq!(plan.steps[0].expects, expected, "whatever the cache shows");
}

#[test]
fn what_was_seen_of_a_task_on_a_forgotten_node_goes_with_its_record() {
    let mut store = Store::new();
    let nodes = nodes();
    let task = json!({
        "id": "t", "service": "s", "slot": {"replica": 1}, "revision": 1, "desired": "running",
        "createdAt": "2026-01-01T00:00:00Z",
    });
    let status = json!({
        "task": "t", "service": "s", "node": "u", "state": "starting",
        "since": "2026-01-01T00:00:00Z",
    });
    store.put("tasks/default/web/t", &task.to_string());
    store.put("status/tasks/n1/t", &status.to_string());
    let record = Key::Task(Scoped::new("default", "web"), "t".into());
    assert!(store.plan(&nodes, 1).is_in_step(), "it has its record");
    assert_eq!(nodes.work(&record, &store.cache()), []);
    store.keys.remove("tasks/default/web/t");
    assert_eq!(nodes.work(&record, &store.cache()), ["n1".into()]);
    assert_eq!(nodes.all_work(&store.cache()), ["n1".into()]);
    store.plan(&nodes, 2);
    let left: Vec<&String> = store.keys.keys().collect();
    assert_eq!(left, ["cluster"]);
}

#[test]
fn a_socket_names_its_manager_and_is_down_when_that_is_gone() {
    let mut store = Store::new();
    let nodes = nodes();
    store.put("nodes/n1", "engine: unix:///var/run/docker.sock");
    store.plan(&nodes, 1);
    assert!(!store.keys.contains_key("accepted/nodes/n1"));
    assert_eq!(store.status().conditions[0].reason, "ManagerMissing");

    store.put(
        "nodes/n1",
        "{engine: 'unix:///var/run/docker.sock', manager: m1}",
    );
    let gone = |store: &Store| {
        store
            .status()
            .condition(MANAGER_GONE)
            .is_some_and(|condition| condition.status == Truth::True)
    };
    for at in [2, 3, 6, 9, 13] {
        store.plan(&nodes, at);
        assert!(!gone(&store), "at {at}");
    }
    store.plan(&nodes, 14);
    assert!(gone(&store), "missing for longer than the grace");
    let holder = r#"{"manager": "m1", "since": "2026-01-01T00:00:00Z"}"#;
    store.put("shards/health-n1", holder);
    store.plan(&nodes, 15);
    assert!(!gone(&store));
    // A leader that did not look in between counts anew (N1).
    store.keys.remove("shards/health-n1");
    store.plan(&nodes, 16);
    store.plan(&nodes, 60);
    assert!(!gone(&store));
}

#[tokio::test(start_paused = true)]
async fn an_engine_is_met_lost_and_met_again() {
    use crate::runtime::clock::timer_now;
    use std::sync::Arc;
    let kv = crate::embedded::memory::Memory::new();
    let fleet = crate::sim::SimFleet::new();
    let engine = fleet.add_at("tcp://n1:2375", "n1");
    kv.put(
        "/skep/cluster",
        r#"{"id": "c", "incarnation": 1, "format": 1}"#,
    );
    kv.put("/skep/nodes/n1", "engine: tcp://n1:2375");
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let clock = Arc::new(crate::sim::clock::SimClock::new(7));
    let context = crate::runtime::fixture::context(&kv, clock);
    let (store, cache) = (context.kv.clone(), context.cache.clone());
    tokio::spawn(crate::runtime::watcher::Watcher::new(store, cache, 7).run(stopped.clone()));
    let connector = Arc::new(fleet.clone());
    tokio::spawn(super::run(
        super::Settings::default(),
        connector,
        context,
        stopped,
    ));
    let state = || {
        let status = kv.get("/skep/status/nodes/n1/health")?;
        let status: Status = serde_json::from_slice(&status.value).unwrap();
        let engine = status.engine?;
        Some(format!(
            "{} {}",
            engine.state.as_str(),
            engine.reason.unwrap_or_default()
        ))
    };
    let until = async |wanted: &str| {
        let limit = timer_now() + seconds(90);
        while state().as_deref() != Some(wanted) {
            assert!(timer_now() < limit, "{:?} instead of {wanted}", state());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    until("ready ").await;
    engine.set_reachable(false);
    let lost = timer_now();
    until("down ConnectionRefused").await;
    assert!(
        timer_now() - lost > GRACE - seconds(1),
        "not before the grace"
    );
    engine.set_reachable(true);
    until("ready ").await;
    engine.edit_identity(|identity| identity.id = "another".into());
    until("unknown EngineChanged").await;
    drop(stop);
}
