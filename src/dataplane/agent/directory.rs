//! What the agent keeps on disk: its last state, and the settings that it found.
//!
//! | In it | |
//! |---|---|
//! | `lock` | held while an agent uses the directory |
//! | `state.json` | the last state that was programmed |
//! | `found.json` | settings of the whole namespace as they were before the first change |

use crate::dataplane::state::State;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const STATE: &str = "state.json";
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

/// The directory, locked; the lock ends with it.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: File,
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
            _lock: lock,
        })
    }

    /// The last state; `None`: there was none.
    pub(super) fn state(&self) -> Result<Option<State>, Error> {
        self.read(STATE)
    }

    pub(super) fn keep_state(&self, state: &State) -> Result<(), Error> {
        self.write(STATE, state)
    }

    pub(super) fn originals(&self) -> Result<BTreeMap<String, String>, Error> {
        Ok(self.read(ORIGINALS)?.unwrap_or_default())
    }

    pub(super) fn keep_originals(&self, originals: &BTreeMap<String, String>) -> Result<(), Error> {
        self.write(ORIGINALS, originals)
    }

    /// Forgets everything.
    pub(super) fn clear(&self) -> Result<(), Error> {
        for name in [STATE, ORIGINALS] {
            let path = self.path.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result.map_err(|source| Error { path, source })?,
            }
        }
        Ok(())
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let path = self.path.join(name);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result,
        };
        let value = text.and_then(|text| Ok(serde_json::from_slice(&text)?));
        value.map(Some).map_err(|source| Error { path, source })
    }

    /// Whole or not at all, also when the machine dies meanwhile.
    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Error> {
        let path = self.path.join(name);
        let new = self.path.join(format!("{name}.new"));
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(value)?)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|source| Error {
            path: path.clone(),
            source,
        })
    }
}
