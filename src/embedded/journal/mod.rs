//! The durable log of the embedded store: an acknowledged change survives `kill -9` and the loss of power.
//!
//! [`Journal::append`] writes a group of changes with one write and one sync. [`Journal::open`] plays everything back.
//! [`Journal::snapshot`] writes the whole store into one file, and the segments before it go.
//!
//! # Files
//!
//! | Name | What it holds |
//! |---|---|
//! | `segment-N` | a header, then groups of changes in their order, each with its length, number and CRC32C |
//! | `snapshot-N` | the whole store before segment N; it has its name only when it is whole and durable |
//! | `lock` | the number of the process that has the directory |
//! | `reserve` | space that is given up when the disk is full |
//! | `torn-*`, `damaged-*` | copies of what was not read, for people; nothing reads or removes them |
//!
//! `frame.rs` defines headers and frames, `codec.rs` the changes in them; [`FORMAT`] is the version of both.
//!
//! # Why a log of our own
//!
//! The whole store lives in memory anyway, for ranges and watches. What a disk has to give is one durable write for each
//! group and everything in order at a start. Measured in November 2026 on one machine (two cores, ext4 on a virtual
//! disk), 64 writers in flight, random and ordered keys, durable puts a second relative to a log beside a map in memory:
//! the log 1.0 and 1.0; fjall 1.0 and 0.9; redb 0.3 and 0.6; SQLite 0.2 and 0.4. The libraries bring an index, caches
//! and compaction that this store has no use for, and the fastest is no faster.
//!
//! One writer on the same machine, synced groups a second relative to writes that make the file longer, of one put of
//! 600 bytes: into allocated space 1.6, into space prepared with zeros 1.6, the same with a seal after each group 1.5; of
//! 100 puts: the same within the noise. So space is prepared with zeros, which any file system takes alike.
//!
//! # Invariants
//!
//! - One group is in flight. So each group proves that the one before it was durable, and what follows the last
//!   durable one is never more than one group.
//! - Nothing durable is ever written over with something else. After a restart the journal goes on in a new segment,
//!   whose header says up to where the one before it counts; a torn tail stays where it is until the next snapshot.
//! - A file is used when its header and its name are durable; files are removed when what replaces them is.
//! - A file whose sync failed is not written again: the journal is closed until a snapshot has replaced it.
//! - What is damaged is an error, or is reported; `recover.rs` says which.
//!
//! What cannot be told: whether the very last group was acknowledged when it is damaged *and* its seal, which is not
//! synced, was lost with the power. Such a group is cut off as torn, reported, and copied aside.
//!
//! # Deliberately absent
//!
//! Threads, timers and retries: calls block, and whoever has the store decides when. A second copy on another disk.

mod aside;
pub(in crate::embedded) mod codec;
pub mod disk;
mod error;
pub mod faulty;
mod faulty_file;
mod frame;
mod inventory;
mod names;
mod progress;
mod read;
pub mod real;
mod recover;
mod report;
mod reserve;
mod salvage;
mod segment;
mod snapshot;

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod power_tests;
#[cfg(test)]
mod space_tests;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod support_tests;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use frame::FORMAT;
pub use report::{Cut, Report, Salvaged};
pub use snapshot::{Snapshot, Written};

use super::change::Change;
use disk::{Disk, Lock};
use frame::{FileId, FileKind, Header};
use inventory::Inventory;
use recover::{Recovery, Stop};
use segment::{CHUNK, Failure, Segment};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// Why the store does not take a change that is played back.
pub type Refusal = Box<dyn std::error::Error + Send + Sync>;

/// Who the store is, as etcd tells it in every answer. It stays the same for the life of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's id.
    pub cluster: u64,
    /// The member's id.
    pub member: u64,
}

