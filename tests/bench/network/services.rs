//! What many services cost: connections while there are many, and programming them.

use super::cluster::Cluster;
use super::states::{self, add_services, other_service, service};
use super::traffic::{self, Server};
use crate::report::{Aim, Report, Samples};
use crate::size;
use skep::dataplane::state::Change;
use std::net::SocketAddrV4;

/// How many services there are while connections are timed.
const SIZES: [u32; 4] = [10, 1_000, 10_000, 30_000];

/// Connections for each sample: their median is the sample.
const CONNECTIONS: usize = 2_000;

/// The time that a connection to a virtual address takes, with more and more services beside it. `LATENCY_SIZES=` how many
/// of the sizes, smallest first.
pub(super) fn latency(cluster: &mut Cluster) -> Report {
    let rounds = size("PAIRS", 10);
    let sizes = &SIZES[..size("LATENCY_SIZES", SIZES.len()).clamp(1, SIZES.len())];
    let to = SocketAddrV4::new(states::HERE, Server::Translated.echo());
    let mut samples: Vec<Samples> = sizes
        .iter()
        .map(|count| Samples::new(&format!("connect, {count} services"), "us"))
        .collect();
    let mut ratio = Samples::new("most over fewest services", "");
    for round in 0..rounds {
        let mut medians = Vec::new();
        for (count, samples) in sizes.iter().zip(&mut samples) {
            let mut state = states::base(1, cluster.addresses);
            add_services(&mut state, *count, 2);
            cluster.agents[0].put(state);
            cluster.agents[0].rest();
            let client = &cluster.overlay[0].space;
            // The first ones find cold caches, and are not counted.
            let times = traffic::latencies(client, to, CONNECTIONS + CONNECTIONS / 10);
            let mut one = Samples::new("", "us");
            for time in &times[CONNECTIONS / 10..] {
                one.add(time.as_secs_f64() * 1e6);
            }
            samples.add(one.median());
            medians.push(one.median());
        }
        println!("connects {}: {medians:.1?} us", round + 1);
        ratio.add(medians[medians.len() - 1] / medians[0]);
    }
    cluster.agents[0].put(states::base(1, cluster.addresses));
    let median = ratio.median();
    samples.push(ratio);
    Report {
        name: "network-latency",
        about: format!(
            "medians of {CONNECTIONS} connections each to a virtual address, engine {}, {rounds} rounds",
            cluster.version
        ),
        samples,
        ratio: (
            "median over the rounds of the time with the most services over that with the fewest",
            median,
            Aim::AtMost(1.2),
        ),
    }
}

/// 1,000 services of 10 tasks each from nothing, on a node of which the agent has taken everything away before; then one
/// backend less and one more. Whoever is on the overlay of this node loses it.
pub(super) fn programming(cluster: &mut Cluster) -> [Report; 2] {
    let rounds = size("PAIRS", 10);
    let agent = &mut cluster.agents[1];
    let mut state = states::base(2, cluster.addresses);
    add_services(&mut state, 1_000, 10);
    let mut whole = Samples::new("1,000 services of 10 tasks", "s");
    let mut one = Samples::new("one backend less, or more", "ms");
    let changed = other_service(500);
    let full = state.virtual_addresses[&changed].backends.clone();
    let less = full.iter().skip(1).copied().collect();
    for round in 0..rounds {
        agent.remove();
        agent.rest();
        let time = agent.put(state.clone());
        println!("programmed {}: {time:.2?}", round + 1);
        whole.add(time.as_secs_f64());
        for backends in [&less, &full] {
            agent.rest();
            let value = Some(service(backends.clone()));
            one.add_ms(agent.change(vec![Change::VirtualAddress(changed, value)]));
        }
    }
    let (of_whole, of_one) = (whole.median(), one.median());
    let report = |name, about: &str, samples, ratio| Report {
        name,
        about: format!(
            "{about}, from the order to the word that the kernel shows it, {rounds} rounds"
        ),
        samples: vec![samples],
        ratio,
    };
    [
        report(
            "network-programming",
            "10,000 tasks of 1,000 services on a kernel with nothing of ours",
            whole,
            ("median seconds", of_whole, Aim::AtMost(0.3)),
        ),
        report(
            "network-backend",
            "one of 10,000 backends leaves or enters",
            one,
            ("median milliseconds", of_one, Aim::AtMost(20.0)),
        ),
    ]
}
