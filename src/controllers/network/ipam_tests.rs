//! Numbers in their own words, and what holds whatever is made, deleted and interrupted.

use super::*;
use crate::api::accepted::Accepted;
use crate::api::allocation::{Allocation, Item, NodeIndex, Owner, Vni};
use crate::api::cluster::Cluster;
use crate::api::manifest::{Spec, parse_value};
use crate::api::name::{NodeName, Scoped};
use crate::api::status::{EngineStatus, Found, FoundNetwork, Status, Truth};
use crate::api::time::Timestamp;
use crate::api::uid::Uid;
use crate::api::unit::{Generation, Incarnation, Revision};
use crate::runtime::fixture::World;
use crate::runtime::view;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A pool of four subnets.
pub(super) fn small() -> Network {
    Network(Settings {
        pool: "10.64.0.0/22".parse().unwrap(),
        addresses: false,
    })
}

pub(super) fn world() -> World {
    let mut world = World::default();
    let cluster = Cluster {
        id: Uid::from("c"),
        incarnation: Incarnation(1),
        format: 1,
        adopting_since: None,
        held: None,
    };
    world.put(Key::Cluster, &cluster);
    world
}

pub(super) fn network(name: &str) -> ObjectKey {
    ObjectKey::network(&Scoped::new("shop", name))
}

pub(super) fn put(world: &mut World, name: &str, value: &str) {
    world.raw(&format!("networks/shop/{name}"), value.into());
}

pub(super) fn delete(world: &mut World, name: &str) {
    world.del(&Key::User(network(name)));
}

/// A node in force, as its controller would have accepted it.
pub(super) fn accept_node(world: &mut World, name: &str, uid: &str, value: &str) {
    let object = ObjectKey::node(&NodeName::from(name));
    let manifest = parse_value(&object, value.as_bytes()).unwrap();
    let Spec::Node(spec) = manifest.spec else {
        panic!("{value} is no node");
    };
    let accepted = Accepted {
        uid: Uid::from(uid),
        generation: Generation(1),
        metadata: manifest.metadata,
        spec: *spec,
        create_revision: Revision(1),
        mod_revision: Revision(1),
        incarnation: Incarnation(1),
        created_at: Timestamp(0),
        deleted_at: None,
    };
    world.put(Key::Accepted(object), &accepted);
}

fn forget_node(world: &mut World, name: &str) {
    world.del(&Key::Accepted(ObjectKey::node(&NodeName::from(name))));
}

/// What a network is told of its numbers: the subnet that it has, or the reason why it has none.
pub(super) fn told(world: &World, name: &str) -> String {
    let status = world
        .cache
        .status(&network(name), "network")
        .expect("it is reported");
    let said = status.condition("Allocated").expect("it is told");
    let record = &world.cache.networks[&Scoped::new("shop", name)];
    let owner = ipam::owner(&Scoped::new("shop", name), &record.uid);
    let (vni, subnet) = world.cache.allocations.numbers_of(&owner);
    match (said.status, vni, subnet) {
        (Truth::True, Some(vni), Some(subnet)) => {
            let text = format!(
                "VNI {}, subnet {subnet}, gateway {}",
                vni.0,
                subnet.gateway()
            );
            let subnet6 = world.cache.allocations.subnet6_of(&owner);
            let (behind, more) = subnet6.map_or_else(Default::default, |subnet6| {
                (
                    format!(", IPv6 subnet {subnet6}"),
                    format!(" and {subnet6}"),
                )
            });
            assert_eq!(said.message, text + &behind);
            format!("{subnet}{more}")
        }
        _ => format!("{}: {}", said.reason, said.message),
    }
}

