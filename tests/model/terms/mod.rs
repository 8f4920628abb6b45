//! Election: keys under leases, the oldest of which leads; terms; transactions that commit late or never.

mod step;
mod tests;

use stateright::{Model, Property};

/// The number of a lease; 0: none. An election key is named after its lease.
pub(crate) type Lease = u8;

/// How much may happen in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) candidates: usize,
    /// Leases that are granted.
    pub(crate) leases: Lease,
    /// Writes that are planned.
    pub(crate) plans: u8,
}

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Transactions do not compare the election key.
    NoFence,
    /// After an unknown outcome the term goes on.
    TermGoesOn,
    /// A candidate leads as soon as its key is there, oldest or not.
    LeadUnasked,
    /// A candidate leads as soon as its key is there, and compares the oldest key instead of its own.
    FenceOfAnother,
    /// A candidate takes no part any more once it has been refused.
    GiveUp,
}

/// The protocol within bounds, perhaps with a bug.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Election {
    pub(crate) bounds: Bounds,
    pub(crate) bug: Option<Bug>,
}

/// An election key in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// Its create revision: the term of who leads with it.
    pub(crate) created: u8,
    pub(crate) lease: Lease,
}

/// Where a candidate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Phase {
    Idle,
    /// Its key is on the way to the store.
    Entering,
    Waiting,
    Leading,
    /// It will never campaign again (a planted bug).
    Gone,
}

/// A transaction on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Txn {
    /// Puts an election key under its lease.
    Enter(Lease),
    /// Writes under a fence; plans are numbered in the order in which they were made.
    Write { fence: Entry, plan: u8, by: Lease },
}

/// One process's wish to lead. None has a name: any two may be exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Candidate {
    pub(crate) phase: Phase,
    /// The lease of this campaign, and until the next one has ended it, of the last.
    pub(crate) lease: Lease,
    /// What its writes compare while it leads.
    pub(crate) fence: Option<Entry>,
    /// The transaction that it waits for.
    pub(crate) txn: Option<Txn>,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) keys: Vec<Entry>,
    /// The leases that live, sorted.
    pub(crate) leases: Vec<Lease>,
    pub(crate) granted: Lease,
    pub(crate) revision: u8,
    pub(crate) candidates: Vec<Candidate>,
    /// Transactions that nobody waits for any more, sorted.
    pub(crate) late: Vec<Txn>,
    pub(crate) planned: u8,
    /// The last committed write (ghost): its term, its plan, and under which lease its writer stood.
    pub(crate) last: (u8, u8, Lease),
    /// What the properties judge (ghost).
    pub(crate) has_two_writers: bool,
    pub(crate) shared: bool,
    pub(crate) overtaken: bool,
    pub(crate) outdated: bool,
}

/// A step of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A candidate ends its old lease with the key, and takes a new one.
    Campaign { candidate: usize },
    /// The transaction that a candidate waits for is applied and answered.
    Answer { candidate: usize },
    /// Its outcome stays unknown.
    Unknown { candidate: usize },
    /// A candidate reads the keys and finds that it leads.
    Lead { candidate: usize },
    /// A leader plans a write and sends it.
    Plan { candidate: usize },
    /// A process dies; another takes its place and knows nothing.
    Crash { candidate: usize },
    /// A candidate whose lease ended sees that.
    Wake { candidate: usize },
    /// A lease ends, and with it its key.
    LeaseEnds { lease: Lease },
    /// A transaction is applied for which nobody waits any more.
    Late { txn: usize },
}

/// The names of the properties.
pub(crate) mod name {
    pub(crate) const SHARED: &str = "no two leaders write under one fence";
    pub(crate) const OVERTAKEN: &str = "no write of an ended term follows one of its successor";
    pub(crate) const OUTDATED: &str = "no write follows one that was planned after it";
    pub(crate) const SUCCEEDED: &str = "a second term wrote while a transaction was late";
    pub(crate) const LED: &str = "when nothing more can happen somebody leads";
}

impl Model for Election {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let idle = Candidate {
            phase: Phase::Idle,
            lease: 0,
            fence: None,
            txn: None,
        };
        vec![State {
            keys: Vec::new(),
            leases: Vec::new(),
            granted: 0,
            revision: 0,
            candidates: vec![idle; self.bounds.candidates],
            late: Vec::new(),
            planned: 0,
            last: (0, 0, 0),
            has_two_writers: false,
            shared: false,
            overtaken: false,
            outdated: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        step::actions(self, state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(step::next(self, state, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(name::SHARED, |_, state: &State| !state.shared),
            Property::always(name::OVERTAKEN, |_, state: &State| !state.overtaken),
            Property::always(name::OUTDATED, |_, state: &State| !state.outdated),
            Property::always(name::LED, |election: &Self, state: &State| {
                step::is_led(state) || election.goes_on(state)
            }),
            Property::sometimes(name::SUCCEEDED, |_, state: &State| {
                state.has_two_writers && !state.late.is_empty()
            }),
        ]
    }
}

impl Election {
    /// Whether anything more can happen.
    fn goes_on(&self, state: &State) -> bool {
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        !actions.is_empty()
    }
}
