//! Work on all processors, with results in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// So long nothing is told at most.
const TICK: Duration = Duration::from_millis(200);

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    More,
    Enough,
}

/// Does `act` with each number from `first` on, up to `last` if there is one, on all processors. `each` hears of the results in the order of numbers,
/// and of nothing now and then, until it has enough: what it hears does not depend on how many processors there are. Work
/// that is under way then is left alone: it ends with the program.
pub(crate) fn in_order<R: Send + 'static>(
    first: u64,
    last: Option<u64>,
    act: impl Fn(u64) -> R + Send + Sync + 'static,
    mut each: impl FnMut(Option<R>) -> Next,
) {
    let (results, done) = mpsc::channel();
    let (act, next) = (Arc::new(act), Arc::new(AtomicU64::new(first)));
    for _ in 0..processors() {
        let (act, next, results) = (act.clone(), next.clone(), results.clone());
        std::thread::spawn(move || work(&next, last, &*act, &results));
    }
    drop(results);
    let mut early = BTreeMap::new();
    let mut wanted = first;
    while each(None) == Next::More {
        match done.recv_timeout(TICK) {
            Ok((number, result)) => early.insert(number, result),
            Err(RecvTimeoutError::Timeout) => continue,
            // All is done, or threads panicked and have said why.
            Err(RecvTimeoutError::Disconnected) => return,
        };
        while let Some(result) = early.remove(&wanted) {
            wanted += 1;
            if each(Some(result)) == Next::Enough {
                return;
            }
        }
    }
}

/// Does `act` with each on all processors; results in their order.
pub(crate) fn each<T: Sync, R: Send>(all: &[T], act: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (results, done) = mpsc::channel();
    let next = AtomicU64::new(0);
    let act = |number: u64| {
        let one = usize::try_from(number).ok().and_then(|at| all.get(at));
        one.map(&act)
    };
    let last = (all.len() as u64).checked_sub(1);
    std::thread::scope(|scope| {
        for _ in 0..processors().min(all.len()) {
            let (next, act, results) = (&next, &act, results.clone());
            scope.spawn(move || work(next, last, act, &results));
        }
        drop(results);
    });
    let ordered: BTreeMap<u64, Option<R>> = done.into_iter().collect();
    ordered.into_values().flatten().collect()
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Takes one number after the other until none is left, or nobody wants to hear of it.
fn work<R>(
    next: &AtomicU64,
    last: Option<u64>,
    act: &impl Fn(u64) -> R,
    results: &mpsc::Sender<(u64, R)>,
) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let is_beyond = last.is_some_and(|last| number > last);
        if is_beyond || results.send((number, act(number))).is_err() {
            return;
        }
    }
}

/// Turns true at the first Ctrl-C, which then does not end the program.
pub(crate) fn interrupted() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let told = flag.clone();
    std::thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        // Without it Ctrl-C ends the program as ever, without a summary.
        if let Ok(runtime) = builder.enable_all().build()
            && runtime.block_on(tokio::signal::ctrl_c()).is_ok()
        {
            told.store(true, Ordering::Relaxed);
        }
    });
    flag
}
