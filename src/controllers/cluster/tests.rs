//! The cluster in its own words: what became of the store, and what the record says then.

use super::compaction::INTERVAL;
use super::plan::{PATIENCE, SETTLE};
use super::*;
use crate::api::accepted::Accepted;
use crate::api::cluster::{Cluster, FORMAT};
use crate::api::name::{NodeName, ObjectKey, Scoped};
use crate::api::node::{EngineSpec, NodeSpec};
use crate::api::service::Annotated;
use crate::api::status::{Claim, EngineStatus, Found, NodeState, Status, Unclaimed, UnclaimedKind};
use crate::api::task::{Slot, Stamp};
use crate::api::time::Timestamp;
use crate::api::uid::{ContainerId, TaskId, Uid};
use crate::api::unit::{Generation, Incarnation, Revision, RevisionNumber, Term};
use crate::runtime::fixture::{World, lines};
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

/// A process with its store.
struct Process {
    world: World,
    controller: ClusterController,
}

impl Process {
    fn new(told_id: Option<&str>) -> Self {
        let mut world = World::default();
        world.pass(Duration::from_secs(1_000_000));
        let memory = ProcessMemory::new(told_id.map(Uid::from));
        Self {
            world,
            controller: ClusterController::new(Arc::new(memory)),
        }
    }

    /// A process that serves cluster `c` in life `incarnation` of its store.
    fn serving(incarnation: u64) -> Self {
        let mut process = Self::new(None);
        process.record("c", incarnation);
        process.settle();
        process
    }

    fn settle(&mut self) -> Plan {
        self.world.settle(&self.controller)
    }

    fn record(&mut self, id: &str, incarnation: u64) {
        let cluster = Cluster {
            id: id.into(),
            incarnation: Incarnation(incarnation),
            format: FORMAT,
            adopting_since: None,
            held: None,
        };
        self.world.put(Key::Cluster, &cluster);
    }

    /// `id.incarnation`, and `!` while adopting.
    fn said(&self) -> String {
        self.world
            .cache
            .cluster
            .as_ref()
            .map_or("-".into(), |cluster| {
                let adopting = if cluster.adopting_since.is_some() {
                    "!"
                } else {
                    ""
                };
                format!("{}.{}{adopting}", cluster.id, cluster.incarnation)
            })
    }

    fn node(&mut self, name: &str) {
        let accepted = Accepted {
            uid: name.into(),
            generation: Generation(1),
            metadata: Annotated::default(),
            spec: NodeSpec {
                engine: EngineSpec {
                    url: "tcp://10.0.0.1:2375".into(),
                    tls: None,
                },
                manager: None,
                role: Default::default(),
                availability: Default::default(),
                address: None,
                reserved: Default::default(),
                generic: Default::default(),
            },
            create_revision: Revision(1),
            mod_revision: Revision(1),
            incarnation: Incarnation(1),
            created_at: self.world.now.wall,
            deleted_at: None,
        };
        let object = ObjectKey::node(&NodeName::from(name));
        self.world.put(Key::Accepted(object), &accepted);
    }

    fn status(&mut self, name: &str, controller: &str, status: Status) {
        let object = ObjectKey::node(&NodeName::from(name));
        let status = Status {
            uid: Some(name.into()),
            ..status
        };
        self.world
            .put(Key::Status(object, controller.into()), &status);
    }

    fn state(&mut self, name: &str, state: NodeState) {
        let engine = EngineStatus {
            state,
            ..EngineStatus::default()
        };
        self.status(
            name,
            "health",
            Status {
                engine: Some(engine),
                ..Status::default()
            },
        );
    }

    /// The node's engine was listed; its newest label is `highest`, and a container of each cluster of `foreign` runs.
    fn found(
        &mut self,
        name: &str,
        incarnation: u64,
        highest: Option<(u64, i64)>,
        foreign: &[&str],
    ) {
        let found = Found {
            incarnation: Incarnation(incarnation),
            highest: highest.map(|(life, revision)| (Incarnation(life), Revision(revision))),
            unclaimed: foreign.iter().map(|id| container(id)).collect(),
            total: foreign.len() as u32,
            ..Found::default()
        };
        self.status(
            name,
            "task",
            Status {
                found: Some(found),
                ..Status::default()
            },
        );
    }

