//! Shard hand-over and engine orders: who drives an engine, what it commits, and what reaches the engine when.

mod plan;
mod state;
mod step;
mod tests;

use self::state::{Commitment, Desired, Lapse, State, Status};
use stateright::{Model, Property};

/// How much may happen in one run, and what the surroundings may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) managers: usize,
    /// One for both engines, or one for each.
    pub(crate) shards: usize,
    /// Sessions that managers open, each with its shards: how often they may change hands, plus one.
    pub(crate) sessions: u8,
    /// Answers of engines that are given up while the order is on its way or done.
    pub(crate) losses: u8,
    /// Whether containers end by themselves.
    pub(crate) exits: bool,
    /// Half of the window of rule C4: a lease may end between the check of its deadline and the sending.
    pub(crate) pause_before_sending: bool,
    /// The other half: it may end between the sending and the engine.
    pub(crate) slow_transit: bool,
}

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Transactions do not compare the shard's key.
    NoFence,
    /// The lease's deadline is not checked before an order is sent.
    NoDeadlineCheck,
    /// After an unknown outcome the term goes on.
    TermGoesOn,
    /// A start is sent without the commitment.
    NoCommit,
    /// The commitment does not compare the task's record.
    NoRecordCompare,
    /// The commitment does not compare the binding.
    NoBindingCompare,
    /// A container that was made under another term is started.
    AdoptOtherTerms,
    /// A container that was made under another term is left as it is.
    WaitForOtherTerms,
    /// A start whose answer was lost is sent again.
    StartTwice,
    /// A container that ended is started again.
    StartWhatRan,
    /// A container that never ran, as far as is known, is removed with force.
    RemoveWithForce,
    /// A start names the container by its name.
    StartByName,
    /// The successor is wanted before the task was seen to be over.
    ReplaceEarly,
    /// A task that shuts down is over although a start of it may still come.
    ForgetTheStart,
    /// A shard that somebody holds is taken.
    ClaimTaken,
}

/// The protocol within bounds, perhaps with a bug.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    pub(crate) bounds: Bounds,
    pub(crate) bug: Option<Bug>,
}

/// A step of somebody. Managers are numbered as they stand in the sorted state that the step leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The slot's owner wants task 0 no longer.
    Retire,
    /// Its binding is withdrawn.
    Unbind,
    /// The successor is wanted: the status of task 0 said that it is over.
    Replace,
    /// A container ends by itself.
    Exit { task: usize },
    /// A manager claims a shard that nobody holds.
    Claim { manager: usize, shard: usize },
    /// A lease ends at the store, and with it the keys.
    LeaseEnds { manager: usize },
    /// A manager whose lease ended wakes and sees that its deadline has passed.
    Wake { manager: usize },
    /// A manager dies or ends its term.
    Crash { manager: usize },
    /// The outcome of a write is unknown: the term ends.
    Unknown { manager: usize, task: usize },
    /// The cache catches up.
    Sync { manager: usize },
    /// A container is looked at, or its event arrives.
    Look { manager: usize, task: usize },
    /// A decision: its write is sent; its order is sent, or stands checked before it is.
    Plan { manager: usize, task: usize },
    /// An order that was checked is sent.
    Send { manager: usize, task: usize },
    /// An order is carried out, and its container is looked at.
    Deliver { manager: usize, task: usize },
    /// The answer to an order is not waited for any longer.
    GiveUp { manager: usize, task: usize },
    /// A transaction is applied and answered.
    Commit { manager: usize, task: usize },
    /// A start had no effect for so long that it is given up.
    LosePatience { manager: usize, task: usize },
    /// An order arrives for which nobody waits any more.
    DeliverLate { order: usize },
    /// It never arrives.
    Lose { order: usize },
    /// A transaction is applied for which nobody waits any more.
    CommitLate { write: usize },
}

/// The names of the properties.
pub(crate) mod name {
    pub(crate) const RESTART: &str = "a container that ran is never started again";
    pub(crate) const TWO_OF_A_TASK: &str = "of a task at most one container ever runs";
    pub(crate) const COMMITTED: &str = "what is started was committed before";
    pub(crate) const WANTED: &str = "what is started was wanted and bound when that was committed";
    pub(crate) const OVERTAKEN: &str = "no write of an ended term follows one of its successor";
    pub(crate) const WENT_BACK: &str = "a status never goes back";
    pub(crate) const LOST: &str = "when nothing more can happen all is as it should be";
    pub(crate) const LATE: &str = "no start takes effect after its term";
    pub(crate) const WINDOW: &str = "a late start was past its last check when its term ended";
    pub(crate) const DOUBLED: &str = "nothing runs twice but after a late start";
    pub(crate) const SUCCEEDED: &str = "the first task ran and its successor runs";
    pub(crate) const CHANGED_HANDS: &str = "what another term made was made anew and runs";
    pub(crate) const TWO_OF_A_SLOT: &str = "of a slot one container runs at a time";
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let Bounds {
            managers,
            sessions,
            losses,
            ..
        } = self.bounds;
        vec![State::first(managers, sessions, losses)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        step::actions(self, state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(step::next(self, state, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(name::RESTART, |_, state: &State| !state.facts.restarted),
            Property::always(name::TWO_OF_A_TASK, |_, state: &State| {
                state.engines.iter().all(|engine| engine.ran <= 1)
            }),
            Property::always(name::COMMITTED, |_, state: &State| {
                state.facts.worst != Commitment::Missing
            }),
            Property::always(name::WANTED, |_, state: &State| {
                state.facts.worst != Commitment::Unwanted
            }),
            Property::always(name::OVERTAKEN, |_, state: &State| !state.facts.overtaken),
            Property::always(name::WENT_BACK, |_, state: &State| !state.facts.went_back),
            Property::always(name::LOST, |protocol: &Self, state: &State| {
                is_settled(state) || protocol.goes_on(state)
            }),
            Property::always(name::WINDOW, |_, state: &State| {
                state.facts.late != Some(Lapse::None)
            }),
            Property::always(name::LATE, |_, state: &State| state.facts.late.is_none()),
            Property::always(name::TWO_OF_A_SLOT, |_, state: &State| {
                !state.engines.iter().all(state::Engine::runs)
            }),
            Property::always(name::DOUBLED, |_, state: &State| {
                let is_double = state.engines.iter().any(|engine| engine.ran > 1)
                    || state.engines.iter().all(state::Engine::runs);
                !is_double || state.facts.late.is_some()
            }),
            Property::sometimes(name::SUCCEEDED, |_, state: &State| {
                state.engines[0].ran == 1 && state.engines[1].runs()
            }),
            Property::sometimes(name::CHANGED_HANDS, |_, state: &State| {
                state
                    .engines
                    .iter()
                    .any(|engine| engine.runs() && engine.made > 1)
            }),
        ]
    }
}

impl Protocol {
    /// Whether anything more can happen.
    fn goes_on(&self, state: &State) -> bool {
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        !actions.is_empty()
    }
}

/// Whether what runs is what is wanted, and the statuses say so.
fn is_settled(state: &State) -> bool {
    (0..state::TASKS).all(|task| {
        let status = state.store.statuses[task];
        match state.store.wish.of(task) {
            Some(Desired::Running) => {
                status == Status::Over || (status == Status::Running && state.engines[task].runs())
            }
            Some(Desired::Shutdown) => status == Status::Over && !state.engines[task].runs(),
            None => true,
        }
    })
}
