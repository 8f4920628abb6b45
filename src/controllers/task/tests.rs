//! The plan for one task: a table of rules, and a simulated engine that crashes at every step.

use super::container::{self, ContainerInput};
use super::networks::{Callers, Endpoint, Networks};
use super::plan::{Decision, plan};
use super::snapshot::{Image, Progress, Refused, Seen, Snapshot};
use crate::api::accepted::AcceptedNode;
use crate::api::cluster::Cluster;
use crate::api::key::Key;
use crate::api::name::{NodeName, ObjectKey, Scoped};
use crate::api::task::{
    Binding, Desired, ServiceRevision, Slot, Stamp, Task, TaskState, TaskStatus,
};
use crate::api::time::Timestamp;
use crate::api::uid::{ContainerId, TaskId};
use crate::api::unit::{Incarnation, LeaseId, Revision, RevisionNumber, Term};
use crate::engine::{Container, ContainerState};
use crate::runtime::cache::Cache;
use crate::runtime::clock::Now;
use crate::runtime::orders::Order;
use crate::runtime::plan::{Write, encode};
use crate::store::KeyValue;
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

pub(super) const ID: &str = "0000000000000000000000abc";
pub(super) const OURS: Term = Term(9);
const EARLIER: Term = Term(4);

/// A store, an engine's container and a holder's memory.
pub(super) struct World {
    pub(super) cluster: Cluster,
    pub(super) task: Option<Task>,
    pub(super) binding: Option<Binding>,
    revision: ServiceRevision,
    status: Option<TaskStatus>,
    seen: Seen,
    progress: Progress,
    term: Term,
    now: Duration,
    task_revision: i64,
    networks: Networks,
    callers: Callers,
}

impl World {
    pub(super) fn new() -> Self {
        let revision = json!({
            "service": "svc", "number": 1, "hash": "h", "cause": "", "createdAt": "2026-01-01T00:00:00Z",
            "template": {"container": {"image": "busybox"}},
        });
        Self {
            cluster: Cluster {
                id: "cluster".into(),
                incarnation: Incarnation(1),
                format: 1,
                adopting_since: None,
                held: None,
            },
            task: Some(Task {
                id: ID.into(),
                service: "svc".into(),
                revision: RevisionNumber(1),
                slot: Slot::Replica(3),
                desired: Desired::Running,
                reason: None,
                replaces: None,
                failures: 0,
                not_before: None,
                created_at: Timestamp(0),
                ended_at: None,
                adopted_from: None,
            }),
            binding: Some(Binding {
                task: ID.into(),
                service: "svc".into(),
                namespace: "default".into(),
                service_name: "web".into(),
                node: "node-uid".into(),
                reserved: Default::default(),
                host_ports: Vec::new(),
                bound_at: Timestamp(0),
            }),
            revision: serde_json::from_value(revision).unwrap(),
            status: None,
            seen: Seen::Unknown,
            progress: Progress::default(),
            term: OURS,
            now: Duration::from_secs(100),
            task_revision: 5,
            networks: Networks::Engines,
            callers: Callers::None,
        }
    }

    pub(super) fn cache(&self) -> Cache {
        let service = Scoped::new("default", "web");
        let node: NodeName = "n1".into();
        let accepted: AcceptedNode = serde_json::from_value(json!({
            "uid": "node-uid", "generation": 1, "spec": {"engine": {"url": "tcp://n1:2375"}},
            "createRevision": 1, "modRevision": 1, "incarnation": 1, "createdAt": "2026-01-01T00:00:00Z",
        }))
        .unwrap();
        let mut kvs = vec![
            kv(Key::Cluster, &self.cluster, 1),
            kv(Key::Accepted(ObjectKey::node(&node)), &accepted, 2),
            kv(
                Key::Revision("svc".into(), RevisionNumber(1)),
                &self.revision,
                3,
            ),
        ];
        if let Some(task) = &self.task {
            kvs.push(kv(Key::Task(service, ID.into()), task, self.task_revision));
        }
        if let Some(binding) = &self.binding {
            kvs.push(kv(Key::Binding(node.clone(), ID.into()), binding, 6));
        }
        if let Some(status) = &self.status {
            kvs.push(kv(Key::TaskStatus(node, ID.into()), status, 7));
        }
        let mut cache = Cache::default();
        cache.replace("", &kvs, Revision(1000));
        assert!(cache.broken.is_empty(), "{:?}", cache.broken);
        cache
    }

