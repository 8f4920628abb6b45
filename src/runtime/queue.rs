//! The work queue: keys to look at, each once, some of them later.
//!
//! A key that is added while it waits is one entry; one that is added while a worker has it comes up again when the
//! worker is done, so a key never has two workers. Adding never blocks and cannot be lost: the queue holds at most one
//! entry per key, so it is bounded by the number of objects.

use super::clock::timer_now;
use crate::metrics::Metrics;
use crate::metrics::queue::{Handle, Standing, Watched};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A deduplicating queue with delays.
pub struct Queue<K> {
    state: Arc<Locked<K>>,
    changed: Notify,
    metrics: Handle,
}

struct Locked<K>(Mutex<State<K>>);

struct State<K> {
    /// To be handed out, in order of arrival.
    ready: VecDeque<K>,
    /// In `ready`, or added again while a worker has it; since when.
    dirty: BTreeMap<K, Instant>,
    /// Workers have these; since when.
    working: BTreeMap<K, Instant>,
    /// To be added later.
    timers: BTreeSet<(Instant, K)>,
    due: BTreeMap<K, Instant>,
    closed: bool,
}

impl<K: Clone + Ord + Send + 'static> Queue<K> {
    /// An empty queue for so many workers; `name` labels its metrics.
    pub fn new(name: &str, workers: usize, metrics: &Arc<Metrics>) -> Self {
        let state = Arc::new(Locked(Mutex::new(State {
            ready: VecDeque::new(),
            dirty: BTreeMap::new(),
            working: BTreeMap::new(),
            timers: BTreeSet::new(),
            due: BTreeMap::new(),
            closed: false,
        })));
        let metrics = metrics.queue(name, workers, &state);
        Self {
            state,
            changed: Notify::new(),
            metrics,
        }
    }

    /// Adds a key now.
    pub fn add(&self, key: K) {
        let mut state = self.lock();
        state.forget_timer(&key);
        if state.enqueue(key) {
            self.metrics.added();
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Adds several keys now.
    pub fn extend(&self, keys: impl IntoIterator<Item = K>) {
        for key in keys {
            self.add(key);
        }
    }

    /// Adds a key after `delay`; an earlier time that is already set stays.
    pub fn add_after(&self, key: K, delay: Duration) {
        let at = timer_now() + delay;
        let mut state = self.lock();
        if state.due.get(&key).is_some_and(|earlier| *earlier <= at) {
            return;
        }
        state.forget_timer(&key);
        // Whoever waits, waits for the first of all; it calls the next one when it has taken that.
        let is_first = state.timers.first().is_none_or(|(first, _)| at < *first);
        state.timers.insert((at, key.clone()));
        state.due.insert(key, at);
        drop(state);
        if is_first {
            self.changed.notify_one();
        }
    }

    /// Adds a key after a failed attempt.
    pub fn retry_after(&self, key: K, delay: Duration) {
        self.metrics.retried();
        self.add_after(key, delay);
    }

    /// The next key; the caller calls [`Queue::done`] with it. None once the queue is closed.
    ///
    /// Safe to drop while it waits.
    pub async fn next(&self) -> Option<K> {
        loop {
            let wait = {
                let mut state = self.lock();
                if state.closed {
                    return None;
                }
                state.take_due(timer_now());
                if let Some(key) = state.ready.pop_front() {
                    let now = timer_now();
                    let queued = state
                        .dirty
                        .remove(&key)
                        .map_or(Duration::ZERO, |since| now - since);
                    state.working.insert(key.clone(), now);
                    self.metrics.started(queued);
                    if !(state.ready.is_empty() && state.timers.is_empty()) {
                        self.changed.notify_one();
                    }
                    return Some(key);
                }
                state.timers.first().map(|(at, _)| *at)
            };
            match wait {
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// The worker that has `key` is about to look at it anew: whatever was added until now that look will see.
    pub fn catch_up(&self, key: &K) {
        let mut state = self.lock();
        if state.working.contains_key(key) {
            state.dirty.remove(key);
        }
    }

    /// A worker is done with `key`.
    pub fn done(&self, key: &K) {
        self.finish(key);
        self.release(key);
    }

    /// A worker is done with `key`, which is not handed out again before it has rested; the worker is free at once.
    pub fn done_after(self: &Arc<Self>, key: K, rest: Duration)
    where
        K: Send + Sync + 'static,
    {
        self.finish(&key);
        if rest.is_zero() {
            self.release(&key);
            return;
        }
        let queue = self.clone();
        crate::spawn::task(async move {
            tokio::time::sleep(rest).await;
            queue.release(&key);
        });
    }

    fn finish(&self, key: &K) {
        if let Some(since) = self.lock().working.get(key) {
            self.metrics.finished(timer_now() - *since);
        }
    }

    fn release(&self, key: &K) {
        let mut state = self.lock();
        state.working.remove(key);
        if state.dirty.contains_key(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Ends the queue: every `next` returns none.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// How many keys wait to be handed out.
    pub fn len(&self) -> usize {
        self.lock().ready.len()
    }

    /// Whether no key waits to be handed out.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock()
    }
}

impl<K> Locked<K> {
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.0
            .lock()
            .expect("no code panics while it holds the queue")
    }
}

impl<K: Send> Watched for Locked<K> {
    fn standing(&self) -> Standing {
        let now = timer_now();
        let state = self.lock();
        Standing {
            waiting: state.ready.len(),
            working: state.working.values().map(|since| now - *since).collect(),
        }
    }
}

impl<K: Clone + Ord> State<K> {
    /// Marks `key` as to be looked at; says whether it became ready.
    fn enqueue(&mut self, key: K) -> bool {
        if self.dirty.contains_key(&key) {
            return false;
        }
        self.dirty.insert(key.clone(), timer_now());
        if self.working.contains_key(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }

    fn forget_timer(&mut self, key: &K) {
        if let Some(at) = self.due.remove(key) {
            self.timers.remove(&(at, key.clone()));
        }
    }

    fn take_due(&mut self, now: Instant) {
        while let Some((at, _)) = self.timers.first() {
            if *at > now {
                return;
            }
            if let Some((_, key)) = self.timers.pop_first() {
                self.due.remove(&key);
                self.enqueue(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue<&'static str> {
        Queue::new("test", 1, &Arc::new(Metrics::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_handed_out_once_however_often_it_is_added() {
        let queue = queue();
        queue.extend(["a", "b", "a"]);
        assert_eq!(queue.next().await, Some("a"));
        assert_eq!(queue.next().await, Some("b"));
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_never_has_two_workers() {
        let queue = queue();
        queue.add("a");
        assert_eq!(queue.next().await, Some("a"));
        queue.add("a");
        assert!(queue.is_empty());
        queue.done(&"a");
        assert_eq!(queue.next().await, Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_worker_sees_at_its_next_look_does_not_come_up_again() {
        let queue = queue();
        queue.add("a");
        queue.catch_up(&"a");
        assert_eq!(queue.next().await, Some("a"), "nobody had it");
        queue.add("a");
        queue.catch_up(&"a");
        queue.done(&"a");
        assert!(queue.is_empty());
        queue.add("a");
        assert_eq!(queue.next().await, Some("a"));
        queue.catch_up(&"a");
        queue.add("a");
        queue.done(&"a");
        assert_eq!(queue.next().await, Some("a"), "added after that look");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_rests_comes_up_when_it_has_rested_and_holds_up_no_other() {
        let queue = Arc::new(queue());
        queue.add("a");
        assert_eq!(queue.next().await, Some("a"));
        let start = timer_now();
        queue.done_after("a", Duration::from_secs(3));
        queue.extend(["a", "b"]);
        assert_eq!(queue.next().await, Some("b"));
        assert_eq!(timer_now(), start);
        assert_eq!(queue.next().await, Some("a"));
        assert_eq!(timer_now() - start, Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_busy_with_one_delayed_key_does_not_hold_up_the_next() {
        let queue = Arc::new(queue());
        let start = timer_now();
        let worker = |queue: Arc<Queue<&'static str>>| {
            tokio::spawn(async move {
                let key = queue.next().await;
                let taken = timer_now() - start;
                tokio::time::sleep(Duration::from_secs(60)).await;
                (key, taken.as_secs())
            })
        };
        let workers: Vec<_> = (0..3).map(|_| worker(queue.clone())).collect();
        tokio::task::yield_now().await;
        for (key, delay) in [("c", 3), ("a", 1), ("b", 2)] {
            queue.add_after(key, Duration::from_secs(delay));
        }
        let mut taken = Vec::new();
        for worker in workers {
            taken.push(worker.await.unwrap());
        }
        taken.sort();
        assert_eq!(taken, [(Some("a"), 1), (Some("b"), 2), (Some("c"), 3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_two_delays_counts_and_adding_now_beats_both() {
        let queue = queue();
        let start = timer_now();
        queue.add_after("a", Duration::from_secs(9));
        queue.add_after("a", Duration::from_secs(3));
        queue.add_after("b", Duration::from_secs(5));
        queue.add("b");
        assert_eq!(queue.next().await, Some("b"));
        assert_eq!(queue.next().await, Some("a"));
        assert_eq!(timer_now() - start, Duration::from_secs(3));
        queue.done(&"a");
        queue.close();
        assert_eq!(queue.next().await, None);
    }
}
