//! Two nodes with a service on both: what is tried, and what is said when something does not come back.

use super::plan::{Check, Expected, Plan, Subject, plan};
use super::verdict::Verdict;
use crate::api::allocation::{Allocation, Item, Owner};
use crate::api::key::Key;
use crate::api::name::{NodeName, ObjectKey, Scoped};
use crate::api::status::NodeState;
use crate::api::task::TaskState;
use crate::controllers::fixture::World;
use crate::controllers::network::{Network, Settings};
use crate::controllers::service::Service;
use crate::dataplane::address::Version;
use crate::dataplane::probe::{Outcome, Probe};
use crate::runtime::view;
use serde_json::json;
use std::net::IpAddr;

/// `web` runs on n1 and n2, is published, and `idle` has no task that serves.
fn world() -> World {
    let mut world = World::new();
    for node in ["n1", "n2"] {
        world.node(node, NodeState::Ready, |record| {
            record.spec.address = Some(format!("192.0.2.{}", &node[1..]).parse().unwrap());
        });
        says(&mut world, node, "True");
    }
    let put = |world: &mut World, object: ObjectKey, value: &str| {
        world.raw(&Key::User(object), value.as_bytes());
    };
    let name = |name: &str| Scoped::new("default", name);
    put(&mut world, ObjectKey::network(&name("front")), "{}");
    let web = "{replicas: 2, template: {container: nginx, networks: [front]}, ports: [\"8080:80\", \"53:53/udp\"]}";
    put(&mut world, ObjectKey::service(&name("web")), web);
    let idle = "{replicas: 0, template: {container: nginx, networks: [front]}}";
    put(&mut world, ObjectKey::service(&name("idle")), idle);
    let network = Network(Settings {
        addresses: true,
        ..Settings::default()
    });
    world.settle_both(&Service, &network);
    for (at, task) in world.tasks().iter().enumerate() {
        world.bind(&task.id, ["n1", "n2"][at]);
        world.observe(&task.id, TaskState::Running);
    }
    world
}

/// The same where the network carries IPv6.
fn dual_world() -> World {
    let mut world = world();
    let name = Scoped::new("default", "front");
    let mut record = world.cache.networks[&name].value.as_ref().clone();
    let uid = record.uid.clone();
    record.spec.ipv6 = true;
    let key = Key::Accepted(ObjectKey::network(&name));
    world.put(&key, &record);
    let subnet6 = Item::Subnet6("fd00:1::/64".parse().unwrap());
    let allocation = Allocation {
        owner: Owner::Network { name, uid },
        released: false,
        target: None,
    };
    world.put(&Key::Allocation(subnet6), &allocation);
    world
}

