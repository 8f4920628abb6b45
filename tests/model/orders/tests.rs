//! What holds, what does not with the window of rule C4 open, and that each planted bug is seen.

use super::state::{Call, Lapse, Order, State};
use super::{Action, Bounds, Bug, Protocol, name};
use crate::check::{Path, explore, has_circle, told, violation};
use std::collections::BTreeSet;

/// The window of rule C4 shut: what was checked is sent at once and arrives, or never does, before its lease ends.
const SHUT: Bounds = Bounds {
    managers: 3,
    shards: 1,
    sessions: 3,
    losses: 1,
    exits: true,
    pause_before_sending: false,
    slow_transit: false,
};

/// A manager may be paused between the check and the sending.
const PAUSE: Bounds = Bounds {
    losses: 0,
    exits: false,
    pause_before_sending: true,
    ..SHUT
};

/// An order may take longer to its engine than its lease lives.
const TRANSIT: Bounds = Bounds {
    losses: 0,
    exits: false,
    slow_transit: true,
    ..SHUT
};

/// Both, with fewer changes of hands.
const OPEN: Bounds = Bounds {
    sessions: 2,
    pause_before_sending: true,
    slow_transit: true,
    ..SHUT
};

/// The same with containers that go on for ever.
const OPEN_FOR_LONG_LIVES: Bounds = Bounds {
    exits: false,
    ..OPEN
};

/// Shut, with fewer changes of hands.
const SMALL: Bounds = Bounds {
    sessions: 2,
    ..SHUT
};

/// What a late start brings with it, and nothing else.
const BEHIND_THE_WINDOW: [&str; 2] = [name::LATE, name::TWO_OF_A_SLOT];

/// Explores all states: there are so many, and these properties do not hold.
fn check(bounds: Bounds, states: usize, violated: &[&'static str]) {
    let found = explore(Protocol { bounds, bug: None });
    println!("{bounds:?}: {} states", found.states);
    assert_eq!(found.violated, violated.iter().copied().collect());
    let possible: BTreeSet<_> = [name::SUCCEEDED, name::CHANGED_HANDS].into();
    assert_eq!(found.examples, possible, "nothing to see in this model");
    assert_eq!(found.states, states, "README.md names this number");
}

#[test]
fn with_the_window_shut_no_start_is_late_and_all_rules_hold() {
    check(SHUT, 710_262, &[]);
}

#[test]
fn engines_of_two_shards_may_have_two_drivers_and_each_has_one() {
    let bounds = Bounds {
        shards: 2,
        sessions: 2,
        ..SHUT
    };
    check(bounds, 190_262, &[]);
}

#[test]
fn a_pause_between_the_last_check_and_the_sending_lets_a_start_be_late() {
    check(PAUSE, 662_766, &BEHIND_THE_WINDOW);
    let path = late(PAUSE);
    let ended = place(&path, |action| matches!(action, Action::LeaseEnds { .. }));
    let sent = place(&path, |action| matches!(action, Action::Send { .. }));
    assert!(
        ended < sent,
        "its lease ends, and then it is sent:\n{}",
        told::<Protocol>(&path)
    );
    let was_checked =
        |state: &State| starts(state).any(|order| !order.is_sent && order.lapse == Lapse::None);
    assert!(
        was_checked(&path[ended].0),
        "it was checked while the lease lived"
    );
    assert_eq!(path[path.len() - 1].0.facts.late, Some(Lapse::Unsent));
}

#[test]
fn an_order_that_outlives_its_lease_on_the_way_lets_a_start_be_late() {
    check(TRANSIT, 339_826, &BEHIND_THE_WINDOW);
    let path = late(TRANSIT);
    let ended = place(&path, |action| matches!(action, Action::LeaseEnds { .. }));
    let was_sent = |state: &State| starts(state).any(|order| order.is_sent);
    assert!(
        was_sent(&path[ended].0),
        "it was on its way when the lease ended"
    );
    assert_eq!(path[path.len() - 1].0.facts.late, Some(Lapse::InTransit));
}

#[test]
fn with_the_window_open_all_else_holds() {
    // The first container of a task has to end by itself before a second one can run.
    let [late, slot] = BEHIND_THE_WINDOW;
    check(OPEN, 146_870, &[late, slot, name::TWO_OF_A_TASK]);
}

#[test]
fn a_late_start_makes_no_second_container_of_a_task_whose_first_still_runs() {
    check(OPEN_FOR_LONG_LIVES, 84_349, &BEHIND_THE_WINDOW);
}

#[test]
fn no_run_goes_round_in_circles() {
    let bounds = OPEN_FOR_LONG_LIVES;
    assert!(!has_circle(&Protocol { bounds, bug: None }));
}

/// The shortest way to a late start.
fn late(bounds: Bounds) -> Path<Protocol> {
    let path = violation(Protocol { bounds, bug: None }, name::LATE).expect("one is reachable");
    println!("a late start:\n{}", told::<Protocol>(&path));
    path
}

/// Where the last such step of a path is.
fn place(path: &Path<Protocol>, is_it: impl Fn(&Action) -> bool) -> usize {
    let place = path
        .iter()
        .rposition(|(_, action)| action.as_ref().is_some_and(&is_it));
    place.unwrap_or_else(|| panic!("no such step:\n{}", told::<Protocol>(path)))
}

/// The starts that wait to be sent or are on their way.
fn starts(state: &State) -> impl Iterator<Item = Order> {
    let workers = state.managers.iter().flat_map(|manager| &manager.workers);
    let orders = workers.filter_map(|worker| worker.order);
    let all = orders.chain(state.orders.iter().copied());
    all.filter(|order| matches!(order.call, Call::Start(..)))
}

/// With the window shut but for what `bug` does, or open where only a late order meets it.
const BUGS: [(Bug, Bounds, &str); 16] = [
    (Bug::NoFence, SMALL, name::OVERTAKEN),
    (Bug::NoDeadlineCheck, SMALL, name::LATE),
    (Bug::NoDeadlineCheck, OPEN, name::WINDOW),
    (Bug::TermGoesOn, SMALL, name::WENT_BACK),
    (Bug::NoCommit, SMALL, name::COMMITTED),
    (Bug::NoRecordCompare, SMALL, name::WANTED),
    (Bug::NoBindingCompare, SMALL, name::WANTED),
    (Bug::AdoptOtherTerms, OPEN, name::RESTART),
    (Bug::WaitForOtherTerms, SMALL, name::LOST),
    (Bug::StartTwice, SMALL, name::RESTART),
    (Bug::StartWhatRan, SMALL, name::RESTART),
    (
        Bug::RemoveWithForce,
        OPEN_FOR_LONG_LIVES,
        name::TWO_OF_A_TASK,
    ),
    (Bug::StartByName, OPEN, name::RESTART),
    (Bug::ReplaceEarly, SMALL, name::TWO_OF_A_SLOT),
    (Bug::ForgetTheStart, SMALL, name::TWO_OF_A_SLOT),
    (Bug::ClaimTaken, SMALL, name::LATE),
];

#[test]
fn each_bug_of_the_orders_is_caught() {
    for (bug, bounds, property) in BUGS {
        let path = violation(
            Protocol {
                bounds,
                bug: Some(bug),
            },
            property,
        );
        let path = path.unwrap_or_else(|| panic!("{bug:?} survives \"{property}\""));
        println!(
            "{bug:?} is caught by \"{property}\":\n{}",
            told::<Protocol>(&path)
        );
    }
}
