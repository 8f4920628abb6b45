//! [`Local`]: the door [`Kv`] straight onto a running [`Store`], for a manager in the same process. No gRPC, no copies of
//! messages; what etcd's clients see of the same store is the same.

use super::backup::Backup;
use super::door::{
    check_size, key_value, lease_status, prefix_span, range_span, refused, reply, transaction,
    watch_event, whole_seconds,
};
use super::mvcc::{Error as Refusal, Query};
use super::server::VERSION;
use super::store::{Error as Failure, News, Store, Wanted, Watcher};
use crate::api::unit::{LeaseId, Revision};
use crate::store::{
    BackupStream, Error, Kv, LeaseStatus, Outcome, RangeRequest, RangeResponse, StoreStatus, Txn,
    WatchBatch, WatchRequest, WatchStream,
};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use std::time::Duration;

/// The store of this process.
#[derive(Clone, Debug)]
pub struct Local {
    store: Store,
}

impl Local {
    /// The door onto a store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Kv for Local {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let query = Query {
            revision: request.revision.map_or(0, |revision| revision.0),
            limit: request.limit,
            keys_only: request.keys_only,
            ..Query::now(range_span(&request))
        };
        let (found, revision) = self.store.range(query).map_err(failed)?;
        Ok(RangeResponse {
            revision: Revision(revision),
            kvs: found.kvs.into_iter().map(key_value).collect(),
            more: found.more,
            count: found.count,
        })
    }

    async fn txn(&self, txn: &Txn) -> Result<Outcome, Error> {
        check_size(txn)?;
        let done = match self.store.txn(&transaction(txn)).await {
            Ok(done) => done,
            Err(error @ Failure::Journal { .. }) => {
                return Ok(Outcome::Unknown {
                    error: failed(error),
                });
            }
            Err(error) => return Err(failed(error)),
        };
        let revision = Revision(done.revision);
        let replies = done.answers.into_iter().map(reply).collect();
        Ok(if done.succeeded {
            Outcome::Committed { revision, replies }
        } else {
            Outcome::Refused { revision, replies }
        })
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        let watcher = self.store.watcher();
        watcher.add(Wanted {
            span: prefix_span(&request.prefix),
            start: request.start.0,
            previous: false,
        });
        // Errs at once if the start is compacted.
        let first = match watcher.take() {
            None => None,
            Some(news) => Some(Ok(batch(news, request.start)?)),
        };
        let start = request.start;
        let rest = stream::unfold(Some(watcher), move |watcher| async move {
            let watcher = watcher?;
            let item = next(&watcher, start).await;
            // An error is the last.
            let watcher = item.is_ok().then_some(watcher);
            Some((item, watcher))
        });
        Ok(stream::iter(first).chain(rest).boxed())
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseStatus, Error> {
        let granted = self.store.grant(0, whole_seconds(ttl)).await;
        let (id, ttl, _) = granted.map_err(failed)?;
        Ok(lease_status(LeaseId(id), ttl))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<LeaseStatus, Error> {
        let ttl = self.store.renew(lease.0).unwrap_or(0);
        Ok(lease_status(lease, ttl))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        match self.store.revoke(lease.0).await {
            Ok(_) | Err(Failure::Refused(Refusal::LeaseMissing(_))) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        match self.store.compact(revision.0).await {
            Ok(_) | Err(Failure::Refused(Refusal::Compacted { .. })) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    async fn status(&self) -> Result<StoreStatus, Error> {
        let status = self.store.status();
        Ok(StoreStatus {
            version: VERSION.into(),
            db_size: status.size,
            db_in_use: status.in_use,
            quota: Some(status.quota),
            alarms: status
                .is_full
                .then(|| "NOSPACE".into())
                .into_iter()
                .collect(),
        })
    }

    async fn backup(&self) -> Result<BackupStream, Error> {
        let (changes, revision) = self.store.changes().await.map_err(failed)?;
        let backup = Backup {
            identity: self.store.identity(),
            revision,
            changes,
        };
        Ok(stream::iter(backup.into_file().map(Ok)).boxed())
    }
}

async fn next(watcher: &Watcher, start: Revision) -> Result<WatchBatch, Error> {
    loop {
        match watcher.take() {
            Some(news) => return batch(news, start),
            None => watcher.changed().await,
        }
    }
}

fn batch(news: News, start: Revision) -> Result<WatchBatch, Error> {
    match news {
        News::Events { events, .. } => Ok(WatchBatch {
            // As over gRPC: the batch brings the reader to its last event.
            revision: Revision(events.last().map_or(0, |seen| seen.event.revision())),
            events: events
                .into_iter()
                .map(|seen| watch_event(seen.event))
                .collect(),
        }),
        News::Compacted { oldest, .. } => Err(Error::Compacted {
            asked: start,
            oldest: Revision(oldest),
        }),
    }
}

fn failed(error: Failure) -> Error {
    match error {
        Failure::Refused(refusal) => refused(refusal),
        Failure::TooLarge(_) => Error::TooLarge {
            message: error.to_string(),
        },
        Failure::NotWritten { .. } | Failure::Journal { .. } | Failure::Stopping => {
            Error::Unreachable {
                endpoints: "this process".into(),
                message: error.to_string(),
            }
        }
    }
}
