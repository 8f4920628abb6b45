//! [`Memory`]: the door [`Kv`] over the [`Mvcc`], for fast tests, the simulator and benchmarks.
//!
//! It answers as etcd does: a watch from a compacted revision errs, one from a future revision is silent until then, leases
//! end on tokio's clock (so paused time works). [`Fault`]s are played on demand.
//!
//! Invariants:
//! - Every handle sees the same store; a call takes effect at once, in the order of calls.
//! - A watcher gets the changes of a revision in one batch, and what was sent to it stays readable after a compaction.
//!
//! Deliberately absent: a task of its own. Leases end when somebody calls or a watcher waits, both of which look at the
//! clock; nobody else could see the difference.

use super::door::{
    check_size, key_value, lease_status, prefix_span, range_span, refused, reply, transaction,
    watch_event, whole_seconds,
};
use super::fault::{Fault, Faults, unknown};
use super::mvcc::{Error as Refusal, Mvcc, Operation, Put, Query, Span, Transaction};
use crate::api::unit::{LeaseId, Revision};
use crate::store::{
    Error, KeyValue, Kv, LeaseStatus, Op, Outcome, RangeRequest, RangeResponse, StoreStatus, Txn,
    WatchBatch, WatchEvent, WatchRequest, WatchStream,
};
use async_trait::async_trait;
use futures::stream;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::time::Instant;

/// A store in memory; clones are handles on the same one.
#[derive(Clone, Debug)]
pub struct Memory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    started: Instant,
    /// Counts changes of leases, so that a waiting watcher looks anew when the next one ends.
    leases: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    mvcc: Mvcc,
    watchers: Vec<Watcher>,
    faults: Faults,
}

/// One watch. Its channel has no bound: what waits in it is part of the history that this store holds in memory anyway.
#[derive(Debug)]
struct Watcher {
    span: Span,
    next: i64,
    sender: UnboundedSender<Result<WatchBatch, Error>>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(State {
                    mvcc: Mvcc::new(),
                    watchers: Vec::new(),
                    faults: Faults::default(),
                }),
                started: now(),
                leases: watch::Sender::new(0),
            }),
        }
    }

    /// The key, if it exists.
    pub fn get(&self, key: &str) -> Option<KeyValue> {
        let found = self.dump_span(Span::new(key, ""));
        found.into_iter().next()
    }

    /// Writes a key as a user would; gives the revision. Ignores faults.
    ///
    /// # Panics
    /// The key is empty.
    pub fn put(&self, key: &str, value: impl Into<Vec<u8>>) -> Revision {
        self.write(Operation::Put(Put::new(key, value.into())))
    }

    /// Deletes a key as a user would; gives the revision. Ignores faults.
    ///
    /// # Panics
    /// The key is empty.
    pub fn delete(&self, key: &str) -> Revision {
        self.write(Operation::Delete(Span::new(key, "")))
    }

    /// All keys that begin with `prefix`, in order.
    pub fn dump(&self, prefix: &str) -> Vec<KeyValue> {
        self.dump_span(prefix_span(prefix))
    }

    /// The keys that begin with `prefix` and changed after this revision, in order, as they are now; without a value: the
    /// key is gone. None: what happened since is compacted.
    pub fn changed_since(
        &self,
        prefix: &str,
        revision: Revision,
    ) -> Option<Vec<(String, Option<KeyValue>)>> {
        let state = self.lock();
        // A compaction to the very next revision leaves its puts and forgets its deletions, as etcd 3.4 does.
        if state.mvcc.compacted() > revision.0 {
            return None;
        }
        let changes = state
            .mvcc
            .events_since(&prefix_span(prefix), revision.0 + 1);
        let events = changes.ok()?.into_iter().flat_map(|(_, events)| events);
        // The last change of a key is how it is now.
        let keys: BTreeMap<String, Option<KeyValue>> = events
            .map(|event| match watch_event(event) {
                WatchEvent::Put(kv) => (kv.key.clone(), Some(kv)),
                WatchEvent::Delete { key, .. } => (key, None),
            })
            .collect();
        Some(keys.into_iter().collect())
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        Revision(self.lock().mvcc.revision())
    }

    /// The leases that live now.
    pub fn leases(&self) -> Vec<LeaseId> {
        let ids = self.lock().mvcc.lease_ids();
        ids.into_iter().map(LeaseId).collect()
    }

    /// Lets the next transaction end [`Outcome::Unknown`] in this way; several calls queue up.
    pub fn fail_next(&self, fault: Fault) {
        self.lock().faults.next.push_back(fault);
    }

    /// Applies the transactions that [`Fault::Late`] held back, in order; gives how many of them committed.
    pub fn apply_late(&self) -> usize {
        let mut state = self.lock();
        let late = std::mem::take(&mut state.faults.late);
        let committed = |txn: Txn| matches!(state.txn(&txn), Ok(Outcome::Committed { .. }));
        late.into_iter().map(committed).filter(|done| *done).count()
    }

    /// While unreachable every call errs and watches are cut; leases run on.
    pub fn set_reachable(&self, reachable: bool) {
        let mut state = self.lock();
        state.faults.unreachable = !reachable;
        if !reachable {
            state.cut();
        }
    }

    /// While full (etcd: NOSPACE) it refuses what puts something, and grants no lease; reads and deletions go on.
    pub fn set_full(&self, is_full: bool) {
        self.lock().faults.full = is_full;
    }

    /// Takes transactions of so many comparisons and operations only, as an etcd with a low `--max-txn-ops`; none: as ever.
    pub fn set_most_operations(&self, most: Option<usize>) {
        self.lock().faults.most = most;
    }

    /// Ends every watch, as a lost connection does.
    pub fn cut_watches(&self) {
        self.lock().cut();
    }

    /// Restores a backup of `revision`: later revisions are issued again, watches are cut, and what was on its way to the
    /// store that was is lost with it.
    ///
    /// # Errors
    /// That revision is compacted or in the future.
    pub fn rewind(&self, revision: Revision) -> Result<(), Error> {
        let now = self.inner.now();
        let mut state = self.lock();
        state.mvcc = state.mvcc.restored_at(revision.0, now).map_err(refused)?;
        state.faults.late.clear();
        state.cut();
        drop(state);
        self.inner.leases_changed();
        Ok(())
    }

    /// Loses everything, also what was on its way, and starts anew at revision 1; watches are cut.
    pub fn wipe(&self) {
        let mut state = self.lock();
        state.mvcc = state.mvcc.emptied();
        state.faults.late.clear();
        state.cut();
        drop(state);
        self.inner.leases_changed();
    }

    fn write(&self, op: Operation) -> Revision {
        let txn = Transaction::one(op);
        let mut state = self.lock();
        let done = state.mvcc.txn(&txn).expect("a key that is not empty");
        state.deliver();
        Revision(done.revision)
    }

    fn dump_span(&self, span: Span) -> Vec<KeyValue> {
        let found = self.lock().mvcc.range(&Query::now(span));
        let kvs = found.map(|found| found.kvs).unwrap_or_default();
        kvs.into_iter().map(key_value).collect()
    }

    /// The state, after all leases ended whose time is over.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.lock()
    }

    fn reachable(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.lock();
        state.faults.check_reachable()?;
        Ok(state)
    }
}

