//! Multi-version store with etcd's semantics: one counter of revisions, every key with its history, leases, compaction,
//! and the changes since a revision for watches. Pure: time is an argument (since any fixed moment), it waits for nothing.
//!
//! Invariants:
//! - The revision rises by one for each transaction that changes something, and never otherwise.
//! - A read at any revision from the last compaction on sees the same keys, however often it is asked.
//! - A transaction that is refused has changed nothing.
//!
//! Deliberately absent as yet: nested transactions, `ignore_value` and `ignore_lease`, sorting, limits on bytes. They belong
//! to the whole etcd API; answers carry the previous values that it needs.

use super::lease::{LEAST_TTL, Leases};
pub use super::request::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// etcd refuses larger transactions by default (`--max-txn-ops`).
pub const MAX_OPERATIONS: usize = 128;

/// One entry of a key's history; without a value the key was deleted.
#[derive(Clone, Debug)]
struct Entry {
    revision: i64,
    stored: Option<Stored>,
}

/// The store.
#[derive(Clone, Debug)]
pub struct Mvcc {
    revision: i64,
    compacted: Option<i64>,
    keys: BTreeMap<KeyBytes, Vec<Entry>>,
    log: BTreeMap<i64, Vec<Event>>,
    leases: Leases,
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
            revision: 1,
            compacted: None,
            keys: BTreeMap::new(),
            log: BTreeMap::new(),
            leases: Leases::default(),
        }
    }

    /// The newest revision.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The oldest revision that can be read; 0 before the first compaction.
    pub fn compacted(&self) -> i64 {
        self.compacted.unwrap_or(0)
    }

    /// Reads keys.
    ///
    /// # Errors
    /// The key is empty, or the revision is compacted or in the future.
    pub fn range(&self, query: &Query) -> Result<Found, Error> {
        self.check_span(&query.span)?;
        self.check_revision(query.revision, self.revision)?;
        Ok(self.read(query))
    }

    /// Runs a transaction.
    ///
    /// # Errors
    /// It is malformed, names a lease that is not there, or reads at a revision that is not there. Nothing has changed.
    pub fn txn(&mut self, txn: &Transaction) -> Result<Done, Error> {
        check_shape(txn)?;
        let succeeded = txn.conditions.iter().all(|condition| self.holds(condition));
        let branch = if succeeded { &txn.then } else { &txn.otherwise };
        self.check_branch(branch)?;
        let mut writer = Writer::new(self);
        let answers = branch.iter().map(|op| writer.run(op)).collect();
        writer.finish();
        Ok(Done {
            succeeded,
            revision: self.revision,
            answers,
        })
    }

    /// Forgets what no read at `revision` or later needs.
    ///
    /// A deletion at exactly that revision leaves the history with it, as in etcd.
    ///
    /// # Errors
    /// The revision is compacted already or in the future.
    pub fn compact(&mut self, revision: i64) -> Result<(), Error> {
        if let Some(oldest) = self.compacted
            && revision <= oldest
        {
            return Err(Error::Compacted {
                asked: revision,
                oldest,
            });
        }
        if revision > self.revision {
            return Err(Error::Future {
                asked: revision,
                newest: self.revision,
            });
        }
        self.compacted = Some(revision);
        self.keys.retain(|_, history| {
            forget(history, revision);
            !history.is_empty()
        });
        self.log = self.log.split_off(&revision);
        if let Some(events) = self.log.get_mut(&revision) {
            events.retain(|event| matches!(event, Event::Put(_)));
        }
        Ok(())
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
        let changes = self.log.range(start..).filter_map(|(revision, events)| {
            let events: Vec<Event> = events
                .iter()
                .filter(|event| span.contains(event.key()))
                .cloned()
                .collect();
            (!events.is_empty()).then_some((*revision, events))
        });
        Ok(changes.collect())
    }

    /// Grants a lease; `id` 0 asks for a fresh one. Gives its id and its TTL in seconds (at least 2, as etcd's).
    ///
    /// # Errors
    /// The id is taken or the TTL too long.
    pub fn grant(&mut self, id: i64, ttl: i64, now: Duration) -> Result<(i64, i64), Error> {
        self.leases.grant(id, ttl, now, self.revision)
    }

    /// Gives a lease its whole TTL again and returns it in seconds; none if the lease is gone.
    pub fn renew(&mut self, id: i64, now: Duration) -> Option<i64> {
        self.leases.renew(id, now)
    }

    /// The TTL granted in seconds and the time left; none if the lease is gone.
    pub fn time_left(&self, id: i64, now: Duration) -> Option<(i64, Duration)> {
        self.leases.time_left(id, now)
    }

    /// The leases that there are.
    pub fn lease_ids(&self) -> Vec<i64> {
        self.leases.ids()
    }

    /// Ends a lease and deletes its keys in one revision; without keys the revision stays.
    ///
    /// # Errors
    /// The lease does not exist.
    pub fn revoke(&mut self, id: i64) -> Result<(), Error> {
        let keys = self.leases.remove(id).ok_or(Error::LeaseMissing(id))?;
        let mut writer = Writer::new(self);
        for key in keys {
            writer.delete(&Span::One(key));
        }
        writer.finish();
        Ok(())
    }

    /// Ends the leases whose time is over, each in a revision of its own.
    pub fn expire(&mut self, now: Duration) {
        for id in self.leases.expired(now) {
            self.revoke(id)
                .expect("a lease that was listed a moment ago");
        }
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
        self.check_revision(revision, self.revision)?;
        let mut old = self.clone();
        old.revision = revision;
        old.log.split_off(&(revision + 1));
        old.leases = old.leases.restored_at(revision, now);
        for history in old.keys.values_mut() {
            history.retain(|entry| entry.revision <= revision);
        }
        old.keys.retain(|_, history| !history.is_empty());
        for kv in old.read(&Query::now(Span::From(Vec::new()))).kvs {
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

    fn check_span(&self, span: &Span) -> Result<(), Error> {
        if span.start().is_empty() {
            return Err(Error::EmptyKey);
        }
        Ok(())
    }

    fn check_revision(&self, asked: i64, newest: i64) -> Result<(), Error> {
        if asked <= 0 {
            return Ok(());
        }
        if asked > newest {
            return Err(Error::Future { asked, newest });
        }
        match self.compacted {
            Some(oldest) if asked < oldest => Err(Error::Compacted { asked, oldest }),
            _ => Ok(()),
        }
    }

    /// Checks all that can fail before anything is changed.
    fn check_branch(&self, branch: &[Operation]) -> Result<(), Error> {
        for op in branch {
            match op {
                Operation::Put { lease, .. } => {
                    if *lease != 0 && !self.leases.contains(*lease) {
                        return Err(Error::LeaseMissing(*lease));
                    }
                }
                Operation::Read(query) => self.check_revision(query.revision, self.revision)?,
                Operation::Delete(_) => {}
            }
        }
        Ok(())
    }

    /// The newest entry of `key` at `revision`, if the key lived then.
    fn live(history: &[Entry], revision: i64) -> Option<&Stored> {
        let newest = history
            .iter()
            .rev()
            .find(|entry| entry.revision <= revision)?;
        newest.stored.as_ref()
    }

    fn current(&self, key: &[u8]) -> Option<&Stored> {
        self.keys.get(key)?.last()?.stored.as_ref()
    }

    fn read(&self, query: &Query) -> Found {
        let revision = if query.revision > 0 {
            query.revision
        } else {
            i64::MAX
        };
        let Some(bounds) = query.span.bounds() else {
            return Found::default();
        };
        let limit = usize::try_from(query.limit).unwrap_or(0);
        let mut found = Found::default();
        for (_, history) in self.keys.range::<[u8], _>(bounds) {
            let Some(stored) = Self::live(history, revision) else {
                continue;
            };
            found.count += 1;
            if limit > 0 && found.kvs.len() == limit {
                found.more = true;
                continue;
            }
            let mut kv = stored.clone();
            if query.keys_only {
                kv.value = Arc::from([]);
            }
            found.kvs.push(kv);
        }
        found
    }

    fn holds(&self, condition: &Condition) -> bool {
        let kv = self.current(&condition.key);
        let number = |of: fn(&Stored) -> i64| kv.map_or(0, of);
        let order = match &condition.target {
            Target::Version(given) => number(|kv| kv.version).cmp(given),
            Target::Create(given) => number(|kv| kv.create_revision).cmp(given),
            Target::Mod(given) => number(|kv| kv.mod_revision).cmp(given),
            Target::Lease(given) => number(|kv| kv.lease).cmp(given),
            Target::Value(given) => match kv {
                Some(kv) => kv.value.as_ref().cmp(given.as_slice()),
                None => return false,
            },
        };
        match condition.relation {
            Relation::Equal => order.is_eq(),
            Relation::NotEqual => order.is_ne(),
            Relation::Greater => order.is_gt(),
            Relation::Less => order.is_lt(),
        }
    }
}

/// Drops from a key's history what no read at `revision` or later needs.
fn forget(history: &mut Vec<Entry>, revision: i64) {
    let old = history
        .iter()
        .take_while(|entry| entry.revision <= revision)
        .count();
    let Some(newest) = old.checked_sub(1) else {
        return;
    };
    let deleted = history[newest].stored.is_none();
    history.drain(..if deleted { old } else { newest });
}

/// Refuses what is malformed in either branch, taken or not, as etcd does.
fn check_shape(txn: &Transaction) -> Result<(), Error> {
    for count in [txn.conditions.len(), txn.then.len(), txn.otherwise.len()] {
        if count > MAX_OPERATIONS {
            return Err(Error::TooManyOperations(count));
        }
    }
    if txn.conditions.iter().any(|c| c.key.is_empty()) {
        return Err(Error::EmptyKey);
    }
    check_operations(&txn.then)?;
    check_operations(&txn.otherwise)
}

fn check_operations(branch: &[Operation]) -> Result<(), Error> {
    let mut puts = std::collections::BTreeSet::new();
    for op in branch {
        let start = match op {
            Operation::Put { key, .. } => key,
            Operation::Delete(span) | Operation::Read(Query { span, .. }) => span.start(),
        };
        if start.is_empty() {
            return Err(Error::EmptyKey);
        }
        if let Operation::Put { key, .. } = op
            && !puts.insert(key.as_slice())
        {
            return Err(Error::DuplicateKey);
        }
    }
    let overlaps = |op: &Operation| match op {
        // etcd's check does not understand a delete to the end of the keys: that one runs in order.
        Operation::Delete(Span::From(_)) | Operation::Put { .. } | Operation::Read(_) => false,
        Operation::Delete(span) => puts.iter().any(|key| span.contains(key)),
    };
    if branch.iter().any(overlaps) {
        return Err(Error::DuplicateKey);
    }
    Ok(())
}

/// The writes of one transaction: they share one revision, which is taken with the first of them.
struct Writer<'a> {
    store: &'a mut Mvcc,
    revision: i64,
    events: Vec<Event>,
}

