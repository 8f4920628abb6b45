//! Placements in their own words: nodes, what runs on them, tasks that wait, and where they go.

use super::Scheduler;
use crate::api::accepted::{Accepted, AcceptedNode};
use crate::api::allocation::{Allocation, Item, Owner};
use crate::api::key::Key;
use crate::api::manifest::{Spec, parse_value};
use crate::api::name::{NodeName, ObjectKey, Scoped};
use crate::api::node::Availability;
use crate::api::service::PortMode;
use crate::api::status::{Claim, Found, NodeState, Unclaimed, UnclaimedKind, Waiting};
use crate::api::task::{Desired, ServiceRevision, Slot, Stamp, Task, TaskState};
use crate::api::uid::{ContainerId, TaskId, Uid};
use crate::api::unit::{Bytes, Generation, Incarnation, Revision, RevisionNumber, Term};
use crate::controllers::fixture::{World, web_name};
use crate::runtime::plan::{Expect, Write};
use proptest::prelude::*;
use std::time::Duration;

/// A fleet of three nodes with 4 CPUs and 8 GiB each: n1 and n2 in zone a, n3 in zone b.
fn fleet() -> World {
    let mut world = World::new();
    for (name, zone) in [("n1", "a"), ("n2", "a"), ("n3", "b")] {
        world.node(name, NodeState::Ready, |node| in_zone(node, zone));
    }
    world
}

fn in_zone(node: &mut AcceptedNode, zone: &str) {
    node.metadata.labels.insert("zone".into(), zone.into());
}

/// Puts a service with this spec in force, with tasks `t1`, `t2`, ... in slots 1 up to `count`.
fn service(world: &mut World, spec: &str, count: u32) {
    named(world, "web", spec, count, Slot::Replica);
}

fn named(world: &mut World, name: &str, spec: &str, count: u32, slot: fn(u32) -> Slot) {
    let name = Scoped::new("default", name);
    let object = ObjectKey::service(&name);
    let manifest = parse_value(&object, spec.as_bytes()).expect("a manifest");
    let Spec::Service(spec) = manifest.spec else {
        panic!("a service")
    };
    let uid = Uid::from(format!("uid-{}", name.name));
    let record = Accepted {
        uid: uid.clone(),
        generation: Generation(1),
        metadata: manifest.metadata,
        spec: (*spec).clone(),
        create_revision: Revision(1),
        mod_revision: Revision(1),
        incarnation: Incarnation(1),
        created_at: world.now.wall,
        deleted_at: None,
    };
    world.put(&Key::Accepted(object), &record);
    let revision = ServiceRevision {
        service: uid.clone(),
        number: RevisionNumber(1),
        hash: "hash".into(),
        template: spec.template.clone(),
        host_ports: spec
            .ports
            .iter()
            .filter(|port| port.mode == PortMode::Host)
            .cloned()
            .collect(),
        cause: String::new(),
        created_at: world.now.wall,
    };
    world.put(&Key::Revision(uid.clone(), RevisionNumber(1)), &revision);
    for number in 1..=count {
        task(
            world,
            &name,
            &format!("{}{number}", &name.name[..1].replace('w', "t")),
            slot(number),
            |_| {},
        );
    }
}

fn task(world: &mut World, name: &Scoped, id: &str, slot: Slot, change: impl FnOnce(&mut Task)) {
    let mut task = Task {
        id: TaskId::from(id),
        service: Uid::from(format!("uid-{}", name.name)),
        revision: RevisionNumber(1),
        slot,
        desired: Desired::Running,
        reason: None,
        replaces: None,
        failures: 0,
        not_before: None,
        created_at: world.now.wall,
        ended_at: None,
        adopted_from: None,
    };
    change(&mut task);
    world.put(&Key::Task(name.clone(), task.id.clone()), &task);
}

/// Where tasks are, in order of nodes.
#[track_caller]
fn shows(world: &World, expected: &str) {
    let places: Vec<String> = world
        .cache
        .bindings
        .keys()
        .map(|(node, task)| format!("{task}@{node}"))
        .collect();
    assert_eq!(places.join(" "), expected);
}

#[track_caller]
fn check(spec: &str, count: u32, expected: &str) {
    let mut world = fleet();
    service(&mut world, spec, count);
    world.settle(&Scheduler);
    shows(&world, expected);
}

fn waiting(world: &World) -> Option<Waiting> {
    let status = world
        .cache
        .status(&ObjectKey::service(&web_name()), "scheduler")?;
    status.value.waiting.first().cloned()
}

