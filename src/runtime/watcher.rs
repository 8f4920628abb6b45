//! The watcher: one list, one watch, for everything that a process reads (rule S2).
//!
//! ```text
//! list at one revision -> cache.replace -> watch from the next -> cache.advance ...
//!   ^                                            | lost            | compacted, far behind, rewound
//!   |                                            v                 |
//!   |                              look at the store's revision ---+
//!   +------------------------------------------------<-------------+
//! ```
//!
//! Before each watch the store's revision is read linearizably: a watch from a revision that the store does not have
//! yet is accepted and stays silent for ever, so a lower revision than the cache's means that the store was rewound
//! (rule S6). A store that went back may have been written to since, and be past the cache's revision again: so the
//! newest change that the cache knows is looked for as well, and the newest put that stands. Progress notifications are never used (rule S3).

use super::backoff::Backoff;
use super::clock::timer_now;
use super::outage::Outage;
use super::shared::SharedCache;
use crate::api::unit::Revision;
use crate::planted::{Bug, planted};
use crate::store::list::list;
use crate::store::{Error, KeyValue, Kv, RangeRequest, WatchEvent, WatchRequest};
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};

/// Further behind than this, a listing is faster than the replay: 60,000 revisions took 0.4 s against 8 s when it was
/// measured, and a listing's cost does not grow with the distance.
const FAR_BEHIND: i64 = 10_000;

/// How long nothing is stopped or started because this process saw the store go back, if nobody begins another life of it:
/// who leads `cluster` may be a process that never knew what was lost, and has it all in hand. Longer than an election.
const DOUBT: Duration = Duration::from_secs(60);

/// So many puts are remembered: what stood last may be deleted one after the other, as elections are.
const STANDING: usize = 16;

/// How the cache learns what the store holds.
pub struct Watcher {
    kv: Arc<dyn Kv>,
    cache: Arc<SharedCache>,
    /// The newest change that the cache knows: the proof that the store is the one that was followed.
    newest: Option<WatchEvent>,
    /// Newest puts that stand, the newest last: a deletion proves little, as another history may lack that key as well.
    standing: Vec<KeyValue>,
    backoff: Backoff,
    outage: Outage,
}

/// What comes after a watch ended.
#[derive(Clone, Copy)]
enum Next {
    /// Watch on from where the cache is.
    Watch,
    /// List anew.
    List {
        /// Because the store was rewound.
        rewound: bool,
    },
}

impl Watcher {
    /// A watcher that feeds `cache`; `seed` is for the jitter of its retries.
    pub fn new(kv: Arc<dyn Kv>, cache: Arc<SharedCache>, seed: u128) -> Self {
        Self {
            kv,
            cache,
            newest: None,
            standing: Vec::new(),
            backoff: Backoff::store(seed),
            outage: Outage::default(),
        }
    }

