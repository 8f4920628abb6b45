//! The probe at the door to the store.

use super::{Change, Kind, Moment, Place, Tap, Trick};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use skep::api::unit::{LeaseId, Revision};
use skep::store::{
    Error, Kv, LeaseStatus, Op, Outcome, RangeRequest, RangeResponse, StoreStatus, Txn, WatchBatch,
    WatchEvent, WatchRequest, WatchStream,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// So long others go on with what one process does not see yet: longer than a lease.
const LATE: Duration = Duration::from_secs(15);

/// So long it then acts on the one change that it has seen, before it sees those that followed.
const LATER: Duration = Duration::from_secs(5);

/// So long a watch stays broken when the change that it should miss does not come without its process.
const BROKEN: Duration = Duration::from_secs(10);

/// So long a batch waits for the next one.
const COMPANY: Duration = Duration::from_secs(2);

/// The prefix of the one watch of a process; elections have watches of their own.
const PREFIX: &str = "/skep/";

/// A store behind a probe.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) inner: Arc<dyn Kv>,
    pub(super) tap: Tap,
}

fn changes_of(txn: &Txn) -> Vec<Change> {
    let change = |op: &Op| match op {
        Op::Put { key, .. } | Op::Delete { key } => Some(Change {
            key: key.clone(),
            is_delete: matches!(op, Op::Delete { .. }),
        }),
        Op::Get { .. } => None,
    };
    let mut all: Vec<Change> = txn.then.iter().filter_map(change).collect();
    all.retain(|change| change.key.starts_with(PREFIX));
    all
}

fn changes_in(batch: &WatchBatch) -> Vec<Change> {
    let change = |event: &WatchEvent| match event {
        WatchEvent::Put(kv) => Change {
            key: kv.key.clone(),
            is_delete: false,
        },
        WatchEvent::Delete { key, .. } => Change {
            key: key.clone(),
            is_delete: true,
        },
    };
    batch.events.iter().map(change).collect()
}

fn moment(place: Place, changes: Vec<Change>, revision: Revision) -> Moment {
    let words: Vec<String> = changes.iter().map(Change::to_string).collect();
    Moment {
        place,
        what: words.join(" "),
        changes,
        node: String::new(),
        revision: revision.0,
    }
}

impl Store {
    fn meet(&self, batch: &WatchBatch) -> Option<Trick> {
        let describe = |place| moment(place, changes_in(batch), batch.revision);
        self.tap.probe.meet(self.tap.process, Kind::Batch, describe)
    }
}

/// A watch behind a probe.
struct Feed {
    store: Store,
    stream: WatchStream,
    /// What comes before anything else.
    waiting: VecDeque<WatchBatch>,
    /// How long what comes next is held back.
    hold: Duration,
}

type Item = Result<WatchBatch, Error>;

async fn next(mut feed: Feed) -> Option<(Item, Feed)> {
    let hold = std::mem::take(&mut feed.hold);
    if !hold.is_zero() {
        tokio::time::sleep(hold).await;
    }
    if let Some(batch) = feed.waiting.pop_front() {
        return Some((Ok(batch), feed));
    }
    let batch = match feed.stream.next().await? {
        Ok(batch) => batch,
        Err(error) => return Some((Err(error), feed)),
    };
    let trick = feed.store.meet(&batch);
    feed.store.tap.play(trick.as_ref()).await;
    let item = feed.trick(trick, batch).await;
    Some((item, feed))
}

impl Feed {
    async fn trick(&mut self, trick: Option<Trick>, batch: WatchBatch) -> Item {
        match trick {
            Some(Trick::Late) => {
                tokio::time::sleep(LATE).await;
                self.hold = LATER;
            }
            Some(Trick::Twice) => self.waiting.push_back(batch.clone()),
            Some(Trick::Join) => return self.join(batch).await,
            Some(Trick::Miss(key)) => return Err(self.miss(key.as_deref()).await),
            _ => {}
        }
        Ok(batch)
    }

    /// This batch and the next one in one.
    async fn join(&mut self, mut batch: WatchBatch) -> Item {
        if let Ok(Some(next)) = tokio::time::timeout(COMPANY, self.stream.next()).await {
            let next = next?;
            self.store.meet(&next);
            batch.revision = next.revision;
            batch.events.extend(next.events);
        }
        Ok(batch)
    }

    /// Loses everything until this key changes again (without a key: for a while), and has the store forget it.
    async fn miss(&mut self, key: Option<&str>) -> Error {
        let again = async {
            while let Some(Ok(batch)) = self.stream.next().await {
                self.store.meet(&batch);
                let is_it = |change: &Change| Some(change.key.as_str()) == key;
                if changes_in(&batch).iter().any(is_it) {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(BROKEN, again).await;
        self.store.tap.probe.forget().await;
        Error::WatchEnded {
            message: "the probe broke it".into(),
        }
    }
}

#[async_trait]
impl Kv for Store {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        self.tap.alive().await;
        self.inner.range(request).await
    }

    async fn txn(&self, txn: &Txn) -> Result<Outcome, Error> {
        self.tap.alive().await;
        let changes = changes_of(txn);
        let outcome = self.inner.txn(txn).await;
        if let (Ok(Outcome::Committed { revision, .. }), false) = (&outcome, changes.is_empty()) {
            let describe = |place| moment(place, changes, *revision);
            let probe = &self.tap.probe;
            let trick = probe.meet(self.tap.process, Kind::Write, describe);
            self.tap.play(trick.as_ref()).await;
        }
        self.tap.alive().await;
        outcome
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        self.tap.alive().await;
        let is_main = request.prefix == PREFIX;
        let stream = self.inner.watch(request).await?;
        if !is_main {
            return Ok(stream);
        }
        let lags = self.tap.probe.takes_lag(self.tap.process);
        let feed = Feed {
            store: self.clone(),
            stream,
            waiting: VecDeque::new(),
            hold: if lags { LATE } else { Duration::ZERO },
        };
        Ok(stream::unfold(feed, next).boxed())
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseStatus, Error> {
        self.tap.alive().await;
        self.inner.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<LeaseStatus, Error> {
        self.tap.alive().await;
        self.inner.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.tap.alive().await;
        self.inner.revoke(lease).await
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.tap.alive().await;
        self.inner.compact(revision).await
    }

    async fn status(&self) -> Result<StoreStatus, Error> {
        self.tap.alive().await;
        self.inner.status().await
    }
}
