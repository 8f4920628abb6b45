//! What goes wrong: strangers, hands, crashes, tasks that end, subnets that clash.

use super::cluster::{
    BLUE, Cluster, Form, GREEN, at, inside, inside6, node_address, outside, outside6,
};
use super::namespace::Namespace;
use super::traffic::{Talk, ask_udp, tcp};
use super::vxlan::frame;
use skep::dataplane::address::Mac;
use skep::dataplane::kernel::{bridge_name, tunnel_name};
use skep::dataplane::state::{NodeIndex, VirtualAddress, Vni};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

/// Two nodes with a task each, a service, and a published port, over both versions.
pub(crate) fn small() -> Cluster {
    let mut cluster = Cluster::of(Form::Fast, 2, true, true);
    cluster.start(BLUE, 11, 1);
    cluster.start(BLUE, 21, 2);
    cluster.serve(BLUE, 200, &[11, 21]);
    let backends = [inside(BLUE, 11), inside(BLUE, 21)];
    cluster.publish("tcp/8080", &backends);
    cluster.publish("udp/8080", &backends);
    cluster.settle();
    cluster.hand_on();
    cluster
}

/// Whether all that the small cluster has works.
pub(crate) fn works(cluster: &Cluster) {
    let (first, second) = (inside(BLUE, 11), inside(BLUE, 21));
    let reached = |from: &Namespace, to: IpAddr, port: u16| {
        let answer = tcp(from, at(to, port));
        answer
            .unwrap_or_else(|error| panic!("{to}:{port}: {error}"))
            .name
    };
    for (from, to, last) in [(first, second, 21), (second, first, 11)] {
        for at in [IpAddr::V4(to), inside6(BLUE, last).into()] {
            assert_eq!(reached(cluster.task(from), at, 80), to.to_string());
        }
    }
    let services: [IpAddr; 2] = [inside(BLUE, 200).into(), inside6(BLUE, 200).into()];
    let nodes = [1, 2].map(node_address).map(IpAddr::V4);
    let others = [11, 12].map(outside6).map(IpAddr::V6);
    for _ in 0..4 {
        for service in services {
            reached(cluster.task(first), service, 80);
        }
        for node in nodes.into_iter().chain(others) {
            reached(&cluster.client, node, 8080);
        }
    }
}

#[test]
fn only_members_send_vxlan() {
    let cluster = small();
    let stranger = Namespace::new();
    cluster.plug(&stranger, outside(66));
    let task = cluster.task(inside(BLUE, 11));
    let listener = task
        .within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 9_000)))
        .unwrap();
    listener
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let send = |from: &Namespace, text: &[u8]| {
        let router = Mac::of_router(node_address(1));
        let bytes = frame(BLUE.0, router.0, inside(BLUE, 21), inside(BLUE, 11), text);
        let socket = from
            .within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))
            .unwrap();
        socket.send_to(&bytes, (node_address(1), 4_789)).unwrap();
    };
    // The wire is in order: had the stranger's arrived, it would have been the first.
    send(&stranger, b"stranger");
    send(&cluster.node(2).space, b"member");
    let mut buffer = [0; 64];
    let length = listener.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"member");
}

