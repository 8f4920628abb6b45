//! Containers that are no tasks in attachable networks, on engines of several versions.

use crate::networks::{Place, SAYS_WHERE};
use crate::support::fleet::Transport;
use crate::support::node::Node;
use crate::world::{World, until_soon};
use std::net::Ipv4Addr;

const IMAGE: &str = "skep-test/busybox:1";

/// Runs a container in the network that says its name over HTTP; where it is.
async fn attach(node: &Node, name: &str, more: &[&str]) -> Place {
    let says = format!("echo {name} >/tmp/index.html; httpd -f -p 80 -h /tmp");
    let run = ["run", "--detach", "--name", name, "--network", "front"];
    let command = [IMAGE, "sh", "-c", &says];
    let container = node.docker(&[&run[..], more, &command].concat()).await;
    let format = "{{.NetworkSettings.Networks.front.IPAddress}}";
    let address = node.docker(&["inspect", "--format", format, name]).await;
    eprintln!(
        "    {name} on {} ({}) is {address}",
        node.name, node.version
    );
    Place {
        node: node.name.clone(),
        container,
        address: address.parse().expect("an address"),
    }
}

impl World {
    /// Waits until somebody hears what is expected from an address or a name.
    async fn hears(&self, from: &Place, host: &str, expected: &str) {
        let what = format!("{} on {} hears {host}", from.container, from.node);
        let mut last = String::new();
        until_soon(&what, async || {
            let heard = self.ask(from, host).await.unwrap_or_else(|error| error);
            if heard != last {
                eprintln!("    {what}: {heard}");
                last.clone_from(&heard);
            }
            (heard == expected).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn containers_of_others_join_attachable_networks_on_every_node_and_no_other() {
    let mut world = World::new("attachable", 3, Transport::Plain).await;
    world.start_manager("m1", &["--networks"]);
    world.nodes_are_ready().await;
    world
        .put("networks/default/front", "{attachable: true}")
        .await;
    world.put("networks/default/closed", "{}").await;
    let spec = format!(
        "{{replicas: 3, template: {{container: {SAYS_WHERE}, networks: [front], \
         placement: {{maxReplicasPerNode: 1}}}}}}"
    );
    world.put_service("web", &spec).await;
    let other = spec.replacen("[front]", "[closed]", 1);
    world.put_service("other", &other).await;
    world.settled("web", 3).await;
    world.settled("other", 3).await;
    let said = ("Attachable", "True", "Provided");
    world
        .condition_is("networks/default/front", "network", said)
        .await;

    let mut strangers = Vec::new();
    for (node, name) in world.fleet.nodes.iter().zip(["db1", "db2", "db3"]) {
        until_soon("the engine has the network", async || {
            node.try_docker(&["network", "inspect", "front"]).await.ok()
        })
        .await;
        strangers.push((name, attach(node, name, &[]).await));
    }
    let tasks = world.places("web").await;
    for (name, stranger) in &strangers {
        for task in &tasks {
            world.finds(task, name, &[stranger.address]).await;
            let short = &stranger.container[..12];
            world.finds(task, short, &[stranger.address]).await;
            world.hears(task, &stranger.address.to_string(), name).await;
            world.hears(task, name, name).await;
        }
        for (other, there) in &strangers {
            world
                .hears(stranger, &there.address.to_string(), other)
                .await;
        }
    }
    world.passed(
        "tasks and containers of others reach those on every node by address, tasks by name too",
    );

    let web = world.virtual_address("web").await;
    for (_, stranger) in &strangers {
        world.balances(stranger, web, 3).await;
    }
    world.passed("containers of others reach services through their virtual addresses");

    let format = "{{(index .IPAM.Config 0).Gateway}}";
    let inspect = ["network", "inspect", "--format", format, "front"];
    let gateway = world.fleet.node(1).docker(&inspect).await;
    // The option: engines ask nobody for a name without a dot where the node's resolv.conf sets ndots.
    let resolver = ["--dns", &gateway, "--dns-option", "attempts:2"];
    let asks = attach(world.fleet.node(2), "asks", &resolver).await;
    world.finds(&asks, "web", &[web]).await;
    world.finds(&asks, "db1", &[strangers[0].1.address]).await;
    world.balances(&asks, "web", 3).await;
    world.passed("with the gateway as its resolver a container of others finds names");

    let node = world.named(&strangers[1].1.node);
    node.docker(&["rm", "--force", "db2"]).await;
    for task in &tasks {
        world.finds(task, "db2", &[]).await;
        world.finds(task, "db1", &[strangers[0].1.address]).await;
    }
    node.docker(&["run", "--detach", "--name", "late", IMAGE, "sleep", "1000"])
        .await;
    node.docker(&["network", "connect", "front", "late"]).await;
    let late = node
        .docker(&[
            "inspect",
            "--format",
            "{{.NetworkSettings.Networks.front.IPAddress}}",
            "late",
        ])
        .await;
    let late: Ipv4Addr = late.parse().expect("an address");
    for task in &tasks {
        world.finds(task, "late", &[late]).await;
    }
    node.docker(&["network", "disconnect", "front", "late"])
        .await;
    for task in &tasks {
        world.finds(task, "late", &[]).await;
    }
    world.passed("names come and go with containers that join and leave");

    for node in &world.fleet.nodes {
        until_soon("the engine has the other network", async || {
            node.try_docker(&["network", "inspect", "closed"])
                .await
                .ok()
        })
        .await;
        let stranger = ["run", "--rm", "--network", "closed", IMAGE, "true"];
        let joined = node.try_docker(&stranger).await;
        let refused = joined.expect_err("a container of others does not join");
        assert!(refused.contains("no available IPv4 addresses"), "{refused}");
    }
    world.passed("a network that is not attachable refuses them");

    world.remove_service("web").await;
    world.remove_service("other").await;
    world.delete("networks/default/front").await;
    let used = ("Accepted", "False", "InUse");
    world
        .condition_is("networks/default/front", "network", used)
        .await;
    for node in &world.fleet.nodes {
        for name in ["db1", "db3", "asks", "late"] {
            node.try_docker(&["rm", "--force", name]).await.ok();
        }
    }
    until_soon("the network is gone", async || {
        let record = world
            .etcd
            .get("/skep/accepted/networks/default/front")
            .await;
        record.is_none().then_some(())
    })
    .await;
    for node in &world.fleet.nodes {
        until_soon("the engine's network is gone", async || {
            node.try_docker(&["network", "inspect", "front"])
                .await
                .err()
        })
        .await;
    }
    world.passed("a network that is deleted stays while they are in it, and goes with the last");
}
