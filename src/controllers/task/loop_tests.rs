//! The loops on a simulated engine and the in-memory store, with paused time.

use super::container;
use crate::api::key::Key;
use crate::api::name::{NodeName, ObjectKey, Scoped};
use crate::api::task::{Slot, TaskState, TaskStatus};
use crate::api::uid::TaskId;
use crate::api::unit::RevisionNumber;
use crate::embedded::memory::Memory;
use crate::runtime::clock::timer_now;
use crate::runtime::fixture;
use crate::runtime::watcher::Watcher;
use crate::sim::clock::SimClock;
use crate::sim::{Behaviour, Fault, SimEngine, SimFleet};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const ID: &str = "0000000000000000000000abc";

/// A store, an engine, and managers that come and go.
struct Scene {
    kv: Memory,
    fleet: SimFleet,
    engine: SimEngine,
    clock: Arc<SimClock>,
}

struct Running {
    stop: watch::Sender<bool>,
    parts: Vec<JoinHandle<()>>,
}

impl Running {
    /// `kill -9`: nothing is given back.
    fn kill(self) {
        for part in self.parts {
            part.abort();
        }
        drop(self.stop);
    }
}

impl Scene {
    fn new() -> Self {
        let fleet = SimFleet::new();
        let engine = fleet.add_at("tcp://n1:2375", "n1");
        engine.add_image("busybox");
        let scene = Self {
            kv: Memory::new(),
            fleet,
            engine,
            clock: Arc::new(SimClock::new(7)),
        };
        scene.put(
            Key::Cluster,
            json!({"id": "cluster", "incarnation": 1, "format": 1}),
        );
        let node = ObjectKey::node(&"n1".into());
        scene.put(
            Key::Accepted(node.clone()),
            json!({
                "uid": "node-uid", "generation": 1, "spec": {"engine": {"url": "tcp://n1:2375"}},
                "createRevision": 1, "modRevision": 1, "incarnation": 1, "createdAt": "2026-01-01T00:00:00Z",
            }),
        );
        scene
    }

    /// Health has met the engine.
    async fn known(self) -> Self {
        use crate::engine::Engine;
        let id = self.engine.identity().await.unwrap().id;
        self.record_engine(&id);
        self
    }

    fn record_engine(&self, id: &str) {
        self.put(
            Key::Status(ObjectKey::node(&"n1".into()), "health".into()),
            json!({"uid": "node-uid", "engine": {"state": "ready", "id": id}}),
        );
    }

    fn put(&self, key: Key, value: serde_json::Value) {
        self.kv.put(&key.full("/skep/"), value.to_string());
    }

    fn task(&self, desired: &str) {
        self.put(
            Key::Revision("svc".into(), RevisionNumber(1)),
            json!({
                "service": "svc", "number": 1, "hash": "h", "cause": "", "createdAt": "2026-01-01T00:00:00Z",
                "template": {"container": {"image": "busybox"}},
            }),
        );
        self.want(desired);
        self.put(
            Key::Binding("n1".into(), ID.into()),
            json!({
                "task": ID, "service": "svc", "namespace": "default", "serviceName": "web",
                "node": "node-uid", "boundAt": "2026-01-01T00:00:00Z",
            }),
        );
    }

    fn want(&self, desired: &str) {
        self.put(
            Key::Task(Scoped::new("default", "web"), ID.into()),
            json!({
                "id": ID, "service": "svc", "revision": 1, "slot": {"replica": 1}, "desired": desired,
                "createdAt": "2026-01-01T00:00:00Z",
            }),
        );
    }

    fn manager(&self) -> Running {
        let (stop, stopped) = watch::channel(false);
        let context = fixture::context(&self.kv, self.clock.clone());
        let (kv, cache) = (context.kv.clone(), context.cache.clone());
        let watcher = Watcher::new(kv, cache, 7);
        let connector = Arc::new(self.fleet.clone());
        let parts = vec![
            tokio::spawn(watcher.run(stopped.clone())),
            tokio::spawn(super::run(connector, None, context, stopped)),
        ];
        Running { stop, parts }
    }

    fn status(&self) -> Option<TaskStatus> {
        let key = Key::TaskStatus(NodeName::from("n1"), TaskId::from(ID));
        let kv = self.kv.get(&key.full("/skep/"))?;
        Some(serde_json::from_slice(&kv.value).unwrap())
    }

    fn is(&self, state: TaskState) -> bool {
        self.status().is_some_and(|status| status.state == state)
    }

    #[track_caller]
    fn check_one_runs(&self) {
        assert_eq!(self.engine.containers().len(), 1);
        assert_eq!(self.engine.running().len(), 1);
        assert_eq!(self.fleet.violations(), Vec::<String>::new());
    }
}

