//! [`Locked`]: the state, held. What has to be told because of what was done to it is told when it is let go, so that
//! nobody who is woken finds the lock taken.

use super::hub::Bell;
use super::queue::{Waiter, answer};
use super::state::State;
use super::{Error, Shared};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, MutexGuard, PoisonError};
use tokio::runtime::Handle;

/// What is to be told once the lock is free.
#[derive(Debug, Default)]
pub(super) struct After {
    /// Readers with news.
    pub(super) bells: Vec<Arc<Bell>>,
    /// Writers whose changes are durable, or failed.
    pub(super) answers: Vec<(Vec<Waiter>, Result<(), Error>)>,
    /// Whether there is something for the commit thread.
    pub(super) has_work: bool,
}

/// The state, held.
pub(super) struct Locked<'a> {
    shared: &'a Shared,
    state: Option<MutexGuard<'a, State>>,
}

impl Shared {
    /// Takes the lock. It is held for as long as something is computed, never over a wait.
    pub(super) fn lock(&self) -> Locked<'_> {
        Locked {
            shared: self,
            state: Some(super::lock(&self.state)),
        }
    }

    /// Takes the lock for a write.
    ///
    /// # Errors
    /// The store takes no more writes.
    pub(super) fn write(&self) -> Result<Locked<'_>, Error> {
        let locked = self.lock();
        let is_closed = locked.queue.as_ref().is_some_and(|queue| queue.is_closed());
        if is_closed {
            return Err(Error::Stopping);
        }
        Ok(locked)
    }
}

impl Locked<'_> {
    /// Lets go and waits until there is something for the commit thread.
    pub(super) fn wait_for_work(mut self) -> Self {
        let state = self.state.take().expect(HELD);
        let woken = self.shared.work.wait(state);
        self.state = Some(woken.unwrap_or_else(PoisonError::into_inner));
        self
    }
}

const HELD: &str = "it is held until it is dropped";

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.state.as_ref().expect(HELD)
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.state.as_mut().expect(HELD)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let Some(mut state) = self.state.take() else {
            return;
        };
        let after = std::mem::take(&mut state.after);
        drop(state);
        if after.has_work {
            self.shared.work.notify_one();
        }
        for (waiters, outcome) in after.answers {
            answer(waiters, &outcome);
        }
        ring(&self.shared.runtime, after.bells);
    }
}

/// More bells than this are rung from within the runtime: there a wake-up is a push to a worker's own queue, while from the
/// commit thread each takes the lock of the queue that all workers share.
const FEW: usize = 4;

fn ring(runtime: &Handle, bells: Vec<Arc<Bell>>) {
    let ring = |bells: Vec<Arc<Bell>>| bells.iter().for_each(|bell| bell.ring());
    if bells.len() <= FEW {
        ring(bells);
    } else {
        runtime.spawn(async move { ring(bells) });
    }
}
