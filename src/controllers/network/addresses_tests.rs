//! Addresses in their own words, and what holds whatever services and tasks do.

use super::*;
use crate::api::allocation::Owner;
use crate::api::name::Scoped;
use crate::api::status::{Found, NodeState, Truth, Unclaimed, UnclaimedKind};
use crate::api::task::{Desired, Task, TaskState};
use crate::api::uid::TaskId;
use crate::controllers::fixture::World;
use crate::controllers::service::Service;
use crate::dataplane::delta::{Way, way};
use crate::dataplane::state::State;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

fn on() -> Network {
    Network(Settings {
        addresses: true,
        ..Settings::default()
    })
}

fn name(name: &str) -> Scoped {
    Scoped::new("default", name)
}

fn put(world: &mut World, object: ObjectKey, value: &str) {
    world.raw(&Key::User(object), value.as_bytes());
}

fn put_network(world: &mut World, network: &str, value: &str) {
    put(world, ObjectKey::network(&name(network)), value);
}

fn put_service(world: &mut World, service: &str, value: &str) {
    put(world, ObjectKey::service(&name(service)), value);
}

/// A service of so many tasks on these networks.
fn spec(replicas: usize, networks: &str) -> String {
    format!("{{replicas: {replicas}, template: {{container: nginx, networks: [{networks}]}}}}")
}

/// Plans of services and networks are written until there are none.
fn settle(world: &mut World, network: &Network) {
    for _ in 0..20 {
        let services = world.plan(&Service);
        services.steps.iter().for_each(|step| world.apply(step));
        let networks = world.plan(network);
        networks.steps.iter().for_each(|step| world.apply(step));
        if services.is_in_step() && networks.is_in_step() {
            return;
        }
    }
    panic!("twenty rounds of planning did not settle");
}

/// How many addresses services and tasks have in a network, as `services+tasks`; each within it, and of one owner.
fn given(world: &World, network: &str) -> String {
    let Some(record) = world.cache.networks.get(&name(network)) else {
        return "none".into();
    };
    let owner = ipam::owner(&name(network), &record.uid);
    let subnet = world
        .cache
        .allocations
        .numbers_of(&owner)
        .1
        .expect("a subnet");
    let mut owners = BTreeSet::new();
    let (mut services, mut tasks) = (0, 0);
    for (address, given) in world.cache.allocations.addresses(&record.uid) {
        assert!(
            subnet.holds(address) && address != subnet.gateway(),
            "{address}"
        );
        assert!(
            owners.insert(given.owner.clone()),
            "{} has two",
            given.owner
        );
        match given.owner {
            Owner::Service { .. } => services += 1,
            _ => tasks += 1,
        }
    }
    format!("{services}+{tasks}")
}

fn world() -> World {
    let mut world = World::new();
    for node in ["n1", "n2", "n3"] {
        world.node(node, NodeState::Ready, |record| {
            let number = &node[1..];
            record.spec.address = Some(format!("192.0.2.{number}").parse().unwrap());
        });
    }
    put_network(&mut world, "front", "{}");
    put_network(&mut world, "back", "{}");
    world
}

#[test]
fn a_service_and_each_of_its_tasks_have_an_address_in_each_network_that_they_name() {
    let mut world = world();
    put_service(&mut world, "web", &spec(3, "front, back"));
    put_service(&mut world, "db", &spec(1, "back"));
    put_service(
        &mut world,
        "alone",
        "{replicas: 2, template: {container: nginx}}",
    );
    put_service(&mut world, "bare", &spec(2, ""));
    put_service(
        &mut world,
        "names",
        "{replicas: 2, endpointMode: dnsrr, template: {container: nginx, networks: [front]}}",
    );
    settle(&mut world, &on());
    assert_eq!(given(&world, "front"), "1+5");
    assert_eq!(given(&world, "back"), "2+4");
    assert_eq!(given(&world, "default"), "1+2", "the namespace's own");
}

