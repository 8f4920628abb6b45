//! The reaper in its own words: tasks as `<slot><desired><state>`, lost containers as found on one node.

use super::*;
use crate::api::accepted::Accepted;
use crate::api::cluster::Cluster;
use crate::api::name::{NodeName, ObjectKey};
use crate::api::node::{EngineSpec, NodeSpec};
use crate::api::service::Annotated;
use crate::api::status::{Claim, Found, ReplicaCounts, Status, Unclaimed, UnclaimedKind};
use crate::api::task::{Binding, Desired, Slot, Stamp, Task, TaskState, TaskStatus};
use crate::api::time::Timestamp;
use crate::api::uid::{ContainerId, TaskId, Uid};
use crate::api::unit::{Generation, Incarnation, Revision, RevisionNumber, Term};
use crate::runtime::fixture::{World, lines};
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

fn web() -> Scoped {
    Scoped::new("default", "web")
}

fn node() -> NodeName {
    NodeName::from("n1")
}

fn id(number: usize) -> TaskId {
    TaskId::from(format!("{number:0>25}"))
}

fn world() -> World {
    let mut world = World::default();
    world.pass(1000 * MINUTE);
    live(&mut world, 1);
    world.put(
        Key::Accepted(ObjectKey::node(&node())),
        &accepted("n", node_spec()),
    );
    world
}

/// The cluster's record in this life of the store.
fn live(world: &mut World, incarnation: u64) {
    let cluster = Cluster {
        id: Uid::from("c"),
        incarnation: Incarnation(incarnation),
        format: 1,
        adopting_since: None,
        held: None,
    };
    world.put(Key::Cluster, &cluster);
}

fn node_spec() -> NodeSpec {
    NodeSpec {
        engine: EngineSpec {
            url: "tcp://10.0.0.1:2375".into(),
            tls: None,
        },
        manager: None,
        role: Default::default(),
        availability: Default::default(),
        address: None,
        reserved: Default::default(),
        generic: BTreeMap::new(),
    }
}

fn accepted<S>(uid: &str, spec: S) -> Accepted<S> {
    Accepted {
        uid: Uid::from(uid),
        generation: Generation(1),
        metadata: Annotated::default(),
        spec,
        create_revision: Revision(1),
        mod_revision: Revision(1),
        incarnation: Incarnation(1),
        created_at: Timestamp(0),
        deleted_at: None,
    }
}

fn accept_service(world: &mut World, wanted: u32) {
    let key = ObjectKey::service(&web());
    let manifest =
        crate::api::manifest::parse_value(&key, b"{template: {container: nginx}}").unwrap();
    let crate::api::manifest::Spec::Service(spec) = manifest.spec else {
        panic!("a service")
    };
    world.put(Key::Accepted(key.clone()), &accepted("s", *spec));
    let status = Status {
        uid: Some(Uid::from("s")),
        replicas: Some(ReplicaCounts {
            wanted,
            ..ReplicaCounts::default()
        }),
        ..Status::default()
    };
    world.put(Key::Status(key, "service".into()), &status);
}

fn task(number: usize, slot: u32, desired: Desired) -> Task {
    Task {
        id: id(number),
        service: Uid::from("s"),
        revision: RevisionNumber(1),
        slot: Slot::Replica(slot),
        desired,
        reason: None,
        replaces: None,
        failures: 0,
        not_before: None,
        created_at: Timestamp(number as i64),
        ended_at: None,
        adopted_from: None,
    }
}

fn put_task(world: &mut World, task: &Task) {
    world.put(Key::Task(web(), task.id.clone()), task);
}

fn bind(world: &mut World, number: usize, node_uid: &str) {
    let binding = Binding {
        task: id(number),
        service: Uid::from("s"),
        namespace: "default".into(),
        service_name: "web".into(),
        node: Uid::from(node_uid),
        reserved: Default::default(),
        host_ports: Vec::new(),
        bound_at: Timestamp(0),
    };
    world.put(Key::Binding(node(), id(number)), &binding);
}

