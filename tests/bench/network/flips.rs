//! Backends that come and go under load: how many connections fail.

use super::cluster::Cluster;
use super::states::{self, service};
use super::traffic::{self, Server};
use crate::report::{Aim, Report, Samples};
use crate::size;
use skep::dataplane::state::Change;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Runs it; `FLIPS=` says how often a backend leaves and enters again.
#[allow(clippy::cast_precision_loss, reason = "connections of a minute")]
pub(super) fn run(cluster: &mut Cluster) -> Report {
    let flips = size("FLIPS", 100);
    let echo = Server::Translated.echo();
    let going = AtomicBool::new(true);
    let clients = [
        (
            "a virtual address",
            cluster.overlay[0].space.clone(),
            SocketAddrV4::new(states::BOTH, echo),
        ),
        (
            "a published port",
            cluster.outside.clone(),
            SocketAddrV4::new(cluster.addresses[0], states::ECHO_BOTH),
        ),
    ];
    let agents = &mut cluster.agents;
    let results: Vec<(usize, Vec<String>)> = thread::scope(|scope| {
        let going = &going;
        let running: Vec<_> = clients
            .iter()
            .map(|(_, space, to)| {
                scope.spawn(move || traffic::load(space, *to, || going.load(Ordering::Relaxed)))
            })
            .collect();
        for flip in 0..flips {
            for backends in [
                vec![states::TASKS[1 + flip % 2]],
                states::TASKS[1..].to_vec(),
            ] {
                for agent in agents.iter_mut() {
                    agent.change(sent_to(&backends));
                }
            }
        }
        going.store(false, Ordering::Relaxed);
        let ended = running.into_iter().map(|one| one.join());
        ended
            .map(|one| one.expect("a client counts what fails"))
            .collect()
    });
    let mut samples = Vec::new();
    let mut errors = 0;
    for ((what, ..), (made, failed)) in clients.iter().zip(results) {
        for line in failed.iter().take(5) {
            println!("failed: {line}");
        }
        errors += failed.len();
        let mut connections = Samples::new(&format!("connections to {what}"), "");
        connections.add(made as f64);
        let mut lost = Samples::new(&format!("of them failed, {what}"), "");
        lost.add(failed.len() as f64);
        samples.extend([connections, lost]);
    }
    Report {
        name: "network-flips",
        about: format!("one of two backends leaves and enters again, {flips} times"),
        samples,
        ratio: ("connections that failed", errors as f64, Aim::AtMost(0.0)),
    }
}

/// The service on both nodes, and its port, lead to these.
fn sent_to(backends: &[std::net::Ipv4Addr]) -> Vec<Change> {
    let backends: std::collections::BTreeSet<_> = backends.iter().copied().collect();
    let key = format!("tcp/{}", states::ECHO_BOTH);
    let key = key.parse().expect("a port");
    let port = states::port(Server::Translated.echo(), backends.clone());
    vec![
        Change::VirtualAddress(states::BOTH, Some(service(backends))),
        Change::Port(key, Some(port)),
    ]
}
