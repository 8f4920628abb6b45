//! What people ask of the families, and what they see: counts, violations, and how to play one again.

use super::family::Family;
use super::jobs::{Job, References};
use super::play::Played;
use crate::chance::Chance;
use crate::command::{elapsed, setting};
use crate::pool;
use skep::runtime::clock::{Clock, SystemClock};
use skep::sim::check::Broken;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// How often those who wait are told how far it is.
const TOLD: Duration = Duration::from_secs(10);

/// `make simulate FAMILIES=all`: all, or those of one SCENARIO=, one FAMILY=, one POINT= with its trace; EVERY= leaves
/// out all but every so-manieth point.
pub(crate) fn families() -> ExitCode {
    let family = match setting::<String>("FAMILY").map(|name| Family::parse(&name).ok_or(name)) {
        Some(Err(name)) => {
            let all = Family::ALL.map(Family::as_str).join(" ");
            eprintln!("error: no family {name:?}; known: {all}");
            return ExitCode::from(2);
        }
        Some(Ok(family)) => Some(family),
        None => None,
    };
    let point = setting::<usize>("POINT");
    let every = setting::<usize>("EVERY").unwrap_or(1).max(1);
    let is_wanted = |job: &Job<'_>| match point {
        Some(point) => job.number == point,
        None => job.number.is_multiple_of(every),
    };
    let is_wanted =
        |job: &Job<'_>| family.is_none_or(|family| family == job.point.family) && is_wanted(job);
    run(
        setting::<String>("SCENARIO").as_deref(),
        is_wanted,
        point.is_some(),
    )
}

fn run(
    scenario: Option<&str>,
    is_wanted: impl Fn(&Job<'_>) -> bool,
    shows_trace: bool,
) -> ExitCode {
    let start = SystemClock.now().since_boot;
    let references = match References::play(scenario) {
        Ok(references) => references,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::FAILURE;
        }
    };
    let mut jobs = references.jobs();
    let counts = count(&jobs);
    jobs.retain(is_wanted);
    if jobs.is_empty() {
        eprintln!("error: there is no such scenario, family or point");
        return ExitCode::from(2);
    }
    let results = play_all(&jobs, start, shows_trace, || true);
    let traces = results.iter().flat_map(|played| &played.trace);
    traces.for_each(|line| println!("{line}"));
    print_counts(&counts);
    let violations = results
        .iter()
        .filter(|played| played.broken.is_some())
        .count();
    let simulated: Duration = results.iter().map(|played| played.simulated).sum();
    println!(
        "points {} of {} simulated {} s wall {} s violations {violations}",
        jobs.len(),
        counts.values().sum::<usize>(),
        simulated.as_secs(),
        elapsed(start).as_secs(),
    );
    let mistakes = mistaken(&counts, &references);
    for mistake in &mistakes {
        eprintln!("error: {mistake}, and its scenario says otherwise");
    }
    match violations == 0 && mistakes.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Some points of all, those that this seed draws, as long as there is time; whether no rule was broken.
pub(crate) fn sample(seed: u64, has_time: impl Fn() -> bool + Sync) -> bool {
    let start = SystemClock.now().since_boot;
    let references = match References::play(None) {
        Ok(references) => references,
        Err(why) => {
            eprintln!("error: {why}");
            return false;
        }
    };
    let mut jobs = references.jobs();
    let all = jobs.len();
    Chance::new(seed).shuffle(&mut jobs);
    let results = play_all(&jobs, start, false, has_time);
    let violations = results.iter().filter(|played| played.broken.is_some());
    let violations = violations.count();
    let simulated: Duration = results.iter().map(|played| played.simulated).sum();
    println!(
        "points {} of {all} simulated {} s wall {} s violations {violations}",
        results.len(),
        simulated.as_secs(),
        elapsed(start).as_secs(),
    );
    violations == 0
}

fn play_all(
    jobs: &[Job<'_>],
    start: Duration,
    shows_trace: bool,
    has_time: impl Fn() -> bool + Sync,
) -> Vec<Played> {
    let (done, told) = (AtomicUsize::new(0), AtomicU64::new(0));
    let results = pool::each(jobs, |job| {
        if !has_time() {
            return None;
        }
        let mut played = job.play();
        if let Some(broken) = &played.broken {
            tell(job, broken);
        }
        played.moments.clear();
        played.state.clear();
        if !shows_trace {
            played.trace.clear();
        }
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        let steps = elapsed(start).as_secs() / TOLD.as_secs();
        if told.fetch_max(steps, Ordering::Relaxed) < steps {
            println!("played {done} of {} points", jobs.len());
        }
        Some(played)
    });
    results.into_iter().flatten().collect()
}

type Counts = BTreeMap<(&'static str, Family), usize>;

fn count(jobs: &[Job<'_>]) -> Counts {
    let mut counts = Counts::new();
    for job in jobs {
        *counts
            .entry((job.scenario.name, job.point.family))
            .or_default() += 1;
    }
    counts
}

/// Where a family has points and is said to have none, or the other way round: a recorder that hears nothing must not
/// pass for a scenario in which nothing happens.
fn mistaken(counts: &Counts, references: &References) -> Vec<String> {
    let mut mistakes = Vec::new();
    for scenario in references.scenarios() {
        for family in Family::ALL
            .into_iter()
            .filter(|family| *family != Family::Walk)
        {
            let count = counts.get(&(scenario.name, family)).copied().unwrap_or(0);
            if (count == 0) != scenario.without.contains(&family) {
                mistakes.push(format!("{} has {count} points of {family}", scenario.name));
            }
        }
    }
    mistakes
}

fn tell(job: &Job<'_>, broken: &Broken) {
    let (scenario, family, number) = (job.scenario.name, job.point.family, job.number);
    // In one piece: several processors tell.
    println!(
        "{scenario}, {family} {number}: {}\n  broken: {}: {}\n  replay: make simulate SCENARIO={scenario} FAMILY={family} POINT={number}",
        job.point, broken.rule, broken.what
    );
}

fn print_counts(counts: &Counts) {
    let mut names: Vec<&str> = counts.keys().map(|(name, _)| *name).collect();
    names.dedup();
    print!("{:<10}", "");
    for name in &names {
        print!(" {name:>9}");
    }
    println!();
    for family in Family::ALL {
        print!("{:<10}", family.as_str());
        for name in &names {
            let count = counts
                .iter()
                .find(|((of, is), _)| of == name && *is == family);
            print!(" {:>9}", count.map_or(0, |(_, count)| *count));
        }
        println!();
    }
}