impl Inner {
    fn now(&self) -> Duration {
        now().saturating_duration_since(self.started)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let now = self.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.mvcc.expire(now);
        state.deliver();
        state
    }

    fn leases_changed(&self) {
        self.leases.send_modify(|count| *count += 1);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "leases of the in-memory store end on tokio's clock, which tests pause; a door of its own"
)]
fn now() -> Instant {
    Instant::now()
}

impl State {
    /// Sends every watcher what it has not seen.
    fn deliver(&mut self) {
        let mvcc = &self.mvcc;
        self.watchers.retain_mut(|watcher| watcher.advance(mvcc));
    }

    fn cut(&mut self) {
        for watcher in self.watchers.drain(..) {
            // A reader that has left does not care.
            let _ = watcher.sender.send(Err(Error::WatchEnded {
                message: "the connection was lost".into(),
            }));
        }
    }

    fn txn(&mut self, txn: &Txn) -> Result<Outcome, Error> {
        check_size(txn)?;
        let done = self.mvcc.txn(&transaction(txn)).map_err(refused)?;
        self.deliver();
        let revision = Revision(done.revision);
        let replies = done.answers.into_iter().map(reply).collect();
        Ok(if done.succeeded {
            Outcome::Committed { revision, replies }
        } else {
            Outcome::Refused { revision, replies }
        })
    }

    fn faulty_txn(&mut self, txn: &Txn) -> Result<Outcome, Error> {
        let mut all = txn.then.iter().chain(&txn.otherwise);
        if self.faults.full && all.any(|op| matches!(op, Op::Put { .. })) {
            return Err(Error::Full);
        }
        self.faults.check_operations(txn)?;
        match self.faults.next.pop_front() {
            None => self.txn(txn),
            Some(Fault::Committed) => self.txn(txn).map(|_| unknown()),
            Some(Fault::Lost) => Ok(unknown()),
            Some(Fault::Late) => {
                self.faults.late.push_back(txn.clone());
                Ok(unknown())
            }
        }
    }
}

