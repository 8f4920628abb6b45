//! The states of nodes, in words: tasks by service and slot instead of addresses that chance gives.

use super::*;
use crate::api::allocation::Owner;
use crate::api::name::{NodeName, Scoped};
use crate::api::status::NodeState;
use crate::api::task::{Desired, Slot, TaskState};
use crate::api::uid::TaskId;
use crate::controllers::fixture::World;
use crate::controllers::service::Service;
use crate::dataplane::delta::is_one;
use crate::dataplane::state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

fn name(name: &str) -> Scoped {
    Scoped::new("default", name)
}

fn put(world: &mut World, object: ObjectKey, value: &str) {
    world.raw(&Key::User(object), value.as_bytes());
}

fn settle(world: &mut World) {
    let network = Network(Settings {
        addresses: true,
        ..Settings::default()
    });
    world.settle_both(&Service, &network);
}

/// Three nodes, four networks, three services; `web.1` runs on n1 and `web.2` is made on n2, `db.1` runs on n3, `own.1` on n1.
fn world() -> World {
    let mut world = World::new();
    for node in ["n1", "n2", "n3"] {
        world.node(node, NodeState::Ready, |record| {
            record.spec.address = Some(format!("192.0.2.{}", &node[1..]).parse().unwrap());
        });
    }
    for (network, value) in [
        ("back", "{internal: true, mtu: 1400}"),
        ("front", "{}"),
        ("own", "{}"),
        ("unused", "{}"),
    ] {
        put(&mut world, ObjectKey::network(&name(network)), value);
    }
    for (service, value) in [
        ("db", "{template: {container: nginx, networks: [back]}}"),
        ("own", "{template: {container: nginx, networks: [own]}}"),
        (
            "web",
            "{replicas: 2, template: {container: nginx, networks: [{name: front, aliases: [www]}, back]}, ports: [{name: http, target: 80, published: 8080}, \"host:81:81\", \"82\"]}",
        ),
    ] {
        put(&mut world, ObjectKey::service(&name(service)), value);
    }
    settle(&mut world);
    for (task, node, state) in [
        ("web.1", "n1", TaskState::Running),
        ("web.2", "n2", TaskState::Ready),
        ("db.1", "n3", TaskState::Running),
        ("own.1", "n1", TaskState::Running),
    ] {
        let id = id(&world, task);
        world.bind(&id, node);
        world.observe(&id, state);
    }
    world
}

fn title(world: &World, id: &TaskId) -> String {
    let (service, task) = world.cache.task(id).expect("a task");
    match task.slot {
        Slot::Replica(slot) => format!("{}.{slot}", service.name),
        Slot::Node(_) => service.name.to_string(),
    }
}

/// The task that is wanted in a slot.
fn id(world: &World, slot: &str) -> TaskId {
    let tasks = world.tasks();
    let mut wanted = tasks.iter().filter(|task| task.desired <= Desired::Running);
    let task = wanted.find(|task| title(world, &task.id) == slot);
    task.expect("there is one").id.clone()
}

/// What an address is called: a task by its slot, a service by its name.
fn names(world: &World) -> BTreeMap<Ipv4Addr, String> {
    let given = world.cache.allocations.iter();
    let names = given.filter_map(|(item, given)| match (item, &given.owner) {
        (Item::Address(_, address), Owner::Task { task, .. }) => {
            Some((*address, title(world, task)))
        }
        (Item::Address(_, address), owner) => Some((*address, owner.object().name.to_string())),
        _ => None,
    });
    names.collect()
}

fn words(world: &World, node: &str) -> Vec<String> {
    let overlays = state::Overlays::of(&world.cache);
    let Some(state) = overlays.state(&NodeName::from(node)) else {
        return vec!["no member".into()];
    };
    assert_eq!(state.check(), Ok(()));
    lines(&state, &names(world))
}

