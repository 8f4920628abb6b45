//! Networks that carry IPv6, on engines of several versions: addresses, names, virtual addresses, published ports, the way out.

use crate::ingress;
use crate::networks::{Place, shown};
use crate::support::docker::docker;
use crate::support::fleet::Transport;
use crate::support::node::Node;
use crate::support::wait::until;
use crate::world::{SOON, World, until_soon};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::Command;

const IMAGE: &str = "skep-test/busybox:1";

/// The address of IPv6 on the fleet's own network: of a node by its number, or of this machine.
fn underlay(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0xf1ee, 0, 0, 0, 0, 0, number)
}

/// This machine's number there.
const OWN: u16 = 0xff;

/// Where tasks' addresses begin: `fd00:66::`, and as far behind it as that of IPv4 behind `10.66.0.0`.
fn goes_with(address: std::net::Ipv4Addr) -> Ipv6Addr {
    let [_, _, high, low] = address.octets();
    Ipv6Addr::new(0xfd00, 0x66, 0, 0, 0, 0, 0, u16::from_be_bytes([high, low]))
}

/// Gives the machine and the nodes addresses of IPv6 on the network that joins them, as a site has them beside those of IPv4.
async fn lay(world: &World) {
    let network = &world.fleet.nodes[0].network;
    let id = docker(&["network", "inspect", "--format", "{{.Id}}", network]).await;
    let bridge = format!("br-{}", &id[..12]);
    std::fs::write(
        format!("/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6"),
        "0",
    )
    .expect("root may");
    let added = Command::new("ip")
        .args(["addr", "add", &format!("{}/64", underlay(OWN))])
        .args(["dev", &bridge, "nodad"])
        .status();
    assert!(added.is_ok_and(|status| status.success()));
    for (number, node) in (1..).zip(&world.fleet.nodes) {
        let address = underlay(number);
        let line = format!(
            "echo 0 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6; ip addr add {address}/64 dev eth0"
        );
        node.exec(&line).await;
        // Nobody else has them, as the kernel finds out first.
        let mine = ["local fd00:f1ee::", "local fe80::"];
        until_soon("the addresses are the node's own", async || {
            let routes = node.exec("ip -6 route show table all").await;
            let has_all = mine.iter().all(|route| routes.contains(route));
            has_all.then_some(())
        })
        .await;
    }
}

/// The IPv6 of a node's kernel that could be ours.
async fn shown6(node: &Node) -> String {
    let kernel = "ip -6 addr show scope global; ip -6 rule; ip -6 route show table all | grep -v '^fe80\\|^ff00\\|^multicast' | sort; \
        cat /proc/sys/net/ipv6/conf/all/forwarding; ip6tables-save | grep ^-A | sort";
    node.exec(kernel).await
}

/// The address of IPv6 that an engine gave a container.
async fn address6(node: &Node, container: &str) -> Ipv6Addr {
    let format = "{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}";
    let said = node
        .docker(&["inspect", "--format", format, container])
        .await;
    said.trim()
        .parse()
        .unwrap_or_else(|_| panic!("{container} on {} has `{said}`", node.name))
}

impl World {
    /// What a task hears of a web server's script at an address.
    async fn asks_who(&self, from: &Place, host: &str) -> Result<String, String> {
        let url = format!("http://{host}/cgi-bin/who");
        let said = self.fetch(from, url).await?;
        Ok(said.trim().to_owned())
    }

