//! Pulls under way on one engine: one per image, whoever waits for it, beside the workers.
//!
//! A registry may be silent for minutes. A worker that waited for it would hold up the stop of its own task, and all of
//! them together every task of the engine. So the worker goes on, and looks at the task again when the pull has ended.
//!
//! Invariants:
//! - A pull lasts as long as a task waits for it: the last that leaves ends it.
//! - No pull outlives its connection.

use super::driver::Connection;
use crate::api::uid::TaskId;
use crate::runtime::orders::Order;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::task::AbortHandle;

/// The pulls of one connection, by image.
#[derive(Default)]
pub(super) struct Pulls(Mutex<State>);

#[derive(Default)]
struct State {
    /// The connection is over: nothing begins any more.
    is_over: bool,
    next: u64,
    under_way: BTreeMap<String, Pull>,
}

struct Pull {
    /// Tells it from an earlier one of the same image, which may still be on its way out.
    number: u64,
    tasks: BTreeSet<TaskId>,
    work: AbortHandle,
}

impl Pulls {
    /// From now on `task` waits for `image` and for no other; `begin` starts the pull where none is under way.
    fn join(&self, task: &TaskId, image: &str, begin: impl FnOnce(u64) -> AbortHandle) {
        let mut state = self.state();
        state.leave(task, Some(image));
        if state.is_over {
            return;
        }
        if !state.under_way.contains_key(image) {
            state.next += 1;
            let number = state.next;
            let pull = Pull {
                number,
                tasks: BTreeSet::new(),
                work: begin(number),
            };
            state.under_way.insert(image.to_owned(), pull);
        }
        if let Some(pull) = state.under_way.get_mut(image) {
            pull.tasks.insert(task.clone());
        }
    }

    /// `task` waits for no image any more.
    pub(super) fn leave(&self, task: &TaskId) {
        self.state().leave(task, None);
    }

    /// A pull has ended: who waited for it.
    fn take(&self, image: &str, number: u64) -> BTreeSet<TaskId> {
        let mut state = self.state();
        let is_this = |pull: &Pull| pull.number == number;
        match state.under_way.get(image).is_some_and(is_this) {
            true => state.under_way.remove(image),
            false => None,
        }
        .map(|pull| pull.tasks)
        .unwrap_or_default()
    }

    fn end(&self) {
        let mut state = self.state();
        state.is_over = true;
        for pull in std::mem::take(&mut state.under_way).into_values() {
            pull.work.abort();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0
            .lock()
            .expect("no code panics while it holds the pulls")
    }
}

impl State {
    /// Takes the task out of every pull but that of `kept`, and ends those that nobody waits for.
    fn leave(&mut self, task: &TaskId, kept: Option<&str>) {
        self.under_way.retain(|image, pull| {
            let is_left = kept != Some(image) && pull.tasks.remove(task) && pull.tasks.is_empty();
            if is_left {
                pull.work.abort();
            }
            !is_left
        });
    }
}

/// Ends the pulls of a connection when dropped.
pub(super) struct EndOfPulls(pub(super) Arc<Connection>);

impl Drop for EndOfPulls {
    fn drop(&mut self) {
        self.0.pulls.end();
    }
}

impl Connection {
    /// `task` waits for this image; it is looked at again when the pull has ended.
    pub(super) fn begin_pull(self: &Arc<Self>, task: &TaskId, image: &str) {
        self.pulls.join(task, image, |number| {
            crate::spawn::task(self.clone().pull(image.to_owned(), number)).abort_handle()
        });
    }

    async fn pull(self: Arc<Self>, image: String, number: u64) {
        let order = Order::Pull {
            image: image.clone(),
        };
        let report = self.orders.run(&order).await;
        for task in self.pulls.take(&image, number) {
            let before = self.view().seen(&task);
            // That the term is over the worker finds by itself, before it does anything.
            let _ = self.take_in(&task, &order, report.clone(), &before);
            self.queue.add(task);
        }
    }
}