    fn plan(&self) -> Decision {
        let cache = self.cache();
        let (node, id) = (NodeName::from("n1"), TaskId::from(ID));
        let now = Now {
            wall: Timestamp(1_000),
            since_boot: self.now,
        };
        let mut snapshot = Snapshot::new(
            &cache,
            &node,
            &id,
            self.term,
            &self.seen,
            &self.progress,
            now,
        )
        .unwrap();
        snapshot.networks = &self.networks;
        snapshot.callers = self.callers;
        plan(&snapshot)
    }

    pub(super) fn container(&self, term: Term, state: ContainerState) -> Container {
        let service = Scoped::new("default", "web");
        let (task, binding) = (self.task.as_ref(), self.binding.as_ref());
        let world = Self::new();
        let input = ContainerInput {
            cluster: &self.cluster.id,
            service: &service,
            task: task.unwrap_or_else(|| world.task.as_ref().unwrap()),
            revision: &self.revision,
            binding: binding.unwrap_or_else(|| world.binding.as_ref().unwrap()),
            node: &"n1".into(),
            node_uid: &"node-uid".into(),
            stamp: Stamp {
                incarnation: Incarnation(1),
                term,
                revision: Revision(50),
            },
            endpoints: self.networks.endpoints(),
        };
        let started = (state != ContainerState::Created).then_some(Timestamp(500));
        Container {
            id: "c1".into(),
            name: container::name(&service, &Slot::Replica(3), &ID.into()),
            labels: labels(&container::body(&input)).into(),
            state,
            started_at: started,
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

    /// Words: what is wanted, what was written, what was seen, what was done before.
    pub(super) fn say(&mut self, words: &str) {
        for word in words.split_whitespace() {
            self.word(word);
        }
    }

    fn join(&mut self, network: &str) {
        if let Seen::Here(container) = &self.seen {
            let mut container = Container::clone(container);
            std::sync::Arc::make_mut(&mut container.networks).insert(network.into());
            self.seen = Seen::Here(container.into());
        }
    }

    fn word(&mut self, word: &str) {
        use ContainerState::{Created, Dead, Exited, Removing, Running};
        let here = |world: &Self, term, state| world.container(term, state);
        match word {
            "want-ready" => self.task.as_mut().unwrap().desired = Desired::Ready,
            "want-running" => {}
            "want-shutdown" => self.task.as_mut().unwrap().desired = Desired::Shutdown,
            "want-remove" => self.task.as_mut().unwrap().desired = Desired::Remove,
            "no-task" => self.task = None,
            "no-binding" => self.binding = None,
            "other-node-uid" => self.binding.as_mut().unwrap().node = "another".into(),
            "adopting" => self.cluster.adopting_since = Some(Timestamp(1)),
            "always" => {
                self.revision.template.container.pull_policy =
                    crate::api::container::PullPolicy::Always;
            }
            "never" => {
                self.revision.template.container.pull_policy =
                    crate::api::container::PullPolicy::Never;
            }
            "absent" => self.progress.image = Image::Absent,
            "pulled" => self.progress.image = Image::Pulled,
            "committed" => {
                self.progress.committed = Some((Revision(self.task_revision), Revision(6)));
            }
            "task-changed" => self.task_revision += 1,
            "looked" => self.progress.looked_at = Some(self.now),
            "sent" => self.progress.start_sent = Some(self.now),
            "sent-long-ago" => {
                self.progress.start_sent = Some(self.now - Duration::from_secs(31));
            }
            "refused" => {
                self.progress.refused = Some(Refused {
                    reason: "CreateRefused",
                    message: "bad mount".into(),
                });
            }
            "trouble" => {
                self.progress.trouble = Some("disk full".into());
                self.progress.retry_at = Some(self.now + Duration::from_secs(2));
            }
            "waits" => self.networks = Networks::Wait("no way yet".into()),
            "called" => self.callers = Callers::Told,
            "waited" => self.progress.waits_since = Some(self.now - Duration::from_secs(2)),
            "overlays" => {
                let endpoint = |network: &str, last| Endpoint {
                    network: network.into(),
                    address: [10, 64, 0, last].into(),
                    address6: None,
                    gateway: [10, 64, 0, 1].into(),
                };
                let endpoints = [endpoint("front", 7), endpoint("back", 8)];
                self.networks = Networks::Overlays(endpoints.into());
            }
            "in-front" => self.join("front"),
            "in-back" => self.join("back"),
            "?" => self.seen = Seen::Unknown,
            "missing" => self.seen = Seen::Missing,
            "created" => self.seen = Seen::Here(here(self, OURS, Created).into()),
            "created@earlier" => self.seen = Seen::Here(here(self, EARLIER, Created).into()),
            "created-after-start" => {
                let mut container = here(self, OURS, Created);
                container.started_at = Some(Timestamp(3));
                self.seen = Seen::Here(container.into());
            }
            "created-with-error" => {
                let mut container = here(self, OURS, Created);
                container.error = "port is already allocated".into();
                self.seen = Seen::Here(container.into());
            }
            "up" => self.seen = Seen::Here(here(self, OURS, Running).into()),
            "up@earlier" => self.seen = Seen::Here(here(self, EARLIER, Running).into()),
            "exited" => self.seen = Seen::Here(here(self, OURS, Exited).into()),
            "exited-1" => {
                let mut container = here(self, OURS, Exited);
                container.exit_code = 1;
                self.seen = Seen::Here(container.into());
            }
            "oom" => {
                let mut container = here(self, OURS, Exited);
                container.exit_code = 137;
                container.oom_killed = true;
                self.seen = Seen::Here(container.into());
            }
            "removing" => self.seen = Seen::Here(here(self, OURS, Removing).into()),
            "dead" => self.seen = Seen::Here(here(self, OURS, Dead).into()),
            status => self.status = Some(status_word(status)),
        }
    }
}

fn status_word(word: &str) -> TaskStatus {
    let (word, container) = match word.strip_suffix("+c1") {
        Some(word) => (word, Some(ContainerId::from("c1"))),
        None => (word, None),
    };
    let (word, reason) = match word {
        "removed" => ("shutdown", Some("Removed".to_owned())),
        word => (word, None),
    };
    let state = TaskState::ALL
        .into_iter()
        .find(|state| state.as_str() == word)
        .unwrap_or_else(|| panic!("no such word: {word}"));
    TaskStatus {
        task: ID.into(),
        service: "svc".into(),
        node: "node-uid".into(),
        state,
        reason,
        message: None,
        container,
        exit_code: None,
        health: None,
        addresses: Vec::new(),
        bridged: Vec::new(),
        ports: Vec::new(),
        started_at: None,
        finished_at: None,
        since: Timestamp(0),
    }
}

fn kv(key: Key, value: &impl serde::Serialize, revision: i64) -> KeyValue {
    KeyValue {
        key: key.to_string(),
        value: encode(value),
        create_revision: Revision(revision),
        mod_revision: Revision(revision),
        version: 1,
        lease: LeaseId(0),
    }
}

fn labels(body: &str) -> std::collections::BTreeMap<String, String> {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    serde_json::from_value(body["Labels"].clone()).unwrap()
}

/// A decision in short words: `write <state> [reason]; <order>; again <seconds>`.
fn describe(decision: &Decision) -> String {
    let mut words = Vec::new();
    for write in &decision.step.writes {
        words.push(match write {
            Write::Put(_, value) => {
                let status: TaskStatus = serde_json::from_slice(value).unwrap();
                let guard = if decision.step.expects.is_empty() {
                    "write"
                } else {
                    "commit"
                };
                let reason = status.reason.map(|reason| format!(" {reason}"));
                format!(
                    "{guard} {}{}",
                    status.state.as_str(),
                    reason.unwrap_or_default()
                )
            }
            Write::Delete(_) => "delete".into(),
        });
    }
    words.extend(decision.order.as_ref().map(|order| match order {
        Order::Pull { image } => format!("pull {image}"),
        Order::Create { .. } => "create".into(),
        Order::Connect { network, .. } => format!("connect {network}"),
        Order::Start { container } => format!("start {container}"),
        Order::Stop { container, grace } => format!("stop {container} {}", grace.as_secs()),
        Order::Remove { container, force } => {
            format!(
                "remove {container}{}",
                if *force { " by force" } else { "" }
            )
        }
        Order::Inspect { names } => format!("inspect {}", names.join(" or ")),
    }));
    words.extend(
        decision
            .look_again
            .map(|again| format!("again {}", again.as_secs())),
    );
    words.extend(decision.waits.then(|| "wait".to_owned()));
    words.join("; ")
}

#[track_caller]
fn check(situation: &str, expected: &str) {
    let mut world = World::new();
    world.say(situation);
    assert_eq!(describe(&world.plan()), expected, "in: {situation}");
}

#[test]
fn a_new_task_is_created_while_its_start_is_committed() {
    check("want-running", "commit starting; create");
    check("want-running committed starting missing", "create");
    // The task changed after the commitment: commit again (C4).
    check(
        "committed task-changed starting missing",
        "commit starting; create",
    );
    check("committed starting created looked", "start c1");
    check("starting created looked", "commit starting");
    check("committed starting created", "inspect c1");
    check("want-ready", "create");
    check("want-ready created", "write ready");
    check("want-ready ready+c1 created", "");
}

#[test]
fn images_are_pulled_where_they_lack() {
    check("absent", "write preparing Pulling; pull busybox");
    check(
        "absent starting committed missing",
        "write starting Pulling; pull busybox",
    );
    check("always", "write preparing Pulling; pull busybox");
    check("always pulled preparing", "commit starting; create");
    check("never absent", "commit starting; create");
    check("refused", "write rejected CreateRefused");
}

#[test]
fn nothing_is_made_or_started_before_its_networks_are_there() {
    check("waits", "again 2; wait");
    check("waits absent", "again 2; wait");
    check("waits waited", "write preparing NetworksNotReady; wait");
    check(
        "waits waited starting committed missing",
        "write starting NetworksNotReady; wait",
    );
    check("waits committed starting created looked", "again 2; wait");
    check("want-ready waits created", "write ready");
    // What was sent is looked for, and what runs goes on.
    check("waits committed starting created looked sent", "again 2");
    check("waits starting up", "write running");
    check("want-shutdown waits running+c1 up", "stop c1 10");
    check("want-shutdown called running+c1 up", "again 0; wait");
}

#[test]
fn a_container_is_in_all_its_overlays_before_it_is_started() {
    check("overlays", "commit starting; create");
    check(
        "overlays committed starting created looked in-front",
        "connect back",
    );
    check(
        "overlays committed starting created looked in-front in-back",
        "start c1",
    );
    check("want-ready overlays created in-front", "connect back");
    check(
        "want-ready overlays created in-front in-back",
        "write ready",
    );
    check("overlays created@earlier in-front", "remove c1");
}

#[test]
fn what_ran_is_never_started_again() {
    for situation in ["exited", "exited-1", "dead", "created-after-start", "oom"] {
        for status in ["", "starting", "ready+c1", "running+c1", "preparing"] {
            let mut world = World::new();
            world.say(&format!("committed looked {status} {situation}"));
            let decision = world.plan();
            assert_eq!(decision.order, None, "{status} {situation}");
            assert!(!decision.commits_start, "{status} {situation}");
        }
    }
    check("running+c1 exited", "write complete");
    check("running+c1 exited-1", "write failed Exited");
    check("running+c1 oom", "write failed OomKilled");
    check("starting committed created-after-start", "write complete");
}

#[test]
fn created_under_another_term_is_made_anew() {
    check("starting created@earlier", "remove c1");
    check("want-ready ready+c1 created@earlier", "remove c1");
    check("starting committed missing", "create");
    // What runs is adopted, whoever started it.
    check("starting up@earlier", "write running");
    check("up@earlier", "write running");
}

#[test]
fn a_start_is_sent_once() {
    check("committed starting created looked sent", "again 2");
    check("committed starting created sent", "inspect c1");
    check(
        "committed starting created looked sent-long-ago",
        "write failed StartFailed",
    );
    check(
        "committed starting created-with-error sent",
        "write failed StartFailed",
    );
    check(
        "committed starting sent missing",
        "write failed ContainerGone",
    );
}

#[test]
fn only_a_404_by_id_says_that_a_container_is_gone() {
    check("running+c1 ?", &format!("inspect c1 or web.3.{ID}"));
    check("running+c1 missing", "write failed ContainerGone");
    check("running+c1 created", "write failed ContainerGone");
    check("starting ?", &format!("inspect web.3.{ID}"));
    check("ready+c1 ?", &format!("inspect c1 or web.3.{ID}"));
    check("ready+c1 missing", "commit starting; create");
    check("want-shutdown ?", &format!("inspect web.3.{ID}"));
    check(
        "want-remove shutdown+c1 ?",
        &format!("inspect c1 or web.3.{ID}"),
    );
}

#[test]
fn shutdown_stops_and_keeps_the_container() {
    check("want-shutdown running+c1 up", "stop c1 10");
    check("want-shutdown running+c1 exited", "write shutdown");
    check("want-shutdown failed+c1 exited-1", "");
    check("want-shutdown created", "write shutdown");
    // A start that was sent may still come.
    check("want-shutdown starting created looked sent", "again 2");
    check("want-shutdown starting created sent", "inspect c1");
    check(
        "want-shutdown starting created sent-long-ago",
        "write shutdown",
    );
    check("want-shutdown created-with-error sent", "write shutdown");
    check("want-shutdown missing", "write shutdown");
    check(
        "want-shutdown running+c1 missing",
        "write shutdown ContainerGone",
    );
    // It came back to life by hand after its end: its record says that it must not run (C2).
    check("want-shutdown failed+c1 up", "stop c1 10");
}

#[test]
fn removal_ends_with_a_status_that_says_so() {
    check("want-remove running+c1 up", "stop c1 10");
    check("want-remove shutdown+c1 exited", "remove c1");
    check("want-remove created", "remove c1");
    check("want-remove dead", "remove c1 by force");
    check("want-remove shutdown+c1 missing", "write shutdown Removed");
    check("want-remove failed+c1 missing", "write failed Removed");
    check("want-remove removed missing", "");
    check("want-remove removed ?", "");
    check("want-remove looked removing", "again 2");
}

#[test]
fn a_status_leaves_when_records_and_container_are_gone() {
    check("no-task no-binding removed missing", "delete");
    check("no-task no-binding removed ?", "delete");
    check("no-task no-binding running+c1 ?", "inspect c1");
    check("no-task no-binding running+c1 up", "");
    check("no-task removed missing", "");
    // Unclaimed containers are reported, never touched from here (C3).
    check("no-task no-binding up", "");
    check("no-binding up", "");
    check("other-node-uid", "");
}

#[test]
fn nothing_is_ordered_while_adopting() {
    for situation in [
        "want-running",
        "committed starting created looked",
        "absent",
        "want-shutdown running+c1 up",
        "want-remove shutdown+c1 exited",
        "starting created@earlier",
    ] {
        check(&format!("adopting {situation}"), "");
    }
    check("adopting up", "write running");
    check("adopting starting ?", &format!("inspect web.3.{ID}"));
}

#[test]
fn a_failed_attempt_is_told_and_waits() {
    check("trouble", "write preparing Retrying; again 2");
    check(
        "trouble committed starting missing",
        "write starting Retrying; again 2",
    );
    check(
        "trouble want-shutdown running+c1 up",
        "write running Retrying; again 2",
    );
    // What is seen meanwhile is still written.
    check("trouble starting up", "write running");
}

#[test]
fn a_status_is_written_only_when_it_says_something_new() {
    let mut world = World::new();
    world.say("up");
    let written = world.plan().step.writes;
    let Some(Write::Put(_, value)) = written.first() else {
        panic!("nothing written");
    };
    world.status = Some(serde_json::from_slice(value).unwrap());
    assert_eq!(describe(&world.plan()), "");
    world.status = Some(status_word("complete+c1"));
    assert_eq!(describe(&world.plan()), "", "a state never goes back");
}

/// What befalls a task's world.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// Plan, write, order, observe.
    Work,
    /// Plan and write; the order is lost with the process.
    CrashAfterWrite,
    /// Plan and order; the write and the observation are lost with the process.
    CrashAfterOrder,
    /// Plan, write and order; the answer is lost, nothing is seen.
    Timeout,
    /// The container ends.
    Exit,
    /// An event: the container is looked at.
    Event,
    /// The service wants the next thing.
    Advance,
    /// Time passes.
    Wait,
}

fn blows() -> impl Strategy<Value = Vec<Blow>> {
    use Blow::{Advance, CrashAfterOrder, CrashAfterWrite, Event, Exit, Timeout, Wait, Work};
    let blow = prop_oneof![
        8 => Just(Work),
        1 => Just(CrashAfterWrite),
        1 => Just(CrashAfterOrder),
        1 => Just(Timeout),
        1 => Just(Exit),
        1 => Just(Event),
        1 => Just(Advance),
        1 => Just(Wait),
    ];
    proptest::collection::vec(blow, 1..60)
}

/// The world with an engine behind it.
struct Sim {
    world: World,
    engine: Option<Container>,
    made: u32,
    started: Vec<ContainerId>,
}

impl Sim {
    fn befall(&mut self, blow: Blow) {
        match blow {
            Blow::Work => self.work(true, true, true),
            Blow::CrashAfterWrite => {
                self.work(true, false, false);
                self.crash();
            }
            Blow::CrashAfterOrder => {
                self.work(false, true, false);
                self.crash();
            }
            Blow::Timeout => self.work(true, true, false),
            Blow::Exit => {
                if let Some(container) = &mut self.engine
                    && container.state == ContainerState::Running
                {
                    container.state = ContainerState::Exited;
                }
            }
            Blow::Event => self.look(),
            Blow::Advance => {
                let task = self.world.task.as_mut().unwrap();
                task.desired = match task.desired {
                    Desired::Ready => Desired::Running,
                    Desired::Running => Desired::Shutdown,
                    Desired::Shutdown | Desired::Remove => Desired::Remove,
                };
                self.world.task_revision += 10;
            }
            Blow::Wait => self.world.now += Duration::from_secs(7),
        }
    }

