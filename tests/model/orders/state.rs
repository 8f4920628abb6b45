//! What there is in the model of engine orders: the store, two engines, the managers, and what is on its way.
//!
//! Task 0 is bound to engine 0 and is retired; task 1 is its successor in the slot, on engine 1. Fields that the protocol
//! could not see, only the properties, stand in [`Facts`] and are named `ghost` elsewhere.

/// Tasks, and the engine that each is bound to.
pub(crate) const TASKS: usize = 2;

/// The create revision of a shard key; 0: none.
pub(crate) type Term = u8;

/// What the owner of the slot has written: the task's records and bindings, oldest first. It never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Wish {
    /// Task 0 is to run.
    First,
    /// The binding of task 0 was withdrawn; its record still says `running`.
    Unbound,
    /// Task 0 is to shut down.
    Retired,
    /// Task 1 is to run.
    Replaced,
}

/// What is wanted of one task; none: it is not bound here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Desired {
    Running,
    Shutdown,
}

impl Wish {
    /// What it says of a task.
    pub(crate) fn of(self, task: usize) -> Option<Desired> {
        match (self, task) {
            (Self::First, 0) | (Self::Replaced, 1) => Some(Desired::Running),
            (Self::Retired | Self::Replaced, 0) => Some(Desired::Shutdown),
            _ => None,
        }
    }
}

/// The status of a task, as far as orders depend on it. It never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Status {
    Nothing,
    Starting,
    Running,
    /// Shut down, failed, or ended by itself.
    Over,
}

/// What the store holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Store {
    pub(crate) wish: Wish,
    pub(crate) statuses: [Status; TASKS],
    /// The create revision of each shard's key; 0: nobody holds it.
    pub(crate) shards: [Term; TASKS],
    /// The last create revision that was given out.
    pub(crate) revision: Term,
}

/// How far a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Life {
    Created,
    Running,
    Exited,
}

/// A container under its task's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Container {
    /// Never used again on this engine.
    pub(crate) id: u8,
    /// The term in its label.
    pub(crate) term: Term,
    pub(crate) life: Life,
}

/// An engine, which has room for one container of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Engine {
    pub(crate) container: Option<Container>,
    /// How many were made: the last id.
    pub(crate) made: u8,
    /// How many of them ever ran (ghost).
    pub(crate) ran: u8,
}

impl Engine {
    /// Whether a container runs.
    pub(crate) fn runs(&self) -> bool {
        self.container
            .is_some_and(|container| container.life == Life::Running)
    }
}

/// What stands behind a start (ghost).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Commitment {
    Missing,
    /// `starting` was committed when the task was not to run on this node any more.
    Unwanted,
    Sound,
}

/// A call to an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Call {
    Create,
    Start(u8, Commitment),
    Stop(u8),
    Remove(u8),
}

/// Where a call was when its term ended (ghost).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Lapse {
    /// The term goes on, or was over before the deadline was checked.
    None,
    /// Between the check of the deadline and the sending.
    Unsent,
    /// Between the sending and the engine.
    InTransit,
}

/// A call on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Order {
    pub(crate) task: usize,
    pub(crate) term: Term,
    pub(crate) call: Call,
    /// Whether it has left its manager, or was only checked.
    pub(crate) is_sent: bool,
    pub(crate) lapse: Lapse,
}

/// A transaction on its way: puts a task's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Write {
    pub(crate) task: usize,
    pub(crate) term: Term,
    /// `Starting` is the commitment to start: it compares record and binding too.
    pub(crate) status: Status,
}

/// What a manager last saw of a task's container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Seen {
    #[default]
    Unknown,
    Missing,
    Here(Container),
}

/// What a manager does for one task in this term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Worker {
    pub(crate) seen: Seen,
    pub(crate) is_committed: bool,
    pub(crate) start_sent: bool,
    pub(crate) write: Option<Write>,
    pub(crate) order: Option<Order>,
}

/// Where the lease of a manager stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Session {
    /// It has none.
    None,
    /// Its deadline is still to come.
    Open,
    /// It ran out while the manager was paused or cut off: the manager has not noticed.
    Slept,
    /// The manager ended its term or died; its keys stay until the lease ends.
    Closing,
}

/// A manager. None has a name: any two may be exchanged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Manager {
    pub(crate) session: Session,
    /// The terms of the shards that it holds or believes to hold; 0: none.
    pub(crate) terms: [Term; TASKS],
    /// How far its cache is.
    pub(crate) view: Wish,
    pub(crate) workers: [Worker; TASKS],
}

impl Manager {
    /// One that holds nothing. Its cache may be as old as can be.
    pub(crate) fn idle() -> Self {
        Self {
            session: Session::None,
            terms: [0; TASKS],
            view: Wish::First,
            workers: Default::default(),
        }
    }
}

/// What happened, for the properties to judge (ghost).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Facts {
    /// A container that had ended ran again.
    pub(crate) restarted: bool,
    /// A start took effect after its term, and where the order was when the term ended.
    pub(crate) late: Option<Lapse>,
    /// The worst commitment behind a start.
    pub(crate) worst: Commitment,
    /// A write was committed after one of a later term.
    pub(crate) overtaken: bool,
    /// A status went back.
    pub(crate) went_back: bool,
    /// The last term that wrote each task's status.
    pub(crate) wrote: [Term; TASKS],
    /// The term of each task's last commitment, and whether the task was wanted then.
    pub(crate) committed: [(Term, bool); TASKS],
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) engines: [Engine; TASKS],
    /// Sorted, because they are exchangeable.
    pub(crate) managers: Vec<Manager>,
    /// Orders that nobody waits for any more, sorted.
    pub(crate) orders: Vec<Order>,
    /// Transactions that nobody waits for any more, sorted.
    pub(crate) writes: Vec<Write>,
    /// Sessions that may still be opened.
    pub(crate) sessions: u8,
    /// Answers of engines that may still be lost.
    pub(crate) losses: u8,
    pub(crate) facts: Facts,
}

impl State {
    /// Nothing has happened yet.
    pub(crate) fn first(managers: usize, sessions: u8, losses: u8) -> Self {
        Self {
            store: Store {
                wish: Wish::First,
                statuses: [Status::Nothing; TASKS],
                shards: [0; TASKS],
                revision: 0,
            },
            engines: Default::default(),
            managers: vec![Manager::idle(); managers],
            orders: Vec::new(),
            writes: Vec::new(),
            sessions,
            losses,
            facts: Facts {
                restarted: false,
                late: None,
                worst: Commitment::Sound,
                overtaken: false,
                went_back: false,
                wrote: [0; TASKS],
                committed: [(0, false); TASKS],
            },
        }
    }
}
