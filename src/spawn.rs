//! Layer 1: where the tasks of a process begin.
//!
//! A simulation runs many managers in one process. So that it can stop one with all its timers, wake it, and end it at
//! any await, every task of a manager begins here: in a simulated process it goes on only while that process's [`Gate`]
//! is open. Elsewhere nothing is added.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::task::JoinHandle;
use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static PROCESS: Arc<dyn Gate>;
}

/// Whether a simulated process runs.
pub trait Gate: Send + Sync {
    /// Ready while it runs; else wakes the task once it does again.
    fn poll_open(&self, context: &mut Context<'_>) -> Poll<()>;
}

/// Starts a task of this process.
pub fn task<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(part(future))
}

/// A future that is about to become a task of this process, of a `JoinSet` for example.
pub fn part<F: Future>(future: F) -> Part<F> {
    match PROCESS.try_with(Arc::clone) {
        Err(_) => Part::Free(Box::pin(future)),
        Ok(gate) => behind(gate, future),
    }
}

/// The first future of a simulated process: whatever it starts stands behind the same gate.
pub fn behind<F: Future>(gate: Arc<dyn Gate>, future: F) -> Part<F> {
    let scoped = PROCESS.scope(gate.clone(), future);
    Part::Behind(gate, Box::pin(scoped))
}

/// A future of a process. Boxed: that is once for each task, and leaves it as small as it was.
pub enum Part<F> {
    /// Of this very process.
    Free(Pin<Box<F>>),
    /// Of a simulated one.
    Behind(Arc<dyn Gate>, Pin<Box<TaskLocalFuture<Arc<dyn Gate>, F>>>),
}

impl<F: Future> Future for Part<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.get_mut() {
            Self::Free(future) => future.as_mut().poll(context),
            Self::Behind(gate, future) => {
                ready!(gate.poll_open(context));
                future.as_mut().poll(context)
            }
        }
    }
}
