//! The contract of a controller: pure methods that the loop in `reconciler.rs` calls.

use super::cache::Cache;
use super::clock::Now;
use super::plan::Plan;
use crate::api::key::Key;
use crate::api::uid::Ids;
use std::fmt::{Debug, Display};

/// A controller of the store: it plans from the cache and writes to the store, and touches no engine.
///
/// All methods are pure. The loop around it campaigns for leadership of `NAME`, keeps a queue of work keys, calls
/// `plan` with one worker per key, applies the plan under the fence, and waits until the cache has seen the write.
pub trait Controller: Send + Sync + 'static {
    /// The name in election keys, status keys and metrics.
    const NAME: &'static str;

    /// How many keys are worked on at once.
    const WORKERS: usize = 4;

    /// After a plan that took long its key rests for so many times as long: what thousands of tasks report while they
    /// start is worth a few looks, not one per report, and each look writes a status. 32: a thirty-third of a processor at most.
    const REST: u32 = 32;

    /// What is looked at: usually the name of an object.
    type Work: Clone + Ord + Debug + Display + Send + Sync + 'static;

    /// What to look at after `key` changed.
    fn work(&self, key: &Key, cache: &Cache) -> Vec<Self::Work>;

    /// Everything that there is to look at: after a start, a listing, and at each resync.
    fn all_work(&self, cache: &Cache) -> Vec<Self::Work>;

    /// Decides. An empty plan means: in step.
    fn plan(&self, work: &Self::Work, cache: &Cache, now: Now, ids: &mut Ids) -> Plan;
}
