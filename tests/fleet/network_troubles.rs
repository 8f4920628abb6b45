//! What happens to engines, nodes, managers and kernels under overlays in use, and that connections work again.

use crate::ingress::{ask, port};
use crate::kernel::{bridge_of, handed_on, tunnel, within};
use crate::networks::Place;
use crate::support::fleet::Transport;
use crate::support::image::BUSYBOX;
use crate::support::node::Node;
use crate::world::{SLEEP, World, until_soon};
use skep::api::cluster::Manager;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A task on each node that says over HTTP on which, and at `/cgi-bin/who` who asks as well; published as 8080.
pub(crate) const WEB: &str = r#"{replicas: 3, ports: ['8080:80'], template: {placement: {maxReplicasPerNode: 1},
    container: {image: 'skep-test/busybox:1', stopSignal: SIGKILL, command: [sh, -c, "mkdir -p /tmp/cgi-bin; cd /tmp;
    echo $SKEP_NODE >index.html; echo '#!/bin/sh' >cgi-bin/who; echo echo >>cgi-bin/who;
    echo 'echo $SKEP_NODE $REMOTE_ADDR' >>cgi-bin/who; chmod 755 cgi-bin/who; exec httpd -f -p 80 -h /tmp"]}}}"#;

/// The names of all nodes.
fn all(world: &World) -> BTreeSet<String> {
    let nodes = world.fleet.nodes.iter();
    nodes.map(|node| node.name.clone()).collect()
}

impl World {
    /// Waits until `web` has its three tasks, all that leads to them does, and kernels hold this and nothing beside.
    pub(crate) async fn web_works(&self) {
        self.settled("web", 3).await;
        self.kernels_are_right(&["web"]).await;
        self.leads_to(&all(self)).await;
        self.all_hear("web", "web").await;
        for place in self.places("web").await {
            self.balances(&place, "web", 3).await;
        }
        for node in &self.fleet.nodes {
            let object = format!("nodes/{}", node.name);
            let ready = ("DataplaneReady", "True", "Programmed");
            self.condition_is(&object, "task", ready).await;
            let agents = ["ps", "-aq", "--filter", "name=skep-agent"];
            let agents = node.docker(&agents).await;
            assert_eq!(agents.lines().count(), 1, "{}: {agents}", node.name);
            let what = format!("frames are handed straight to the task of {}", node.name);
            until_soon(&what, async || {
                (handed_on(node, "veth").await == 1).then_some(())
            })
            .await;
        }
    }

    /// Waits until a node's port is answered by tasks on exactly these nodes.
    async fn port_finds(&self, node: &Node, on: &[&str]) {
        let what = format!("port 8080 of {} finds {on:?}", node.name);
        let mut heard = BTreeSet::new();
        until_soon(&what, async || {
            if let Ok((said, _)) = ask(port(node)).await {
                heard.extend(said.split(' ').next().map(str::to_owned));
            }
            heard
                .iter()
                .map(String::as_str)
                .eq(on.iter().copied())
                .then_some(())
        })
        .await;
    }

    /// How often agents mended something of a kind, as the manager counts it.
    pub(crate) async fn drift(&self, kind: &str) -> u64 {
        let managers: BTreeMap<String, Manager> = self.records("/skep/managers/").await;
        let manager = managers.into_values().find_map(|manager| manager.metrics);
        let address = manager.expect("the manager says where its metrics are");
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = b"GET /metrics HTTP/1.0\r\n\r\n";
        stream.write_all(request).await.expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("it answers");
        let line = format!("skep_dataplane_drift_total{{kind=\"{kind}\"}} ");
        let value = text.lines().find_map(|one| one.strip_prefix(&line));
        value.map_or(0, |value| value.parse().expect("a counter"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn networks_outlive_what_happens_to_kernels_engines_nodes_and_managers() {
    let mut world = World::new("network troubles", 3, Transport::Plain).await;
    world.start_manager("m1", &["--networks"]);
    world.nodes_are_ready().await;
    world.put_service("web", WEB).await;
    world.web_works().await;

    hands(&world).await;
    engines(&world).await;
    agents(&world).await;
    partition(&world).await;
    manager_away(&mut world).await;
    another_address(&mut world).await;
    live_restore(&world).await;
}

/// Somebody changes kernels by hand.
async fn hands(world: &World) {
    let tunnel = tunnel(world.fleet.node(1)).await;
    let bridge = bridge_of(&tunnel);
    let changes = [
        ("nftables", "nft delete table ip skep".to_owned()),
        ("nftables", "nft flush table bridge skep".to_owned()),
        ("nftables", "nft delete table netdev skep".to_owned()),
        ("nftables", "iptables -F DOCKER-USER".to_owned()),
        ("nftables", "iptables -I DOCKER-USER -j RETURN; iptables -D DOCKER-USER -j RETURN; iptables -I DOCKER-USER -j RETURN".to_owned()),
        ("neighbour", format!("ip neigh flush dev {bridge} nud permanent")),
        ("link", format!("ip link del {tunnel}")),
        ("link", format!("ip link set {bridge} down")),
        ("rule", "ip rule del pref 6301".to_owned()),
    ];
    // A change for each node in turn, so that each engine has met some and the kinds are many.
    for (number, (kind, line)) in changes.iter().enumerate() {
        let node = world.fleet.node(number % 3 + 1);
        let before = world.drift(kind).await;
        node.exec(line).await;
        until_soon(&format!("{line:?} is mended and counted"), async || {
            (world.drift(kind).await > before).then_some(())
        })
        .await;
    }
    // The RETURN goes with the next flush of somebody; our rule stands before it.
    let flushed = world.fleet.node(1);
    flushed.exec("iptables -F DOCKER-USER").await;
    world.web_works().await;
    world.passed("what hands change in a node's kernel is mended and counted");

    // The engine's own rules go too, and only its restart brings them back.
    let before = world.drift("nftables").await;
    let node = world.fleet.node(2);
    node.exec("nft flush ruleset").await;
    until_soon("flushed rules are mended and counted", async || {
        (world.drift("nftables").await > before).then_some(())
    })
    .await;
    world.port_finds(node, &["n1", "n2", "n3"]).await;
    for node in &world.fleet.nodes {
        restart(node, "TERM").await;
    }
    world.nodes_are_ready().await;
    world.web_works().await;
    world.passed(
        "a flush of all rules is mended and counted, and all engines are restarted in order",
    );
}

/// Engines of all versions are killed and start again.
async fn engines(world: &World) {
    for node in &world.fleet.nodes {
        let before = world.settled("web", 3).await;
        restart(node, "KILL").await;
        world.node_is(&node.name, "ready", "").await;
        let after = world.settled("web", 3).await;
        for one in before.values().filter(|one| one.node != node.name) {
            assert!(
                after.values().any(|now| now == one),
                "others go on: {one:?}"
            );
        }
        world.web_works().await;
        world.passed(&format!(
            "Engine {} is killed and starts again",
            node.version
        ));
    }
}

/// Ends a node's engine with a signal, and waits until the node has started it again.
pub(crate) async fn restart(node: &Node, signal: &str) {
    let before = node.exec("cat /run/engine").await;
    node.exec(&format!("kill -{signal} {before}")).await;
    until_soon("the engine is back", async || {
        let now = node.exec("cat /run/engine").await;
        (now != before && node.engine_version().await.is_some()).then_some(())
    })
    .await;
}

/// Agents are killed again and again while much changes.
async fn agents(world: &World) {
    let more = |replicas: usize| {
        format!(
            "{{replicas: {replicas}, update: {{monitor: 100ms}}, template: {{container: {SLEEP}}}}}"
        )
    };
    for replicas in [6, 1, 9] {
        world.put_service("more", &more(replicas)).await;
        // Each takes a moment, so that they die at different steps of the change.
        for node in &world.fleet.nodes {
            kill_agent(node).await;
        }
    }
    world.settled("more", 9).await;
    world.kernels_are_right(&["web", "more"]).await;
    world.remove_service("more").await;
    world.web_works().await;
    world.passed("agents are killed while tasks come and go");
}

/// `kill -9` of a node's agent, and waits until its engine has started it again.
async fn kill_agent(node: &Node) {
    let pid = ["inspect", "--format", "{{.State.Pid}}", "skep-agent"];
    let agent = node.docker(&pid).await;
    node.exec(&format!("kill -9 {agent}")).await;
    until_soon("the agent runs again", async || {
        let now = node.docker(&pid).await;
        (now != agent && now != "0").then_some(())
    })
    .await;
}

/// The task on a node.
fn on<'a>(places: &'a [Place], node: &str) -> &'a Place {
    let mut places = places.iter();
    let found = places.find(|place| place.node == node);
    found.expect("a task is on each node")
}

/// Two nodes lose each other; the manager reaches both.
async fn partition(world: &World) {
    let (one, other) = (world.fleet.node(1), world.fleet.node(2));
    let before = world.settled("web", 3).await;
    let cut = format!(
        "nft 'add table ip cut; add chain ip cut in {{ type filter hook prerouting priority -350; }}; \
         add rule ip cut in ip saddr {} drop'",
        other.address
    );
    within(one, &cut).await;
    let places = world.places("web").await;
    let on = |name: &str| on(&places, name);
    let across = world.ask(on("n1"), on("n2").address).await;
    assert!(
        across.is_err(),
        "n1 and n2 have lost each other: {across:?}"
    );
    for (from, to) in [("n1", "n3"), ("n3", "n1"), ("n2", "n3"), ("n3", "n2")] {
        let heard = world.ask(on(from), on(to).address).await;
        assert_eq!(heard.as_deref().map(str::trim), Ok(to), "from {from}");
    }
    let during = world.settled("web", 3).await;
    assert_eq!(during, before, "no task is replaced");
    // What changes meanwhile is known on both sides of the cut.
    other.docker(&["kill", &on("n2").container]).await;
    let changed = until_soon("the task of n2 has been replaced", async || {
        let now = world.settled("web", 3).await;
        (now != before).then_some(now)
    })
    .await;
    world.kernels_are_right(&["web"]).await;
    within(one, "nft delete table ip cut").await;
    world.web_works().await;
    let after = world.settled("web", 3).await;
    assert_eq!(after, changed, "no task is replaced");
    world.passed("two nodes lose each other, and find each other again");
}

/// The manager is away while tasks and agents die and a node is rebooted.
async fn manager_away(world: &mut World) {
    let places = world.places("web").await;
    let on = |name: &str| on(&places, name);
    world.kill_manager("m1");
    let (first, second, third) = (
        world.fleet.node(1),
        world.fleet.node(2),
        world.fleet.node(3),
    );

    for _ in 0..3 {
        let before = stable(second).await;
        kill_agent(second).await;
        assert_eq!(stable(second).await, before, "it finds all as it left it");
    }
    world.port_finds(second, &["n1", "n2", "n3"]).await;
    world.passed("without a manager an agent is killed, comes back, and changes nothing");

    // Two of three tasks die: with nobody to say so they stay in the tables, and the third is found all the same.
    first.docker(&["kill", &on("n1").container]).await;
    let policy = ["inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}"];
    let of = async |name: &str| third.docker(&[&policy[..], &[name]].concat()).await;
    assert_eq!(of(&on("n3").container).await, "no", "rule C7");
    assert_eq!(of("skep-agent").await, "always", "rule C7");
    third.stop().await;
    third.start().await;
    until_soon("the agent has restored the kernel", async || {
        (!tunnel(third).await.is_empty()).then_some(())
    })
    .await;
    world.port_finds(third, &["n2"]).await;
    let listed = world.containers("web").await;
    let running: Vec<&str> = listed
        .iter()
        .filter(|one| one.is_running)
        .map(|one| one.node.as_str())
        .collect();
    assert_eq!(running, ["n2"], "no task starts by itself: {listed:?}");
    world.passed("without a manager a rebooted node has its networks again, and no task starts");

    // A hand starts what ended: what leads to it is there.
    first.docker(&["start", &on("n1").container]).await;
    world.port_finds(third, &["n1", "n2"]).await;
    world.port_finds(first, &["n1", "n2"]).await;
    world.passed("without a manager a container that a hand starts is reached again");

    world.start_manager("m1", &["--networks"]);
    world.web_works().await;
    world.passed("a manager that was away finds everything, and all works again");
}

/// What agents see to on a node, in an order of its own.
async fn stable(node: &Node) -> String {
    let lines = "ip -o link | cut -d: -f2 | sort; ip rule; ip -4 route show table all | sort; \
        ip -4 neigh show nud permanent | sort; nft -s list table ip skep; nft -s list table bridge skep; \
        nft -s list table netdev skep; iptables -S DOCKER-USER";
    node.exec(lines).await
}

/// A node is found at another address.
async fn another_address(world: &mut World) {
    let old = world.fleet.node(3).address;
    let [a, b, c, _] = old.octets();
    let node = &mut world.fleet.nodes[2];
    node.disconnect().await;
    node.address = Ipv4Addr::new(a, b, c, 77);
    node.connect().await;
    node.ready().await;
    let node = world.fleet.node(3);
    world.put_node(node, "").await;
    world.node_is("n3", "ready", "").await;
    world.web_works().await;
    world.passed("a node that has another address is found again");
}

/// Engines that leave containers running while they are away put their own rules in another order.
async fn live_restore(world: &World) {
    for node in &world.fleet.nodes {
        let switch =
            "mkdir -p /etc/docker; echo '{\"live-restore\": true}' >/etc/docker/daemon.json";
        node.exec(switch).await;
        restart(node, "TERM").await;
    }
    world.web_works().await;
    for node in &world.fleet.nodes {
        let run = [
            "run", "--detach", "--name", "beside", BUSYBOX, "sleep", "1000000",
        ];
        node.docker(&run).await;
    }
    let before = world.settled("web", 3).await;
    for node in &world.fleet.nodes {
        restart(node, "TERM").await;
    }
    world.nodes_are_ready().await;
    world.web_works().await;
    let after = world.settled("web", 3).await;
    assert_eq!(after, before, "containers ran on");
    for node in &world.fleet.nodes {
        // Containers of the engine's own bridge use published ports as everybody does.
        let url = format!("http://{}:8080/", node.address);
        let ask = ["exec", "beside", "wget", "-q", "-O", "-", &url];
        let mut heard = BTreeSet::new();
        until_soon(
            &format!("a container of {} reaches all", node.name),
            async || {
                let asked =
                    tokio::time::timeout(Duration::from_secs(4), node.try_docker(&ask)).await;
                match asked {
                    Ok(Ok(said)) => drop(heard.insert(said)),
                    failed => eprintln!("    beside on {}: {failed:?}", node.name),
                }
                (heard.len() == 3).then_some(())
            },
        )
        .await;
    }
    world.passed("engines restart beside running containers, which lose nothing");
}
