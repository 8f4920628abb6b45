//! The embedded store beside a real etcd on the same disk: puts, transactions, ranges, watches and memory.
//!
//! Both are processes of their own; the same client asks the same of both, in turns, a pair at a time; which goes first
//! alternates. A pair's ratio is the embedded store's rate over etcd's.

mod load;
mod server;

use crate::report::{Aim, Report, Samples};
use crate::size;
use load::{Load, Rate};
use server::{Kind, Server};

/// What a store of 100,000 keys of 512 bytes may take.
const MOST_MIB: f64 = 120.0;

/// Runs it; `PAIRS=` says how many pairs, `LOADS=` which loads (words of their names, separated by commas).
pub(crate) async fn run() -> Vec<Report> {
    let pairs = size("PAIRS", 10);
    let asked = std::env::var("LOADS").unwrap_or_default();
    let is_asked =
        |name: &str| asked.is_empty() || asked.split(',').any(|word| name.contains(word));
    let mut reports = Vec::new();
    for load in Load::ALL {
        if is_asked(load.name()) {
            reports.push(compare(load, pairs).await);
        }
    }
    if is_asked("store-memory") {
        reports.push(memory(size("MEMORY_PAIRS", 3)).await);
    }
    reports
}

/// Both servers under one load, in pairs.
async fn compare(load: Load, pairs: usize) -> Report {
    let ours = Server::start(Kind::Embedded).await;
    let etcd = Server::start(Kind::Etcd).await;
    let (mut of_ours, mut of_etcd) = (load.prepare(&ours).await, load.prepare(&etcd).await);
    // Not counted: the first time pays for connections and files.
    of_ours.run().await;
    of_etcd.run().await;
    let unit = load.unit();
    let mut first = Samples::new("skep store serve", unit);
    let mut second = Samples::new("etcd", unit);
    let mut ratio = Samples::new("skep over etcd", "");
    for pair in 0..pairs {
        let (a, b): (Rate, Rate) = if pair % 2 == 0 {
            let b = of_etcd.run().await;
            (of_ours.run().await, b)
        } else {
            let a = of_ours.run().await;
            (a, of_etcd.run().await)
        };
        println!(
            "{} {}: skep {a:.0} {unit}, etcd {b:.0} {unit}",
            load.name(),
            pair + 1
        );
        first.add(a);
        second.add(b);
        ratio.add(a / b);
    }
    let median = ratio.median();
    Report {
        name: load.name(),
        about: format!(
            "{}, {pairs} pairs beside etcd {}",
            load.about(),
            etcd.version
        ),
        samples: vec![first, second, ratio],
        ratio: (
            "median over the pairs of the embedded store's rate over etcd's",
            median,
            Aim::AtLeast(1.0),
        ),
    }
}

/// What each takes for 100,000 keys of 512 bytes, in a new process each time.
async fn memory(pairs: usize) -> Report {
    let mut ours = Samples::new("skep store serve", "MiB");
    let mut etcd = Samples::new("etcd", "MiB");
    let mut version = String::new();
    for _ in 0..pairs {
        for (kind, samples) in [(Kind::Embedded, &mut ours), (Kind::Etcd, &mut etcd)] {
            let server = Server::start(kind).await;
            load::fill(&server, 100_000, 512).await;
            samples.add(server.resident_mib());
            version.clone_from(&server.version);
        }
    }
    let median = ours.median();
    Report {
        name: "store-memory",
        about: format!("100,000 keys of 512 bytes, {pairs} processes each, beside etcd {version}"),
        samples: vec![ours, etcd],
        ratio: (
            "median resident memory of the embedded store in MiB",
            median,
            Aim::AtMost(MOST_MIB),
        ),
    }
}
