//! Layer 1: every metric that skep exports, in one list, and the server for `/metrics`, `/healthz` and `/readyz`.
//!
//! Names, types, labels and help stand in [`list`]; controller and work-queue metrics keep controller-runtime's names,
//! so that boards and alerts made for it work unchanged; everything else is `skep_*`. Each manager has its own registry:
//! nothing is global to the process, two managers run in one.
//!
//! Invariant: what is measured never changes what is done; a metric that cannot be updated is not an error.

pub mod list;
pub mod server;

use list::{Family, Kind};
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The metrics of one manager.
pub struct Metrics {
    registry: Registry,
    counters: BTreeMap<&'static str, IntCounterVec>,
    gauges: BTreeMap<&'static str, GaugeVec>,
    histograms: BTreeMap<&'static str, HistogramVec>,
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
        };
        for family in list::ALL {
            metrics.register(family);
        }
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
        if let Some(counter) = self.counters.get(family.name) {
            counter.with_label_values(labels).inc_by(amount);
        }
    }

    /// Sets a gauge.
    pub fn set(&self, family: &'static Family, labels: &[&str], value: f64) {
        if let Some(gauge) = self.gauges.get(family.name) {
            gauge.with_label_values(labels).set(value);
        }
    }

    /// Adds to a gauge (or takes away).
    pub fn shift(&self, family: &'static Family, labels: &[&str], by: f64) {
        if let Some(gauge) = self.gauges.get(family.name) {
            gauge.with_label_values(labels).add(by);
        }
    }

    /// Forgets all series of a gauge: objects that are gone must not stay in it.
    pub fn reset(&self, family: &'static Family) {
        if let Some(gauge) = self.gauges.get(family.name) {
            gauge.reset();
        }
    }

    /// Records a time.
    pub fn observe(&self, family: &'static Family, labels: &[&str], time: Duration) {
        if let Some(histogram) = self.histograms.get(family.name) {
            histogram
                .with_label_values(labels)
                .observe(time.as_secs_f64());
        }
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Encoding into memory fails only for families without a metric, which the encoder is not given.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The metrics of one work queue.
    pub fn queue(self: &Arc<Self>, name: &str) -> QueueHandle {
        QueueHandle {
            metrics: self.clone(),
            name: name.to_owned(),
        }
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

/// The metrics of one work queue.
#[derive(Clone)]
pub struct QueueHandle {
    metrics: Arc<Metrics>,
    name: String,
}

impl QueueHandle {
    /// A key was added; so many wait now.
    pub fn added(&self, depth: usize) {
        let labels = [self.name.as_str(), self.name.as_str()];
        self.metrics.add(&list::QUEUE_ADDS, &labels, 1);
        self.metrics.set(&list::QUEUE_DEPTH, &labels, depth as f64);
    }

    /// A worker took a key that had waited so long; so many wait now.
    pub fn started(&self, depth: usize, waited: Duration) {
        let labels = [self.name.as_str(), self.name.as_str()];
        self.metrics.observe(&list::QUEUE_WAIT, &labels, waited);
        self.metrics.set(&list::QUEUE_DEPTH, &labels, depth as f64);
        self.metrics
            .shift(&list::ACTIVE_WORKERS, &[&self.name], 1.0);
    }

    /// A worker is done with a key after so long.
    pub fn finished(&self, worked: Duration) {
        let labels = [self.name.as_str(), self.name.as_str()];
        self.metrics.observe(&list::QUEUE_WORK, &labels, worked);
        self.metrics
            .shift(&list::ACTIVE_WORKERS, &[&self.name], -1.0);
    }

    /// A key is tried again after a failure.
    pub fn retried(&self) {
        self.metrics
            .add(&list::QUEUE_RETRIES, &[&self.name, &self.name], 1);
    }
}
