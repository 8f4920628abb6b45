//! Reads a journal back: the newest snapshot, then the segments after it, each up to where the next one says that it is
//! durable, the last one up to the end of what is whole.
//!
//! What is no whole record is one of three things:
//! - the zeros that space is prepared with, which is the end;
//! - the torn end of the last write, which nothing proves to have been acknowledged: it is copied aside and reported;
//! - damage to what was acknowledged, and that is an error: anything wrong in a snapshot or in an earlier segment, a
//!   missing file, also the only one where the reserve says that there was one, a gap, or a torn place in the last segment
//!   with a seal or a later group behind it.

use super::codec::{self, Reason};
use super::disk::{Disk, File};
use super::error::Error;
use super::frame::{BadHeader, FileId, FileKind, HEADER, Header, Kind};
use super::inventory::Inventory;
use super::names;
use super::progress::{follow, raised};
use super::read::{Frames, Next};
use super::report::{Cut, Report};
use super::{Identity, Refusal};
use crate::embedded::change::Change;
use std::collections::BTreeMap;
use std::io;

/// Takes the changes in order.
pub(super) type Replay<'a> = dyn FnMut(Change) -> Result<(), Refusal> + 'a;

/// Why reading ended early.
pub(super) enum Stop {
    /// What was acknowledged is damaged here.
    Damage {
        id: FileId,
        offset: u64,
        reason: Reason,
    },
    /// It cannot go on at all.
    Fail(Error),
}

/// How far reading came.
pub(super) struct Recovery<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) replay: &'a mut Replay<'a>,
    pub(super) report: Report,
    pub(super) identity: Option<Identity>,
    pub(super) sequence: u64,
    pub(super) revision: i64,
    /// The last segment that counts and where it ends; number 0: there is none.
    pub(super) tail: (u64, u64),
    /// Up to where each segment counts.
    pub(super) ends: BTreeMap<u64, u64>,
    pub(super) snapshot_bytes: u64,
    /// Where the last write begins, with the seal before its group, if no seal follows it.
    unsealed: Option<u64>,
}

impl<'a> Recovery<'a> {
    pub(super) fn new(disk: &'a dyn Disk, replay: &'a mut Replay<'a>) -> Self {
        Self {
            disk,
            replay,
            report: Report::default(),
            identity: None,
            sequence: 0,
            revision: 0,
            tail: (0, 0),
            ends: BTreeMap::new(),
            snapshot_bytes: 0,
            unsealed: None,
        }
    }

    /// Reads everything.
    pub(super) fn run(&mut self, inventory: &Inventory) -> Result<(), Stop> {
        if let Some(number) = inventory.snapshot {
            self.snapshot(number)?;
        }
        let first = inventory.snapshot.unwrap_or(1);
        let mut header = self.begin(inventory, first)?;
        while let Some(current) = header {
            let next = self.peek(inventory, current.id.number + 1);
            let limit = match &next {
                Ok(Some(next)) => Some(next.previous_length),
                Ok(None) | Err(_) => None,
            };
            self.segment(&current, limit)?;
            header = next?;
        }
        Ok(())
    }

    /// The header of the first segment; none: the directory is new.
    fn begin(&mut self, inventory: &Inventory, first: u64) -> Result<Option<Header>, Stop> {
        let header = self.peek(inventory, first)?;
        // A snapshot gets its name when its segment is durable, and the reserve is taken when the first one is.
        if header.is_none() && (inventory.snapshot.is_some() || inventory.has_reserve()) {
            return Err(missing(first));
        }
        Ok(header)
    }

    /// The header of a segment; none: the journal ends before it.
    fn peek(&mut self, inventory: &Inventory, number: u64) -> Result<Option<Header>, Stop> {
        let id = segment(number);
        if !inventory.segments.contains(&number) {
            let is_end = inventory.segments.range(number..).next().is_none();
            return if is_end {
                Ok(None)
            } else {
                Err(missing(number))
            };
        }
        let file = self.open(id)?;
        let mut frames = self.frames(&*file, id)?;
        let is_last = inventory.segments.range(number + 1..).next().is_none();
        // A crash while it was made: it is as long as it may be and holds nothing.
        if is_last && self.io("read", id, frames.is_blank())? {
            return Ok(None);
        }
        self.header(&mut frames, id).map(Some)
    }