/// Sizes, and what to do with damage. The defaults suit a store of up to a few gigabytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A segment that has so many bytes gets no further group.
    pub segment: u64,
    /// Space is prepared in multiples of so many bytes; at least 1.
    pub chunk: u64,
    /// A snapshot is wanted when so many bytes of segments have come since the last one, and as many as it has.
    pub snapshot_after: u64,
    /// So many bytes are kept for a full disk; 0: none.
    pub reserve: u64,
    /// Whether damage is answered by keeping what stands before it. The damaged file is copied aside and those after it
    /// are renamed, and the report says so. Everything that was acknowledged after the damage leaves the store.
    pub salvage: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment: 64 * 1024 * 1024,
            chunk: CHUNK,
            snapshot_after: 64 * 1024 * 1024,
            reserve: 8 * 1024 * 1024,
            salvage: false,
        }
    }
}

/// So many segments want a snapshot even when they are small: each start that is followed by a write makes one.
const MANY_SEGMENTS: u64 = 32;

/// A journal that is open.
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// What was found.
    pub report: Report,
}

/// The durable log of one store. Calls block until the disk has answered.
pub struct Journal {
    disk: Arc<dyn Disk>,
    _lock: Box<dyn Send + Sync>,
    options: Options,
    identity: Identity,
    /// The last durable group.
    sequence: u64,
    /// The revision after it; 0: not known yet.
    revision: i64,
    /// The last segment that counts and up to where, when none is open.
    tail: (u64, u64),
    open: Option<Segment>,
    /// The segment under which the disk failed.
    failed: Option<u64>,
    /// The segment that the newest snapshot stands before; 1: there is none.
    first: u64,
    snapshot_bytes: u64,
    /// The segments that are no longer open, and up to where they count.
    ends: BTreeMap<u64, u64>,
}