#[test]
fn what_hands_change_is_mended_and_counted() {
    let mut cluster = small();
    let (bridge, tunnel) = (bridge_name(BLUE), tunnel_name(BLUE));
    let other = Mac::of_router(node_address(2));
    let task = Mac::of_container(inside(BLUE, 21));
    let by_hand = [
        ("link", format!("ip link del {tunnel}")),
        ("link", format!("ip link set {tunnel} nomaster")),
        (
            "link",
            format!("ip link set {bridge} address 02:00:00:00:00:01"),
        ),
        ("address", format!("ip addr flush dev {bridge}")),
        (
            "neighbour",
            format!("ip neigh flush dev {bridge} nud permanent"),
        ),
        (
            "neighbour",
            format!("ip neigh del {} dev {tunnel}", inside(BLUE, 21)),
        ),
        (
            "forwarding",
            format!("bridge fdb del {other} dev {tunnel} self"),
        ),
        (
            "forwarding",
            format!("bridge fdb del {other} dev {tunnel} master"),
        ),
        (
            "forwarding",
            format!("bridge fdb del {task} dev {tunnel} self"),
        ),
        (
            "forwarding",
            format!("bridge fdb del {task} dev {tunnel} master"),
        ),
        (
            "nftables",
            format!(
                "nft delete element netdev skep bridged {{ {} }}",
                inside(BLUE, 21)
            ),
        ),
        ("rule", "ip rule del pref 6301".to_owned()),
        ("route", "ip route flush table 1677721602".to_owned()),
        (
            "setting",
            format!("set ipv4/conf/{bridge}/route_localnet 0"),
        ),
        ("setting", "set ipv4/ip_forward 0".to_owned()),
        ("nftables", "nft delete table ip skep".to_owned()),
        ("nftables", "nft delete table bridge skep".to_owned()),
        ("nftables", "nft delete table netdev skep".to_owned()),
        (
            "nftables",
            "nft flush chain netdev skep frames_4097".to_owned(),
        ),
        (
            "nftables",
            format!("nft delete chain netdev skep out_{tunnel}"),
        ),
        (
            "nftables",
            format!("nft delete element netdev skep away_4097 {{ {task} }}"),
        ),
        ("nftables", "nft flush chain ip skep pre_nat".to_owned()),
        (
            "nftables",
            "nft insert rule ip skep forward drop".to_owned(),
        ),
        (
            "nftables",
            format!(
                "nft delete element ip skep services {{ {} }}",
                inside(BLUE, 200)
            ),
        ),
        ("nftables", "nft delete table ip6 skep".to_owned()),
        (
            "nftables",
            format!(
                "nft delete element netdev skep bridged6 {{ {} }}",
                inside6(BLUE, 21)
            ),
        ),
        ("nftables", "ip6tables -F DOCKER-USER".to_owned()),
        (
            "neighbour",
            format!("ip neigh del {} dev {tunnel}", inside6(BLUE, 21)),
        ),
        ("rule", "ip -6 rule del pref 6301".to_owned()),
        ("route", "ip -6 route flush table 1677721602".to_owned()),
        ("address", format!("ip -6 addr flush dev {bridge}")),
        // It takes addresses, neighbours and routes along.
        ("setting", format!("set ipv6/conf/{bridge}/disable_ipv6 1")),
        ("setting", "set ipv6/conf/all/forwarding 0".to_owned()),
        ("nftables", "iptables -F DOCKER-USER".to_owned()),
        ("nftables", "iptables -I DOCKER-USER -j RETURN".to_owned()),
        // As engines 20.10 and 26 do with live-restore.
        (
            "nftables",
            "iptables -I FORWARD -j DOCKER-ISOLATION".to_owned(),
        ),
    ];
    cluster.node(1).space.run("iptables -N DOCKER-ISOLATION");
    for (kind, line) in by_hand {
        let before = cluster.node(1).drift(kind);
        let space = &cluster.node(1).space;
        match line
            .strip_prefix("set ")
            .and_then(|rest| rest.split_once(' '))
        {
            Some((path, value)) => space.set(path, value),
            None => drop(space.run(&line)),
        }
        cluster.nodes[0].until(&line, |report| {
            report.drift.get(kind).copied().unwrap_or(0) > before && report.trouble.is_none()
        });
        works(&cluster);
    }
    // The engine knows its jump in the place where it put it itself.
    let space = &cluster.node(1).space;
    space.run("iptables -C FORWARD -j DOCKER-USER");
    let forward = space.run("iptables -S FORWARD");
    let first = forward.lines().find(|line| line.starts_with("-A"));
    assert_eq!(first, Some("-A FORWARD -j DOCKER-USER"), "{forward}");
}

#[test]
fn removal_leaves_what_was_found() {
    let mut cluster = small();
    works(&cluster);
    for last in [11, 21] {
        cluster.unplug(BLUE, last);
    }
    for node in &mut cluster.nodes {
        let before = node.before.clone();
        assert_ne!(super::cluster::snapshot(&node.space), before);
        node.remove();
        assert_eq!(super::cluster::snapshot(&node.space), before);
    }
}

#[test]
fn the_last_state_is_restored_without_anybody() {
    let mut cluster = small();
    cluster.nodes[0].kill();
    // As after a reboot; docker makes the bridge again, with an address of its own choice, before the agent runs.
    let space = &cluster.node(1).space;
    for vni in [BLUE, GREEN] {
        space.ip(&format!("link del {}", tunnel_name(vni)));
        let bridge = bridge_name(vni);
        space.ip(&format!(
            "link set {bridge} address 02:42:00:00:00:01 group 0"
        ));
    }
    space.run("nft delete table ip skep");
    space.run("nft delete table ip6 skep");
    space.run("nft delete table bridge skep");
    space.run("iptables -F DOCKER-USER");
    let revision = cluster.wanted.revision;
    cluster.nodes[0].start_alone();
    cluster.nodes[0].wait(revision);
    works(&cluster);
}

