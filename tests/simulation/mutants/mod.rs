//! Planted bugs: the judge has to see every one.
//!
//! Most are switches in the code of managers, at the lines that keep the rules (`src/planted.rs`), which only
//! `make mutants` compiles in. The others stand at a simulated manager's doors ([`Mutant::hook`]) and make it do what a
//! manager with that bug would do; they are in this program only, and two of them are played by each `cargo test`.
//!
//! A seed in which a rule is broken without any bug proves nothing, and is not counted.

mod doors;
mod engine;
mod play;
mod store;

pub(crate) use play::{is_seen, play};

#[cfg(feature = "planted")]
use skep::planted::Bug;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// In the code.
    #[cfg(feature = "planted")]
    Code(Bug),
    /// At the doors.
    Door(Door),
}

macro_rules! doors {
    ($($door:ident: $what:literal,)*) => {
        /// A bug at a manager's doors.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Door {
            $(#[doc = $what] $door,)*
        }

        impl Door {
            /// Each with what it does.
            pub(crate) const ALL: &[(Self, &str)] = &[$((Self::$door, $what),)*];
        }
    };
}

impl Mutant {
    /// All of them, each with what it does.
    pub(crate) fn all() -> Vec<(Self, &'static str)> {
        let doors = Door::ALL
            .iter()
            .map(|(door, what)| (Self::Door(*door), *what));
        #[cfg(feature = "planted")]
        let code = Bug::ALL.iter().map(|(bug, what)| (Self::Code(*bug), *what));
        #[cfg(not(feature = "planted"))]
        let code = std::iter::empty();
        code.chain(doors).collect()
    }

    /// Its name, and where it is planted.
    pub(crate) fn name(self) -> (String, &'static str) {
        match self {
            #[cfg(feature = "planted")]
            Self::Code(bug) => (format!("{bug:?}"), "code"),
            Self::Door(door) => (format!("{door:?}"), "door"),
        }
    }

    /// The bug at a manager's doors, if it is one.
    pub(crate) fn door(self) -> Option<Door> {
        match self {
            #[cfg(feature = "planted")]
            Self::Code(_) => None,
            Self::Door(door) => Some(door),
        }
    }
}

/// Switches a bug in the code on in this thread, and all others off.
pub(crate) fn plant(mutant: Option<Mutant>) {
    #[cfg(feature = "planted")]
    skep::planted::plant(mutant.and_then(|mutant| match mutant {
        Mutant::Code(bug) => Some(bug),
        Mutant::Door(_) => None,
    }));
    #[cfg(not(feature = "planted"))]
    let _ = mutant;
}

doors! {
    ForgetsRetirement: "What was wanted is wanted again.",
    MissesDeletes: "Deletions are not heard of.",
    KeepsEverything: "Nothing is ever deleted from the store.",
    WritesAlways: "A status is written though nothing has changed.",
    NeverRetires: "Desired states are not written: what is not wanted goes on.",
    NeverRetiresPair: "The task that is replaced stays wanted.",
    RestartsEnded: "A container that ended is started again when it is looked at.",
    StartsCreated: "A created container is started when it is looked at.",
    CreatesTwice: "A container is made a second time under another name that fits as well.",
    SkipsStop: "A stop is reported done, but never sent.",
    SkipsStart: "A start is reported done, but never sent.",
    RemovesRunning: "A running container is removed by force when it is looked at.",
    StopsListed: "What a list does not show is taken for gone: containers that it does show are stopped.",
    TouchesForeign: "Removal is forced, and what stands in the way is stopped first.",
    MislabelsSlot: "Labels name another slot than the task's.",
    SkipsRemove: "Containers are never removed.",
}
