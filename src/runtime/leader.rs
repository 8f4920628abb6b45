//! Leadership: one manager at a time runs a controller, and everybody else waits (rules S4, S5, N5).

use super::clock::Clock;
use super::shared::SharedCache;
use crate::api::cluster::Holder;
use crate::api::unit::Term;
use crate::metrics::Metrics;
use crate::store::{Compare, Kv};
use std::sync::Arc;
use std::time::Duration;

/// What every part of a manager shares.
#[derive(Clone)]
pub struct Context {
    /// The store.
    pub kv: Arc<dyn Kv>,
    /// The local copy.
    pub cache: Arc<SharedCache>,
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
    /// What Prometheus reads.
    pub metrics: Arc<Metrics>,
    /// What users read.
    pub recorder: super::recorder::Recorder,
    /// This manager's name.
    pub manager: String,
}

impl Context {
    /// The clock as sessions take it.
    pub fn boottime(&self) -> Arc<dyn Fn() -> Duration + Send + Sync> {
        let clock = self.clock.clone();
        Arc::new(move || clock.now().since_boot)
    }

    /// This manager as the holder of a key.
    pub fn holder(&self) -> Holder {
        Holder { manager: self.manager.clone(), since: self.clock.now().wall }
    }
}

/// The right to write, for a while.
#[derive(Clone)]
pub struct Right {
    /// The key's create revision.
    pub term: Term,
    /// What every write compares.
    pub fence: Compare,
}

/// The leadership of one controller; cheap to clone.
#[derive(Clone)]
pub struct Leadership {
    /// The create revision of the election key.
    pub term: Term,
    key: String,
    session: Arc<Session>,
    kv: Arc<dyn Kv>,
}

impl Leadership {
    /// Takes a new lease and waits until this manager leads `controller`.
    ///
    /// # Errors
    /// The store fails or the lease ends before it leads.
    pub async fn campaign(context: &Context, controller: &str) -> Result<Self, Error> {
        let session = Arc::new(Session::open(context.kv.clone(), LEASE_TTL, context.boottime()).await?);
        let value = encode(&context.holder());
        let elected = campaign(&context.kv, context.cache.prefix(), controller, &session, value).await;
        match elected {
            Ok(elected) => Ok(Self { term: elected.term, key: elected.key, session, kv: context.kv.clone() }),
            Err(error) => {
                session.close().await;
                Err(error)
            }
        }
    }

    /// What every write of this term compares.
    pub fn fence(&self) -> Compare {
        Compare::CreatedAt(self.key.clone(), Revision(self.term.0))
    }

    /// The lease: shards are claimed on it.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Whether the local deadline has not passed (rule N5).
    pub fn is_valid_now(&self) -> bool {
        self.session.is_valid_now()
    }

    /// Waits until the lease is lost or its local deadline passes.
    pub async fn lost(&self) {
        self.session.lost().await;
    }

    /// Gives the leadership up: the next candidate need not wait for the lease to expire.
    pub async fn resign(&self) {
        self.session.close().await;
    }
}
