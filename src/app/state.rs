//! A manager's directory: a lock, and the leases that it holds, so that its next start need not wait for them to expire.
//!
//! A manager that was killed leaves leases behind that keep everybody waiting for seconds. Under the directory's lock
//! no other process can be using them, so the next start ends them first (rule N5). Without a directory they expire by
//! themselves.

use crate::api::unit::{LeaseId, Revision};
use crate::store::{
    Error as StoreError, Kv, LeaseStatus, Outcome, RangeRequest, RangeResponse, StoreStatus, Txn,
    WatchRequest, WatchStream,
};
use async_trait::async_trait;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// Longer leases are not a right to act but the life of events: they stay.
const SHORT: Duration = Duration::from_secs(60);

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has it.
    #[error("{} is in use by another manager: give each its own --state-dir", .0.display())]
    InUse(PathBuf),
    /// It cannot be made, read or written.
    #[error("cannot use the directory {}", .path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Whether the same call may succeed later without anyone changing the request.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::InUse(_) => true,
            Self::Io { .. } => false,
        }
    }
}

/// A locked directory; the lock ends with it, also when the process is killed.
pub struct StateDir {
    leases: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes and locks the directory.
    ///
    /// # Errors
    /// Another manager has it, or it cannot be written.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let leases = path.join("leases");
        fs::create_dir_all(&leases).map_err(failed)?;
        let lock = File::create(path.join("lock")).map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                leases,
                _lock: lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::InUse(path.to_owned())),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// The leases that an earlier process left behind.
    fn left(&self) -> Vec<LeaseId> {
        let Ok(entries) = fs::read_dir(&self.leases) else {
            return Vec::new();
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names
            .filter_map(|name| i64::from_str_radix(&name, 16).ok().map(LeaseId))
            .collect()
    }

    fn file(&self, lease: LeaseId) -> PathBuf {
        self.leases.join(format!("{:016x}", lease.0))
    }
}

/// A store that notes the leases it grants in a directory.
pub struct Noted {
    kv: Arc<dyn Kv>,
    state: StateDir,
}

impl Noted {
    /// Ends what an earlier process left behind, then notes what this one is granted.
    ///
    /// A lease that cannot be ended now stays noted and expires by itself.
    pub async fn start(kv: Arc<dyn Kv>, state: StateDir) -> Self {
        let noted = Self { kv, state };
        for lease in noted.state.left() {
            match noted.revoke(lease).await {
                Ok(()) => info!(
                    lease = lease.0,
                    "ended a lease that an earlier process left behind"
                ),
                Err(error) => {
                    warn!(lease = lease.0, %error, "cannot end a lease of an earlier process: it expires")
                }
            }
        }
        noted
    }
}

#[async_trait]
impl Kv for Noted {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, StoreError> {
        self.kv.range(request).await
    }

    async fn txn(&self, txn: &Txn) -> Result<Outcome, StoreError> {
        self.kv.txn(txn).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, StoreError> {
        self.kv.watch(request).await
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseStatus, StoreError> {
        let granted = self.kv.grant(ttl).await?;
        if granted.ttl <= SHORT
            && let Err(error) = fs::write(self.state.file(granted.id), [])
        {
            // A full disk costs a few seconds at the next start, no more.
            warn!(%error, "cannot note a lease");
        }
        Ok(granted)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<LeaseStatus, StoreError> {
        self.kv.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.kv.revoke(lease).await?;
        // Gone already: a lease that was never noted.
        let _ = fs::remove_file(self.state.file(lease));
        Ok(())
    }

    async fn compact(&self, revision: Revision) -> Result<(), StoreError> {
        self.kv.compact(revision).await
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.kv.status().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::memory::Memory;

    #[tokio::test(start_paused = true)]
    async fn n5_a_restart_under_the_lock_ends_the_leases_of_the_killed_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Memory::new();
        let first = Noted::start(
            Arc::new(store.clone()),
            StateDir::open(folder.path()).expect("ours"),
        )
        .await;
        let term = first
            .grant(Duration::from_secs(5))
            .await
            .expect("a lease")
            .id;
        let events = first
            .grant(Duration::from_secs(3_600))
            .await
            .expect("a lease")
            .id;
        assert!(
            matches!(StateDir::open(folder.path()), Err(Error::InUse(_))),
            "one process at a time"
        );
        drop(first);
        assert_eq!(store.leases(), [term, events]);
        let _second = Noted::start(
            Arc::new(store.clone()),
            StateDir::open(folder.path()).expect("free again"),
        )
        .await;
        assert_eq!(
            store.leases(),
            [events],
            "the right to act ends, events stay"
        );
    }
}
