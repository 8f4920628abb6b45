//! What the log says of a store that is away: a line when it goes, one when it is back, and one a minute between.
//!
//! The watcher speaks for all parts of a process: each of them fails while the store is away, every few seconds, for the
//! one reason that the watcher has told already.

use crate::store::Error;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// How often an absence is told again: often enough to be seen at the end of a log, seldom enough to read the rest.
const REMINDER: Duration = Duration::from_secs(60);

/// An absence of the store, as far as it was told.
#[derive(Debug, Default)]
pub(super) struct Outage(Option<Told>);

#[derive(Debug)]
struct Told {
    since: Instant,
    last: Instant,
}

impl Outage {
    /// The store did not answer.
    pub(super) fn goes_on(&mut self, now: Instant, error: &Error) {
        match &mut self.0 {
            None => {
                warn!(%error, "the store is away: what runs goes on, and nothing is changed until it is back");
                self.0 = Some(Told {
                    since: now,
                    last: now,
                });
            }
            Some(told) if now - told.last >= REMINDER => {
                told.last = now;
                let seconds = (now - told.since).as_secs();
                warn!(%error, seconds, "the store is still away");
            }
            Some(_) => debug!(%error, "waiting for the store"),
        }
    }

    /// The store answers, perhaps again.
    pub(super) fn is_over(&mut self, now: Instant) {
        if let Some(told) = self.0.take() {
            let seconds = (now - told.since).as_secs_f64();
            info!(seconds, "the store is back");
        }
    }
}

/// Logs what a part of the process could not do: quietly where the store is away, which the watcher tells, and where a
/// lease ended meanwhile, which whoever held it tells.
pub fn failed(part: &str, doing: &str, error: &Error) {
    match error.is_absence() || matches!(error, Error::LeaseGone) {
        true => debug!(part, doing, %error, "the store is away, or was"),
        false => warn!(part, doing, %error, "the store refused it"),
    }
}