/// Waits for a state, at most two minutes of paused time.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let limit = timer_now() + Duration::from_secs(120);
    while !holds() {
        assert!(timer_now() < limit, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_bound_task_runs_stops_and_is_removed() {
    let scene = Scene::new().known().await;
    scene.task("running");
    let _manager = scene.manager();
    until("running", || scene.is(TaskState::Running)).await;
    scene.check_one_runs();
    assert_eq!(scene.engine.count("create"), 1);
    assert_eq!(scene.engine.count("start"), 1);
    scene.want("shutdown");
    until("stopped", || scene.is(TaskState::Shutdown)).await;
    assert_eq!(scene.engine.running().len(), 0);
    scene.want("remove");
    until("removed", || {
        scene
            .status()
            .is_some_and(|status| status.reason.as_deref() == Some("Removed"))
    })
    .await;
    assert_eq!(scene.engine.containers().len(), 0);
    let quiet = scene.kv.revision();
    tokio::time::sleep(Duration::from_secs(700)).await;
    let key = Key::TaskStatus("n1".into(), ID.into()).full("/skep/");
    let last = scene.kv.get(&key).map(|kv| kv.mod_revision);
    assert!(
        last <= Some(quiet),
        "a status is written only when it changes"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_makes_no_second_container() {
    for call in ["create", "start", "inspect", "stop"] {
        for fault in [
            Fault::TimeoutAfter,
            Fault::BrokenAfter,
            Fault::TimeoutBefore,
        ] {
            if (call, &fault) == ("start", &Fault::TimeoutBefore) {
                // A start whose outcome is unknown is never repeated: it ends as failed, see below.
                continue;
            }
            let scene = Scene::new().known().await;
            scene.engine.fail(call, fault.clone(), 1);
            scene.task("running");
            let manager = scene.manager();
            until(&format!("running after {call} {fault:?}"), || {
                scene.is(TaskState::Running)
            })
            .await;
            scene.check_one_runs();
            assert_eq!(scene.engine.count("start"), 1, "{call} {fault:?}");
            scene.want("shutdown");
            until("stopped", || scene.is(TaskState::Shutdown)).await;
            manager.kill();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_of_unknown_outcome_is_not_repeated() {
    let scene = Scene::new().known().await;
    scene.engine.fail("start", Fault::TimeoutBefore, 1);
    scene.task("running");
    let _manager = scene.manager();
    until("failed", || scene.is(TaskState::Failed)).await;
    assert_eq!(scene.engine.count("start"), 1);
    assert_eq!(scene.engine.running().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_dies_between_create_and_start_is_taken_over() {
    let scene = Scene::new().known().await;
    // Lists that lack the newest, too: what they lack is not gone (C5).
    scene.engine.fail("list", Fault::HideNewest, 100);
    scene.task("running");
    scene
        .engine
        .set_latency("start", Duration::from_secs(3_600));
    let first = scene.manager();
    until("created", || scene.engine.containers().len() == 1).await;
    let made = scene.engine.containers()[0].id.clone();
    first.kill();
    scene.engine.set_latency("start", Duration::ZERO);
    let _second = scene.manager();
    until("running", || scene.is(TaskState::Running)).await;
    scene.check_one_runs();
    let runs = scene.engine.containers()[0].id.clone();
    assert_ne!(
        runs, made,
        "made under another term: removed and made anew (C4)"
    );
}

#[tokio::test(start_paused = true)]
async fn what_runs_is_adopted_though_the_list_lacks_it() {
    let scene = Scene::new().known().await;
    scene.task("running");
    let first = scene.manager();
    until("running", || scene.is(TaskState::Running)).await;
    first.kill();
    scene.engine.fail("list", Fault::HideNewest, 100);
    scene
        .kv
        .delete(&Key::TaskStatus("n1".into(), ID.into()).full("/skep/"));
    let _second = scene.manager();
    until("running again", || scene.is(TaskState::Running)).await;
    scene.check_one_runs();
    assert_eq!(scene.engine.count("start"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_strangers_container_with_our_name_is_left_alone() {
    let scene = Scene::new().known().await;
    let name = container::name(
        &Scoped::new("default", "web"),
        &Slot::Replica(1),
        &ID.into(),
    );
    let stranger = scene.engine.make_by_hand(&name, &[], true).unwrap();
    scene.task("running");
    let _manager = scene.manager();
    until("rejected", || scene.is(TaskState::Rejected)).await;
    let reason = scene.status().and_then(|status| status.reason);
    assert_eq!(reason.as_deref(), Some("NameConflict"));
    assert_eq!(scene.engine.running()[0].id, stranger);
}

#[tokio::test(start_paused = true)]
async fn of_a_node_that_was_forgotten_meanwhile_nothing_is_reported() {
    let scene = Scene::new().known().await;
    let _manager = scene.manager();
    let node = ObjectKey::node(&"n1".into());
    let report = Key::Status(node.clone(), "task".into()).full("/skep/");
    until("reported", || scene.kv.get(&report).is_some()).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    // This process does not see it before it has something to report.
    scene.kv.cut_watches();
    scene.kv.delete(&Key::Accepted(node).full("/skep/"));
    scene.kv.delete(&report);
    let labels = [("dev.skep.cluster", "another"), ("dev.skep.task", "theirs")];
    let made = scene.engine.make_by_hand("other.1.theirs", &labels, true);
    made.expect("the name is free");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.kv.get(&report), None);
}

#[tokio::test(start_paused = true)]
async fn ends_and_removals_by_hand_are_seen() {
    let scene = Scene::new().known().await;
    scene.engine.set_behaviour("busybox", Behaviour::Run);
    scene.task("running");
    let _manager = scene.manager();
    until("running", || scene.is(TaskState::Running)).await;
    let id = scene.engine.containers()[0].id.clone();
    scene.engine.remove_by_hand(&id);
    until("failed", || scene.is(TaskState::Failed)).await;
    assert_eq!(scene.engine.count("create"), 1, "a task never runs twice");
}

#[tokio::test(start_paused = true)]
async fn another_engine_behind_the_url_is_not_driven() {
    let scene = Scene::new();
    scene.record_engine("another-engine");
    scene.task("running");
    let _manager = scene.manager();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.engine.count("create"), 0);
    assert_eq!(scene.status(), None);
}