fn observe(world: &mut World, number: usize, state: TaskState, reason: &str, container: bool) {
    let status = TaskStatus {
        task: id(number),
        service: Uid::from("s"),
        node: Uid::from("n"),
        state,
        reason: Some(reason.into()),
        message: None,
        container: container.then(|| ContainerId::from(format!("container-{number}"))),
        exit_code: None,
        health: None,
        addresses: Vec::new(),
        bridged: Vec::new(),
        ports: Vec::new(),
        started_at: None,
        finished_at: None,
        since: Timestamp(0),
    };
    world.put(Key::TaskStatus(node(), id(number)), &status);
}

/// Numbers of the tasks that are wanted gone, and of those that have a record.
fn ends(world: &World) -> (Vec<usize>, Vec<usize>) {
    let number = |task: &Task| task.id.as_str().parse::<usize>().unwrap();
    let tasks = || world.cache.tasks.values();
    (
        tasks()
            .filter(|task| task.desired == Desired::Remove)
            .map(|task| number(task))
            .collect(),
        tasks().map(|task| number(task)).collect(),
    )
}

#[test]
fn it_looks_at_tasks_that_are_to_end_and_at_no_others() {
    for (desired, looks) in [
        (Desired::Ready, false),
        (Desired::Running, false),
        (Desired::Shutdown, true),
        (Desired::Remove, true),
    ] {
        let mut world = world();
        put_task(&mut world, &task(1, 1, desired));
        bind(&mut world, 1, "n");
        observe(&mut world, 1, TaskState::Failed, "Exited", true);
        for key in [
            Key::Task(web(), id(1)),
            Key::Binding(node(), id(1)),
            Key::TaskStatus(node(), id(1)),
        ] {
            let work = Reaper::default().work(&key, &world.cache);
            assert_eq!(!work.is_empty(), looks, "{desired:?} {key}");
        }
    }
}

#[test]
fn five_ended_tasks_are_kept_per_slot() {
    let mut world = world();
    for number in 1..=9 {
        // Odd ones in slot 1 (five), even ones in slot 2 (four).
        put_task(
            &mut world,
            &task(number, 2 - (number % 2) as u32, Desired::Shutdown),
        );
        bind(&mut world, number, "n");
        observe(&mut world, number, TaskState::Failed, "Exited", true);
    }
    world.settle(&Reaper::default());
    assert_eq!(ends(&world).0, Vec::<usize>::new());
    for number in [11, 13] {
        put_task(&mut world, &task(number, 1, Desired::Shutdown));
        bind(&mut world, number, "n");
        observe(&mut world, number, TaskState::Failed, "Exited", true);
    }
    world.settle(&Reaper::default());
    assert_eq!(ends(&world).0, [1, 3], "the oldest of slot 1");
}

#[test]
fn a_deleted_node_keeps_no_history() {
    let mut world = world();
    for (number, state) in [(1, TaskState::Shutdown), (2, TaskState::Running)] {
        put_task(&mut world, &task(number, 1, Desired::Shutdown));
        bind(&mut world, number, "n");
        observe(&mut world, number, state, "Stopped", true);
    }
    world.settle(&Reaper::default());
    assert_eq!(ends(&world).0, Vec::<usize>::new());
    let mut leaving = accepted("n", node_spec());
    leaving.deleted_at = Some(Timestamp(1));
    world.put(Key::Accepted(ObjectKey::node(&node())), &leaving);
    world.settle(&Reaper::default());
    assert_eq!(ends(&world).0, [1], "what still stops is left to stop");
}

#[test]
fn the_clusters_history_is_bounded() {
    let mut world = world();
    for number in 1..=4 {
        put_task(&mut world, &task(number, number as u32, Desired::Shutdown));
        bind(&mut world, number, "n");
        observe(&mut world, number, TaskState::Complete, "Exited", true);
    }
    let plan = plan::history_beyond(3, &world.cache, world.now);
    plan.steps
        .iter()
        .for_each(|step| assert!(world.apply(step)));
    assert_eq!(ends(&world).0, [1]);
    assert!(plan::history_beyond(4, &world.cache, world.now).is_in_step());
}