    fn crash(&mut self) {
        self.world.term = Term(self.world.term.0 + 1);
        self.world.progress = Progress::default();
        self.world.seen = Seen::Unknown;
    }

    fn look(&mut self) {
        self.world.progress.looked_at = Some(self.world.now);
        self.world.seen = match &self.engine {
            Some(container) => Seen::Here(container.clone().into()),
            None => Seen::Missing,
        };
    }

    /// Rule C4: a start goes out only after the commitment is stored.
    fn work(&mut self, writes: bool, orders: bool, sees: bool) {
        let decision = self.world.plan();
        assert!(
            !(decision.commits_start && matches!(decision.order, Some(Order::Start { .. }))),
            "a start beside its own commitment"
        );
        if writes {
            for write in &decision.step.writes {
                if let Write::Put(_, value) = write {
                    let status: TaskStatus = serde_json::from_slice(value).unwrap();
                    let before = self.world.status.replace(status.clone());
                    assert!(before.is_none_or(|before| before.state <= status.state));
                }
            }
            if decision.commits_start {
                let revision = Revision(self.world.task_revision);
                self.world.progress.committed = Some((revision, Revision(6)));
            }
        }
        if let (true, Some(order)) = (orders, &decision.order) {
            self.order(order);
            match sees {
                true => self.look(),
                false => self.world.seen = Seen::Unknown,
            }
        }
    }

