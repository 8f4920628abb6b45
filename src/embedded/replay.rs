//! The store as [`Change`]s and back: [`Mvcc::changes`] tells all of it, [`Mvcc::replay`] plays a change, and
//! [`Mvcc::undo`] takes changes back that could not be made safe. Pure.
//!
//! A compaction as the very first change begins a store that has lost its past: it stands at that revision at once, and
//! what is written at or before it is what the compaction left, with gaps. From then on revisions go on by one.

use super::answer::Event;
use super::change::Change;
use super::history::History;
use super::mvcc::Mvcc;
use std::sync::Arc;
use std::time::Duration;

/// A change that cannot follow on, or cannot be taken back: the journal is not of this store, or is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A revision is missing or comes twice.
    #[error("revision {found} does not follow on revision {last}")]
    Order {
        /// The newest that there was.
        last: i64,
        /// The one that came.
        found: i64,
    },
    /// A revision without events, or with an event that does not fit to its key.
    #[error("revision {revision} cannot be: {reason}")]
    Impossible {
        /// The revision.
        revision: i64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A compaction, of a revision that is compacted already or still to come.
    #[error("a compaction at revision {0} does not fit")]
    Compaction(i64),
    /// A lease that exists already, or whose TTL no store grants.
    #[error("lease {0:x} cannot have been granted")]
    Grant(i64),
    /// A lease that is not there, or still has keys.
    #[error("lease {0:x} cannot have ended")]
    End(i64),
}

impl Error {
    /// Whether the same call may succeed later: never, what is written is written.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

impl Mvcc {
    /// All that there is to remember, as few changes as tell it: a snapshot. Played onto an empty store they give one that
    /// answers every question alike, but that its leases have their whole TTL.
    pub fn changes(&self) -> impl Iterator<Item = Change> {
        let oldest = self.compacted.unwrap_or(i64::MIN);
        let begin = self
            .compacted
            .map(|revision| Change::Compacted { revision });
        let leases = self
            .leases
            .terms()
            .map(|(id, ttl, revision)| Change::Granted { id, ttl, revision });
        let left = self.history.up_to(oldest).into_iter();
        let left = left.map(|(revision, events)| Change::Written {
            revision,
            // Of the compacted revision itself the log knows the order.
            events: self.events_at(revision).unwrap_or_else(|| events.into()),
        });
        let since = self.history.events_from(oldest.saturating_add(1));
        let since = since.map(|(revision, events)| Change::Written {
            revision,
            events: Arc::clone(events),
        });
        let full = self.full.then_some(Change::Full { raised: true });
        begin
            .into_iter()
            .chain(leases)
            .chain(left)
            .chain(since)
            .chain(full)
    }

    /// Plays one change. A lease that was granted has its whole TTL from `now` on.
    ///
    /// # Errors
    /// The change cannot follow on what was played before. The store is as it was.
    pub fn replay(&mut self, change: Change, now: Duration) -> Result<(), Error> {
        match change {
            Change::Written { revision, events } => self.replay_written(revision, events),
            Change::Compacted { revision } => self.replay_compacted(revision),
            Change::Granted { id, ttl, revision } => {
                if id == 0 || self.leases.grant(id, ttl, now, revision).is_err() {
                    return Err(Error::Grant(id));
                }
                Ok(())
            }
            Change::Ended { id, .. } => self.replay_ended(id),
            Change::Full { raised } => {
                self.full = raised;
                Ok(())
            }
        }
    }

    fn replay_written(&mut self, revision: i64, events: Arc<[Event]>) -> Result<(), Error> {
        let last = self.revision();
        // What a compaction left comes before anything that was written since, with gaps.
        let is_left = self.compacted == Some(last) && revision <= last;
        if !is_left && revision != last + 1 {
            return Err(Error::Order {
                last,
                found: revision,
            });
        }
        if events.is_empty() {
            let reason = "it has no events";
            return Err(Error::Impossible { revision, reason });
        }
        for (played, event) in events.iter().enumerate() {
            if let Err(reason) = self.check_event(revision, event, is_left) {
                self.take_back(&events[..played]);
                return Err(Error::Impossible { revision, reason });
            }
            let previous = self.history.current(event.key()).cloned();
            self.apply(event.clone(), previous.as_ref());
        }
        match (is_left, revision == last) {
            (true, true) => self.history.close_first(events),
            (true, false) => {}
            (false, _) => self.history.close(events),
        }
        Ok(())
    }

