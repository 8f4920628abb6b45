//! How much goes through, and how many connections are made, by each way that a packet may take.

use super::cluster::Cluster;
use super::space::Space;
use super::states;
use super::traffic::{self, Server};
use crate::report::{Aim, Report, Samples};
use crate::size;
use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::thread;
use std::time::Duration;

/// Longer than an agent takes between two looks.
const AUDIT: Duration = Duration::from_secs(7);

/// A way from a client to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// Swarm's overlay, from node to node.
    Swarm,
    /// The overlay, from node to node.
    Direct,
    /// By a virtual address to a task on another node.
    Service,
    /// From outside to a published port of the task's own node.
    OwnPort,
    /// From outside to a published port of another node.
    OtherPort,
    /// A plain bridge, within a node.
    Plain,
    /// The overlay, within a node.
    Local,
    /// By a virtual address, within a node.
    LocalService,
}

const WAYS: [Way; 8] = [
    Way::Swarm,
    Way::Direct,
    Way::Service,
    Way::OwnPort,
    Way::OtherPort,
    Way::Plain,
    Way::Local,
    Way::LocalService,
];

/// What is compared with what: a report's name, the ways, the aim, and what it is about.
const COMPARED: [(&str, Way, Way, f64, &str); 7] = [
    (
        "network-direct",
        Way::Direct,
        Way::Swarm,
        0.92,
        "tasks on two nodes",
    ),
    (
        "network-service",
        Way::Service,
        Way::Swarm,
        0.85,
        "a virtual address, its task on another node",
    ),
    (
        "network-own-port",
        Way::OwnPort,
        Way::Swarm,
        1.0,
        "a client outside, a published port of the task's own node",
    ),
    (
        "network-other-port",
        Way::OtherPort,
        Way::Swarm,
        0.75,
        "a client outside, a published port of another node than the task's",
    ),
    (
        "network-local",
        Way::Local,
        Way::Plain,
        0.95,
        "tasks on one node",
    ),
    (
        "network-local-service",
        Way::LocalService,
        Way::Local,
        0.97,
        "a virtual address, its task on the same node",
    ),
    (
        "network-service-direct",
        Way::Service,
        Way::Direct,
        0.97,
        "a virtual address beside its task's own, on another node (hoped for)",
    ),
];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Swarm => "Swarm's overlay",
            Self::Direct => "overlay",
            Self::Service => "virtual address",
            Self::OwnPort => "port of the task's node",
            Self::OtherPort => "port of another node",
            Self::Plain => "plain bridge",
            Self::Local => "overlay, one node",
            Self::LocalService => "virtual address, one node",
        }
    }

    /// The client, and the addresses of what sinks and what answers.
    fn ends(self, cluster: &Cluster) -> (&Space, [SocketAddrV4; 2]) {
        let [client, here, there] = &cluster.overlay;
        let at = |address, server: Server| {
            [server.sink(), server.echo()].map(|port| SocketAddrV4::new(address, port))
        };
        let published = |node: usize| {
            let address = cluster.addresses[node];
            [states::SINK, states::ECHO].map(|port| SocketAddrV4::new(address, port))
        };
        let (plain, translated) = (Server::Plain, Server::Translated);
        match self {
            Self::Swarm => {
                let [client, there] = &cluster.swarm;
                (&client.space, at(there.address, plain))
            }
            Self::Direct => (&client.space, at(there.address, plain)),
            Self::Service => (&client.space, at(states::THERE, translated)),
            Self::OwnPort => (&cluster.outside, published(1)),
            Self::OtherPort => (&cluster.outside, published(0)),
            Self::Plain => {
                let [client, here] = &cluster.plain;
                (&client.space, at(here.address, plain))
            }
            Self::Local => (&client.space, at(here.address, plain)),
            Self::LocalService => (&client.space, at(states::HERE, translated)),
        }
    }
}

/// What was measured by a way, a value for each round.
#[derive(Default)]
struct Measured {
    throughput: Vec<f64>,
    connections: Vec<f64>,
}

/// Which ways are measured: `WAYS=` some by their names with hyphens, or all.
fn asked() -> Vec<Way> {
    let asked = std::env::var("WAYS").unwrap_or_default();
    let is_asked = |way: &Way| {
        let name = way.name().replace(' ', "-");
        asked.is_empty() || asked.split(',').any(|word| word == name)
    };
    WAYS.into_iter().filter(is_asked).collect()
}

/// Runs it: `PAIRS=` rounds of all ways, `SAMPLE_MS=` each.
pub(super) fn run(cluster: &Cluster) -> Vec<Report> {
    let ways = asked();
    let rounds = size("PAIRS", 10);
    let time = Duration::from_millis(size("SAMPLE_MS", 1_000) as u64);
    let mut measured: BTreeMap<Way, Measured> = BTreeMap::new();
    // Not counted: who has never been asked is looked for first.
    for way in &ways {
        measure(cluster, *way, Duration::from_millis(200));
    }
    // Agents have seen where tasks are when they looked at their kernels next.
    thread::sleep(AUDIT);
    for round in 0..rounds {
        let mut shown = Vec::new();
        // Another one is first each time.
        let turned = ways.iter().cycle().skip(round * 3 % ways.len());
        for way in turned.take(ways.len()) {
            let (throughput, connections) = measure(cluster, *way, time);
            let of_way = measured.entry(*way).or_default();
            of_way.throughput.push(throughput);
            of_way.connections.push(connections);
            shown.push(format!(
                "{}: {throughput:.1} Gb/s, {connections:.0}/s",
                way.name()
            ));
        }
        println!("round {}: {}", round + 1, shown.join("; "));
    }
    let has = |way| measured.contains_key(&way);
    COMPARED
        .iter()
        .filter(|(_, way, beside, ..)| has(*way) && has(*beside))
        .map(|compared| report(cluster, &measured, *compared))
        .collect()
}

fn measure(cluster: &Cluster, way: Way, time: Duration) -> (f64, f64) {
    let (client, [sink, echo]) = way.ends(cluster);
    (
        traffic::throughput(client, sink, time),
        traffic::connections(client, echo, time),
    )
}

fn report(
    cluster: &Cluster,
    measured: &BTreeMap<Way, Measured>,
    (name, way, beside, aim, about): (&'static str, Way, Way, f64, &str),
) -> Report {
    let (ours, theirs) = (&measured[&way], &measured[&beside]);
    let mut samples = Vec::new();
    let mut compare = |what: &str, unit, ours: &[f64], theirs: &[f64]| {
        let mut of_ours = Samples::new(&format!("{what}, {}", way.name()), unit);
        let mut of_theirs = Samples::new(&format!("{what}, {}", beside.name()), unit);
        let mut ratio = Samples::new(&format!("{what}, ratio"), "");
        for (a, b) in ours.iter().zip(theirs) {
            of_ours.add(*a);
            of_theirs.add(*b);
            ratio.add(a / b);
        }
        let median = ratio.median();
        samples.extend([of_ours, of_theirs, ratio]);
        median
    };
    let ratio = compare("throughput", "Gb/s", &ours.throughput, &theirs.throughput);
    compare("connections", "/s", &ours.connections, &theirs.connections);
    Report {
        name,
        about: format!(
            "{about}, beside {}, on engines {}, {:?}, {} rounds",
            beside.name(),
            cluster.version,
            states::form(),
            ours.throughput.len()
        ),
        samples,
        ratio: (
            "median over the rounds of the throughputs' ratio",
            ratio,
            Aim::AtLeast(aim),
        ),
    }
}