fn lines(state: &State, names: &BTreeMap<Ipv4Addr, String>) -> Vec<String> {
    let backends = |all: &BTreeSet<Ipv4Addr>| {
        let mut all: Vec<_> = all.iter().map(|address| names[address].as_str()).collect();
        all.sort_unstable();
        all.join(" ")
    };
    let members = state
        .members
        .iter()
        .map(|(index, at)| format!("{}={at}", index.0));
    let members = members.collect::<Vec<_>>().join(" ");
    let mut lines = vec![format!("node {} of {members}", state.node.0)];
    let mut networks: Vec<String> = Vec::new();
    for network in state.networks.values() {
        let tasks = network
            .tasks
            .iter()
            .map(|(address, node)| format!("{}@{}", names[address], node.0));
        let mut tasks: Vec<_> = tasks.collect();
        tasks.sort();
        let nodes: Vec<_> = network
            .nodes
            .iter()
            .map(|node| node.0.to_string())
            .collect();
        let internal = if network.internal { " internal" } else { "" };
        networks.push(format!(
            "{} {} {}{internal} on {}: {}",
            network.subnet,
            network.gateway,
            network.mtu,
            nodes.join(" "),
            tasks.join(" ")
        ));
    }
    networks.sort();
    lines.extend(networks);
    let virtuals = state.virtual_addresses.iter().map(|(address, value)| {
        let networks = state.networks.values();
        let subnet = networks
            .map(|network| network.subnet)
            .find(|subnet| subnet.holds(*address));
        let subnet = subnet.expect("it is in one");
        format!(
            "{} in {subnet}: {}",
            names[address],
            backends(&value.backends)
        )
    });
    let mut virtuals: Vec<String> = virtuals.collect();
    virtuals.sort();
    lines.extend(virtuals);
    lines.extend(
        state
            .ports
            .iter()
            .map(|(key, port)| format!("{key} to {}: {}", port.target, backends(&port.backends))),
    );
    lines
}

#[test]
fn a_node_has_the_networks_of_its_tasks_and_of_published_ports() {
    let world = world();
    let members = "of 1=192.0.2.1 2=192.0.2.2 3=192.0.2.3";
    let back = "10.64.0.0/24 10.64.0.1 1400 internal on 1 2 3: db.1@3 web.1@1 web.2@2";
    let front = "10.64.1.0/24 10.64.1.1 1450 on 1 2 3: web.1@1 web.2@2";
    let own = "10.64.2.0/24 10.64.2.1 1450 on 1: own.1@1";
    let (db, web) = (
        "db in 10.64.0.0/24: db.1",
        ["web in 10.64.0.0/24: web.1", "web in 10.64.1.0/24: web.1"],
    );
    let (port, chosen) = ("tcp/8080 to 80: web.1", "tcp/31034 to 82: web.1");
    assert_eq!(
        words(&world, "n1"),
        [
            &format!("node 1 {members}"),
            back,
            front,
            own,
            db,
            "own in 10.64.2.0/24: own.1",
            web[0],
            web[1],
            port,
            chosen
        ]
    );
    // Whatever port web publishes, n3 answers on it: it has front without a task there.
    assert_eq!(
        words(&world, "n3"),
        [
            &format!("node 3 {members}"),
            back,
            front,
            db,
            web[0],
            web[1],
            port,
            chosen
        ]
    );
    assert_eq!(words(&world, "n4"), ["no member"]);
}

#[test]
fn who_is_on_the_way_out_leaves_names_and_ports_first_and_its_way_last() {
    let mut world = world();
    let (one, two) = (id(&world, "web.1"), id(&world, "web.2"));
    world.observe(&two, TaskState::Running);
    let front = |world: &World| -> Vec<String> {
        let lines = words(world, "n2").into_iter();
        lines
            .filter(|line| line.contains("10.64.1.") || line.starts_with("tcp"))
            .collect()
    };
    let ways = "10.64.1.0/24 10.64.1.1 1450 on 1 2 3: web.1@1 web.2@2";
    assert_eq!(
        front(&world),
        [
            ways,
            "web in 10.64.1.0/24: web.1 web.2",
            "tcp/8080 to 80: web.1 web.2",
            "tcp/31034 to 82: web.1 web.2"
        ]
    );
    let value = "{replicas: 1, template: {container: nginx, networks: [{name: front, aliases: [www]}, back]}, ports: [\"8080:80\"]}";
    put(&mut world, ObjectKey::service(&name("web")), value);
    settle(&mut world);
    assert_eq!(
        front(&world),
        [ways, "web in 10.64.1.0/24: web.1", "tcp/8080 to 80: web.1"]
    );
    world.observe(&two, TaskState::Shutdown);
    settle(&mut world);
    let ways = "10.64.1.0/24 10.64.1.1 1450 on 1 2 3: web.1@1";
    assert_eq!(
        front(&world),
        [ways, "web in 10.64.1.0/24: web.1", "tcp/8080 to 80: web.1"]
    );
    // Without a task that serves, address and port refuse instead of leading nowhere.
    world.observe(&one, TaskState::Failed);
    let empty = front(&world);
    assert_eq!(empty[1..], ["web in 10.64.1.0/24: ", "tcp/8080 to 80: "]);
}

