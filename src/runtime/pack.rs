//! Packing: many small units of writes become few steps that a store accepts. Pure.
//!
//! A unit is what must happen together or not at all (a pair of tasks of one slot, a binding with what it compares).
//! Units keep their order and are never divided; a step that is refused because one unit is out of date is planned anew
//! from a newer view, so packing costs a repetition at worst.

use super::plan::{Expect, Step, Write};
use std::collections::BTreeSet;

/// etcd refuses more than 128 comparisons or operations (`--max-txn-ops`); one comparison is the fence (rule S7).
pub const OPERATIONS: usize = 127;

/// etcd refuses requests above 1.5 MiB (`--max-request-bytes`); rule S7 leaves room for keys and framing.
pub const BYTES: usize = 1 << 20;

/// Joins `units` to as few steps as keep their order and the store's limits.
pub fn pack(units: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut size = 0;
    // What the last step expects: a unit is not compared with all that are there already.
    let mut expected = BTreeSet::new();
    for unit in units {
        if unit.writes.is_empty() {
            continue;
        }
        let added = bytes(&unit);
        match steps.last_mut() {
            Some(step) if fits(step, &unit) && size + added <= BYTES => {
                size += added;
                step.writes.extend(unit.writes);
                let news = unit.expects.into_iter();
                step.expects
                    .extend(news.filter(|expect| expected.insert(expect.clone())));
            }
            _ => {
                size = added;
                expected = unit.expects.iter().cloned().collect();
                steps.push(unit);
            }
        }
    }
    steps
}

fn fits(step: &Step, unit: &Step) -> bool {
    step.writes.len() + unit.writes.len() <= OPERATIONS
        && step.expects.len() + unit.expects.len() <= OPERATIONS
}

fn bytes(step: &Step) -> usize {
    /// Generous: the longest keys are two names of 63 characters and an identifier.
    const KEY: usize = 200;
    let writes: usize = step
        .writes
        .iter()
        .map(|write| match write {
            Write::Put(_, value) => KEY + value.len(),
            Write::Delete(_) => KEY,
        })
        .sum();
    let expects: usize = step
        .expects
        .iter()
        .map(|expect| match expect {
            Expect::Missing(_)
            | Expect::Unchanged(..)
            | Expect::Known(..)
            | Expect::NoneBelow(_) => KEY,
        })
        .sum();
    writes + expects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::key::Key;

    fn unit(name: &str, size: usize) -> Step {
        let key = Key::Manager(name.to_owned());
        Step {
            expects: vec![Expect::Missing(key.clone())],
            writes: vec![Write::Put(key, vec![0; size])],
        }
    }

    fn check(units: Vec<Step>, lengths: &[usize]) {
        let packed: Vec<usize> = pack(units).iter().map(|step| step.writes.len()).collect();
        assert_eq!(packed, lengths);
    }

    #[test]
    fn keeps_the_limits_of_a_transaction() {
        check(vec![], &[]);
        check(
            (0..200).map(|n| unit(&n.to_string(), 10)).collect(),
            &[127, 73],
        );
        check(
            vec![unit("a", 700_000), unit("b", 700_000), unit("c", 1)],
            &[1, 2],
        );
        check(vec![Step::default(), unit("a", 1)], &[1]);
    }

    #[test]
    fn what_several_units_expect_is_expected_once() {
        let with = |name: &str, expected: &[&str]| {
            let mut unit = unit(name, 1);
            let key = |name: &&str| Expect::Missing(Key::Manager((*name).to_owned()));
            unit.expects = expected.iter().map(key).collect();
            unit
        };
        let steps = pack([with("a", &["x", "y"]), with("b", &["y", "z", "z"])]);
        let expected = [with("c", &["x", "y", "z"])].map(|unit| unit.expects);
        assert_eq!(steps[0].expects, expected[0]);
        assert_eq!(steps.len(), 1);
    }
}
