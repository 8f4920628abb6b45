//! What holds of an election, and that each planted bug is seen.

use super::{Bounds, Bug, Election, name};
use crate::check::{explore, has_circle, told, violation};
use std::collections::BTreeSet;

const BOUNDS: Bounds = Bounds {
    candidates: 3,
    leases: 4,
    plans: 3,
};

fn election(bounds: Bounds, bug: Option<Bug>) -> Election {
    Election { bounds, bug }
}

#[test]
fn a_term_has_one_writer_and_ends_for_good() {
    let found = explore(election(BOUNDS, None));
    println!("{BOUNDS:?}: {} states", found.states);
    assert_eq!(found.violated, BTreeSet::new());
    assert_eq!(found.examples, BTreeSet::from([name::SUCCEEDED]));
    assert_eq!(found.states, 491_016, "README.md names this number");
}

#[test]
fn no_election_goes_round_in_circles() {
    let bounds = Bounds {
        leases: 3,
        plans: 2,
        ..BOUNDS
    };
    assert!(!has_circle(&election(bounds, None)));
}

#[test]
fn each_bug_of_an_election_is_caught() {
    let caught = [
        (Bug::NoFence, name::OVERTAKEN),
        (Bug::TermGoesOn, name::OUTDATED),
        (Bug::LeadUnasked, name::OVERTAKEN),
        (Bug::FenceOfAnother, name::SHARED),
        (Bug::GiveUp, name::LED),
    ];
    for (bug, property) in caught {
        let path = violation(election(BOUNDS, Some(bug)), property);
        let path = path.unwrap_or_else(|| panic!("{bug:?} survives \"{property}\""));
        let steps = told::<Election>(&path);
        println!("{bug:?} is caught by \"{property}\":\n{steps}");
    }
}