/// One bound task with a status; `gone` is whether its record is deleted.
fn check_end(desired: Desired, state: TaskState, reason: &str, container: bool, gone: bool) {
    let mut world = world();
    put_task(&mut world, &task(1, 1, desired));
    bind(&mut world, 1, "n");
    observe(&mut world, 1, state, reason, container);
    world.settle(&Reaper::default());
    let case = format!("{desired:?} {state:?} {reason} {container}");
    assert_eq!(world.cache.tasks.is_empty(), gone, "{case}");
}

#[test]
fn a_record_outlives_its_container() {
    check_end(Desired::Remove, TaskState::Shutdown, "Removed", false, true);
    check_end(Desired::Remove, TaskState::Shutdown, "Stopped", true, false);
    check_end(Desired::Remove, TaskState::Running, "", true, false);
    // Perhaps a create is on its way: only `Removed` is a confirmation.
    check_end(
        Desired::Remove,
        TaskState::Failed,
        "CreateFailed",
        false,
        false,
    );
    check_end(
        Desired::Shutdown,
        TaskState::Failed,
        "Removed",
        false,
        false,
    );
    check_end(Desired::Running, TaskState::Failed, "Removed", false, false);
}

#[test]
fn a_task_that_never_had_a_place_leaves_only_when_it_is_not_wanted() {
    for (desired, gone) in [
        (Desired::Ready, false),
        (Desired::Running, false),
        (Desired::Shutdown, true),
        (Desired::Remove, true),
    ] {
        let mut world = world();
        put_task(&mut world, &task(1, 1, desired));
        world.settle(&Reaper::default());
        assert_eq!(world.cache.tasks.is_empty(), gone, "{desired:?}");
    }
}

#[test]
fn a_record_of_a_forgotten_node_leaves() {
    for desired in [Desired::Shutdown, Desired::Remove] {
        let mut world = world();
        put_task(&mut world, &task(1, 1, desired));
        bind(&mut world, 1, "another node of the same name");
        observe(&mut world, 1, TaskState::Running, "", true);
        world.settle(&Reaper::default());
        assert!(world.cache.tasks.is_empty(), "{desired:?}");
    }
}

#[test]
fn history_does_not_keep_a_deleted_node() {
    let mut world = world();
    put_task(&mut world, &task(1, 1, Desired::Shutdown));
    bind(&mut world, 1, "n");
    observe(&mut world, 1, TaskState::Failed, "Exited", true);
    world.settle(&Reaper::default());
    assert_eq!(ends(&world).0, Vec::<usize>::new());
    let deleted = Accepted {
        deleted_at: Some(Timestamp(1)),
        ..accepted("n", node_spec())
    };
    world.put(Key::Accepted(ObjectKey::node(&node())), &deleted);
    world.settle(&Reaper::default());
    assert_eq!(ends(&world).0, [1]);
}

#[test]
fn a_record_that_changed_meanwhile_is_not_touched() {
    let mut world = world();
    put_task(&mut world, &task(1, 1, Desired::Shutdown));
    let plan = world.plan_all(&Reaper::default());
    bind(&mut world, 1, "n");
    put_task(&mut world, &task(1, 1, Desired::Shutdown));
    assert!(!world.apply(&plan.steps[0]));
}

fn container(number: usize, kind: UnclaimedKind, incarnation: u64) -> Unclaimed {
    Unclaimed {
        container: ContainerId::from(format!("container-{number}")),
        name: format!("web.{number}"),
        kind,
        running: true,
        since: Timestamp(0),
        addresses: Vec::new(),
        claim: Some(Claim {
            cluster: Uid::from("c"),
            task: id(number),
            service: Uid::from("s"),
            namespace: "default".into(),
            name: "web".into(),
            slot: Slot::Replica(number as u32),
            revision: RevisionNumber(1),
            hash: "h".into(),
            node: Uid::from("n"),
            stamp: Stamp {
                incarnation: Incarnation(incarnation),
                term: Term(1),
                revision: Revision(1),
            },
        }),
    }
}

