//! The simulation: whole managers over a simulated store and fleet, with everything going wrong that a seed stands for.
//!
//! `make simulate` plays seeds or families, `make mutants` plays planted bugs; without either this program plays a slice of fresh
//! seeds, and shows that the judge sees planted bugs.
//!
//! What is not there yet: see `README.md` beside this file.

mod chance;
mod command;
mod families;
mod happen;
mod mutants;
mod newer;
mod plan;
mod pool;
mod probe;
mod run;
mod scenarios;
mod shrink;
mod slice;
mod stage;
#[allow(dead_code, reason = "no test program uses all of it")]
#[path = "../support/stores.rs"]
mod stores;
mod suffer;
mod trouble;

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::var("SKEP_SIMULATE").as_deref() {
        Ok("seeds") => command::seeds(),
        Ok("families") => families::families(),
        Ok("mutants") => command::mutants(),
        _ => slice::slice(),
    }
}
