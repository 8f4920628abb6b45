//! The segment that is written to.
//!
//! Space is prepared with zeros, [`CHUNK`] at a time and together with the group that needs it: a write into prepared space
//! changes no length, and its sync need not touch the file system's own journal. After a group was synced its seal is
//! written and not synced: a process that is killed leaves it behind, and so a group that was acknowledged is known as such
//! even when it is the last. The next write begins with the seal again, so it does not matter what became of it.

use super::codec;
use super::disk::{Disk, File, is_full};
use super::error::Error;
use super::frame::{self, FRAME, FileId, HEADER, Header, Kind};
use super::names;
use crate::embedded::change::Change;
use std::io;

/// How far space is prepared: a write of it takes a few milliseconds, once in about 1,500 small groups.
pub(super) const CHUNK: u64 = 1024 * 1024;

/// A segment that is open for writing.
pub(super) struct Segment {
    file: Box<dyn File>,
    id: FileId,
    name: String,
    chunk: u64,
    /// Up to here it is durable.
    end: u64,
    /// Up to here it has space.
    prepared: u64,
    /// The group that ends at `end`, unless that is the header.
    last: Option<u64>,
    buffer: Vec<u8>,
}

/// Why a group was not written.
pub(super) enum Failure {
    /// It is not there and will not be; the segment is as before.
    Clean(Error),
    /// It may be there; the segment must not be written any more.
    Doubtful(Error),
}

impl Segment {
    /// Makes the file and its header durable.
    ///
    /// A file of that name is left from an attempt that failed, and is replaced.
    pub(super) fn create(disk: &dyn Disk, header: &Header, chunk: u64) -> io::Result<Self> {
        let name = names::name(header.id);
        if disk.list()?.contains(&name) {
            disk.remove(&name)?;
        }
        let file = disk.create(&name)?;
        let mut segment = Self {
            file,
            id: header.id,
            name,
            chunk: chunk.max(1),
            end: 0,
            prepared: 0,
            last: None,
            buffer: header.encode().to_vec(),
        };
        segment.write()?;
        segment.file.sync()?;
        disk.sync_directory()?;
        segment.end = HEADER as u64;
        Ok(segment)
    }

    /// Up to where it is durable.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether it has no group yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.last.is_none()
    }

    /// Writes a group and makes it durable: one write, one sync.
    pub(super) fn append(&mut self, sequence: u64, changes: &[Change]) -> Result<(), Failure> {
        self.encode(sequence, changes).map_err(Failure::Clean)?;
        if let Err(error) = self.write() {
            return Err(self.undo(error));
        }
        if let Err(source) = self.file.sync() {
            return Err(Failure::Doubtful(Error::Doubtful {
                file: self.name.clone(),
                source,
            }));
        }
        self.end += self.buffer.len() as u64;
        self.last = Some(sequence);
        self.seal();
        self.shrink();
        Ok(())
    }

    /// The bytes from `end` on: the seal of the group before, and the group.
    fn encode(&mut self, sequence: u64, changes: &[Change]) -> Result<(), Error> {
        self.buffer.clear();
        if let Some(last) = self.last {
            self.push_seal(last);
        }
        let group = (Kind::Group, sequence);
        frame::append(&mut self.buffer, self.end, self.id, group, |out| {
            for change in changes {
                codec::encode(change, out);
            }
        })
        .map_err(|bytes| Error::TooLarge { bytes })
    }

    fn push_seal(&mut self, sequence: u64) {
        let seal = (Kind::Seal, sequence);
        frame::append(&mut self.buffer, self.end, self.id, seal, |_| {})
            .expect("a seal has no payload");
    }

    /// Writes the buffer at `end`, with new space behind it where that is at its end.
    fn write(&mut self) -> io::Result<()> {
        let used = self.buffer.len();
        let needed = self.end + (used + FRAME) as u64;
        if needed > self.prepared {
            let target = needed.next_multiple_of(self.chunk);
            self.buffer.resize((target - self.end) as usize, 0);
            let written = self.file.write_at(self.end, &self.buffer);
            self.buffer.truncate(used);
            match written {
                Ok(()) => self.prepared = target,
                // Near the end of the disk the group alone may still fit.
                Err(error) if is_full(&error) => self.write_alone()?,
                Err(error) => return Err(error),
            }
            return Ok(());
        }
        self.file.write_at(self.end, &self.buffer)
    }

    fn write_alone(&mut self) -> io::Result<()> {
        self.file.set_length(self.prepared.max(self.end))?;
        self.file.write_at(self.end, &self.buffer)?;
        self.prepared = self.prepared.max(self.end + self.buffer.len() as u64);
        Ok(())
    }

    /// Cuts off what a write that failed has left, for certain.
    fn undo(&mut self, error: io::Error) -> Failure {
        let file = self.name.clone();
        if !is_full(&error) {
            let source = error;
            return Failure::Doubtful(Error::Doubtful { file, source });
        }
        let cut = self
            .file
            .set_length(self.end)
            .and_then(|()| self.file.sync());
        self.prepared = self.end;
        match cut {
            Ok(()) => {
                self.seal();
                Failure::Clean(Error::NoSpace {
                    file,
                    source: error,
                })
            }
            Err(source) => Failure::Doubtful(Error::Doubtful { file, source }),
        }
    }

    /// Notes that the last group is durable, without making that durable itself.
    fn seal(&mut self) {
        self.buffer.clear();
        if let Some(last) = self.last {
            self.push_seal(last);
            // A seal that was not written only leaves the last group without one.
            let _ = self.file.write_at(self.end, &self.buffer);
        }
    }

    /// One large group must not hold its memory for ever.
    fn shrink(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(2 * self.chunk as usize);
    }
}