#[test]
fn s6_addresses_that_a_wiped_store_lost_are_taken_over_from_what_runs() {
    let mut world = world();
    put_service(&mut world, "web", &spec(3, "front"));
    settle(&mut world, &on());
    let record = world.cache.networks[&name("front")].clone();
    let mut before: BTreeMap<TaskId, Ipv4Addr> = BTreeMap::new();
    for (address, given) in world.cache.allocations.addresses(&record.uid) {
        if let Owner::Task { task, .. } = &given.owner {
            before.insert(task.clone(), address);
        }
    }
    // Each has the next one's, so that nobody's is what it would be given.
    let addresses: Vec<Ipv4Addr> = before.values().copied().collect();
    let shifted = addresses.iter().cycle().skip(1);
    let before: BTreeMap<TaskId, Ipv4Addr> = before.into_keys().zip(shifted.copied()).collect();
    let all: Vec<Ipv4Addr> = world
        .cache
        .allocations
        .addresses(&record.uid)
        .map(|(address, _)| address)
        .collect();
    for address in all {
        world.delete(&Key::Allocation(Item::Address(record.uid.clone(), address)));
    }
    for task in world.tasks() {
        let adopted = Task {
            adopted_from: Some("n1".into()),
            ..task.clone()
        };
        world.put(&Key::Task(name("web"), task.id.clone()), &adopted);
        world.bind(&task.id, "n1");
    }
    let ids: Vec<TaskId> = before.keys().cloned().collect();
    for (index, task) in ids.iter().enumerate() {
        settle(&mut world, &on());
        assert_eq!(given(&world, "front"), format!("0+{index}"), "no other's");
        let status = Key::TaskStatus("n1".into(), task.clone());
        world.observe_with(task, TaskState::Running, |status| {
            status.addresses = vec![before[task].into()];
        });
        assert!(world.wakes(&on(), &status));
    }
    settle(&mut world, &on());
    assert_eq!(given(&world, "front"), "1+3");
    for (address, given) in world.cache.allocations.addresses(&record.uid) {
        if let Owner::Task { task, .. } = &given.owner {
            assert_eq!(before[task], address, "it keeps what it runs with");
        }
    }
}

#[test]
fn s6_what_a_container_has_that_nobody_claims_is_given_to_nobody_else() {
    let mut world = World::new();
    world.node("n1", NodeState::Ready, |_| {});
    put_network(&mut world, "front", "{subnets: [10.9.0.0/29]}");
    let held = [2, 3, 4].map(|last| Ipv4Addr::new(10, 9, 0, last));
    let container = Unclaimed {
        container: "c".into(),
        name: "web.1.lost".into(),
        kind: UnclaimedKind::Lost,
        running: true,
        since: world.now.wall,
        addresses: held.map(IpAddr::V4).into(),
        claim: None,
    };
    let mut found = Found {
        incarnation: world.cache.cluster.as_ref().unwrap().incarnation,
        unclaimed: vec![container],
        total: 1,
        ..Found::default()
    };
    world.found("n1", found.clone());
    put_service(&mut world, "web", &spec(2, "front"));
    settle(&mut world, &on());
    assert_eq!(given(&world, "front"), "1+1", "five addresses, three held");
    let record = world.cache.networks[&name("front")].clone();
    for (address, given) in world.cache.allocations.addresses(&record.uid) {
        assert!(!held.contains(&address), "{address} to {}", given.owner);
    }
    let plan = addresses::plan(&world.cache, &name("front"));
    assert!(plan.look_again.is_some(), "what waits is looked at again");
    found.unclaimed.clear();
    world.found("n1", found);
    settle(&mut world, &on());
    assert_eq!(given(&world, "front"), "1+2");
}

#[test]
fn a_network_in_use_that_is_put_once_more_is_of_the_new_key() {
    let mut world = world();
    put_service(&mut world, "web", &spec(1, "front"));
    settle(&mut world, &on());
    let front = ObjectKey::network(&name("front"));
    let before = world.cache.networks[&name("front")].clone();
    world.delete(&Key::User(front.clone()));
    settle(&mut world, &on());
    put_network(&mut world, "front", "{}");
    settle(&mut world, &on());
    let record = &world.cache.networks[&name("front")];
    assert_eq!(record.uid, before.uid, "it was never gone");
    let written = world.cache.users[&front].create_revision;
    assert_ne!(before.value.create_revision, written);
    assert_eq!(record.value.create_revision, written);
}

#[test]
fn no_address_is_given_out_while_networks_are_not_provided() {
    let mut world = world();
    put_service(&mut world, "web", &spec(3, "front"));
    settle(&mut world, &Network::default());
    assert_eq!(given(&world, "front"), "0+0");
    assert!(!world.wakes(&Network::default(), &Key::Task(name("web"), "t".into())));
}

