//! [`Session`]: a lease that is kept alive, and a deadline after which its holder stops acting (rule N5).
//!
//! Invariants:
//! - The deadline is (moment before the keep-alive was sent + TTL - margin) on CLOCK_BOOTTIME, which counts suspended time:
//!   it lies before the lease can end at the store, whatever the store's and the network's delays.
//! - Once lost, always lost: a session that missed its deadline is not revived, even if its lease is.
//!
//! The clock is an argument, so that the simulator can replace it.

use super::{Error, KEEP_ALIVE_INTERVAL, Kv, LEASE_MARGIN};
use crate::api::unit::LeaseId;
use crate::planted::{Bug, planted};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Reads CLOCK_BOOTTIME: time since the machine started, suspended time included.
pub type Boottime = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Valid until this moment on CLOCK_BOOTTIME.
    Until(Duration),
    /// Over.
    Lost,
}

/// A lease that is kept alive until the session is closed or dropped.
pub struct Session {
    kv: Arc<dyn Kv>,
    lease: LeaseId,
    boottime: Boottime,
    state: Arc<watch::Sender<State>>,
    /// Ends the loop when it is dropped.
    _stop: watch::Sender<()>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = *self.state.borrow();
        write!(f, "Session({:x}, {state:?})", self.lease.0)
    }
}

impl Session {
    /// Grants a lease and starts to keep it alive.
    ///
    /// # Errors
    /// The store cannot be reached or refuses.
    pub async fn open(kv: Arc<dyn Kv>, ttl: Duration, boottime: Boottime) -> Result<Self, Error> {
        let sent = boottime();
        let granted = kv.grant(ttl).await?;
        let state = Arc::new(watch::Sender::new(State::Until(deadline(
            sent,
            granted.ttl,
        ))));
        let (stop, stopped) = watch::channel(());
        let keeper = Keeper {
            kv: Arc::clone(&kv),
            lease: granted.id,
            boottime: Arc::clone(&boottime),
            state: Arc::clone(&state),
        };
        crate::spawn::task(keeper.run(stopped));
        Ok(Self {
            kv,
            lease: granted.id,
            boottime,
            state,
            _stop: stop,
        })
    }

    /// The lease.
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Until when its holder may act, on CLOCK_BOOTTIME; zero once it is lost.
    pub fn deadline(&self) -> Duration {
        match *self.state.borrow() {
            State::Until(deadline) => deadline,
            State::Lost => Duration::ZERO,
        }
    }

    /// Whether its holder may act. Reads the clock: right also just after the machine slept.
    pub fn is_valid_now(&self) -> bool {
        (self.boottime)() < self.deadline()
    }

    /// Waits until the session is lost.
    pub async fn lost(&self) {
        let mut state = self.state.subscribe();
        // The sender lives in `self`, so this ends only when it is lost.
        let _ = state.wait_for(|state| *state == State::Lost).await;
    }

    /// Ends the session and its lease, and with it the keys that go with it.
    ///
    /// # Errors
    /// The store cannot be reached: the lease ends by itself then.
    pub async fn close(&self) -> Result<(), Error> {
        self.state.send_replace(State::Lost);
        self.kv.revoke(self.lease).await
    }
}

fn deadline(sent: Duration, ttl: Duration) -> Duration {
    let late = if planted(Bug::OutlivesItsLease) {
        3_600
    } else {
        0
    };
    sent + ttl.saturating_sub(LEASE_MARGIN) + Duration::from_secs(late)
}

/// The loop that keeps the lease alive.
struct Keeper {
    kv: Arc<dyn Kv>,
    lease: LeaseId,
    boottime: Boottime,
    state: Arc<watch::Sender<State>>,
}

impl Keeper {
    async fn run(self, mut stopped: watch::Receiver<()>) {
        let mut state = self.state.subscribe();
        tokio::select! {
            biased;
            // Only ever an error: the session was dropped.
            _ = stopped.changed() => return,
            // Closed by its holder.
            _ = state.wait_for(|state| *state == State::Lost) => return,
            () = self.keep() => {}
        }
        self.state.send_replace(State::Lost);
    }

    /// Returns when the lease is gone or the deadline has passed.
    async fn keep(&self) {
        loop {
            tokio::time::sleep(KEEP_ALIVE_INTERVAL.min(self.left())).await;
            if self.left().is_zero() {
                return;
            }
            let sent = (self.boottime)();
            // An answer after the deadline is of no use, so nobody waits for it longer.
            let Ok(answer) =
                tokio::time::timeout(self.left(), self.kv.keep_alive(self.lease)).await
            else {
                return;
            };
            match answer {
                Ok(status) if status.ttl.is_zero() => return,
                Ok(status) => self.prolong(deadline(sent, status.ttl)),
                Err(Error::LeaseGone) => return,
                // The next try comes, and the deadline if none succeeds.
                Err(_) => {}
            }
        }
    }

    /// Time until the deadline; zero once it has passed.
    fn left(&self) -> Duration {
        match *self.state.borrow() {
            State::Until(deadline) => deadline.saturating_sub((self.boottime)()),
            State::Lost => Duration::ZERO,
        }
    }

    fn prolong(&self, deadline: Duration) {
        self.state.send_if_modified(|state| match state {
            State::Until(old) if (self.boottime)() < *old => {
                *old = deadline.max(*old);
                true
            }
            State::Until(_) | State::Lost => false,
        });
    }
}
