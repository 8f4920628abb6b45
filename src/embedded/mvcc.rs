//! Multi-version store with etcd's semantics: one counter of revisions, every key with its history, leases, compaction,
//! and the changes since a revision for watches. Pure: time is an argument (since any fixed moment), it waits for nothing.
//!
//! Invariants:
//! - The revision rises by one for each transaction that changes something, and never otherwise.
//! - A read at any revision from the last compaction on sees the same keys, however often it is asked.
//! - A transaction that is refused has changed nothing.
//! - All that has to be remembered of a step is in its [`Change`]s: played back they give the same store (`replay.rs`).
//!
//! Deliberately absent: limits on bytes, and who may ask; they are the server's.

use super::change::Change;
use super::check::check_span;
use super::history::History;
use super::lease::{LEAST_TTL, Leases};
use super::read::read;
pub use super::request::*;
use super::txn::{self, Writer};
use std::sync::Arc;
use std::time::Duration;

pub use super::check::MAX_OPERATIONS;

/// The store.
#[derive(Clone, Debug)]
pub struct Mvcc {
    pub(super) compacted: Option<i64>,
    pub(super) history: History,
    pub(super) leases: Leases,
    pub(super) full: bool,
}

impl Default for Mvcc {
    fn default() -> Self {
        Self::new()
    }
}

impl Mvcc {
    /// An empty store, at revision 1 as etcd's.
    pub fn new() -> Self {
        Self {
            compacted: None,
            history: History::new(),
            leases: Leases::default(),
            full: false,
        }
    }

    /// The newest revision.
    pub fn revision(&self) -> i64 {
        self.history.revision()
    }

    /// The oldest revision that can be read; 0 before the first compaction.
    pub fn compacted(&self) -> i64 {
        self.compacted.unwrap_or(0)
    }

    /// Whether the alarm is raised that the store is full.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Raises the alarm that the store is full, or takes it back. While it is raised, grants are refused, and transactions
    /// that may put. Gives what to remember of it; none if it stood so already.
    pub fn set_full(&mut self, raised: bool) -> Option<Change> {
        let is_news = self.full != raised;
        self.full = raised;
        is_news.then_some(Change::Full { raised })
    }

    /// Reads keys.
    ///
    /// # Errors
    /// The key is empty, or the revision is compacted or in the future.
    pub fn range(&self, query: &Query) -> Result<Found, Error> {
        check_span(&query.span)?;
        self.check_revision(query.revision)?;
        Ok(read(&self.history, query))
    }

    /// Runs a transaction. What to remember of it: [`Self::written`], if the revision has risen.
    ///
    /// # Errors
    /// It is malformed, names a lease or a key that is not there, reads at a revision that is not there, or may put while
    /// the store is full. Nothing has changed.
    pub fn txn(&mut self, txn: &Transaction) -> Result<Done, Error> {
        txn::run(self, txn)
    }

    /// Writes one key: as a transaction of this one operation, but that a lease is looked for before the key, as in etcd.
    ///
    /// # Errors
    /// As of [`Self::txn`].
    pub fn put(&mut self, put: &Put) -> Result<Done, Error> {
        txn::put(self, put)
    }

    /// Forgets what no read at `revision` or later needs.
    ///
    /// A deletion at exactly that revision leaves the history with it, as in etcd. It cannot be undone: whoever keeps a
    /// journal compacts revisions only that are safe there.
    ///
    /// # Errors
    /// The revision is compacted already or in the future.
    pub fn compact(&mut self, revision: i64) -> Result<(), Error> {
        self.check_compact(revision)?;
        self.compacted = Some(revision);
        self.history.compact(revision);
        Ok(())
    }

    /// Whether a compaction would be refused.
    ///
    /// # Errors
    /// The revision is compacted already or in the future.
    pub fn check_compact(&self, revision: i64) -> Result<(), Error> {
        match self.floor() {
            oldest if revision <= oldest => Err(Error::Compacted {
                asked: revision,
                oldest,
            }),
            _ if revision > self.revision() => Err(Error::Future {
                asked: revision,
                newest: self.revision(),
            }),
            _ => Ok(()),
        }
    }

    /// The events of one revision, in order, as they were written; what a compaction at it left of them. None where it is
    /// compacted, still to come, or before the first.
    pub fn events_at(&self, revision: i64) -> Option<Arc<[Event]>> {
        self.history.events_at(revision).cloned()
    }

    /// What to remember of a revision that was written; none where [`Self::events_at`] gives none.
    pub fn written(&self, revision: i64) -> Option<Change> {
        let events = self.events_at(revision)?;
        Some(Change::Written { revision, events })
    }

    /// The changes of keys in `span` from revision `start` on, itself included, oldest first, in order.
    ///
    /// # Errors
    /// That revision is compacted. (One in the future is not an error: there is nothing yet.)
    pub fn events_since(&self, span: &Span, start: i64) -> Result<Vec<(i64, Vec<Event>)>, Error> {
        if let Some(oldest) = self.compacted
            && start < oldest
        {
            return Err(Error::Compacted {
                asked: start,
                oldest,
            });
        }
        let changes = self.history.events_from(start);
        let chosen = changes.filter_map(|(revision, events)| {
            let is_meant = |event: &&Event| span.contains(event.key());
            let events: Vec<Event> = events.iter().filter(is_meant).cloned().collect();
            (!events.is_empty()).then_some((revision, events))
        });
        Ok(chosen.collect())
    }