#[test]
fn c6_a_task_keeps_its_address_until_it_was_seen_stopped() {
    let mut world = world();
    put_service(&mut world, "web", &spec(2, "front"));
    settle(&mut world, &on());
    let tasks: Vec<TaskId> = world.tasks().iter().map(|task| task.id.clone()).collect();
    for task in &tasks {
        world.bind(task, "n1");
        world.observe(task, TaskState::Running);
    }
    put_service(&mut world, "web", &spec(1, "front"));
    settle(&mut world, &on());
    let leaving = world
        .tasks()
        .into_iter()
        .find(|task| task.desired > Desired::Running);
    let leaving = leaving.expect("one is to go").id;
    assert_eq!(given(&world, "front"), "1+2");
    world.observe(&leaving, TaskState::Shutdown);
    settle(&mut world, &on());
    assert_eq!(given(&world, "front"), "1+1");
}

#[test]
fn what_a_service_asks_for_no_more_is_taken_back() {
    let mut world = world();
    put_service(&mut world, "web", &spec(2, "front, back"));
    settle(&mut world, &on());
    put_network(&mut world, "other", "{}");
    put_service(&mut world, "web", &spec(2, "back, other"));
    settle(&mut world, &on());
    // Tasks of the revision before that never ran are gone at once.
    world.engines();
    settle(&mut world, &on());
    assert!(
        given(&world, "front").starts_with("0+"),
        "{}",
        given(&world, "front")
    );
    assert!(
        given(&world, "other").starts_with("1+"),
        "{}",
        given(&world, "other")
    );
    world.delete(&Key::User(ObjectKey::network(&name("back"))));
    settle(&mut world, &on());
    assert_eq!(given(&world, "back"), "1+2", "tasks are in it");
    world.delete(&Key::User(ObjectKey::service(&name("web"))));
    for _ in 0..3 {
        settle(&mut world, &on());
        world.engines();
    }
    settle(&mut world, &on());
    assert_eq!(given(&world, "back"), "none");
    assert_eq!(world.cache.allocations.addressed().count(), 0);
}

#[test]
fn a_full_network_says_so_and_gives_what_is_freed_to_who_waits() {
    let mut world = world();
    put_network(&mut world, "small", "{subnets: [\"10.1.0.0/29\"]}");
    put_service(&mut world, "web", &spec(6, "small"));
    settle(&mut world, &on());
    // Eight less its own, the gateway and the one for all.
    assert_eq!(given(&world, "small"), "1+4");
    let full = |world: &World| {
        let status = world
            .cache
            .status(&ObjectKey::network(&name("small")), "network");
        let condition = status.expect("it is reported").condition("AddressesLeft");
        condition.map(|condition| (condition.status, condition.message.clone()))
    };
    let expected = "all 5 addresses of 10.1.0.0/29 are taken: what gets none has to wait";
    assert_eq!(full(&world), Some((Truth::False, expected.to_owned())));
    let has = world.tasks().into_iter().find(|task| {
        let owner = joins::task_owner(&name("web"), &task.id);
        world.cache.allocations.of(&owner).next().is_some()
    });
    let has = has.expect("four have one").id;
    world.bind(&has, "n1");
    world.observe(&has, TaskState::Failed);
    let networks = world.plan(&on());
    networks.steps.iter().for_each(|step| world.apply(step));
    assert_eq!(given(&world, "small"), "1+3");
    let networks = world.plan(&on());
    networks.steps.iter().for_each(|step| world.apply(step));
    assert_eq!(given(&world, "small"), "1+4");
    put_service(&mut world, "web", &spec(1, "small"));
    settle(&mut world, &on());
    world.engines();
    settle(&mut world, &on());
    assert_eq!(full(&world), None);
}

#[test]
fn what_changes_leads_to_the_networks_that_it_concerns() {
    let mut world = world();
    put_service(&mut world, "web", &spec(1, "front"));
    settle(&mut world, &on());
    let task = world.tasks()[0].id.clone();
    world.bind(&task, "n1");
    world.observe(&task, TaskState::Running);
    let front = Work::Addresses(name("front"));
    let leads = |world: &World, key: &Key| on().work(key, &world.cache).contains(&front);
    let status = Key::TaskStatus("n1".into(), task.clone());
    assert!(leads(
        &world,
        &Key::Accepted(ObjectKey::service(&name("web")))
    ));
    assert!(leads(
        &world,
        &Key::Accepted(ObjectKey::network(&name("front")))
    ));
    assert!(leads(&world, &Key::Task(name("web"), task.clone())));
    assert!(!leads(&world, &status), "it runs");
    world.observe(&task, TaskState::Failed);
    assert!(leads(&world, &status));
    world.delete(&Key::Task(name("web"), task.clone()));
    assert!(leads(&world, &Key::Task(name("web"), task)));
    world.delete(&Key::Accepted(ObjectKey::service(&name("web"))));
    assert!(leads(
        &world,
        &Key::Accepted(ObjectKey::service(&name("web")))
    ));
}

