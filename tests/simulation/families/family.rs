//! The families by name.

use std::fmt;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// A process dies right after one of its writes or orders.
    Crash,
    /// The same where one process runs all controllers.
    CrashWhole,
    /// A process sees one change long after everybody else, acts on that view, and sees the rest later still.
    Stale,
    /// A process dies at a batch of its view; the next one lists at once, and then hears of nothing for long.
    Restart,
    /// A backup of each revision is restored after the end; users put again what they want.
    Backup,
    /// An event of an engine never comes.
    Lost,
    /// Two changes of one key are seen as one: the watch breaks before the first and is mended by a listing.
    Merged,
    /// A delete happens while the watch is broken, and is compacted away.
    Missed,
    /// A batch or an event comes twice.
    Twice,
    /// An event comes after its successor.
    Swapped,
    /// Two batches come as one.
    Joined,
    /// A name or a host port that was given free is taken again at once.
    Reused,
    /// One manifest after another ends where the other one ends alone.
    Walk,
}

impl Family {
    pub(crate) const ALL: [Self; 13] = [
        Self::Crash,
        Self::CrashWhole,
        Self::Stale,
        Self::Restart,
        Self::Backup,
        Self::Lost,
        Self::Merged,
        Self::Missed,
        Self::Twice,
        Self::Swapped,
        Self::Joined,
        Self::Reused,
        Self::Walk,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::CrashWhole => "whole",
            Self::Stale => "stale",
            Self::Restart => "restart",
            Self::Backup => "backup",
            Self::Lost => "lost",
            Self::Merged => "merged",
            Self::Missed => "missed",
            Self::Twice => "twice",
            Self::Swapped => "swapped",
            Self::Joined => "joined",
            Self::Reused => "reused",
            Self::Walk => "walk",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.as_str() == name)
    }

    /// Whether one process runs all controllers; else each has its own.
    pub(crate) fn is_whole(self) -> bool {
        self == Self::CrashWhole
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
