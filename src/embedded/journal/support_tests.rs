//! What the journal's tests share: a store that is nothing but the list of its changes, and small files.

use super::faulty::FaultyDisk;
use super::{Error, Identity, Journal, Options, Report};
use crate::embedded::change::Change;
use crate::embedded::request::{Event, Stored};
use std::sync::Arc;

/// Sizes at which a few groups fill a segment and most writes prepare space.
pub(super) const SMALL: Options = Options {
    segment: 1500,
    chunk: 700,
    snapshot_after: 4000,
    reserve: 0,
    salvage: false,
};

pub(super) const IDENTITY: Identity = Identity {
    cluster: 0xc1,
    member: 0x3e,
};

/// A change that writes one key with a value of `size` bytes.
pub(super) fn written(revision: i64, size: usize) -> Change {
    let stored = Stored {
        key: format!("key/{revision}").into_bytes().into(),
        value: vec![revision as u8; size].into(),
        create_revision: revision,
        mod_revision: revision,
        version: 1,
        lease: 0,
    };
    Change::Written {
        revision,
        events: [Event::Put(stored)].into(),
    }
}

/// A journal, and all changes that a restart has to find.
pub(super) struct World {
    pub(super) journal: Journal,
    pub(super) acknowledged: Vec<Change>,
    pub(super) report: Report,
}

impl World {
    pub(super) fn open(disk: &FaultyDisk, options: Options) -> Result<Self, Error> {
        let mut found = Vec::new();
        let mut replay = |change| {
            found.push(change);
            Ok(())
        };
        let disk = Arc::new(disk.clone());
        let opened = Journal::open(disk, options, || IDENTITY, &mut replay)?;
        assert_eq!(opened.journal.identity(), IDENTITY);
        assert_eq!(opened.report.changes, found.len() as u64);
        Ok(Self {
            journal: opened.journal,
            acknowledged: found,
            report: opened.report,
        })
    }

    /// The revision of the next write; a store begins at 1.
    pub(super) fn next_revision(&self) -> i64 {
        let of = |change: &Change| match change {
            Change::Written { revision, .. } => Some(*revision),
            _ => None,
        };
        self.acknowledged.iter().rev().find_map(of).unwrap_or(1) + 1
    }

    /// A group of writes with values of these sizes.
    pub(super) fn group(&self, sizes: &[usize]) -> Vec<Change> {
        let first = self.next_revision();
        (first..)
            .zip(sizes)
            .map(|(revision, size)| written(revision, *size))
            .collect()
    }

    pub(super) fn append(&mut self, sizes: &[usize]) -> Result<(), Error> {
        let group = self.group(sizes);
        self.journal.append(&group)?;
        self.acknowledged.extend(group);
        Ok(())
    }

    pub(super) fn snapshot(&mut self) -> Result<(), Error> {
        self.journal.snapshot(self.acknowledged.iter().cloned())
    }
}

/// What opening finds, and nothing else happens.
pub(super) fn look(disk: &FaultyDisk) -> Result<(Vec<Change>, Report), Error> {
    World::open(disk, SMALL).map(|world| (world.acknowledged, world.report))
}
