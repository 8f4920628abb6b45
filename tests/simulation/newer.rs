//! A manager of a newer version beside those of this one: its records say more than this version knows.

use async_trait::async_trait;
use serde_json::Value;
use skep::api::unit::{LeaseId, Revision};
use skep::app::manager::Doors;
use skep::sim::world::Hook;
use skep::store::{
    Error, Kv, LeaseStatus, Op, Outcome, RangeRequest, RangeResponse, StoreStatus, Txn,
    WatchRequest, WatchStream,
};
use std::sync::Arc;
use std::time::Duration;

/// What managers write for each other.
const RECORDS: [&str; 4] = [
    "/skep/accepted/",
    "/skep/tasks/",
    "/skep/bindings/",
    "/skep/status/",
];

/// Makes a manager that starts a newer one.
pub(crate) fn hook() -> Hook {
    Arc::new(|doors: Doors| Doors {
        kv: Arc::new(Newer(doors.kv)),
        ..doors
    })
}

struct Newer(Arc<dyn Kv>);

/// A record with a field that this version does not know.
fn extend(op: &mut Op) {
    let Op::Put { key, value, .. } = op else {
        return;
    };
    if !RECORDS.iter().any(|prefix| key.starts_with(prefix)) {
        return;
    }
    if let Ok(Value::Object(mut record)) = serde_json::from_slice(value) {
        record.insert("later".into(), "a newer version knows".into());
        *value = Value::Object(record).to_string().into_bytes();
    }
}

#[async_trait]
impl Kv for Newer {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        self.0.range(request).await
    }

    async fn txn(&self, txn: &Txn) -> Result<Outcome, Error> {
        let mut txn = txn.clone();
        txn.then.iter_mut().for_each(extend);
        self.0.txn(&txn).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        self.0.watch(request).await
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseStatus, Error> {
        self.0.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<LeaseStatus, Error> {
        self.0.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.0.revoke(lease).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.0.compact(revision).await
    }

    async fn status(&self) -> Result<StoreStatus, Error> {
        self.0.status().await
    }
}