fn find(world: &mut World, unclaimed: Vec<Unclaimed>) {
    let status = Status {
        uid: Some(Uid::from("n")),
        found: Some(Found {
            incarnation: Incarnation(1),
            highest: None,
            is_ahead: false,
            total: unclaimed.len() as u32,
            unclaimed,
            ..Found::default()
        }),
        ..Status::default()
    };
    world.put(
        Key::Status(ObjectKey::node(&node()), "task".into()),
        &status,
    );
}

/// What the reaper reports of the node: `Type/Reason`.
fn said(world: &World) -> Vec<String> {
    let status = world.cache.status(&ObjectKey::node(&node()), "reaper");
    let conditions = status.map_or(&[][..], |status| &status.conditions);
    conditions
        .iter()
        .map(|said| format!("{}/{}", said.kind, said.reason))
        .collect()
}

/// Its record says that the container is to go, and its binding was lost: the record stays until it has one and the
/// container is gone (rule C2).
#[test]
fn a_record_whose_container_was_found_waits_for_its_binding() {
    for is_found in [true, false] {
        let mut world = world();
        let mut task = task(1, 1, Desired::Remove);
        task.service = Uid::from("s");
        put_task(&mut world, &task);
        let found = is_found.then(|| container(1, UnclaimedKind::Unbound, 1));
        find(&mut world, Vec::from_iter(found));
        world.settle(&Reaper::default());
        assert_eq!(world.cache.tasks.is_empty(), !is_found);
    }
}

#[test]
fn a_container_of_a_task_that_is_elsewhere_is_told_of_and_left_alone() {
    let (mut world, reaper) = (world(), Reaper::default());
    find(&mut world, vec![container(1, UnclaimedKind::Stray, 1)]);
    for _ in 0..2 {
        world.settle(&reaper);
        assert_eq!(said(&world), ["StrayContainers/BoundElsewhere"]);
        assert_eq!(ends(&world).1, Vec::<usize>::new());
        world.pass(60 * MINUTE);
    }
}

#[test]
fn a_lost_container_is_taken_after_ten_minutes_of_this_processs_own_time() {
    let (mut world, reaper) = (world(), Reaper::default());
    // Its holder says that it has been lost since 1970.
    find(&mut world, vec![container(1, UnclaimedKind::Lost, 1)]);
    world.settle(&reaper);
    assert_eq!(said(&world), ["UnclaimedContainers/NoRecord"]);
    world.pass(9 * MINUTE);
    world.settle(&reaper);
    assert_eq!(ends(&world).1, Vec::<usize>::new());
    world.pass(MINUTE);
    let plan = world.settle(&reaper);
    assert_eq!(ends(&world), (vec![1], vec![1]));
    assert_eq!(
        lines(&plan)[0],
        format!(
            "put tasks/default/web/{} [missing tasks/default/web/{}, unchanged cluster]",
            id(1),
            id(1)
        )
    );
    let taken = world.cache.tasks.values().next().unwrap();
    assert_eq!(taken.adopted_from, Some(node()));
    // It waits for its binding, and then for its container's end.
    world.pass(60 * MINUTE);
    world.settle(&reaper);
    assert_eq!(ends(&world), (vec![1], vec![1]));
}