    fn header(&mut self, frames: &mut Frames<'_>, id: FileId) -> Result<Header, Stop> {
        let bytes = self.io("read", id, frames.header())?;
        let header = Header::decode(bytes, id).map_err(|bad| match bad {
            BadHeader::Damaged => Stop::Damage {
                id,
                offset: 0,
                reason: "its header is damaged",
            },
            BadHeader::Newer(found) => Stop::Fail(Error::Newer {
                file: names::name(id),
                found,
            }),
        })?;
        if *self.identity.get_or_insert(header.identity) != header.identity {
            let file = names::name(id);
            return Err(Stop::Fail(Error::Foreign { file }));
        }
        Ok(header)
    }

    fn snapshot(&mut self, number: u64) -> Result<(), Stop> {
        let id = FileId {
            kind: FileKind::Snapshot,
            number,
        };
        let file = self.open(id)?;
        let mut frames = self.frames(&*file, id)?;
        let header = self.header(&mut frames, id)?;
        self.sequence = header.sequence;
        let mut groups = 0;
        loop {
            let offset = frames.at();
            let damage = |reason| Stop::Damage { id, offset, reason };
            match self.io("read", id, frames.next())? {
                Next::Frame { head, payload }
                    if (head.kind, head.sequence) == (Kind::Group, groups + 1) =>
                {
                    groups += 1;
                    let changes = codec::decode_all(payload).map_err(damage)?;
                    self.revision = changes.iter().fold(self.revision, raised);
                    self.replay(changes, id, offset)?;
                }
                Next::Frame { head, .. } if (head.kind, head.sequence) == (Kind::End, groups) => {
                    break;
                }
                Next::Frame { .. } => return Err(damage("a record is not in its order")),
                Next::End => return Err(damage("it ends before all was said")),
                Next::Bad(reason) => return Err(damage(reason)),
            }
        }
        let offset = frames.at();
        self.snapshot_bytes = offset;
        if self.io("read", id, frames.content_after(offset))? > 0 {
            let reason = "something follows its end";
            return Err(Stop::Damage { id, offset, reason });
        }
        Ok(())
    }

    fn segment(&mut self, header: &Header, limit: Option<u64>) -> Result<(), Stop> {
        let id = header.id;
        let follows = header.sequence == self.sequence
            && (header.revision == 0 || header.revision == self.revision);
        if !follows {
            return Err(Stop::Damage {
                id,
                offset: 0,
                reason: "it does not follow on what is before it",
            });
        }
        self.end_at(id, HEADER as u64);
        self.unsealed = Some(0);
        let file = self.open(id)?;
        let mut frames = self.frames(&*file, id)?;
        while limit.is_none_or(|limit| frames.at() < limit) {
            if !self.frame(&mut frames, id, limit)? {
                return Ok(());
            }
        }
        match limit {
            Some(limit) if frames.at() != limit => Err(Stop::Damage {
                id,
                offset: limit,
                reason: "a record goes beyond where the segment ends",
            }),
            _ => Ok(()),
        }
    }