    /// Follows the store until `stop`.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&mut self) {
        let mut next = Next::List { rewound: false };
        loop {
            let result = match next {
                Next::List { rewound } => self.list(rewound).await,
                Next::Watch => Ok(()),
            };
            let result = match result {
                Ok(()) => self.watch().await,
                Err(error) => Err((error, next)),
            };
            next = match result {
                Ok(next) => next,
                Err((error, next)) => {
                    self.wait(&error).await;
                    self.look(next).await
                }
            };
        }
    }

    async fn list(&mut self, rewound: bool) -> Result<(), Error> {
        let listing = list(&*self.kv, self.cache.prefix()).await?;
        self.outage.is_over(timer_now());
        let before = self.cache.progress();
        // Also seen here: the store may have been rewound between the look at its revision and this listing.
        let rewound = rewound
            || (before.epoch > 0 && listing.revision < before.revision)
            || self.was_rewritten(&listing.kvs, before.revision);
        if rewound {
            warn!(from = %before.revision, to = %listing.revision, "the store was rewound: what runs is kept and adopted");
        }
        self.cache.replace(&listing.kvs, listing.revision, rewound);
        let mut newest: Vec<&KeyValue> = listing.kvs.iter().collect();
        newest.sort_by_key(|kv| kv.mod_revision);
        let newest = &newest[newest.len().saturating_sub(STANDING)..];
        self.standing = newest.iter().copied().cloned().collect();
        self.newest = self.standing.last().cloned().map(WatchEvent::Put);
        info!(keys = listing.kvs.len(), revision = %listing.revision, "listed the store");
        Ok(())
    }

    /// Takes in what a batch leaves of the puts that stand; of its own puts the last one is enough.
    fn stand(&mut self, events: &[WatchEvent]) {
        let is_in = |events: &[WatchEvent], key: &str| events.iter().any(|one| parts(one).0 == key);
        self.standing.retain(|kv| !is_in(events, &kv.key));
        let put = (0..events.len()).rev().find_map(|at| match &events[at] {
            WatchEvent::Put(kv) if !is_in(&events[at + 1..], &kv.key) => Some(kv),
            WatchEvent::Put(_) | WatchEvent::Delete { .. } => None,
        });
        self.standing.extend(put.cloned());
        let beyond = self.standing.len().saturating_sub(STANDING);
        self.standing.drain(..beyond);
    }

    /// Whether a listing shows the key of the newest change as that change cannot have left it: with an earlier change,
    /// or with another one of a revision that the cache has passed.
    fn was_rewritten(&self, listing: &[KeyValue], here: Revision) -> bool {
        let Some((key, newest)) = self.newest.as_ref().map(parts) else {
            return false;
        };
        listing
            .iter()
            .find(|kv| kv.key == key)
            .is_some_and(|kv| kv.mod_revision <= here && !is_same(Some(kv), newest))
    }

    /// Whether the newest change that the cache knows, and the newest put that stands, are part of the store's history.
    async fn is_followed(&self, here: Revision) -> Result<bool, Error> {
        let newest = self.newest.as_ref().map(parts);
        let standing = self.standing.last().map(|kv| (kv.key.as_str(), Some(kv)));
        let standing = standing.filter(|standing| Some(*standing) != newest);
        for (key, left) in newest.into_iter().chain(standing) {
            let request = RangeRequest {
                revision: Some(here),
                ..RangeRequest::key(key)
            };
            let found = self.kv.range(request).await?;
            if !is_same(found.kvs.first(), left) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Watches until the stream ends; says what comes next.
    async fn watch(&mut self) -> Result<Next, (Error, Next)> {
        let from = self.cache.progress().revision;
        let request = WatchRequest {
            prefix: self.cache.prefix().to_owned(),
            start: Revision(from.0 + 1),
        };
        let mut stream = match self.kv.watch(request).await {
            Ok(stream) => stream,
            Err(Error::Compacted { .. }) => return Ok(Next::List { rewound: false }),
            Err(error) => return Err((error, Next::Watch)),
        };
        self.cache.set_connected();
        self.outage.is_over(timer_now());
        let doubt = tokio::time::sleep(DOUBT);
        tokio::pin!(doubt);
        loop {
            let batch = tokio::select! {
                biased;
                batch = stream.next() => batch,
                () = &mut doubt, if self.cache.read(|cache| cache.rewound_in.is_some()) => {
                    warn!("the store was rewound, and nobody begins another life of it: it is taken as it is");
                    self.cache.trust();
                    continue;
                }
            };
            let Some(batch) = batch else {
                break;
            };
            match batch {
                Ok(batch) => {
                    self.cache.advance(&batch);
                    self.newest = batch.events.last().cloned().or(self.newest.take());
                    self.stand(&batch.events);
                    self.backoff.reset();
                }
                Err(Error::Compacted { .. }) => return Ok(Next::List { rewound: false }),
                Err(error) => return Err((error, Next::Watch)),
            }
        }
        Err((
            Error::WatchEnded {
                message: "the store closed it".into(),
            },
            Next::Watch,
        ))
    }

    /// Looks at the store until it answers; says whether to watch on or to list.
    async fn look(&mut self, next: Next) -> Next {
        loop {
            match self.compare(next).await {
                Ok(next) => return next,
                Err(error) => self.wait(&error).await,
            }
        }
    }

    /// Compares the store's revision and history with the cache's.
    async fn compare(&self, next: Next) -> Result<Next, Error> {
        let request = RangeRequest::key(self.cache.prefix());
        let revision = self.kv.range(request).await?.revision;
        let here = self.cache.progress().revision;
        Ok(match next {
            Next::List { rewound } => Next::List { rewound },
            Next::Watch if planted(Bug::WatchesUnseenStore) => Next::Watch,
            Next::Watch if revision < here => Next::List { rewound: true },
            Next::Watch if revision.0 - here.0 > FAR_BEHIND => Next::List { rewound: false },
            Next::Watch => match self.is_followed(here).await {
                Ok(true) => Next::Watch,
                Ok(false) | Err(Error::Future { .. }) => Next::List { rewound: true },
                Err(Error::Compacted { .. }) => Next::List { rewound: false },
                Err(error) => return Err(error),
            },
        })
    }

    async fn wait(&mut self, error: &Error) {
        self.cache.set_disconnected(error);
        self.outage.goes_on(timer_now(), error);
        tokio::time::sleep(self.backoff.next()).await;
    }
}

/// The key of a change, and what it left there.
fn parts(change: &WatchEvent) -> (&str, Option<&KeyValue>) {
    match change {
        WatchEvent::Put(kv) => (&kv.key, Some(kv)),
        WatchEvent::Delete { key, .. } => (key, None),
    }
}

/// Whether a key is as one change left it. Revisions are issued again after a rewind, so the value counts as well.
fn is_same(found: Option<&KeyValue>, left: Option<&KeyValue>) -> bool {
    let content = |kv: &KeyValue| (kv.mod_revision, kv.value.clone());
    found.map(content) == left.map(content)
}

/// The longest that a watcher waits between two attempts.
pub const MAX_WAIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::key::Key;
    use crate::embedded::memory::Memory;
    use std::sync::Mutex;

    struct Watched {
        store: Memory,
        cache: Arc<SharedCache>,
        seen: Arc<Mutex<Vec<Key>>>,
        _subscription: super::super::shared::Subscription,
        _stop: watch::Sender<bool>,
    }

    fn watched() -> Watched {
        let store = Memory::new();
        let cache = SharedCache::new("/skep/");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let keep = seen.clone();
        let subscription =
            cache.subscribe(move |_, keys| keep.lock().unwrap().extend(keys.iter().cloned()));
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(Watcher::new(Arc::new(store.clone()), cache.clone(), 7).run(stopped));
        Watched {
            store,
            cache,
            seen,
            _subscription: subscription,
            _stop: stop,
        }
    }

    impl Watched {
        fn put(&self, name: &str, value: &str) {
            self.store.put(&format!("/skep/nodes/{name}"), value);
        }

        /// Waits until the cache holds exactly these nodes' texts.
        async fn shows(&self, nodes: &[&str]) {
            let names = || {
                self.cache.read(|cache| {
                    cache
                        .users
                        .keys()
                        .map(|object| object.name.clone())
                        .collect::<Vec<_>>()
                })
            };
            for _ in 0..2_000 {
                if names() == nodes {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("the cache shows {:?}, not {nodes:?}", names());
        }

        fn rewound(&self) -> bool {
            self.cache.read(|cache| cache.rewound_in.is_some())
        }

        async fn shows_rewound(&self) {
            let mut progress = self.cache.follow();
            while !self.rewound() {
                let next = tokio::time::timeout(Duration::from_secs(60), progress.changed());
                next.await.expect("news in a minute").expect("a cache");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn s2_follows_the_store_and_goes_on_after_a_cut_without_telling_twice() {
        let world = watched();
        world.put("a", "1");
        world.shows(&["a"]).await;
        world.store.cut_watches();
        world.put("b", "1");
        world.shows(&["a", "b"]).await;
        assert_eq!(world.seen.lock().unwrap().len(), 2);
        assert!(!world.rewound());
    }

    #[tokio::test(start_paused = true)]
    async fn s2_a_delete_that_was_compacted_away_meanwhile_is_not_missed() {
        let world = watched();
        world.put("a", "1");
        world.put("b", "1");
        world.shows(&["a", "b"]).await;
        world.store.set_reachable(false);
        world.store.cut_watches();
        world.store.delete("/skep/nodes/a");
        world.put("c", "1");
        let head = world.store.revision();
        world.store.set_reachable(true);
        world.store.compact(head).await.expect("the store compacts");
        world.shows(&["b", "c"]).await;
        assert!(
            world
                .seen
                .lock()
                .unwrap()
                .iter()
                .filter(|key| key.to_string() == "nodes/a")
                .count()
                == 2
        );
    }

    #[tokio::test(start_paused = true)]
    async fn s6_a_store_that_went_back_is_noticed_before_it_is_watched() {
        let world = watched();
        world.put("a", "1");
        let backup = world.store.revision();
        world.put("b", "1");
        world.shows(&["a", "b"]).await;
        world.store.rewind(backup).expect("the backup is there");
        world.shows(&["a"]).await;
        assert!(world.rewound());
        // Until the cluster's record tells of a new life, also after further changes.
        world.put("c", "1");
        world.shows(&["a", "c"]).await;
        assert!(world.rewound());
        let record = r#"{"id":"0123456789abcdefghijklmno","incarnation":1,"format":1}"#;
        world.store.put("/skep/cluster", record);
        world.put("d", "1");
        world.shows(&["a", "c", "d"]).await;
        assert!(!world.rewound());
    }
    /// The last change that the cache knows is lost, and others have the store past its revision before it looks.
    #[tokio::test(start_paused = true)]
    async fn s6_a_store_that_went_back_and_was_written_to_since_is_noticed() {
        for is_deletion in [false, true] {
            let world = watched();
            world.put("a", "1");
            world.shows(&["a"]).await;
            let backup = world.store.revision();
            match is_deletion {
                true => _ = world.store.delete("/skep/nodes/a"),
                false => world.put("b", "1"),
            }
            let left: &[&str] = if is_deletion { &[] } else { &["a", "b"] };
            world.shows(left).await;
            world.store.rewind(backup).expect("the backup is there");
            for name in ["c", "d", "e", "f"] {
                world.put(name, "2");
            }
            world.shows(&["a", "c", "d", "e", "f"]).await;
            assert!(world.rewound());
        }
    }

    /// The last change was the deletion of what neither history has: that proves nothing, what stood before it does.
    #[tokio::test(start_paused = true)]
    async fn s6_a_deletion_of_what_both_histories_lack_is_no_proof() {
        let world = watched();
        world.put("a", "1");
        world.shows(&["a"]).await;
        let backup = world.store.revision();
        world.put("b", "1");
        world.put("c", "1");
        world.shows(&["a", "b", "c"]).await;
        world.store.delete("/skep/nodes/c");
        world.shows(&["a", "b"]).await;
        world.store.rewind(backup).expect("the backup is there");
        for name in ["d", "e", "f", "g"] {
            world.put(name, "2");
        }
        world.shows(&["a", "d", "e", "f", "g"]).await;
        assert!(world.rewound());
    }

    #[tokio::test(start_paused = true)]
    async fn s6_a_doubt_that_nobody_shares_ends_and_everything_is_looked_at() {
        let world = watched();
        world.put("a", "1");
        let backup = world.store.revision();
        world.put("b", "1");
        world.shows(&["a", "b"]).await;
        world.store.rewind(backup).expect("the backup is there");
        world.shows_rewound().await;
        world.seen.lock().unwrap().clear();
        tokio::time::sleep(DOUBT + Duration::from_secs(1)).await;
        assert!(!world.rewound());
        assert_eq!(world.seen.lock().unwrap().len(), 1);
    }

    /// The same change comes again at the same revision, with another value.
    #[tokio::test(start_paused = true)]
    async fn s6_what_was_written_anew_at_the_same_revision_is_noticed() {
        let world = watched();
        world.put("a", "1");
        let backup = world.store.revision();
        world.put("b", "1");
        world.shows(&["a", "b"]).await;
        world.store.rewind(backup).expect("the backup is there");
        world.put("b", "2");
        world.shows_rewound().await;
    }

    /// A compaction has taken the proof away: the listing itself tells.
    #[tokio::test(start_paused = true)]
    async fn s6_a_listing_that_has_the_newest_change_otherwise_is_of_a_store_that_went_back() {
        let world = watched();
        world.put("a", "1");
        let backup = world.store.revision();
        world.put("a", "2");
        world.put("a", "3");
        world.shows(&["a"]).await;
        world.store.rewind(backup).expect("the backup is there");
        for name in ["c", "d", "e"] {
            world.put(name, "2");
        }
        let head = world.store.revision();
        world.store.compact(head).await.expect("the store compacts");
        world.shows(&["a", "c", "d", "e"]).await;
        assert!(world.rewound());
    }
}
