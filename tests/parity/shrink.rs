//! Makes a sequence that differs shorter, as long as it still differs.

use crate::compare::{Pair, Verdict};
use crate::step::Step;
use futures::FutureExt;
use std::panic::AssertUnwindSafe;

/// At most so many sequences are tried: each starts both servers anew.
const MOST_TRIES: usize = 60;

/// The fewest steps found that differ, and how.
pub(crate) async fn shrink(mut steps: Vec<Step>, mut difference: String) -> (Vec<Step>, String) {
    let mut tries = 0;
    let mut size = steps.len().div_ceil(2);
    while size > 0 && tries < MOST_TRIES {
        let mut start = 0;
        let mut is_shorter = false;
        while start < steps.len() && tries < MOST_TRIES {
            let mut fewer = steps.clone();
            fewer.drain(start..(start + size).min(steps.len()));
            tries += 1;
            match tried(&fewer).await {
                Some(found) => {
                    (steps, difference, is_shorter) = (fewer, found, true);
                }
                None => start += size,
            }
        }
        if !is_shorter || size > 1 {
            size /= 2;
        }
    }
    (steps, difference)
}

/// Like [`replay`]. Without what came before it, a step may be one that etcd itself stumbles over: that is no difference.
async fn tried(steps: &[Step]) -> Verdict {
    let played = AssertUnwindSafe(replay(steps)).catch_unwind();
    played.await.unwrap_or(None)
}

/// Plays steps on new servers.
pub(crate) async fn replay(steps: &[Step]) -> Verdict {
    let mut pair = Pair::start().await;
    for step in steps {
        let difference = pair.play(step).await;
        if difference.is_some() {
            return difference;
        }
    }
    pair.finish().await
}
