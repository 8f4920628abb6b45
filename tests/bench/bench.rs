//! The benchmarks: `make bench`, or `cargo bench --bench bench -- latency throughput pairs store up network spread` for some of them.
//!
//! Each measures skep and the bare calls that it cannot do without, interleaved in one run, and shows the ratio: absolute
//! times of a shared machine mean nothing a day later. Results are a table on the terminal and `target/bench/NAME.json`.
//! An aim that is missed is shown, and fails nothing: a busy neighbour is not a bug.

#[path = "../support/mod.rs"]
mod support;

mod latency;
mod network;
mod pairs;
mod report;
mod spread;
mod store;
mod throughput;
mod up;
mod world;

/// The benchmarks by name.
const ALL: [&str; 7] = [
    "latency",
    "throughput",
    "pairs",
    "store",
    "up",
    "network",
    "spread",
];

fn main() {
    let arguments = std::env::args().skip(1);
    let asked: Vec<String> = arguments.filter(|word| !word.starts_with('-')).collect();
    if let Some(unknown) = asked.iter().find(|word| !ALL.contains(&word.as_str())) {
        eprintln!(
            "there is no benchmark \"{unknown}\"; there are: {}",
            ALL.join(", ")
        );
        std::process::exit(2);
    }
    let runtime = tokio::runtime::Runtime::new().expect("the machine has threads for a runtime");
    for name in ALL {
        if !asked.is_empty() && !asked.iter().any(|word| word == name) {
            continue;
        }
        let reports = runtime.block_on(async {
            match name {
                "latency" => vec![latency::run().await],
                "throughput" => vec![throughput::run().await],
                "pairs" => vec![pairs::run().await],
                "store" => store::run().await,
                "network" => network::run().await,
                "spread" => vec![spread::run().await],
                _ => vec![up::run().await],
            }
        });
        for report in reports {
            report.show();
            report.save();
        }
    }
}

/// A size that the caller's shell may change.
fn size(variable: &str, fallback: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is not a number")),
        Err(_) => fallback,
    }
}
