//! Which files a journal's directory has. Pure.

use super::frame::{FileId, FileKind};
use super::names;
use std::collections::BTreeSet;

/// The files of a directory.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// All names.
    pub(super) names: Vec<String>,
    /// The newest snapshot.
    pub(super) snapshot: Option<u64>,
    /// The segments from that snapshot on.
    pub(super) segments: BTreeSet<u64>,
    /// What an end in the midst of work has left: snapshots that are not whole, and what the newest one replaces.
    pub(super) stale: Vec<String>,
}

impl Inventory {
    /// Sorts the names of a directory.
    pub(super) fn new(names: Vec<String>) -> Self {
        let ids: Vec<FileId> = names.iter().filter_map(|name| names::parse(name)).collect();
        let of = |kind| {
            let same = ids.iter().filter(move |id| id.kind == kind);
            same.map(|id| id.number)
        };
        let snapshot = of(FileKind::Snapshot).max();
        let first = snapshot.unwrap_or(0);
        let replaced = ids.iter().filter(|id| id.number < first);
        let unfinished = names.iter().filter(|name| names::is_unfinished(name));
        Self {
            snapshot,
            segments: of(FileKind::Segment)
                .filter(|number| *number >= first)
                .collect(),
            stale: replaced
                .map(|id| names::name(*id))
                .chain(unfinished.cloned())
                .collect(),
            names,
        }
    }

    /// Whether space is kept for a full disk.
    pub(super) fn has_reserve(&self) -> bool {
        self.names.iter().any(|name| name == names::RESERVE)
    }
}
