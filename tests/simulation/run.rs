//! One run: the plan's steps at their times, then peace, and the goal in bounded time.

use crate::happen::{ours, strangers};
use crate::mutants::{Mutant, plant};
use crate::plan::{Plan, Spec, Wish};
use crate::stage::Stage;
use crate::suffer::Lasting;
use serde_json::Value;
use skep::engine::Engine;
use skep::sim::check::{Broken, Judge};
use skep::sim::world::url;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
#[cfg(tokio_unstable)]
use tokio::runtime::RngSeed;

/// In so much virtual time after the last fault everything is as it should be: longer than any backoff and hold.
const BOUND: Duration = Duration::from_secs(1_800);

/// So long nothing is written once it is.
const QUIET: Duration = Duration::from_secs(60);

/// Records of ended tasks that a slot keeps at most.
const HISTORY: usize = 5;

/// What came of a run.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) hash: String,
    pub(crate) trace: Vec<String>,
    pub(crate) broken: Option<Broken>,
    pub(crate) simulated: Duration,
    pub(crate) checked: BTreeMap<&'static str, u64>,
}

/// Plays the plan on one thread in virtual time.
pub(crate) fn run(plan: &Plan, mutant: Option<Mutant>) -> Report {
    plant(mutant);
    let report = runtime(plan.seed).block_on(play(plan, mutant));
    plant(None);
    report
}

/// One thread with virtual time.
pub(crate) fn runtime(seed: u64) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    // Those who wait for a `watch` channel wake in an order that the runtime draws.
    #[cfg(tokio_unstable)]
    builder.rng_seed(RngSeed::from_bytes(&seed.to_be_bytes()));
    #[cfg(not(tokio_unstable))]
    compile_error!("RUSTFLAGS hides .cargo/config.toml: add `--cfg tokio_unstable` to it");
    builder
        .build()
        .expect("a runtime without threads can always be made")
}

async fn play(plan: &Plan, mutant: Option<Mutant>) -> Report {
    let mut stage = Stage::new(plan, mutant);
    let ended = match steps(&mut stage, plan).await {
        Ok(()) => goal(&mut stage, plan).await,
        Err(broken) => Err(broken),
    };
    Report {
        hash: stage.court.hash(),
        trace: stage.court.trace(),
        broken: ended.err(),
        simulated: stage.court.elapsed(),
        checked: stage.court.checked(),
    }
}

/// What was broken so far, if anything.
fn verdict(stage: &Stage) -> Result<(), Broken> {
    stage.court.broken().map_or(Ok(()), Err)
}

async fn steps(stage: &mut Stage, plan: &Plan) -> Result<(), Broken> {
    let latency = Duration::from_millis(plan.latency);
    let mut ends: BTreeMap<u64, Vec<Lasting>> = BTreeMap::new();
    let mut steps = plan.steps.iter().peekable();
    loop {
        let step = steps.peek().map(|(at, _)| *at);
        let end = ends.keys().next().copied();
        let Some(next) = step.into_iter().chain(end).min() else {
            return Ok(());
        };
        pass(stage, Duration::from_millis(next)).await?;
        for end in ends.remove(&next).unwrap_or_default() {
            stage.end(&end, latency);
        }
        while let Some((_, step)) = steps.next_if(|(at, _)| *at <= next) {
            if let Some((seconds, end)) = stage.happen(step).await {
                ends.entry(next + seconds * 1_000).or_default().push(end);
            }
        }
    }
}