/// Puts networks one after the other and says what each is told.
pub(super) fn check(values: &[&str], expected: &[&str]) {
    let mut world = world();
    accept_node(
        &mut world,
        "n1",
        "n1",
        "{engine: \"tcp://10.64.3.1:2375\", address: 192.0.2.7}",
    );
    for (index, value) in values.iter().enumerate() {
        put(&mut world, &format!("net{index}"), value);
        world.settle(&small());
    }
    let told: Vec<String> = (0..values.len())
        .map(|index| told(&world, &format!("net{index}")))
        .collect();
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told} is not {expected}");
    }
    assert_eq!(told.len(), expected.len());
}

/// What an engine has from another life of the store.
pub(super) fn find(world: &mut World, node: &str, networks: &[(&str, u64, u32, &str)]) {
    let found = |(name, life, vni, subnets): &(&str, u64, u32, &str)| {
        let mut subnets = subnets.split(" and ");
        FoundNetwork {
            name: (*name).to_owned(),
            incarnation: Incarnation(*life),
            vni: Vni(*vni),
            subnet: subnets.next().unwrap().parse().unwrap(),
            subnet6: subnets.next().map(|subnet6| subnet6.parse().unwrap()),
            block: None,
        }
    };
    let status = Status {
        found: Some(Found {
            networks: networks.iter().map(found).collect(),
            ..Found::default()
        }),
        ..Status::default()
    };
    accept_node(world, node, node, "{engine: \"tcp://192.0.2.7:2375\"}");
    let object = ObjectKey::node(&NodeName::from(node));
    world.put(Key::Status(object, view::TASK.into()), &status);
}

pub(super) fn vni(world: &World, name: &str) -> Vni {
    let record = &world.cache.networks[&Scoped::new("shop", name)];
    let owner = ipam::owner(&Scoped::new("shop", name), &record.uid);
    world
        .cache
        .allocations
        .numbers_of(&owner)
        .0
        .expect("a number")
}

/// What agents of nodes say that they cannot have.
fn refuse(world: &mut World, nodes: &[&str], vni: Vni) {
    for node in nodes {
        let found = Found {
            refused: [(vni, "it overlaps docker0".to_owned())].into(),
            ..Found::default()
        };
        let status = Status {
            found: Some(found),
            ..Status::default()
        };
        let object = ObjectKey::node(&NodeName::from(*node));
        world.put(Key::Status(object, view::TASK.into()), &status);
    }
}

#[test]
fn a_network_that_nodes_cannot_have_says_so_with_their_names() {
    let nodes = ["n1", "n2", "n3", "n4", "n5"];
    let realising = Network(Settings {
        addresses: true,
        ..small().0
    });
    let mut world = world();
    for node in nodes {
        accept_node(&mut world, node, node, "{engine: \"tcp://192.0.2.7:2375\"}");
    }
    put(&mut world, "front", "{}");
    world.settle(&realising);
    let own = vni(&world, "front");
    let available = |world: &mut World| {
        world.settle(&realising);
        let status = world.cache.status(&network("front"), status::CONTROLLER);
        let said = status.and_then(|status| status.condition("Available"));
        let said = said.unwrap();
        (said.reason.clone(), said.message.clone())
    };
    refuse(&mut world, &nodes, Vni(1));
    assert_eq!(available(&mut world).0, "Provided", "that is another's");
    refuse(&mut world, &["n2"], own);
    let told = Key::Status(ObjectKey::node(&"n2".into()), view::TASK.into());
    let work = realising.work(&told, &world.cache);
    assert!(work.contains(&Work::Object(network("front"))), "{work:?}");
    let (reason, message) = available(&mut world);
    assert_eq!(reason, "NodesRefuse");
    assert!(
        message.ends_with("there: n2: it overlaps docker0"),
        "{message}"
    );
    let again = world.plan_all(&realising).look_again;
    assert!(again.is_some(), "nothing leads here when it is over");
    refuse(&mut world, &nodes, own);
    let (_, message) = available(&mut world);
    assert!(
        message.ends_with("n3: it overlaps docker0, and 2 more"),
        "{message}"
    );
    refuse(&mut world, &nodes, Vni(1));
    assert_eq!(available(&mut world).0, "Provided");
    assert_eq!(world.plan_all(&realising).look_again, None);
}

