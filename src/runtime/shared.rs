//! The cache as a process shares it: one writer (the watcher), many readers, and who wants to know of changes.

use super::cache::Cache;
use crate::api::key::Key;
use crate::api::unit::{Incarnation, Revision};
use crate::store::{KeyValue, WatchBatch};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};
use tokio::sync::watch;

type Subscriber = Box<dyn Fn(&Cache, &[Key]) + Send + Sync>;

/// A cache with its readers. No lock is held while anything waits.
pub struct SharedCache {
    prefix: String,
    cache: RwLock<Cache>,
    progress: watch::Sender<Progress>,
    subscribers: Mutex<Subscribers>,
    /// Why the store was not reached last.
    trouble: Mutex<Option<String>>,
}

/// How far the cache is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The revision that it has reached.
    pub revision: Revision,
    /// Counts the lists after which nothing of before counts: a revision of an earlier epoch is never reached.
    pub epoch: u64,
    /// Whether it follows the store now.
    pub is_connected: bool,
}

#[derive(Default)]
struct Subscribers {
    next: u64,
    all: BTreeMap<u64, Arc<Subscriber>>,
}

/// Ends the subscription when dropped.
pub struct Subscription {
    id: u64,
    shared: Arc<SharedCache>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.subscribers().all.remove(&self.id);
    }
}

impl SharedCache {
    /// An empty cache of the keys below `prefix`.
    pub fn new(prefix: &str) -> Arc<Self> {
        Arc::new(Self {
            prefix: prefix.to_owned(),
            cache: RwLock::new(Cache::default()),
            progress: watch::channel(Progress::default()).0,
            subscribers: Mutex::new(Subscribers::default()),
            trouble: Mutex::new(None),
        })
    }

    /// The prefix of the keys in the store.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Reads the cache at one revision.
    pub fn read<R>(&self, reader: impl FnOnce(&Cache) -> R) -> R {
        reader(
            &self
                .cache
                .read()
                .expect("no reader or writer of the cache panics"),
        )
    }

    /// How far the cache is.
    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Follows how far the cache is.
    pub fn follow(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Waits until the cache has been filled once.
    pub async fn filled(&self) {
        let mut progress = self.progress.subscribe();
        // The sender lives as long as `self`: waiting cannot fail.
        let _ = progress.wait_for(|progress| progress.epoch > 0).await;
    }

    /// Waits until the cache shows a write of one's own at `revision`, or the store was rewound since `epoch`.
    pub async fn reached(&self, revision: Revision, epoch: u64) {
        let mut progress = self.progress.subscribe();
        let _ = progress
            .wait_for(|progress| progress.revision >= revision || progress.epoch != epoch)
            .await;
    }

    /// Calls `subscriber` after every change, until the subscription is dropped. It must not block.
    pub fn subscribe(
        self: &Arc<Self>,
        subscriber: impl Fn(&Cache, &[Key]) + Send + Sync + 'static,
    ) -> Subscription {
        let mut subscribers = self.subscribers();
        let id = subscribers.next;
        subscribers.next += 1;
        subscribers.all.insert(id, Arc::new(Box::new(subscriber)));
        Subscription {
            id,
            shared: self.clone(),
        }
    }

    /// Takes in a listing; `rewound` says that the store is not the one that was followed before (rule S6).
    pub(super) fn replace(&self, kvs: &[KeyValue], revision: Revision, rewound: bool) {
        let keys = {
            let mut cache = self
                .cache
                .write()
                .expect("no reader or writer of the cache panics");
            let was = cache.incarnation();
            let suspected = cache.rewound_in.or(rewound.then_some(was));
            let keys = cache.replace(&self.prefix, kvs, revision);
            cache.rewound_in = suspected.filter(|before| cache.incarnation() <= *before);
            keys
        };
        self.progress.send_modify(|progress| {
            progress.revision = revision;
            progress.epoch += 1;
            progress.is_connected = true;
        });
        self.tell(&keys);
    }

    /// Takes in a batch of changes.
    pub(super) fn advance(&self, batch: &WatchBatch) {
        let keys = {
            let mut cache = self
                .cache
                .write()
                .expect("no reader or writer of the cache panics");
            let keys = cache.advance(&self.prefix, batch);
            cache.rewound_in = cache
                .rewound_in
                .filter(|before| cache.incarnation() <= *before);
            keys
        };
        if !keys.is_empty() {
            self.tell(&keys);
        }
        self.progress.send_modify(|progress| {
            progress.revision = progress.revision.max(batch.revision);
            progress.is_connected = true;
        });
    }

    /// The store is followed (again).
    pub(super) fn set_connected(&self) {
        self.progress
            .send_if_modified(|progress| !std::mem::replace(&mut progress.is_connected, true));
    }

    /// The store is not followed now. Told also if nothing changes but the reason.
    pub(super) fn set_disconnected(&self, why: &impl ToString) {
        let why = Some(why.to_string());
        let is_news = std::mem::replace(&mut *self.lock_trouble(), why.clone()) != why;
        self.progress.send_if_modified(|progress| {
            std::mem::replace(&mut progress.is_connected, false) || is_news
        });
    }

    /// Why the store is not followed now; none: it is, or nobody tried yet.
    pub fn trouble(&self) -> Option<String> {
        let is_connected = self.progress().is_connected;
        self.lock_trouble().clone().filter(|_| !is_connected)
    }

    fn lock_trouble(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.trouble
            .lock()
            .expect("no code panics while it holds the reason")
    }

    fn tell(&self, keys: &[Key]) {
        let subscribers: Vec<_> = self.subscribers().all.values().cloned().collect();
        self.read(|cache| {
            for subscriber in subscribers {
                subscriber(cache, keys);
            }
        });
    }

    fn subscribers(&self) -> std::sync::MutexGuard<'_, Subscribers> {
        self.subscribers
            .lock()
            .expect("no code panics while it holds the subscribers")
    }
}

impl Cache {
    /// The store's life as the cluster's record says it; 0 where there is no record.
    pub fn incarnation(&self) -> Incarnation {
        self.cluster
            .as_ref()
            .map_or(Incarnation(0), |cluster| cluster.incarnation)
    }
}
