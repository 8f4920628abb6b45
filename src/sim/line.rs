//! One manager's line to the store: it can be cut or held, and everything that goes over it is on record.

use super::court::Court;
use crate::api::unit::{LeaseId, Revision};
use crate::embedded::memory::Memory;
use crate::store::{
    Error, KeyValue, Kv, LeaseStatus, Op, Outcome, RangeRequest, RangeResponse, STORE_DEADLINE,
    StoreStatus, Txn, WatchBatch, WatchEvent, WatchRequest, WatchStream,
};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use serde::Deserialize;
use serde_json::Value;
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
    /// A network that is stuck: what is sent arrives once it is open again, and so does what should be heard.
    Held,
    /// What is sent arrives, and nothing comes back.
    Deaf,
    /// Nobody is there any more: nothing goes out, ever.
    Dead,
}

/// How what is watched comes over a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hearing {
    /// So much later than it happened.
    pub lag: Duration,
    /// Each batch twice.
    pub twice: bool,
    /// A batch of several revisions as several.
    pub split: bool,
}

/// Clones are the same line.
#[derive(Clone)]
pub struct Line {
    name: Arc<str>,
    store: Memory,
    court: Court,
    way: Arc<watch::Sender<Way>>,
    hearing: Arc<watch::Sender<Hearing>>,
    /// How long what is sent is on its way.
    delay: Arc<watch::Sender<Duration>>,
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
            hearing: Arc::default(),
            delay: Arc::default(),
            saw: Arc::default(),
        }
    }

    /// Changes what it does, at once.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Changes how what is watched comes over it.
    pub fn set_hearing(&self, hearing: Hearing) {
        self.hearing.send_replace(hearing);
    }

    /// Changes how long what is sent is on its way.
    pub fn set_delay(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }

    /// Returns once what is sent now is out.
    async fn out(&self) -> Result<(), Error> {
        self.court.call(&self.name).await;
        let delay = *self.delay.borrow();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut way = self.way.subscribe();
        let now = way.wait_for(|way| *way != Way::Held).await;
        match now.map(|way| *way) {
            Ok(Way::Open | Way::Deaf) => Ok(()),
            Ok(Way::Dead) => std::future::pending().await,
            _ => Err(Error::Unreachable {
                endpoints: "memory".into(),
                message: "the line is cut".into(),
            }),
        }
    }

    /// Returns once what comes back now is heard.
    async fn back(&self) -> Result<(), Error> {
        let mut way = self.way.subscribe();
        let is_heard = |way: &Way| !matches!(way, Way::Held | Way::Deaf);
        match way.wait_for(is_heard).await.map(|way| *way) {
            Ok(Way::Dead) => std::future::pending().await,
            _ => Ok(()),
        }
    }

    /// A call, by one who waits no longer for its answer than a client does.
    async fn ask<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let deadline = STORE_DEADLINE;
        let asked = async {
            self.out().await?;
            let answer = answer.await;
            self.back().await?;
            answer
        };
        let answer = tokio::time::timeout(deadline, asked).await;
        answer.unwrap_or(Err(Error::Timeout { call, deadline }))
    }

    /// What is heard of a batch: its batches, after a while.
    async fn hear(self, batch: Result<WatchBatch, Error>) -> Vec<Result<WatchBatch, Error>> {
        self.court.call(&self.name).await;
        let hearing = *self.hearing.borrow();
        if !hearing.lag.is_zero() {
            tokio::time::sleep(hearing.lag).await;
        }
        let batch = match (self.back().await, batch) {
            (Ok(()), Ok(batch)) => batch,
            (Err(error), _) | (_, Err(error)) => return vec![Err(error)],
        };
        self.see(batch.revision);
        for event in &batch.events {
            if let WatchEvent::Put(kv) = event {
                self.show(kv);
            }
        }
        let mut heard = match hearing.split {
            true => by_revision(batch),
            false => vec![batch],
        };
        if hearing.twice {
            heard = heard
                .into_iter()
                .flat_map(|batch| [batch.clone(), batch])
                .collect();
        }
        heard.into_iter().map(Ok).collect()
    }

    fn see(&self, revision: Revision) {
        self.saw.fetch_max(revision.0, Ordering::Relaxed);
    }

    /// Shows the judge what came over the line, if that is the cluster's record.
    fn show(&self, kv: &KeyValue) {
        if kv.key == CLUSTER {
            self.court.judge(|judge| judge.hears(&self.name, &kv.value));
        }
    }

    async fn commit(self, txn: Txn) -> Result<Outcome, Error> {
        let saw = self.saw.load(Ordering::Relaxed);
        let what = describe(&txn);
        let is_of_note = txn.then.iter().any(|op| is_of_note(op.key()));
        self.out().await?;
        // Rights that ended meanwhile.
        self.court.look_at_store(false);
        let outcome = self.store.txn(&txn).await;
        if matches!(outcome, Ok(Outcome::Committed { .. })) {
            self.court.commits(&self.name, &txn);
        }
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
        self.back().await?;
        outcome
    }
}