#[test]
fn s6_what_a_wiped_store_lost_of_a_network_is_taken_over_from_engines() {
    let mut world = world();
    let kept = ("shop_kept", 1, 70_000, "10.64.0.0/24");
    let older = ("shop_kept", 0, 70_001, "10.64.2.0/24");
    let moved = ("shop_moved", 1, 70_002, "10.64.1.0/24");
    find(&mut world, "n1", &[kept, moved]);
    find(&mut world, "n2", &[kept]);
    find(&mut world, "n3", &[older]);
    // In the order of their names the new one comes first, and is given nothing that runs.
    for (name, value) in [
        ("a", "{}"),
        ("kept", "{}"),
        ("moved", "{subnets: [10.9.0.0/24]}"),
    ] {
        put(&mut world, name, value);
    }
    world.settle(&small());
    assert_eq!(told(&world, "kept"), "10.64.0.0/24");
    assert_eq!(vni(&world, "kept"), Vni(70_000));
    assert_eq!(told(&world, "moved"), "10.9.0.0/24", "another is asked for");
    assert_ne!(vni(&world, "moved"), Vni(70_002));
    assert_eq!(
        told(&world, "a"),
        "10.64.2.0/24",
        "the first that is nobody's"
    );
    // An older backup has other numbers than what runs by now.
    let younger = ("shop_kept", 2, 70_003, "10.64.3.0/24");
    find(&mut world, "n1", &[younger]);
    world.settle(&small());
    assert_eq!(told(&world, "kept"), "10.64.3.0/24");
    assert_eq!(vni(&world, "kept"), Vni(70_003));
}

/// Engines have a network called `default` of their own.
#[test]
fn s6_also_the_network_of_the_default_namespace_is_taken_over() {
    let mut world = world();
    let kept = ("default_default", 1, 70_000, "10.64.5.0/24");
    find(&mut world, "n1", &[kept]);
    world.raw("networks/default/default", "{}".into());
    world.settle(&small());
    let name = Scoped::new("default", "default");
    let owner = ipam::owner(&name, &world.cache.networks[&name].uid);
    let numbers = world.cache.allocations.numbers_of(&owner);
    let expected = (Some(Vni(70_000)), kept.3.parse().ok());
    assert_eq!(numbers, expected);
}

#[test]
fn networks_get_the_lowest_free_subnet_or_the_one_that_they_ask_for() {
    check(&["{}", "{}"], &["10.64.0.0/24", "10.64.1.0/24"]);
    check(
        &["{subnets: [\"10.64.1.0/25\"]}", "{}", "{}"],
        &["10.64.1.0/25", "10.64.0.0/24", "10.64.2.0/24"],
    );
    check(&["{subnets: [\"192.168.0.0/16\"]}"], &["192.168.0.0/16"]);
}

#[test]
fn who_gets_none_is_told_why() {
    check(
        &[
            "{subnets: [\"10.9.0.0/16\"]}",
            "{subnets: [\"10.9.0.0/16\"]}",
            "{subnets: [\"10.9.7.0/24\"]}",
            "{subnets: [\"10.0.0.0/8\"]}",
        ],
        &[
            "10.9.0.0/16",
            "SubnetTaken: 10.9.0.0/16 is or overlaps that of network shop/net0",
            "SubnetTaken: 10.9.7.0/24 is or overlaps 10.9.0.0/16 of network shop/net0",
            "SubnetTaken: 10.0.0.0/8 is or overlaps 10.9.0.0/16 of network shop/net0",
        ],
    );
    check(
        &["{subnets: [\"224.0.0.0/8\"]}"],
        &["SubnetReserved: 224.0.0.0/8 overlaps 224.0.0.0/3"],
    );
    check(
        &["{subnets: [\"192.0.2.0/24\"]}"],
        &["SubnetHoldsNode: 192.0.2.0/24 holds the address of node n1, 192.0.2.7"],
    );
    check(
        &["{}"; 5],
        &[
            "10.64.0.0/24",
            "10.64.1.0/24",
            "10.64.2.0/24",
            "10.64.3.0/24",
            "PoolExhausted: no /24 is free in 10.64.0.0/22",
        ],
    );
}