impl Journal {
    /// Locks the directory, plays back every change in order, and gives the journal with a report.
    ///
    /// A directory without a journal gets one, with the identity that `identity` makes. A torn tail is reported and
    /// copied aside; what was read is durable when this returns, whatever happened before.
    ///
    /// # Errors
    /// Another process has the directory; what was acknowledged is damaged (see [`Options::salvage`]); a newer version
    /// wrote it; `replay` refused a change; the disk failed. What was played back by then is worth nothing.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        identity: impl FnOnce() -> Identity,
        replay: &mut dyn FnMut(Change) -> Result<(), Refusal>,
    ) -> Result<Opened, Error> {
        let place = disk.place();
        let failed = |doing| {
            let place = place.clone();
            move |source: io::Error| Error::of(doing, place, source)
        };
        let lock = match disk.lock().map_err(failed("lock"))? {
            Lock::Held(lock) => lock,
            Lock::Taken(holder) => return Err(Error::Locked { place, holder }),
        };
        let inventory = Inventory::new(disk.list().map_err(failed("list"))?);
        let mut recovery = Recovery::new(&*disk, replay);
        let recovered = recover(&mut recovery, &inventory, options.salvage);
        recovered.map_err(|error| error.within(&place))?;
        let report = std::mem::take(&mut recovery.report).within(&place);
        let (known, sequence) = (recovery.identity, recovery.sequence);
        let (revision, tail) = (recovery.revision, recovery.tail);
        let (ends, snapshot_bytes) = (recovery.ends, recovery.snapshot_bytes);
        let mut journal = Self {
            disk,
            _lock: lock,
            options,
            identity: known.unwrap_or_else(identity),
            sequence,
            revision,
            tail,
            open: None,
            failed: None,
            first: inventory.snapshot.unwrap_or(1),
            snapshot_bytes,
            ends,
        };
        if known.is_none() || report.salvaged.is_some() {
            let started = journal.start_segment();
            started.map_err(|error| error.within(&place))?;
        }
        journal.tidy_up(&inventory);
        Ok(Opened { journal, report })
    }

    /// Removes what an end in the midst of work has left, and takes the reserve.
    fn tidy_up(&self, inventory: &Inventory) {
        for name in &inventory.stale {
            // It only takes space, and the next start tries again.
            let _ = self.disk.remove(name);
        }
        reserve::take(&*self.disk, self.options.reserve);
    }

    /// Who the store is.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The revision after the last durable change; 0: none has told one yet.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// How many bytes the journal takes, without what is prepared or reserved.
    pub fn size(&self) -> u64 {
        self.snapshot_bytes + self.log_bytes()
    }

    fn log_bytes(&self) -> u64 {
        let full: u64 = self.ends.values().sum();
        full + self.open.as_ref().map_or(0, Segment::end)
    }

    /// Whether the disk failed in a way that leaves it open what is durable: [`Journal::append`] refuses until
    /// [`Journal::snapshot`] has begun the journal anew.
    pub fn is_closed(&self) -> bool {
        self.failed.is_some()
    }

    /// Writes changes and makes them durable together: after a crash there are all of them or none.
    ///
    /// Their revisions go on by one from the last. An empty slice is written already.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::Io`], [`Error::OutOfOrder`], [`Error::TooLarge`]: nothing of them will ever be read,
    /// and the next call may succeed. [`Error::Doubtful`]: a restart may find all of them or none. It closes the
    /// journal: the next call gives [`Error::Closed`] until a snapshot was written, and then they are gone for certain.
    pub fn append(&mut self, changes: &[Change]) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        if changes.is_empty() {
            return Ok(());
        }
        let mut revision = self.revision;
        for change in changes {
            let last = revision;
            revision = progress::follow(last, change)
                .map_err(|found| Error::OutOfOrder { last, found })?;
        }
        let sequence = self.sequence + 1;
        match self.segment()?.append(sequence, changes) {
            Ok(()) => {
                (self.sequence, self.revision) = (sequence, revision);
                Ok(())
            }
            Err(Failure::Clean(error)) => Err(self.placed(error)),
            Err(Failure::Doubtful(error)) => {
                self.failed = Some(self.tail.0);
                Err(self.placed(error))
            }
        }
    }

    /// As [`Journal::append`], but when there is no space, with the space that is kept for that: for changes that make
    /// room (deletions, compactions) or say that there is none (the alarm). A snapshot takes the space again.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn append_from_reserve(&mut self, changes: &[Change]) -> Result<(), Error> {
        match self.append(changes) {
            Err(Error::NoSpace { file, source }) => {
                let released = reserve::release(&*self.disk);
                let failed = |source| Error::of("remove", names::RESERVE.into(), source);
                if released.map_err(|error| self.placed(failed(error)))? {
                    self.append(changes)
                } else {
                    Err(Error::NoSpace { file, source })
                }
            }
            other => other,
        }
    }

    /// The segment to write to: the open one, or a new one when that is full or there is none.
    fn segment(&mut self) -> Result<&mut Segment, Error> {
        let is_full = |segment: &Segment| segment.end() >= self.options.segment;
        if self.open.as_ref().is_none_or(is_full) {
            self.start_segment().map_err(|error| self.placed(error))?;
        }
        Ok(self.open.as_mut().expect("one was started"))
    }

    /// Lets go of the open segment and makes the next one durable.
    ///
    /// If that fails, the one before is not written any more: the new one may be there after a crash.
    fn start_segment(&mut self) -> Result<(), Error> {
        if let Some(segment) = self.open.take() {
            self.tail.1 = segment.end();
            self.ends.insert(self.tail.0, segment.end());
        }
        let (number, end) = self.tail;
        let header = Header {
            id: recover::segment(number + 1),
            previous_length: end,
            ..self.header()
        };
        let created = Segment::create(&*self.disk, &header, self.options.chunk);
        let segment = created.map_err(|source| {
            let name = names::name(header.id);
            // It would be replaced at the next attempt, but takes space until then.
            let _ = self.disk.remove(&name);
            Error::of("create", name, source)
        })?;
        self.tail = (header.id.number, segment.end());
        self.open = Some(segment);
        Ok(())
    }

    /// The error with the whole path of its file.
    fn placed(&self, error: Error) -> Error {
        error.within(&self.disk.place())
    }

    /// A header for what comes next; its file and the end of the one before are still to be said.
    fn header(&self) -> Header {
        Header {
            id: recover::segment(self.tail.0),
            identity: self.identity,
            sequence: self.sequence,
            revision: self.revision,
            previous_length: 0,
        }
    }

    /// Whether so much has come since the last snapshot that a start would take long.
    ///
    /// A snapshot is wanted when the segments are larger than it, too: so all snapshots together write no more than the
    /// log does, and the journal takes about twice the space of the store.
    pub fn wants_snapshot(&self) -> bool {
        let enough = self.options.snapshot_after.max(self.snapshot_bytes);
        let segments = (self.tail.0 + 1).saturating_sub(self.first);
        self.log_bytes() >= enough || segments > MANY_SEGMENTS
    }

    /// Writes the whole store and removes what came before. It also begins a closed journal anew.
    ///
    /// `changes` are those of the store as of the last successful [`Journal::append`]: no more and no less. On an empty
    /// journal they may be of any store: that is how one is brought from elsewhere.
    ///
    /// # Errors
    /// There is no space, the disk failed, or the changes end at another revision than the journal. All that was durable
    /// still is, and a journal that was not closed takes changes.
    pub fn snapshot(&mut self, changes: impl Iterator<Item = Change>) -> Result<(), Error> {
        let written = self.begin_snapshot()?.write(changes)?;
        self.finish_snapshot(&written)
    }

    /// The first third of [`Journal::snapshot`]: what is appended from now on comes after the snapshot.
    ///
    /// The second, [`Snapshot::write`], may run on another thread and beside [`Journal::append`]; the changes it gets are
    /// those of the store as it is now. The third is [`Journal::finish_snapshot`].
    ///
    /// # Errors
    /// A new segment could not be made.
    pub fn begin_snapshot(&mut self) -> Result<Snapshot, Error> {
        let is_fresh = self.open.as_ref().is_some_and(Segment::is_fresh);
        if self.is_closed() || !is_fresh {
            self.start_segment().map_err(|error| self.placed(error))?;
        }
        let number = self.tail.0;
        let kind = FileKind::Snapshot;
        Ok(Snapshot {
            disk: self.disk.clone(),
            header: Header {
                id: FileId { kind, number },
                ..self.header()
            },
        })
    }

    /// The last third of [`Journal::snapshot`]: removes what the snapshot replaces, and takes the reserve again.
    ///
    /// # Errors
    /// What is there could not be listed. The snapshot counts nevertheless.
    pub fn finish_snapshot(&mut self, written: &Written) -> Result<(), Error> {
        if self.sequence == written.sequence {
            self.revision = self.revision.max(written.revision);
        }
        // A snapshot that was begun before the failure stands before what is in doubt.
        self.failed = self.failed.filter(|number| *number >= written.id.number);
        self.first = written.id.number;
        self.snapshot_bytes = written.bytes;
        self.ends = self.ends.split_off(&self.first);
        let list = self.disk.list();
        let names = list.map_err(|source| Error::of("list", self.disk.place(), source))?;
        self.tidy_up(&Inventory::new(names));
        Ok(())
    }
}

/// Reads everything back, past damage only where `salvage` says so.
fn recover(recovery: &mut Recovery<'_>, inventory: &Inventory, salvage: bool) -> Result<(), Error> {
    let settled = |stop| match stop {
        Stop::Fail(error) => error,
        Stop::Damage { id, offset, reason } => Error::Corrupt {
            file: names::name(id),
            offset,
            reason,
        },
    };
    match recovery.run(inventory) {
        Err(Stop::Damage { id, offset, reason }) if salvage => {
            salvage::salvage(recovery, inventory, id, offset, reason)?;
        }
        other => other.map_err(settled)?,
    }
    recovery.settle().map_err(settled)
}