    /// The store loses everything while the process runs.
    fn wipe(&mut self) {
        let keys = self.world.cache.keys();
        keys.iter().for_each(|key| self.world.del(key));
    }
}

fn container(cluster: &str) -> Unclaimed {
    Unclaimed {
        container: ContainerId::from("x"),
        name: "web.1.x".into(),
        kind: UnclaimedKind::ForeignCluster,
        running: true,
        since: Timestamp(0),
        addresses: Vec::new(),
        claim: Some(Claim {
            cluster: cluster.into(),
            task: TaskId::from("x"),
            service: "s".into(),
            namespace: "default".into(),
            name: "web".into(),
            slot: Slot::Replica(1),
            revision: RevisionNumber(1),
            hash: "h".into(),
            node: "n".into(),
            stamp: Stamp {
                incarnation: Incarnation(1),
                term: Term(1),
                revision: Revision(1),
            },
        }),
    }
}

fn reasons(plan: &Plan) -> Vec<&'static str> {
    plan.notes.iter().map(|note| note.reason).collect()
}

#[test]
fn a_new_store_gets_a_new_cluster_once() {
    let mut process = Process::new(None);
    let plan = process.settle();
    assert_eq!(lines(&plan), ["put cluster [missing cluster]"]);
    assert_eq!(reasons(&plan), ["ClusterCreated"]);
    let said = process.said();
    assert!(said.ends_with(".1"), "{said}");
    assert!(process.settle().is_in_step());
    assert_eq!(process.said(), said);
}

#[test]
fn a_wiped_store_gets_back_the_id_that_was_known() {
    let mut process = Process::serving(3);
    process.wipe();
    let plan = process.settle();
    assert_eq!(process.said(), "c.4!");
    assert_eq!(reasons(&plan), ["StoreWiped"]);
}

#[test]
fn a_fresh_process_takes_the_id_that_it_is_told() {
    let mut process = Process::new(Some("c"));
    process.settle();
    // Lives that nobody remembers were counted from 1 on, whatever still carries their labels somewhere.
    assert_eq!(process.said(), "c.1000001!");
    // A clock was wrong: what runs carries labels of a life to come.
    process.node("n1");
    process.found("n1", 1_000_001, Some((2_000_000, 500)), &[]);
    process.settle();
    assert_eq!(process.said(), "c.2000001!");
}

#[test]
fn a_cluster_without_anything_placed_takes_the_id_that_it_is_told() {
    let mut process = Process::new(Some("c"));
    process.record("d", 1);
    process.settle();
    assert_eq!(process.said(), "c.2!");
    assert!(process.settle().is_in_step(), "it serves that cluster now");
}

#[test]
fn a_cluster_with_containers_keeps_its_id() {
    let mut process = Process::new(Some("c"));
    process.record("d", 1);
    process.node("n1");
    process.found("n1", 1, Some((1, 1)), &[]);
    let plan = process.settle();
    assert_eq!(process.said(), "d.1");
    assert_eq!(reasons(&plan), ["ClusterIdRefused"]);
}

#[test]
fn containers_of_another_cluster_are_told_of_while_there_are_none_of_ones_own() {
    let mut process = Process::serving(1);
    process.node("n1");
    process.found("n1", 1, None, &["lost"]);
    let plan = process.settle();
    assert_eq!(reasons(&plan), ["ForeignCluster"]);
    assert!(plan.notes[0].message.contains("--cluster-id lost"));
    assert!(plan.is_in_step());
    assert_eq!(reasons(&process.settle()), Vec::<&str>::new(), "told once");
    process.found("n1", 1, Some((1, 1)), &["lost"]);
    assert_eq!(reasons(&process.settle()), Vec::<&str>::new());
}

#[test]
fn a_rewind_begins_another_life() {
    let mut process = Process::serving(2);
    process.world.cache.rewound_in = Some(Incarnation(2));
    let plan = process.settle();
    assert_eq!(process.said(), "c.3!");
    assert_eq!(reasons(&plan), ["StoreRewound"]);
}

