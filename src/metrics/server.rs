//! The manager's small HTTP server: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever keeps it running.
//!
//! `/healthz` says that the process answers. `/readyz` says whether it can do its work, and if not, why: one line for
//! each reason. A manager that waits for its store is healthy and not ready; one that waits to lead is both.
//!
//! Deliberately absent: TLS and passwords. By default it listens on the loopback only; beyond it, anyone who reaches the
//! address reads names of services and nodes, and nothing can be changed. A proxy in front adds what is needed.

use super::Metrics;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;

/// The text format of Prometheus.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What keeps a manager from being ready: a reason for each part that waits. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    reasons: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Readiness {
    /// Ready until somebody says otherwise.
    pub fn new() -> Self {
        Self::default()
    }

    /// `part` waits, for this reason; a later reason replaces it.
    pub fn waits(&self, part: &'static str, reason: impl Into<String>) {
        self.lock().insert(part, reason.into());
    }

    /// `part` no longer waits.
    pub fn ready(&self, part: &'static str) {
        self.lock().remove(part);
    }

    /// What waits, as `part: reason`; empty: ready.
    pub fn reasons(&self) -> Vec<String> {
        let reasons = self.lock();
        let lines = reasons.iter();
        lines
            .map(|(part, reason)| format!("{part}: {reason}"))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        // A map of texts is whole after a panic, too.
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings gauges up to date, right before they are read.
pub type Refresh = Arc<dyn Fn(&Metrics) + Send + Sync>;

/// What the server answers from.
#[derive(Clone)]
pub struct Server {
    metrics: Arc<Metrics>,
    readiness: Readiness,
    refresh: Refresh,
    /// One scrape after the other: nobody reads gauges that another scrape is filling.
    scrape: Arc<Mutex<()>>,
}

impl Server {
    /// A server of `metrics`, which `refresh` brings up to date at each scrape.
    pub fn new(metrics: Arc<Metrics>, readiness: Readiness, refresh: Refresh) -> Self {
        Self {
            metrics,
            readiness,
            refresh,
            scrape: Arc::default(),
        }
    }

    fn scrape(&self) -> String {
        // Nothing is left half-done by a scrape that panicked: the next one fills all gauges anew.
        let _one_at_a_time = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        (self.refresh)(&self.metrics);
        self.metrics.render()
    }

    /// Answers on `listener` until `stop` is done; requests under way are answered first.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn run(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let routes = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(self);
        axum::serve(listener, routes)
            .with_graceful_shutdown(stop)
            .await
    }
}

async fn metrics(State(server): State<Server>) -> Response {
    ([(header::CONTENT_TYPE, TEXT)], server.scrape()).into_response()
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(server): State<Server>) -> (StatusCode, String) {
    let reasons = server.readiness.reasons();
    if reasons.is_empty() {
        (StatusCode::OK, "ok\n".into())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
    }
}