impl<'a> Writer<'a> {
    fn new(store: &'a mut Mvcc) -> Self {
        let revision = store.revision + 1;
        Self {
            store,
            revision,
            events: Vec::new(),
        }
    }

    fn run(&mut self, op: &Operation) -> Answer {
        match op {
            Operation::Put { key, value, lease } => Answer::Put(self.put(key, value, *lease)),
            Operation::Delete(span) => Answer::Deleted(self.delete(span)),
            Operation::Read(query) => Answer::Read(self.store.read(query)),
        }
    }

    fn put(&mut self, key: &[u8], value: &Arc<[u8]>, lease: i64) -> Option<Stored> {
        let previous = self.store.current(key).cloned();
        let stored = Stored {
            key: key.to_vec(),
            value: Arc::clone(value),
            create_revision: previous
                .as_ref()
                .map_or(self.revision, |kv| kv.create_revision),
            mod_revision: self.revision,
            version: previous.as_ref().map_or(1, |kv| kv.version + 1),
            lease,
        };
        if let Some(previous) = &previous {
            self.store.leases.detach(previous.lease, key);
        }
        self.store.leases.attach(lease, key);
        self.events.push(Event::Put(stored.clone()));
        self.append(key, Some(stored));
        previous
    }

    fn delete(&mut self, span: &Span) -> Vec<Stored> {
        let gone = self.store.read(&Query::now(span.clone())).kvs;
        for kv in &gone {
            self.store.leases.detach(kv.lease, &kv.key);
            self.events
                .push(Event::Delete(kv.key.clone(), self.revision));
            self.append(&kv.key, None);
        }
        gone
    }

    fn append(&mut self, key: &[u8], stored: Option<Stored>) {
        let entry = Entry {
            revision: self.revision,
            stored,
        };
        match self.store.keys.get_mut(key) {
            Some(history) => history.push(entry),
            None => {
                self.store.keys.insert(key.to_vec(), vec![entry]);
            }
        }
    }

    fn finish(self) {
        if !self.events.is_empty() {
            self.store.revision = self.revision;
            self.store.log.insert(self.revision, self.events);
        }
    }
}
