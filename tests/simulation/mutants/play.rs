//! Plays each planted bug in one seed after the other until a rule is broken, on all processors.

use super::Mutant;
use crate::plan::Plan;
use crate::pool::{Next, in_order};
use crate::run::run;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// The first seed of every bug: the same each time, so the table is.
const FIRST: u64 = 1;

/// Within so many seeds each bug is caught.
pub(super) const SEEDS: u64 = 500;

/// What its seeds draw.
const SCENARIO: &str = "wide";

/// How a bug was caught.
#[derive(Clone, Debug)]
struct Caught {
    rule: &'static str,
    /// How many seeds it took.
    seeds: u64,
}

/// Seeds played without a bug: the rule that is broken all the same, if one is.
#[derive(Default)]
struct Control(Mutex<BTreeMap<u64, Option<&'static str>>>);

impl Control {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Option<&'static str>>> {
        self.0.lock().expect("no run goes on while it is held")
    }

    /// The rule that a seed breaks by itself.
    fn breaks(&self, seed: u64) -> Option<&'static str> {
        let known = self.all().get(&seed).copied();
        known.unwrap_or_else(|| {
            let broken = run(&Plan::draw(seed, SCENARIO), None).broken;
            let rule = broken.map(|broken| broken.rule);
            self.all().insert(seed, rule);
            rule
        })
    }

    /// The seeds that break a rule by themselves.
    fn broken(&self) -> Vec<(u64, &'static str)> {
        let all = self.all();
        let broken = all
            .iter()
            .filter_map(|(seed, rule)| Some((*seed, (*rule)?)));
        broken.collect()
    }
}

/// The first seed in which the bug breaks a rule that is kept without it.
fn catch(mutant: Mutant, seeds: u64, control: &Control) -> Option<Caught> {
    (FIRST..FIRST + seeds).find_map(|seed| {
        let broken = run(&Plan::draw(seed, SCENARIO), Some(mutant)).broken?;
        let counts = control.breaks(seed).is_none();
        counts.then_some(Caught {
            rule: broken.rule,
            seeds: seed - FIRST + 1,
        })
    })
}

/// Whether the judge sees the bug.
pub(crate) fn is_seen(mutant: Mutant) -> bool {
    catch(mutant, SEEDS, &Control::default()).is_some()
}

/// Plays all bugs, or the one of this name, in so many seeds at most; prints a table, and says whether all were caught.
pub(crate) fn play(only: Option<&str>, seeds: Option<u64>) -> bool {
    let seeds = seeds.unwrap_or(SEEDS);
    let is_asked = |(mutant, _): &(Mutant, &str)| only.is_none_or(|only| mutant.name().0 == only);
    let mutants: Vec<_> = Mutant::all().into_iter().filter(is_asked).collect();
    let control = Arc::new(Control::default());
    println!("| Bug | Where | What it does | Broken rule | Seeds |");
    println!("|---|---|---|---|---|");
    let (mut played, mut caught) = (0, 0);
    let (all, clean) = (mutants.clone(), control.clone());
    let act = move |number: u64| {
        let mutant = usize::try_from(number).ok().and_then(|at| all.get(at));
        mutant.and_then(|(mutant, _)| catch(*mutant, seeds, &clean))
    };
    let last = (mutants.len() as u64).checked_sub(1);
    in_order(0, last, act, |result| {
        if let Some(found) = result {
            println!("{}", row(mutants[played], found.as_ref()));
            played += 1;
            caught += usize::from(found.is_some());
        }
        match played == mutants.len() {
            true => Next::Enough,
            false => Next::More,
        }
    });
    for (seed, rule) in control.broken() {
        println!("seed {seed} breaks a rule without any bug, and proves nothing: {rule}");
    }
    println!("mutants {played} caught {caught}");
    caught == mutants.len() && caught > 0
}

fn row((mutant, what): (Mutant, &str), caught: Option<&Caught>) -> String {
    let (name, place) = mutant.name();
    let (rule, seeds) = match caught {
        Some(caught) => (caught.rule, caught.seeds.to_string()),
        None => ("SURVIVED", "-".to_owned()),
    };
    format!("| {name} | {place} | {what} | {rule} | {seeds} |")
}