/// The key of the cluster's record.
const CLUSTER: &str = "/skep/cluster";

/// A batch for each of the revisions.
fn by_revision(batch: WatchBatch) -> Vec<WatchBatch> {
    let mut batches: Vec<WatchBatch> = Vec::new();
    for event in batch.events {
        let revision = match &event {
            WatchEvent::Put(kv) => kv.mod_revision,
            WatchEvent::Delete { revision, .. } => *revision,
        };
        match batches.last_mut() {
            Some(last) if last.revision == revision => last.events.push(event),
            _ => batches.push(WatchBatch {
                revision,
                events: vec![event],
            }),
        }
    }
    if let Some(last) = batches.last_mut() {
        last.revision = batch.revision;
    }
    batches
}

/// Leases, elections and events are not worth a line.
fn is_of_note(key: &str) -> bool {
    !key.starts_with("/skep-events/") && !key.starts_with("/skep/managers/")
}

/// What of a record is worth a word in the trace.
#[derive(Default, Deserialize)]
struct Said {
    desired: Option<Value>,
    state: Option<Value>,
}

/// The keys that a transaction writes, with what is wanted of tasks and seen of them.
fn describe(txn: &Txn) -> String {
    let mut parts = Vec::new();
    for op in &txn.then {
        match op {
            Op::Put { key, value, .. } => {
                let said: Said = serde_json::from_slice(value).unwrap_or_default();
                let words = [&said.desired, &said.state];
                let word = words.into_iter().flatten().find_map(|word| word.as_str());
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
        let found = self.ask("range", self.store.range(request)).await?;
        self.see(found.revision);
        found.kvs.iter().for_each(|kv| self.show(kv));
        Ok(found)
    }

    async fn txn(&self, txn: &Txn) -> Result<Outcome, Error> {
        self.court.judge(|judge| judge.sends(&self.name, txn));
        // Spawned: what was sent commits even when nobody waits for it any more (an unknown outcome).
        let sent = tokio::spawn(self.clone().commit(txn.clone()));
        let ended = match tokio::time::timeout(STORE_DEADLINE, sent).await {
            Ok(ended) => ended.expect("a commit does not panic"),
            Err(_) => Ok(Outcome::Unknown {
                error: Error::Timeout {
                    call: "txn",
                    deadline: STORE_DEADLINE,
                },
            }),
        };
        if matches!(ended, Ok(Outcome::Unknown { .. })) {
            self.court.judge(|judge| judge.knows_not(&self.name, txn));
        }
        ended
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        let mut way = self.way.subscribe();
        let cut = async move {
            let _ = way
                .wait_for(|way| matches!(way, Way::Cut | Way::Dead))
                .await;
        };
        let line = self.clone();
        let batches = self.ask("watch", self.store.watch(request)).await?;
        let heard = batches
            .then(move |batch| line.clone().hear(batch))
            .flat_map(stream::iter);
        Ok(heard.take_until(Box::pin(cut)).boxed())
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseStatus, Error> {
        self.ask("grant", self.store.grant(ttl)).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<LeaseStatus, Error> {
        self.ask("keep_alive", self.store.keep_alive(lease)).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.ask("revoke", self.store.revoke(lease)).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.court
            .judge(|judge| judge.compacts(&self.name, revision));
        self.ask("compact", self.store.compact(revision)).await
    }

    async fn status(&self) -> Result<StoreStatus, Error> {
        self.ask("status", self.store.status()).await
    }
}