    /// Waits until a task hears somebody at an address of IPv6, who sees the task's own.
    async fn sees(&self, from: &Place, to: Ipv6Addr, on: &str, own: Ipv6Addr) {
        let what = format!("{own} on {} hears {to} on {on}", from.node);
        let mut last = String::new();
        until_soon(&what, async || {
            let heard = self.asks_who(from, &format!("[{to}]")).await;
            let heard = heard.unwrap_or_else(|error| error);
            if heard != last {
                eprintln!("    {what}: {heard}");
                last.clone_from(&heard);
            }
            (heard == format!("{on} {own}") || heard == format!("{on} [{own}]")).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn networks_carry_ipv6_on_engines_of_several_versions_and_leave_no_trace() {
    let mut world = World::new("ipv6", 3, Transport::Plain).await;
    lay(&world).await;
    let mut before = Vec::new();
    for node in &world.fleet.nodes {
        before.push((shown(node).await, shown6(node).await));
    }
    world.start_manager("m1", &["--networks"]);
    world.nodes_are_ready().await;
    let network = "{ipv6: true, attachable: true, subnets: [10.66.0.0/16, 'fd00:66::/64']}";
    world.put("networks/default/front", network).await;
    let spec = ingress::spec(1, 3).replacen(
        "template: {",
        "template: {networks: [front], placement: {maxReplicasPerNode: 1}, ",
        1,
    );
    world.put_service("web", &spec).await;
    world.settled("web", 3).await;
    let places = world.places("web").await;
    assert_eq!(places.len(), 3);
    for place in &places {
        let found = address6(world.named(&place.node), &place.container).await;
        assert_eq!(found, goes_with(place.address), "{}", place.node);
    }
    world.passed("every engine gives tasks the addresses of IPv6 that go with those of IPv4");

    for from in &places {
        for to in places.iter().filter(|to| to.address != from.address) {
            let (own, there) = (goes_with(from.address), goes_with(to.address));
            world.sees(from, there, &to.node, own).await;
        }
    }
    world.passed("tasks reach each other over IPv6 across nodes, and see who asks");

    let web = world.virtual_address("web").await;
    let web6 = goes_with(web);
    for from in &places {
        let what = format!("{} reaches 3 nodes through {web6}", from.node);
        let mut heard = BTreeSet::new();
        until_soon(&what, async || {
            if let Ok(said) = world.asks_who(from, &format!("[{web6}]")).await {
                heard.extend(said.split_once(' ').map(|(on, _)| on.to_owned()));
            }
            (heard.len() == 3).then_some(())
        })
        .await;
        world
            .finds_both(from, "web", &[web.into(), web6.into()])
            .await;
        let tasks = places.iter().flat_map(|place| {
            let other = goes_with(place.address);
            [IpAddr::V4(place.address), IpAddr::V6(other)]
        });
        let tasks: Vec<IpAddr> = tasks.collect();
        world.finds_both(from, "tasks.web", &tasks).await;
    }
    world.passed("services have virtual addresses of IPv6, and names lead to both versions");

    let on = world.nodes_of("web").await;
    world.leads_to(&on).await;
    for number in 1..=3 {
        ingress::leads_to(SocketAddr::new(underlay(number).into(), 8080), &on).await;
    }
    // A node's own programs, and those of another, whose task may be on the node that asks.
    for node in &world.fleet.nodes {
        for number in 1..=3 {
            let url = format!("http://[{}]:8080/cgi-bin/who", underlay(number));
            // Not by wget's own -T, at which the static busybox crashes.
            let asks =
                format!("for i in 1 2 3 4 5 6; do timeout 10 wget -q -O - '{url}' || exit 1; done");
            let run = ["run", "--rm", "--network", "host", IMAGE, "sh", "-c", &asks];
            let said = node.docker(&run).await;
            let heard = said.lines().filter(|line| line.starts_with('n')).count();
            assert_eq!(heard, 6, "{} asks {url}: {said}", node.name);
        }
    }
    world.passed(
        "published ports answer on nodes' addresses of IPv6, and tasks see the client's own",
    );

    let node = world.fleet.node(2);
    until_soon("the engine has the network", async || {
        node.try_docker(&["network", "inspect", "front"]).await.ok()
    })
    .await;
    let run = [
        "run",
        "--detach",
        "--name",
        "db",
        "--network",
        "front",
        IMAGE,
    ];
    let server = "mkdir -p /tmp/cgi-bin; cd /tmp/cgi-bin; echo '#!/bin/sh' >who; echo echo >>who; \
        echo 'echo db $REMOTE_ADDR' >>who; chmod 755 who; exec httpd -f -p 80 -h /tmp";
    let container = node
        .docker(&[&run[..], &["sh", "-c", server]].concat())
        .await;
    let db6 = address6(node, "db").await;
    let format = "{{.NetworkSettings.Networks.front.IPAddress}}";
    let db4 = node.docker(&["inspect", "--format", format, "db"]).await;
    let db = Place {
        node: node.name.clone(),
        container,
        address: db4.parse().expect("an address"),
    };
    for place in &places {
        let own = goes_with(place.address);
        world.sees(place, db6, "db", own).await;
        world.sees(&db, own, &place.node, db6).await;
        world
            .finds_both(place, "db", &[db.address.into(), db6.into()])
            .await;
    }
    node.docker(&["rm", "--force", "db"]).await;
    world.passed(
        "containers of others are reached and named over IPv6, whatever address their engine chose",
    );

    for place in &places {
        let ping = format!("ping -6 -c 1 -W 5 {}", underlay(OWN));
        let command = ["exec", &place.container, "sh", "-c", &ping];
        let what = format!("{} on {} reaches the outside", place.container, place.node);
        let mut last = String::new();
        until_soon(&what, async || {
            let said = world.named(&place.node).try_docker(&command).await;
            let error = said.as_ref().err().cloned().unwrap_or_default();
            if error != last {
                eprintln!("    {what}: {error}");
                last = error;
            }
            said.ok()
        })
        .await;
    }
    world.passed("tasks reach the outside over IPv6");

    let (code, said) = world.skep(&["get", "networks", "-o", "wide"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("fd00:66::/64"), "{said}");
    let (code, said) = world.skep(&["get", "endpoints"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&web6.to_string()), "{said}");
    let (code, said) = world.skep(&["netcheck"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("nothing is broken"), "{said}");
    world.passed("the commands show addresses of IPv6, and netcheck finds everything well");

    world.remove_service("web").await;
    world.delete("networks/default/front").await;
    for (node, before) in world.fleet.nodes.iter().zip(&before) {
        let what = format!("{} is as it was found", node.name);
        let mut last = String::new();
        until(SOON, &what, async || {
            let now = (shown(node).await, shown6(node).await);
            let text = format!("{}\n{}", now.0, now.1);
            if now != *before && text != last {
                eprintln!("    {what}: not yet:\n{text}");
            }
            last = text;
            (now == *before).then_some(())
        })
        .await;
    }
    world.passed("without networks nothing of IPv6 is left either");
}
