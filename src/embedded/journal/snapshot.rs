//! Writes a snapshot: the whole store as changes, in a file that gets its name when it is whole.

use super::codec;
use super::disk::{Disk, File, is_full};
use super::error::Error;
use super::frame::{self, FileId, HEADER, Header, Kind};
use super::names;
use super::progress::raised;
use crate::embedded::change::Change;
use std::io;
use std::sync::Arc;

/// About how many bytes of changes share a checksum.
const GROUP: usize = 256 * 1024;

/// A snapshot that is still to be written: of the store as it was when [`super::Journal::begin_snapshot`] was called.
///
/// It needs the journal no more, so it can be written on another thread while changes are appended.
pub struct Snapshot {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) header: Header,
}

/// A snapshot that is whole and durable; [`super::Journal::finish_snapshot`] takes it.
#[derive(Debug)]
pub struct Written {
    pub(super) id: FileId,
    pub(super) bytes: u64,
    pub(super) revision: i64,
    pub(super) sequence: u64,
}

impl Snapshot {
    /// Writes the store's changes, makes them durable and gives the file its name.
    ///
    /// # Errors
    /// There is no space, the disk failed, or the changes are not those of the store at the revision at which the
    /// snapshot was begun. The journal is as before, and can be asked for another snapshot.
    pub fn write(self, changes: impl Iterator<Item = Change>) -> Result<Written, Error> {
        let unfinished = names::unfinished(self.header.id);
        let written = self.try_write(&unfinished, changes);
        if written.is_err() {
            // What stays is removed at the next start; it takes space until then.
            let _ = self.disk.remove(&unfinished);
        }
        written.map_err(|error| error.within(&self.disk.place()))
    }

    fn try_write(
        &self,
        unfinished: &str,
        changes: impl Iterator<Item = Change>,
    ) -> Result<Written, Error> {
        let failed = |source| Error::of("write", unfinished.to_owned(), source);
        let id = self.header.id;
        let mut out = Output::new(self.disk.clone(), unfinished, &self.header).map_err(failed)?;
        let mut revision = 0;
        for change in changes {
            revision = raised(revision, &change);
            out.push(&change)?;
        }
        let last = self.header.revision;
        if last != 0 && revision != last {
            return Err(Error::OutOfOrder {
                last,
                found: revision,
            });
        }
        let bytes = out.finish()?;
        let name = names::name(id);
        let renamed = self.disk.rename(unfinished, &name);
        renamed
            .and_then(|()| self.disk.sync_directory())
            .map_err(failed)?;
        Ok(Written {
            id,
            bytes,
            revision,
            sequence: self.header.sequence,
        })
    }
}

/// The file that a snapshot is written to.
struct Output<'a> {
    disk: Arc<dyn Disk>,
    file: Box<dyn File>,
    name: &'a str,
    id: FileId,
    at: u64,
    groups: u64,
    payload: Vec<u8>,
    frame: Vec<u8>,
}

impl<'a> Output<'a> {
    fn new(disk: Arc<dyn Disk>, name: &'a str, header: &Header) -> io::Result<Self> {
        if disk.list()?.iter().any(|taken| taken == name) {
            disk.remove(name)?;
        }
        let file = disk.create(name)?;
        let mut output = Self {
            disk,
            file,
            name,
            id: header.id,
            at: 0,
            groups: 0,
            payload: Vec::new(),
            frame: header.encode().to_vec(),
        };
        output.write()?;
        debug_assert_eq!(output.at, HEADER as u64);
        Ok(output)
    }

    fn push(&mut self, change: &Change) -> Result<(), Error> {
        codec::encode(change, &mut self.payload);
        if self.payload.len() >= GROUP {
            self.group()?;
        }
        Ok(())
    }

    fn group(&mut self) -> Result<(), Error> {
        if self.payload.is_empty() {
            return Ok(());
        }
        self.groups += 1;
        self.frame(Kind::Group)?;
        self.payload.clear();
        Ok(())
    }

    fn frame(&mut self, kind: Kind) -> Result<(), Error> {
        self.frame.clear();
        let (frame, payload) = (&mut self.frame, &self.payload);
        frame::append(frame, self.at, self.id, (kind, self.groups), |out| {
            out.extend_from_slice(payload);
        })
        .map_err(|bytes| Error::TooLarge { bytes })?;
        self.write()
            .map_err(|source| Error::of("write", self.name.to_owned(), source))
    }

    /// Writes the frame; when the disk is full, once more with the space that was kept for that.
    fn write(&mut self) -> io::Result<()> {
        match self.file.write_at(self.at, &self.frame) {
            Err(error) if is_full(&error) && super::reserve::release(&*self.disk)? => {
                self.file.write_at(self.at, &self.frame)?;
            }
            other => other?,
        }
        self.at += self.frame.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<u64, Error> {
        self.group()?;
        self.frame(Kind::End)?;
        let synced = self.file.sync();
        synced.map_err(|source| Error::of("sync", self.name.to_owned(), source))?;
        Ok(self.at)
    }
}