/// Lets time pass until `until`, and looks at the judge and the managers now and then.
async fn pass(stage: &mut Stage, until: Duration) -> Result<(), Broken> {
    loop {
        verdict(stage)?;
        stage.revive().await;
        let left = until.saturating_sub(stage.court.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        tokio::time::sleep(left.min(Duration::from_secs(1))).await;
    }
}

/// All faults are over. Everything gets where users want it, without their doing, and stays there; then they write again
/// what they want, in a new version, and it gets there too.
async fn goal(stage: &mut Stage, plan: &Plan) -> Result<(), Broken> {
    end_faults(stage);
    // A store that was lost has lost what users wrote.
    if !plan.has_disaster() {
        settle(stage, plan, true).await?;
    }
    make_peace(stage, plan);
    settle(stage, plan, false).await?;
    // What has no room elsewhere keeps its node, and so the record of one that was removed.
    if !stage.wanted.values().any(|spec| is_crowded(stage, spec)) {
        stage.court.judge(Judge::rests);
    }
    history(stage)
}

/// Waits until everything is as users want it and nothing is written any more. `may_wait`: services may wait for a user.
async fn settle(stage: &mut Stage, plan: &Plan, may_wait: bool) -> Result<(), Broken> {
    let end = stage.court.elapsed() + BOUND;
    let mut unlike = String::new();
    while stage.court.elapsed() < end {
        let next = stage.court.elapsed() + Duration::from_secs(1);
        pass(stage, next).await?;
        unlike = match differs(stage, plan, may_wait) {
            Some(how) => how,
            None => {
                let revision = stage.store.revision();
                let next = stage.court.elapsed() + QUIET;
                pass(stage, next).await?;
                let is_quiet = stage.store.revision() == revision;
                match (differs(stage, plan, may_wait), is_quiet) {
                    (None, true) => return Ok(()),
                    (None, false) => "the store is still written to".into(),
                    (Some(how), _) => how,
                }
            }
        };
    }
    let broken = Broken::new("the goal is reached and the store is quiet", unlike);
    stage.court.accuse(broken.clone());
    Err(broken)
}

fn end_faults(stage: &mut Stage) {
    stage.court.note("fault", "all are over");
    // Tasks wait for a network that is not there, so whoever names one puts it.
    stage.put_networks();
    stage.commit_late();
    for engine in stage.fleet.all() {
        engine.clear_faults();
    }
}

fn make_peace(stage: &mut Stage, plan: &Plan) {
    stage
        .court
        .note("user", "peace: everything is put once more");
    for node in stage.nodes.clone() {
        stage.put_node(node, "active");
    }
    let leaving: Vec<u64> = stage.engines.difference(&stage.nodes).copied().collect();
    for node in leaving {
        stage.delete(&format!("nodes/n{node}"));
    }
    let version = 1_000 + plan.seed % 1_000;
    for (name, spec) in &mut stage.wanted {
        // A change that was halted by a fault goes on with the next manifest only.
        spec.version = version;
        let key = format!("/skep/services/default/{name}");
        stage.world.store.put(&key, spec.text());
    }
    for kv in stage.store.dump("/skep/services/default/") {
        let name = kv.key.trim_start_matches("/skep/services/default/");
        if !stage.wanted.contains_key(name) {
            stage.store.delete(&kv.key);
        }
    }
    stage.court.look_at_store(false);
}

/// How the fleet differs from what users want.
fn differs(stage: &Stage, plan: &Plan, may_wait: bool) -> Option<String> {
    let tasks = stage.store.dump("/skep/tasks/");
    let is_known = |task: &str| tasks.iter().any(|kv| kv.key.ends_with(task));
    let mut running: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut drained = BTreeSet::new();
    let nodes = active(stage);
    for engine in stage.fleet.all() {
        let is_active = nodes.iter().any(|node| url(*node) == engine.address());
        for container in ours(&engine) {
            let label = |name: &str| container.labels.get(name).cloned().unwrap_or_default();
            // After the store was lost nothing unclaimed is removed by itself.
            if plan.has_disaster() && !is_known(&label("dev.skep.task")) {
                continue;
            }
            let body = engine.body(&container.id).unwrap_or_default();
            let version = version(&body["Env"]);
            let name = label("dev.skep.name");
            if !is_active {
                drained.insert(name.clone());
            }
            running.entry(name).or_default().push(version);
        }
    }
    for (name, spec) in &stage.wanted {
        let count = match spec.is_global {
            true => nodes.len() as u64,
            false => spec.replicas.min(spec.extras.room(&nodes)),
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let here = running.remove(name).unwrap_or_default();
        if may_wait && is_halted(stage, name) {
            continue;
        }
        let is_free = spec.extras.port.is_none() && spec.extras.wish == Wish::Nothing;
        if is_free && drained.contains(name) {
            return Some(format!("{name} runs on a drained node"));
        }
        let version = format!("V=v{}", spec.version);
        let new = here.iter().filter(|has| **has == version).count();
        // A change waits while tasks of it have no room, and a drained node keeps what has no place elsewhere.
        let most = usize::try_from(spec.replicas).unwrap_or(usize::MAX);
        let is_fine = match is_crowded(stage, spec) {
            true => (count..=most).contains(&here.len()),
            false => here.len() == count && new == count,
        };
        if !is_fine {
            return Some(format!(
                "{name}: {count} wanted, {} run, {new} of them with {version}",
                here.len()
            ));
        }
    }
    let left = running.keys().next();
    let left = left.map(|left| format!("{left} was deleted and still runs"));
    left.or_else(|| unknown(stage))
}

/// A container of others in a network whose node does not say where it is, or says something else.
fn unknown(stage: &Stage) -> Option<String> {
    stage.nodes.iter().find_map(|node| {
        let status = stage.store.get(&format!("/skep/status/nodes/n{node}/task"));
        let status = status.and_then(|kv| serde_json::from_slice::<Value>(&kv.value).ok());
        let status = status.unwrap_or_default();
        let said = status["found"]["strangers"].as_array();
        let said = said.into_iter().flatten().map(|stranger| {
            let text = |field: &str| stranger[field].as_str().unwrap_or_default().to_owned();
            (text("name"), text("address"))
        });
        let here = strangers(&stage.engine(*node)).into_iter();
        let here = here.map(|one| (one.name, one.addresses[0].to_string()));
        let (here, said): (BTreeSet<_>, BTreeSet<_>) = (here.collect(), said.collect());
        (here != said).then(|| format!("n{node} has {here:?} and says {said:?}"))
    })
}

/// Whether a service wants more than its nodes have room for.
fn is_crowded(stage: &Stage, spec: &Spec) -> bool {
    !spec.is_global && spec.replicas > spec.extras.room(&active(stage))
}

/// The nodes that users want tasks on.
fn active(stage: &Stage) -> Vec<u64> {
    let takes = |node: &&u64| {
        let manifest = stage.store.get(&format!("/skep/nodes/n{node}"));
        let text = manifest.map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
        text.is_some_and(|text| text.contains("availability: active"))
    };
    stage.nodes.iter().filter(takes).copied().collect()
}

/// Whether a service waits for a user: what was written last cannot be read, or a fault has halted its change.
fn is_halted(stage: &Stage, name: &str) -> bool {
    let text = |key: &str| {
        let found = stage.store.get(&format!("/skep/{key}"));
        found.map_or_else(String::new, |kv| {
            String::from_utf8_lossy(&kv.value).into_owned()
        })
    };
    let status = text(&format!("status/services/default/{name}/service"));
    text(&format!("services/default/{name}")).starts_with("garbage")
        || status.contains("\"state\":\"paused\"")
}

/// The variable that tells one version of a manifest from another.
fn version(environment: &serde_json::Value) -> String {
    let all = environment.as_array().into_iter().flatten();
    let mut texts = all.filter_map(serde_json::Value::as_str);
    let found = texts.find(|text| text.starts_with("V="));
    found.unwrap_or_default().to_owned()
}

/// Not more records than are wanted and kept.
fn history(stage: &Stage) -> Result<(), Broken> {
    verdict(stage)?;
    let mut slots: BTreeMap<String, usize> = BTreeMap::new();
    for kv in stage.store.dump("/skep/tasks/") {
        let task: serde_json::Value = serde_json::from_slice(&kv.value).unwrap_or_default();
        let slot = format!("{} {}", task["service"], task["slot"]);
        *slots.entry(slot).or_default() += 1;
    }
    let rule = "history is bounded (S8)";
    match slots.iter().find(|(_, count)| **count > HISTORY + 1) {
        None => Ok(()),
        Some((slot, count)) => {
            let broken = Broken::new(rule, format!("slot {slot} has {count} records"));
            stage.court.accuse(broken.clone());
            Err(broken)
        }
    }
}
