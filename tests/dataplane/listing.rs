//! What the kernel has, as `nft` and `ip` print it: our encoder, read by somebody else.

use super::cluster::{BLUE, GREEN, inside, inside6, node_address, outside6, state};
use super::namespace::Namespace;
use skep::api::service::{SessionAffinity, Source};
use skep::api::unit::Port;
use skep::dataplane::address::Mac;
use skep::dataplane::agent::{Agent, Order};
use skep::dataplane::host::{Host, Linux};
use skep::dataplane::state::{NodeIndex, PublishedPort, State, VirtualAddress};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Node 1 of three, with one of everything.
fn example() -> State {
    let mut state = state(3);
    let blue = state.networks.get_mut(&BLUE).unwrap();
    for (last, node) in [(11, 1), (12, 1), (21, 2), (31, 3)] {
        blue.tasks.insert(inside(BLUE, last), NodeIndex(node));
    }
    blue.bridged = [11, 21].map(|last| inside(BLUE, last)).into();
    state.networks.get_mut(&GREEN).unwrap().internal = true;
    let backends = |lasts: &[u8]| -> BTreeSet<Ipv4Addr> {
        lasts.iter().map(|last| inside(BLUE, *last)).collect()
    };
    let mut service = |last, lasts: &[u8], affinity| {
        let backends = backends(lasts);
        let service = VirtualAddress { backends, affinity };
        state
            .virtual_addresses
            .insert(inside(BLUE, last), service.into());
    };
    service(200, &[11, 12, 21], SessionAffinity::None);
    service(201, &[], SessionAffinity::None);
    service(202, &[21, 31], SessionAffinity::ClientIp);
    let mut port = |key: &str, lasts: &[u8], source, affinity| {
        let port = PublishedPort {
            target: Port(80),
            backends: backends(lasts),
            source,
            locality: Default::default(),
            affinity,
        };
        state.ports.insert(key.parse().unwrap(), port.into());
    };
    port(
        "tcp/8080",
        &[12, 21],
        Source::Preserve,
        SessionAffinity::None,
    );
    port(
        "udp/8080",
        &[12, 21],
        Source::Preserve,
        SessionAffinity::None,
    );
    port(
        "tcp/8081",
        &[31],
        Source::Masquerade,
        SessionAffinity::ClientIp,
    );
    port(
        "tcp/172.31.0.11:8082",
        &[11],
        Source::Preserve,
        SessionAffinity::None,
    );
    state
}

/// A node as an engine with iptables leaves it, programmed, where one task has said something.
fn programmed(state: &State, on_bridges: bool) -> Namespace {
    let space = Namespace::new();
    space.ip("link add docker0 type bridge");
    space.ip("addr add 172.17.0.1/16 dev docker0");
    space.run("iptables -N DOCKER-USER");
    space.run("iptables -A DOCKER-USER -j RETURN");
    space.within(|| {
        let host = Linux::open().unwrap();
        let host = if on_bridges { host.on_bridges() } else { host };
        let mut agent = Agent::new(host, None).unwrap();
        agent.follow(Order::State(Box::new(state.clone())));
        assert_eq!(agent.report().trouble, None);
        space.ip("link add veth11 type veth peer name task11");
        space.ip("link set veth11 master skep4097");
        space.ip("link set veth11 up");
        space.ip("link set task11 up");
        let mac = Mac::of_container(inside(BLUE, 11));
        let seen = format!("bridge fdb add {mac} dev veth11 master static");
        let seen = Some(seen).filter(|_| !on_bridges);
        seen.iter().for_each(|line| drop(space.run(line)));
        agent.audit();
        // What it reads is what it wrote.
        agent.audit();
        assert!(agent.report().drift.is_empty(), "{:?}", agent.report());
    });
    space
}

/// The same, where overlays carry IPv6.
fn dual_example() -> State {
    let mut state = example();
    for (vni, network) in &mut state.networks {
        network.subnet6 = Some(format!("{}/64", inside6(*vni, 0)).parse().unwrap());
    }
    let members = [1, 2, 3].map(|index| (NodeIndex(index), [outside6(10 + index as u8)].into()));
    state.members6 = members.into_iter().collect();
    let port = state.ports.values().next().unwrap().clone();
    let key = "tcp/[2001:db8::b]:8083".parse().unwrap();
    state.ports.insert(key, port);
    state
}

#[test]
fn nft_prints_the_rules_of_a_node() {
    let families = ["ip", "bridge", "netdev"];
    prints(&example(), false, &families, "node.nft");
}

#[test]
fn nft_prints_the_rules_of_ipv6() {
    let families = ["ip6", "bridge", "netdev"];
    prints(&dual_example(), false, &families, "node6.nft");
}

