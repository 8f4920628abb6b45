//! Planted bugs: the proof that the simulation sees what it is there to see (`make mutants`).
//!
//! A [`Bug`] is a switch at the very line that keeps a rule. While it is on, the line does what somebody would write who
//! does not know the rule. The simulation plays seeds with one bug on, and its judge has to find a rule broken; a bug
//! that survives is a hole in the judge or in what seeds draw.
//!
//! Why switches in the code: at a manager's doors only those bugs can be played that show in a single call or write
//! (they are in `tests/simulation/mutants`), and most rules are kept deeper. A patch for each bug would need a build for
//! each, and would rot unseen; an argument through planners and loops would stand in the way of every reader.
//!
//! Without the feature `planted`, which only `make mutants` switches on, [`planted`] is the constant `false`: nothing
//! of a bug is in any binary that is shipped. `tests/tidy.rs` checks that each bug is planted and that nothing else asks
//! for the feature. The switch is the thread's own, because a simulated run is one thread; planners stay pure, as without
//! the feature there is nothing to read.

macro_rules! bugs {
    ($($bug:ident: $what:literal,)*) => {
        /// A planted bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $(#[doc = $what] $bug,)*
        }

        #[cfg(feature = "planted")]
        impl Bug {
            /// Each bug with what it does.
            pub const ALL: &[(Self, &str)] = &[$((Self::$bug, $what),)*];
        }
    };
}

bugs! {
    // The store.
    SkipsFence: "Writes do not compare the key that gives the right to write.",
    DropsCompares: "Steps are written whatever became of what they rest on.",
    OutlivesUnknownOutcome: "After a write whose outcome is unknown the term goes on.",
    OutlivesItsLease: "A holder acts for an hour after its last keep-alive.",
    LeadsUnelected: "A candidate does not wait for the one before it.",
    ClaimsTakenShards: "A shard that somebody holds is taken for one's own.",
    PlansOnStaleView: "The next plan does not wait until the cache shows the last write.",
    WatchesUnseenStore: "After a lost watch nobody looks whether the store went back.",
    KeepsWhatListsLack: "A new listing does not take away what was deleted meanwhile.",
    CompactsTheNewest: "The store is compacted to its newest revision.",
    // The cluster's identity and lives.
    MakesAnotherCluster: "A wiped store becomes a new cluster, though this one is known.",
    KeepsItsLife: "A store that went back begins no new life.",
    EndsAdoptingEarly: "Adopting ends before each node was looked at.",
    // Acceptance.
    TakesGarbageForDeletion: "A value that cannot be read ends the object.",
    ForgetsRecreation: "What was deleted and made anew keeps its uid.",
    ForgetsTombstone: "A deleted service's record leaves before its tasks.",
    KeepsGeneration: "A changed spec keeps its generation.",
    RewritesTheSame: "A put that changes nothing is written all the same.",
    // The service controller.
    ConvergesWhileAdopting: "Tasks are made and ended while what runs is being adopted.",
    AdoptsByNameAlone: "A container is adopted for its name, whatever it was made from.",
    ReplacesLostAtOnce: "A lost node's task is replaced by one that runs at once.",
    IgnoresWait: "A lost node's task is replaced although its service waits.",
    StartsBeforeTheEnd: "A slot counts as free before its last task was seen stopped.",
    RetiresBeforeServing: "The old task of a pair goes before the new one serves.",
    ChangesAllAtOnce: "A change replaces all tasks at once, whatever the parallelism.",
    KeepsSurplus: "Tasks beyond the wanted number stay.",
    ForgetsRestart: "What ended is not replaced.",
    IgnoresDrain: "A drained node keeps its tasks.",
    ReportsFirstGeneration: "The status speaks of the first generation for ever.",
    // The scheduler.
    IgnoresReadiness: "Tasks are bound to nodes that do not answer.",
    IgnoresAvailability: "Tasks are bound to drained nodes.",
    IgnoresConstraints: "Tasks are bound whatever their constraints say.",
    IgnoresReservations: "Tasks are bound where their reservations have no room.",
    IgnoresHostPorts: "Tasks are bound where their host port is taken.",
    IgnoresMostPerNode: "Tasks are bound beyond maxReplicasPerNode.",
    FreesEarly: "Ports and reservations are free once their task is wanted no more.",
    MovesTheLost: "The binding of a lost node's task is withdrawn while the task is wanted.",
    KeepsBindings: "Bindings outlive their tasks.",
    // The task controller.
    StartsWhatRan: "A container that ended is started again.",
    StartsUncommitted: "A start is sent without its commitment.",
    StartsAnotherTerms: "A container that was made under another term is started.",
    RemakesWhatRan: "A container that ran and is gone is made anew for the same task.",
    TrustsLists: "A container that a list lacks is taken for gone.",
    TakesErrorForGone: "An inspect that fails is taken for a container that is gone.",
    EndsBeforeTheStop: "A task is reported over before its container was seen stopped.",
    RemovesWhatRuns: "A running container is removed by force, without a stop.",
    OrdersWhileAdopting: "Orders are given while what runs is being adopted.",
    AdoptsCopies: "What carries our labels is taken for ours, whatever its name.",
    DrivesAnyEngine: "An engine is driven whoever answers at its address.",
    // The node controller.
    DownAtOnce: "A node is down at its first failed contact.",
    NeverDoubtsItself: "A manager that loses most engines at once does not suspect itself.",
    ForgetsNodeEarly: "A deleted node's record leaves while its tasks run.",
    // The reaper.
    DeletesRecordsEarly: "A task's record leaves before its container is gone.",
    KeepsHistory: "Ended tasks are kept without bounds.",
    ReapsEarlierLives: "What an earlier life of the store left is removed at once.",
    // The network controller.
    KeepsStatuses: "What was reported of an object outlives it.",
    KeepsNumbers: "What was given out outlives its owner.",
}

/// Whether this bug is on in this thread.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
pub use switch::plant;
#[cfg(feature = "planted")]
pub(crate) use switch::planted;

#[cfg(feature = "planted")]
mod switch {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static ON: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Switches this bug on in this thread, and every other one off; none: all off.
    pub fn plant(bug: Option<Bug>) {
        ON.set(bug);
    }

    /// Whether this bug is on in this thread.
    pub(crate) fn planted(bug: Bug) -> bool {
        ON.get() == Some(bug)
    }
}
