//! Blocks of attachable networks, who is in them, and what nodes are told of both.

use super::state::Overlays;
use super::*;
use crate::api::allocation::{NodeIndex, Vni};
use crate::api::status::{Found, FoundNetwork, NodeState, Stranger, Truth};
use crate::api::subnet::Dual;
use crate::api::unit::Incarnation;
use crate::controllers::fixture::World;
use crate::controllers::service::Service;
use crate::dataplane::dns::book::Book;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

fn on() -> Network {
    Network(Settings {
        addresses: true,
        ..Settings::default()
    })
}

fn front() -> Scoped {
    Scoped::new("default", "front")
}

fn put(world: &mut World, object: ObjectKey, value: &str) {
    world.raw(&Key::User(object), value.as_bytes());
}

fn add_node(world: &mut World, number: usize) {
    world.node(&format!("n{number}"), NodeState::Ready, |record| {
        record.spec.address = Some(format!("192.0.2.{number}").parse().unwrap());
    });
}

/// So many nodes, and a network.
fn world(nodes: usize, network: &str) -> World {
    let mut world = World::new();
    (1..=nodes).for_each(|number| add_node(&mut world, number));
    put(&mut world, ObjectKey::network(&front()), network);
    world.settle_both(&Service, &on());
    world
}

fn numbers(world: &World) -> (Vni, Cidr) {
    let record = &world.cache.networks[&front()];
    let owner = ipam::owner(&front(), &record.uid);
    match world.cache.allocations.numbers_of(&owner) {
        (Some(vni), Some(subnet)) => (vni, subnet),
        _ => panic!("the network has no numbers"),
    }
}

/// The blocks by nodes, after a look at whether they meet anything.
fn given(world: &World) -> BTreeMap<String, Cidr> {
    let record = &world.cache.networks[&front()];
    let (_, subnet) = numbers(world);
    let (first, last) = subnet.hosts();
    let mut blocks = BTreeMap::new();
    for (block, given) in world.cache.allocations.blocks(&record.uid) {
        let (start, end) = block.range();
        assert!(first <= start && end <= last, "{block} in {subnet}");
        let mut others = blocks.values();
        assert!(!others.any(|other: &Cidr| other.overlaps(block)), "{block}");
        let Owner::Node { name, .. } = &given.owner else {
            panic!("{block} is of {}", given.owner);
        };
        blocks.insert(name.to_string(), block);
    }
    for (address, given) in world.cache.allocations.addresses(&record.uid) {
        let mut all = blocks.values();
        let meets = all.find(|block| block.holds(address));
        assert_eq!(meets, None, "{address} of {}", given.owner);
    }
    blocks
}

fn said(world: &World) -> Option<String> {
    let status = world
        .cache
        .status(&ObjectKey::network(&front()), "network")?;
    let said = status.condition("Attachable")?;
    Some(format!("{}/{}", said.status.as_str(), said.reason))
}

fn stranger(world: &World, name: &str, address: Ipv4Addr) -> Stranger {
    Stranger {
        network: numbers(world).0,
        address,
        address6: None,
        name: name.into(),
        container: format!("{:0<64}", format!("c0ffee{name}")).into(),
        bridged: true,
    }
}

fn report(world: &mut World, node: &str, strangers: Vec<Stranger>) {
    let found = Found {
        incarnation: Incarnation(1),
        strangers,
        ..Found::default()
    };
    world.found(node, found);
}

fn first_of(block: Cidr) -> Ipv4Addr {
    block.address
}

#[test]
fn each_node_has_a_block_of_an_attachable_network_until_it_or_the_network_is_gone() {
    let mut world = world(3, "{attachable: true}");
    assert_eq!(numbers(&world).1.length, 20, "room for many nodes");
    let before = given(&world);
    assert_eq!(before.len(), 3);
    assert_eq!(said(&world).as_deref(), Some("True/Provided"));
    let service = "{replicas: 9, template: {container: nginx, networks: [front]}}";
    put(
        &mut world,
        ObjectKey::service(&Scoped::new("default", "web")),
        service,
    );
    world.settle_both(&Service, &on());
    assert_eq!(given(&world), before, "tasks change nothing");

    let node = Key::Accepted(ObjectKey::node(&"n2".into()));
    world.delete(&node);
    assert!(world.wakes(&on(), &node));
    world.settle_both(&Service, &on());
    assert_eq!(given(&world).len(), 2);
    add_node(&mut world, 4);
    world.settle_both(&Service, &on());
    assert_eq!(given(&world).len(), 3);

    let mut world = self::world(3, "{attachable: true}");
    let uid = world.cache.networks[&front()].uid.clone();
    world.delete(&Key::User(ObjectKey::network(&front())));
    world.settle_both(&Service, &on());
    assert!(!world.cache.networks.contains_key(&front()));
    assert_eq!(world.cache.allocations.blocks(&uid).count(), 0);
}

#[test]
fn a_network_that_is_not_attachable_has_none() {
    let world = world(3, "{}");
    assert_eq!(given(&world), BTreeMap::new());
    assert_eq!(said(&world), None);
}

