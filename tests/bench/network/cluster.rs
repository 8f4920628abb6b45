//! Two engines with three networks between their containers: skep's overlay, Swarm's, and a plain bridge.

use super::agent::Agent;
use super::space::Space;
use super::states;
use super::traffic;
use crate::support::covered;
use crate::support::docker::{docker, lines};
use crate::support::fleet::{Fleet, Transport};
use crate::support::image;
use crate::support::node::Node;
use crate::support::process::owner;
use skep::dataplane::address::Mac;
use skep::dataplane::kernel::bridge_name;
use std::net::Ipv4Addr;

/// The networks' names on the engines.
const OVERLAY: &str = "bench-skep";
const SWARM: &str = "bench-swarm";
const PLAIN: &str = "bench-plain";

/// A container in a network.
pub(super) struct Task {
    pub(super) space: Space,
    pub(super) address: Ipv4Addr,
}

/// Everything; dropped, it goes, the client before the network that it is in.
pub(super) struct Cluster {
    /// Outside of the cluster, on the nodes' network.
    pub(super) outside: Space,
    /// The agents of both nodes.
    pub(super) agents: [Agent; 2],
    /// On the overlay: a client and a server on the first node, a server on the second.
    pub(super) overlay: [Task; 3],
    /// On Swarm's: a client on the first node, a server on the second.
    pub(super) swarm: [Task; 2],
    /// On a plain bridge of the first node: a client and a server.
    pub(super) plain: [Task; 2],
    /// The nodes' own addresses.
    pub(super) addresses: [Ipv4Addr; 2],
    /// The engines' version.
    pub(super) version: &'static str,
    _client: Client,
    _fleet: Fleet,
}

impl Cluster {
    /// Starts two engines of one version: `ENGINE=`, or the newest that boots here.
    pub(super) async fn start() -> Self {
        let version = version();
        let fleet = Fleet::start(&[version, version], Transport::Plain).await;
        fleet.load(&image::busybox(fleet.dir())).await;
        let client = Client::start(&fleet).await;
        let addresses = [fleet.node(1).address, fleet.node(2).address];
        let mut agents = Vec::new();
        for number in [1, 2] {
            let space = Space::of(&id(&fleet.node(number).container).await);
            agents.push(Agent::start(&space, states::base(number, addresses)));
        }
        let Ok(agents) = agents.try_into() else {
            unreachable!("there are two nodes");
        };
        let cluster = Self {
            outside: client.space().await,
            agents,
            overlay: overlay(&fleet).await,
            swarm: swarm(&fleet).await,
            plain: plain(fleet.node(1)).await,
            addresses,
            version,
            _client: client,
            _fleet: fleet,
        };
        for server in [
            &cluster.overlay[1],
            &cluster.overlay[2],
            &cluster.swarm[1],
            &cluster.plain[1],
        ] {
            traffic::serve(&server.space);
        }
        cluster
    }
}

fn version() -> &'static str {
    let there = covered::engine_versions();
    let newest = *there.last().expect("one boots at least");
    let Ok(asked) = std::env::var("ENGINE") else {
        return newest;
    };
    let found = there.iter().find(|version| **version == asked);
    found.unwrap_or_else(|| panic!("there is no engine {asked} here; there are {there:?}"))
}

/// The overlay's network on both engines, over the bridges that the agents have made.
async fn overlay(fleet: &Fleet) -> [Task; 3] {
    for node in &fleet.nodes {
        let (subnet, gateway) = (states::SUBNET, states::GATEWAY.to_string());
        let bridge = format!(
            "com.docker.network.bridge.name={}",
            bridge_name(states::VNI)
        );
        node.docker(&[
            "network",
            "create",
            "--driver=bridge",
            "--subnet",
            subnet,
            "--gateway",
            &gateway,
            "--opt",
            &bridge,
            "--opt=com.docker.network.driver.mtu=1450",
            OVERLAY,
        ])
        .await;
    }
    let [client, here, there] = states::TASKS;
    let (first, second) = (fleet.node(1), fleet.node(2));
    [
        task(first, OVERLAY, "client", Some(client)).await,
        task(first, OVERLAY, "here", Some(here)).await,
        task(second, OVERLAY, "there", Some(there)).await,
    ]
}

/// Swarm's own overlay over both engines. Its VXLAN has a port of its own.
async fn swarm(fleet: &Fleet) -> [Task; 2] {
    let (first, second) = (fleet.node(1), fleet.node(2));
    let leader = first.address.to_string();
    first
        .docker(&["swarm", "init", "--advertise-addr", &leader])
        .await;
    let token = first
        .docker(&["swarm", "join-token", "--quiet", "worker"])
        .await;
    let door = format!("{leader}:2377");
    second
        .docker(&["swarm", "join", "--token", &token, &door])
        .await;
    first
        .docker(&[
            "network",
            "create",
            "--driver=overlay",
            "--attachable",
            "--subnet=10.240.0.0/24",
            SWARM,
        ])
        .await;
    [
        task(first, SWARM, "swarm-client", None).await,
        task(second, SWARM, "swarm-there", None).await,
    ]
}

async fn plain(node: &Node) -> [Task; 2] {
    node.docker(&["network", "create", "--driver=bridge", PLAIN])
        .await;
    [
        task(node, PLAIN, "plain-client", None).await,
        task(node, PLAIN, "plain-here", None).await,
    ]
}

/// Runs a container that does nothing; traffic runs in threads that enter its network namespace.
async fn task(node: &Node, network: &str, name: &str, address: Option<Ipv4Addr>) -> Task {
    let mut command: Vec<String> = ["run", "--detach", "--name", name].map(String::from).into();
    command.push("--network".into());
    match address {
        Some(address) => command.push(format!("name={network},ip={address}{}", mac(node, address))),
        None => command.push(network.into()),
    }
    command.extend([image::BUSYBOX, "sleep", "1000000"].map(String::from));
    let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    node.docker(&arguments).await;
    let format = format!(
        "{{{{.State.Pid}}}} {{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}"
    );
    let said = node.docker(&["inspect", "--format", &format, name]).await;
    let (process, address) = said.split_once(' ').expect("a number and an address");
    Task {
        space: Space::inside(&id(&node.container).await, process),
        address: address.parse().expect("an engine gives IPv4 addresses"),
    }
}

/// The hardware address that follows from an address, where the engine would not give it by itself.
fn mac(node: &Node, address: Ipv4Addr) -> String {
    match node.version {
        // Before API 1.44 there is no such option.
        "20.10" => String::new(),
        _ => format!(",mac-address={}", Mac::of_container(address)),
    }
}

/// The process of a container of this machine's engine.
async fn id(container: &str) -> String {
    docker(&["inspect", "--format", "{{.State.Pid}}", container]).await
}

/// A container on the nodes' network that is none of them.
struct Client(String);

impl Client {
    async fn start(fleet: &Fleet) -> Self {
        let node = fleet.node(1);
        let name = format!("{}-client", node.network);
        let label = format!("dev.skep.test.owner={}", owner());
        let image = format!("skep-node:{}", node.version);
        let client = Self(name.clone());
        docker(&[
            "run",
            "--detach",
            "--name",
            &name,
            "--label=dev.skep.test=fleet",
            "--label",
            &label,
            "--network",
            &node.network,
            &image,
            "sleep",
            "1000000",
        ])
        .await;
        client
    }

    async fn space(&self) -> Space {
        Space::of(&id(&self.0).await)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        lines(&["rm", "--force", "--volumes", &self.0]);
    }
}