    /// Reads one frame of a segment; false: it ends here.
    fn frame(
        &mut self,
        frames: &mut Frames<'_>,
        id: FileId,
        limit: Option<u64>,
    ) -> Result<bool, Stop> {
        let offset = frames.at();
        let damage = |reason| Err(Stop::Damage { id, offset, reason });
        match self.io("read", id, frames.next())? {
            Next::Frame { head, payload } => {
                match head.kind {
                    Kind::Group if head.sequence == self.sequence + 1 => {
                        self.group(payload, id, offset)?;
                        self.unsealed = Some(self.tail.1);
                        self.end_at(id, frames.at());
                    }
                    Kind::Seal if head.sequence == self.sequence => self.unsealed = None,
                    Kind::Group | Kind::Seal | Kind::End => {
                        return damage("a record is not in its order");
                    }
                }
                Ok(true)
            }
            Next::End if limit.is_none() => Ok(false),
            Next::End => damage("it ends before what was acknowledged"),
            Next::Bad(reason) => {
                let last = self.sequence;
                let proven = frames.proves_more_than(last, offset + 1);
                if limit.is_some() || self.io("read", id, proven)? {
                    return damage(reason);
                }
                self.cut(frames, id, offset, reason)?;
                Ok(false)
            }
        }
    }

    fn end_at(&mut self, id: FileId, end: u64) {
        self.tail = (id.number, end);
        self.ends.insert(id.number, end);
    }

    fn group(&mut self, payload: &[u8], id: FileId, offset: u64) -> Result<(), Stop> {
        let damage = |reason| Stop::Damage { id, offset, reason };
        let changes = codec::decode_all(payload).map_err(damage)?;
        let mut revision = self.revision;
        for change in &changes {
            revision = follow(revision, change).map_err(|_| damage("a revision is missing"))?;
        }
        self.replay(changes, id, offset)?;
        self.revision = revision;
        self.sequence += 1;
        Ok(())
    }

    fn replay(&mut self, changes: Vec<Change>, id: FileId, offset: u64) -> Result<(), Stop> {
        for change in changes {
            (self.replay)(change).map_err(|source| {
                let file = names::name(id);
                Stop::Fail(Error::Refused {
                    file,
                    offset,
                    source,
                })
            })?;
            self.report.changes += 1;
        }
        Ok(())
    }

    /// Reports the torn end of the last segment and copies it aside.
    fn cut(
        &mut self,
        frames: &mut Frames<'_>,
        id: FileId,
        offset: u64,
        reason: Reason,
    ) -> Result<(), Stop> {
        let bytes = self.io("read", id, frames.content_after(offset))?;
        let copy = names::torn(id, offset);
        let saved = super::aside::copy(self.disk, &names::name(id), offset, bytes, &copy);
        self.report.cut = Some(Cut {
            file: names::name(id),
            offset,
            bytes,
            reason,
            saved_as: saved.is_ok().then_some(copy),
        });
        Ok(())
    }

    /// Makes durable what was read and perhaps never was: a process that was killed between its write and the sync, or
    /// whose sync failed, leaves behind what can be read now and is gone after a loss of power.
    ///
    /// The same bytes are written again, because a file system forgets what it could not sync.
    pub(super) fn settle(&mut self) -> Result<(), Stop> {
        let (number, end) = self.tail;
        let id = segment(number);
        if let Some(start) = self.unsealed.filter(|_| number > 0) {
            let mut file = self.open(id)?;
            let mut bytes = vec![0; (end - start) as usize];
            let settled = file
                .read_at(start, &mut bytes)
                .and_then(|_| file.write_at(start, &bytes))
                .and_then(|()| file.sync());
            self.io("settle", id, settled)?;
        }
        self.io("settle", id, self.disk.sync_directory())
    }

    fn open(&self, id: FileId) -> Result<Box<dyn File>, Stop> {
        self.io("open", id, self.disk.open(&names::name(id)))
    }

    fn frames<'f>(&self, file: &'f dyn File, id: FileId) -> Result<Frames<'f>, Stop> {
        self.io("read", id, Frames::new(file, id))
    }

    fn io<T>(&self, doing: &'static str, id: FileId, result: io::Result<T>) -> Result<T, Stop> {
        result.map_err(|source| Stop::Fail(Error::of(doing, names::name(id), source)))
    }
}

/// The segment of a number.
pub(super) fn segment(number: u64) -> FileId {
    FileId {
        kind: FileKind::Segment,
        number,
    }
}

fn missing(number: u64) -> Stop {
    Stop::Damage {
        id: segment(number),
        offset: 0,
        reason: "it is missing",
    }
}
