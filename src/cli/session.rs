//! One command's view of the store: a listing at one revision, and the changes that follow it.

use super::error::Error;
use super::terminal::Terminal;
use crate::api::key::Key;
use crate::api::time::Timestamp;
use crate::api::unit::Revision;
use crate::engine::Connector;
use crate::runtime::cache::Cache;
use crate::runtime::clock::Clock;
use crate::store::{self, KeyValue, Kv, WatchRequest, WatchStream};
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// Wait before a lost store is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// What a verb works with.
#[derive(Clone)]
pub struct Session {
    /// The store.
    pub(super) kv: Arc<dyn Kv>,
    /// The prefix of all keys.
    pub(super) prefix: String,
    /// Where engines come from.
    pub(super) connector: Arc<dyn Connector>,
    /// Time.
    pub(super) clock: Arc<dyn Clock>,
    /// The person.
    pub(super) terminal: Terminal,
}

impl Session {
    /// A view of the store `kv`, below `prefix`.
    pub fn new(
        kv: Arc<dyn Kv>,
        prefix: &str,
        connector: Arc<dyn Connector>,
        clock: Arc<dyn Clock>,
        terminal: Terminal,
    ) -> Self {
        Self {
            kv,
            prefix: prefix.to_owned(),
            connector,
            clock,
            terminal,
        }
    }

    /// The wall clock.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    /// A key with the prefix.
    pub(super) fn key(&self, key: &Key) -> String {
        key.full(&self.prefix)
    }

    /// Everything below the prefix at one revision.
    pub(super) async fn snapshot(&self) -> Result<Cache, Error> {
        let mut cache = Cache::default();
        let (kvs, revision) = self.list(&self.prefix).await?;
        cache.replace(&self.prefix, &kvs, revision);
        Ok(cache)
    }

    /// All keys below `prefix` at one revision.
    pub(super) async fn list(
        &self,
        prefix: &str,
    ) -> Result<(Vec<KeyValue>, Revision), store::Error> {
        let listing = store::list::list(self.kv.as_ref(), prefix).await?;
        Ok((listing.kvs, listing.revision))
    }

    /// Follows what happens after a snapshot.
    pub(super) fn follow(&self, cache: Cache) -> Follow {
        Follow {
            session: self.clone(),
            cache,
            stream: None,
        }
    }
}

/// A cache that moves on with the store.
pub(super) struct Follow {
    session: Session,
    /// The present state.
    pub(super) cache: Cache,
    stream: Option<WatchStream>,
}

impl Follow {
    /// Waits for the next change; says which keys changed. Survives lost connections and compactions.
    pub(super) async fn changed(&mut self) -> Result<Vec<Key>, Error> {
        loop {
            match self.step().await {
                Ok(keys) if keys.is_empty() => {}
                Ok(keys) => return Ok(keys),
                Err(error @ (store::Error::Compacted { .. } | store::Error::Future { .. })) => {
                    tracing::debug!(%error, "listing anew");
                    self.stream = None;
                    let (kvs, revision) = self.session.list(&self.session.prefix).await?;
                    let keys = self.cache.replace(&self.session.prefix, &kvs, revision);
                    if !keys.is_empty() {
                        return Ok(keys);
                    }
                }
                Err(error) if error.is_retryable() => {
                    if self.stream.take().is_some() {
                        self.session
                            .terminal
                            .note(&format!("{error}: trying again"));
                    }
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn step(&mut self) -> Result<Vec<Key>, store::Error> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let start = Revision(self.cache.revision.0 + 1);
                let prefix = self.session.prefix.clone();
                let stream = self
                    .session
                    .kv
                    .watch(WatchRequest { prefix, start })
                    .await?;
                self.stream.insert(stream)
            }
        };
        match stream.next().await {
            Some(Ok(batch)) => Ok(self.cache.advance(&self.session.prefix, &batch)),
            Some(Err(error)) => Err(error),
            None => Err(store::Error::WatchEnded {
                message: "the store closed it".into(),
            }),
        }
    }
}
