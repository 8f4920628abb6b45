//! The doors `Kv` and `Engine` with every call timed: `skep_store_request_duration_seconds` and
//! `skep_engine_request_duration_seconds`, by call and result.
//!
//! A stream (watch, events, logs) is timed until it is open, not while it runs. Measuring changes nothing: the answer of
//! the door behind is handed on as it is.

use super::clock::timer_now;
use crate::api::node::EngineSpec;
use crate::api::uid::ContainerId;
use crate::api::unit::{LeaseId, Revision};
use crate::engine::{
    self, Attached, Connector, Container, Engine, EventStream, ExecIo, ExecRequest, Identity,
    LogOptions, LogStream, Network, PullProgress,
};
use crate::metrics::Metrics;
use crate::metrics::list::{ENGINE_CALLS, Family, STORE_CALLS};
use crate::store::{
    self, Kv, LeaseStatus, Outcome, RangeRequest, RangeResponse, StoreStatus, Txn, WatchRequest,
    WatchStream,
};
use async_trait::async_trait;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Times one call and records it with the word that `result` finds for its outcome.
async fn timed<T>(
    metrics: &Metrics,
    family: &'static Family,
    call: &'static str,
    result: fn(&T) -> &'static str,
    running: impl Future<Output = T>,
) -> T {
    let mut timer = Timer {
        metrics,
        family,
        call,
        result: "given_up",
        start: timer_now(),
    };
    let answer = running.await;
    timer.result = result(&answer);
    answer
}

/// Records when it is dropped: a caller whose deadline has passed drops the call that it waits for, and just those calls
/// are the slow ones.
struct Timer<'a> {
    metrics: &'a Metrics,
    family: &'static Family,
    call: &'static str,
    result: &'static str,
    start: Instant,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let took = timer_now() - self.start;
        self.metrics
            .observe(self.family, &[self.call, self.result], took);
    }
}

/// A store whose calls are timed.
pub struct MeasuredKv {
    inner: Arc<dyn Kv>,
    metrics: Arc<Metrics>,
}

impl MeasuredKv {
    /// Times the calls to `inner`.
    pub fn new(inner: Arc<dyn Kv>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }

    async fn timed<T>(
        &self,
        call: &'static str,
        running: impl Future<Output = Result<T, store::Error>>,
    ) -> Result<T, store::Error> {
        timed(&self.metrics, &STORE_CALLS, call, store_result, running).await
    }
}

/// `ok`, or what kind of error.
fn store_result<T>(answer: &Result<T, store::Error>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(error) if error.is_retryable() => "unavailable",
        Err(_) => "error",
    }
}

/// A refused comparison is an answer, not an error; an unknown outcome is neither.
fn txn_result(answer: &Result<Outcome, store::Error>) -> &'static str {
    match answer {
        Ok(Outcome::Committed { .. }) => "ok",
        Ok(Outcome::Refused { .. }) => "refused",
        Ok(Outcome::Unknown { .. }) => "unknown",
        Err(_) => store_result(answer),
    }
}

#[async_trait]
impl Kv for MeasuredKv {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, store::Error> {
        self.timed("range", self.inner.range(request)).await
    }

