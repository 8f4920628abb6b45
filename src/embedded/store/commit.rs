//! Group commit: a thread of its own makes changes durable, all that wait in one append, and then answers those who wait.
//!
//! While one append is on its way to the disk, the next changes queue up behind it; so a hundred writers share an fsync,
//! and a single one waits for nobody.
//!
//! Invariants:
//! - Changes become durable, visible to readers and told to watches in the order in which they were applied.
//! - A failed append takes back everything that was applied and is not durable, and everybody who waits for it is told.

use super::Error;
use super::Shared;
use super::log::{Log, LogError};
use super::state::State;
use crate::embedded::change::Change;
use std::sync::atomic::Ordering;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

/// After a snapshot that failed, so many appends go by before the next one is tried.
const SNAPSHOT_RETRY_APPENDS: u32 = 1000;

/// What waits for the commit thread.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Batch,
    /// Whether the thread has a batch in hand.
    is_busy: bool,
    /// Whether the store is being stopped.
    is_closed: bool,
    /// Those who wait for a snapshot.
    snapshots: Vec<Waiter>,
}

type Waiter = oneshot::Sender<Result<(), Error>>;

/// Changes that are made durable together, and those who wait for them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    changes: Vec<Change>,
    waiters: Vec<Waiter>,
}

/// The right to answer, once everything that was applied before is durable.
#[derive(Debug)]
#[must_use = "an answer may go out only when the ticket says so"]
pub(super) struct Ticket(Option<oneshot::Receiver<Result<(), Error>>>);

impl Ticket {
    /// One that has come through.
    pub(super) fn done() -> Self {
        Self(None)
    }

    fn refused(error: Error) -> Self {
        let (waiter, receiver) = oneshot::channel();
        // The receiver is at hand.
        let _ = waiter.send(Err(error));
        Self(Some(receiver))
    }

    /// Waits until it comes through.
    pub(super) async fn wait(self) -> Result<(), Error> {
        match self.0 {
            None => Ok(()),
            Some(receiver) => receiver.await.unwrap_or(Err(Error::Stopping)),
        }
    }
}

impl Queue {
    /// Queues changes; without any, the ticket waits for those that were queued before.
    pub(super) fn push(&mut self, changes: Vec<Change>) -> Ticket {
        if self.is_closed && !changes.is_empty() {
            return Ticket::refused(Error::Stopping);
        }
        if changes.is_empty() && self.is_idle() {
            return Ticket::done();
        }
        let (waiter, receiver) = oneshot::channel();
        self.waiting.changes.extend(changes);
        self.waiting.waiters.push(waiter);
        Ticket(Some(receiver))
    }

    /// Asks for a snapshot in place of the log.
    pub(super) fn push_snapshot(&mut self) -> Ticket {
        let (waiter, receiver) = oneshot::channel();
        self.snapshots.push(waiter);
        Ticket(Some(receiver))
    }

    /// Refuses changes from now on; what is queued is still made durable.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether nothing is on its way to the disk.
    fn is_idle(&self) -> bool {
        !self.is_busy && self.waiting.changes.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.waiting.changes.is_empty()
            && self.waiting.waiters.is_empty()
            && self.snapshots.is_empty()
    }
}

/// What the thread is to do next.
struct Work {
    batch: Batch,
    snapshots: Vec<Waiter>,
}

/// The thread: runs until the store is closed and everything queued is done.
pub(super) fn run(shared: &Shared, mut log: Box<dyn Log>) {
    let mut snapshot_wait = 0u32;
    while let Some(work) = shared.next_work() {
        let was_closed = log.is_closed();
        shared.append(log.as_mut(), work.batch);
        snapshot_wait = snapshot_wait.saturating_sub(1);
        let is_due = was_closed || (snapshot_wait == 0 && log.wants_snapshot());
        if is_due || !work.snapshots.is_empty() {
            let outcome = shared.snapshot(log.as_mut());
            if outcome.is_err() {
                snapshot_wait = SNAPSHOT_RETRY_APPENDS;
            }
            answer(work.snapshots, &outcome.map_err(Error::from));
        }
        shared.log_size.store(log.size(), Ordering::Relaxed);
    }
}

impl Shared {
    /// Waits for something to do; none when the store is closed and nothing is left.
    fn next_work(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            let queue = state.queue.as_mut().expect("a store with a log has a queue");
            queue.is_busy = false;
            if !queue.is_empty() {
                queue.is_busy = true;
                return Some(Work {
                    batch: std::mem::take(&mut queue.waiting),
                    snapshots: std::mem::take(&mut queue.snapshots),
                });
            }
            if queue.is_closed {
                return None;
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn append(&self, log: &mut dyn Log, batch: Batch) {
        match log.append(&batch.changes) {
            Ok(()) => {
                self.lock().durable_now(&batch.changes);
                answer(batch.waiters, &Ok(()));
            }
            Err(error) => {
                let (waiters, error) = self.lock().failed(batch, error, self.now());
                answer(waiters, &Err(error));
            }
        }
    }

    /// Puts the whole store in place of the log.
    fn snapshot(&self, log: &mut dyn Log) -> Result<(), LogError> {
        let changes: Vec<Change> = {
            let mut state = self.lock();
            // A snapshot is of what the log holds: so what was applied meanwhile goes into it first, and under the lock,
            // for no more may come.
            let queue = state.queue.as_mut().expect("a store with a log has a queue");
            let batch = std::mem::take(&mut queue.waiting);
            match log.append(&batch.changes) {
                Ok(()) => {
                    state.durable_now(&batch.changes);
                    answer(batch.waiters, &Ok(()));
                }
                Err(error) => {
                    let (waiters, error) = state.failed(batch, error, self.now());
                    answer(waiters, &Err(error));
                }
            }
            state.mvcc.changes().collect()
        };
        let before = log.size();
        let outcome = log.snapshot(&mut changes.into_iter());
        match &outcome {
            Ok(()) => info!(before, after = log.size(), "snapshot in place of the journal"),
            Err(error) => warn!(%error, "no snapshot in place of the journal"),
        }
        outcome
    }
}

impl State {
    /// Takes back all that is not durable; what was queued meanwhile builds on it, so it goes as well. Gives those who wait
    /// for it, and what to tell them.
    fn failed(&mut self, batch: Batch, error: LogError, now: Duration) -> (Vec<Waiter>, Error) {
        error!(%error, "the journal cannot be written: what was not durable is taken back");
        let Batch {
            mut changes,
            mut waiters,
        } = batch;
        let queue = self.queue.as_mut().expect("a store with a log has a queue");
        let mut queued = std::mem::take(&mut queue.waiting);
        waiters.append(&mut queued.waiters);
        changes.append(&mut queued.changes);
        self.take_back(&changes, now);
        (waiters, error.into())
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        let message = error.message;
        if error.full {
            Self::NoSpace { message }
        } else {
            Self::Journal { message }
        }
    }
}

fn answer(waiters: Vec<Waiter>, outcome: &Result<(), Error>) {
    for waiter in waiters {
        // One that has left does not care.
        let _ = waiter.send(outcome.clone());
    }
}
