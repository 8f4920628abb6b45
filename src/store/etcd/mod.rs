//! [`Etcd`]: the door [`Kv`] over a real etcd, 3.4 to 3.6.
//!
//! One client per endpoint, and one endpoint at a time (`endpoints.rs`): the client's own balancer sends half of all calls
//! to a dead endpoint. What an error proves is decided in `failure.rs`.
//!
//! Invariants:
//! - Every call ends within [`STORE_DEADLINE`]; a frozen server ends a watch by the transport's pings.
//! - A transaction is sent again only if it was certainly not applied: the connection never came about, the server had no
//!   leader, or it refused our token. Anything else is [`Outcome::Unknown`].
//! - A token that expired, or an auth revision that is old, is replaced behind the door (rule S9).
//!
//! Deliberately absent: progress notifications (rule S3), retries with waiting. Callers wait.

mod backup;
mod convert;
mod endpoints;
mod failure;
mod tls;
mod watch;

use super::config::{ConfigError, StoreConfig};
use super::{
    BackupStream, Error, Kv, LeaseStatus, MAX_MESSAGE, Outcome, RangeRequest, RangeResponse,
    STORE_DEADLINE, StoreStatus, Txn, WatchRequest, WatchStream,
};
use crate::api::unit::{LeaseId, Revision};
use async_trait::async_trait;
use endpoints::{Connection, Endpoints};
use etcd_client::Client;
use failure::Failure;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A store in etcd.
#[derive(Debug)]
pub struct Etcd {
    endpoints: Endpoints,
}

impl Etcd {
    /// Prepares the way to etcd; connects with the first call.
    ///
    /// # Errors
    /// A certificate or a key cannot be used.
    pub fn new(config: &StoreConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            endpoints: Endpoints::new(config)?,
        })
    }

    /// Runs one call on one endpoint after another until one takes it, within the deadline.
    async fn call<T, F>(
        &self,
        name: &'static str,
        run: impl Fn(Connection) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let used = AtomicUsize::new(self.endpoints.current());
        match tokio::time::timeout(STORE_DEADLINE, self.try_endpoints(&used, run)).await {
            Ok(result) => result,
            Err(_) => {
                self.endpoints.abandon(used.load(Ordering::Relaxed));
                Err(Failure::Ambiguous(Error::Timeout {
                    call: name,
                    deadline: STORE_DEADLINE,
                }))
            }
        }
    }

    /// Tells in `used` which endpoint it is waiting for.
    async fn try_endpoints<T, F>(
        &self,
        used: &AtomicUsize,
        run: impl Fn(Connection) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut last = None;
        for _ in 0..self.endpoints.len() {
            let index = self.endpoints.current();
            used.store(index, Ordering::Relaxed);
            match self.try_one(index, &run).await {
                Err(Failure::NotSent(error)) => {
                    self.endpoints.turn_from(index);
                    last = Some(error);
                }
                Err(Failure::Ambiguous(error)) => {
                    self.endpoints.turn_from(index);
                    return Err(Failure::Ambiguous(self.endpoints.describe(error)));
                }
                done => return done,
            }
        }
        let error = last.expect("there is at least one endpoint");
        Err(Failure::NotSent(self.endpoints.describe(error)))
    }

    /// Runs a call on one endpoint; once more with a new token if the old one is refused.
    async fn try_one<T, F>(
        &self,
        index: usize,
        run: &impl Fn(Connection) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let connection = self.endpoints.connection(index).await?;
        match run(connection).await {
            Err(Failure::Stale(error)) => {
                let Some(connection) = self.endpoints.authenticate_anew(index).await? else {
                    return Err(Failure::Definite(error));
                };
                match run(connection).await {
                    Err(Failure::Stale(error)) => Err(Failure::Definite(error)),
                    done => done,
                }
            }
            done => done,
        }
    }
}

#[async_trait]
impl Kv for Etcd {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let (key, options) = convert::range(&request);
        let asked = request.revision.unwrap_or_default();
        let response = self
            .call("range", async |Connection { client, .. }| {
                let mut kv = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
                kv.get(key.clone(), Some(options.clone()))
                    .await
                    .map_err(Failure::from)
            })
            .await
            .map_err(|failure| failure.at(asked))?;
        convert::range_response(response)
    }

    async fn txn(&self, txn: &Txn) -> Result<Outcome, Error> {
        let result = self
            .call("txn", async |Connection { client, .. }| {
                let mut kv = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
                kv.txn(convert::txn(txn)).await.map_err(Failure::of_write)
            })
            .await;
        match result {
            Ok(response) => convert::outcome(response),
            Err(Failure::Ambiguous(error)) => Ok(Outcome::Unknown { error }),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, Error> {
        let stream = self
            .call("watch", async |connection| {
                watch::open(connection, &request).await
            })
            .await
            .map_err(|failure| failure.at(request.start))?;
        Ok(stream)
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseStatus, Error> {
        let seconds = convert::whole_seconds(ttl);
        let granted = self
            .call("grant", async |Connection { client, .. }| {
                let mut leases = client.lease_client();
                leases.grant(seconds, None).await.map_err(Failure::from)
            })
            .await?;
        Ok(convert::lease(granted.id(), granted.ttl()))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<LeaseStatus, Error> {
        let renewed = self
            .call("keep_alive", async |Connection { client, .. }| {
                renew(client, lease).await.map_err(Failure::from)
            })
            .await?;
        Ok(convert::lease(lease.0, renewed))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        let revoked = self
            .call("revoke", async |Connection { client, .. }| {
                let mut leases = client.lease_client();
                leases.revoke(lease.0).await.map_err(Failure::from)
            })
            .await;
        match revoked.map_err(Error::from) {
            Ok(_) | Err(Error::LeaseGone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        let compacted = self
            .call("compact", async |Connection { client, .. }| {
                let mut kv = client.kv_client();
                kv.compact(revision.0, None).await.map_err(Failure::from)
            })
            .await;
        match compacted.map_err(|failure| failure.at(revision)) {
            Ok(_) | Err(Error::Compacted { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn status(&self) -> Result<StoreStatus, Error> {
        let (status, alarms) = self
            .call("status", async |Connection { client, .. }| {
                let mut maintenance = client.maintenance_client();
                let status = maintenance.status().await?;
                let get = etcd_client::AlarmAction::Get;
                let none = etcd_client::AlarmType::None;
                let alarms = maintenance.alarm(get, none, None).await?;
                Ok((status, alarms))
            })
            .await?;
        Ok(convert::status(&status, &alarms))
    }

    async fn backup(&self) -> Result<BackupStream, Error> {
        let pieces = self
            .call("snapshot", async |Connection { client, .. }| {
                let mut maintenance = client.maintenance_client();
                maintenance.snapshot().await.map_err(Failure::from)
            })
            .await?;
        Ok(backup::stream(pieces))
    }
}

/// Renews a lease and gives its TTL in seconds, 0 if it is gone.
///
/// The client keeps the first answer of the stream to itself, TTL and all, so this asks twice on the same stream.
async fn renew(client: Client, lease: LeaseId) -> Result<i64, etcd_client::Error> {
    let (mut keeper, mut answers) = match client.lease_client().keep_alive(lease.0).await {
        Ok(pair) => pair,
        Err(etcd_client::Error::LeaseKeepAliveError(_)) => return Ok(0),
        Err(error) => return Err(error),
    };
    keeper.keep_alive().await?;
    let answer = answers.message().await?;
    answer.map(|answer| answer.ttl()).ok_or_else(|| {
        etcd_client::Error::LeaseKeepAliveError("the server closed the stream".into())
    })
}
