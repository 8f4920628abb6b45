//! What of a node's own stands in the way of overlays, and what strangers send: said, refused, and the rest goes on.

use crate::kernel::{tunnel, within};
use crate::networks::Place;
use crate::support::docker::docker;
use crate::support::fleet::Transport;
use crate::support::node::Node;
use crate::support::vxlan;
use crate::world::{World, until_soon};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

/// A task on each node that says over HTTP on which, in one network.
fn service(network: &str) -> String {
    format!(
        "{{replicas: 3, template: {{networks: [{network}], placement: {{maxReplicasPerNode: 1}}, container: {{\
         image: 'skep-test/busybox:1', stopSignal: SIGKILL, \
         command: [sh, -c, 'echo $SKEP_NODE >/tmp/index.html; httpd -f -p 80 -h /tmp']}}}}}}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clashes_is_refused_with_the_reason_and_strangers_are_dropped() {
    let mut world = World::new("network clashes", 3, Transport::Plain).await;
    world.start_manager("m1", &["--networks"]);
    world.nodes_are_ready().await;
    world.put("networks/default/fine", "{}").await;
    world.put_service("fine", &service("fine")).await;
    world.settled("fine", 3).await;
    world.all_hear("fine", "fine").await;

    strangers(&world).await;
    refused_at_once(&world).await;
    subnets(&world).await;
    device(&world).await;
}

/// Subnets that no node could have: they get no number.
async fn refused_at_once(world: &World) {
    let [a, b, c, _] = world.fleet.node(1).address.octets();
    world
        .put("networks/default/one", "{subnets: [10.90.0.0/16]}")
        .await;
    let allocated = ("Allocated", "True", "Allocated");
    world
        .condition_is("networks/default/one", "network", allocated)
        .await;
    for (subnet, reason, what) in [
        ("10.90.7.0/24".to_owned(), "SubnetTaken", "10.90.0.0/16"),
        (format!("{a}.{b}.{c}.0/25"), "SubnetHoldsNode", "n1"),
    ] {
        let value = format!("{{subnets: ['{subnet}']}}");
        world.put("networks/default/two", &value).await;
        let refused = ("Allocated", "False", reason);
        let said = world
            .condition_is("networks/default/two", "network", refused)
            .await;
        assert!(said.contains(&subnet) && said.contains(what), "{said}");
        world.delete("networks/default/two").await;
    }
    world.delete("networks/default/one").await;
    world.passed("a subnet of another network or around nodes is refused with the reason");
}

/// Subnets that single nodes have already: these refuse, the others have the network, until the reason is gone.
async fn subnets(world: &World) {
    let [a, b, c, _] = world.fleet.node(1).address.octets();
    let route = format!("ip route add 10.92.3.0/24 via {a}.{b}.{c}.1");
    for (number, subnet, begin, end, why) in [
        (
            2,
            "10.91.5.0/24",
            "docker network create --subnet 10.91.0.0/16 theirs",
            "docker network rm theirs",
            "10.91.5.0/24 overlaps 10.91.0.1/16 of br-",
        ),
        (
            3,
            "10.92.0.0/16",
            route.as_str(),
            "ip route del 10.92.3.0/24",
            "10.92.0.0/16 overlaps 10.92.3.0/24, to which the node has a route through eth0",
        ),
    ] {
        let node = world.fleet.node(number);
        on(node, begin).await;
        let value = format!("{{subnets: [{subnet}]}}");
        world.put("networks/default/late", &value).await;
        world.put_service("late", &service("late")).await;
        refuses(world, node, why).await;
        on(node, end).await;
        heals(world).await;
        world.passed(&format!(
            "a node that has a subnet itself says so, and has the network once it has not: {begin}"
        ));
    }
}

/// Runs a command on a node: of docker against its engine, else in its network.
async fn on(node: &Node, line: &str) {
    match line.strip_prefix("docker ") {
        Some(rest) => {
            let words: Vec<&str> = rest.split(' ').collect();
            node.docker(&words).await;
        }
        None => drop(within(node, line).await),
    }
}

/// Waits until a node has no task of `late` and says why, and the others have theirs.
async fn refuses(world: &World, node: &Node, why: &str) {
    let refused = ("Available", "False", "NodesRefuse");
    let said = world
        .condition_is("networks/default/late", "network", refused)
        .await;
    let expected = format!("{}: {why}", node.name);
    assert!(said.contains(&expected), "{said}");
    let object = format!("nodes/{}", node.name);
    let refused = ("DataplaneReady", "False", "NetworksRefused");
    let said = world.condition_is(&object, "task", refused).await;
    assert!(said.contains(why), "{said}");
    let others = until_soon("the other nodes have their tasks", async || {
        let running = world.containers("late").await;
        let running: Vec<_> = running.into_iter().filter(|one| one.is_running).collect();
        (running.len() == 2).then_some(running)
    })
    .await;
    assert!(
        others.iter().all(|one| one.node != node.name),
        "rule C8: {others:?}"
    );
    until_soon("`skep why` says it too", async || {
        let (code, said) = world.skep(&["why", "late"]).await;
        (code == 0 && said.contains(why)).then_some(())
    })
    .await;
    world.all_hear("late", "late").await;
    world.all_hear("fine", "fine").await;
}

/// Waits until all nodes have `late`, and removes it.
async fn heals(world: &World) {
    world.settled("late", 3).await;
    world.all_hear("late", "late").await;
    let provided = ("Available", "True", "Provided");
    world
        .condition_is("networks/default/late", "network", provided)
        .await;
    world.remove_service("late").await;
    world.delete("networks/default/late").await;
    until_soon("the network is gone", async || {
        let record = world.etcd.get("/skep/accepted/networks/default/late").await;
        record.is_none().then_some(())
    })
    .await;
}

/// Another VXLAN device has a network's number and port on one node.
async fn device(world: &World) {
    world.put("networks/default/late", "{}").await;
    let allocated = ("Allocated", "True", "Allocated");
    let said = world
        .condition_is("networks/default/late", "network", allocated)
        .await;
    let vni = said
        .strip_prefix("VNI ")
        .and_then(|rest| rest.split(',').next());
    let vni = vni.expect("it says its number").to_owned();
    let node = world.fleet.node(1);
    let foreign = format!(
        "ip link add theirs type vxlan id {vni} dstport 4789 local {}",
        node.address
    );
    within(node, &foreign).await;
    world.put_service("late", &service("late")).await;
    let why = format!("the VXLAN device theirs has its number {vni} and port 4789");
    refuses(world, node, &why).await;
    within(node, "ip link del theirs").await;
    heals(world).await;
    world.passed("a VXLAN device of somebody else is said with its name, and the network is there once it is not");
}

/// How often a stranger and a member send.
const ROUNDS: usize = 10;

/// Somebody who is no node sends a datagram into an overlay, as a node would.
async fn strangers(world: &World) {
    let places = world.places("fine").await;
    let target = places.iter().find(|place| place.node == "n1");
    let target = target.expect("a task is on each node");
    let from = places.iter().find(|place| place.node == "n2");
    let from = from.expect("a task is on each node").address;
    let node = world.fleet.node(1);
    let device = tunnel(node).await;
    let vni: u32 = device
        .trim_start_matches("skepx")
        .parse()
        .expect("its name holds its number");
    let shown = within(node, &format!("ip -o link show {device}")).await;
    let router = mac(shown.rsplit("link/ether ").next().unwrap_or_default());
    let listener = socket(&task_space(node, target).await, 9_000);
    listener
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("it is a socket");
    let member = space(world.fleet.node(2)).await;
    // In turn, so that what a stranger sends would arrive among what a member does, and before the last of it.
    for _ in 0..ROUNDS {
        for (who, own) in [("stranger", "/proc/self/ns/net"), ("member", &member)] {
            let bytes = vxlan::frame(vni, router, from, target.address, who.as_bytes());
            let sent = socket(own, 0).send_to(&bytes, (node.address, 4_789));
            sent.expect("UDP takes it");
        }
    }
    for _ in 0..ROUNDS {
        let mut buffer = [0; 64];
        let length = listener
            .recv(&mut buffer)
            .expect("what a member sends arrives");
        assert_eq!(
            &buffer[..length],
            b"member",
            "what a stranger sends does not"
        );
    }
    world.passed("VXLAN from a stranger is dropped, and from a member it arrives");
}

/// The hardware address that a text begins with.
fn mac(text: &str) -> [u8; 6] {
    let word = text.split(' ').next().unwrap_or_default();
    let bytes = word.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let bytes: Result<Vec<u8>, _> = bytes.collect();
    let bytes = bytes.unwrap_or_else(|error| panic!("{word}: {error}"));
    bytes
        .try_into()
        .unwrap_or_else(|_| panic!("{word} is no hardware address"))
}

/// A node's network namespace.
async fn space(node: &Node) -> String {
    let pid = ["inspect", "--format", "{{.State.Pid}}", &node.container];
    format!("/proc/{}/ns/net", docker(&pid).await)
}

/// The network namespace of a task, by the processes as its node counts them.
async fn task_space(node: &Node, task: &Place) -> String {
    let pid = ["inspect", "--format", "{{.State.Pid}}"];
    let own = docker(&[&pid[..], &[&node.container]].concat()).await;
    let of_task = node.docker(&[&pid[..], &[&task.container]].concat()).await;
    let root = format!("/proc/{own}/root");
    format!("{root}/proc/{of_task}/ns/net")
}

/// A UDP socket in a network namespace.
fn socket(space: &str, port: u16) -> UdpSocket {
    let space = File::open(space).unwrap_or_else(|error| panic!("{space}: {error}"));
    // A thread is in one namespace, and this one stays where it is.
    let bound = std::thread::spawn(move || {
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("root may enter it");
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).expect("the port is free")
    });
    bound.join().expect("it can be bound")
}