    /// Whether an event can be the next of its key. What a compaction left is the first of its key, and tells of its past.
    fn check_event(&self, revision: i64, event: &Event, is_left: bool) -> Result<(), &'static str> {
        if event.key().is_empty() {
            return Err("a key is empty");
        }
        if event.revision() != revision {
            return Err("an event names another revision");
        }
        let current = self.history.current(event.key());
        let (created, version) = match (event, current) {
            (Event::Delete(..), None) => return Err("a key is deleted that is not there"),
            (Event::Delete(..), Some(_)) => return Ok(()),
            (Event::Put(_), Some(_)) if is_left => return Err("a compaction left a key twice"),
            (Event::Put(kv), None) if is_left => (kv.create_revision, kv.version),
            (Event::Put(_), None) => (revision, 1),
            (Event::Put(_), Some(kv)) => (kv.create_revision, kv.version + 1),
        };
        match event.stored() {
            Some(kv) if (kv.create_revision, kv.version) != (created, version) => {
                Err("a key does not go on from what it was")
            }
            _ => Ok(()),
        }
    }

    fn replay_compacted(&mut self, revision: i64) -> Result<(), Error> {
        if self.compact(revision).is_ok() {
            return Ok(());
        }
        // Only an empty store can be put there.
        if self.compacted.is_some() || !self.history.is_pristine() {
            return Err(Error::Compaction(revision));
        }
        self.compacted = Some(revision);
        self.history = History::beginning_at(revision);
        Ok(())
    }

    fn replay_ended(&mut self, id: i64) -> Result<(), Error> {
        let left = self.leases.keys(id).map(Iterator::count);
        if left != Some(0) {
            return Err(Error::End(id));
        }
        self.leases.remove(id);
        Ok(())
    }

    /// Takes back changes that could not be made safe: the newest of this store, in the order in which they were made. A
    /// lease that comes back has its whole TTL from `now` on. A compaction stays: what it forgot is gone.
    ///
    /// # Errors
    /// They are not the newest, or a compaction has swallowed them. What was taken back until then stays so.
    pub fn undo(&mut self, changes: &[Change], now: Duration) -> Result<(), Error> {
        for change in changes.iter().rev() {
            match change {
                Change::Written { revision, .. } => self.undo_written(*revision)?,
                Change::Compacted { .. } => {}
                Change::Granted { id, .. } => {
                    self.leases.remove(*id).ok_or(Error::Grant(*id))?;
                }
                Change::Ended { id, ttl, revision } => {
                    let granted = self.leases.grant(*id, *ttl, now, *revision);
                    granted.map_err(|_| Error::End(*id))?;
                }
                Change::Full { raised } => self.full = !raised,
            }
        }
        Ok(())
    }

    fn undo_written(&mut self, revision: i64) -> Result<(), Error> {
        let last = self.revision();
        let is_known = revision == last && self.compacted.is_none_or(|oldest| oldest < revision);
        let events = is_known.then(|| self.history.reopen()).flatten();
        let events = events.ok_or(Error::Order {
            last,
            found: revision,
        })?;
        self.take_back(&events);
        Ok(())
    }

    /// Takes back the newest events of their keys, the last one first, and gives keys back to the leases they had.
    fn take_back(&mut self, events: &[Event]) {
        for event in events.iter().rev() {
            if let Some(kv) = event.stored() {
                self.leases.detach(kv.lease, &kv.key);
            }
            self.history.pop(event.key());
            if let Some(kv) = self.history.current(event.key()) {
                self.leases.attach(kv.lease, &kv.key);
            }
        }
    }
}
