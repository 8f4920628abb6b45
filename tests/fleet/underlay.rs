//! What nodes have of their own, and networks are laid over: programs that listen, links with their own largest packets.

use crate::ingress::{ask, port, spec};
use crate::support::fleet::Transport;
use crate::support::node::Node;
use crate::world::{World, until_soon};
use std::collections::BTreeSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Runs a web server in the node's own network, on the port that the service publishes.
async fn run_program(node: &Node) {
    let script = "mkdir -p /tmp/cgi-bin; cd /tmp/cgi-bin; \
        echo '#!/bin/sh' >who; echo echo >>who; echo 'echo program of the node' >>who; chmod 755 who; \
        exec httpd -f -p 8080 -h /tmp";
    let image = "skep-test/busybox:1";
    let run = ["run", "--detach", "--name", "program", "--network", "host"];
    let command = [image, "sh", "-c", script];
    node.docker(&[&run[..], &command].concat()).await;
}

/// Where nodes tell of the service's health.
const HEALTH: u16 = 30_999;

/// What a node says of the service's health.
async fn health(node: &Node) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((node.address, HEALTH)).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await?;
    Ok(said)
}

/// The largest packets of a node's VXLAN devices.
async fn tunnels(node: &Node) -> BTreeSet<String> {
    let listed = node.exec("ip -o link | grep skepx").await;
    let mtu = |line: &str| {
        let after = line.split_once("mtu ")?.1;
        after.split_whitespace().next().map(str::to_owned)
    };
    listed.lines().filter_map(mtu).collect()
}

impl World {
    /// Waits until a node says this of the service's health.
    async fn says(&self, node: &Node, status: &str, words: &str) {
        let what = format!("{} says {status} and {words}", node.name);
        let mut last = String::new();
        until_soon(&what, async || {
            let said = health(node).await.unwrap_or_else(|error| error.to_string());
            if said != last {
                eprintln!("    {}: {}", node.name, said.replace("\r\n", " "));
                last.clone_from(&said);
            }
            (said.starts_with(&format!("HTTP/1.1 {status}")) && said.contains(words)).then_some(())
        })
        .await;
    }

    async fn ports_are(&self, truth: &str, reason: &str, words: &str) {
        let what = format!("PortsReady is {truth}/{reason} and says {words:?}");
        let mut last = String::new();
        until_soon(&what, async || {
            let said = ("PortsReady", truth, reason);
            let message = self
                .condition_is("services/default/web", "network", said)
                .await;
            if message != last {
                eprintln!("    {message}");
                last.clone_from(&message);
            }
            message.contains(words).then_some(())
        })
        .await;
    }

    /// Waits until networks carry packets of this size on all nodes.
    async fn carry(&self, mtu: &str) {
        for node in &self.fleet.nodes {
            let what = format!("the tunnels of {} carry {mtu} bytes", node.name);
            let expected = BTreeSet::from([mtu.to_owned()]);
            until_soon(&what, async || {
                (tunnels(node).await == expected).then_some(())
            })
            .await;
        }
        let (code, text) = self.skep(&["describe", "network", "default"]).await;
        assert!(
            code == 0 && text.contains(&format!("{mtu} (of the nodes' links)")),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_of_nodes_keep_their_ports_and_links_say_how_large_packets_are() {
    let mut world = World::new("underlay", 3, Transport::Plain).await;
    world.start_manager("m1", &["--networks"]);
    world.nodes_are_ready().await;
    let node = world.fleet.node(2).clone();
    run_program(&node).await;
    let with_health = |replicas| {
        let spec = spec(1, replicas);
        spec.replacen('{', &format!("{{healthPort: {HEALTH}, "), 1)
    };
    world.put_service("web", &with_health(2)).await;
    world.settled("web", 2).await;
    let why = format!("{}: a program of the node listens on 8080/tcp", node.name);
    world.ports_are("False", "Partial", &why).await;
    for _ in 0..10 {
        let (said, _) = ask(port(&node)).await.expect("the program answers");
        assert_eq!(said, "program of the node");
    }
    for other in world
        .fleet
        .nodes
        .iter()
        .filter(|other| other.name != node.name)
    {
        let what = format!("port 8080 of {} leads to tasks", other.name);
        until_soon(&what, async || ask(port(other)).await.ok()).await;
    }
    let (_, described) = world.skep(&["describe", "node", &node.name]).await;
    assert!(
        described.contains("programs listen on 8080/tcp"),
        "{described}"
    );
    world.passed("a program of a node keeps its port, and the service is told of the node");
    for other in &world.fleet.nodes {
        match other.name == node.name {
            true => world.says(other, "503", "\"closed\":[\"tcp/8080\"]").await,
            false => {
                world
                    .says(other, "200", "\"serves\":true,\"tasks\":2")
                    .await
            }
        }
    }

    node.docker(&["rm", "--force", "program"]).await;
    world.ports_are("True", "Provided", "8080/tcp").await;
    let what = format!("port 8080 of {} leads to tasks", node.name);
    until_soon(&what, async || {
        let said = ask(port(&node)).await.ok()?;
        (said.0 != "program of the node").then_some(())
    })
    .await;
    world
        .says(&node, "200", "\"serves\":true,\"tasks\":2")
        .await;
    world.passed("once the program has ended the node leads to tasks as well, and says so");

    for node in &world.fleet.nodes {
        let image = "skep-test/busybox:1";
        let stranger = ["run", "--rm", "--network", "default_default", image, "true"];
        let joined = node.try_docker(&stranger).await;
        let refused = joined.expect_err("a stranger does not join");
        eprintln!("    {} ({}): {refused}", node.name, node.version);
        assert!(refused.contains("no available IPv4 addresses"), "{refused}");
    }
    world.passed("a container that is no task does not get into a network that is not attachable");

    world.carry("1450").await;
    let option = "{{index .Options \"com.docker.network.driver.mtu\"}}";
    let inspect = ["network", "inspect", "--format", option, "default_default"];
    for node in &world.fleet.nodes {
        assert_eq!(node.docker(&inspect).await, "1450", "{}", node.name);
    }
    let link = format!(
        "$(ip -o -4 addr | grep ' {}/' | cut -d' ' -f2)",
        node.address
    );
    node.exec(&format!("ip link set {link} mtu 1400")).await;
    world.carry("1350").await;
    node.exec(&format!("ip link set {link} mtu 1500")).await;
    world.carry("1450").await;
    world.passed("networks carry what the least link carries, the same on all nodes");

    let agent = ["rm", "--force", "skep-agent"];
    let other = ["create", "--name", "skep-agent", "skep-test/busybox:1"];
    until_soon("something else has the agent's name", async || {
        node.try_docker(&agent).await.ok();
        node.try_docker(&other).await.ok()
    })
    .await;
    world
        .ports_are("False", "Partial", &format!("{}: ", node.name))
        .await;
    node.docker(&agent).await;
    world.ports_are("True", "Provided", "8080/tcp").await;
    world.passed("a service is told of a node whose agent is lost later");

    world.put_service("web", &with_health(0)).await;
    for node in &world.fleet.nodes {
        world.says(node, "503", "\"tasks\":0").await;
    }
    world.passed("nodes say where a service has nobody to lead to");
    world.remove_service("web").await;
}
