//! Group commit: a thread of its own makes changes durable, all that wait in one append, and then answers those who wait.
//!
//! While one append is on its way to the disk, the next changes queue up behind it; so a hundred writers share an fsync,
//! and a single one waits for nobody. Snapshots in place of a long journal are written by another thread meanwhile.
//!
//! Invariants:
//! - Changes become durable, visible to readers and told to watches in the order in which they were applied.
//! - A failed append takes back everything that was applied and is not durable, and everybody who waits for it is told.

use super::queue::{Batch, Queue, Waiter, Work, answer};
use super::state::State;
use super::{Error, Shared};
use crate::embedded::change::Change;
use crate::embedded::journal::{self, Journal, Written};
use crate::embedded::mvcc::Event;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tracing::{error, info, warn};

/// After a snapshot that failed, so many appends go by before the next one is tried.
const SNAPSHOT_RETRY_APPENDS: u32 = 1000;

/// What the commit thread has in its hands.
pub(super) struct Committer {
    shared: Arc<Shared>,
    journal: Journal,
    /// Those who wait for the snapshot that is being written; none: there is none.
    writing: Option<Vec<Waiter>>,
    /// Those who wait for the next one.
    asked: Vec<Waiter>,
    /// So many appends before a snapshot is tried again.
    wait: u32,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, journal: Journal) -> Self {
        Self {
            shared,
            journal,
            writing: None,
            asked: Vec::new(),
            wait: 0,
        }
    }

    /// Runs until the store is closed and everything queued is done.
    pub(super) fn run(mut self) {
        while let Some(work) = self.next() {
            let Work {
                batch,
                snapshots,
                written,
            } = work;
            self.asked.extend(snapshots);
            match written {
                Some(_) if self.journal.is_closed() => self.give_up_snapshot(),
                Some(written) => self.finish_snapshot(written),
                None => {}
            }
            let outcome = append(&mut self.journal, &batch.changes);
            self.shared.lock().settle(batch, outcome, self.shared.now());
            self.wait = self.wait.saturating_sub(1);
            self.begin_snapshot();
            let size = self.journal.size();
            self.shared.journal_size.store(size, Ordering::Relaxed);
        }
    }

    /// Waits for something to do; none when the store is closed and nothing is left.
    fn next(&self) -> Option<Work> {
        let mut state = self.shared.lock();
        loop {
            let queue = queue(&mut state);
            if let Some(work) = queue.take() {
                return Some(work);
            }
            if queue.is_closed() && self.writing.is_none() {
                return None;
            }
            state = state.wait_for_work();
        }
    }

    /// Begins a snapshot of the whole store, if it is time or somebody asked, and another thread writes it. A closed journal
    /// waits for it, for nothing can be appended before.
    fn begin_snapshot(&mut self) {
        let is_closed = self.journal.is_closed();
        let is_due = is_closed || (self.wait == 0 && self.journal.wants_snapshot());
        let is_wanted = is_due || !self.asked.is_empty();
        if self.writing.is_some() || !is_wanted {
            return;
        }
        let (snapshot, changes) = {
            let mut state = self.shared.lock();
            // A snapshot is of what the journal holds: so what was applied meanwhile goes into it first, and under the
            // lock, for no more may come.
            let batch = queue(&mut state).take_batch();
            let outcome = append(&mut self.journal, &batch.changes);
            state.settle(batch, outcome, self.shared.now());
            let changes: Vec<Change> = state.mvcc.changes().collect();
            (self.journal.begin_snapshot(), changes)
        };
        self.writing = Some(std::mem::take(&mut self.asked));
        let snapshot = match snapshot {
            Ok(snapshot) => snapshot,
            Err(error) => return self.finish_snapshot(Err(error)),
        };
        if is_closed {
            return self.finish_snapshot(snapshot.write(changes.into_iter()));
        }
        let shared = Arc::clone(&self.shared);
        let write = move || {
            let written = snapshot.write(changes.into_iter());
            let mut state = shared.lock();
            state.after.has_work = true;
            queue(&mut state).snapshot_written(written);
        };
        std::thread::Builder::new()
            .name("snapshot".into())
            .spawn(write)
            .expect("the system gives a thread to a process that has few");
    }

    /// The disk failed while a snapshot was written: it does not tell what became of the last append. Another one will.
    fn give_up_snapshot(&mut self) {
        self.asked.extend(self.writing.take().unwrap_or_default());
    }

    fn finish_snapshot(&mut self, written: Result<Written, journal::Error>) {
        let before = self.journal.size();
        let outcome = written.and_then(|written| self.journal.finish_snapshot(&written));
        match &outcome {
            Ok(()) => {
                let after = self.journal.size();
                info!(before, after, "a snapshot stands in place of the journal");
            }
            Err(error) => {
                self.wait = SNAPSHOT_RETRY_APPENDS;
                warn!(error = told(error), "no snapshot in place of the journal");
            }
        }
        let waiters = self.writing.take().unwrap_or_default();
        answer(waiters, &outcome.map_err(|error| failure(&error)));
    }
}

fn queue(state: &mut State) -> &mut Queue {
    state
        .queue
        .as_mut()
        .expect("a store with a journal has a queue")
}

/// Makes changes durable. What makes room may take the space that is kept for a full disk.
fn append(journal: &mut Journal, changes: &[Change]) -> Result<(), journal::Error> {
    if changes.iter().all(makes_room) {
        journal.append_from_reserve(changes)
    } else {
        journal.append(changes)
    }
}

fn makes_room(change: &Change) -> bool {
    match change {
        Change::Written { events, .. } => events
            .iter()
            .all(|event| matches!(event, Event::Delete(..))),
        Change::Granted { .. } => false,
        Change::Compacted { .. } | Change::Ended { .. } | Change::Full { .. } => true,
    }
}

impl State {
    /// Answers those who wait for a batch, when it is durable or when it failed. Then everything is taken back that is not
    /// durable: what was queued meanwhile builds on it.
    fn settle(&mut self, batch: Batch, outcome: Result<(), journal::Error>, now: Duration) {
        let Batch {
            mut changes,
            mut waiters,
        } = batch;
        let outcome = match outcome {
            Ok(()) => {
                self.durable_now(&changes);
                Ok(())
            }
            Err(error) => {
                let error_text = told(&error);
                error!(error = error_text, "what is not durable is taken back");
                let mut queued = queue(self).take_batch();
                waiters.append(&mut queued.waiters);
                changes.append(&mut queued.changes);
                self.take_back(&changes, now);
                Err(failure(&error))
            }
        };
        self.after.answers.push((waiters, outcome));
    }
}

/// What to tell those whose change failed.
fn failure(error: &journal::Error) -> Error {
    let message = told(error);
    match error {
        journal::Error::Doubtful { .. } => Error::Journal { message },
        _ => Error::NotWritten { message },
    }
}

/// An error with its causes.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
