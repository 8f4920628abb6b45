//! [`Queue`]: what waits for the commit thread, and [`Ticket`], the right to answer once it is durable.

use super::Error;
use crate::embedded::change::Change;
use crate::embedded::journal::{self, Written};
use tokio::sync::oneshot;

/// Somebody who waits to be told how it went.
pub(super) type Waiter = oneshot::Sender<Result<(), Error>>;

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
    /// A snapshot that was written, or could not be.
    written: Option<Result<Written, journal::Error>>,
}

/// Changes that are made durable together, and those who wait for them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) changes: Vec<Change>,
    pub(super) waiters: Vec<Waiter>,
}

/// What the thread is to do next.
pub(super) struct Work {
    pub(super) batch: Batch,
    pub(super) snapshots: Vec<Waiter>,
    pub(super) written: Option<Result<Written, journal::Error>>,
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
        if changes.is_empty() && !self.is_busy && self.waiting.changes.is_empty() {
            return Ticket::done();
        }
        let (waiter, receiver) = oneshot::channel();
        if self.is_closed && !self.is_busy {
            // The thread may be gone: dropping the waiter says that the store is stopping.
            return Ticket(Some(receiver));
        }
        self.waiting.changes.extend(changes);
        self.waiting.waiters.push(waiter);
        Ticket(Some(receiver))
    }

    /// Asks for a snapshot in place of the journal.
    pub(super) fn push_snapshot(&mut self) -> Ticket {
        let (waiter, receiver) = oneshot::channel();
        self.snapshots.push(waiter);
        Ticket(Some(receiver))
    }

    /// Tells the thread that a snapshot was written, or could not be.
    pub(super) fn snapshot_written(&mut self, written: Result<Written, journal::Error>) {
        self.written = Some(written);
    }

    /// Says that no more comes; what is queued is still made durable.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// What is to be done next, if there is anything; the thread is busy with it from then on.
    pub(super) fn take(&mut self) -> Option<Work> {
        let is_empty = self.waiting.waiters.is_empty()
            && self.waiting.changes.is_empty()
            && self.snapshots.is_empty()
            && self.written.is_none();
        self.is_busy = !is_empty;
        (!is_empty).then(|| Work {
            batch: self.take_batch(),
            snapshots: std::mem::take(&mut self.snapshots),
            written: self.written.take(),
        })
    }

    /// The changes that wait, and those who wait for them.
    pub(super) fn take_batch(&mut self) -> Batch {
        std::mem::take(&mut self.waiting)
    }
}

/// Tells everybody how it went.
pub(super) fn answer(waiters: Vec<Waiter>, outcome: &Result<(), Error>) {
    for waiter in waiters {
        // One that has left does not care.
        let _ = waiter.send(outcome.clone());
    }
}
