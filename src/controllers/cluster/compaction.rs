//! When to compact, and to which revision (rule S8). Pure.

use crate::api::unit::Revision;
use crate::planted::{Bug, planted};
use std::collections::VecDeque;
use std::time::Duration;

/// Compacted this often, to the revision of this long ago: a watcher that was away for less resumes without a listing.
pub(super) const INTERVAL: Duration = Duration::from_secs(300);

/// The store's revisions of the last minutes, by this process's own clock.
#[derive(Clone, Debug, Default)]
pub struct Compaction {
    samples: VecDeque<(Duration, Revision)>,
    /// When the cluster's record was created and changed, as it was sampled last.
    record: Option<(Revision, Revision)>,
    last: Option<Duration>,
}

impl Compaction {
    /// Takes in the store's revision at a time, and when the cluster's record was created and changed; says to which revision to
    /// compact now, if at all.
    pub fn look(
        &mut self,
        now: Duration,
        revision: Revision,
        record: Option<(Revision, Revision)>,
    ) -> Option<Revision> {
        // The store went back: what was sampled is of another history. It may be past its old revision again, but with each
        // life of it the record is written anew.
        let last = self.samples.back().map(|(_, last)| *last);
        if last > Some(revision) || self.record != record {
            self.samples.clear();
        }
        self.record = record;
        self.samples.push_back((now, revision));
        if planted(Bug::CompactsTheNewest) {
            return Some(revision);
        }
        let is_due = self
            .last
            .is_none_or(|last| now.saturating_sub(last) >= INTERVAL);
        let target = self.of(now.checked_sub(INTERVAL)?).filter(|_| is_due)?;
        self.last = Some(now);
        Some(target)
    }

    /// The newest revision sampled at `time` or before; older samples are forgotten.
    fn of(&mut self, time: Duration) -> Option<Revision> {
        while self.samples.get(1).is_some_and(|(next, _)| *next <= time) {
            self.samples.pop_front();
        }
        let (sampled, revision) = self.samples.front()?;
        (*sampled <= time).then_some(*revision)
    }
}
