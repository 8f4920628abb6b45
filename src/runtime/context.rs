//! The context: what every part of a manager shares.

use super::clock::Clock;
use super::plan::encode;
use super::recorder::Recorder;
use super::shared::SharedCache;
use crate::api::cluster::Holder;
use crate::metrics::Metrics;
use crate::store::Kv;
use crate::store::election::Candidate;
use crate::store::session::Boottime;
use std::sync::Arc;

/// What every part of a manager shares.
#[derive(Clone)]
pub struct Context {
    /// The store.
    pub kv: Arc<dyn Kv>,
    /// The local copy.
    pub cache: Arc<SharedCache>,
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
    /// What Prometheus reads.
    pub metrics: Arc<Metrics>,
    /// What users read.
    pub recorder: Recorder,
    /// This manager's name.
    pub manager: String,
}

impl Context {
    /// The clock as sessions take it.
    pub fn boottime(&self) -> Boottime {
        let clock = self.clock.clone();
        Arc::new(move || clock.now().since_boot)
    }

    /// This manager as a candidate for a controller's leadership.
    pub fn candidate(&self, controller: &str) -> Candidate {
        let identity = encode(&self.holder());
        Candidate::new(
            self.kv.clone(),
            self.cache.prefix(),
            controller,
            identity,
            self.boottime(),
        )
    }

    /// This manager as the holder of a key.
    pub fn holder(&self) -> Holder {
        Holder {
            manager: self.manager.clone(),
            since: self.clock.now().wall,
        }
    }
}
