//! What a node's kernel shows of the overlay that all of its tasks are in, as `ip`, `bridge` and `iptables` print it, beside
//! what it has to be.

use crate::networks::Place;
use crate::support::docker::{docker, run};
use crate::support::node::Node;
use crate::world::{World, until_soon};
use skep::api::allocation::{Allocation, Owner};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use tokio::process::Command;

/// Our rule, as iptables prints it.
const RULE: &str = "-A DOCKER-USER -m connmark --mark 0x64000000/0xff000000 -j ACCEPT";

/// A node's kernel, as far as it follows from where tasks are. Lists, so that what is there twice shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// VXLAN devices.
    tunnels: usize,
    /// Whom the bridge knows: the tasks of other nodes, and these nodes themselves.
    on_bridge: Vec<String>,
    /// Whom the VXLAN device answers for: the tasks of other nodes, and the virtual addresses.
    on_tunnel: Vec<String>,
    /// Where VXLAN goes: the other nodes, by their routers' hardware addresses. Tasks that stay on bridges have entries besides.
    peers: Vec<String>,
    /// Tasks of other nodes that frames are handed straight to, through the VXLAN device.
    handed_on: usize,
    /// Our rules of policy routing: one for each other node, and two that spare the rest.
    rules: usize,
    /// Our tables of nf_tables.
    tables: usize,
    /// Whether our rule is the first of DOCKER-USER, and where it stands beside.
    is_first: bool,
    copies: usize,
    /// The first chain that forwarded packets go through.
    first_jump: String,
}

/// Runs a program of this machine in the network namespace of a node: not every node has `bridge`.
pub(crate) async fn within(node: &Node, line: &str) -> String {
    let pid = ["inspect", "--format", "{{.State.Pid}}", &node.container];
    let pid = docker(&pid).await;
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{pid}/ns/net"));
    command.args(["/bin/sh", "-c", line]);
    run(command).await.unwrap_or_default()
}

/// The name of the node's VXLAN device; empty: it has none.
pub(crate) async fn tunnel(node: &Node) -> String {
    let said = within(node, "ip -o link show type vxlan | grep -o 'skepx[0-9]*'").await;
    said.lines().next().unwrap_or_default().to_owned()
}

/// The name of the bridge that a VXLAN device is a port of.
pub(crate) fn bridge_of(tunnel: &str) -> String {
    tunnel.replacen("skepx", "skep", 1)
}

/// The sorted first words of lines.
fn words(text: &str) -> Vec<String> {
    let first = |line: &str| line.split(' ').next().map(str::to_owned);
    let mut words: Vec<String> = text.lines().filter_map(first).collect();
    words.sort();
    words
}

fn sorted(addresses: impl IntoIterator<Item = Ipv4Addr>) -> Vec<String> {
    let mut texts: Vec<String> = addresses.into_iter().map(|at| at.to_string()).collect();
    texts.sort();
    texts
}

/// How many tasks a node hands frames straight to through links whose names begin so.
pub(crate) async fn handed_on(node: &Node, link: &str) -> usize {
    let tunnel = tunnel(node).await;
    let maps = ["here_", "away_"].map(|map| tunnel.replacen("skepx", map, 1));
    let list = maps.map(|map| format!("nft list map netdev skep {map}"));
    let said = within(node, &list.join("; ")).await;
    said.matches(&format!("\"{link}")).count()
}

impl Shown {
    /// As it is.
    async fn of(node: &Node) -> Self {
        let tunnel = tunnel(node).await;
        let bridge = bridge_of(&tunnel);
        let neighbours = |link: &str| format!("ip -4 neigh show dev {link} nud permanent");
        let user = node.exec("iptables -S DOCKER-USER || true").await;
        let user: Vec<&str> = user.lines().filter(|line| line.starts_with("-A")).collect();
        let forward = node
            .exec("iptables -S FORWARD | grep ^-A | head -n 1")
            .await;
        let peers = format!(
            "bridge fdb show dev {tunnel} | grep ^0a:64: | grep -o 'dst [0-9.]*' | cut -c 5-"
        );
        let count = async |line: &str| within(node, line).await.lines().count();
        Self {
            tunnels: count("ip -o link show type vxlan").await,
            on_bridge: words(&within(node, &neighbours(&bridge)).await),
            on_tunnel: words(&within(node, &neighbours(&tunnel)).await),
            peers: words(&within(node, &peers).await),
            rules: count("ip rule | grep -E '^6(30|39)'").await,
            tables: count("nft list tables | grep -w skep").await,
            handed_on: handed_on(node, "skepx").await,
            is_first: user.first() == Some(&RULE),
            copies: user.iter().skip(1).filter(|line| **line == RULE).count(),
            first_jump: forward,
        }
    }

    /// As it has to be, where `tasks` are all that the one network has.
    async fn expected(world: &World, node: &Node, tasks: &[Place], virtuals: &[Ipv4Addr]) -> Self {
        let away = tasks.iter().filter(|task| task.node != node.name);
        let away: Vec<Ipv4Addr> = away.map(|task| task.address).collect();
        let others = world.fleet.nodes.iter();
        let others = others.filter(|other| other.name != node.name);
        let others: Vec<Ipv4Addr> = others.map(|other| other.address).collect();
        let hops = world.next_hops(node).await;
        Self {
            tunnels: 1,
            handed_on: away.len(),
            on_bridge: sorted(away.iter().copied().chain(hops)),
            on_tunnel: sorted(away.iter().chain(virtuals).copied()),
            rules: others.len() + 2,
            peers: sorted(others),
            tables: 3,
            is_first: true,
            copies: 0,
            first_jump: "-A FORWARD -j DOCKER-USER".into(),
        }
    }
}

impl World {
    /// The addresses by which a node's routes name the others: by the indexes that the store has given them.
    async fn next_hops(&self, node: &Node) -> BTreeSet<Ipv4Addr> {
        let given = self.records::<Allocation>("/skep/allocations/nodes/").await;
        let others = given.into_iter().filter_map(|(index, given)| {
            let index: u16 = index.parse().ok()?;
            let [high, low] = index.to_be_bytes();
            let is_other = |name: &str| {
                let mut nodes = self.fleet.nodes.iter();
                name != node.name && nodes.any(|other| other.name == name)
            };
            match given.owner {
                Owner::Node { name, .. } if is_other(name.as_str()) => {
                    Some(Ipv4Addr::new(169, 254, 64 + high, low))
                }
                _ => None,
            }
        });
        others.collect()
    }

    /// Waits until the kernel of each node shows exactly what follows from where the tasks of these services are.
    pub(crate) async fn kernels_are_right(&self, services: &[&str]) {
        let (mut tasks, mut virtuals) = (Vec::new(), Vec::new());
        for service in services {
            tasks.extend(self.places(service).await);
            virtuals.push(self.virtual_address(service).await);
        }
        for node in &self.fleet.nodes {
            let expected = Shown::expected(self, node, &tasks, &virtuals).await;
            let what = format!("the kernel of {} shows {expected:?}", node.name);
            let mut last = Shown::default();
            until_soon(&what, async || {
                let shown = Shown::of(node).await;
                if shown != expected && shown != last {
                    eprintln!("    {} shows {shown:?}", node.name);
                }
                last = shown;
                (last == expected).then_some(())
            })
            .await;
        }
    }
}
