//! What people ask of the simulation, and what they see.

use crate::mutants;
use crate::plan::{Plan, SCENARIOS};
use crate::pool::{self, Next};
use crate::run::{Report, run};
use crate::shrink::shrink;
use sha2::{Digest, Sha256};
use skep::runtime::clock::{Clock, SystemClock};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// One setting of the environment.
pub(crate) fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(_) => {
            eprintln!("error: {name}={text} cannot be read");
            std::process::exit(2);
        }
    }
}

fn scenario() -> String {
    let scenario = setting("SCENARIO").unwrap_or_else(|| "all".to_owned());
    if !SCENARIOS.contains(&scenario.as_str()) {
        eprintln!(
            "error: no scenario {scenario:?}; known: {}",
            SCENARIOS.join(" ")
        );
        std::process::exit(2);
    }
    scenario
}

/// The sum of many runs.
#[derive(Default)]
pub(crate) struct Total {
    seeds: u64,
    simulated: Duration,
    faults: usize,
    violations: u64,
    digest: Sha256,
    checked: BTreeMap<&'static str, u64>,
}

impl Total {
    fn add(&mut self, plan: &Plan, report: &Report) {
        self.seeds += 1;
        self.simulated += report.simulated;
        self.faults += plan.faults();
        self.violations += u64::from(report.broken.is_some());
        self.digest.update(report.hash.as_bytes());
        for (rule, count) in &report.checked {
            *self.checked.entry(rule).or_default() += count;
        }
    }

    /// What is seen meanwhile.
    fn progress(&self, wall: Duration) -> String {
        let rate = self.simulated.as_secs_f64() / wall.as_secs_f64().max(0.001);
        format!("{} ({rate:.0} s simulated per second)", self.summary(wall))
    }

    fn summary(&self, wall: Duration) -> String {
        let digest = self.digest.clone().finalize();
        let hash: String = digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!(
            "seeds {} simulated {} s wall {} s faults {} violations {} trace {hash}",
            self.seeds,
            self.simulated.as_secs(),
            wall.as_secs(),
            self.faults,
            self.violations
        )
    }
}

pub(crate) fn elapsed(start: Duration) -> Duration {
    SystemClock.now().since_boot.saturating_sub(start)
}

/// `make simulate`.
pub(crate) fn seeds() -> ExitCode {
    let scenario = scenario();
    let hours = setting::<u64>("HOURS").map(|hours| Duration::from_secs(hours * 3_600));
    let (first, count) = match setting::<u64>("SEED") {
        Some(seed) => (seed, Some(1)),
        None => (
            setting("FIRST").unwrap_or(1),
            match hours {
                Some(_) => setting("SEEDS"),
                None => Some(setting("SEEDS").unwrap_or(100)),
            },
        ),
    };
    let is_enough = |total: &Total, _wall| {
        count.is_some_and(|count| total.seeds >= count)
            || hours.is_some_and(|hours| total.simulated >= hours)
    };
    let shows_trace = setting::<u64>("SEED").is_some();
    let last = count.map(|count| first + count.max(1) - 1);
    play(first, last, &[&scenario], shows_trace, is_enough)
}

/// A seed that was played.
struct Played {
    seed: u64,
    plan: Plan,
    report: Report,
    /// What people are told of it.
    told: Vec<String>,
}

impl Played {
    fn of(seed: u64, scenario: &str, shows_trace: bool) -> Self {
        let plan = Plan::draw(seed, scenario);
        let mut report = run(&plan, None);
        let mut told = match shows_trace {
            true => report.trace.clone(),
            false => Vec::new(),
        };
        if report.broken.is_some() {
            told.extend(violation(&plan, &report, scenario));
        }
        // Long, and told already.
        report.trace.clear();
        Self {
            seed,
            plan,
            report,
            told,
        }
    }
}

/// Plays seeds on all processors, the scenarios in turn, until it is enough, or somebody presses Ctrl-C.
pub(crate) fn play(
    first: u64,
    last: Option<u64>,
    scenarios: &[&str],
    shows_trace: bool,
    is_enough: impl Fn(&Total, Duration) -> bool,
) -> ExitCode {
    let start = SystemClock.now().since_boot;
    let interrupted = pool::interrupted();
    let mut total = Total::default();
    let (mut told, mut newest) = (Duration::ZERO, first);
    let named: Vec<String> = scenarios.iter().map(ToString::to_string).collect();
    let act = move |seed| {
        let turn = usize::try_from(seed % named.len() as u64).unwrap_or(0);
        Played::of(seed, &named[turn], shows_trace)
    };
    pool::in_order(first, last, act, |played| {
        if let Some(played) = played {
            total.add(&played.plan, &played.report);
            newest = played.seed;
            for line in &played.told {
                println!("{line}");
            }
        }
        let wall = elapsed(start);
        if wall >= told + Duration::from_secs(5) {
            told = wall;
            println!("seed {newest}: {}", total.progress(wall));
        }
        match is_enough(&total, wall) || interrupted.load(Ordering::Relaxed) {
            true => Next::Enough,
            false => Next::More,
        }
    });
    for (rule, count) in &total.checked {
        println!("{count:>10}  {rule}");
    }
    let wall = elapsed(start);
    println!("{}", total.progress(wall));
    println!("{}", total.summary(wall));
    match total.violations {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// The violation with the fewest steps that lead to it, its trace first.
fn violation(plan: &Plan, report: &Report, scenario: &str) -> Vec<String> {
    let (fewer, short) = shrink(plan, report, None);
    let mut told = short.trace;
    told.push(format!(
        "seed {} ({} nodes, managers {:?}, {} ms latency), shrunk from {} steps to {}:",
        plan.seed,
        plan.nodes,
        plan.managers,
        plan.latency,
        plan.steps.len(),
        fewer.steps.len()
    ));
    for (at, step) in &fewer.steps {
        let at = Duration::from_millis(*at).as_secs_f64();
        told.push(format!("  {at:>9.3}  {step}"));
    }
    if let Some(broken) = &short.broken {
        told.push(format!("broken: {}: {}", broken.rule, broken.what));
    }
    let seed = plan.seed;
    told.push(format!(
        "replay: make simulate SEED={seed} SCENARIO={scenario}"
    ));
    told
}

/// `make mutants`.
pub(crate) fn mutants() -> ExitCode {
    let only: Option<String> = setting("MUTANT");
    match mutants::play(only.as_deref(), setting("SEEDS")) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