#[test]
fn frames_stay_on_bridges_once_a_task_was_seen_with_the_hardware_address_for_it() {
    let mut world = world();
    let two = id(&world, "web.2");
    let bridged = |world: &World| -> BTreeSet<String> {
        let state = state::Overlays::of(&world.cache).state(&NodeName::from("n1"));
        let state = state.expect("it is a member");
        let all = state.networks.values();
        let all = all.flat_map(|network| &network.bridged);
        let names = names(world);
        all.map(|address| names[address].clone()).collect()
    };
    world.observe(&two, TaskState::Running);
    assert_eq!(bridged(&world), BTreeSet::new());
    world.observe_with(&two, TaskState::Running, |status| {
        let seen = status.addresses.iter();
        let seen = seen.filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        status.bridged = seen.collect();
    });
    assert_eq!(bridged(&world), BTreeSet::from(["web.2".to_owned()]));
    world.observe(&two, TaskState::Running);
    assert_eq!(bridged(&world), BTreeSet::new());
}

#[test]
fn a_network_that_carries_ipv6_has_the_subnet_of_it_where_its_packets_are_large_enough() {
    let mut world = world();
    let values = [
        ("both", "{ipv6: true}"),
        ("given", "{subnets: [\"fd00:9::/64\"]}"),
    ];
    for (network, value) in values {
        put(&mut world, ObjectKey::network(&name(network)), value);
    }
    let value = "{template: {container: nginx, networks: [both, given, own]}, ports: [\"8085:80\", {target: 81, published: 8086, hostIP: \"2001:db8::1\"}]}";
    put(&mut world, ObjectKey::service(&name("six")), value);
    settle(&mut world);
    let task = id(&world, "six.1");
    world.bind(&task, "n1");
    world.observe(&task, TaskState::Running);
    let subnets6 = |world: &World| -> BTreeSet<String> {
        let overlays = state::Overlays::of(&world.cache);
        let state = overlays.state(&NodeName::from("n1")).expect("a member");
        assert_eq!(state.check(), Ok(()));
        let ports: Vec<_> = state.ports.keys().map(ToString::to_string).collect();
        assert!(
            ports.contains(&"tcp/[2001:db8::1]:8086".to_owned()),
            "{ports:?}"
        );
        let networks = state.networks.values();
        let found = networks.filter_map(|network| {
            assert_eq!(network.addresses6, BTreeMap::new());
            let subnet6 = network.subnet6?;
            for address in network.tasks.keys() {
                let address6 = network.version6(*address).expect("it goes with it");
                assert!(subnet6.holds(address6));
            }
            Some(subnet6.to_string())
        });
        found.collect()
    };
    let record = &world.cache.networks[&name("both")];
    let owner = ipam::owner(&name("both"), &record.uid);
    let own = world.cache.allocations.subnet6_of(&owner).expect("one");
    let both = BTreeSet::from([own.to_string(), "fd00:9::/64".to_owned()]);
    assert_eq!(subnets6(&world), both);
    // Links that are too narrow for IPv6 take nothing else away.
    let underlay = crate::api::status::Underlay {
        mtu: Some(1_300),
        ..Default::default()
    };
    let status = crate::api::status::Status {
        underlay: Some(underlay),
        ..Default::default()
    };
    let key = Key::Status(ObjectKey::node(&"n2".into()), view::TASK.into());
    world.put(&key, &status);
    assert_eq!(subnets6(&world), BTreeSet::new());
}

#[test]
fn a_node_that_nobody_can_reach_is_no_member() {
    let mut world = world();
    world.node("n2", NodeState::Ready, |_| {});
    world.node("n3", NodeState::Ready, |record| {
        record.spec.address = Some("192.0.2.1".parse().unwrap())
    });
    assert_eq!(words(&world, "n2"), ["no member"]);
    assert_eq!(
        words(&world, "n3"),
        ["no member"],
        "it has the address of n1"
    );
    let lines = words(&world, "n1");
    assert_eq!(lines[0], "node 1 of 1=192.0.2.1");
    assert_eq!(
        lines[1],
        "10.64.0.0/24 10.64.0.1 1400 internal on 1: web.1@1"
    );
}

