//! A simulated process: it can be stopped as by SIGSTOP, and woken; one that is dead never runs again.

use crate::spawn::Gate;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Whether it runs, and what waits until it does. It runs at first.
#[derive(Debug, Default)]
pub struct Process {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_stopped: bool,
    waiting: Vec<Waker>,
}

impl Process {
    /// Nothing of it goes on, not even its timers, until it is woken.
    pub fn stop(&self) {
        self.state().is_stopped = true;
    }

    /// It goes on, with whatever came due meanwhile.
    pub fn wake(&self) {
        let mut state = self.state();
        state.is_stopped = false;
        for waker in state.waiting.drain(..) {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate for Process {
    fn poll_open(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if !state.is_stopped {
            return Poll::Ready(());
        }
        // A task that is polled again while it waits is in the list already.
        if !state
            .waiting
            .iter()
            .any(|waker| waker.will_wake(context.waker()))
        {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}