#[derive(Clone, Debug)]
enum Step {
    Service(usize, usize),
    NoService(usize),
    Network(usize),
    NoNetwork(usize),
    Bind(usize, usize),
    Observe(usize, usize),
    Engines,
    Lose(usize),
    Killed(usize),
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3usize, 0..7usize).prop_map(|(name, spec)| Step::Service(name, spec)),
        1 => (0..3usize).prop_map(Step::NoService),
        1 => (0..3usize).prop_map(Step::Network),
        1 => (0..3usize).prop_map(Step::NoNetwork),
        6 => (0..20usize, 0..3usize).prop_map(|(task, node)| Step::Bind(task, node)),
        4 => (0..20usize, 0..4usize).prop_map(|(task, state)| Step::Observe(task, state)),
        2 => Just(Step::Engines),
        1 => (0..30usize).prop_map(Step::Lose),
        2 => (0..9usize).prop_map(Step::Killed),
        4 => Just(Step::Settle),
    ];
    prop::collection::vec(step, 1..30)
}

const SERVICES: [&str; 3] = ["web", "db", "job"];
const NETWORKS: [(&str, &str); 3] = [
    ("front", "{}"),
    ("back", "{internal: true, mtu: 1400}"),
    ("small", "{subnets: [\"10.1.0.0/29\"]}"),
];

fn specs(index: usize) -> String {
    let port = |ports: &str| {
        format!(
            "{{replicas: 2, template: {{container: nginx, networks: [back, front]}}, ports: [{ports}]}}"
        )
    };
    match index {
        0 => spec(3, "front"),
        1 => spec(2, "front, back"),
        2 => spec(4, "small"),
        3 => port("\"8080:80\", \"53:53/udp\""),
        4 => port("\"8080:81\""),
        5 => "{replicas: 2, endpointMode: dnsrr, template: {container: nginx, networks: [front]}}"
            .into(),
        _ => spec(1, ""),
    }
}

fn act(world: &mut World, step: &Step) {
    let nth = |world: &World, index: usize| {
        let tasks = world.tasks();
        (!tasks.is_empty()).then(|| tasks[index % tasks.len()].clone())
    };
    match step {
        Step::Service(service, index) => put_service(world, SERVICES[*service], &specs(*index)),
        Step::NoService(service) => {
            world.delete(&Key::User(ObjectKey::service(&name(SERVICES[*service]))))
        }
        Step::Network(index) => put_network(world, NETWORKS[*index].0, NETWORKS[*index].1),
        Step::NoNetwork(index) => {
            world.delete(&Key::User(ObjectKey::network(&name(NETWORKS[*index].0))))
        }
        Step::Bind(task, node) => {
            if let Some(task) = nth(world, *task)
                && world.cache.binding(&task.id).is_none()
                && task.desired <= Desired::Running
            {
                world.bind(&task.id, ["n1", "n2", "n3"][*node]);
            }
        }
        Step::Observe(task, state) => {
            if let Some(task) = nth(world, *task)
                && world.cache.binding(&task.id).is_some()
            {
                let states = [
                    TaskState::Ready,
                    TaskState::Running,
                    TaskState::Running,
                    TaskState::Failed,
                ];
                let before = world.cache.task_status(&task.id).map(|status| status.state);
                if before.is_none_or(|before| before < states[*state]) {
                    world.observe(&task.id, states[*state]);
                }
            }
        }
        Step::Engines => world.engines(),
        Step::Lose(index) => {
            let lost = world
                .cache
                .allocations
                .iter()
                .map(|(item, _)| item.clone())
                .nth(*index);
            lost.into_iter()
                .for_each(|item| world.delete(&Key::Allocation(item)));
        }
        Step::Killed(writes) => {
            let plan = world.plan(&on());
            plan.steps
                .iter()
                .take(*writes)
                .for_each(|step| world.apply(step));
        }
        Step::Settle => settle(world, &on()),
    }
}

