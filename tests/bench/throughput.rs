//! Tasks per second through etcd with simulated engines, beside a bare writer of the very records that skep wrote.
//!
//! The bare writer has them ready, encoded, and sends the same number of writes in their order, in transactions of up to
//! 127 operations, one after another, as the executor of the store does.

use crate::report::{Aim, Report, Samples, instant};
use crate::size;
use crate::world::World;
use skep::sim::SimFleet;
use skep::store::{BATCH_OPERATIONS, Op, WatchEvent};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const NODES: usize = 20;
/// Time to come to rest.
const REST: Duration = Duration::from_secs(1);

/// Runs it; `TASKS=` says how many in a round, `ROUNDS=` how many rounds.
pub(crate) async fn run() -> Report {
    let tasks = size("TASKS", 2_000);
    let rounds = size("ROUNDS", 10);
    let mut skep = Samples::new("skep", "tasks/s");
    let mut bare = Samples::new("bare writer", "tasks/s");
    let mut ratio = Samples::new("skep over bare", "");
    let mut spent = [
        (
            "skep: processor of the manager",
            "bare writer: its processor",
        ),
        ("skep: processor of etcd", "bare writer: processor of etcd"),
    ]
    .map(|(skep, bare)| [skep, bare].map(|name| Samples::new(name, "us/task")));
    let (mut writes, mut transactions) = (0, 0);
    for _ in 0..rounds {
        let fleet = SimFleet::new();
        let world = World::start(Arc::new(fleet.clone())).await;
        let names = (1..=NODES).map(|number| format!("n{number}"));
        let nodes: Vec<_> = names
            .map(|name| (name.clone(), format!("tcp://{name}:2375")))
            .collect();
        for (name, url) in &nodes {
            let engine = fleet.add_at(url, name);
            engine.add_image("app:1");
            engine.forget_calls();
        }
        world.nodes(&nodes).await;

        let before = world.revision().await;
        let times = world.processor_times();
        let value = format!("{{replicas: {tasks}, template: {{container: \"app:1\"}}}}");
        let start = instant();
        world.put("/skep/services/default/big", &value).await;
        world.running(tasks).await;
        let of_skep = rate(tasks, start.elapsed());
        let of_skep_times = world.processor_times();

        let after = world.cache.progress().revision;
        transactions = after.0 - before.0;
        let batches = batches(world.written(before, after).await);
        // The manager is done with what follows from it, and takes nothing from the bare writer.
        tokio::time::sleep(REST).await;
        writes = batches.iter().map(Vec::len).sum();
        let rested = world.processor_times();
        let start = instant();
        for batch in batches {
            world.write(batch).await;
        }
        let of_bare = rate(tasks, start.elapsed());
        let of_bare_times = world.processor_times();
        for (place, samples) in spent.iter_mut().enumerate() {
            samples[0].add(each(tasks, of_skep_times[place] - times[place]));
            samples[1].add(each(tasks, of_bare_times[place] - rested[place]));
        }
        skep.add(of_skep);
        bare.add(of_bare);
        ratio.add(of_skep / of_bare);
        world.stop().await;
    }
    let median = ratio.median();
    Report {
        name: "throughput",
        about: format!(
            "a service of {tasks} tasks on {NODES} simulated engines and a real etcd, until all run: {writes} writes in {transactions} transactions"
        ),
        samples: [skep, bare, ratio]
            .into_iter()
            .chain(spent.into_iter().flatten())
            .collect(),
        ratio: (
            "median of tasks/s through skep over those of the bare writer",
            median,
            Aim::AtLeast(0.5),
        ),
    }
}

#[allow(clippy::cast_precision_loss, reason = "tasks are few")]
fn rate(tasks: usize, time: Duration) -> f64 {
    tasks as f64 / time.as_secs_f64()
}

/// Microseconds for each task.
#[allow(clippy::cast_precision_loss, reason = "tasks are few")]
fn each(tasks: usize, time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / tasks as f64
}

/// The same writes below another prefix, a key once per transaction as etcd demands.
fn batches(events: Vec<WatchEvent>) -> Vec<Vec<Op>> {
    let mut batches: Vec<Vec<Op>> = vec![Vec::new()];
    let mut written = BTreeSet::new();
    for event in events {
        let WatchEvent::Put(kv) = event else {
            continue;
        };
        let key = kv.key.replacen("/skep/", "/bare/", 1);
        let last = batches.last().map_or(0, Vec::len);
        if last == BATCH_OPERATIONS || written.contains(&key) {
            batches.push(Vec::new());
            written.clear();
        }
        written.insert(key.clone());
        let batch = batches.last_mut().expect("there is one from the start");
        batch.push(Op::Put {
            key,
            value: kv.value,
            lease: None,
        });
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}
