//! What the agent keeps on disk: its last state, and the settings that it found.
//!
//! | In it | |
//! |---|---|
//! | `lock` | held while an agent uses the directory |
//! | `state.json` | a state that was programmed |
//! | `changes.json` | what was programmed since, a line for each change; the first line says of which state |
//! | `found.json` | settings of the whole namespace as they were before the first change |
//!
//! Changes are written before they are acknowledged and are not synced to the disk: with the agent nothing of them is lost, and
//! a machine that dies takes its kernel along, where any late state is as good until a manager comes. Writing all of a state
//! with 10,000 tasks for each change, and waiting for the disk, took longer than everything else about it.

use crate::dataplane::state::{Delta, State};
use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const STATE: &str = "state.json";
const CHANGES: &str = "changes.json";
const ORIGINALS: &str = "found.json";

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}", .path.display())]
pub struct Error {
    /// The directory, or a file in it.
    pub path: PathBuf,
    /// What went wrong.
    #[source]
    pub source: io::Error,
}

impl Error {
    /// Whether the same may succeed later by itself.
    pub fn is_retryable(&self) -> bool {
        // What cannot be read as JSON stays so; a full disk may not.
        self.source.kind() != io::ErrorKind::InvalidData
    }
}

/// So many changes are kept beside a state: when they are read the state is checked after each.
const MOST_CHANGES: usize = 256;

/// Bytes of changes that are worth no state.
const FEW_BYTES: usize = 64 * 1024;

/// The directory, locked; the lock ends with it.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    changes: Option<Changes>,
    _lock: File,
}

/// The changes since the state on disk, with the room for more.
#[derive(Debug)]
struct Changes {
    file: File,
    count: usize,
    bytes: usize,
}

/// The first line of the changes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    /// The checksum (CRC-32C) of the state that they follow.
    of: u32,
}

impl Directory {
    /// Makes it where it is missing, and locks it.
    ///
    /// # Errors
    /// It cannot be used, or another agent uses it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = File::create(path.join("lock")).map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| failed(errno.into()))?;
        Ok(Self {
            path: path.to_owned(),
            changes: None,
            _lock: lock,
        })
    }

    /// The last state; `None`: there was none.
    pub(super) fn state(&self) -> Result<Option<State>, Error> {
        let Some(text) = self.text(STATE)? else {
            return Ok(None);
        };
        let mut state: State = self.parse(STATE, &text)?;
        let changes = self.text(CHANGES)?.unwrap_or_default();
        // Whoever was killed as he wrote left the last line without its end.
        let mut lines = changes.split_inclusive(|byte| *byte == b'\n');
        let head = lines
            .next()
            .and_then(|head| serde_json::from_slice(head).ok());
        if head != Some(Head::of(&text)) {
            return Ok(Some(state));
        }
        // What a machine left of it that died, or an agent of another version wrote, ends it: managers know what followed.
        for line in lines.filter(|line| line.ends_with(b"\n")) {
            let delta = serde_json::from_slice::<Delta>(line).ok();
            match delta.and_then(|delta| state.after(delta).ok()) {
                Some(next) => state = next,
                None => break,
            }
        }
        Ok(Some(state))
    }

    /// Keeps a whole state.
    pub(super) fn keep_state(&mut self, state: &State) -> Result<(), Error> {
        self.changes = None;
        let text = self.write(STATE, state)?;
        // Without this file the next change is kept with the whole state.
        self.changes = self.begin_changes(&text).ok();
        Ok(())
    }

    /// Keeps what leads from the state that was kept last to the next; false: the whole state has to be kept.
    pub(super) fn keep_change(&mut self, change: &[u8]) -> bool {
        let Some(mut changes) = self.changes.take() else {
            return false;
        };
        if changes.count == 0 || changes.bytes < change.len() {
            return false;
        }
        let line = [change, b"\n"].concat();
        if changes.file.write_all(&line).is_err() {
            return false;
        }
        changes.count -= 1;
        changes.bytes -= change.len();
        self.changes = Some(changes);
        true
    }

    /// They may come to as much as the state itself, and to a little in any case.
    fn begin_changes(&self, state: &[u8]) -> io::Result<Changes> {
        let mut file = File::create(self.path.join(CHANGES))?;
        let head = serde_json::to_vec(&Head::of(state))?;
        file.write_all(&[&head[..], b"\n"].concat())?;
        Ok(Changes {
            file,
            count: MOST_CHANGES,
            bytes: state.len().max(FEW_BYTES),
        })
    }

    pub(super) fn originals(&self) -> Result<BTreeMap<String, String>, Error> {
        Ok(self.read(ORIGINALS)?.unwrap_or_default())
    }

    pub(super) fn keep_originals(&self, originals: &BTreeMap<String, String>) -> Result<(), Error> {
        self.write(ORIGINALS, originals).map(drop)
    }

    /// Forgets everything.
    pub(super) fn clear(&self) -> Result<(), Error> {
        for name in [CHANGES, STATE, ORIGINALS] {
            let path = self.path.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.map_err(|source| Error { path, source })?,
            }
        }
        Ok(())
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let text = self.text(name)?;
        text.map(|text| self.parse(name, &text)).transpose()
    }

    fn text(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            result => result.map(Some).map_err(|source| Error { path, source }),
        }
    }

    fn parse<T: DeserializeOwned>(&self, name: &str, text: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(text).map_err(|error| Error {
            path: self.path.join(name),
            source: error.into(),
        })
    }

    /// Whole or not at all, also when the machine dies meanwhile. Gives what was written.
    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<Vec<u8>, Error> {
        let path = self.path.join(name);
        let new = self.path.join(format!("{name}.new"));
        let write = || {
            let text = serde_json::to_vec(value)?;
            let mut file = File::create(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.path)?.sync_all()?;
            Ok(text)
        };
        write().map_err(|source| Error {
            path: path.clone(),
            source,
        })
    }
}

impl Head {
    fn of(state: &[u8]) -> Self {
        Self {
            of: crc32c::crc32c(state),
        }
    }
}
