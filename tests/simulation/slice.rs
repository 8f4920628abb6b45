//! What every run of all tests plays: a few minutes of fresh seeds and of the families' points, after the proofs that one
//! seed is one trace and that the judge can see.

use crate::command::{elapsed, play, setting};
use crate::families;
use crate::mutants::{Door, Mutant, is_seen};
use crate::plan::Plan;
use crate::run::run;
use skep::runtime::clock::{Clock, SystemClock};
use std::process::ExitCode;
use std::time::Duration;

/// How long it plays in all, references of the families included.
const SLICE: Duration = Duration::from_secs(180);

/// Of that the points of families.
const POINTS: Duration = Duration::from_secs(80);

/// So many seeds are played twice: each has to have one trace.
const TWICE: u64 = 3;

/// What the seeds draw, in turn.
const SCENARIOS: [&str; 8] = [
    "disaster", "managers", "store", "engines", "all", "wide", "rough", "losses",
];

/// Plays it. SEED= plays the slice of an earlier run once more.
pub(crate) fn slice() -> ExitCode {
    let start = SystemClock.now().since_boot;
    let fresh = SystemClock.seed().to_be_bytes();
    let fresh = u64::from(u32::from_be_bytes([fresh[0], fresh[1], fresh[2], fresh[3]]));
    let first = setting("SEED").unwrap_or(fresh);
    println!("a slice of fresh seeds from {first} on");
    if !are_one_trace(first) {
        eprintln!("error: a seed has two traces");
        return ExitCode::FAILURE;
    }
    println!("{TWICE} seeds were played twice, each with one trace");
    for mutant in [Door::RestartsEnded, Door::SkipsStop] {
        if !is_seen(Mutant::Door(mutant)) {
            eprintln!("error: the planted bug {mutant:?} was not seen");
            return ExitCode::FAILURE;
        }
    }
    println!("two planted bugs were seen");
    if !families::sample(first, || elapsed(start) < POINTS) {
        return ExitCode::FAILURE;
    }
    play(first, None, &SCENARIOS, false, |_, _| {
        elapsed(start) >= SLICE
    })
}

/// Whether each of these seeds has the same trace when it is played again.
fn are_one_trace(first: u64) -> bool {
    (first..first + TWICE).all(|seed| {
        let plan = Plan::draw(seed, "all");
        let (one, other) = (run(&plan, None), run(&plan, None));
        let differs = one.trace.iter().zip(&other.trace).find(|(a, b)| a != b);
        if let Some((one, other)) = differs {
            eprintln!("seed {seed} has two traces:\n{one}\n{other}");
        }
        one.hash == other.hash
    })
}