#[track_caller]
fn waits(world: &World, expected: &str) {
    let message = waiting(world).expect("a reason").message;
    assert_eq!(message, expected);
}

#[test]
fn it_looks_at_what_asks_for_a_place_or_gives_one_up_and_at_nothing_between() {
    let mut world = fleet();
    service(&mut world, "{template: {container: x}}", 1);
    let id = TaskId::from("t1");
    assert!(world.wakes(&Scheduler, &Key::Task(web_name(), id.clone())));
    world.settle(&Scheduler);
    let node = world.cache.binding(&id).expect("a place").0.clone();
    let binding = Key::Binding(node.clone(), id.clone());
    let status = Key::TaskStatus(node, id.clone());
    assert!(!world.wakes(&Scheduler, &binding), "its own");
    for state in TaskState::ALL {
        world.observe(&id, state);
        assert_eq!(world.wakes(&Scheduler, &status), state.is_terminal());
    }
    world.delete(&status);
    assert!(world.wakes(&Scheduler, &status));
    world.delete(&binding);
    assert!(world.wakes(&Scheduler, &binding));
}

#[test]
fn tasks_spread_over_nodes() {
    check("{template: {container: x}}", 4, "t1@n1 t4@n1 t2@n2 t3@n3");
}

#[test]
fn tasks_spread_over_the_values_of_a_label_first() {
    let spec = "{template: {container: x, placement: {preferences: [{spread: node.labels.zone}]}}}";
    check(spec, 4, "t1@n1 t3@n2 t2@n3 t4@n3");
}

#[test]
fn binpack_fills_one_node_after_another() {
    let spec = "{template: {container: {image: x, resources: {reservations: {memory: 4GiB}}}, placement: {strategy: binpack}}}";
    check(spec, 3, "t1@n1 t2@n1 t3@n2");
}