#[test]
fn a_subnet_of_the_pool_never_holds_a_node() {
    let mut world = world();
    accept_node(&mut world, "n1", "n1", "{engine: \"tcp://n1:2375\"}");
    let status = Status {
        uid: Some(Uid::from("n1")),
        engine: Some(EngineStatus {
            address: Some("10.64.0.9".parse().unwrap()),
            ..EngineStatus::default()
        }),
        ..Status::default()
    };
    let health = Key::Status(ObjectKey::node(&NodeName::from("n1")), view::HEALTH.into());
    world.put(health, &status);
    put(&mut world, "a", "{}");
    world.settle(&small());
    assert_eq!(told(&world, "a"), "10.64.1.0/24");
}

#[test]
fn a_subnet_that_gets_free_goes_to_who_waits_for_it() {
    let mut world = world();
    put(&mut world, "a", "{subnets: [\"10.9.0.0/16\"]}");
    world.settle(&small());
    put(&mut world, "b", "{subnets: [\"10.9.1.0/24\"]}");
    world.settle(&small());
    assert!(told(&world, "b").starts_with("SubnetTaken"));
    delete(&mut world, "a");
    world.settle(&small());
    assert_eq!(told(&world, "b"), "10.9.1.0/24");
}

#[test]
fn a_subnet_does_not_change_under_a_network() {
    let mut world = world();
    put(&mut world, "a", "{}");
    world.settle(&small());
    put(&mut world, "a", "{subnets: [\"10.9.1.0/24\"]}");
    world.settle(&small());
    let expected =
        "SubnetFixed: the network keeps 10.64.0.0/24, and 10.9.1.0/24 is asked for by now";
    assert!(told(&world, "a").starts_with(expected));
    put(&mut world, "a", "{subnets: [\"10.64.0.0/24\"]}");
    world.settle(&small());
    assert_eq!(told(&world, "a"), "10.64.0.0/24");
}

#[test]
fn a_network_made_anew_has_another_number_on_the_wire() {
    let mut world = world();
    let number = |world: &World| {
        let vnis = world
            .cache
            .allocations
            .numbers()
            .map(|(item, _)| item.to_string());
        vnis.filter(|item| item.starts_with("vnis/"))
            .collect::<Vec<_>>()
    };
    put(&mut world, "a", "{}");
    world.settle(&small());
    let before = number(&world);
    delete(&mut world, "a");
    world.settle(&small());
    assert!(number(&world).is_empty());
    put(&mut world, "a", "{}");
    world.settle(&small());
    assert_eq!(number(&world).len(), 1);
    assert_ne!(number(&world), before);
}