#[test]
fn the_end_of_a_life_that_another_manager_saw_begins_the_next() {
    for (saw, expected) in [(None, "c.2"), (Some(1), "c.2"), (Some(2), "c.3!")] {
        let mut process = Process::serving(2);
        let manager = json!({
            "name": "m2", "hostname": "h", "version": "0", "controllers": [], "sawEndOf": saw,
            "startedAt": "2026-01-01T00:00:00Z",
        });
        process
            .world
            .raw("managers/m2", manager.to_string().into_bytes());
        process.settle();
        assert_eq!(process.said(), expected, "{saw:?}");
    }
}

#[test]
fn a_record_older_than_the_known_one_begins_another_life() {
    let mut process = Process::serving(5);
    process.record("c", 4);
    process.settle();
    assert_eq!(process.said(), "c.6!");
}

#[test]
fn labels_ahead_of_the_store_begin_another_life() {
    // What the newest label says, and the record after it was seen in life 2 of a store at a revision below 100.
    for (highest, expected) in [
        (None, "c.2"),
        (Some((1, 5000)), "c.2"),
        (Some((2, 1)), "c.2"),
        (Some((2, 5000)), "c.3!"),
        (Some((4, 1)), "c.5!"),
    ] {
        let mut process = Process::serving(2);
        process.node("n1");
        process.found("n1", 2, highest, &[]);
        process.settle();
        assert_eq!(process.said(), expected, "{highest:?}");
    }
}

/// A store of two nodes that went back; returns whether adopting has ended after `events` (life 2, events 1 s apart).
fn check_adopting(events: &[&str], ended: bool) {
    let mut process = Process::serving(1);
    for name in ["n1", "n2"] {
        process.node(name);
        process.state(name, NodeState::Ready);
        process.found(name, 1, Some((1, 1)), &[]);
    }
    process.state("n2", NodeState::Down);
    process.world.pass(Duration::from_secs(100));
    process.world.cache.rewound_in = Some(Incarnation(1));
    process
        .world
        .apply(&process.world.clone().plan_all(&process.controller).steps[0]);
    process.world.cache.rewound_in = None;
    assert_eq!(process.said(), "c.2!");
    for event in events {
        process.settle();
        process.world.pass(Duration::from_secs(1));
        match *event {
            "n1 looked at" => process.found("n1", 2, Some((1, 1)), &[]),
            "n2 looked at" => process.found("n2", 2, Some((1, 1)), &[]),
            "n1 found to have more than is listed" => {
                let found = Found {
                    incarnation: Incarnation(2),
                    total: 1,
                    ..Found::default()
                };
                let status = Status {
                    found: Some(found),
                    ..Status::default()
                };
                process.status("n1", "task", status);
            }
            "n2 down" => process.state("n2", NodeState::Down),
            "n2 unknown" => process.state("n2", NodeState::Unknown),
            "n2 ready" => process.state("n2", NodeState::Ready),
            "n3 accepted and looked at" => {
                process.node("n3");
                process.found("n3", 2, None, &[]);
            }
            "settled" => process.world.pass(SETTLE),
            "patience" => process.world.pass(PATIENCE),
            other => panic!("{other}"),
        }
    }
    process.settle();
    let expected = if ended { "c.2" } else { "c.2!" };
    assert_eq!(process.said(), expected, "{events:?}");
}

#[test]
fn adopting_ends_when_each_node_is_looked_at_or_known_not_to_answer() {
    check_adopting(&["n1 looked at", "n2 looked at"], true);
    check_adopting(&["n1 looked at", "n2 down"], true);
    // `n2` was down before the store went back: that says nothing of today.
    check_adopting(&["n1 looked at"], false);
    check_adopting(&["n1 looked at", "patience"], true);
    check_adopting(&["n1 looked at", "n2 unknown"], false);
    check_adopting(&["n1 looked at", "n2 unknown", "patience"], true);
    check_adopting(&["n1 looked at", "n2 ready", "patience", "patience"], false);
    check_adopting(&["n2 looked at", "patience", "patience"], false);
}

#[test]
fn s6_a_list_that_is_cut_is_waited_for_in_patience() {
    check_adopting(&["n2 down", "n1 found to have more than is listed"], false);
    check_adopting(
        &[
            "n2 down",
            "n1 found to have more than is listed",
            "n1 looked at",
        ],
        true,
    );
    check_adopting(
        &[
            "n2 down",
            "n1 found to have more than is listed",
            "patience",
        ],
        true,
    );
}

