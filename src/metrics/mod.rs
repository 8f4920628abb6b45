//! Layer 1: every metric that skep exports, in one list, and the server for `/metrics`, `/healthz` and `/readyz`.
//!
//! Names, types, labels and help stand in [`list`]; controller and work-queue metrics keep controller-runtime's names,
//! so that boards and alerts made for it work unchanged; everything else is `skep_*`. Each manager has its own registry:
//! nothing is global to the process, two managers run in one.
//!
//! Counters and times are recorded where something happens. What is a state (how many keys wait, which nodes are down) is
//! looked up when somebody reads it: [`queue`] asks the work queues, `runtime::gauges` the cache.
//!
//! Invariant: what is measured never changes what is done; a metric that cannot be updated is not an error.

pub mod list;
pub mod queue;
pub mod server;

use list::{Family, Kind};
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts,
    Registry, TextEncoder,
};
use queue::Queues;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The metrics of one manager.
pub struct Metrics {
    registry: Registry,
    counters: BTreeMap<&'static str, IntCounterVec>,
    gauges: BTreeMap<&'static str, GaugeVec>,
    histograms: BTreeMap<&'static str, HistogramVec>,
    queues: Queues,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics of [`list::ALL`], at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::new(),
            counters: BTreeMap::new(),
            gauges: BTreeMap::new(),
            histograms: BTreeMap::new(),
            queues: Queues::default(),
        };
        for family in list::ALL {
            metrics.register(family);
        }
        metrics.add(&list::EVENTS_DROPPED, &[], 0);
        metrics
    }

    fn register(&mut self, family: &'static Family) {
        let known = "the list holds valid names, each once (its test proves it)";
        let opts = Opts::new(family.name, family.help);
        match family.kind {
            Kind::Counter => {
                let counter = IntCounterVec::new(opts, family.labels).expect(known);
                self.registry
                    .register(Box::new(counter.clone()))
                    .expect(known);
                self.counters.insert(family.name, counter);
            }
            Kind::Gauge => {
                let gauge = GaugeVec::new(opts, family.labels).expect(known);
                self.registry
                    .register(Box::new(gauge.clone()))
                    .expect(known);
                self.gauges.insert(family.name, gauge);
            }
            Kind::Histogram(buckets) => {
                let opts = HistogramOpts::from(opts).buckets(buckets.to_vec());
                let histogram = HistogramVec::new(opts, family.labels).expect(known);
                self.registry
                    .register(Box::new(histogram.clone()))
                    .expect(known);
                self.histograms.insert(family.name, histogram);
            }
        }
    }

    /// Adds to a counter.
    pub fn add(&self, family: &'static Family, labels: &[&str], amount: u64) {
        if let Some(one) = self.counter(family, labels) {
            one.inc_by(amount);
        }
    }

    fn counter(&self, family: &'static Family, labels: &[&str]) -> Option<IntCounter> {
        let counter = self.counters.get(family.name);
        let one = counter.and_then(|all| all.get_metric_with_label_values(labels).ok());
        debug_assert!(one.is_some(), "{}: no counter {labels:?}", family.name);
        one
    }

    /// Sets a gauge.
    pub fn set(&self, family: &'static Family, labels: &[&str], value: f64) {
        let gauge = self.gauges.get(family.name);
        let one = gauge.and_then(|all| all.get_metric_with_label_values(labels).ok());
        debug_assert!(one.is_some(), "{}: no gauge {labels:?}", family.name);
        if let Some(one) = one {
            one.set(value);
        }
    }

    /// Forgets all series of a gauge: objects that are gone must not stay in it.
    pub fn reset(&self, family: &'static Family) {
        if let Some(gauge) = self.gauges.get(family.name) {
            gauge.reset();
        }
    }

    /// Forgets one series of a gauge: what it spoke of is gone.
    pub fn forget(&self, family: &'static Family, labels: &[&str]) {
        if let Some(gauge) = self.gauges.get(family.name) {
            // One that was never set is no series.
            let _ = gauge.remove_label_values(labels);
        }
    }

    /// Records a time.
    pub fn observe(&self, family: &'static Family, labels: &[&str], time: Duration) {
        if let Some(one) = self.histogram(family, labels) {
            one.observe(time.as_secs_f64());
        }
    }

    fn histogram(&self, family: &'static Family, labels: &[&str]) -> Option<Histogram> {
        let histogram = self.histograms.get(family.name);
        let one = histogram.and_then(|all| all.get_metric_with_label_values(labels).ok());
        debug_assert!(one.is_some(), "{}: no histogram {labels:?}", family.name);
        one
    }

    /// Says that this manager leads `name`, until the value is dropped.
    pub fn lead(self: &Arc<Self>, name: &'static str) -> Leading {
        self.set(&list::LEADING, &[name], 1.0);
        Leading {
            metrics: self.clone(),
            name,
        }
    }

    /// Shows a controller before it has done anything: an alert on a counter's increase never sees the first error of a
    /// series that begins with it.
    pub fn introduce(&self, controller: &'static str) {
        self.set(&list::LEADING, &[controller], 0.0);
        for result in ["success", "error", "requeue", "requeue_after"] {
            self.add(&list::RECONCILES, &[controller, result], 0);
        }
        for family in [
            &list::RECONCILE_ERRORS,
            &list::RECONCILE_TERMINAL_ERRORS,
            &list::RECONCILE_PANICS,
            &list::WRITES,
            &list::FENCED_ACTIONS,
        ] {
            self.add(family, &[controller], 0);
        }
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self) -> String {
        self.look_at_queues();
        let mut text = Vec::new();
        // Encoding into memory fails only for families without a metric, which the encoder is not given.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// A controller wrote so many keys.
    pub fn written(&self, controller: &str, keys: usize) {
        self.add(&list::WRITES, &[controller], keys as u64);
    }

    /// A write came too late: its term was over.
    pub fn fenced(&self, controller: &str) {
        self.add(&list::FENCED_ACTIONS, &[controller], 1);
    }

    /// A controller reported an event.
    pub fn event(&self, controller: &str, reason: &str) {
        self.add(&list::EVENTS, &[controller, reason], 1);
    }

    /// An event was not written because too many waited.
    pub fn event_dropped(&self) {
        self.add(&list::EVENTS_DROPPED, &[], 1);
    }
}

/// This manager leads something; dropped, it does no longer.
pub struct Leading {
    metrics: Arc<Metrics>,
    name: &'static str,
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.metrics.set(&list::LEADING, &[self.name], 0.0);
    }
}
