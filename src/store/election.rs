//! Leadership per controller, and claims of single keys.
//!
//! A candidate puts `election/<controller>/<lease>` under its own lease; the oldest create revision leads and is the
//! *term*. Every transaction of a leader compares it (rule S4), so a leader that lost its key cannot write.
//!
//! Invariants:
//! - A new campaign first deletes this candidate's old key and ends its old lease, and takes a new one (rule S5): what an
//!   unknown transaction of the old term still brings fails its fence.
//! - A candidate waits for the one right before it, so that the end of a leader wakes one candidate and not all.

use super::list::list;
use super::session::{Boottime, Session};
use super::{Compare, Error, KeyValue, Kv, Op, Outcome, Reply, Txn, WatchEvent, WatchRequest};
use crate::api::key::Key;
use crate::api::unit::{LeaseId, Revision, Term};
use crate::planted::{Bug, planted};
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// Before a waiting candidate asks a store again that did not answer: short against the time that its lease leaves it.
const RETRY: Duration = Duration::from_millis(250);

/// The right to write.
#[derive(Debug)]
pub struct Leadership {
    /// The election key.
    pub key: String,
    /// Its create revision.
    pub term: Term,
    /// The revision of a put of the key once it was the oldest: all that leaders before wrote is in the store by then. A
    /// candidate's key may be much older.
    pub since: Revision,
    /// The lease that it goes with.
    pub session: Session,
}

impl Leadership {
    /// The comparison that every transaction of this term carries. The key is named after the lease: nobody else's claim
    /// can fulfil it.
    pub fn fence(&self) -> Compare {
        Compare::CreatedAt(self.key.clone(), Revision(self.term.0))
    }

    /// Gives the leadership up at once, instead of letting the lease run out.
    ///
    /// # Errors
    /// The store cannot be reached: the lease ends by itself then.
    pub async fn resign(self) -> Result<(), Error> {
        self.session.close().await
    }
}

/// One process's wish to lead one controller.
pub struct Candidate {
    /// The store.
    pub kv: Arc<dyn Kv>,
    /// The prefix of all keys.
    pub prefix: String,
    /// The controller.
    pub controller: String,
    /// Who we are: the value of the election key.
    pub identity: Vec<u8>,
    /// How long the lease lives.
    pub ttl: Duration,
    /// CLOCK_BOOTTIME.
    pub boottime: Boottime,
    old: Option<LeaseId>,
}

impl Candidate {
    /// A candidate that has not campaigned yet.
    pub fn new(
        kv: Arc<dyn Kv>,
        prefix: &str,
        controller: &str,
        identity: impl Into<Vec<u8>>,
        boottime: Boottime,
    ) -> Self {
        Self {
            kv,
            prefix: prefix.into(),
            controller: controller.into(),
            identity: identity.into(),
            ttl: super::LEASE_TTL,
            boottime,
            old: None,
        }
    }

    /// Waits until this candidate leads. Call it again when the leadership is lost or a write ended unknown.
    ///
    /// # Errors
    /// The store cannot be reached or refuses, or our own lease ended while waiting: campaign again, after a pause.
    pub async fn campaign(&mut self) -> Result<Leadership, Error> {
        self.end_old_term().await?;
        let ttl = self.ttl;
        let session = Session::open(Arc::clone(&self.kv), ttl, Arc::clone(&self.boottime)).await?;
        self.old = Some(session.lease());
        let key = self.key(session.lease());
        self.enter(&key, session.lease()).await?;
        let (term, since) = tokio::select! {
            biased;
            () = session.lost() => return Err(Error::LeaseGone),
            led = self.wait(&key, session.lease()) => led?,
        };
        Ok(Leadership {
            key,
            term,
            since,
            session,
        })
    }

    fn key(&self, lease: LeaseId) -> String {
        Key::Election(self.controller.clone(), lease).full(&self.prefix)
    }

    /// Deletes the key and the lease of the last campaign, if there was one.
    async fn end_old_term(&mut self) -> Result<(), Error> {
        let Some(lease) = self.old else { return Ok(()) };
        let delete = Txn {
            then: vec![Op::Delete {
                key: self.key(lease),
            }],
            ..Txn::default()
        };
        if let Outcome::Unknown { error } = self.kv.txn(&delete).await? {
            return Err(error);
        }
        // A put of that key which is still on its way finds no lease.
        self.kv.revoke(lease).await?;
        self.old = None;
        Ok(())
    }

    async fn enter(&self, key: &str, lease: LeaseId) -> Result<(), Error> {
        let value = self.identity.clone();
        match claim(self.kv.as_ref(), key, lease, value).await? {
            Claim::Ours(_) => Ok(()),
            Claim::Taken(_) => Err(Error::Other {
                message: format!("the election key {key} of a new lease exists already"),
            }),
            Claim::Unknown(error) => Err(error),
        }
    }

