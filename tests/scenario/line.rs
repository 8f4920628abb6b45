//! One manager's own line to the store: it can be cut, and remembers which keys the manager wrote.

use async_trait::async_trait;
use futures::StreamExt;
use skep::api::unit::{LeaseId, Revision};
use skep::embedded::memory::Memory;
use skep::store::{
    Error, Kv, LeaseStatus, Op, Outcome, RangeRequest, RangeResponse, StoreStatus, Txn,
    WatchRequest, WatchStream,
};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// A line to a store; clones are the same line.
#[derive(Clone)]
pub(crate) struct Line {
    store: Memory,
    is_up: Arc<watch::Sender<bool>>,
    written: Arc<Mutex<BTreeSet<String>>>,
    /// How long a transaction is on its way.
    way: Arc<watch::Sender<Duration>>,
}

impl Line {
    pub(crate) fn to(store: Memory) -> Self {
        Self {
            store,
            is_up: Arc::new(watch::Sender::new(true)),
            written: Arc::default(),
            way: Arc::new(watch::Sender::new(Duration::ZERO)),
        }
    }

    /// Makes every transaction take so long before it commits.
    pub(crate) fn lengthen(&self, way: Duration) {
        self.way.send_replace(way);
    }

    /// Cuts the line, or mends it: calls err, watches end. Leases run on.
    pub(crate) fn set_up(&self, is_up: bool) {
        self.is_up.send_replace(is_up);
    }

    /// The keys that were written or deleted over this line.
    pub(crate) fn written(&self) -> BTreeSet<String> {
        self.written
            .lock()
            .expect("no code panics while it holds the keys")
            .clone()
    }

    fn check(&self) -> Result<(), Error> {
        match *self.is_up.borrow() {
            true => Ok(()),
            false => Err(Error::Unreachable {
                endpoints: "memory".into(),
                message: "the line is cut".into(),
            }),
        }
    }
}

#[async_trait]
impl Kv for Line {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        self.check()?;
        self.store.range(request).await
    }

    async fn txn(&self, txn: &Txn) -> Result<Outcome, Error> {
        self.check()?;
        let keys: Vec<String> = txn
            .then
            .iter()
            .filter_map(|op| match op {
                Op::Put { key, .. } | Op::Delete { key } => Some(key.clone()),
                Op::Get { .. } => None,
            })
            .collect();
        let way = *self.way.borrow();
        if !way.is_zero() {
            tokio::time::sleep(way).await;
        }
        let outcome = self.store.txn(txn).await;
        if let Ok(Outcome::Committed { .. }) = &outcome {
            self.written
                .lock()
                .expect("no code panics while it holds the keys")
                .extend(keys);
        }
        outcome
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        self.check()?;
        let mut is_up = self.is_up.subscribe();
        let cut = async move {
            let _ = is_up.wait_for(|is_up| !is_up).await;
        };
        Ok(self
            .store
            .watch(request)
            .await?
            .take_until(Box::pin(cut))
            .boxed())
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseStatus, Error> {
        self.check()?;
        self.store.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<LeaseStatus, Error> {
        self.check()?;
        self.store.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.check()?;
        self.store.revoke(lease).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.check()?;
        self.store.compact(revision).await
    }

    async fn status(&self) -> Result<StoreStatus, Error> {
        self.check()?;
        self.store.status().await
    }
}
