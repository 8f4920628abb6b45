//! [`State`]: what the running store knows, behind one lock. What is applied and what is durable are two revisions of the
//! same MVCC; readers see the durable one.

use super::hub::Hub;
use super::locked::After;
use super::queue::{Queue, Ticket};
use super::quota;
use crate::embedded::change::Change;
use crate::embedded::check::check_span;
use crate::embedded::mvcc::{Done, Error as Refusal, Found, Mvcc, Query};
use std::time::Duration;
use tracing::error;

/// The state of the store.
#[derive(Debug)]
pub(super) struct State {
    /// Everything that was applied, durable or not.
    pub(super) mvcc: Mvcc,
    /// The newest durable revision.
    pub(super) durable: i64,
    /// Bytes that the keys, values and history take, about.
    pub(super) in_use: u64,
    /// What waits for the commit thread; none in a store without a journal.
    pub(super) queue: Option<Queue>,
    pub(super) hub: Hub,
    /// What is to be told once the lock is free.
    pub(super) after: After,
}

impl State {
    pub(super) fn new(mvcc: Mvcc, has_journal: bool) -> Self {
        Self {
            durable: mvcc.revision(),
            in_use: quota::in_use(&mvcc),
            mvcc,
            queue: has_journal.then(Queue::default),
            hub: Hub::default(),
            after: After::default(),
        }
    }

    /// Reads at the newest durable revision, or at an older one.
    pub(super) fn range(&self, mut query: Query) -> Result<(Found, i64), Refusal> {
        // etcd looks at the shape of a request first.
        check_span(&query.span)?;
        if query.revision > self.durable {
            return Err(Refusal::Future {
                asked: query.revision,
                newest: self.durable,
            });
        }
        // Nothing above it is durable, so this is the newest that anyone was told of.
        if query.revision <= 0 && self.durable < self.mvcc.revision() {
            query.revision = self.durable;
        }
        Ok((self.mvcc.range(&query)?, self.durable))
    }

    /// Runs a transaction, or a write. Its answer is to be given when the ticket says so.
    pub(super) fn apply(
        &mut self,
        work: impl FnOnce(&mut Mvcc) -> Result<Done, Refusal>,
    ) -> Result<(Done, Ticket), Refusal> {
        let before = self.mvcc.revision();
        let done = work(&mut self.mvcc)?;
        let written = (before + 1..=self.mvcc.revision()).filter_map(|at| self.mvcc.written(at));
        let changes: Vec<Change> = written.collect();
        Ok((done, self.commit(changes)))
    }

    /// Ends a lease and deletes its keys.
    pub(super) fn revoke(&mut self, id: i64) -> Result<Ticket, Refusal> {
        let changes = self.mvcc.revoke(id)?;
        Ok(self.commit(changes))
    }

    /// Ends the leases whose time is over.
    pub(super) fn expire(&mut self, now: Duration) -> Ticket {
        let changes = self.mvcc.expire(now);
        self.commit(changes)
    }

    /// Forgets history. The revision has to be durable: this cannot be taken back.
    pub(super) fn compact(&mut self, revision: i64) -> Result<Ticket, Refusal> {
        self.mvcc.compact(revision)?;
        self.in_use = quota::in_use(&self.mvcc);
        Ok(self.commit(vec![Change::Compacted { revision }]))
    }

    /// Raises the alarm that the store is full, or takes it back.
    pub(super) fn set_full(&mut self, raised: bool) -> Ticket {
        let change = self.mvcc.set_full(raised);
        self.commit(change.into_iter().collect())
    }

    /// Queues changes that were applied to the MVCC, and gives what waits for them and all that came before.
    pub(super) fn commit(&mut self, changes: Vec<Change>) -> Ticket {
        self.in_use += changes.iter().map(quota::size).sum::<u64>();
        match &mut self.queue {
            Some(queue) => {
                self.after.has_work = true;
                queue.push(changes)
            }
            None => {
                // Without a journal everything is as durable as it will ever be.
                self.durable_now(&changes);
                Ticket::done()
            }
        }
    }

    /// Notes that changes are durable, and tells the watches.
    pub(super) fn durable_now(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Written { revision, events } = change {
                self.durable = *revision;
                self.hub.publish(*revision, events, &mut self.after.bells);
            }
        }
    }

    /// Says that no more writes come; what is queued is still made durable.
    pub(super) fn close(&mut self) {
        self.after.has_work = true;
        if let Some(queue) = &mut self.queue {
            queue.close();
        }
    }

    /// Takes back what was applied and could not be made durable: all that is not.
    pub(super) fn take_back(&mut self, changes: &[Change], now: Duration) {
        if let Err(error) = self.mvcc.undo(changes, now) {
            // What is told from now on may not be durable: better to tell nothing more.
            error!(%error, "what was not durable cannot be taken back: the store takes no more writes");
            self.close();
        }
        self.in_use = quota::in_use(&self.mvcc);
    }
}
