//! The network between tasks: skep's overlay beside Swarm's and beside a plain bridge, on the same engines in one run.
//!
//! Two engines in containers; their nodes' agents are told states by the benchmark, without a manager. Swarm's overlay
//! balances with IPVS, which the kernel may lack, so it stands for itself: its tasks are asked by their own addresses.
//!
//! Traffic is TCP between threads of this process that have entered the namespaces of containers. All ways are measured in
//! each round, another one first each time.

mod agent;
mod cluster;
mod flips;
mod rates;
mod services;
mod space;
mod states;
mod traffic;

use crate::report::Report;
use cluster::Cluster;

/// Runs it; `PARTS=` says which parts of it (`rates,latency,flips,programming`).
pub(crate) async fn run() -> Vec<Report> {
    let asked = std::env::var("PARTS").unwrap_or_default();
    let is_asked = |part: &str| asked.is_empty() || asked.split(',').any(|word| word == part);
    let mut cluster = Cluster::start().await;
    let mut reports = Vec::new();
    if is_asked("rates") {
        reports.extend(rates::run(&cluster));
    }
    if is_asked("latency") {
        reports.push(services::latency(&mut cluster));
    }
    if is_asked("flips") {
        reports.push(flips::run(&mut cluster));
    }
    if is_asked("programming") {
        reports.extend(services::programming(&mut cluster));
    }
    reports
}
