//! [`Hub`]: who watches what, and which watches have something to read.
//!
//! A revision that became durable marks the watches that it concerns with its number, and wakes their streams: one wake
//! for a stream, however many watches it has. The stream then reads from the history, as fast as its reader takes it. So
//! a slow reader holds up nobody and costs a number, not a queue.

use crate::embedded::mvcc::{Event, KeyBytes, Span};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// One watch.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) span: Span,
    /// The first revision that it wants.
    from: i64,
    stream: u64,
    /// Whether the events' former values are wanted.
    pub(super) previous: bool,
    /// Whether it still reads what was there when it began.
    pub(super) is_catching_up: bool,
    /// The first revision that it has not read and that may concern it.
    unread: Option<i64>,
}

/// Wakes a reader, and tells it without the lock whether there is anything to read.
#[derive(Debug, Default)]
pub(super) struct Bell {
    has_news: AtomicBool,
    wake: Notify,
}

impl Bell {
    /// Whether there may be something to read.
    pub(super) fn has_news(&self) -> bool {
        self.has_news.load(Ordering::Acquire)
    }

    /// Waits until it was rung. Safe to drop.
    pub(super) async fn rung(&self) {
        self.wake.notified().await;
    }

    pub(super) fn ring(&self) {
        self.wake.notify_one();
    }
}

/// The watches of one reader.
#[derive(Debug)]
struct Stream {
    /// Those with something to read, in the order in which they got it.
    ready: VecDeque<u64>,
    bell: Arc<Bell>,
}

/// Watches with the same span.
#[derive(Debug)]
struct Group {
    span: Span,
    members: BTreeSet<u64>,
}

/// All watches.
#[derive(Debug, Default)]
pub(super) struct Hub {
    next: u64,
    watches: BTreeMap<u64, Watch>,
    /// Watches of one key, by that key.
    single: BTreeMap<KeyBytes, BTreeSet<u64>>,
    /// The other ones, by their bounds.
    spans: BTreeMap<(KeyBytes, Option<KeyBytes>), Group>,
    streams: BTreeMap<u64, Stream>,
}

impl Hub {
    /// Adds a reader, which is woken by its bell.
    pub(super) fn open(&mut self, bell: Arc<Bell>) -> u64 {
        self.next += 1;
        let stream = Stream {
            ready: VecDeque::new(),
            bell,
        };
        self.streams.insert(self.next, stream);
        self.next
    }

    /// Forgets a reader and its watches.
    pub(super) fn close(&mut self, stream: u64) {
        self.streams.remove(&stream);
        let own = |(id, watch): (&u64, &Watch)| (watch.stream == stream).then_some(*id);
        let watches: Vec<u64> = self.watches.iter().filter_map(own).collect();
        for id in watches {
            self.remove(id);
        }
    }

    /// How many watches there are.
    pub(super) fn len(&self) -> usize {
        self.watches.len()
    }

    /// Adds a watch of revisions from `from` on; those up to `durable` are there to be read at once.
    pub(super) fn add(
        &mut self,
        stream: u64,
        span: Span,
        from: i64,
        previous: bool,
        durable: i64,
    ) -> u64 {
        self.next += 1;
        let id = self.next;
        match bounds(&span) {
            (key, None) => self.single.entry(key).or_default().insert(id),
            (start, Some(end)) => {
                let group = || Group {
                    span: span.clone(),
                    members: BTreeSet::new(),
                };
                let group = self.spans.entry((start, end)).or_insert_with(group);
                group.members.insert(id)
            }
        };
        let watch = Watch {
            span,
            from,
            stream,
            previous,
            is_catching_up: from <= durable,
            unread: None,
        };
        self.watches.insert(id, watch);
        if from <= durable {
            // The reader is awake: it is the one who asks.
            self.mark(id, from);
        }
        id
    }

    /// Forgets a watch.
    pub(super) fn remove(&mut self, id: u64) {
        let Some(watch) = self.watches.remove(&id) else {
            return;
        };
        match bounds(&watch.span) {
            (key, None) => {
                if let Some(members) = self.single.get_mut(&key) {
                    members.remove(&id);
                    if members.is_empty() {
                        self.single.remove(&key);
                    }
                }
            }
            (start, Some(end)) => {
                let place = (start, end);
                if let Some(group) = self.spans.get_mut(&place) {
                    group.members.remove(&id);
                    if group.members.is_empty() {
                        self.spans.remove(&place);
                    }
                }
            }
        }
    }

    /// Marks the watches that these events concern, and gives the bells of their readers to be rung.
    pub(super) fn publish(&mut self, revision: i64, events: &[Event], bells: &mut Vec<Arc<Bell>>) {
        let mut concerned = Vec::new();
        if !self.single.is_empty() {
            for event in events {
                concerned.extend(self.single.get(event.key()).into_iter().flatten());
            }
        }
        for group in self.spans.values() {
            if events.iter().any(|event| group.span.contains(event.key())) {
                concerned.extend(&group.members);
            }
        }
        for id in concerned {
            bells.extend(self.mark(id, revision));
        }
    }

    /// The next watch of a stream with something to read, and from which revision on; it counts as read from then on.
    pub(super) fn take(&mut self, stream: u64) -> Option<(u64, i64)> {
        let Stream { ready, bell } = self.streams.get_mut(&stream)?;
        let mut found = None;
        while let Some(id) = ready.pop_front() {
            if let Some(watch) = self.watches.get_mut(&id)
                && let Some(unread) = watch.unread.take()
            {
                found = Some((id, unread));
                break;
            }
        }
        bell.has_news.store(!ready.is_empty(), Ordering::Release);
        found
    }

    /// A watch.
    pub(super) fn get(&mut self, id: u64) -> Option<&mut Watch> {
        self.watches.get_mut(&id)
    }

    /// Marks a watch as having to read from `revision` on. Gives its reader's bell, if there was nothing to read before.
    pub(super) fn mark(&mut self, id: u64, revision: i64) -> Option<Arc<Bell>> {
        let watch = self.watches.get_mut(&id)?;
        if watch.unread.is_some() || revision < watch.from {
            return None;
        }
        watch.unread = Some(revision);
        let Stream { ready, bell } = self.streams.get_mut(&watch.stream)?;
        ready.push_back(id);
        let is_first = !bell.has_news.swap(true, Ordering::AcqRel);
        is_first.then(|| Arc::clone(bell))
    }
}

/// First key and end of a span: no end for a single key, an end of `None` for all to the last.
fn bounds(span: &Span) -> (KeyBytes, Option<Option<KeyBytes>>) {
    match span {
        Span::One(key) => (key.clone(), None),
        Span::Between(start, end) => (start.clone(), Some(Some(end.clone()))),
        Span::From(start) => (start.clone(), Some(None)),
    }
}