#[test]
fn a_port_is_who_has_it_in_the_ledger_and_what_a_task_has_open_on_its_node_stays_its_own_there() {
    let mut world = world();
    let ports = |world: &World, node: &str| -> Vec<String> {
        let lines = words(world, node).into_iter();
        lines.filter(|line| line.starts_with("tcp")).collect()
    };
    // Its name is before web's, and the port is web's.
    let value = "{template: {container: nginx, networks: [front]}, ports: [\"8080:1\"]}";
    put(&mut world, ObjectKey::service(&name("also")), value);
    settle(&mut world);
    let both = ["tcp/8080 to 80: web.1", "tcp/31034 to 82: web.1"];
    assert_eq!(ports(&world, "n3"), both);
    let task = id(&world, "db.1");
    let node = NodeName::from("n3");
    let mut status = world
        .cache
        .task_status(&task)
        .expect("it runs")
        .value
        .as_ref()
        .clone();
    // The engine chose it, or it was bound before the port was published.
    status.ports = vec![crate::api::task::HostPort {
        published: crate::api::unit::Port(8080),
        protocol: crate::api::service::Protocol::Tcp,
        host_ip: Some("0.0.0.0".parse().unwrap()),
        target: crate::api::unit::Port(80),
    }];
    world.put(&Key::TaskStatus(node, task.clone()), &status);
    assert_eq!(ports(&world, "n3"), both[1..]);
    assert_eq!(ports(&world, "n1"), both);
    world.observe(&task, TaskState::Failed);
    assert_eq!(ports(&world, "n3"), both);
}

/// The names of a node, a line for each service and one for each asker on several networks; networks by their names.
fn called(world: &World, node: &str) -> Vec<String> {
    let overlays = state::Overlays::of(&world.cache);
    let state = overlays.state(&NodeName::from(node)).expect("a member");
    assert_eq!(state.check(), Ok(()));
    let addresses = names(world);
    let networks: BTreeMap<_, String> = ["back", "front", "own"]
        .into_iter()
        .filter_map(|network| {
            let record = world.cache.networks.get(&name(network))?;
            let owner = ipam::owner(&name(network), &record.uid);
            let (vni, _) = world.cache.allocations.numbers_of(&owner);
            Some((vni?, network.to_owned()))
        })
        .collect();
    let at = |vni, address: Ipv4Addr| format!("{}@{}", addresses[&address], networks[&vni]);
    let mut lines = Vec::new();
    for (service, called) in &state.names.services {
        let virtuals = called.networks.iter().map(|(vni, address)| match address {
            Some(address) => at(*vni, *address),
            None => format!("-@{}", networks[vni]),
        });
        let aliases = called.aliases.iter().flat_map(|(vni, aliases)| {
            let network = &networks[vni];
            aliases
                .iter()
                .map(move |alias| format!("{alias}@{network}"))
        });
        let ports = called
            .ports
            .iter()
            .map(|(name, port)| format!("{name}={port}"));
        let tasks = called.tasks.iter().map(|(container, task)| {
            let id = container.rsplit('.').next().expect("an id");
            let service = title_of(container);
            assert_eq!(container, &format!("{service}.{}.{id}", task.slot));
            let all: Vec<_> = task
                .addresses
                .iter()
                .map(|(vni, address)| at(*vni, *address))
                .collect();
            format!("{}:{}", task.slot, in_order(all).join(","))
        });
        let leads = if called.is_round_robin { " rr" } else { "" };
        let parts = [
            in_order(virtuals.collect()),
            in_order(aliases.collect()),
            ports.collect(),
            tasks.collect(),
        ];
        lines.push(format!("{service}{leads}: {}", parts.concat().join(" ")));
    }
    let mut sees = Vec::new();
    for (address, all) in &state.names.askers {
        let all = all.iter().map(|vni| networks[vni].clone()).collect();
        sees.push(format!(
            "{} sees {}",
            addresses[address],
            in_order(all).join(",")
        ));
    }
    assert!(
        state
            .names
            .namespaces
            .values()
            .all(|namespace| namespace == "default")
    );
    assert!(state.names.namespaces.keys().eq(state.networks.keys()));
    sees.sort();
    sees.dedup();
    lines.extend(sees);
    lines
}

fn in_order(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words
}

/// The service in a container's name.
fn title_of(container: &str) -> &str {
    container.split('.').next().unwrap_or_default()
}