#[test]
fn connections_live_as_long_as_their_tasks() {
    let mut cluster = Cluster::new(2, true);
    let all = [11, 12, 21, 22];
    for last in all {
        cluster.start(BLUE, last, u16::from(last) / 10);
    }
    let service = cluster.serve(BLUE, 200, &all);
    let backends = all.map(|last| inside(BLUE, last));
    cluster.publish("tcp/8080", &backends);
    cluster.publish("udp/8080", &backends);
    cluster.start(BLUE, 13, 1);
    let mut talks = vec![
        Talk::open(&cluster.client, at(node_address(1), 8080)).unwrap(),
        Talk::open(&cluster.client, at(node_address(2), 8080)).unwrap(),
        Talk::open(cluster.task(inside(BLUE, 13)), at(service, 80)).unwrap(),
    ];
    let datagrams = cluster
        .client
        .within(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))
        .unwrap();
    datagrams.connect(at(node_address(1), 8080)).unwrap();
    let (served, _) = ask_udp(&datagrams, 10).unwrap();
    let mut partners: BTreeSet<String> = talks
        .iter_mut()
        .map(|talk| talk.ask().unwrap().name)
        .collect();
    let first: Vec<_> = talks.iter_mut().map(|talk| talk.ask().unwrap()).collect();
    partners.insert(served.name.clone());
    // Others come and go.
    let bystanders = all
        .iter()
        .filter(|last| !partners.contains(&inside(BLUE, **last).to_string()));
    for last in bystanders {
        cluster.stop(BLUE, *last);
    }
    cluster.start(BLUE, 23, 2);
    let behind = cluster.wanted.virtual_addresses.get_mut(&service);
    behind.unwrap().backends.insert(inside(BLUE, 23));
    for port in cluster.wanted.ports.values_mut() {
        port.backends.insert(inside(BLUE, 23));
    }
    cluster.settle();
    let again: Vec<_> = talks.iter_mut().map(|talk| talk.ask().unwrap()).collect();
    assert_eq!(again, first);
    assert_eq!(ask_udp(&datagrams, 10).unwrap().0, served);
    // Their own end.
    for partner in partners {
        let last = partner.rsplit('.').next().unwrap().parse().unwrap();
        cluster.stop(BLUE, last);
    }
    for talk in &mut talks {
        let end = talk.ask();
        assert!(end.is_err(), "somebody answered: {end:?}");
        let kind = end.unwrap_err().kind();
        // At once, not when patience ends.
        assert!(
            !matches!(
                kind,
                std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock
            ),
            "{kind:?}"
        );
    }
    assert_eq!(
        ask_udp(&datagrams, 10).unwrap().0.name,
        inside(BLUE, 23).to_string()
    );
}

#[test]
fn a_subnet_of_the_hosts_is_refused_and_the_rest_goes_on() {
    let mut cluster = small();
    let green = cluster.wanted.networks.get_mut(&GREEN).unwrap();
    green.subnet = "172.17.4.0/24".parse().unwrap();
    green.gateway = Ipv4Addr::new(172, 17, 4, 1);
    cluster.settle();
    for node in &cluster.nodes {
        let report = node.report().unwrap();
        assert_eq!(
            report.refused[&GREEN],
            "172.17.4.0/24 overlaps 172.17.0.1/16 of docker0"
        );
        let (is_there, _) = node
            .space
            .attempt(&format!("ip link show {}", bridge_name(GREEN)));
        assert!(!is_there);
    }
    works(&cluster);
}

#[test]
fn a_kernel_without_ipv6_has_the_networks_that_do_not_carry_it() {
    let mut cluster = Cluster::new(2, true);
    cluster.start(BLUE, 11, 1);
    cluster.start(BLUE, 21, 2);
    let green = cluster.wanted.networks.get_mut(&GREEN).unwrap();
    green.subnet6 = Some("fd00:2::/64".parse().unwrap());
    cluster.nodes[0].kill();
    cluster.nodes[0].start_without_ipv6();
    cluster.settle();
    let report = cluster.node(1).report().unwrap();
    assert_eq!(report.refused.len(), 1);
    let why = &report.refused[&GREEN];
    assert!(why.starts_with("the node's kernel has no IPv6"), "{why}");
    assert!(report.addresses6.is_empty());
    assert_eq!(
        cluster.node(2).report().unwrap().refused,
        Default::default()
    );
    let (first, second) = (inside(BLUE, 11), inside(BLUE, 21));
    for (from, to) in [(first, second), (second, first)] {
        let answer = tcp(cluster.task(from), at(to, 80)).unwrap();
        assert_eq!(answer.name, to.to_string());
    }
    let space = &cluster.node(1).space;
    let (has_table, _) = space.attempt("nft list table ip6 skep");
    assert!(!has_table && space.ip("-6 rule").lines().count() == 2);
}

#[test]
fn a_node_that_changes_its_address_is_found_again() {
    let mut cluster = small();
    let moved = outside(99);
    let space = &cluster.node(2).space;
    space.ip(&format!("addr del {}/24 dev eth0", node_address(2)));
    space.ip(&format!("addr add {moved}/24 dev eth0"));
    let index = cluster.node(2).index;
    cluster.wanted.members.insert(index, moved);
    cluster.settle();
    let (first, second) = (inside(BLUE, 11), inside(BLUE, 21));
    assert_eq!(
        tcp(cluster.task(first), at(second, 80)).unwrap().name,
        second.to_string()
    );
    assert_eq!(
        tcp(cluster.task(second), at(first, 80)).unwrap().name,
        first.to_string()
    );
    for _ in 0..8 {
        let answer = tcp(&cluster.client, at(moved, 8080)).unwrap();
        assert_eq!(answer.client, outside(50));
    }
}