#[test]
fn for_whom_no_block_is_left_the_network_says_so_and_tasks_keep_their_half() {
    let mut world = world(20, "{subnets: [10.9.0.0/24], attachable: true}");
    assert_eq!(given(&world).len(), 15);
    assert_eq!(said(&world).as_deref(), Some("False/BlocksExhausted"));
    let record = world.cache.networks[&front()].clone();
    let subnet = numbers(&world).1;
    let free = world.cache.allocations.free_addresses(&record.uid, subnet);
    assert_eq!(free, 253 - 15 * 8, "blocks are for no task");
    world.delete(&Key::Accepted(ObjectKey::node(&"n1".into())));
    world.settle_both(&Service, &on());
    assert_eq!(given(&world).len(), 15, "another has it now");
}

#[test]
fn whether_a_network_is_attachable_does_not_change() {
    let mut world = world(1, "{attachable: true}");
    for (value, expected) in [
        ("{attachable: false}", "False/AttachableFixed"),
        ("{attachable: true, internal: true}", "True/Accepted"),
    ] {
        put(&mut world, ObjectKey::network(&front()), value);
        world.settle_both(&Service, &on());
        let status = world.cache.status(&ObjectKey::network(&front()), "network");
        let accepted = status
            .and_then(|status| status.condition("Accepted"))
            .unwrap();
        let text = format!("{}/{}", accepted.status.as_str(), accepted.reason);
        assert_eq!(text, expected, "{value}: {}", accepted.message);
        assert_eq!(given(&world).len(), 1);
    }
}

#[test]
fn s6_blocks_that_a_wiped_store_lost_are_taken_over_from_engines() {
    let mut world = world(3, "{attachable: true}");
    let (vni, subnet) = numbers(&world);
    let uid = world.cache.networks[&front()].uid.clone();
    for block in given(&world).into_values() {
        world.delete(&Key::Allocation(Item::Block(uid.clone(), block)));
    }
    // What nobody would choose for it.
    let held: Cidr = Cidr {
        address: Ipv4Addr::from(subnet.range().1 - 0x1f),
        length: 28,
    };
    let found = Found {
        incarnation: Incarnation(1),
        networks: vec![FoundNetwork {
            name: crate::api::task::network_name(&front()),
            incarnation: Incarnation(0),
            vni,
            subnet,
            subnet6: None,
            block: Some(held),
        }],
        ..Found::default()
    };
    world.found("n2", found);
    let node = Key::Status(ObjectKey::node(&"n2".into()), view::TASK.into());
    assert!(world.wakes(&on(), &node));
    world.settle_both(&Service, &on());
    let after = given(&world);
    assert_eq!(after["n2"], held);
    assert_eq!(after.len(), 3);
    // An older backup brings back another one.
    world.delete(&Key::Allocation(Item::Block(uid.clone(), held)));
    let owner = joins::node_owner(&"n2".into(), &"uid-n2".into());
    let free = Cidr {
        address: Ipv4Addr::from(subnet.range().1 - 0xff),
        length: 28,
    };
    let step = ipam::claims(&[Item::Block(uid, free)], &owner);
    world.apply(&step);
    world.settle_both(&Service, &on());
    assert_eq!(given(&world)["n2"], held);
}

#[test]
fn no_address_of_a_container_that_is_there_is_given_to_another() {
    let mut world = world(1, "{subnets: [10.9.0.0/28], attachable: true}");
    let outside = Ipv4Addr::new(10, 9, 0, 3);
    let here = stranger(&world, "db", outside);
    report(&mut world, "n1", vec![here]);
    let service =
        "{replicas: 20, endpointMode: dnsrr, template: {container: nginx, networks: [front]}}";
    put(
        &mut world,
        ObjectKey::service(&Scoped::new("default", "web")),
        service,
    );
    world.settle_both(&Service, &on());
    let uid = &world.cache.networks[&front()].uid;
    let taken: BTreeSet<Ipv4Addr> = world
        .cache
        .allocations
        .addresses(uid)
        .map(|(at, _)| at)
        .collect();
    assert_eq!(
        taken.len(),
        11,
        "13 for hosts, one in the block and one of a container"
    );
    assert!(!taken.contains(&outside));
    given(&world);
}

