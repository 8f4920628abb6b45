//! [`Store`]: the running embedded store. It applies calls to the [`Mvcc`], makes them durable, ends leases in time and
//! tells watchers. The gRPC server and the door `Kv` both stand on it.
//!
//! A write's way: applied under the lock (`state.rs`), queued, made durable by the commit thread with all others that wait
//! (`commit.rs`), published to the watches that it concerns (`hub.rs`), answered.
//!
//! Invariants:
//! - Nobody is told of what is not durable: reads are of the newest durable revision, an answer waits for its ticket, and a
//!   watch is told after the fsync.
//! - A failed journal changes nothing: what was applied is taken back, writers are told, reads go on, and the next write
//!   tries again.
//! - Calls take effect in the order in which they took the lock; no lock is held while waiting.
//!
//! Deliberately absent: replication, users and roles. Many machines use real etcd.

mod commit;
mod error;
mod hub;
mod lease;
mod locked;
mod maintenance;
mod open;
mod queue;
mod quota;
mod state;
mod watcher;

pub use error::Error;
pub use lease::LeaseLeft;
pub use maintenance::{Hashed, Status};
pub use open::OpenError;
pub use watcher::{News, Seen, Wanted, Watcher};

use crate::embedded::journal::{self, Journal};
use crate::embedded::mvcc::{Done, Error as Refusal, Found, Mvcc, Put, Query, Transaction};
use commit::Committer;
use state::State;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use crate::embedded::journal::Identity;
pub use crate::embedded::request::MOST_REQUEST_BYTES;

/// etcd's quota by default (`--quota-backend-bytes`).
pub const DEFAULT_QUOTA: u64 = 2 * 1024 * 1024 * 1024;

/// What can be chosen about a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes that it holds at most; with more, it raises the alarm `NOSPACE` and refuses what adds to it.
    pub quota: u64,
    /// Sizes of the journal, and what to do with damage in it.
    pub journal: journal::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            quota: DEFAULT_QUOTA,
            journal: journal::Options::default(),
        }
    }
}

/// A handle on a running store; the last one stops it.
#[derive(Clone, Debug)]
pub struct Store {
    running: Arc<Running>,
}

/// Stops the store with the last handle.
#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    committer: Mutex<Option<JoinHandle<()>>>,
    timer: tokio::task::AbortHandle,
}

/// What handles, the commit thread, the timer of leases and watchers share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is something for the commit thread.
    work: Condvar,
    /// The next lease may end earlier than the timer thinks.
    leases: Notify,
    started: Instant,
    identity: Identity,
    options: Options,
    /// Bytes on disk.
    journal_size: AtomicU64,
    /// Where readers are woken.
    runtime: Handle,
}

impl Store {
    /// An empty store without a disk: what it holds is gone with it.
    ///
    /// # Panics
    /// There is no tokio runtime.
    pub fn memory(options: Options) -> Self {
        Self::start(Mvcc::new(), None, options)
    }

    fn start(mvcc: Mvcc, journal: Option<Journal>, options: Options) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(mvcc, journal.is_some())),
            work: Condvar::new(),
            leases: Notify::new(),
            started: now(),
            identity: journal
                .as_ref()
                .map_or_else(open::identity, Journal::identity),
            options,
            journal_size: AtomicU64::new(journal.as_ref().map_or(0, Journal::size)),
            runtime: Handle::current(),
        });
        let committer = journal.map(|journal| {
            let committer = Committer::new(Arc::clone(&shared), journal);
            std::thread::Builder::new()
                .name("commit".into())
                .spawn(move || committer.run())
                .expect("the system gives a thread to a process that begins")
        });
        let timer = tokio::spawn(lease::end_in_time(Arc::clone(&shared)));
        Self {
            running: Arc::new(Running {
                shared,
                committer: Mutex::new(committer),
                timer: timer.abort_handle(),
            }),
        }
    }

    /// Who this store is.
    pub fn identity(&self) -> Identity {
        self.shared().identity
    }

    /// The newest durable revision.
    pub fn revision(&self) -> i64 {
        self.shared().lock().durable
    }

    /// Reads keys. Gives the newest durable revision too.
    ///
    /// # Errors
    /// The key is empty, or the revision is compacted or in the future.
    pub fn range(&self, query: Query) -> Result<(Found, i64), Error> {
        Ok(self.shared().lock().range(query)?)
    }

    /// Runs a transaction; returns when it is durable.
    ///
    /// # Errors
    /// It is refused, or could not be made durable. Nothing has changed.
    pub async fn txn(&self, txn: &Transaction) -> Result<Done, Error> {
        let (done, ticket) = {
            let mut state = self.shared().write()?;
            self.check_room(&mut state, quota::cost(txn))?;
            state.apply(|mvcc| mvcc.txn(txn))?
        };
        ticket.wait().await?;
        Ok(done)
    }

    /// Writes one key; returns when it is durable. As a transaction of one operation, but that etcd refuses what is wrong with
    /// a lone write in another order.
    ///
    /// # Errors
    /// It is refused, or could not be made durable. Nothing has changed.
    pub async fn put(&self, put: &Put) -> Result<Done, Error> {
        let (done, ticket) = {
            let mut state = self.shared().write()?;
            self.check_room(&mut state, quota::cost_of_put(put))?;
            state.apply(|mvcc| mvcc.put(put))?
        };
        ticket.wait().await?;
        Ok(done)
    }

    /// Forgets history before `revision`. Gives the newest durable revision.
    ///
    /// If the journal fails, it stays forgotten until a restart and the caller is told of the failure.
    ///
    /// # Errors
    /// The revision is compacted already or in the future, or the journal cannot be written.
    pub async fn compact(&self, revision: i64) -> Result<i64, Error> {
        // Readers stand at the durable revision: it may not be forgotten under them.
        self.settled().await?;
        let (ticket, durable) = {
            let mut state = self.shared().write()?;
            let newest = state.durable;
            if revision > newest {
                return Err(Refusal::Future {
                    asked: revision,
                    newest,
                }
                .into());
            }
            (state.compact(revision)?, newest)
        };
        ticket.wait().await?;
        Ok(durable)
    }

    /// A reader of changes.
    pub fn watcher(&self) -> Watcher {
        Watcher::new(Arc::clone(self.shared()))
    }

    /// Waits until everything that was applied by now is durable.
    ///
    /// # Errors
    /// The journal could not be written.
    pub async fn settled(&self) -> Result<(), Error> {
        let ticket = self.shared().lock().commit(Vec::new());
        ticket.wait().await
    }

    /// Refuses writes from now on and returns when all that was queued is durable, or failed.
    pub async fn stop(&self) {
        self.shared().lock().close();
        self.running.timer.abort();
        let committer = lock(&self.running.committer).take();
        if let Some(committer) = committer {
            // A thread that panicked has said so.
            let _ = tokio::task::spawn_blocking(move || committer.join()).await;
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.running.shared
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.timer.abort();
        self.shared.lock().close();
        if let Some(committer) = lock(&self.committer).take() {
            let _ = committer.join();
        }
    }
}

impl Shared {
    /// Time since the store started.
    fn now(&self) -> Duration {
        now().saturating_duration_since(self.started)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::disallowed_methods,
    reason = "leases end on tokio's clock, which tests pause; a door of its own"
)]
fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "identities and ids of leases, which the simulator does not see; a door of its own"
)]
fn random() -> u64 {
    getrandom::u64().expect("a kernel that runs containers has randomness")
}