/// Who should have an address at rest, said without the planner's means.
fn check_rest(world: &World) -> Result<(), TestCaseError> {
    for (name, record) in &world.cache.networks {
        let owner = ipam::owner(name, &record.uid);
        let (_, Some(subnet)) = world.cache.allocations.numbers_of(&owner) else {
            continue;
        };
        let mut expected = BTreeSet::new();
        let mut may = BTreeSet::new();
        for (service, accepted) in &world.cache.services {
            let named = accepted.spec.template.networks.iter().flatten();
            let is_on = named
                .map(|one| one.name.clone())
                .any(|one| one == name.name.as_str());
            if is_on && accepted.spec.endpoint_mode == crate::api::service::EndpointMode::Vip {
                expected.insert(format!("{service} {}", accepted.uid));
            }
        }
        for ((service, id), task) in &world.cache.tasks {
            let revision = &world.cache.revisions[&(task.service.clone(), task.revision)];
            let named = revision.template.networks.iter().flatten();
            let is_on = named
                .map(|one| one.name.clone())
                .any(|one| one == name.name.as_str());
            let state = world.cache.task_status(id).map(|status| status.state);
            let is_over = state.is_some_and(TaskState::is_terminal);
            if is_on && !is_over {
                may.insert(format!("{service} {id}"));
                if task.desired <= Desired::Running {
                    expected.insert(format!("{service} {id}"));
                }
            }
        }
        let mut has = BTreeSet::new();
        for (_, given) in world.cache.allocations.addresses(&record.uid) {
            let who = match &given.owner {
                Owner::Service { name, uid } => format!("{name} {uid}"),
                Owner::Task { service, task } => format!("{service} {task}"),
                other => format!("{other}"),
            };
            prop_assert!(
                may.contains(&who) || expected.contains(&who),
                "{who} has an address of {name}"
            );
            prop_assert!(has.insert(who.clone()), "{who} has two");
        }
        let lacks = expected.difference(&has).count();
        let room = world.cache.allocations.free_addresses(&record.uid, subnet);
        prop_assert!(
            lacks == 0 || room == 0,
            "{lacks} lack one of {name}, and {room} are free"
        );
    }
    let uids: BTreeSet<_> = world
        .cache
        .networks
        .values()
        .map(|record| record.uid.clone())
        .collect();
    prop_assert!(
        world
            .cache
            .allocations
            .addressed()
            .all(|uid| uids.contains(uid))
    );
    Ok(())
}

/// What the agents of all nodes have, change by change.
#[derive(Default)]
struct Agents {
    states: BTreeMap<String, State>,
    deltas: usize,
}

impl Agents {
    /// Each is told what changed, and has then what it would have been told whole.
    fn follow(&mut self, world: &World) -> Result<(), TestCaseError> {
        let overlays = state::Overlays::of(&world.cache);
        for node in ["n1", "n2", "n3"] {
            let Some(whole) = overlays.state(&node.into()) else {
                prop_assert!(!self.states.contains_key(node), "{node} was a member");
                continue;
            };
            prop_assert_eq!(whole.check(), Ok(()));
            let next = match self
                .states
                .get(node)
                .map(|before| (before, way(before, &whole)))
            {
                None | Some((_, Way::Whole)) => whole.clone(),
                Some((before, Way::Same)) => State {
                    revision: whole.revision,
                    ..before.clone()
                },
                Some((before, Way::Delta(delta))) => {
                    self.deltas += 1;
                    before.after(delta).expect("it fits")
                }
            };
            prop_assert_eq!(&next, &whole);
            self.states.insert(node.into(), next);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_happens_to_services_addresses_neither_leak_nor_double_and_agents_follow_by_changes(steps in steps()) {
        let mut world = world();
        let mut agents = Agents::default();
        for step in &steps {
            // A node's index lost by hand makes it no member for a moment: agents go on with what they have.
            if let Step::Lose(_) = step {
                act(&mut world, step);
                settle(&mut world, &on());
                agents.states.clear();
            } else {
                act(&mut world, step);
            }
            agents.follow(&world)?;
        }
        settle(&mut world, &on());
        agents.follow(&world)?;
        check_rest(&world)?;
        let again = world.plan(&on());
        prop_assert!(again.is_in_step(), "{again:?}");
    }
}
