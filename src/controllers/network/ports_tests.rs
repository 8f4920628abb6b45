//! Published ports in their own words, and what holds whatever services ask for and whoever is killed.

use super::*;
use crate::api::accepted::Accepted;
use crate::api::allocation::{Allocation, Item, Owner};
use crate::api::cluster::Cluster;
use crate::api::manifest::{Spec, parse_value};
use crate::api::status::{Condition, Truth};
use crate::api::time::Timestamp;
use crate::api::uid::Uid;
use crate::api::unit::{Generation, Incarnation, Revision};
use crate::runtime::fixture::{World, lines};
use crate::runtime::published;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn on() -> Network {
    Network(Settings {
        addresses: true,
        ..Settings::default()
    })
}

fn cluster(is_adopting: bool) -> Cluster {
    Cluster {
        id: Uid::from("c"),
        incarnation: Incarnation(1),
        format: 1,
        adopting_since: is_adopting.then_some(Timestamp(1)),
        held: None,
    }
}

fn world() -> World {
    let mut world = World::default();
    world.put(Key::Cluster, &cluster(false));
    world
}

fn name(name: &str) -> Scoped {
    Scoped::new("shop", name)
}

fn service(of: &str) -> ObjectKey {
    ObjectKey::service(&name(of))
}

/// A service in force that asks for these ports, as its controller would have accepted it.
fn put(world: &mut World, of: &str, uid: &str, ports: &str) {
    put_spec(world, of, uid, &format!("ports: [{ports}]"));
}