/// The nodes and their indexes; one in quarantine with an x.
fn indexes(world: &World) -> String {
    let words = world
        .cache
        .allocations
        .numbers()
        .filter_map(|(item, given)| match (item, &given.owner) {
            (Item::Node(index), Owner::Node { name, .. }) => {
                let quarantine = if given.released { "x" } else { "" };
                Some(format!("{name}={}{quarantine}", index.0))
            }
            _ => None,
        });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn an_index_that_was_a_nodes_is_the_last_to_be_anothers() {
    let mut world = world();
    for name in ["a", "b"] {
        accept_node(&mut world, name, name, "{engine: \"tcp://n:2375\"}");
    }
    world.settle(&small());
    assert_eq!(indexes(&world), "a=1 b=2");
    forget_node(&mut world, "a");
    world.settle(&small());
    assert_eq!(indexes(&world), "a=1x b=2");
    // The same name with another uid is another node.
    accept_node(&mut world, "a", "a2", "{engine: \"tcp://n:2375\"}");
    world.settle(&small());
    assert_eq!(indexes(&world), "a=1x b=2 a=3");
    // All others were somebody's too, before the first one.
    for index in (4..=NodeIndex::MOST).rev() {
        let owner = Owner::Node {
            name: NodeName::from("old"),
            uid: Uid::from("old"),
        };
        let given = Allocation {
            owner,
            released: true,
            target: None,
        };
        world.put(Key::Allocation(Item::Node(NodeIndex(index))), &given);
    }
    for name in ["c", "d", "e"] {
        accept_node(&mut world, name, name, "{engine: \"tcp://n:2375\"}");
    }
    world.settle(&small());
    assert!(
        indexes(&world).starts_with("c=1 b=2 a=3 old=4x"),
        "{:.80}",
        indexes(&world)
    );
    assert!(indexes(&world).ends_with("old=16381x e=16382 d=16383"));
}

#[test]
fn s6_nothing_is_given_out_or_taken_back_while_what_runs_is_adopted() {
    let mut world = world();
    put(&mut world, "a", "{}");
    world.settle(&small());
    world.del(&Key::Accepted(network("a")));
    put(&mut world, "b", "{}");
    let mut cluster = world.cache.cluster.as_ref().unwrap().value.as_ref().clone();
    cluster.adopting_since = Some(Timestamp(1));
    world.put(Key::Cluster, &cluster);
    let before: Vec<Item> = world
        .cache
        .allocations
        .numbers()
        .map(|(item, _)| item.clone())
        .collect();
    world.settle(&small());
    let after: Vec<Item> = world
        .cache
        .allocations
        .numbers()
        .map(|(item, _)| item.clone())
        .collect();
    assert_eq!(before, after);
    assert!(told(&world, "b").starts_with("Pending"));
}

#[test]
fn a_key_that_cannot_be_read_is_taken() {
    let mut world = world();
    world.raw("allocations/subnets/10.64.0.0-23", b"garbage".to_vec());
    put(&mut world, "a", "{}");
    put(&mut world, "b", "{subnets: [\"10.64.0.0/24\"]}");
    world.settle(&small());
    assert_eq!(told(&world, "a"), "10.64.2.0/24");
    let expected = "SubnetTaken: 10.64.0.0/24 is or overlaps 10.64.0.0/23 of the key allocations/subnets/10.64.0.0-23, which cannot be read";
    assert_eq!(told(&world, "b"), expected);
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize, usize),
    Delete(usize),
    Node(usize),
    Forget(usize),
    /// Somebody deletes a key of ours.
    Lose(usize),
    /// A leader that is killed after so many writes of its plan.
    Killed(usize),
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6usize, 0..8usize).prop_map(|(name, value)| Step::Put(name, value)),
        3 => (0..6usize).prop_map(Step::Delete),
        2 => (0..3usize).prop_map(Step::Node),
        2 => (0..3usize).prop_map(Step::Forget),
        1 => (0..20usize).prop_map(Step::Lose),
        4 => (0..6usize).prop_map(Step::Killed),
        1 => Just(Step::Settle),
    ];
    prop::collection::vec(step, 1..40)
}

