//! On which nodes ports are told to be closed.

use super::*;
use crate::api::name::NodeName;
use crate::api::status::{Condition, NodeState, Status, Truth, Underlay};
use crate::controllers::fixture::World;
use crate::controllers::service::Service;
use std::time::Duration;

fn on() -> Network {
    Network(Settings {
        addresses: true,
        ..Settings::default()
    })
}

/// A service on port 8080 and nodes n1 and n2.
fn world() -> World {
    let mut world = World::new();
    for node in ["n1", "n2"] {
        world.node(node, NodeState::Ready, |record| {
            record.spec.address = Some(format!("192.0.2.{}", &node[1..]).parse().unwrap());
        });
        says(&mut world, node, Truth::True, &[]);
    }
    let web = ObjectKey::service(&Scoped::new("default", "web"));
    world.raw(
        &Key::User(web),
        b"{template: {container: nginx}, ports: ['8080:80', '8081:80']}",
    );
    settle(&mut world);
    world
}

fn settle(world: &mut World) {
    world.settle_both(&Service, &on());
}

fn says(world: &mut World, node: &str, truth: Truth, occupied: &[&str]) {
    let node = NodeName::from(node);
    let object = ObjectKey::node(&node);
    let before = world.cache.status(&object, view::TASK).cloned();
    let before = before.map_or(Vec::new(), |before| before.conditions.clone());
    let reason = if truth == Truth::True {
        "Programmed"
    } else {
        "AgentUnreachable"
    };
    let message = "no answer";
    let condition = Condition::new(
        &before,
        world.now.wall,
        view::DATAPLANE_READY,
        truth,
        reason,
        message,
    );
    let status = Status {
        uid: Some(world.cache.nodes[&node].uid.clone()),
        conditions: vec![condition],
        underlay: Some(Underlay {
            mtu: Some(1_500),
            addresses6: Default::default(),
            occupied: occupied.iter().map(|key| key.parse().unwrap()).collect(),
        }),
        ..Status::default()
    };
    let key = Key::Status(object, view::TASK.into());
    world.put(&key, &status);
    assert!(world.cache.services.is_empty() || world.wakes(&on(), &key));
}

fn told(world: &mut World) -> String {
    settle(world);
    let web = ObjectKey::service(&Scoped::new("default", "web"));
    let status = world.cache.status(&web, "network").unwrap();
    let said = status.condition("PortsReady").unwrap();
    format!("{} {}: {}", said.status.as_str(), said.reason, said.message)
}

const OPEN: &str =
    "True Provided: nodes whose DataplaneReady is True lead 8080-8081/tcp to its tasks";
const PARTIAL: &str = "False Partial: nodes lead 8080-8081/tcp to its tasks, but not all: ";

#[test]
fn a_port_on_which_a_program_of_a_node_listens_is_told_with_the_node_until_the_program_ends() {
    let mut world = world();
    assert_eq!(told(&mut world), OPEN);
    says(&mut world, "n2", Truth::True, &["tcp/8080", "tcp/30001"]);
    let expected = format!("{PARTIAL}n2: a program of the node listens on 8080/tcp");
    assert_eq!(told(&mut world), expected);
    says(&mut world, "n2", Truth::True, &["tcp/30001"]);
    assert_eq!(told(&mut world), OPEN);
}

#[test]
fn an_agent_that_is_lost_for_longer_than_a_moment_is_told() {
    let mut world = world();
    says(&mut world, "n1", Truth::False, &[]);
    assert_eq!(told(&mut world), OPEN, "an upgrade takes as long");
    let plan = world.plan(&on());
    assert_eq!(plan.look_again, Some(Duration::from_secs(5)));
    world.pass(Duration::from_secs(5));
    let expected = format!("{PARTIAL}n1: no answer (AgentUnreachable)");
    assert_eq!(told(&mut world), expected);
    says(&mut world, "n1", Truth::True, &[]);
    assert_eq!(told(&mut world), OPEN);
    // Of a node that is down that says everything.
    says(&mut world, "n1", Truth::False, &[]);
    world.pass(Duration::from_secs(5));
    world.node("n1", NodeState::Down, |_| {});
    assert_eq!(told(&mut world), OPEN);
}

#[test]
fn what_is_written_of_a_node_that_is_well_concerns_who_is_told_that_another_is_not() {
    let mut world = world();
    let web = Work::Object(ObjectKey::service(&Scoped::new("default", "web")));
    let key = |node: &str, by: &str| Key::Status(ObjectKey::node(&node.into()), by.into());
    let concerns = |world: &World, key: &Key| on().work(key, &world.cache).contains(&web);
    for by in [view::TASK, view::HEALTH] {
        assert!(!concerns(&world, &key("n1", by)), "{by}: all is well");
    }
    assert!(!concerns(&world, &key("n1", view::NODE)));
    let accepted = Key::Accepted(ObjectKey::node(&"n1".into()));
    assert!(concerns(&world, &accepted), "it may be gone");

    says(&mut world, "n2", Truth::True, &["tcp/8080"]);
    assert!(concerns(&world, &key("n2", view::TASK)));
    assert!(concerns(&world, &key("n2", view::HEALTH)), "it may be down");
    assert!(!concerns(&world, &key("n1", view::TASK)), "nobody was told");
    assert!(told(&mut world).starts_with(PARTIAL));
    assert!(concerns(&world, &key("n1", view::TASK)), "web is told");

    says(&mut world, "n2", Truth::True, &[]);
    assert!(
        concerns(&world, &key("n2", view::TASK)),
        "web is told still"
    );
    assert_eq!(told(&mut world), OPEN);
    assert!(!concerns(&world, &key("n2", view::TASK)));
}

#[test]
fn a_number_that_is_chosen_is_no_programs() {
    let mut world = world();
    let all: Vec<String> = (30_000..=32_766)
        .map(|port| format!("tcp/{port}"))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    says(&mut world, "n2", Truth::True, &all);
    let any = ObjectKey::service(&Scoped::new("default", "any"));
    world.raw(
        &Key::User(any),
        b"{template: {container: nginx}, ports: ['80']}",
    );
    settle(&mut world);
    let given = world.cache.allocations.ports();
    assert!(given.map(|(key, _)| key.port.0).any(|port| port == 32_767));
}

#[test]
fn a_network_that_says_no_mtu_has_what_the_least_underlay_carries() {
    let mut world = world();
    let mtu = |world: &World| view::overlay_mtu(&world.cache);
    assert_eq!(mtu(&world), 1_450);
    let measured = |world: &mut World, node: &str, mtu: Option<u32>| {
        let status = Status {
            uid: Some(world.cache.nodes[&NodeName::from(node)].uid.clone()),
            underlay: Some(Underlay {
                mtu,
                ..Underlay::default()
            }),
            ..Status::default()
        };
        let object = ObjectKey::node(&node.into());
        world.put(&Key::Status(object, view::TASK.into()), &status);
    };
    measured(&mut world, "n1", Some(9_000));
    assert_eq!(mtu(&world), 1_450);
    measured(&mut world, "n2", None);
    assert_eq!(mtu(&world), 1_450, "where it is unknown no more is assumed");
    measured(&mut world, "n2", Some(9_000));
    assert_eq!(mtu(&world), 8_950);
    measured(&mut world, "n2", Some(1_400));
    assert_eq!(mtu(&world), 1_350);
    let overlays = state::Overlays::of(&world.cache);
    let state = overlays.state(&"n1".into()).expect("it has an address");
    let mtus: Vec<u32> = state.networks.values().map(|one| one.mtu).collect();
    assert_eq!(mtus, [1_350]);
}