/// How many services arrive at once, each with so many tasks.
const CROWD: (u16, u8) = (1_000, 10);

/// The virtual address of a service of the crowd.
fn crowd_service(service: u16) -> Ipv4Addr {
    let [high, low] = service.to_be_bytes();
    Ipv4Addr::new(10, 104, 200 + high, low)
}

/// A task of a service of the crowd: on both nodes in turn.
fn crowd_task(service: u16, task: u8) -> (Ipv4Addr, NodeIndex) {
    let [high, low] = (service * u16::from(CROWD.1) + u16::from(task) + 2).to_be_bytes();
    let node = NodeIndex(1 + u16::from(task % 2));
    (Ipv4Addr::new(10, 104, high, low), node)
}

/// A network of services, each with a virtual address and a published port. No task of theirs runs.
fn crowd(cluster: &mut Cluster) {
    let mut network = cluster.wanted.networks[&GREEN].clone();
    network.subnet = "10.104.0.0/16".parse().unwrap();
    network.gateway = Ipv4Addr::new(10, 104, 0, 1);
    network.subnet6 = None;
    for service in 0..CROWD.0 {
        let tasks: Vec<_> = (0..CROWD.1).map(|task| crowd_task(service, task)).collect();
        network.tasks.extend(tasks.iter().copied());
        let backends: Vec<Ipv4Addr> = tasks.iter().map(|(address, _)| *address).collect();
        cluster.publish(&format!("tcp/{}", 20_000 + service), &backends);
        let value = VirtualAddress {
            backends: backends.into_iter().collect(),
            ..VirtualAddress::default()
        };
        let address = crowd_service(service);
        cluster
            .wanted
            .virtual_addresses
            .insert(address, value.into());
    }
    cluster.wanted.networks.insert(Vni(4_200), network);
}

/// The time since this machine started.
fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(now).unwrap()
}

/// The elements of a map, as `nft` lists them, without blanks.
fn elements(space: &Namespace, map: &str) -> BTreeSet<String> {
    let text = space.run(&format!("nft list map ip skep {map}"));
    let (_, inside) = text.split_once("elements = {").expect("it has elements");
    let inside = inside.split('}').next().unwrap_or_default();
    let parts = inside
        .split(',')
        .map(|part| part.split_whitespace().collect());
    parts.collect()
}

#[test]
fn a_thousand_services_that_arrive_at_once_are_programmed_exactly() {
    let mut cluster = small();
    let before = elements(&cluster.node(1).space, "service_slots");
    crowd(&mut cluster);
    let start = since_boot();
    cluster.settle();
    let took = since_boot() - start;
    eprintln!("    {CROWD:?} services and tasks: on both nodes after {took:?}");
    let all = usize::from(CROWD.0) * usize::from(CROWD.1);
    let slots = elements(&cluster.node(1).space, "service_slots");
    assert_eq!(slots.len(), before.len() + all);
    let of_one = format!(".{}", crowd_service(499));
    let led = slots.iter().filter_map(|slot| slot.split_once(':'));
    let led = led.filter(|(key, _)| key.ends_with(&of_one));
    let led: BTreeSet<String> = led.map(|(_, to)| to.to_owned()).collect();
    let expected = (0..CROWD.1).map(|task| crowd_task(499, task).0.to_string());
    assert_eq!(led, expected.collect());
    // Listing takes longer than programming: the other map on the other node.
    let ports = elements(&cluster.node(2).space, "port_slots");
    assert_eq!(ports.len(), 4 + all);
    let bridge = bridge_name(Vni(4_200));
    for node in &cluster.nodes {
        let known = node
            .space
            .ip(&format!("neigh show dev {bridge} nud permanent"));
        // Half of the tasks are on the other node, which is known itself too.
        assert_eq!(known.lines().count(), all / 2 + 1);
        assert_eq!(node.report().unwrap().drift, Default::default());
    }
    works(&cluster);
    // And they go at once.
    cluster.wanted.networks.remove(&Vni(4_200));
    let is_crowd = |address: &Ipv4Addr| address.octets()[..2] == [10, 104];
    cluster
        .wanted
        .virtual_addresses
        .retain(|address, _| !is_crowd(address));
    cluster.wanted.ports.retain(|key, _| key.port.0 < 20_000);
    cluster.settle();
    assert_eq!(elements(&cluster.node(1).space, "service_slots"), before);
    works(&cluster);
}
