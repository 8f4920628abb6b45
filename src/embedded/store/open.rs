//! Opens a store that lies in a directory: plays its journal back and goes on writing it.

use super::{Options, Store, random};
use crate::embedded::backup::Backup;
use crate::embedded::journal::real::RealDisk;
use crate::embedded::journal::{self, Identity, Journal, Report, disk::Disk};
use crate::embedded::mvcc::Mvcc;
use crate::embedded::replay;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be used.
    #[error("cannot use the directory {place}")]
    Directory {
        /// The directory.
        place: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// A backup's changes make no store.
    #[error("the backup makes no store")]
    Backup(#[from] replay::Error),
}

impl OpenError {
    /// Whether the same call may succeed later without anyone changing it.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Directory { .. } => false,
            Self::Journal(error) => error.is_retryable(),
            Self::Backup(error) => error.is_retryable(),
        }
    }
}

impl Store {
    /// Opens the store in a directory, which is made if it is not there and is this process's alone from then on. Gives what
    /// was found too: a torn tail, say, of which a copy was kept.
    ///
    /// Blocks while the journal is read.
    ///
    /// # Errors
    /// Another process has it, what was acknowledged is damaged, or the disk failed.
    ///
    /// # Panics
    /// There is no tokio runtime.
    pub fn open(directory: &Path, options: Options) -> Result<(Self, Report), OpenError> {
        let disk = RealDisk::open(directory).map_err(|source| OpenError::Directory {
            place: directory.display().to_string(),
            source,
        })?;
        Ok(Self::on_disk(Arc::new(disk), options)?)
    }

    /// Makes a store of a backup in a directory that has none yet. It is durable when this returns, and has an identity of
    /// its own: who follows the old one finds another.
    ///
    /// Blocks while the journal is written.
    ///
    /// # Errors
    /// The directory cannot be used or has a store, or the backup's changes do not follow on each other.
    ///
    /// # Panics
    /// There is no tokio runtime.
    pub fn restore(directory: &Path, backup: &Backup, options: Options) -> Result<Self, OpenError> {
        let disk = RealDisk::open(directory).map_err(|source| OpenError::Directory {
            place: directory.display().to_string(),
            source,
        })?;
        let mut refuse = |_| -> Result<(), journal::Refusal> {
            Err("there is a store in the directory already".into())
        };
        let opened = Journal::open(Arc::new(disk), options.journal, identity, &mut refuse)?;
        let mut journal = opened.journal;
        journal.snapshot(backup.changes.iter().cloned())?;
        Ok(Self::start(replayed(backup)?, Some(journal), options))
    }

    /// A store of a backup without a disk, to look at.
    ///
    /// # Errors
    /// The backup's changes do not follow on each other.
    ///
    /// # Panics
    /// There is no tokio runtime.
    pub fn of_backup(backup: &Backup) -> Result<Self, replay::Error> {
        Ok(Self::start(replayed(backup)?, None, Options::default()))
    }

    /// Opens the store on a disk: a directory, or one that fails when a test wants it.
    ///
    /// # Errors
    /// As [`Self::open`].
    ///
    /// # Panics
    /// There is no tokio runtime.
    pub fn on_disk(
        disk: Arc<dyn Disk>,
        options: Options,
    ) -> Result<(Self, Report), journal::Error> {
        let mut mvcc = Mvcc::new();
        // Leases have their whole TTL again: time begins now.
        let mut replay = |change| Ok(mvcc.replay(change, Duration::ZERO)?);
        let opened = Journal::open(disk, options.journal, identity, &mut replay)?;
        if !opened.report.is_clean() {
            let report = &opened.report;
            warn!(?report, "the journal did not end in good order");
        }
        let store = Self::start(mvcc, Some(opened.journal), options);
        Ok((store, opened.report))
    }
}

fn replayed(backup: &Backup) -> Result<Mvcc, replay::Error> {
    let mut mvcc = Mvcc::new();
    for change in &backup.changes {
        mvcc.replay(change.clone(), Duration::ZERO)?;
    }
    Ok(mvcc)
}

/// A new store's identity.
pub(super) fn identity() -> Identity {
    Identity {
        cluster: random(),
        member: random(),
    }
}