/// One with this of its spec.
fn put_spec(world: &mut World, of: &str, uid: &str, spec: &str) {
    let value = format!("{{template: {{container: nginx}}, {spec}}}");
    let manifest = parse_value(&service(of), value.as_bytes()).expect("it parses");
    let Spec::Service(spec) = manifest.spec else {
        panic!("{value} is no service");
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
    world.put(Key::Accepted(service(of)), &accepted);
}

fn delete(world: &mut World, of: &str) {
    world.del(&Key::Accepted(service(of)));
}

fn condition(world: &World, of: &str) -> Condition {
    let status = world.cache.status(&service(of), "network");
    let said = status.and_then(|status| status.condition("PortsReady").cloned());
    said.expect("it is told")
}

/// The reason and the message of what a service is told of its ports.
fn told(world: &World, of: &str) -> String {
    let said = condition(world, of);
    format!("{}: {}", said.reason, said.message)
}

/// The ledger, as `PORT=SERVICE`, a chosen one with the port of the tasks behind.
fn ledger(world: &World) -> String {
    let words = world.cache.allocations.ports().map(|(key, given)| {
        let Owner::Service { name, .. } = &given.owner else {
            panic!("{} has a port", given.owner);
        };
        let chosen = given.target.map(|port| format!(" for {port}"));
        format!(
            "{}={}{}",
            ports::shown(key),
            name.name,
            chosen.unwrap_or_default()
        )
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Puts services one after the other and says who has what in the end.
fn check(services: &[(&str, &str)], expected: &str) -> World {
    let mut world = world();
    for (service, ports) in services {
        put(&mut world, service, service, ports);
        world.settle(&on());
    }
    assert_eq!(ledger(&world), expected);
    world
}

/// There is no node here.
const CLOSED: &str = "NoAgent: ";

#[test]
fn a_port_is_the_first_ones_who_asks_and_others_are_told_whose() {
    let world = check(&[("b", "\"8080:80\""), ("a", "\"8080:80\"")], "8080/tcp=b");
    assert_eq!(
        told(&world, "a"),
        "PortTaken: 8080/tcp is published by service shop/b"
    );
    assert!(told(&world, "b").starts_with(&format!("{CLOSED}8080/tcp stay closed")));
    let both = "53/tcp=a, 53/udp=b";
    check(&[("a", "\"53:53\""), ("b", "\"53:53/udp\"")], both);
    // What is free it has, whatever else it asks for.
    let some = "80/tcp=b, 8080/tcp=a";
    let world = check(
        &[("a", "\"8080:80\""), ("b", "\"8080:80\", \"80:80\"")],
        some,
    );
    assert_eq!(condition(&world, "b").status, Truth::False);
}

#[test]
fn a_port_on_one_address_is_not_wider_and_meets_the_one_on_all() {
    let at = |address: &str| format!("{{target: 80, published: 8080, hostIP: {address}}}");
    let (one, two) = (at("192.0.2.1"), at("192.0.2.2"));
    let apart = "192.0.2.1:8080/tcp=a, 192.0.2.2:8080/tcp=b";
    let world = check(&[("a", &one), ("b", &two), ("c", "\"8080:80\"")], apart);
    let expected = "PortTaken: 8080/tcp meets 192.0.2.1:8080/tcp of service shop/a";
    assert_eq!(told(&world, "c"), expected);
    let world = check(&[("a", "\"8080:80\""), ("b", &one)], "8080/tcp=a");
    let expected = "PortTaken: 192.0.2.1:8080/tcp meets 8080/tcp of service shop/a";
    assert_eq!(told(&world, "b"), expected);
    check(&[("a", &at("0.0.0.0"))], "8080/tcp=a");
    // From all addresses to one and back: never both.
    check(&[("a", "\"8080:80\""), ("a", &one)], "192.0.2.1:8080/tcp=a");
    check(&[("a", &one), ("a", "\"8080:80\"")], "8080/tcp=a");
    check(&[("a", &at("\"::\""))], "8080/tcp=a");
    let world = check(&[("a", &at("\"::1\""))], "");
    let expected = "NotProvided: port 80 asks for the loopback's address of IPv6, which this version does not provide";
    assert_eq!(told(&world, "a"), expected);
    // One of IPv6 meets what is on all, and nothing on one of IPv4.
    let six = at("\"2001:db8::1\"");
    let world = check(
        &[("a", &six), ("b", &one), ("c", "\"8080:80\""), ("d", &six)],
        "192.0.2.1:8080/tcp=b, [2001:db8::1]:8080/tcp=a",
    );
    let expected = "PortTaken: [2001:db8::1]:8080/tcp is published by service shop/a";
    assert_eq!(told(&world, "d"), expected);
    let expected = "PortTaken: 8080/tcp meets 192.0.2.1:8080/tcp of service shop/b";
    assert_eq!(told(&world, "c"), expected);
    let world = check(&[("a", "\"8080:80/sctp\"")], "");
    assert!(told(&world, "a").contains("asks for SCTP"));
}

#[test]
fn each_port_of_a_range_is_its_services_and_a_range_is_told_as_one() {
    let world = check(
        &[("a", "\"8080-8082:80-82\""), ("b", "\"8082-8083:80\"")],
        "8080/tcp=a, 8081/tcp=a, 8082/tcp=a, 8083/tcp=b",
    );
    assert!(told(&world, "a").starts_with(&format!("{CLOSED}8080-8082/tcp stay closed")));
    assert_eq!(
        told(&world, "b"),
        "PortTaken: 8082/tcp is published by service shop/a"
    );
}

#[test]
fn the_port_that_tells_of_health_is_in_the_ledger_too() {
    let mut world = world();
    put_spec(
        &mut world,
        "a",
        "a",
        "ports: ['8080:80'], healthPort: 30999",
    );
    world.settle(&on());
    put_spec(
        &mut world,
        "b",
        "b",
        "ports: ['8081:80'], healthPort: 30999",
    );
    world.settle(&on());
    assert_eq!(ledger(&world), "8080/tcp=a, 8081/tcp=b, 30999/tcp=a");
    assert_eq!(
        told(&world, "b"),
        "PortTaken: 30999/tcp is published by service shop/a"
    );
    put_spec(&mut world, "a", "a", "ports: ['8080:80']");
    world.settle(&on());
    assert_eq!(ledger(&world), "8080/tcp=a, 8081/tcp=b, 30999/tcp=b");
}

/// The numbers that a service was given, in the order of its ports.
fn numbers(world: &World, of: &str) -> Vec<u16> {
    let record = &world.cache.services[&name(of)];
    let given = published::given(&world.cache.allocations, &name(of), record);
    given
        .into_iter()
        .filter_map(|(_, key)| Some(key?.port.0))
        .collect()
}

#[test]
fn a_port_left_out_gets_a_number_and_keeps_it_whatever_else_changes() {
    let mut world = world();
    put(&mut world, "web", "web", "\"80\", \"81\", \"80/udp\"");
    world.settle(&on());
    let first = numbers(&world, "web");
    assert_eq!(first.len(), 3);
    assert!(
        first
            .iter()
            .all(|number| (30_000..=32_767).contains(number))
    );
    put(
        &mut world,
        "web",
        "web",
        "\"8080:79\", \"81\", {target: 80, source: masquerade}",
    );
    world.settle(&on());
    assert_eq!(numbers(&world, "web"), [8080, first[1], first[0]]);
    assert_eq!(
        world.cache.allocations.ports().count(),
        3,
        "that of UDP is free"
    );
    // Who names the number that was chosen keeps it by that, and what is left out again is chosen anew.
    let named = format!("\"{}:80\", \"81\"", first[0]);
    put(&mut world, "web", "web", &named);
    world.settle(&on());
    assert_eq!(numbers(&world, "web"), [first[0], first[1]]);
    let stored = world.cache.allocations.ports();
    let chosen = stored.filter(|(_, given)| given.target.is_some()).count();
    assert_eq!(chosen, 1);
    // Made anew by the same name it has the same.
    delete(&mut world, "web");
    world.settle(&on());
    assert_eq!(ledger(&world), "");
    put(&mut world, "web", "another", "\"81\", \"80\"");
    world.settle(&on());
    assert_eq!(numbers(&world, "web"), [first[1], first[0]]);
}

#[test]
fn two_ports_alike_have_two_numbers_and_the_first_has_the_lower() {
    let mut world = world();
    put(&mut world, "web", "web", "\"80\", {name: b, target: 80}");
    world.settle(&on());
    let both = numbers(&world, "web");
    assert!(both.len() == 2 && both[0] < both[1], "{both:?}");
    assert_eq!(world.cache.allocations.ports().count(), 2);
}

#[test]
fn a_number_that_somebody_names_or_has_in_mode_host_is_not_chosen() {
    let mut first = world();
    put(&mut first, "web", "web", "\"80\"");
    first.settle(&on());
    let number = numbers(&first, "web")[0];
    for rival in [format!("\"{number}:1\""), format!("\"host:{number}:1\"")] {
        let mut world = world();
        put(&mut world, "aaa", "aaa", &rival);
        put(&mut world, "web", "web", "\"80\"");
        put(&mut world, "zzz", "zzz", "\"80\"");
        world.settle(&on());
        assert_eq!(numbers(&world, "web").len(), 1);
        assert_ne!(numbers(&world, "web")[0], number, "{rival}");
    }
}

#[test]
fn a_port_that_a_service_opens_on_its_tasks_nodes_is_not_given_out() {
    let services = [
        ("db", "\"host:8080:80\""),
        ("web", "\"8080:80\", \"8080:80/udp\""),
    ];
    let world = check(&services, "8080/udp=web");
    let expected =
        "PortTaken: 8080/tcp is opened by service shop/db on the nodes of its tasks (mode host)";
    assert_eq!(told(&world, "web"), expected);
    // One on another address is another.
    let at = "{target: 80, published: 8080, hostIP: 192.0.2.1}";
    check(
        &[("db", "\"127.0.0.1:8080:80\""), ("web", at)],
        "192.0.2.1:8080/tcp=web",
    );
    check(&[("db", "\"192.0.2.1:8080:80\""), ("web", at)], "");
}

#[test]
fn what_is_freed_goes_to_who_waits_for_it() {
    let mut world = check(
        &[
            ("a", "\"8080:80\""),
            ("b", "\"8080:80\""),
            ("c", "\"8080:80\""),
        ],
        "8080/tcp=a",
    );
    put(&mut world, "a", "a", "\"8081:80\"");
    world.settle(&on());
    assert_eq!(ledger(&world), "8080/tcp=b, 8081/tcp=a");
    assert_eq!(
        told(&world, "c"),
        "PortTaken: 8080/tcp is published by service shop/b"
    );
    delete(&mut world, "b");
    world.settle(&on());
    assert_eq!(ledger(&world), "8080/tcp=c, 8081/tcp=a");
    // The same name with another uid is another service.
    put(&mut world, "c", "c2", "\"8082:80\"");
    world.settle(&on());
    assert_eq!(ledger(&world), "8081/tcp=a, 8082/tcp=c");
}

#[test]
fn a_key_that_cannot_be_read_holds_its_port() {
    let mut world = world();
    world.raw("allocations/ports/tcp/08080", b"garbage".to_vec());
    put(&mut world, "a", "a", "\"8080:80\"");
    world.settle(&on());
    let expected =
        "PortTaken: 8080/tcp is held by the key allocations/ports/tcp/08080, which cannot be read";
    assert_eq!(told(&world, "a"), expected);
}

#[test]
fn all_numbers_may_be_taken() {
    let mut world = world();
    for port in 30_000..=32_767u16 {
        let owner = Owner::Service {
            name: name("old"),
            uid: Uid::from("old"),
        };
        let given = Allocation {
            owner,
            released: false,
            target: Some(crate::api::unit::Port(port)),
        };
        let key: Item = Item::Port(format!("tcp/{port}").parse().expect("a port"));
        world.put(Key::Allocation(key), &given);
    }
    let ports: Vec<String> = (30_000..=32_767)
        .map(|port| format!("\"{port}:1\""))
        .collect();
    put(&mut world, "old", "old", &ports.join(", "));
    put(&mut world, "web", "web", "\"80\"");
    world.settle(&on());
    let expected = "PortsExhausted: all ports from 30000 to 32767 are taken: name one for port 80 with `published`";
    assert_eq!(told(&world, "web"), expected);
}

#[test]
fn s6_no_port_is_given_out_or_taken_back_while_what_runs_is_adopted() {
    let mut world = check(&[("a", "\"8080:80\"")], "8080/tcp=a");
    delete(&mut world, "a");
    put(&mut world, "b", "b", "\"8081:80\"");
    world.put(Key::Cluster, &cluster(true));
    world.settle(&on());
    assert_eq!(ledger(&world), "8080/tcp=a");
    assert!(told(&world, "b").starts_with("Pending"));
}

#[test]
fn nothing_is_given_out_while_ports_are_not_provided() {
    let mut world = world();
    put(&mut world, "a", "a", "\"8080:80\", \"81\"");
    world.settle(&Network::default());
    assert_eq!(ledger(&world), "");
    let said = told(&world, "a");
    assert!(said.starts_with("NotProvided: ingress ports are not realised here"));
    assert!(said.contains("8080/tcp, 81/tcp stay closed"), "{said}");
}

#[test]
fn golden_trace() {
    let mut world = world();
    let mut trace = Vec::new();
    for ports in [
        "\"8080:80\"",
        "{target: 80, published: 8080, hostIP: 192.0.2.1}",
        "",
    ] {
        put(&mut world, "web", "web", ports);
        trace.extend(lines(&world.settle(&on())));
    }
    // The namespace's own network comes as well, and what is said of it.
    trace.retain(|line| line.contains("/ports/"));
    let (wide, one) = (
        "allocations/ports/tcp/08080",
        "allocations/ports/tcp/08080/192.0.2.1",
    );
    let expected = [
        format!("put {wide} [missing {wide}]"),
        format!("del {wide} [unchanged {wide}]"),
        format!("put {one} [missing {one}, missing {wide}]"),
        format!("del {one} [unchanged {one}]"),
    ];
    assert_eq!(trace, expected);
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize, usize),
    Delete(usize),
    /// Somebody deletes a key of ours.
    Lose(usize),
    /// Somebody writes a key of nobody's.
    Stray(usize),
    /// A leader that is killed after so many writes of its plan.
    Killed(usize),
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..4usize, 0..PORTS.len()).prop_map(|(name, ports)| Step::Put(name, ports)),
        2 => (0..4usize).prop_map(Step::Delete),
        1 => (0..9usize).prop_map(Step::Lose),
        1 => (0..3usize).prop_map(Step::Stray),
        3 => (0..5usize).prop_map(Step::Killed),
        2 => Just(Step::Settle),
    ];
    prop::collection::vec(step, 1..40)
}

const PORTS: [&str; 10] = [
    "",
    "\"80:80\"",
    "\"80:80\", \"81:80\", \"80:80/udp\"",
    "{target: 80, published: 80, hostIP: 192.0.2.1}",
    "{target: 80, published: 80, hostIP: 192.0.2.2}, \"81:1\"",
    "{target: 80, published: 80, hostIP: \"2001:db8::1\"}",
    "\"80\", \"80\", \"81\"",
    "\"80\", \"30100:80\"",
    "\"host:80:80\", \"host:30200:80\"",
    "{target: 80, hostIP: 192.0.2.1}, \"81/udp\"",
];

fn act(world: &mut World, step: &Step, count: usize) {
    match step {
        Step::Put(service, ports) => {
            let service = format!("s{service}");
            let record = world.cache.services.get(&name(&service));
            let uid = record.map_or(format!("u{count}"), |record| record.uid.to_string());
            put(world, &service, &uid, PORTS[*ports]);
        }
        Step::Delete(service) => delete(world, &format!("s{service}")),
        Step::Lose(index) => {
            let lost = world.cache.allocations.ports().nth(*index);
            if let Some(key) = lost.map(|(key, _)| Key::Allocation(Item::Port(key))) {
                world.del(&key);
            }
        }
        Step::Stray(index) => {
            let key = ["tcp/00080", "tcp/00080/192.0.2.1", "udp/00099"][*index];
            let owner = r#"{"kind":"Service","namespace":"shop","name":"gone","uid":"gone"}"#;
            let key = format!("allocations/ports/{key}");
            world.raw(&key, format!("{{\"owner\":{owner}}}").into_bytes());
        }
        Step::Killed(writes) => {
            let plan = world.plan_all(&on());
            for step in plan.steps.iter().take(*writes) {
                world.apply(step);
            }
        }
        Step::Settle => drop(world.settle(&on())),
    }
}

/// No two meet; said without the planner's own means. What a hand wrote may, until the next look.
fn check_apart(world: &World) -> Result<(), TestCaseError> {
    let all: Vec<_> = world
        .cache
        .allocations
        .ports()
        .map(|(key, _)| key)
        .collect();
    for (at, one) in all.iter().enumerate() {
        for other in &all[..at] {
            let is_one_port = (one.protocol, one.port) == (other.protocol, other.port);
            let are_apart = one.address.is_some() && other.address.is_some();
            prop_assert!(!is_one_port || are_apart, "{one} and {other}");
        }
    }
    Ok(())
}

/// At rest each port that is asked for has a number or a reason, and nobody else has any.
fn check_rest(world: &World) -> Result<(), TestCaseError> {
    let mut used = BTreeSet::new();
    for (name, record) in &world.cache.services {
        let given = published::given(&world.cache.allocations, name, record);
        let lacks = given.iter().filter(|(_, key)| key.is_none()).count();
        for key in given.iter().filter_map(|(_, key)| *key) {
            prop_assert!(used.insert(key), "{key} is two ports");
        }
        let said = condition(world, &name.name);
        let is_told = said.reason == "PortTaken" && said.status == Truth::False;
        prop_assert_eq!(lacks > 0, is_told, "{}: {:?}", name, said);
        for (port, key) in given.iter().filter_map(|(port, key)| Some((port, (*key)?))) {
            let address = port.host_ip.map(|address| address.to_string());
            prop_assert_eq!(key.address.map(|address| address.to_string()), address);
            prop_assert_eq!(port.published.unwrap_or(key.port), key.port);
        }
    }
    let all: BTreeSet<_> = world
        .cache
        .allocations
        .ports()
        .map(|(key, _)| key)
        .collect();
    prop_assert_eq!(used, all);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_happens_ports_neither_leak_nor_meet(steps in steps()) {
        let mut world = world();
        let mut is_by_hand = false;
        for (count, step) in steps.iter().enumerate() {
            act(&mut world, step, count);
            is_by_hand = (is_by_hand || matches!(step, Step::Stray(_))) && !matches!(step, Step::Settle);
            if !is_by_hand {
                check_apart(&world)?;
            }
        }
        world.settle(&on());
        check_apart(&world)?;
        check_rest(&world)?;
        let again = world.plan_all(&on());
        prop_assert!(again.is_in_step(), "{again:?}");
    }
}
