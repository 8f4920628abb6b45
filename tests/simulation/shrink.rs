//! The fewest steps that still break the same rule.

use crate::mutants::Mutant;
use crate::plan::Plan;
use crate::run::{Report, run};

/// Takes steps away, many first, as long as the same rule is broken.
pub(crate) fn shrink(plan: &Plan, report: &Report, mutant: Option<Mutant>) -> (Plan, Report) {
    let rule = report.broken.as_ref().map(|broken| broken.rule);
    let (mut best, mut last) = (plan.clone(), report.clone());
    let mut size = best.steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < best.steps.len() {
            let mut fewer = best.clone();
            let end = (at + size).min(fewer.steps.len());
            fewer.steps.drain(at..end);
            let again = run(&fewer, mutant);
            match again.broken.as_ref().map(|broken| broken.rule) == rule {
                true => (best, last) = (fewer, again),
                false => at += size,
            }
        }
        size /= 2;
    }
    (best, last)
}