#[test]
fn nft_prints_the_rules_of_bridges_on_kernels_without_a_fast_path() {
    let families = ["bridge"];
    prints(&dual_example(), true, &families, "bridges.nft");
}

fn prints(state: &State, on_bridges: bool, families: &[&str], golden: &str) {
    let space = programmed(state, on_bridges);
    let tables = families.iter();
    let tables = tables.map(|family| space.run(&format!("nft list table {family} skep")));
    let text = tables.collect::<String>();
    // `SKEP_GOLDEN=write` writes it, to be read before it is committed.
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/dataplane/golden")
        .join(golden);
    if std::env::var("SKEP_GOLDEN").is_ok_and(|what| what == "write") {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap());
}

#[test]
fn iptables_prints_our_rule_in_its_own_words() {
    let space = programmed(&example(), false);
    let rule = "-m connmark --mark 0x64000000/0xff000000 -j ACCEPT";
    let text = space.run("iptables -S DOCKER-USER");
    let expected = format!("-N DOCKER-USER\n-A DOCKER-USER {rule}\n-A DOCKER-USER -j RETURN\n");
    assert_eq!(text, expected);
    space.run(&format!("iptables -C DOCKER-USER {rule}"));
    space.run(&format!("iptables -D DOCKER-USER {rule}"));
}

#[test]
fn ip_prints_the_links_and_the_ways_back() {
    let space = programmed(&example(), false);
    let rules: Vec<String> = space
        .ip("rule")
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        rules,
        [
            "0: from all lookup local",
            "6300: not from all fwmark 0x64000000/0xff000000 goto 6399",
            "6301: from all fwmark 0x64000002/0xff00ffff lookup 1677721602",
            "6301: from all fwmark 0x64000003/0xff00ffff lookup 1677721603",
            "6399: from all nop",
            "32766: from all lookup main",
            "32767: from all lookup default",
        ]
    );
    let route = space.ip("route show table 1677721602");
    assert_eq!(
        route.trim(),
        "default via 169.254.64.2 dev skep4097 proto 100 onlink"
    );
    let device = space.ip("-d link show skepx4097");
    for word in [
        "vxlan id 4097 local 172.31.0.11",
        "nolearning",
        "proxy",
        "dstport 4789",
        "mtu 1450",
        "master skep4097",
        "learning off",
    ] {
        assert!(device.contains(word), "{word}: {device}");
    }
    let entries = space.run("bridge fdb show dev skepx4097");
    for (index, mac) in [
        (2, "0a:64:ac:1f:00:0c"),
        (3, "0a:64:ac:1f:00:0d"),
        (2, "02:42:0a:64:01:15"),
    ] {
        let node = node_address(index);
        assert!(
            entries.contains(&format!("{mac} dst {node} self permanent")),
            "{entries}"
        );
        assert!(
            entries.contains(&format!("{mac} master skep4097 static")),
            "{entries}"
        );
    }
    let neighbours = space.ip("neigh show dev skepx4097");
    let router = "0a:64:ac:1f:00:0b";
    let answers = [31, 200, 201, 202].map(|last| (last, router));
    for (last, mac) in answers.into_iter().chain([(21, "02:42:0a:64:01:15")]) {
        let line = format!("{} lladdr {mac} PERMANENT", inside(BLUE, last));
        assert!(neighbours.contains(&line), "{neighbours}");
    }
}

#[test]
fn a_thousand_services_are_one_look_and_one_batch() {
    let mut state = example();
    let network = state.networks.get_mut(&GREEN).unwrap();
    network.subnet = "10.100.16.0/20".parse().unwrap();
    network.gateway = Ipv4Addr::new(10, 100, 16, 1);
    let address = |third: u32, last: u32| Ipv4Addr::from(0x0a64_1000 + (third << 8) + last);
    for task in 0..100 {
        network.tasks.insert(address(1, task), NodeIndex(2));
    }
    for number in 0..1_000 {
        let backends = (0..10)
            .map(|task| address(1, (number + task) % 100))
            .collect();
        let service = VirtualAddress {
            backends,
            affinity: SessionAffinity::None,
        };
        state
            .virtual_addresses
            .insert(address(4, number), service.into());
    }
    let space = programmed(&state, false);
    let (tables, elements) = space.within(|| {
        let kernel = Linux::open().unwrap().look().unwrap();
        let tables = kernel.tables.into_values();
        let sets: Vec<_> = tables.flat_map(|table| table.sets).collect();
        (
            sets.len(),
            sets.iter()
                .map(|(_, set)| set.elements.len())
                .sum::<usize>(),
        )
    });
    assert!(
        tables > 10 && elements > 12_000,
        "{elements} elements in {tables} sets"
    );
}