    /// The key as it was at a revision: what `prev_kv` of an event at the next revision shows. None where it did not live
    /// then, and where that revision is compacted or still to come.
    pub fn at(&self, key: &[u8], revision: i64) -> Option<Stored> {
        let is_known = revision >= self.compacted() && revision <= self.revision();
        let found = is_known.then(|| self.history.at(key, revision))?;
        found.cloned()
    }

    /// Grants a lease; `id` 0 asks for a fresh one, which counts up (etcd's are random: a server draws its own and gives it
    /// here). Gives its id and its TTL in seconds (at least 2, as etcd's).
    ///
    /// # Errors
    /// The id is taken, the TTL is too long, or the store is full.
    pub fn grant(&mut self, id: i64, ttl: i64, now: Duration) -> Result<(i64, i64), Error> {
        if self.full {
            return Err(Error::Full);
        }
        self.leases.grant(id, ttl, now, self.revision())
    }

    /// Gives a lease its whole TTL again and returns it in seconds; none if the lease is gone.
    pub fn renew(&mut self, id: i64, now: Duration) -> Option<i64> {
        self.leases.renew(id, now)
    }

    /// The TTL granted in seconds and the time left; none if the lease is gone.
    pub fn time_left(&self, id: i64, now: Duration) -> Option<(i64, Duration)> {
        self.leases.time_left(id, now)
    }

    /// The leases that there are, those that end first before the others.
    pub fn lease_ids(&self) -> Vec<i64> {
        self.leases.ids()
    }

    /// The keys that go with a lease, in order; none if the lease is gone.
    pub fn lease_keys(&self, id: i64) -> Option<Vec<KeyBytes>> {
        let keys = self.leases.keys(id)?;
        Some(keys.cloned().collect())
    }

    /// What to remember of a lease that was granted; none if it is gone.
    pub fn granted(&self, id: i64) -> Option<Change> {
        let (ttl, revision) = self.leases.term(id)?;
        Some(Change::Granted { id, ttl, revision })
    }

    /// Ends a lease and deletes its keys in one revision; without keys the revision stays. Gives what to remember of it.
    ///
    /// # Errors
    /// The lease does not exist.
    pub fn revoke(&mut self, id: i64) -> Result<Vec<Change>, Error> {
        let lease = self.leases.remove(id).ok_or(Error::LeaseMissing(id))?;
        let mut writer = Writer::new(self);
        for key in &lease.keys {
            writer.delete_key(key);
        }
        let mut changes = Vec::new();
        if let Some(events) = writer.finish() {
            let revision = self.revision();
            changes.push(Change::Written { revision, events });
        }
        changes.push(Change::Ended {
            id,
            ttl: lease.ttl,
            revision: lease.granted_at,
        });
        Ok(changes)
    }

    /// Ends the leases whose time is over, each in a revision of its own, in the order of their ends. Gives what to
    /// remember of it.
    pub fn expire(&mut self, now: Duration) -> Vec<Change> {
        let mut changes = Vec::new();
        for id in self.leases.expired(now) {
            let ended = self.revoke(id);
            changes.extend(ended.expect("a lease that was listed a moment ago"));
        }
        changes
    }

    /// When the next lease ends unless it is renewed.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.leases.next_expiry()
    }

    /// The store as a backup taken at `revision` and restored now would be: newer revisions are issued again, every lease
    /// has its whole TTL. A lease that a key names and that has ended since comes back with the least TTL.
    ///
    /// # Errors
    /// The revision is compacted or in the future.
    pub fn restored_at(&self, revision: i64, now: Duration) -> Result<Self, Error> {
        self.check_revision(revision)?;
        let mut old = self.clone();
        old.history.truncate(revision);
        old.leases = old.leases.restored_at(revision, now);
        for kv in read(&old.history, &Query::now(Span::all())).kvs {
            if kv.lease != 0 && !old.leases.contains(kv.lease) {
                old.leases.grant(kv.lease, LEAST_TTL, now, revision)?;
            }
            old.leases.attach(kv.lease, &kv.key);
        }
        Ok(old)
    }

    /// A new, empty store in its place. Ids of leases go on: etcd's are random and do not come again.
    pub fn emptied(&self) -> Self {
        Self {
            leases: self.leases.emptied(),
            ..Self::new()
        }
    }

    /// The compacted revision as etcd counts it: it begins below zero, so that a compaction at 0 is one.
    pub(super) fn floor(&self) -> i64 {
        self.compacted.unwrap_or(-1)
    }

    /// Whether a read may ask for this revision; 0 or less: now.
    fn check_revision(&self, asked: i64) -> Result<(), Error> {
        self.check_inner_revision(asked.max(0))
    }

    /// Whether a read in a transaction may ask for this revision; 0: now. etcd takes one below zero for a compacted one.
    pub(super) fn check_inner_revision(&self, asked: i64) -> Result<(), Error> {
        let (oldest, newest) = (self.floor(), self.revision());
        if asked > newest {
            return Err(Error::Future { asked, newest });
        }
        if asked != 0 && asked < oldest {
            return Err(Error::Compacted { asked, oldest });
        }
        Ok(())
    }

    /// Writes one event of the revision that is being made: to its key's history, and to the leases on both sides.
    pub(super) fn apply(&mut self, event: Event, previous: Option<&Stored>) {
        if let Some(previous) = previous {
            self.leases.detach(previous.lease, &previous.key);
        }
        if let Some(stored) = event.stored() {
            self.leases.attach(stored.lease, &stored.key);
        }
        self.history.push(event);
    }
}
