//! [`Watcher`]: a reader of changes with any number of watches. It is told that there is something, and reads it from the
//! history when it has room for it.

use super::hub::Bell;
use super::state::State;
use super::{Shared, quota};
use crate::embedded::mvcc::{Event, Span, Stored};
use std::sync::Arc;

/// At most so many revisions are read at once, as etcd does for a watch that catches up: the lock is held meanwhile.
const MOST_REVISIONS: i64 = 1000;

/// At most so many bytes of keys and values are read at once, or one revision: they turn into messages of their own.
const MOST_BYTES: usize = 1024 * 1024;

/// A reader; its watches end with it.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    stream: u64,
    bell: Arc<Bell>,
}

/// What a watch asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The keys.
    pub span: Span,
    /// From this revision on, itself included; 0: from now on.
    pub start: i64,
    /// Whether the events' former values are wanted.
    pub previous: bool,
}

/// One event, with what was there before it if that was asked for and is not compacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The event.
    pub event: Event,
    /// What was there before.
    pub previous: Option<Stored>,
}

/// What a watch has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Events of whole revisions, in order; at least one.
    Events {
        /// The watch.
        watch: u64,
        /// What the answer's header says: the revision that this brings the reader to.
        revision: i64,
        /// The events.
        events: Vec<Seen>,
    },
    /// What it wanted is compacted; the watch is over.
    Compacted {
        /// The watch.
        watch: u64,
        /// The oldest revision that there is.
        oldest: i64,
    },
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let bell = Arc::new(Bell::default());
        let stream = shared.lock().hub.open(Arc::clone(&bell));
        Self {
            shared,
            stream,
            bell,
        }
    }

    /// Begins a watch. Gives its number and the newest durable revision; what lies before it comes with [`Self::take`].
    pub fn add(&self, wanted: Wanted) -> (u64, i64) {
        let mut state = self.shared.lock();
        let durable = state.durable;
        let start = match wanted.start {
            0 => durable + 1,
            start => start,
        };
        let id = state
            .hub
            .add(self.stream, wanted.span, start, wanted.previous, durable);
        (id, durable)
    }

    /// Ends a watch.
    pub fn remove(&self, watch: u64) {
        self.shared.lock().hub.remove(watch);
    }

    /// The next news of a watch, if there are any.
    pub fn take(&self) -> Option<News> {
        // Most readers have nothing most of the time: the lock is for those who have.
        if !self.bell.has_news() {
            return None;
        }
        self.next().ok()
    }

    /// The next news of a watch; without any, the revision up to which all was taken.
    ///
    /// # Errors
    /// There are no news: that revision, the newest durable one.
    pub fn next(&self) -> Result<News, i64> {
        let mut state = self.shared.lock();
        while let Some((watch, from)) = state.hub.take(self.stream) {
            if let Some(news) = state.news(watch, from) {
                return Ok(news);
            }
        }
        Err(state.durable)
    }

    /// Waits until there may be something to take; at once if there is. Safe to drop.
    pub async fn changed(&self) {
        while !self.bell.has_news() {
            self.bell.rung().await;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.lock().hub.close(self.stream);
    }
}

impl State {
    /// Reads for a watch from `from` on. What does not fit is marked as unread.
    fn news(&mut self, watch: u64, from: i64) -> Option<News> {
        let oldest = self.mvcc.compacted();
        if from < oldest || from < 0 {
            self.hub.remove(watch);
            return Some(News::Compacted { watch, oldest });
        }
        let wanted = self.hub.get(watch)?;
        let (span, previous) = (&wanted.span, wanted.previous);
        let (mut events, mut bytes, mut last) = (Vec::new(), 0, from);
        let mut next = from;
        while next <= self.durable && next < from + MOST_REVISIONS && bytes < MOST_BYTES {
            let revision = next;
            next += 1;
            let Some(all) = self.mvcc.events_at(revision) else {
                continue;
            };
            for event in all.iter().filter(|event| span.contains(event.key())) {
                // As etcd: who creates a key has nothing before it, also where the same transaction deleted it.
                let before = if previous && !event.creates() {
                    self.mvcc.at(event.key(), revision - 1)
                } else {
                    None
                };
                bytes += quota::event(event) + before.as_ref().map_or(0, quota::stored);
                last = revision;
                events.push(Seen {
                    event: event.clone(),
                    previous: before,
                });
            }
        }
        let is_done = next > self.durable;
        // A reader that catches up is told where the store stands, the others the revision of the events.
        let revision = match (wanted.is_catching_up, is_done) {
            (true, true) => self.durable,
            (true, false) => next - 1,
            (false, _) => last,
        };
        if is_done {
            wanted.is_catching_up = false;
        } else {
            // The reader is awake, and takes until there is nothing left.
            self.hub.mark(watch, next);
        }
        (!events.is_empty()).then_some(News::Events {
            watch,
            revision,
            events,
        })
    }
}