    fn order(&mut self, order: &Order) {
        match order {
            Order::Create { .. } => self.create(),
            Order::Start { container } => self.start(container),
            Order::Stop { .. } => self.befall(Blow::Exit),
            Order::Remove { container, force } => {
                let here = self.engine.take_if(|here| here.id == *container);
                let is_up = here.is_some_and(|here| here.state == ContainerState::Running);
                assert!(!is_up || *force, "removed while it ran");
            }
            Order::Pull { .. } | Order::Inspect { .. } | Order::Connect { .. } => {}
        }
    }

    fn create(&mut self) {
        if self.engine.is_none() {
            self.made += 1;
            let mut container = self
                .world
                .container(self.world.term, ContainerState::Created);
            container.id = ContainerId::from(format!("c{}", self.made));
            self.engine = Some(container);
        }
    }

    fn start(&mut self, id: &ContainerId) {
        self.world.progress.start_sent = Some(self.world.now);
        let container = self.engine.as_mut().filter(|here| here.id == *id);
        let Some(container) = container else { return };
        assert_eq!(container.started_at, None, "started what ran (C4)");
        container.started_at = Some(Timestamp(1));
        container.state = ContainerState::Running;
        self.started.push(id.clone());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_crash_starts_a_second_container(blows in blows(), from_ready in any::<bool>()) {
        let mut world = World::new();
        if from_ready {
            world.say("want-ready");
        }
        let mut sim = Sim { world, engine: None, made: 0, started: Vec::new() };
        for blow in blows {
            sim.befall(blow);
            prop_assert!(sim.started.len() <= 1, "started {:?}", sim.started);
        }
        // Left alone it comes to rest where it was told to go.
        let task = sim.world.task.as_mut().unwrap();
        task.desired = Desired::Remove;
        sim.world.task_revision += 10;
        for _ in 0..20 {
            sim.befall(Blow::Wait);
            sim.befall(Blow::Work);
        }
        prop_assert_eq!(&sim.engine, &None);
        prop_assert_eq!(sim.world.plan(), Decision::default());
        let status = sim.world.status.unwrap();
        prop_assert_eq!(status.reason.as_deref(), Some("Removed"));
    }
}
