//! The leases of the MVCC: who lives until when, and which keys go with whom. Pure; time is an argument.
//!
//! Invariant: every lease stands once in the order of ends, at the time of its end.

use super::answer::KeyBytes;
use super::refusal::Error;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The least that etcd grants with its usual election timeout of 1 s (1.5 election timeouts, rounded up).
pub(super) const LEAST_TTL: i64 = 2;

/// The most that etcd grants.
const MOST_TTL: i64 = 9_000_000_000;

/// One lease.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pub(super) ttl: i64,
    expires: Duration,
    /// The store's revision when it was granted: a backup of an older one does not know it.
    pub(super) granted_at: i64,
    /// In order: they are deleted in it.
    pub(super) keys: BTreeSet<KeyBytes>,
}

/// All leases.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    leases: BTreeMap<i64, Lease>,
    /// By end, then by id: the next to end is the first.
    ends: BTreeSet<(Duration, i64)>,
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
        if self.leases.contains_key(&id) {
            return Err(Error::LeaseExists(id));
        }
        let ttl = ttl.max(LEAST_TTL);
        let id = if id == 0 { self.fresh() } else { id };
        let lease = Lease {
            ttl,
            expires: end(ttl, now),
            granted_at: revision,
            keys: BTreeSet::new(),
        };
        self.ends.insert((lease.expires, id));
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
        self.ends.remove(&(lease.expires, id));
        lease.expires = end(lease.ttl, now);
        self.ends.insert((lease.expires, id));
        Some(lease.ttl)
    }

    /// The granted TTL in seconds and the time left; none if it is gone.
    pub(super) fn time_left(&self, id: i64, now: Duration) -> Option<(i64, Duration)> {
        let lease = self.leases.get(&id)?;
        Some((lease.ttl, lease.expires.saturating_sub(now)))
    }

    /// The ids, those that end first before the others.
    pub(super) fn ids(&self) -> Vec<i64> {
        self.ends.iter().map(|(_, id)| *id).collect()
    }

    /// The keys of a lease in order; none if it is gone.
    pub(super) fn keys(&self, id: i64) -> Option<impl Iterator<Item = &KeyBytes>> {
        Some(self.leases.get(&id)?.keys.iter())
    }

    /// The TTL of a lease in seconds and the revision at which it was granted; none if it is gone.
    pub(super) fn term(&self, id: i64) -> Option<(i64, i64)> {
        let lease = self.leases.get(&id)?;
        Some((lease.ttl, lease.granted_at))
    }

    /// Every lease with its id, TTL in seconds, and the revision at which it was granted; by id.
    pub(super) fn terms(&self) -> impl Iterator<Item = (i64, i64, i64)> {
        let terms = |(id, lease): (&i64, &Lease)| (*id, lease.ttl, lease.granted_at);
        self.leases.iter().map(terms)
    }

    /// Ends a lease and gives what it was.
    pub(super) fn remove(&mut self, id: i64) -> Option<Lease> {
        let lease = self.leases.remove(&id)?;
        self.ends.remove(&(lease.expires, id));
        Some(lease)
    }

    pub(super) fn attach(&mut self, id: i64, key: &KeyBytes) {
        if let Some(lease) = self.of_key(id) {
            lease.keys.insert(Arc::clone(key));
        }
    }

    pub(super) fn detach(&mut self, id: i64, key: &[u8]) {
        if let Some(lease) = self.of_key(id) {
            lease.keys.remove(key);
        }
    }

    /// The lease that a key names, where it names one.
    fn of_key(&mut self, id: i64) -> Option<&mut Lease> {
        if id == 0 {
            return None;
        }
        self.leases.get_mut(&id)
    }

    /// Those whose time is over, in the order in which it ended.
    pub(super) fn expired(&self, now: Duration) -> Vec<i64> {
        let over = self.ends.iter().take_while(|(end, _)| *end <= now);
        over.map(|(_, id)| *id).collect()
    }

    /// When the next one ends unless it is renewed.
    pub(super) fn next_expiry(&self) -> Option<Duration> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// What a server that starts from a backup of `revision` makes of them: each has its whole TTL again, no keys yet.
    pub(super) fn restored_at(&self, revision: i64, now: Duration) -> Self {
        let mut old = self.emptied();
        for (id, lease) in &self.leases {
            if lease.granted_at <= revision {
                old.grant(*id, lease.ttl, now, lease.granted_at)
                    .expect("it was granted before, and stands there once");
            }
        }
        old
    }

    /// No leases; ids go on, for etcd's are random and do not come again in a new store.
    pub(super) fn emptied(&self) -> Self {
        Self {
            next: self.next,
            ..Self::default()
        }
    }
}

fn end(ttl: i64, now: Duration) -> Duration {
    now + Duration::from_secs(ttl.unsigned_abs())
}