#[test]
fn a_node_that_is_accepted_while_adopting_may_have_others_behind_it() {
    let all = ["n1 looked at", "n3 accepted and looked at", "n2 looked at"];
    check_adopting(&all, false);
    check_adopting(&[&all[..], &["settled"]].concat(), true);
}

#[test]
fn adopting_does_not_end_without_a_node() {
    let mut process = Process::serving(1);
    process.wipe();
    process.settle();
    process.world.pass(10 * PATIENCE);
    process.settle();
    assert_eq!(process.said(), "c.2!");
}

#[test]
fn a_new_leader_counts_its_patience_anew() {
    let mut process = Process::serving(1);
    process.node("n1");
    process.world.cache.rewound_in = Some(Incarnation(1));
    process.settle();
    process.world.pass(2 * PATIENCE);
    process.controller = ClusterController::new(Arc::default());
    process.settle();
    assert_eq!(process.said(), "c.2!");
    process.world.pass(PATIENCE);
    process.settle();
    assert_eq!(process.said(), "c.2");
}

#[test]
fn what_must_not_be_worked_on_is_refused_and_not_written() {
    let newer = format!(r#"{{"id":"c","incarnation":1,"format":{}}}"#, FORMAT + 1);
    let other = format!(r#"{{"id":"d","incarnation":1,"format":{FORMAT}}}"#);
    for (value, refused) in [
        (newer.as_str(), "NewerFormat"),
        (&other, "OtherCluster"),
        ("{", "Unreadable"),
    ] {
        let mut process = Process::serving(1);
        process.world.raw("cluster", value.into());
        process.world.cache.rewound_in = Some(Incarnation(1));
        let plan = process.settle();
        assert!(plan.is_in_step(), "{refused}");
        assert!(reasons(&plan).contains(&"StoreRefused"), "{refused}");
        let known = process.controller.memory.known();
        let refusal = refusal(&process.world.cache, known.as_ref()).unwrap();
        assert!(format!("{refusal:?}").starts_with(refused), "{refusal:?}");
    }
    let process = Process::serving(1);
    assert_eq!(
        refusal(
            &process.world.cache,
            process.controller.memory.known().as_ref()
        ),
        None
    );
}

#[test]
fn a_store_that_is_left_or_not_whole_is_served_by_nobody() {
    for (held, refused) in [
        (
            r#"{"movedTo":"http://there:2379"}"#,
            "the cluster moved to http://there:2379",
        ),
        (
            r#"{"filledFrom":"/home"}"#,
            "filled from /home and not whole",
        ),
    ] {
        let record = format!(r#"{{"id":"c","incarnation":1,"format":{FORMAT},"held":{held}}}"#);
        // The process that served it, and one that starts.
        for mut process in [Process::serving(1), Process::new(None)] {
            process.world.raw("cluster", record.clone().into());
            process.world.cache.rewound_in = Some(Incarnation(1));
            assert!(process.settle().is_in_step(), "{held}");
            let known = process.controller.memory.known();
            let refusal = refusal(&process.world.cache, known.as_ref()).unwrap();
            assert!(refusal.to_string().contains(refused), "{refusal}");
        }
    }
}

#[test]
fn a_broken_record_at_the_start_is_not_overwritten() {
    let mut process = Process::new(None);
    process.world.raw("cluster", b"{".to_vec());
    assert!(process.settle().is_in_step());
}

#[test]
fn what_means_nothing_is_told_of_once_and_again_when_it_returns() {
    let mut process = Process::serving(1);
    process.world.raw("servics/default/web", b"{}".to_vec());
    process
        .world
        .raw(&format!("tasks/default/web/{:0>25}", 1), b"{".to_vec());
    assert_eq!(reasons(&process.settle()), ["UnknownKey", "BrokenRecord"]);
    assert_eq!(reasons(&process.settle()), Vec::<&str>::new());
    process.world.del(&Key::Task(
        Scoped::new("default", "web"),
        TaskId::from(format!("{:0>25}", 1)),
    ));
    process.settle();
    process
        .world
        .raw(&format!("tasks/default/web/{:0>25}", 1), b"{".to_vec());
    assert_eq!(reasons(&process.settle()), ["BrokenRecord"]);
}

#[test]
fn the_store_is_compacted_to_five_minutes_ago_every_five_minutes() {
    let mut compaction = Compaction::default();
    let mut compacted = Vec::new();
    for second in (0..=1200).step_by(30) {
        let now = Duration::from_secs(second);
        if let Some(target) = compaction.look(now, Revision(second as i64), None) {
            compacted.push((second, target.0));
        }
    }
    assert_eq!(compacted, [(300, 0), (600, 300), (900, 600), (1200, 900)]);
}

#[test]
fn samples_of_another_history_are_forgotten() {
    let record = |revision| Some((Revision(revision), Revision(revision)));
    // A store that is past its old revision again has the record of another life.
    for (revision, second) in [(10, 1), (910, 900)] {
        let mut compaction = Compaction::default();
        let mut look = |now, revision, of| compaction.look(now, Revision(revision), record(of));
        assert_eq!(look(Duration::ZERO, 900, 1), None);
        assert_eq!(look(INTERVAL, revision, second), None);
        let later = look(2 * INTERVAL, revision + 10, second);
        assert_eq!(later, Some(Revision(revision)));
    }
}

#[test]
fn golden_trace() {
    let mut process = Process::serving(1);
    process.node("n1");
    let mut trace = Vec::new();
    process.wipe();
    trace.push(format!(
        "{} {:?}",
        process.said(),
        reasons(&process.settle())
    ));
    trace.push(format!(
        "{} {:?}",
        process.said(),
        reasons(&process.settle())
    ));
    process.node("n1");
    process.found("n1", 2, Some((2, 1)), &[]);
    process.world.pass(SETTLE);
    let plan = process.settle();
    trace.extend(lines(&plan));
    trace.push(format!("{} {:?}", process.said(), reasons(&plan)));
    assert_eq!(
        trace,
        [
            "- [\"StoreWiped\"]",
            "c.2! []",
            "put cluster [unchanged cluster]",
            "c.2 [\"Adopted\"]",
        ]
    );
}

/// What may happen to a store, in any order.
fn happen(process: &mut Process, event: usize) {
    match event {
        0 => process.node("n1"),
        1 => process.node("n2"),
        2 => process.state("n1", NodeState::Down),
        3 => process.state("n1", NodeState::Ready),
        4 => process.found("n1", 2, Some((2, 1)), &["other"]),
        5 => process.found("n2", 3, Some((3, 99_999)), &[]),
        6 => process.wipe(),
        7 => process.record("c", 1),
        8 => process.world.raw("servics/x", b"{}".to_vec()),
        _ => process.world.pass(Duration::from_secs(70)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn planning_again_writes_nothing(events in prop::collection::vec(0..10usize, 1..20)) {
        let mut process = Process::serving(1);
        for event in events {
            happen(&mut process, event);
            process.settle();
            prop_assert!(process.world.plan_all(&process.controller).is_in_step());
        }
    }

    #[test]
    fn the_order_of_nodes_does_not_matter(lives in prop::collection::vec(0..5u64, 1..6)) {
        let said = |order: &mut dyn Iterator<Item = usize>| {
            let mut process = Process::serving(1);
            for index in order {
                let name = format!("n{index}");
                process.node(&name);
                process.found(&name, 1, Some((lives[index], 1)), &[]);
            }
            process.settle();
            process.said()
        };
        prop_assert_eq!(said(&mut (0..lives.len())), said(&mut (0..lives.len()).rev()));
    }

    #[test]
    fn the_id_stays_and_the_life_never_goes_back(events in prop::collection::vec(0..10usize, 1..20)) {
        let mut process = Process::serving(1);
        let mut life = Incarnation(1);
        for event in events {
            happen(&mut process, event);
            for line in lines(&process.settle()) {
                prop_assert!(line.starts_with("put cluster ["), "{line}");
            }
            let record = process.world.cache.cluster.clone().unwrap();
            prop_assert_eq!(record.id.as_str(), "c");
            prop_assert!(record.incarnation >= life);
            life = record.incarnation;
        }
    }
}
