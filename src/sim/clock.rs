//! A clock that follows tokio's, which tests pause: both clocks of a simulated machine.

use crate::api::time::Timestamp;
use crate::runtime::clock::{Clock, Now, timer_now};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Where simulated time begins, in milliseconds since the epoch: 2026-01-01, so that records look like records.
const EPOCH: i64 = 1_767_225_600_000;

/// Time since the clock was made, on tokio's clock, and randomness from a seed.
pub struct SimClock {
    start: Instant,
    state: Arc<Mutex<u128>>,
    /// What its wall clock is ahead, in milliseconds.
    ahead: AtomicI64,
}

impl SimClock {
    /// A clock that starts now; equal seeds draw equal numbers.
    pub fn new(seed: u128) -> Self {
        Self {
            start: timer_now(),
            state: Arc::new(Mutex::new(seed)),
            ahead: AtomicI64::new(0),
        }
    }

    /// The clocks of another machine, which draws from the same seed: its wall clock can be set without this one's.
    pub fn another(&self) -> Self {
        Self {
            start: self.start,
            state: self.state.clone(),
            ahead: AtomicI64::new(0),
        }
    }

    /// Somebody sets the wall clock, so many milliseconds ahead of what is right; negative: behind.
    pub fn set_ahead(&self, milliseconds: i64) {
        self.ahead.store(milliseconds, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        let elapsed = timer_now() - self.start;
        Now {
            wall: Timestamp(EPOCH + self.ahead.load(Ordering::Relaxed)).after(elapsed),
            since_boot: Duration::from_secs(1_000) + elapsed,
        }
    }

    fn seed(&self) -> u128 {
        let mut state = self
            .state
            .lock()
            .expect("no code panics while it draws a number");
        // A Weyl sequence: distinct seeds, each hashed by whoever uses it.
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        *state
    }
}