#[test]
fn one_of_a_small_fleet_is_taken_in_ten_minutes() {
    let (mut world, reaper) = (world(), Reaper::default());
    let lost = |from: usize| {
        (from..=3)
            .map(|number| container(number, UnclaimedKind::Lost, 1))
            .collect()
    };
    find(&mut world, lost(1));
    world.settle(&reaper);
    for taken in 1..=3 {
        world.pass(10 * MINUTE);
        world.settle(&reaper);
        // Their containers are gone at once: the records stay and are counted.
        for number in ends(&world).1 {
            bind(&mut world, number, "n");
            observe(&mut world, number, TaskState::Shutdown, "Removed", false);
        }
        find(&mut world, lost(taken + 1));
        world.settle(&reaper);
        assert!(
            ends(&world).0.contains(&taken),
            "{taken} of {:?}",
            ends(&world)
        );
        assert!(!ends(&world).1.contains(&(taken + 1)));
        let is_held = said(&world).contains(&"ReaperHeld/RateLimit".to_owned());
        assert_eq!(is_held, taken < 3, "{taken}");
    }
    find(&mut world, Vec::new());
    world.pass(10 * MINUTE);
    world.settle(&reaper);
    assert_eq!(ends(&world).1, Vec::<usize>::new());
    assert_eq!(said(&world), Vec::<String>::new());
}

#[test]
fn a_new_leader_waits_anew_and_keeps_the_rate() {
    let (mut world, reaper) = (world(), Reaper::default());
    find(
        &mut world,
        vec![
            container(1, UnclaimedKind::Lost, 1),
            container(2, UnclaimedKind::Lost, 1),
        ],
    );
    world.settle(&reaper);
    world.pass(10 * MINUTE);
    world.settle(&reaper);
    let next = Reaper::default();
    world.settle(&next);
    world.pass(9 * MINUTE);
    world.settle(&next);
    assert_eq!(ends(&world).1, [1]);
}

#[test]
fn a_container_of_an_earlier_life_waits_for_a_person() {
    let (mut world, reaper) = (world(), Reaper::default());
    live(&mut world, 2);
    find(&mut world, vec![container(1, UnclaimedKind::Lost, 1)]);
    world.settle(&reaper);
    world.pass(600 * MINUTE);
    world.settle(&reaper);
    assert_eq!(ends(&world).1, Vec::<usize>::new());
    assert_eq!(
        said(&world),
        ["UnclaimedContainers/NoRecord", "ReaperHeld/EarlierLife"]
    );
}

#[test]
fn what_its_service_may_take_back_is_not_taken() {
    for (wanted, slot_is_live, taken) in [(1, false, false), (0, false, true), (2, true, true)] {
        let (mut world, reaper) = (world(), Reaper::default());
        accept_service(&mut world, wanted);
        if slot_is_live {
            put_task(&mut world, &task(7, 1, Desired::Running));
        }
        find(&mut world, vec![container(1, UnclaimedKind::Lost, 1)]);
        world.settle(&reaper);
        world.pass(10 * MINUTE);
        world.settle(&reaper);
        assert_eq!(
            ends(&world).1.contains(&1),
            taken,
            "{wanted} wanted, live {slot_is_live}"
        );
    }
}

#[test]
fn what_is_not_ours_is_told_of_once_and_never_touched() {
    let (mut world, reaper) = (world(), Reaper::default());
    let others = vec![
        container(1, UnclaimedKind::ForeignCluster, 1),
        container(2, UnclaimedKind::Imposter, 1),
    ];
    find(&mut world, others);
    let plan = world.settle(&reaper);
    let notes: Vec<_> = plan.notes.iter().map(|note| note.reason).collect();
    assert_eq!(notes, ["ForeignContainers", "CopiedLabels"]);
    world.pass(600 * MINUTE);
    let plan = world.settle(&reaper);
    assert!(plan.notes.is_empty() && plan.is_in_step(), "{plan:?}");
}

#[test]
fn nothing_is_done_while_adopting() {
    let mut world = world();
    put_task(&mut world, &task(1, 1, Desired::Remove));
    let adopting = Cluster {
        adopting_since: Some(Timestamp(1)),
        ..world.cache.cluster.as_ref().unwrap().value.as_ref().clone()
    };
    world.put(Key::Cluster, &adopting);
    assert!(world.plan_all(&Reaper::default()).is_in_step());
}