#[test]
fn names_are_those_of_the_nodes_networks_and_of_tasks_that_serve() {
    let mut world = world();
    let value = "{endpointMode: dnsrr, template: {container: nginx, networks: [own]}}";
    put(&mut world, ObjectKey::service(&name("own")), value);
    settle(&mut world);
    let db = "db.default: db@back 1:db.1@back";
    let own = "own.default rr: -@own 1:own.1@own";
    let web = "web.default: web@back web@front www@front http/tcp=80 1:web.1@back,web.1@front";
    let sees = |task: &str| format!("{task} sees back,front");
    assert_eq!(called(&world, "n1"), [db, own, web, &sees("web.1")]);
    // What is made there asks before it serves.
    assert_eq!(called(&world, "n2"), [db, web, &sees("web.2")]);
    assert_eq!(called(&world, "n3"), [db, web]);
    let one = id(&world, "web.1");
    world.observe(&one, TaskState::Failed);
    let gone = "web.default: web@front www@front http/tcp=80";
    assert_eq!(
        called(&world, "n1"),
        [own, gone],
        "nothing there is on back"
    );
    let web = "web.default: web@back web@front www@front http/tcp=80";
    assert_eq!(called(&world, "n3"), [db, web]);
    put(
        &mut world,
        ObjectKey::service(&name("db")),
        "{replicas: 0, template: {container: nginx, networks: [back]}}",
    );
    settle(&mut world);
    assert_eq!(
        called(&world, "n3"),
        ["db.default: db@back", web],
        "it is on its way out"
    );
}

#[test]
fn what_a_view_does_not_change_is_held_once_by_all_nodes_and_views() {
    let mut world = world();
    let before = state::Overlays::of(&world.cache);
    let again = state::Overlays::of(&world.cache).sharing(&before);
    assert!(again.is_same(&before));
    // A task of `web` serves that did not before.
    let id = id(&world, "web.2");
    world.observe(&id, TaskState::Running);
    let after = state::Overlays::of(&world.cache).sharing(&before);
    assert!(!after.is_same(&before));
    let of = |overlays: &state::Overlays, node: &str| overlays.state(&node.into()).expect("a node");
    let (old, new) = (of(&before, "n1"), of(&after, "n1"));
    let other = of(&after, "n2");
    for (vni, network) in &new.networks {
        assert!(
            network.is_same(&old.networks[vni]),
            "tasks are where they were"
        );
        let there = other.networks.get(vni);
        assert!(there.is_none_or(|there| there.is_same(network)));
    }
    let changed: Vec<&str> = new
        .names
        .services
        .iter()
        .filter(|(name, names)| !names.is_same(&old.names.services[*name]))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(changed, ["web.default"]);
    let moved = new.virtual_addresses.iter();
    let moved = moved.filter(|(address, value)| !value.is_same(&old.virtual_addresses[*address]));
    assert_eq!(moved.count(), 2, "those of web in its two networks");
}

#[test]
fn a_map_that_is_the_same_on_several_nodes_is_held_once() {
    let world = world();
    let overlays = state::Overlays::of(&world.cache);
    let [n1, n2, n3] = ["n1", "n2", "n3"].map(|node| overlays.state(&node.into()).expect("a node"));
    assert!(n1.members.is_same(&n2.members) && n1.ports.is_same(&n2.ports));
    // Only n1 has network `own`, to which an address and a name lead.
    assert!(!n1.virtual_addresses.is_same(&n2.virtual_addresses));
    assert!(n1.names.services.len() > n2.names.services.len());
    for state in [n1, n2, n3] {
        assert_eq!(state.check(), Ok(()));
    }

    // Nobody speaks of a network in which nobody is.
    let mut world = World::new();
    for node in ["n1", "n2"] {
        world.node(node, NodeState::Ready, |record| {
            record.spec.address = Some(format!("192.0.2.{}", &node[1..]).parse().unwrap());
        });
    }
    for network in ["front", "unused"] {
        put(&mut world, ObjectKey::network(&name(network)), "{}");
    }
    let web = "{replicas: 2, template: {container: nginx, networks: [front]}, ports: [8080:80]}";
    put(&mut world, ObjectKey::service(&name("web")), web);
    settle(&mut world);
    for (task, node) in [("web.1", "n1"), ("web.2", "n2")] {
        let id = self::id(&world, task);
        world.bind(&id, node);
        world.observe(&id, TaskState::Ready);
    }
    let before = state::Overlays::of(&world.cache);
    let id = id(&world, "web.2");
    world.observe(&id, TaskState::Running);
    let after = state::Overlays::of(&world.cache).sharing(&before);
    let of = |overlays: &state::Overlays, node: &str| overlays.state(&node.into()).expect("a node");
    let (old, new, other) = (of(&before, "n1"), of(&after, "n1"), of(&after, "n2"));
    assert!(new.members.is_same(&old.members), "they are as they were");
    assert!(!new.virtual_addresses.is_same(&old.virtual_addresses));
    assert!(is_one(&new, &other) && is_one(&old, &of(&before, "n2")));
}