#[test]
fn a_container_of_others_is_reached_and_named_on_every_node_as_tasks_are() {
    let mut world = world(3, "{attachable: true}");
    let blocks = given(&world);
    let (vni, _) = numbers(&world);
    let (one, other) = (first_of(blocks["n1"]), first_of(blocks["n2"]));
    let here = stranger(&world, "db", one);
    report(&mut world, "n1", vec![here.clone()]);
    let mut same = stranger(&world, "db", other);
    same.container = format!("{:0<64}", "beef").into();
    same.bridged = false;
    // An address of another node's block, or of none, is not this node's to speak of.
    let wrong = stranger(&world, "wrong", Ipv4Addr::from(u32::from(one) + 1));
    let far = stranger(
        &world,
        "far",
        Ipv4Addr::from(numbers(&world).1.range().0 + 9),
    );
    report(&mut world, "n2", vec![same, wrong, far]);
    let overlays = Overlays::of(&world.cache);
    for node in ["n1", "n2", "n3"] {
        let state = overlays.state(&node.into()).expect("a state");
        state.check().expect("it can be programmed");
        let network = &state.networks[&vni];
        assert_eq!(network.nodes.len(), 3, "{node}: anybody may join anywhere");
        let places: Vec<(Ipv4Addr, NodeIndex)> = network.tasks.clone().into_iter().collect();
        assert_eq!(
            places.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
            [one, other]
        );
        assert_eq!(network.bridged, [one].into());
        let book = Book::new(&state);
        let view = book.view(one).expect("it asks from the network");
        let look = |name: &str| book.find(&view, name).map(|found| found.addresses(&view));
        assert_eq!(look("db"), Some(vec![one, other]), "{node}");
        assert_eq!(look("c0ffeedb0000"), Some(vec![one]));
        assert_eq!(look("db.default"), Some(vec![one, other]));
        assert_eq!(look("wrong"), None);
        assert!(book.name_of(&view, one.into()).is_some());
    }
    report(&mut world, "n1", Vec::new());
    let state = Overlays::of(&world.cache).state(&"n3".into()).unwrap();
    assert_eq!(state.networks[&vni].tasks.len(), 1);
}

#[test]
fn an_address_of_ipv6_that_does_not_go_with_the_other_is_told_where_it_is_of_the_nodes_part() {
    let mut world = world(
        2,
        "{attachable: true, subnets: [10.9.0.0/24, \"fd00:9::/64\"]}",
    );
    let blocks = given(&world);
    let (vni, subnet) = numbers(&world);
    let dual = Dual {
        subnet,
        subnet6: "fd00:9::/64".parse().unwrap(),
    };
    let first = first_of(blocks["n1"]);
    let at = |number: u32| Ipv4Addr::from(u32::from(first) + number);
    let six = |address: Ipv4Addr| dual.version6(address).expect("it is inside");
    let with = |name: &str, own: Ipv4Addr, other: Option<Ipv6Addr>| Stranger {
        address6: other,
        ..stranger(&world, name, own)
    };
    let all = vec![
        with("plain", at(0), None),
        with("same", at(1), Some(six(at(1)))),
        with("other", at(2), Some(six(at(3)))),
        // What another node's engine gives, or none does.
        with("far", at(4), Some(six(first_of(blocks["n2"])))),
        with("outside", at(5), "fd00:9::1:1".parse().ok()),
    ];
    report(&mut world, "n1", all);
    let state = Overlays::of(&world.cache).state(&"n2".into()).unwrap();
    state.check().expect("it can be programmed");
    let network = &state.networks[&vni];
    assert_eq!(network.tasks.len(), 5, "by IPv4 all are reached");
    assert_eq!(network.addresses6, [(at(2), six(at(3)))].into());
    assert_eq!(network.version4(six(at(3)).into()), Some(at(2)));
}

#[test]
fn a_name_of_a_service_is_not_taken_by_a_container_of_others() {
    let mut world = world(1, "{attachable: true}");
    let service = "{replicas: 1, template: {container: nginx, networks: [front]}}";
    put(
        &mut world,
        ObjectKey::service(&Scoped::new("default", "web")),
        service,
    );
    world.settle_both(&Service, &on());
    let address = first_of(given(&world)["n1"]);
    let names = ["web", "tasks.web", "1.web"];
    let taken = names.map(|name| Stranger {
        address: Ipv4Addr::from(u32::from(address) + name.len() as u32),
        ..stranger(&world, name, address)
    });
    report(&mut world, "n1", taken.into());
    let state = Overlays::of(&world.cache).state(&"n1".into()).unwrap();
    state.check().expect("it can be programmed");
    let book = Book::new(&state);
    let view = book.view(address).unwrap();
    for name in ["web", "tasks.web"] {
        let found = book.find(&view, name).unwrap().addresses(&view);
        assert!(
            found.iter().all(|at| !given(&world)["n1"].holds(*at)),
            "{name}: {found:?}"
        );
    }
}

#[test]
fn a_network_with_containers_of_others_stays_until_they_are_gone() {
    let mut world = world(1, "{attachable: true}");
    let address = first_of(given(&world)["n1"]);
    let here = stranger(&world, "db", address);
    report(&mut world, "n1", vec![here]);
    world.delete(&Key::User(ObjectKey::network(&front())));
    world.settle_both(&Service, &on());
    let status = world
        .cache
        .status(&ObjectKey::network(&front()), "network")
        .unwrap();
    let accepted = status.condition("Accepted").unwrap();
    assert_eq!(
        (accepted.status, &*accepted.reason),
        (Truth::False, "InUse")
    );
    assert!(
        accepted.message.contains("container db on n1"),
        "{}",
        accepted.message
    );
    report(&mut world, "n1", Vec::new());
    let key = Key::Status(ObjectKey::node(&"n1".into()), view::TASK.into());
    assert!(world.wakes(&on(), &key));
    world.settle_both(&Service, &on());
    assert!(!world.cache.networks.contains_key(&front()));
}
