//! Why the journal cannot do what it was asked for.

use super::frame::FORMAT;
use std::io;

/// Why the journal cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the directory.
    #[error("{place} is in use by {}: stop it, or choose another directory", said(*.holder))]
    Locked {
        /// The directory.
        place: String,
        /// The process, where it is known.
        holder: Option<u32>,
    },
    /// There is no space. Nothing of what was to be written will ever be read; the same call works once there is space.
    #[error("no space left to write {file}: free some on the disk that it is on")]
    NoSpace {
        /// The file.
        file: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// The disk failed while changes were made durable: whether a restart finds them is not known. From now on the
    /// journal takes no changes until [`super::Journal::snapshot`] has begun it anew.
    #[error(
        "the disk failed under {file}: what was written last may or may not be there after a restart"
    )]
    Doubtful {
        /// The file.
        file: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// The disk failed before, and no snapshot has begun the journal anew.
    #[error("the disk failed before: the journal takes changes again after a snapshot")]
    Closed,
    /// The disk failed at something else. Nothing was lost by it.
    #[error("cannot {doing} {file}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        file: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// What was acknowledged is damaged or gone.
    #[error(
        "{file} is damaged at byte {offset}: {reason}. Changes that were acknowledged are lost: restore a backup, \
         or open it once with --salvage, which keeps what stands before the damage and sets the rest aside"
    )]
    Corrupt {
        /// The file.
        file: String,
        /// Where the damage begins.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A newer version wrote it.
    #[error(
        "{file} has format {found} and this version reads up to {FORMAT}: use the version that wrote it, or a newer one"
    )]
    Newer {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
    },
    /// A file of another store lies in the directory.
    #[error(
        "{file} belongs to another store than the files before it: move it away, or restore a backup"
    )]
    Foreign {
        /// The file.
        file: String,
    },
    /// What was read makes no sense to the store, though it is as it was written.
    #[error("{file} holds at byte {offset} what cannot have happened: restore a backup")]
    Refused {
        /// The file.
        file: String,
        /// Where.
        offset: u64,
        /// What the store says.
        #[source]
        source: super::Refusal,
    },
    /// A change does not follow on those before it: a fault of the caller. Nothing was written.
    #[error("a change of revision {found} does not follow on revision {last}")]
    OutOfOrder {
        /// The revision of the journal.
        last: i64,
        /// The one that was to follow.
        found: i64,
    },
    /// More than one group can hold. Nothing was written.
    #[error("{bytes} bytes are more than can be written at once")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
}

/// The holder of a lock in words.
fn said(holder: Option<u32>) -> String {
    holder.map_or_else(|| "another process".into(), |pid| format!("process {pid}"))
}

impl Error {
    /// Whether the same call may succeed later without anyone changing the request.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Locked { .. } | Self::NoSpace { .. } | Self::Io { .. } => true,
            Self::Doubtful { .. }
            | Self::Closed
            | Self::Corrupt { .. }
            | Self::Newer { .. }
            | Self::Foreign { .. }
            | Self::Refused { .. }
            | Self::OutOfOrder { .. }
            | Self::TooLarge { .. } => false,
        }
    }

    /// The error of an operation on a file after which nothing is in doubt.
    pub(super) fn of(doing: &'static str, file: String, source: io::Error) -> Self {
        if super::disk::is_full(&source) {
            Self::NoSpace { file, source }
        } else {
            Self::Io {
                doing,
                file,
                source,
            }
        }
    }

    /// The same with the file's directory before its name.
    pub(super) fn within(mut self, place: &str) -> Self {
        match &mut self {
            Self::NoSpace { file, .. }
            | Self::Doubtful { file, .. }
            | Self::Io { file, .. }
            | Self::Corrupt { file, .. }
            | Self::Newer { file, .. }
            | Self::Foreign { file }
            | Self::Refused { file, .. } => *file = format!("{place}/{file}"),
            Self::Locked { .. }
            | Self::Closed
            | Self::OutOfOrder { .. }
            | Self::TooLarge { .. } => {}
        }
        self
    }
}
