//! The door [`Clock`]: time and randomness.
//!
//! Waiting goes through tokio's timers, which tests pause; reading a clock or drawing a random number goes through
//! this door, which the simulator replaces.

use crate::api::time::Timestamp;
use std::time::Duration;

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The wall clock: for display and for delays (rule N4).
    pub wall: Timestamp,
    /// Time since boot, sleep included (CLOCK_BOOTTIME): what decisions about life and death use (rules N1, N5).
    pub since_boot: Duration,
}

/// Time and randomness.
pub trait Clock: Send + Sync + 'static {
    /// Both clocks, now.
    fn now(&self) -> Now;

    /// 128 random bits: the seed of identifiers and jitter.
    fn seed(&self) -> u128;
}

/// The machine's own clocks and the kernel's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the door")]
    fn now(&self) -> Now {
        let wall = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| {
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            });
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(boot.tv_nsec).unwrap_or(0);
        Now {
            wall: Timestamp(wall),
            since_boot: Duration::new(seconds, nanos),
        }
    }

    #[allow(clippy::disallowed_methods, reason = "this is the door")]
    fn seed(&self) -> u128 {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("a kernel that runs containers has randomness");
        u128::from_be_bytes(bytes)
    }
}

/// The instant of tokio's timers, which tests pause: for arithmetic on delays only, never for records.
#[allow(clippy::disallowed_methods, reason = "this is the door")]
pub fn timer_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
