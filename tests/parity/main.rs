//! Proof against etcd: the same random operations on a real etcd 3.4 and on the embedded store, by raw gRPC, and every field
//! of every answer and event compared.
//!
//! A sequence comes from a seed, which is printed: `SEED=7 STEPS=400 cargo test --test parity` plays it again. `ROUNDS=` says how
//! many sequences there are, `SERIES=3.5` asks another release of etcd, without what the releases answer differently. One that differs is made shorter, as far as it then still differs, and printed whole with the
//! first difference.
//!
//! What is masked: ids of clusters and members, terms and indexes of raft, hashes and sizes; the seconds that a lease has left
//! are compared within [`play::SLACK_SECONDS`]. Where an answer with events ends is left open, as the order of the watches
//! of one stream is: both depend on how fast a reader reads. What is not sent: requests on which etcd itself panics,
//! and nested transactions while the alarm is raised that the store is full: etcd forgets to look for puts in them, the
//! embedded store does not.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, where clippy's own exception does not reach"
)]

mod compare;
mod etcdctl;
mod generate;
mod keys;
mod peer;
mod play;
mod random;
mod raw;
mod shrink;
mod step;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod written;

use compare::{Pair, Verdict};
use generate::Generator;
use step::{Step, Steps};

/// The release that is asked beside the embedded store: the one whose answers it gives, unless the caller's shell names another.
fn series() -> &'static str {
    match std::env::var("SERIES").as_deref() {
        Ok("3.5") => "3.5",
        Ok("3.4") | Err(_) => "3.4",
        Ok(other) => panic!("SERIES={other}: 3.4 and 3.5 are known"),
    }
}

/// A number from the caller's shell.
fn number(name: &str, fallback: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => fallback,
    }
}

/// Plays a random sequence; gives its steps and the first difference, if there is one.
async fn explore(seed: u64, length: u64) -> (Vec<Step>, Verdict) {
    let mut pair = Pair::start().await;
    let mut generator = Generator::new(seed);
    let mut played = Vec::new();
    for _ in 0..length {
        let hint = pair.hint();
        let step = generator.next(&hint);
        if series() != "3.4" && step.is_of_its_release(hint.compacted) {
            continue;
        }
        played.push(step.clone());
        if let Some(difference) = pair.play(&step).await {
            return (played, Some(difference));
        }
    }
    let verdict = pair.finish().await;
    (played, verdict)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_operations_are_answered_as_by_etcd() {
    let (rounds, length) = (number("ROUNDS", 4), number("STEPS", 250));
    let first = number("SEED", 1);
    for seed in first..first + rounds {
        println!("SEED={seed} STEPS={length}");
        let (played, verdict) = explore(seed, length).await;
        let Some(difference) = verdict else {
            continue;
        };
        println!(
            "SEED={seed}: differs after {} steps:\n{difference}",
            played.len()
        );
        let (fewest, difference) = shrink::shrink(played, difference).await;
        panic!(
            "SEED={seed}: the embedded store differs from etcd {} after these steps:\n{}\n{difference}",
            series(),
            Steps(&fewest)
        );
    }
}