    /// Waits until `key` is the oldest. Errors that pass by themselves are waited out; the session's end ends this.
    async fn wait(&self, key: &str, lease: LeaseId) -> Result<(Term, Revision), Error> {
        loop {
            match self.step(key, lease).await {
                Ok(Some(led)) => return Ok(led),
                Ok(None) => {}
                Err(error) if error.is_retryable() => tokio::time::sleep(RETRY).await,
                Err(Error::Compacted { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Looks who leads: us, or waits for the one before us to go.
    async fn step(&self, key: &str, lease: LeaseId) -> Result<Option<(Term, Revision)>, Error> {
        let prefix = format!("{}election/{}/", self.prefix, self.controller);
        let listing = list(self.kv.as_ref(), &prefix).await?;
        let own = listing.kvs.iter().find(|kv| kv.key == key);
        let created = own.ok_or(Error::LeaseGone)?.create_revision;
        match before(&listing.kvs, created) {
            None if listing.revision == created => Ok(Some((Term(created.0), created))),
            None => {
                let since = self.mark(key, lease, created).await?;
                Ok(Some((Term(created.0), since)))
            }
            Some(_) if planted(Bug::LeadsUnelected) => {
                Ok(Some((Term(created.0), listing.revision)))
            }
            Some(other) => {
                self.gone(&other.key, listing.revision).await?;
                Ok(None)
            }
        }
    }

    /// Puts our key once more, now that it is the oldest: a change that whoever watches the prefix comes to see. The store's
    /// own revision is no such thing; where nothing else is written below the prefix, a cache never reaches it.
    async fn mark(&self, key: &str, lease: LeaseId, created: Revision) -> Result<Revision, Error> {
        let txn = Txn {
            compares: vec![Compare::CreatedAt(key.into(), created)],
            then: vec![Op::Put {
                key: key.into(),
                value: self.identity.clone(),
                lease: Some(lease),
            }],
            otherwise: Vec::new(),
        };
        match self.kv.txn(&txn).await? {
            Outcome::Committed { revision, .. } => Ok(revision),
            Outcome::Refused { .. } => Err(Error::LeaseGone),
            // Rule S5: this candidacy is over, and the next one begins with its end.
            Outcome::Unknown { error } => Err(Error::Other {
                message: format!("nobody knows whether {key} was put once more: {error}"),
            }),
        }
    }

    /// Waits until `key` is deleted after `seen`.
    async fn gone(&self, key: &str, seen: Revision) -> Result<(), Error> {
        let request = WatchRequest {
            // Leases are printed at full length: no other key begins with this one.
            prefix: key.into(),
            start: Revision(seen.0 + 1),
        };
        let mut changes = self.kv.watch(request).await?;
        while let Some(batch) = changes.next().await {
            let deleted = |event: &WatchEvent| matches!(event, WatchEvent::Delete { .. });
            if batch?.events.iter().any(deleted) {
                return Ok(());
            }
        }
        Err(Error::WatchEnded {
            message: "the election's watch is over".into(),
        })
    }
}

/// The candidate right before the one created at `created`.
fn before(candidates: &[KeyValue], created: Revision) -> Option<&KeyValue> {
    candidates
        .iter()
        .filter(|kv| kv.create_revision < created)
        .max_by_key(|kv| kv.create_revision)
}

/// How a claim ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The key is ours; its create revision is the term.
    Ours(Term),
    /// Somebody has it.
    Taken(Option<KeyValue>),
    /// Nobody knows (rule S5).
    Unknown(Error),
}

/// Claims a key under a lease, if it does not exist: an election key, or the key of a shard.
///
/// # Errors
/// The store cannot be reached or refuses: the key is certainly not ours.
pub async fn claim(kv: &dyn Kv, key: &str, lease: LeaseId, value: Vec<u8>) -> Result<Claim, Error> {
    let txn = Txn {
        compares: vec![Compare::Missing(key.into())],
        then: vec![Op::Put {
            key: key.into(),
            value,
            lease: Some(lease),
        }],
        otherwise: vec![Op::Get { key: key.into() }],
    };
    Ok(match kv.txn(&txn).await? {
        Outcome::Committed { revision, .. } => Claim::Ours(Term(revision.0)),
        Outcome::Refused { replies, .. } => Claim::Taken(first_read(replies)),
        Outcome::Unknown { error } => Claim::Unknown(error),
    })
}

/// What every transaction compares that rests on the claim of a key which others may claim as well. Its create revision
/// alone is not ours for ever: in a store that was set back to before our claim, another's may get the very same. Its lease
/// alone outlives a claim that was given back and made anew.
pub fn claimed(key: &str, term: Term, lease: LeaseId) -> Vec<Compare> {
    vec![
        Compare::CreatedAt(key.into(), Revision(term.0)),
        Compare::HeldBy(key.into(), lease),
    ]
}

fn first_read(replies: Vec<Reply>) -> Option<KeyValue> {
    replies.into_iter().find_map(|reply| match reply {
        Reply::Read(kvs) => kvs.into_iter().next(),
        Reply::Put | Reply::Deleted(_) => None,
    })
}
