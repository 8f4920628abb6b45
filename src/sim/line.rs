//! One manager's line to the store: it can be cut or held, and everything that goes over it is on record.

use super::court::Court;
use crate::api::unit::{LeaseId, Revision};
use crate::embedded::memory::Memory;
use crate::store::{
    Error, Kv, LeaseStatus, Op, Outcome, RangeRequest, RangeResponse, STORE_DEADLINE, StoreStatus,
    Txn, WatchRequest, WatchStream,
};
use async_trait::async_trait;
use futures::StreamExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// What a line does with what goes over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Everything goes over it.
    Open,
    /// Calls err, watches end.
    Cut,
    /// As of a process that was stopped: what it sends goes out when it wakes, what it should hear waits.
    Held,
    /// Nobody is there any more: nothing goes out, ever.
    Dead,
}

/// Clones are the same line.
#[derive(Clone)]
pub struct Line {
    name: Arc<str>,
    store: Memory,
    court: Court,
    way: Arc<watch::Sender<Way>>,
    /// The newest revision that came over it.
    saw: Arc<AtomicI64>,
}

impl Line {
    /// An open line.
    pub fn to(store: Memory, name: &str, court: Court) -> Self {
        Self {
            name: name.into(),
            store,
            court,
            way: Arc::new(watch::Sender::new(Way::Open)),
            saw: Arc::default(),
        }
    }

    /// Changes what it does, at once.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Returns once what is sent now is out.
    async fn out(&self) -> Result<(), Error> {
        self.court.call(&self.name).await;
        let mut way = self.way.subscribe();
        let now = way.wait_for(|way| *way != Way::Held).await;
        match now.map(|way| *way) {
            Ok(Way::Open) => Ok(()),
            Ok(Way::Dead) => std::future::pending().await,
            _ => Err(Error::Unreachable {
                endpoints: "memory".into(),
                message: "the line is cut".into(),
            }),
        }
    }

    /// The same for a call that waits no longer than a client does.
    async fn out_in_time(&self, call: &'static str) -> Result<(), Error> {
        let deadline = STORE_DEADLINE;
        let out = tokio::time::timeout(deadline, self.out()).await;
        out.unwrap_or(Err(Error::Timeout { call, deadline }))
    }

    fn see(&self, revision: Revision) {
        self.saw.fetch_max(revision.0, Ordering::Relaxed);
    }

    async fn commit(self, txn: Txn) -> Result<Outcome, Error> {
        let saw = self.saw.load(Ordering::Relaxed);
        let what = describe(&txn);
        let is_of_note = txn.then.iter().any(|op| is_of_note(op.key()));
        self.out().await?;
        let outcome = self.store.txn(txn).await;
        if is_of_note {
            let end = match &outcome {
                Ok(Outcome::Committed { revision, .. }) => format!("-> r{}", revision.0),
                Ok(Outcome::Refused { revision, .. }) => format!("REFUSED at r{}", revision.0),
                Ok(Outcome::Unknown { .. }) => "outcome UNKNOWN".into(),
                Err(error) => format!("ERROR {error}"),
            };
            self.court
                .note(&self.name, &format!("saw r{saw}, writes {what} {end}"));
        }
        self.court.look_at_store(false);
        outcome
    }
}

/// Leases, elections and events are not worth a line.
fn is_of_note(key: &str) -> bool {
    !key.starts_with("/skep-events/") && !key.starts_with("/skep/managers/")
}

/// The keys that a transaction writes, with what is wanted of tasks and seen of them.
fn describe(txn: &Txn) -> String {
    let mut parts = Vec::new();
    for op in &txn.then {
        match op {
            Op::Put { key, value, .. } => {
                let value: serde_json::Value = serde_json::from_slice(value).unwrap_or_default();
                let word = ["desired", "state"]
                    .iter()
                    .find_map(|field| value[*field].as_str());
                let word = word.map_or(String::new(), |word| format!("={word}"));
                parts.push(format!("{}{word}", key.trim_start_matches("/skep/")));
            }
            Op::Delete { key } => parts.push(format!("-{}", key.trim_start_matches("/skep/"))),
            Op::Get { .. } => {}
        }
    }
    parts.join(" ")
}

#[async_trait]
impl Kv for Line {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        self.out_in_time("range").await?;
        let found = self.store.range(request).await?;
        self.see(found.revision);
        Ok(found)
    }

    async fn txn(&self, txn: Txn) -> Result<Outcome, Error> {
        // Spawned: what was sent commits even when nobody waits for it any more (an unknown outcome).
        let sent = tokio::spawn(self.clone().commit(txn));
        match tokio::time::timeout(STORE_DEADLINE, sent).await {
            Ok(ended) => ended.expect("a commit does not panic"),
            Err(_) => Ok(Outcome::Unknown {
                error: Error::Timeout {
                    call: "txn",
                    deadline: STORE_DEADLINE,
                },
            }),
        }
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        self.out_in_time("watch").await?;
        let mut way = self.way.subscribe();
        let cut = async move {
            let _ = way
                .wait_for(|way| matches!(way, Way::Cut | Way::Dead))
                .await;
        };
        let line = self.clone();
        let batches = self.store.watch(request).await?.then(move |batch| {
            let line = line.clone();
            async move {
                line.out().await?;
                let batch = batch?;
                line.see(batch.revision);
                Ok(batch)
            }
        });
        Ok(batches.take_until(Box::pin(cut)).boxed())
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseStatus, Error> {
        self.out_in_time("grant").await?;
        self.store.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<LeaseStatus, Error> {
        self.out_in_time("keep_alive").await?;
        self.store.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.out_in_time("revoke").await?;
        self.store.revoke(lease).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.out_in_time("compact").await?;
        self.store.compact(revision).await
    }

    async fn status(&self) -> Result<StoreStatus, Error> {
        self.out_in_time("status").await?;
        self.store.status().await
    }
}