impl Watcher {
    /// Sends what is new; false when nobody listens any more.
    fn advance(&mut self, mvcc: &Mvcc) -> bool {
        let changes = match mvcc.events_since(&self.span, self.next) {
            Ok(changes) => changes,
            Err(error) => {
                let _ = self.sender.send(Err(refused(error)));
                return false;
            }
        };
        self.next = self.next.max(mvcc.revision() + 1);
        let Some((revision, _)) = changes.last() else {
            return !self.sender.is_closed();
        };
        let batch = WatchBatch {
            revision: Revision(*revision),
            events: changes
                .into_iter()
                .flat_map(|(_, events)| events)
                .map(watch_event)
                .collect(),
        };
        self.sender.send(Ok(batch)).is_ok()
    }
}

#[async_trait]
impl Kv for Memory {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let state = self.reachable()?;
        let query = Query {
            revision: request.revision.map_or(0, |revision| revision.0),
            limit: request.limit,
            keys_only: request.keys_only,
            ..Query::now(range_span(&request))
        };
        let found = state.mvcc.range(&query).map_err(refused)?;
        Ok(RangeResponse {
            revision: Revision(state.mvcc.revision()),
            kvs: found.kvs.into_iter().map(key_value).collect(),
            more: found.more,
            count: found.count,
        })
    }

    async fn txn(&self, txn: &Txn) -> Result<Outcome, Error> {
        self.reachable()?.faulty_txn(txn)
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        let mut state = self.reachable()?;
        let (sender, receiver) = unbounded_channel();
        let mut watcher = Watcher {
            span: prefix_span(&request.prefix),
            next: match request.start.0 {
                0 => state.mvcc.revision() + 1,
                start => start,
            },
            sender,
        };
        // Errs at once if the start is compacted; afterwards `advance` cannot meet one.
        state
            .mvcc
            .events_since(&watcher.span, watcher.next)
            .map_err(refused)?;
        if watcher.advance(&state.mvcc) {
            state.watchers.push(watcher);
        }
        drop(state);
        let start = (Arc::clone(&self.inner), receiver);
        Ok(Box::pin(stream::unfold(start, next_batch)))
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseStatus, Error> {
        let mut state = self.reachable()?;
        if state.faults.full {
            return Err(Error::Full);
        }
        let granted = state.mvcc.grant(0, whole_seconds(ttl), self.inner.now());
        let (id, ttl) = granted.map_err(refused)?;
        drop(state);
        self.inner.leases_changed();
        Ok(lease_status(LeaseId(id), ttl))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<LeaseStatus, Error> {
        let mut state = self.reachable()?;
        let ttl = state.mvcc.renew(lease.0, self.inner.now()).unwrap_or(0);
        Ok(lease_status(lease, ttl))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        let mut state = self.reachable()?;
        match state.mvcc.revoke(lease.0) {
            Ok(_) | Err(Refusal::LeaseMissing(_)) => {}
            Err(error) => return Err(refused(error)),
        }
        state.deliver();
        Ok(())
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        match self.reachable()?.mvcc.compact(revision.0) {
            Ok(()) | Err(Refusal::Compacted { .. }) => Ok(()),
            Err(error) => Err(refused(error)),
        }
    }

    async fn status(&self) -> Result<StoreStatus, Error> {
        drop(self.reachable()?);
        Ok(StoreStatus {
            version: "memory".into(),
            ..StoreStatus::default()
        })
    }
}

type Feed = (Arc<Inner>, UnboundedReceiver<Result<WatchBatch, Error>>);

/// The next item of a watch. Waits for it and, meanwhile, for leases to end; over after the first error.
async fn next_batch((inner, mut receiver): Feed) -> Option<(Result<WatchBatch, Error>, Feed)> {
    let mut leases = inner.leases.subscribe();
    loop {
        leases.mark_unchanged();
        let expiry = inner.lock().mvcc.next_expiry();
        let expired = async {
            match expiry {
                Some(at) => tokio::time::sleep_until(inner.started + at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            item = receiver.recv() => return item.map(|item| (item, (inner, receiver))),
            // Either way the loop looks anew; the sender lives in `inner`, so this cannot fail.
            _ = leases.changed() => {}
            () = expired => {}
        }
    }
}
