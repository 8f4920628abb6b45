//! Exponential backoff with jitter: the delays between attempts.
//!
//! backon's builder gives the sequence as an iterator; the jitter's seed comes from the clock door, so a simulated run
//! waits the same each time.

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::collections::BTreeMap;
use std::time::Duration;

/// The delays of one thing that is tried again and again.
#[derive(Debug)]
pub struct Backoff {
    builder: ExponentialBuilder,
    delays: ExponentialBackoff,
    max: Duration,
}

impl Backoff {
    /// From `min`, doubling, up to `max`, each with up to as much again as jitter.
    pub fn new(min: Duration, max: Duration, seed: u128) -> Self {
        // Folding keeps both halves of the seed: two processes that start together differ in either.
        let seed = (seed >> 64) as u64 ^ seed as u64;
        let builder = ExponentialBuilder::new()
            .with_min_delay(min)
            .with_max_delay(max)
            .without_max_times()
            .with_jitter()
            .with_jitter_seed(seed);
        Self {
            builder,
            delays: builder.build(),
            max,
        }
    }

    /// For the store: 50 ms to 2 s. An etcd election takes about 1 s, so a longer wait would only add to it.
    pub fn store(seed: u128) -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(2), seed)
    }

    /// The next delay.
    #[allow(
        clippy::should_implement_trait,
        reason = "delays never end: not an iterator that loops could run over"
    )]
    pub fn next(&mut self) -> Duration {
        self.delays.next().unwrap_or(self.max)
    }

    /// It worked: the next delay is the first again.
    pub fn reset(&mut self) {
        self.delays = self.builder.build();
    }
}

/// The delays of many things, by key.
#[derive(Debug)]
pub struct Backoffs<K> {
    min: Duration,
    max: Duration,
    seed: u128,
    all: BTreeMap<K, Backoff>,
}

impl<K: Ord + Clone> Backoffs<K> {
    /// Each from `min` up to `max`.
    pub fn new(min: Duration, max: Duration, seed: u128) -> Self {
        Self {
            min,
            max,
            seed,
            all: BTreeMap::new(),
        }
    }

    /// The next delay of `key`.
    pub fn next(&mut self, key: &K) -> Duration {
        let seed = self.seed.wrapping_add(self.all.len() as u128);
        self.all
            .entry(key.clone())
            .or_insert_with(|| Backoff::new(self.min, self.max, seed))
            .next()
    }

    /// `key` worked.
    pub fn reset(&mut self, key: &K) {
        self.all.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_limit_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 7);
        let delays: Vec<Duration> = (0..8).map(|_| backoff.next()).collect();
        assert!(
            delays[0] >= Duration::from_millis(100) && delays[0] < Duration::from_millis(201),
            "{delays:?}"
        );
        assert!(
            delays[7] >= Duration::from_secs(1) && delays[7] < Duration::from_millis(2_001),
            "{delays:?}"
        );
        backoff.reset();
        assert_eq!(
            backoff.next(),
            delays[0],
            "the same seed gives the same delays"
        );
    }
}
