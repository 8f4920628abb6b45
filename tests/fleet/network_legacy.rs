//! A fleet in which one engine has its rules in iptables-legacy: all works there, and nothing of ours stays.

use crate::network_troubles::{WEB, restart};
use crate::networks::shown;
use crate::support::fleet::Transport;
use crate::support::node::Node;
use crate::support::wait::until;
use crate::world::{SOON, World, until_soon};

/// Our rule, as iptables-legacy prints it.
const RULE: &str = "-A DOCKER-USER -m connmark --mark 0x64000000/0xff000000 -j ACCEPT";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn networks_and_ports_work_on_an_engine_with_iptables_legacy() {
    let mut world = World::new("iptables-legacy", 3, Transport::Plain).await;
    let mut nodes = world.fleet.nodes.iter();
    // The machine's own engine is packed with one iptables.
    let node = nodes.find(|node| node.version != "20.10");
    let node = node
        .expect("a node of a Debian suite, which has both")
        .clone();
    to_legacy(&node).await;
    let before = shown(&node).await;
    assert!(before.contains("-A FORWARD -j DOCKER-USER"), "{before}");
    world.start_manager("m1", &["--networks"]);
    world.nodes_are_ready().await;
    // It keeps the agents where they are when the service goes.
    world.put("networks/default/kept", "{}").await;
    world.put_service("web", WEB).await;
    world.web_works().await;
    let rules = node.exec("iptables-legacy -S DOCKER-USER").await;
    assert!(rules.contains(RULE), "{rules}");
    world
        .passed("tasks reach each other, and are reached by virtual addresses and published ports");

    hands(&world, &node).await;
    gone(&world, &node, &before).await;
}

/// Has the engine of a node keep its rules in iptables-legacy.
async fn to_legacy(node: &Node) {
    let switch = "nft flush ruleset; update-alternatives --set iptables /usr/sbin/iptables-legacy";
    node.exec(switch).await;
    restart(node, "TERM").await;
}

/// Somebody changes rules by hand.
async fn hands(world: &World, node: &Node) {
    for line in [
        "iptables-legacy -F DOCKER-USER",
        "iptables-legacy -I DOCKER-USER -j RETURN",
        // The engine's own rules go too, and only its restart brings them back.
        "iptables-legacy -F",
    ] {
        let before = world.drift("iptables").await;
        node.exec(line).await;
        until_soon(&format!("{line:?} is mended and counted"), async || {
            (world.drift("iptables").await > before).then_some(())
        })
        .await;
        let rules = node.exec("iptables-legacy -S DOCKER-USER").await;
        let first = rules.lines().find(|line| line.starts_with("-A"));
        assert_eq!(first, Some(RULE), "{line}");
    }
    node.exec("iptables-legacy -F DOCKER-USER").await;
    restart(node, "TERM").await;
    world.nodes_are_ready().await;
    world.web_works().await;
    world.passed(
        "what hands change in iptables-legacy is mended and counted, and its engine is restarted",
    );
}

/// The node is removed while others keep their networks.
async fn gone(world: &World, node: &Node, before: &str) {
    world.remove_service("web").await;
    world.delete(&format!("nodes/{}", node.name)).await;
    let what = format!("{} is as it was found", node.name);
    let mut last = String::new();
    until(SOON, &what, async || {
        let now = shown(node).await;
        if now != before && now != last {
            eprintln!("    {what}: not yet:\n{now}");
        }
        last.clone_from(&now);
        (now == before).then_some(())
    })
    .await;
    world.passed("of a node that is removed nothing of ours is left in iptables-legacy");
}
