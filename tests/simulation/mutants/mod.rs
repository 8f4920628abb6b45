//! Planted bugs. Each is a switch at a door of a simulated manager ([`Mutant::hook`]), so none is compiled into anything but this test: it
//! makes the manager do what a manager with that bug would do. The judge has to see every one.

mod doors;
mod engine;
mod store;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// No write compares anything.
    DropsCompares,
    /// What was wanted is wanted again.
    ForgetsRetirement,
    /// A task that should shut down is deleted at once.
    DeletesRecordsEarly,
    /// Deletions are not heard of.
    MissesDeletes,
    /// Nothing is ever deleted from the store.
    KeepsEverything,
    /// A status is written though nothing has changed.
    WritesAlways,
    /// Desired states are not written: what is not wanted goes on.
    NeverRetires,
    /// The task that is replaced stays wanted.
    NeverRetiresPair,
    /// `starting` is not committed.
    SkipsStarting,
    /// A container that ended is started again when it is looked at.
    RestartsEnded,
    /// A created container is started when it is looked at.
    StartsCreated,
    /// A container is made a second time under another name that fits as well.
    CreatesTwice,
    /// A stop is reported done, but never sent.
    SkipsStop,
    /// A start is reported done, but never sent.
    SkipsStart,
    /// A running container is removed by force when it is looked at.
    RemovesRunning,
    /// What carries our label is taken for ours, whatever its name.
    AdoptsByLabel,
    /// What a list does not show is taken for gone: containers that it does show are stopped.
    StopsListed,
    /// Removal is forced, and what stands in the way is stopped first.
    TouchesForeign,
    /// Labels name another slot than the task's.
    MislabelsSlot,
    /// Containers are never removed.
    SkipsRemove,
}

impl Mutant {
    pub(crate) const ALL: [Self; 20] = [
        Self::DropsCompares,
        Self::ForgetsRetirement,
        Self::DeletesRecordsEarly,
        Self::MissesDeletes,
        Self::KeepsEverything,
        Self::WritesAlways,
        Self::NeverRetires,
        Self::NeverRetiresPair,
        Self::SkipsStarting,
        Self::RestartsEnded,
        Self::StartsCreated,
        Self::CreatesTwice,
        Self::SkipsStop,
        Self::SkipsStart,
        Self::RemovesRunning,
        Self::AdoptsByLabel,
        Self::StopsListed,
        Self::TouchesForeign,
        Self::MislabelsSlot,
        Self::SkipsRemove,
    ];
}