    async fn txn(&self, txn: &Txn) -> Result<Outcome, store::Error> {
        let running = self.inner.txn(txn);
        timed(&self.metrics, &STORE_CALLS, "txn", txn_result, running).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, store::Error> {
        self.timed("watch", self.inner.watch(request)).await
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseStatus, store::Error> {
        self.timed("grant", self.inner.grant(ttl)).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<LeaseStatus, store::Error> {
        self.timed("keep_alive", self.inner.keep_alive(lease)).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), store::Error> {
        self.timed("revoke", self.inner.revoke(lease)).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), store::Error> {
        self.timed("compact", self.inner.compact(revision)).await
    }

    async fn status(&self) -> Result<StoreStatus, store::Error> {
        self.timed("status", self.inner.status()).await
    }
}

/// Connects to engines whose calls are timed.
pub struct MeasuredConnector {
    inner: Arc<dyn Connector>,
    metrics: Arc<Metrics>,
}

impl MeasuredConnector {
    /// Times the calls to the engines of `inner`.
    pub fn new(inner: Arc<dyn Connector>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

#[async_trait]
impl Connector for MeasuredConnector {
    async fn connect(&self, spec: &EngineSpec) -> Result<Arc<dyn Engine>, engine::Error> {
        let inner = self.inner.connect(spec).await?;
        let metrics = self.metrics.clone();
        Ok(Arc::new(MeasuredEngine { inner, metrics }))
    }
}

/// An engine whose calls are timed.
pub struct MeasuredEngine {
    inner: Arc<dyn Engine>,
    metrics: Arc<Metrics>,
}

impl MeasuredEngine {
    async fn timed<T>(
        &self,
        call: &'static str,
        running: impl Future<Output = Result<T, engine::Error>>,
    ) -> Result<T, engine::Error> {
        timed(&self.metrics, &ENGINE_CALLS, call, engine_result, running).await
    }
}

/// `ok`, or what kind of error: one that may pass, or a final answer.
fn engine_result<T>(answer: &Result<T, engine::Error>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(engine::Error::NotFound { .. }) => "not_found",
        Err(engine::Error::Conflict { .. }) => "conflict",
        Err(error) if error.is_retryable() => "unavailable",
        Err(_) => "error",
    }
}

#[async_trait]
impl Engine for MeasuredEngine {
    fn address(&self) -> &str {
        self.inner.address()
    }

    async fn ping(&self) -> Result<(), engine::Error> {
        self.timed("ping", self.inner.ping()).await
    }

    async fn identity(&self) -> Result<Identity, engine::Error> {
        self.timed("identity", self.inner.identity()).await
    }

    async fn list(&self, label: &str, value: &str) -> Result<Vec<ContainerId>, engine::Error> {
        self.timed("list", self.inner.list(label, value)).await
    }

    async fn inspect(&self, container: &str) -> Result<Container, engine::Error> {
        self.timed("inspect", self.inner.inspect(container)).await
    }

    async fn inspect_raw(&self, container: &str) -> Result<serde_json::Value, engine::Error> {
        self.timed("inspect", self.inner.inspect_raw(container))
            .await
    }

    async fn create(&self, name: &str, body: &str) -> Result<ContainerId, engine::Error> {
        self.timed("create", self.inner.create(name, body)).await
    }

    async fn start(&self, container: &ContainerId) -> Result<(), engine::Error> {
        self.timed("start", self.inner.start(container)).await
    }

    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<(), engine::Error> {
        self.timed("stop", self.inner.stop(container, grace)).await
    }

    async fn remove(&self, container: &ContainerId, force: bool) -> Result<(), engine::Error> {
        self.timed("remove", self.inner.remove(container, force))
            .await
    }

    async fn image(&self, image: &str) -> Result<String, engine::Error> {
        self.timed("image", self.inner.image(image)).await
    }

    async fn pull(&self, image: &str, progress: PullProgress<'_>) -> Result<(), engine::Error> {
        self.timed("pull", self.inner.pull(image, progress)).await
    }

    async fn load(&self, tar: Vec<u8>) -> Result<(), engine::Error> {
        self.timed("load", self.inner.load(tar)).await
    }

    async fn load_program(&self) -> Result<(), engine::Error> {
        self.timed("load", self.inner.load_program()).await
    }

    async fn networks(&self, label: &str) -> Result<Vec<Network>, engine::Error> {
        self.timed("networks", self.inner.networks(label)).await
    }

    async fn attached(&self, networks: &[&str]) -> Result<Vec<Attached>, engine::Error> {
        self.timed("attached", self.inner.attached(networks)).await
    }

    async fn create_network(&self, body: &serde_json::Value) -> Result<String, engine::Error> {
        self.timed("create_network", self.inner.create_network(body))
            .await
    }

    async fn remove_network(&self, network: &str) -> Result<(), engine::Error> {
        self.timed("remove_network", self.inner.remove_network(network))
            .await
    }

    async fn connect_network(
        &self,
        network: &str,
        container: &ContainerId,
        endpoint: &serde_json::Value,
    ) -> Result<(), engine::Error> {
        let call = self.inner.connect_network(network, container, endpoint);
        self.timed("connect_network", call).await
    }

    async fn remove_volume(&self, volume: &str) -> Result<(), engine::Error> {
        self.timed("remove_volume", self.inner.remove_volume(volume))
            .await
    }

    async fn remove_image(&self, image: &str) -> Result<(), engine::Error> {
        self.timed("remove_image", self.inner.remove_image(image))
            .await
    }

    async fn events(&self) -> Result<EventStream, engine::Error> {
        self.timed("events", self.inner.events()).await
    }

    async fn logs(
        &self,
        container: &ContainerId,
        options: &LogOptions,
    ) -> Result<LogStream, engine::Error> {
        self.timed("logs", self.inner.logs(container, options))
            .await
    }

    async fn exec(
        &self,
        container: &ContainerId,
        request: &ExecRequest,
    ) -> Result<ExecIo, engine::Error> {
        self.timed("exec", self.inner.exec(container, request))
            .await
    }

    async fn exec_exit_code(&self, exec: &str) -> Result<Option<i64>, engine::Error> {
        self.timed("exec_exit_code", self.inner.exec_exit_code(exec))
            .await
    }

    async fn exec_resize(&self, exec: &str, columns: u16, rows: u16) -> Result<(), engine::Error> {
        self.timed("exec_resize", self.inner.exec_resize(exec, columns, rows))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::memory::Memory;
    use crate::store::{Compare, Op};

    #[tokio::test(start_paused = true)]
    async fn a_call_whose_caller_gives_up_is_counted_with_the_time_that_it_had() {
        let metrics = Metrics::new();
        let call = timed(
            &metrics,
            &ENGINE_CALLS,
            "ping",
            engine_result::<()>,
            std::future::pending(),
        );
        let waited = tokio::time::timeout(Duration::from_secs(3), call).await;
        assert!(waited.is_err());
        let text = metrics.render();
        let line = "skep_engine_request_duration_seconds_sum{call=\"ping\",result=\"given_up\"} 3";
        assert!(text.contains(line), "no {line} in:\n{text}");
    }

    #[tokio::test]
    async fn store_calls_are_counted_by_their_outcome() {
        let metrics = Arc::new(Metrics::new());
        let kv = MeasuredKv::new(Arc::new(Memory::new()), metrics.clone());
        let txn = Txn {
            compares: vec![Compare::Missing("/a".into())],
            then: vec![Op::Put {
                key: "/a".into(),
                value: b"1".to_vec(),
                lease: None,
            }],
            otherwise: Vec::new(),
        };
        kv.txn(&txn).await.unwrap();
        kv.txn(&txn).await.unwrap();
        kv.range(RangeRequest::key("/a")).await.unwrap();

        let text = metrics.render();
        for (call, result) in [("txn", "ok"), ("txn", "refused"), ("range", "ok")] {
            let line = format!(
                "skep_store_request_duration_seconds_count{{call=\"{call}\",result=\"{result}\"}} 1\n"
            );
            assert!(text.contains(&line), "no {line:?} in:\n{text}");
        }
    }
}
