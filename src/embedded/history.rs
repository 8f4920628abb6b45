//! All that happened since the last compaction: for each key its changes, for each revision its events. Pure.
//!
//! Invariants:
//! - `log` has one slice for every revision from `first` to the newest; no revision is missing.
//! - A key's changes are in order; what the compaction left of it comes first. No key stands here without a change.

use super::answer::{Event, KeyBytes, Stored};
use super::request::Span;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// etcd counts from here: its first write is revision 2.
const FIRST: i64 = 2;

/// The history.
#[derive(Clone, Debug)]
pub(super) struct History {
    keys: BTreeMap<KeyBytes, Vec<Event>>,
    first: i64,
    log: VecDeque<Arc<[Event]>>,
}

impl History {
    pub(super) fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            first: FIRST,
            log: VecDeque::new(),
        }
    }

    /// One whose newest revision is this one, for what a compaction at it has left.
    pub(super) fn beginning_at(revision: i64) -> Self {
        Self {
            keys: BTreeMap::new(),
            first: revision,
            log: VecDeque::from([Arc::from([])]),
        }
    }

    /// The newest revision.
    pub(super) fn revision(&self) -> i64 {
        self.first - 1 + i64::try_from(self.log.len()).expect("revisions are counted in 63 bits")
    }

    /// Whether nothing was ever written.
    pub(super) fn is_pristine(&self) -> bool {
        self.keys.is_empty() && self.revision() < FIRST
    }

    /// The key as it is now, if it lives.
    pub(super) fn current(&self, key: &[u8]) -> Option<&Stored> {
        self.keys.get(key)?.last()?.stored()
    }

    /// The key as it was at a revision, if it lived then.
    pub(super) fn at(&self, key: &[u8], revision: i64) -> Option<&Stored> {
        live(self.keys.get(key)?, revision)
    }

    /// The keys of a span as they were at a revision, in order.
    pub(super) fn span(&self, span: &Span, revision: i64) -> impl Iterator<Item = &Stored> {
        let histories = span
            .bounds()
            .map(|bounds| self.keys.range::<[u8], _>(bounds));
        let changes = histories.into_iter().flatten();
        changes.filter_map(move |(_, changes)| live(changes, revision))
    }

    /// The events of one revision; none where it is forgotten or still to come.
    pub(super) fn events_at(&self, revision: i64) -> Option<&Arc<[Event]>> {
        let index = usize::try_from(revision.checked_sub(self.first)?).ok()?;
        self.log.get(index)
    }

    /// The revisions from `start` on with their events.
    pub(super) fn events_from(&self, start: i64) -> impl Iterator<Item = (i64, &Arc<[Event]>)> {
        let start = start.max(self.first);
        let skipped = usize::try_from(start - self.first).unwrap_or(usize::MAX);
        (start..).zip(self.log.range(skipped.min(self.log.len())..))
    }

    /// Every change that is known, by key, then in order.
    pub(super) fn events_by_key(&self) -> impl Iterator<Item = &Event> {
        self.keys.values().flatten()
    }

    /// What is known from `revision` or before: what a compaction there left of each key, by revision, then by key.
    pub(super) fn up_to(&self, revision: i64) -> BTreeMap<i64, Vec<Event>> {
        let mut left: BTreeMap<i64, Vec<Event>> = BTreeMap::new();
        for event in self.events_by_key() {
            if event.revision() <= revision {
                left.entry(event.revision())
                    .or_default()
                    .push(event.clone());
            }
        }
        left
    }

    /// Appends a change to its key. Its revision comes into the log with [`Self::close`].
    pub(super) fn push(&mut self, event: Event) {
        match self.keys.get_mut(event.key()) {
            Some(changes) => changes.push(event),
            None => {
                self.keys.insert(Arc::clone(event.key()), vec![event]);
            }
        }
    }

    /// Ends the next revision, whose events were pushed one by one.
    pub(super) fn close(&mut self, events: Arc<[Event]>) {
        self.log.push_back(events);
    }

    /// Puts events into the revision at which the history begins, as a compaction there left them.
    pub(super) fn close_first(&mut self, events: Arc<[Event]>) {
        if let Some(first) = self.log.front_mut() {
            *first = events;
        }
    }

    /// Takes the newest revision out of the log and gives its events; [`Self::pop`] takes back each of them.
    pub(super) fn reopen(&mut self) -> Option<Arc<[Event]>> {
        self.log.pop_back()
    }

    /// Takes back the newest change of a key.
    pub(super) fn pop(&mut self, key: &[u8]) {
        let Some(changes) = self.keys.get_mut(key) else {
            return;
        };
        changes.pop();
        if changes.is_empty() {
            self.keys.remove(key);
        }
    }

    /// Drops all that came after `revision`, which is in the log or just before it.
    pub(super) fn truncate(&mut self, revision: i64) {
        let kept = usize::try_from(revision + 1 - self.first).unwrap_or(0);
        self.log.truncate(kept);
        self.keys.retain(|_, changes| {
            changes.retain(|event| event.revision() <= revision);
            !changes.is_empty()
        });
    }

    /// Forgets what no read at `revision` or later needs.
    pub(super) fn compact(&mut self, revision: i64) {
        self.keys.retain(|_, changes| {
            forget(changes, revision);
            !changes.is_empty()
        });
        while self.first < revision && self.log.pop_front().is_some() {
            self.first += 1;
        }
        if self.first == revision
            && let Some(events) = self.log.front_mut()
        {
            *events = survivors(events);
        }
    }
}

/// The key as it was at a revision, if it lived then.
fn live(changes: &[Event], revision: i64) -> Option<&Stored> {
    // The newest is asked for most: it stands last.
    let newest = changes
        .iter()
        .rev()
        .find(|event| event.revision() <= revision)?;
    newest.stored()
}

/// Drops from a key's changes what no read at `revision` or later needs.
fn forget(changes: &mut Vec<Event>, revision: i64) {
    let old = changes
        .iter()
        .take_while(|event| event.revision() <= revision)
        .count();
    let Some(newest) = old.checked_sub(1) else {
        return;
    };
    let is_deleted = changes[newest].stored().is_none();
    changes.drain(..if is_deleted { old } else { newest });
    // What stays for long gives back the room that it grew into.
    changes.shrink_to_fit();
}

/// What of the events at the compacted revision can still be seen: the keys that lived at its end, as in etcd.
fn survivors(events: &[Event]) -> Arc<[Event]> {
    let mut seen = BTreeSet::new();
    let mut left: Vec<Event> = Vec::new();
    for event in events.iter().rev() {
        if seen.insert(event.key()) && event.stored().is_some() {
            left.push(event.clone());
        }
    }
    left.reverse();
    left.into()
}
