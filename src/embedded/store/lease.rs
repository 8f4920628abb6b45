//! Leases of the running store: granted and ended through the journal, renewed without it, ended in time by a task.
//!
//! A restart gives every lease its whole TTL again, as etcd does; so a renewal need not be durable.

use super::{Error, Shared, Store, quota, random};
use crate::embedded::mvcc::{KeyBytes, Mvcc};
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// After a failed journal the timer tries to end leases again after this.
const RETRY: Duration = Duration::from_secs(1);

/// What is left of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseLeft {
    /// The granted TTL in seconds.
    pub granted: i64,
    /// The time left.
    pub left: Duration,
    /// Its keys, in order.
    pub keys: Vec<KeyBytes>,
}

impl Store {
    /// Grants a lease; `id` 0 asks for a fresh one. Gives its id, its TTL in seconds and the newest durable revision.
    ///
    /// # Errors
    /// The id is taken, the TTL too long, the store full or its journal cannot be written.
    pub async fn grant(&self, id: i64, ttl: i64) -> Result<(i64, i64, i64), Error> {
        let shared = self.shared();
        let (granted, ticket) = {
            let mut state = shared.write()?;
            self.check_room(&mut state, quota::PER_LEASE)?;
            let id = if id == 0 { fresh(&state.mvcc) } else { id };
            let (id, ttl) = state.mvcc.grant(id, ttl, shared.now())?;
            let change = state.mvcc.granted(id);
            let ticket = state.commit(change.into_iter().collect());
            ((id, ttl, state.durable), ticket)
        };
        shared.leases.notify_one();
        ticket.wait().await?;
        Ok(granted)
    }

    /// Ends a lease and deletes its keys. Gives the revision after it.
    ///
    /// # Errors
    /// The lease is not there, or the journal cannot be written.
    pub async fn revoke(&self, id: i64) -> Result<i64, Error> {
        let (revision, ticket) = {
            let mut state = self.shared().write()?;
            let ticket = state.revoke(id)?;
            (state.mvcc.revision(), ticket)
        };
        ticket.wait().await?;
        Ok(revision)
    }

    /// Gives a lease its whole TTL again. Gives that in seconds, if the lease is there.
    pub fn renew(&self, id: i64) -> Option<i64> {
        let shared = self.shared();
        let mut state = shared.lock();
        state.mvcc.renew(id, shared.now())
    }

    /// What is left of a lease, if it is there.
    pub fn lease(&self, id: i64) -> Option<LeaseLeft> {
        let shared = self.shared();
        let state = shared.lock();
        let (granted, left) = state.mvcc.time_left(id, shared.now())?;
        let keys = state.mvcc.lease_keys(id)?;
        Some(LeaseLeft {
            granted,
            left,
            keys,
        })
    }

    /// All leases, the one that ends first in front.
    pub fn leases(&self) -> Vec<i64> {
        self.shared().lock().mvcc.lease_ids()
    }
}

/// An id that no lease has. Random as etcd's, so that a late write of an ended lease finds nothing, also after a restart.
fn fresh(mvcc: &Mvcc) -> i64 {
    loop {
        let id = i64::try_from(random() >> 1).unwrap_or_default();
        if id != 0 && mvcc.granted(id).is_none() {
            return id;
        }
    }
}

/// Ends leases when their time is over, for ever.
pub(super) async fn end_in_time(shared: Arc<Shared>) {
    loop {
        let next = shared.lock().mvcc.next_expiry();
        let expired = async {
            match next {
                Some(at) => tokio::time::sleep_until(shared.started + at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.leases.notified() => continue,
            () = expired => {}
        }
        if let Err(error) = end_expired(&shared).await {
            warn!(%error, "leases cannot be ended yet");
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn end_expired(shared: &Shared) -> Result<(), Error> {
    let ticket = shared.lock().expire(shared.now());
    ticket.wait().await
}