/// What a node's agent says of its data plane.
fn says(world: &mut World, node: &str, truth: &str) {
    let object = ObjectKey::node(&NodeName::from(node));
    let uid = world.cache.nodes[&NodeName::from(node)].uid.clone();
    let status = json!({"uid": uid, "conditions": [{
        "type": view::DATAPLANE_READY, "status": truth, "reason": "Because", "message": "its agent says so",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    world.put(&Key::Status(object, view::TASK.into()), &status);
}

/// What comes of a plan where everything works, but for what `broken` says otherwise of.
fn verdict(plan: Plan, broken: impl Fn(&str, &Subject) -> Option<Outcome>) -> Verdict {
    let outcomes = plan.checks.iter().map(|check| {
        let good = match &check.expected {
            Expected::Answer => Outcome::Connected,
            Expected::Refusal => Outcome::Refused,
            Expected::Addresses(all) => Outcome::Addresses(all.clone()),
        };
        broken(check.from.as_str(), &check.subject).unwrap_or(good)
    });
    let outcomes = outcomes.collect();
    Verdict::of(plan, outcomes)
}

/// The lines of a text that say what is broken.
fn broken(verdict: &Verdict) -> Vec<String> {
    assert!(!verdict.is_good());
    let text = verdict.text();
    let lines = text.lines().filter(|line| line.contains("Broken: "));
    lines
        .map(|line| {
            let (what, hop) = line.split_once(". Broken: ").expect("both");
            let what = what.split_whitespace().take(3).collect::<Vec<_>>();
            format!("{} | {hop}", what.join(" "))
        })
        .collect()
}

#[test]
fn every_node_tries_every_node_task_name_address_and_port() {
    let world = world();
    assert_eq!(view::agents(&world.cache).len(), 2);
    assert!(view::agents(&World::new().cache).is_empty());
    let plan = plan(&world.cache);
    let of = |from: &str| {
        let checks = plan
            .checks
            .iter()
            .filter(|check| check.from.as_str() == from);
        let told = checks.map(|check| match &check.subject {
            Subject::Node(node) => format!("node {node}"),
            Subject::Task(node, _) => format!("task on {node}"),
            Subject::Virtual(service, _) => format!("address of {service}"),
            Subject::Name(service, _) => format!("name {service}"),
            Subject::Port(service, key, at) => format!("{service} {key} at {at}"),
        });
        told.collect::<Vec<_>>()
    };
    let all = |other: &str, own: &str| {
        [
            format!("node {other}"),
            "task on n1".into(),
            "task on n2".into(),
            "address of idle.default".into(),
            "name idle.default".into(),
            "address of web.default".into(),
            "name web.default".into(),
            format!("web.default tcp/8080 at {own}"),
            format!("web.default tcp/8080 at {other}"),
        ]
    };
    let sorted = |mut words: Vec<String>| {
        words.sort();
        words
    };
    assert_eq!(sorted(of("n1")), sorted(all("n2", "n1").into()));
    assert_eq!(sorted(of("n2")), sorted(all("n1", "n2").into()));
    // The tasks' own port where one is known, and nobody is expected behind a service without tasks.
    let mut virtuals = plan
        .checks
        .iter()
        .filter(|check| matches!(&check.subject, Subject::Virtual(..)));
    assert!(virtuals.all(|check| match (&check.probe, &check.expected) {
        (Probe::Connect(to), Expected::Answer) => to.port() == 80,
        (Probe::Connect(to), expected) => to.port() == 9 && *expected == Expected::Refusal,
        (Probe::Resolve(..) | Probe::Resolve6(..), _) => false,
    }));
    let left_out: Vec<String> = plan.left_out.iter().map(ToString::to_string).collect();
    assert_eq!(left_out, ["udp/53"]);
    let good = verdict(plan, |_, _| None);
    assert!(good.is_good(), "{}", good.text());
    assert!(
        good.text()
            .ends_with("18 checks from 2 nodes: nothing is broken; not tried: udp/53"),
        "{}",
        good.text()
    );
}

#[test]
fn the_broken_hop_is_named() {
    let world = world();
    let silent = Some(Outcome::Silent);
    // VXLAN is lost from n1 to n2: the virtual address that leads there is broken for the same reason.
    let lost = verdict(plan(&world.cache), |from, subject| match subject {
        Subject::Task(to, _) if from == "n1" && to.as_str() == "n2" => silent.clone(),
        Subject::Virtual(service, _) if from == "n1" && service == "web.default" => silent.clone(),
        _ => None,
    });
    assert_eq!(
        broken(&lost),
        [
            "n1: task 10.64.0.233 | n1 reaches n2 at 192.0.2.2, and VXLAN between them is lost (UDP 4789, either way): a firewall, or n2's own rules",
            "n1: web.default at | the way from n1 to n2 is broken, on which it has tasks",
        ]
    );
    let row = |verdict: &Verdict, node: &str| {
        let text = verdict.text();
        let line = text
            .lines()
            .find(|line| line.starts_with(node))
            .unwrap_or_default();
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(row(&lost, "n1 "), ["n1", "ok", "BROKEN"]);
    assert_eq!(row(&lost, "n2 "), ["n2", "ok", "ok"]);
    // The node itself is away.
    let away = verdict(plan(&world.cache), |from, subject| match subject {
        Subject::Task(to, _) | Subject::Node(to) if from == "n1" && to.as_str() == "n2" => {
            silent.clone()
        }
        _ => None,
    });
    assert_eq!(
        broken(&away),
        [
            "n1: task 10.64.0.233 | n1 does not reach n2 at 192.0.2.2 at all: the network between the nodes, or a firewall"
        ]
    );
    // All ways are there, and the resolver says something else.
    let wrong = verdict(plan(&world.cache), |from, subject| match subject {
        Subject::Name(service, _) if from == "n2" && service == "web.default" => {
            Some(Outcome::Addresses(["192.0.2.9".parse().unwrap()].into()))
        }
        _ => None,
    });
    assert_eq!(
        broken(&wrong),
        ["n2: name web.default: | the resolver of n2 in network default/front"]
    );
    // Nodes that take nothing but VXLAN from each other are well.
    let closed = verdict(plan(&world.cache), |_, subject| match subject {
        Subject::Node(_) => silent.clone(),
        _ => None,
    });
    assert!(closed.is_good(), "{}", closed.text());
}

#[test]
fn in_networks_that_carry_it_tasks_virtual_addresses_and_names_are_tried_over_ipv6_too() {
    let (single, dual) = (plan(&world().cache), plan(&dual_world().cache));
    let is_version6 = |check: &&Check| check.subject.version() == Version::V6;
    assert_eq!(single.checks.iter().filter(is_version6).count(), 0);
    let others = dual.checks.iter().filter(|check| !is_version6(check));
    let others: Vec<_> = others.map(|check| &check.subject).collect();
    let before: Vec<_> = single.checks.iter().map(|check| &check.subject).collect();
    assert_eq!(others, before, "what is tried over IPv4 is the same");
    // Each of them has its counterpart but nodes and ports, whose addresses of IPv6 nobody knows.
    let goes_with = |address: &IpAddr| match address {
        IpAddr::V4(address) => {
            let [.., last] = address.octets();
            format!("fd00:1::{last:x}")
        }
        IpAddr::V6(address) => address.to_string(),
    };
    let told = |check: &Check| {
        let subject = match &check.subject {
            Subject::Task(node, address) => format!("task on {node} at {}", goes_with(address)),
            Subject::Virtual(service, address) => format!("{service} at {}", goes_with(address)),
            Subject::Name(service, _) => format!("name {service}"),
            Subject::Node(_) | Subject::Port(..) => return None,
        };
        let (asked, port) = match &check.probe {
            Probe::Connect(to) => (goes_with(&to.ip()), to.port()),
            Probe::Resolve(gateway, name) | Probe::Resolve6(gateway, name) => {
                (format!("{name} at {gateway}"), 53)
            }
        };
        let expected = match &check.expected {
            Expected::Answer => "an answer".into(),
            Expected::Refusal => "a refusal".into(),
            Expected::Addresses(all) => all.iter().map(goes_with).collect::<Vec<_>>().join(" "),
        };
        let from = &check.from;
        Some(format!(
            "{from}: {subject}: {asked}:{port} {expected} {:?} {:?}",
            check.network, check.through
        ))
    };
    let version6: Vec<_> = dual.checks.iter().filter(is_version6).collect();
    assert!(version6.iter().all(|check| match &check.probe {
        Probe::Connect(to) => to.is_ipv6(),
        Probe::Resolve6(..) => true,
        Probe::Resolve(..) => false,
    }));
    assert_eq!(version6.len(), 12);
    let version6: Vec<_> = version6.into_iter().filter_map(told).collect();
    let version4: Vec<_> = single.checks.iter().filter_map(told).collect();
    assert_eq!(version6, version4);
    let text = verdict(dual, |_, _| None).text();
    assert!(
        text.contains("30 checks from 2 nodes: nothing is broken"),
        "{text}"
    );
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    let matrix = [
        "FROM VERSION n1 n2",
        "n1 IPv4 ok ok",
        "n1 IPv6 ok ok",
        "n2 IPv4 ok ok",
        "n2 IPv6 ok ok",
    ];
    assert_eq!(lines[..5], matrix);
    assert!(
        lines
            .iter()
            .any(|line| line == "web.default name, IPv6 in front ok ok"),
        "{text}"
    );
    let text = verdict(single, |_, _| None).text();
    let first: Vec<_> = text
        .lines()
        .take(2)
        .flat_map(str::split_whitespace)
        .collect();
    assert_eq!(first, ["FROM", "n1", "n2", "n1", "ok", "ok"]);
    assert!(
        !text.contains("IPv6") && !text.contains("VERSION"),
        "{text}"
    );
}

#[test]
fn the_hop_that_is_broken_for_ipv6_alone_is_named() {
    let cache = dual_world().cache;
    let silent = Some(Outcome::Silent);
    let is_lost = |from: &str, subject: &Subject| match subject {
        Subject::Task(to, _) => from == "n1" && to.as_str() == "n2",
        Subject::Virtual(service, _) => from == "n1" && service == "web.default",
        _ => false,
    };
    let lost = verdict(plan(&cache), |from, subject| {
        let is_lost = is_lost(from, subject) && subject.version() == Version::V6;
        silent.clone().filter(|_| is_lost)
    });
    assert_eq!(
        broken(&lost),
        [
            "n1: task fd00:1::e9 | n1 reaches tasks on n2 at 192.0.2.2 over IPv4, and over IPv6 it is lost: rules of IPv6 on either of them, or IPv6 is switched off",
            "n1: web.default at | the way of IPv6 from n1 to n2 is broken, on which it has tasks",
        ]
    );
    let text = lost.text();
    let rows = text.lines().filter(|line| line.contains(" IPv"));
    let rows: Vec<Vec<_>> = rows.map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["n1", "IPv4", "ok", "ok"]);
    assert_eq!(rows[1], ["n1", "IPv6", "ok", "BROKEN"]);
    // Where both are lost the way under them is to blame, and each is said of its own.
    let both = verdict(plan(&cache), |from, subject| {
        silent.clone().filter(|_| is_lost(from, subject))
    });
    let vxlan = "n1 reaches n2 at 192.0.2.2, and VXLAN between them is lost (UDP 4789, either way): a firewall, or n2's own rules";
    let expected = [
        format!("n1: task 10.64.0.233 | {vxlan}"),
        format!("n1: task fd00:1::e9 | {vxlan}"),
        "n1: web.default at | the way from n1 to n2 is broken, on which it has tasks".into(),
        "n1: web.default at | the way of IPv6 from n1 to n2 is broken, on which it has tasks"
            .into(),
    ];
    assert_eq!(broken(&both), expected);
    // A resolver that does not tell of IPv6.
    let wrong = verdict(plan(&cache), |from, subject| match subject {
        Subject::Name(service, Version::V6) if from == "n2" && service == "web.default" => {
            Some(Outcome::Addresses([].into()))
        }
        _ => None,
    });
    assert_eq!(
        broken(&wrong),
        ["n2: name web.default | the resolver of n2 in network default/front"]
    );
}

#[test]
fn a_port_of_one_address_of_ipv6_is_not_tried() {
    let mut world = world();
    let web = Scoped::new("default", "web");
    let uid = world.cache.services[&web].uid.clone();
    let owner = Owner::Service {
        name: web.clone(),
        uid,
    };
    let value = "{replicas: 2, template: {container: nginx, networks: [front]}, ports: [\"8080:80\", {target: 80, published: 81, hostIP: '2001:db8::1'}]}";
    world.raw(&Key::User(ObjectKey::service(&web)), value.as_bytes());
    let network = Network(Settings {
        addresses: true,
        ..Settings::default()
    });
    world.settle_both(&Service, &network);
    let key = "tcp/[2001:db8::1]:81".parse().unwrap();
    let given = world.cache.allocations.get(&Item::Port(key));
    assert_eq!(given.map(|given| &given.owner), Some(&owner));
    let plan = plan(&world.cache);
    let left_out: Vec<String> = plan.left_out.iter().map(ToString::to_string).collect();
    assert_eq!(left_out, ["tcp/[2001:db8::1]:81"]);
    let mut subjects = plan.checks.iter().map(|check| &check.subject);
    assert!(subjects.all(|subject| !matches!(subject, Subject::Port(_, to, _) if *to == key)));
}

#[test]
fn a_node_whose_agent_is_in_trouble_is_named_and_nothing_is_tried_from_it() {
    let mut world = world();
    says(&mut world, "n2", "False");
    let plan = plan(&world.cache);
    assert!(plan.checks.iter().all(|check| check.from.as_str() == "n1"));
    let text = verdict(plan, |_, subject| match subject {
        Subject::Task(to, _) if to.as_str() == "n2" => Some(Outcome::Silent),
        _ => None,
    })
    .text();
    for line in [
        "n2: nothing could be tried from it: Because: its agent says so",
        "Broken: the data plane of n2: Because: its agent says so",
    ] {
        assert!(text.contains(line), "{text}");
    }
}