#[test]
fn labels_that_make_no_key_are_held() {
    let (mut world, reaper) = (world(), Reaper::default());
    let mut lost = container(1, UnclaimedKind::Lost, 1);
    lost.claim.as_mut().unwrap().namespace = "a/b".into();
    find(&mut world, vec![lost]);
    world.settle(&reaper);
    world.pass(10 * MINUTE);
    world.settle(&reaper);
    assert!(world.cache.tasks.is_empty());
}

#[test]
fn golden_trace() {
    let (mut world, reaper) = (world(), Reaper::default());
    put_task(&mut world, &task(1, 1, Desired::Shutdown));
    put_task(&mut world, &task(2, 1, Desired::Remove));
    bind(&mut world, 2, "n");
    observe(&mut world, 2, TaskState::Shutdown, "Removed", false);
    find(&mut world, vec![container(3, UnclaimedKind::Lost, 1)]);
    let mut trace = lines(&world.settle(&reaper));
    world.pass(10 * MINUTE);
    trace.extend(lines(&world.settle(&reaper)));
    let task = |number| format!("tasks/default/web/{}", id(number));
    assert_eq!(
        trace,
        [
            format!("del {0} [unchanged {0}]", task(1)),
            format!("del {0} [unchanged {0}]", task(2)),
            "put status/nodes/n1/reaper".into(),
            format!("put {0} [missing {0}, unchanged cluster]", task(3)),
            "del status/nodes/n1/reaper".into(),
        ]
    );
}

/// Tasks as (slot, desired, what was seen), in any mixture.
fn mixture() -> impl Strategy<Value = Vec<(u32, usize, usize)>> {
    prop::collection::vec((1..3u32, 0..4usize, 0..5usize), 0..25)
}

fn mix(world: &mut World, tasks: &[(u32, usize, usize)], order: impl Iterator<Item = usize>) {
    const DESIRED: [Desired; 4] = [
        Desired::Ready,
        Desired::Running,
        Desired::Shutdown,
        Desired::Remove,
    ];
    for number in order {
        let (slot, desired, seen) = tasks[number];
        put_task(world, &task(number, slot, DESIRED[desired]));
        if seen > 0 {
            bind(world, number, "n");
        }
        match seen {
            2 => observe(world, number, TaskState::Running, "", true),
            3 => observe(world, number, TaskState::Failed, "Exited", true),
            4 => observe(world, number, TaskState::Shutdown, "Removed", false),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn planning_again_plans_nothing(tasks in mixture()) {
        let (mut world, reaper) = (world(), Reaper::default());
        mix(&mut world, &tasks, 0..tasks.len());
        world.settle(&reaper);
        let again = world.plan_all(&reaper);
        prop_assert!(again.is_in_step() && again.notes.is_empty());
    }

    #[test]
    fn the_order_of_input_does_not_matter(tasks in mixture()) {
        let mut worlds = [world(), world()];
        mix(&mut worlds[0], &tasks, 0..tasks.len());
        mix(&mut worlds[1], &tasks, (0..tasks.len()).rev());
        let reaper = Reaper::default();
        let [one, other] = worlds.map(|mut world| lines(&world.plan_all(&reaper)));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn what_is_wanted_or_may_still_run_keeps_its_record(tasks in mixture()) {
        let (mut world, reaper) = (world(), Reaper::default());
        mix(&mut world, &tasks, 0..tasks.len());
        world.settle(&reaper);
        let (_, kept) = ends(&world);
        for (number, (_, desired, seen)) in tasks.iter().enumerate() {
            let is_wanted = *desired < 2;
            let may_run = *seen == 1 || *seen == 2;
            if is_wanted || may_run {
                prop_assert!(kept.contains(&number), "{number} of {tasks:?}");
            }
            if is_wanted {
                prop_assert!(!ends(&world).0.contains(&number));
            }
        }
    }
}
