//! The leases of the MVCC: who lives until when, and which keys go with whom. Pure; time is an argument.

use super::request::{Error, KeyBytes};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The least that etcd grants with its usual election timeout of 1 s (1.5 election timeouts, rounded up).
pub(super) const LEAST_TTL: i64 = 2;

/// The most that etcd grants.
const MOST_TTL: i64 = 9_000_000_000;

/// One lease.
#[derive(Clone, Debug)]
struct Lease {
    ttl: i64,
    expires: Duration,
    /// The store's revision when it was granted: a backup of an older one does not know it.
    granted_at: i64,
    keys: BTreeSet<KeyBytes>,
}

/// All leases.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    leases: BTreeMap<i64, Lease>,
    next: i64,
}

impl Leases {
    /// Grants a lease at this revision; `id` 0 asks for a fresh one. Gives its id and its TTL in seconds.
    pub(super) fn grant(
        &mut self,
        id: i64,
        ttl: i64,
        now: Duration,
        revision: i64,
    ) -> Result<(i64, i64), Error> {
        if ttl > MOST_TTL {
            return Err(Error::LeaseTooLong(ttl));
        }
        let ttl = ttl.max(LEAST_TTL);
        let id = if id == 0 { self.fresh() } else { id };
        if self.leases.contains_key(&id) {
            return Err(Error::LeaseExists(id));
        }
        let lease = Lease {
            ttl,
            expires: now + Duration::from_secs(ttl.unsigned_abs()),
            granted_at: revision,
            keys: BTreeSet::new(),
        };
        self.leases.insert(id, lease);
        Ok((id, ttl))
    }

    /// Counts up; an id is never given twice, so that a late write of an ended lease finds nothing.
    fn fresh(&mut self) -> i64 {
        loop {
            self.next += 1;
            if !self.leases.contains_key(&self.next) {
                return self.next;
            }
        }
    }

    pub(super) fn contains(&self, id: i64) -> bool {
        self.leases.contains_key(&id)
    }

    /// Gives a lease its whole TTL again; none if it is gone.
    pub(super) fn renew(&mut self, id: i64, now: Duration) -> Option<i64> {
        let lease = self.leases.get_mut(&id)?;
        lease.expires = now + Duration::from_secs(lease.ttl.unsigned_abs());
        Some(lease.ttl)
    }

    /// The granted TTL in seconds and the time left; none if it is gone.
    pub(super) fn time_left(&self, id: i64, now: Duration) -> Option<(i64, Duration)> {
        let lease = self.leases.get(&id)?;
        Some((lease.ttl, lease.expires.saturating_sub(now)))
    }

    pub(super) fn ids(&self) -> Vec<i64> {
        self.leases.keys().copied().collect()
    }

    /// Ends a lease and gives its keys in order.
    pub(super) fn remove(&mut self, id: i64) -> Option<BTreeSet<KeyBytes>> {
        self.leases.remove(&id).map(|lease| lease.keys)
    }

    pub(super) fn attach(&mut self, id: i64, key: &[u8]) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.keys.insert(key.to_vec());
        }
    }

    pub(super) fn detach(&mut self, id: i64, key: &[u8]) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.keys.remove(key);
        }
    }

    /// Those whose time is over.
    pub(super) fn expired(&self, now: Duration) -> Vec<i64> {
        let over = |(id, lease): (&i64, &Lease)| (lease.expires <= now).then_some(*id);
        self.leases.iter().filter_map(over).collect()
    }

    /// When the next one ends unless it is renewed.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        self.leases.values().map(|lease| lease.expires).min()
    }

    /// What a server that starts from a backup of `revision` makes of them: each has its whole TTL again, no keys yet.
    pub(super) fn restored_at(&self, revision: i64, now: Duration) -> Self {
        let mut old = self.clone();
        old.leases.retain(|_, lease| lease.granted_at <= revision);
        for lease in old.leases.values_mut() {
            lease.expires = now + Duration::from_secs(lease.ttl.unsigned_abs());
            lease.keys.clear();
        }
        old
    }

    /// No leases; ids go on, for etcd's are random and do not come again in a new store.
    pub(super) fn emptied(&self) -> Self {
        Self {
            leases: BTreeMap::new(),
            next: self.next,
        }
    }
}