#[test]
fn random_follows_from_the_seed() {
    let spec = "{template: {container: x, placement: {strategy: random}}}";
    let outcome = || {
        let mut world = fleet();
        service(&mut world, spec, 9);
        world.settle(&Scheduler);
        world.cache.bindings.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(outcome(), outcome());
    assert_eq!(outcome().len(), 9);
}

#[test]
fn constraints_choose_nodes() {
    check(
        "{template: {container: x, placement: {constraints: ['node.labels.zone == b']}}}",
        2,
        "t1@n3 t2@n3",
    );
    check(
        "{template: {container: x, placement: {constraints: ['node.name != n1', 'node.labels.zone == a']}}}",
        1,
        "t1@n2",
    );
}

#[test]
fn the_limit_per_node_holds_but_a_replacement_may_stand_beside_its_predecessor() {
    let spec = "{template: {container: x, placement: {maxReplicasPerNode: 1}}}";
    let mut world = fleet();
    service(&mut world, spec, 4);
    world.settle(&Scheduler);
    shows(&world, "t1@n1 t2@n2 t3@n3");
    waits(
        &world,
        "no suitable node: 3 of 3 by maxReplicasPerNode; nearest is n1, which runs 1 tasks of the service already, the most that one node may: raise maxReplicasPerNode above 1 or add a node",
    );
    task(&mut world, &web_name(), "u2", Slot::Replica(2), |task| {
        task.replaces = Some(TaskId::from("t2"))
    });
    world.settle(&Scheduler);
    shows(&world, "t1@n1 t2@n2 u2@n2 t3@n3");
}

#[test]
fn reservations_have_to_fit_and_the_numbers_are_told() {
    let mut world = fleet();
    let spec = "{template: {container: {image: x, resources: {reservations: {memory: 5GiB}}}, placement: {constraints: ['node.labels.zone == a']}}}";
    service(&mut world, spec, 4);
    world.settle(&Scheduler);
    shows(&world, "t1@n1 t2@n2");
    waits(
        &world,
        "no suitable node: 1 of 3 by constraint, 2 of 3 by resources; nearest is n1, which has 3GiB of memory free, the task reserves 5GiB: reserve 2GiB of memory less",
    );
    let waiting = waiting(&world).expect("a reason");
    assert_eq!(
        (
            waiting.tasks,
            waiting.filters["resources"],
            waiting.filters["constraint"]
        ),
        (2, 2, 1)
    );
    assert_eq!(
        waiting.nodes["n3"].message,
        "does not satisfy `node.labels.zone == a`"
    );
    assert!(
        world
            .notes
            .iter()
            .any(|note| note.reason == "NoSuitableNode")
    );
}

#[test]
fn what_nodes_keep_for_themselves_and_declare_by_name_counts() {
    let mut world = World::new();
    world.node("n1", NodeState::Ready, |node| {
        node.spec.reserved.memory = Bytes(6 << 30);
        node.spec.generic.insert("gpu".into(), 1);
    });
    service(
        &mut world,
        "{template: {container: {image: x, resources: {reservations: {generic: {gpu: 1}}}}}}",
        2,
    );
    world.settle(&Scheduler);
    shows(&world, "t1@n1");
    waits(
        &world,
        "no suitable node: 1 of 1 by resources; nearest is n1, which has 0 of `gpu` free, the task reserves 1: reserve 1 of `gpu` less",
    );
    named(
        &mut world,
        "big",
        "{template: {container: {image: x, resources: {reservations: {memory: 3GiB}}}}}",
        1,
        Slot::Replica,
    );
    world.settle(&Scheduler);
    shows(&world, "t1@n1");
}

#[test]
fn nodes_that_take_nothing_say_why() {
    let mut world = World::new();
    world.node("n1", NodeState::Down, |_| {});
    world.node("n2", NodeState::Ready, |node| {
        node.spec.availability = Availability::Pause
    });
    service(&mut world, "{template: {container: x}}", 1);
    world.settle(&Scheduler);
    shows(&world, "");
    waits(
        &world,
        "no suitable node: 1 of 2 by ready, 1 of 2 by availability; nearest is n2, which has availability pause: run `skep node activate n2`",
    );
    world.node("n2", NodeState::Ready, |_| {});
    world.settle(&Scheduler);
    shows(&world, "t1@n2");
    assert_eq!(waiting(&world), None, "nothing waits, nothing is said");
}

#[test]
fn no_node_at_all_is_said_too() {
    let mut world = World::new();
    service(&mut world, "{template: {container: x}}", 1);
    world.settle(&Scheduler);
    waits(
        &world,
        "no suitable node: there is none; add one with `skep node add`",
    );
}

#[test]
fn a_field_that_the_engine_does_not_know_refuses_the_node() {
    let mut world = World::new();
    world.node("n1", NodeState::Ready, |_| {});
    service(
        &mut world,
        "{template: {container: {image: x, annotations: {a: b}}}}",
        1,
    );
    world.settle(&Scheduler);
    waits(
        &world,
        "no suitable node: 1 of 1 by engine; nearest is n1, which speaks API 1.41: annotations needs API 1.43: upgrade the engine of n1 or leave the field out",
    );
}

#[test]
fn a_host_port_is_free_only_when_its_holder_was_seen_stopped() {
    let mut world = World::new();
    world.node("n1", NodeState::Ready, |_| {});
    service(
        &mut world,
        "{template: {container: x}, ports: ['host:8080:80']}",
        1,
    );
    world.settle(&Scheduler);
    let old = TaskId::from("t1");
    world.observe(&old, TaskState::Running);
    let mut record = world.tasks()[0].clone();
    record.desired = Desired::Shutdown;
    world.put(&Key::Task(web_name(), old.clone()), &record);
    task(&mut world, &web_name(), "t2", Slot::Replica(1), |task| {
        task.replaces = Some(TaskId::from("t1"))
    });
    world.settle(&Scheduler);
    shows(&world, "t1@n1");
    waits(
        &world,
        "no suitable node: 1 of 1 by ports; nearest is n1, which has no room, as host port 8080/tcp is held by task t1: add a node, or publish another port than 8080/tcp",
    );
    world.observe(&old, TaskState::Shutdown);
    world.settle(&Scheduler);
    shows(&world, "t1@n1 t2@n1");
}

#[test]
fn a_host_port_that_a_service_publishes_is_free_on_no_node_until_it_is_given_up() {
    let mut world = World::new();
    world.node("n1", NodeState::Ready, |_| {});
    let key = Key::Allocation(Item::Port("tcp/8080".parse().expect("a port")));
    let allocation = Allocation {
        owner: Owner::Service {
            name: Scoped::new("shop", "front"),
            uid: Uid::from("f"),
        },
        released: false,
        target: None,
    };
    world.put(&key, &allocation);
    let value = "{template: {container: x}, ports: ['127.0.0.1:8080:80']}";
    service(&mut world, value, 1);
    world.settle(&Scheduler);
    shows(&world, "");
    waits(
        &world,
        "no suitable node: 1 of 1 by ports; nearest is n1, which answers on 8080/tcp for service shop/front, as every node does: publish another port than 8080/tcp",
    );
    assert!(!world.wakes(&Scheduler, &key));
    world.delete(&key);
    assert!(world.wakes(&Scheduler, &key));
    world.settle(&Scheduler);
    shows(&world, "t1@n1");
}

#[test]
fn ports_without_a_number_collide_with_nothing() {
    check(
        "{template: {container: x, placement: {constraints: ['node.name == n1']}}, ports: [{target: 80, mode: host}]}",
        2,
        "t1@n1 t2@n1",
    );
}

#[test]
fn a_global_task_goes_to_its_node_or_nowhere() {
    let mut world = fleet();
    world.node("n2", NodeState::Down, |_| {});
    named(
        &mut world,
        "web",
        "{mode: global, template: {container: x}}",
        3,
        |number| Slot::Node(NodeName::from(format!("n{number}"))),
    );
    world.settle(&Scheduler);
    shows(&world, "t1@n1 t3@n3");
    let waiting = waiting(&world).expect("a reason");
    assert_eq!(waiting.nodes.keys().collect::<Vec<_>>(), ["n2"]);
}

#[test]
fn an_adopted_task_goes_home_without_filters_even_while_adopting() {
    let mut world = fleet();
    world.node("n2", NodeState::Down, |_| {});
    world.cluster(1, true);
    service(&mut world, "{template: {container: x}}", 1);
    task(&mut world, &web_name(), "t9", Slot::Replica(9), |task| {
        task.adopted_from = Some(NodeName::from("n2"))
    });
    world.settle(&Scheduler);
    shows(&world, "t9@n2");
    world.cluster(1, false);
    task(&mut world, &web_name(), "t2", Slot::Replica(2), |_| {});
    world.settle(&Scheduler);
    shows(&world, "t2@n1 t9@n2");
}

#[test]
fn s6_what_an_earlier_life_may_have_bound_is_bound_nowhere_but_to_its_own_node() {
    let mut world = fleet();
    service(&mut world, "{template: {container: x}}", 1);
    let global = "{mode: global, template: {container: x}}";
    named(&mut world, "api", global, 2, |number| {
        Slot::Node(NodeName::from(format!("n{number}")))
    });
    world.cluster(2, true);
    world.cluster(2, false);
    for node in ["n1", "n2"] {
        nothing(&mut world, node);
    }
    world.settle(&Scheduler);
    shows(&world, "a1@n1 a2@n2");
    // Every node was looked at: it never was anywhere.
    nothing(&mut world, "n3");
    world.settle(&Scheduler);
    shows(&world, "a1@n1 a2@n2 t1@n3");
}

/// Nothing was found on a node in the second life of the store.
fn nothing(world: &mut World, node: &str) {
    let found = Found {
        incarnation: Incarnation(2),
        ..Found::default()
    };
    world.found(node, found);
}

/// The container of `task` was found on a node in this life of the store; the record has no binding.
fn unbound(world: &mut World, node: &str, task: &str, running: bool, revision: i64) {
    let claim = Claim {
        cluster: Uid::from("cluster"),
        task: TaskId::from(task),
        service: Uid::from("uid-web"),
        namespace: "default".into(),
        name: "web".into(),
        slot: Slot::Replica(1),
        revision: RevisionNumber(1),
        hash: "hash".into(),
        node: Uid::from(format!("uid-{node}")),
        stamp: Stamp {
            incarnation: Incarnation(1),
            term: Term(1),
            revision: Revision(revision),
        },
    };
    let container = Unclaimed {
        container: ContainerId::from(format!("c-{node}")),
        name: format!("web.1.{task}"),
        kind: UnclaimedKind::Unbound,
        running,
        since: world.now.wall,
        addresses: Vec::new(),
        claim: Some(claim),
    };
    let found = Found {
        incarnation: Incarnation(2),
        unclaimed: vec![container],
        total: 1,
        ..Found::default()
    };
    world.found(node, found);
}

#[test]
fn s6_a_task_whose_binding_was_lost_goes_home_without_filters_even_while_adopting() {
    let mut world = fleet();
    world.node("n3", NodeState::Ready, |node| {
        node.spec.availability = Availability::Drain
    });
    service(&mut world, "{template: {container: x}}", 2);
    world.cluster(2, true);
    unbound(&mut world, "n3", "t1", true, 7);
    world.settle(&Scheduler);
    shows(&world, "t1@n3");
    world.cluster(2, false);
    // The list is older than the binding.
    unbound(&mut world, "n2", "t1", true, 8);
    world.settle(&Scheduler);
    shows(&world, "t1@n3");
    // One that was away returns.
    unbound(&mut world, "n2", "t2", true, 7);
    world.settle(&Scheduler);
    shows(&world, "t2@n2 t1@n3");
}

#[test]
fn what_was_found_in_an_earlier_life_is_nobodys_home() {
    let mut world = fleet();
    service(&mut world, "{template: {container: x}}", 1);
    unbound(&mut world, "n3", "t1", true, 7);
    world.cluster(3, true);
    world.settle(&Scheduler);
    shows(&world, "");
}

#[test]
fn of_two_containers_of_a_task_the_one_that_runs_is_its_home_then_the_later_one() {
    let home = |found: [(bool, i64); 2]| {
        let mut world = fleet();
        service(&mut world, "{template: {container: x}}", 1);
        world.cluster(2, true);
        for (node, (running, revision)) in ["n1", "n2"].into_iter().zip(found) {
            unbound(&mut world, node, "t1", running, revision);
        }
        world.settle(&Scheduler);
        world
            .cache
            .binding(&TaskId::from("t1"))
            .expect("a place")
            .0
            .clone()
    };
    assert_eq!(home([(true, 7), (false, 8)]), NodeName::from("n1"));
    assert_eq!(home([(false, 7), (true, 7)]), NodeName::from("n2"));
    assert_eq!(home([(true, 7), (true, 8)]), NodeName::from("n2"));
    assert_eq!(home([(true, 8), (true, 7)]), NodeName::from("n1"));
}

#[test]
fn a_record_for_a_container_that_is_to_go_is_bound_without_its_service() {
    let mut world = fleet();
    task(&mut world, &web_name(), "t9", Slot::Replica(9), |task| {
        task.adopted_from = Some(NodeName::from("n2"));
        task.desired = Desired::Remove;
    });
    task(&mut world, &web_name(), "t8", Slot::Replica(8), |task| {
        task.desired = Desired::Remove;
    });
    world.settle(&Scheduler);
    shows(&world, "t9@n2");
    // As is one whose container was found without a binding.
    world.cluster(2, false);
    unbound(&mut world, "n3", "t8", true, 7);
    world.settle(&Scheduler);
    shows(&world, "t9@n2 t8@n3");
}

#[test]
fn a_node_where_a_revision_keeps_failing_comes_last() {
    let mut world = World::new();
    for name in ["n1", "n2"] {
        world.node(name, NodeState::Ready, |_| {});
    }
    service(&mut world, "{template: {container: x}}", 5);
    for id in ["t1", "t2", "t3", "t4", "t5"] {
        world.bind(&TaskId::from(id), "n1");
        world.observe(&TaskId::from(id), TaskState::Rejected);
    }
    for id in ["t6", "t7"] {
        task(&mut world, &web_name(), id, Slot::Replica(6), |_| {});
    }
    world.settle(&Scheduler);
    shows(&world, "t1@n1 t2@n1 t3@n1 t4@n1 t5@n1 t6@n2 t7@n2");
    // An engine that was mended is as good as any.
    world.pass(std::time::Duration::from_secs(400));
    task(&mut world, &web_name(), "t8", Slot::Replica(8), |_| {});
    world.settle(&Scheduler);
    shows(&world, "t1@n1 t2@n1 t3@n1 t4@n1 t5@n1 t8@n1 t6@n2 t7@n2");
}

#[test]
fn a_binding_goes_with_its_task_or_with_its_node_once_the_task_was_given_up() {
    let mut world = fleet();
    service(&mut world, "{template: {container: x}}", 3);
    world.settle(&Scheduler);
    shows(&world, "t1@n1 t2@n2 t3@n3");
    world.delete(&Key::Task(web_name(), TaskId::from("t1")));
    world.delete(&Key::Accepted(ObjectKey::node(&NodeName::from("n2"))));
    world.delete(&Key::Accepted(ObjectKey::node(&NodeName::from("n3"))));
    let mut given_up = world
        .tasks()
        .into_iter()
        .find(|task| task.id.as_str() == "t3")
        .expect("t3");
    given_up.desired = Desired::Remove;
    world.put(&Key::Task(web_name(), given_up.id.clone()), &given_up);
    world.cluster(1, true);
    world.settle(&Scheduler);
    shows(&world, "t1@n1 t2@n2 t3@n3");
    world.cluster(1, false);
    world.settle(&Scheduler);
    shows(&world, "t2@n2");
}

#[test]
fn an_explanation_that_changes_is_written_at_most_every_five_seconds() {
    let mut world = fleet();
    let spec = "{template: {container: {image: x, resources: {reservations: {memory: 9GiB}}}}}";
    service(&mut world, spec, 1);
    world.settle(&Scheduler);
    task(&mut world, &web_name(), "t2", Slot::Replica(2), |_| {});
    let plan = world.settle(&Scheduler);
    assert!(plan.is_in_step());
    assert_eq!(plan.look_again, Some(Duration::from_secs(5)));
    world.pass(Duration::from_secs(5));
    world.settle(&Scheduler);
    assert_eq!(waiting(&world).map(|waiting| waiting.tasks), Some(2));
}

#[test]
fn a_binding_compares_its_task() {
    let mut world = fleet();
    service(&mut world, "{template: {container: x}}", 200);
    let plan = world.settle(&Scheduler);
    let sizes: Vec<usize> = plan.steps.iter().map(|step| step.writes.len()).collect();
    assert_eq!(sizes, [127, 73], "S7");
    for step in &plan.steps {
        let tasks = step.expects.iter().map(|expect| match expect {
            Expect::Unchanged(Key::Task(_, task), _) => task,
            other => panic!("{other:?}"),
        });
        let bound = step.writes.iter().map(|write| match write {
            Write::Put(Key::Binding(_, task), _) => task,
            other => panic!("{other:?}"),
        });
        assert!(tasks.eq(bound));
    }
}

/// Golden: the bindings of one pass, in order.
#[test]
fn golden_trace_of_a_pass() {
    let mut world = fleet();
    service(&mut world, "{template: {container: x}}", 3);
    let plan = world.settle(&Scheduler);
    let trace: Vec<String> = plan
        .steps
        .iter()
        .flat_map(|step| &step.writes)
        .map(|write| match write {
            Write::Put(key, _) => format!("put {key}"),
            Write::Delete(key) => format!("del {key}"),
        })
        .collect();
    assert_eq!(
        trace,
        [
            "put bindings/n1/t1",
            "put bindings/n2/t2",
            "put bindings/n3/t3"
        ]
    );
}

#[test]
fn ten_thousand_tasks_on_a_hundred_nodes_are_one_pass() {
    let mut world = World::new();
    for number in 0..100 {
        world.node(&format!("n{number:03}"), NodeState::Ready, |_| {});
    }
    service(&mut world, "{template: {container: x}}", 10_000);
    for step in world.plan(&Scheduler).steps {
        world.apply(&step);
    }
    for number in 0..100 {
        let node = NodeName::from(format!("n{number:03}"));
        assert_eq!(world.cache.bindings_on(&node).count(), 100);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// No node gets more than it has, nor more of a service than it may; `settle` asserts that it is in step after.
    #[test]
    fn never_more_than_a_node_has(sizes in proptest::collection::vec(1u64..6, 1..12), most in 0u32..3) {
        let mut world = fleet();
        for (index, size) in sizes.iter().enumerate() {
            let name = format!("{}s", char::from(b'a' + u8::try_from(index).unwrap()));
            let spec = format!("{{template: {{container: {{image: x, resources: {{reservations: {{memory: {size}GiB}}}}}}, placement: {{maxReplicasPerNode: {most}}}}}}}");
            named(&mut world, &name, &spec, 2, Slot::Replica);
        }
        world.settle(&Scheduler);
        for node in ["n1", "n2", "n3"].map(NodeName::from) {
            let held: u64 = world.cache.bindings_on(&node).map(|binding| binding.value.reserved.memory.0).sum();
            prop_assert!(held <= 8 << 30);
            for name in world.cache.services.keys() {
                let count = world.cache.bindings_on(&node).filter(|binding| binding.value.service_name == name.name).count();
                prop_assert!(most == 0 || count <= most as usize);
            }
        }
    }

    /// The order in which records came into the store does not matter.
    #[test]
    fn the_order_of_the_input_does_not_matter(order in Just((1..10u32).collect::<Vec<_>>()).prop_shuffle()) {
        let outcome = |order: &[u32]| {
            let mut world = fleet();
            service(&mut world, "{template: {container: x}}", 0);
            for number in order {
                task(&mut world, &web_name(), &format!("t{number}"), Slot::Replica(*number), |_| {});
            }
            world.settle(&Scheduler);
            world.cache.bindings.keys().cloned().collect::<Vec<_>>()
        };
        prop_assert_eq!(outcome(&order), outcome(&(1..10).collect::<Vec<_>>()));
    }
}
