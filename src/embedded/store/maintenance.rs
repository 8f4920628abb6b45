//! What the store says of itself, its alarm, and the snapshot in place of its journal.

use super::state::State;
use super::{Error, Store};
use crate::embedded::change::Change;
use crate::embedded::mvcc::Error as Refusal;
use std::sync::atomic::Ordering;
use tracing::warn;

/// What the store says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The newest durable revision.
    pub revision: i64,
    /// Bytes on disk.
    pub size: u64,
    /// Bytes in use: what a snapshot would take.
    pub in_use: u64,
    /// The most bytes that may be in use.
    pub quota: u64,
    /// Whether the alarm that it is full is in force.
    pub is_full: bool,
    /// How many watches there are.
    pub watches: usize,
}

/// A hash of what the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// The hash: equal for equal contents, of skep's own making.
    pub hash: u32,
    /// The revision that it is of.
    pub revision: i64,
    /// The oldest revision that there is; -1 before the first compaction.
    pub compacted: i64,
}

impl Store {
    /// What the store says of itself.
    pub fn status(&self) -> Status {
        let shared = self.shared();
        let state = shared.lock();
        let log = shared.journal_size.load(Ordering::Relaxed);
        Status {
            revision: state.durable,
            size: log.max(state.in_use),
            in_use: state.in_use,
            quota: shared.options.quota,
            is_full: state.mvcc.is_full(),
            watches: state.hub.len(),
        }
    }

    /// Raises the alarm that the store is full, or takes it back. Does nothing if that is so already.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn set_full(&self, raised: bool) -> Result<(), Error> {
        let ticket = self.shared().write()?.set_full(raised);
        ticket.wait().await
    }

    /// Puts a snapshot in place of the journal, which gives back what compaction has freed. Without a disk: nothing to do.
    ///
    /// # Errors
    /// The disk refuses; the journal is as it was.
    pub async fn defragment(&self) -> Result<(), Error> {
        let ticket = {
            let mut state = self.shared().write()?;
            state.after.has_work = true;
            match &mut state.queue {
                None => return Ok(()),
                Some(queue) => queue.push_snapshot(),
            }
        };
        ticket.wait().await
    }

    /// The hash of what the store holds at a revision; 0: the newest.
    ///
    /// # Errors
    /// The revision is compacted or in the future.
    pub fn hash(&self, revision: i64) -> Result<Hashed, Error> {
        let state = self.shared().lock();
        let at = match revision {
            // Nothing above the durable revision is told of.
            ..=0 if state.durable < state.mvcc.revision() => state.durable,
            asked => asked.max(0),
        };
        Ok(Hashed {
            hash: state.mvcc.hash(at)?,
            revision: state.durable,
            compacted: state.mvcc.floor(),
        })
    }

    /// The whole store as changes, durable ones only: what a snapshot holds. Gives its revision too.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub async fn changes(&self) -> Result<(Vec<Change>, i64), Error> {
        let (changes, revision, ticket) = {
            let mut state = self.shared().lock();
            let ticket = state.commit(Vec::new());
            (
                state.mvcc.changes().collect(),
                state.mvcc.revision(),
                ticket,
            )
        };
        ticket.wait().await?;
        Ok((changes, revision))
    }

    /// Refuses what does not fit, and raises the alarm with the first one.
    pub(super) fn check_room(&self, state: &mut State, cost: usize) -> Result<(), Error> {
        let quota = self.shared().options.quota;
        if cost == 0 || state.mvcc.is_full() || state.in_use + cost as u64 <= quota {
            return Ok(());
        }
        warn!(quota, "the store is full: the alarm NOSPACE is raised");
        // The alarm holds from now on; whether it is durable does not matter for this answer.
        drop(state.set_full(true));
        Err(Refusal::Full.into())
    }
}