fn act(world: &mut World, step: &Step, count: usize) {
    const VALUES: [&str; 8] = [
        "{}",
        "{ipv6: true}",
        "{subnets: [\"fd00:1::/64\"]}",
        "{subnets: [\"10.64.2.0/24\", \"fd00:1::/48\"]}",
        "{mtu: 1400}",
        "{subnets: [\"10.64.1.0/24\"]}",
        "{subnets: [\"10.64.0.0/23\"]}",
        "{subnets: [\"10.64.1.128/25\"]}",
    ];
    match step {
        Step::Put(name, value) => put(world, &format!("n{name}"), VALUES[*value]),
        Step::Delete(name) => delete(world, &format!("n{name}")),
        Step::Node(name) => {
            let name = format!("n{name}");
            if !world
                .cache
                .nodes
                .contains_key(&NodeName::from(name.as_str()))
            {
                accept_node(
                    world,
                    &name,
                    &format!("u{count}"),
                    "{engine: \"tcp://n:2375\"}",
                );
            }
        }
        Step::Forget(name) => forget_node(world, &format!("n{name}")),
        Step::Lose(index) => {
            let numbers = world.cache.allocations.numbers();
            let lost = numbers.map(|(item, _)| item.clone()).nth(*index);
            lost.into_iter()
                .for_each(|item| world.del(&Key::Allocation(item)));
        }
        Step::Killed(writes) => {
            let plan = world.plan_all(&small());
            for step in plan.steps.iter().take(*writes) {
                world.apply(step);
            }
        }
        Step::Settle => drop(world.settle(&small())),
    }
}

/// No two subnets share an address; said without the planner's own means.
fn check_apart(world: &World) -> Result<(), TestCaseError> {
    let mut last: Option<u32> = None;
    for (item, _) in world.cache.allocations.numbers() {
        if let Item::Subnet(subnet) = item {
            let first = u32::from(subnet.address);
            prop_assert!(
                last.is_none_or(|last| last < first),
                "{subnet} overlaps the one before"
            );
            last = Some(first + ((1u64 << (32 - subnet.length)) - 1) as u32);
        }
    }
    let mut last: Option<u128> = None;
    for (item, _) in world.cache.allocations.numbers() {
        if let Item::Subnet6(subnet) = item {
            let first = u128::from(subnet.address);
            prop_assert!(
                last.is_none_or(|last| last < first),
                "{subnet} overlaps the one before"
            );
            last = Some(first + ((1 << (128 - subnet.length)) - 1));
        }
    }
    Ok(())
}

/// At rest each has what it needs, once, or is told why not, and nobody else has anything.
fn check_rest(world: &World) -> Result<(), TestCaseError> {
    let mut given: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (item, value) in world.cache.allocations.numbers() {
        if !value.released {
            let kind = item
                .to_string()
                .split('/')
                .next()
                .unwrap_or_default()
                .to_owned();
            given
                .entry(format!("{:?}", value.owner))
                .or_default()
                .push(kind);
        }
    }
    for (name, record) in &world.cache.networks {
        let owner = format!("{:?}", ipam::owner(name, &record.uid));
        let status = world
            .cache
            .status(&ObjectKey::network(name), "network")
            .expect("it is reported");
        let said = status.condition("Allocated").expect("it is told");
        let has = given.remove(&owner).unwrap_or_default();
        let wanted = 2 + usize::from(record.spec.carries_ipv6());
        let has_all = has == ["vnis", "subnets", "subnets"][..wanted];
        let expected = said.status == Truth::True || said.reason == "SubnetFixed";
        prop_assert!(has_all == expected, "{name}: {has:?}, {said:?}");
        prop_assert!(
            expected || ["SubnetTaken", "PoolExhausted"].contains(&said.reason.as_str()),
            "{said:?}"
        );
    }
    for (name, record) in &world.cache.nodes {
        let owner = Owner::Node {
            name: name.clone(),
            uid: record.uid.clone(),
        };
        prop_assert_eq!(
            given.remove(&format!("{owner:?}")),
            Some(vec!["nodes".to_owned()])
        );
    }
    prop_assert!(given.is_empty(), "nobody's: {given:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_is_made_deleted_lost_and_interrupted_nothing_leaks_and_nothing_is_given_twice(steps in steps()) {
        let mut world = world();
        for (count, step) in steps.iter().enumerate() {
            act(&mut world, step, count);
            check_apart(&world)?;
        }
        // A reason is written anew when it is looked at anew.
        world.settle(&small());
        check_apart(&world)?;
        check_rest(&world)?;
        let again = world.plan_all(&small());
        prop_assert!(again.is_in_step() && again.notes.is_empty(), "{again:?}");
    }
}
