//! The cache as a process shares it: one writer (the watcher), many readers, and who wants to know of changes.

use super::cache::{Cache, Facets};
use crate::api::key::Key;
use crate::api::name::NodeName;
use crate::api::unit::{Incarnation, Revision};
use crate::planted::{Bug, planted};
use crate::store::{KeyValue, WatchBatch};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use tokio::sync::{oneshot, watch};

type Subscriber = Box<dyn Fn(&Cache, &[Key]) + Send + Sync>;

/// A cache with its readers. No lock is held while anything waits.
pub struct SharedCache {
    prefix: String,
    cache: RwLock<Cache>,
    progress: watch::Sender<Progress>,
    subscribers: Mutex<Subscribers>,
    waiters: Mutex<Waiters>,
    /// Why the store was not reached last.
    trouble: Mutex<Option<String>>,
}

/// Who waits for which revision. Thousands do while a large service starts: each is woken once, when its own is there,
/// and not at every step on the way.
#[derive(Default)]
struct Waiters {
    next: u64,
    all: BTreeMap<(Revision, u64), Box<dyn FnOnce() + Send>>,
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
    /// Those that ask for one node's keys only.
    of_nodes: BTreeMap<(NodeName, u64), Arc<Subscriber>>,
}

/// Ends the subscription when dropped.
pub struct Subscription {
    id: u64,
    node: Option<NodeName>,
    shared: Arc<SharedCache>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut subscribers = self.shared.subscribers();
        match self.node.take() {
            Some(node) => subscribers.of_nodes.remove(&(node, self.id)),
            None => subscribers.all.remove(&self.id),
        };
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
            waiters: Mutex::new(Waiters::default()),
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
        let (sender, receiver) = oneshot::channel();
        self.when_reached(revision, epoch, move || {
            // Whoever waited may have been dropped meanwhile.
            let _ = sender.send(());
        });
        // The sender leaves the list only by waking.
        let _ = receiver.await;
    }

    /// Calls `then` once the cache shows a write of one's own at `revision`, or the store was rewound since `epoch`. It must
    /// not block, nor ask this cache for anything.
    pub(super) fn when_reached(
        &self,
        revision: Revision,
        epoch: u64,
        then: impl FnOnce() + Send + 'static,
    ) {
        {
            let mut waiters = self.waiters();
            // Looked at under the lock that wakers take after they have moved on: nothing falls between.
            let progress = self.progress();
            let is_there = progress.revision >= revision || planted(Bug::PlansOnStaleView);
            if !is_there && progress.epoch == epoch {
                let id = waiters.next;
                waiters.next += 1;
                waiters.all.insert((revision, id), Box::new(then));
                return;
            }
        }
        then();
    }

    /// Waits until the cache shows all that was written before a right began at `since`: who plans on less takes for missing
    /// what its predecessor wrote. A listing that began before is not enough, unless the store went back: whether it did is
    /// looked at when the watch is made anew, so a cache that follows nothing is waited for, whatever revision it has.
    pub async fn caught_up(&self, since: Revision) {
        let mut progress = self.progress.subscribe();
        // The sender lives as long as `self`: waiting cannot fail.
        let _ = progress.wait_for(|progress| progress.is_connected).await;
        for _ in 0..2 {
            let epoch = self.progress().epoch;
            self.reached(since, epoch).await;
            let progress = self.progress();
            if progress.epoch == epoch || progress.revision >= since {
                return;
            }
        }
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
            node: None,
            shared: self.clone(),
        }
    }

    /// The same for changes of the tasks of one node (their records, bindings and statuses), and of the cluster: each of
    /// many engines' drivers asks for its own share, and which that is, is found once for all.
    pub fn subscribe_to_node(
        self: &Arc<Self>,
        node: NodeName,
        subscriber: impl Fn(&Cache, &[Key]) + Send + Sync + 'static,
    ) -> Subscription {
        let mut subscribers = self.subscribers();
        let id = subscribers.next;
        subscribers.next += 1;
        let subscriber: Subscriber = Box::new(subscriber);
        let key = (node.clone(), id);
        subscribers.of_nodes.insert(key, Arc::new(subscriber));
        Subscription {
            id,
            node: Some(node),
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
            let mut keys = cache.replace(&self.prefix, kvs, revision);
            if rewound {
                // Revisions are issued again: what has the same one may be something else.
                keys.extend(cache.keys());
            }
            cache.rewound_in = suspected.filter(|before| cache.incarnation() <= *before);
            keys
        };
        self.progress.send_modify(|progress| {
            progress.revision = revision;
            progress.epoch += 1;
            progress.is_connected = true;
        });
        // A new epoch ends every wait.
        self.wake(Revision(i64::MAX));
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
        self.wake(batch.revision);
    }

    /// The store that was seen to go back is taken as it is: nobody began another life of it.
    pub(super) fn trust(&self) {
        let keys = {
            let mut cache = self
                .cache
                .write()
                .expect("no reader or writer of the cache panics");
            cache.rewound_in = None;
            // What was held back concerns every object.
            cache.keys().into_iter().collect::<Vec<_>>()
        };
        self.tell(&keys);
    }

    /// The store is followed (again).
    pub(super) fn set_connected(&self) {
        self.progress
            .send_if_modified(|progress| !std::mem::replace(&mut progress.is_connected, true));
    }

    /// Wakes who waits for this revision or an earlier one.
    fn wake(&self, revision: Revision) {
        let mut waiters = self.waiters();
        while let Some(first) = waiters.all.first_entry() {
            if first.key().0 > revision {
                return;
            }
            first.remove()();
        }
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters
            .lock()
            .expect("no code panics while it holds the waiters")
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
        let (subscribers, of_nodes) = {
            let subscribers = self.subscribers();
            let all: Vec<_> = subscribers.all.values().cloned().collect();
            (all, subscribers.of_nodes.clone())
        };
        self.read(|cache| {
            for subscriber in subscribers {
                subscriber(cache, keys);
            }
            let shares = match of_nodes.is_empty() {
                true => BTreeMap::new(),
                false => shares(cache, keys),
            };
            for ((node, _), subscriber) in of_nodes {
                match shares.get(&node) {
                    Some(share) => subscriber(cache, share),
                    None if keys.contains(&Key::Cluster) => subscriber(cache, &[Key::Cluster]),
                    None => {}
                }
            }
        });
    }

    fn subscribers(&self) -> MutexGuard<'_, Subscribers> {
        self.subscribers
            .lock()
            .expect("no code panics while it holds the subscribers")
    }
}

/// What concerns each node's tasks: of a task's record the node that it is bound to, else those that it was seen on.
fn shares(cache: &Cache, keys: &[Key]) -> BTreeMap<NodeName, Vec<Key>> {
    let mut shares: BTreeMap<NodeName, Vec<Key>> = BTreeMap::new();
    let mut add = |node: &NodeName, key: &Key| match shares.get_mut(node) {
        Some(share) => share.push(key.clone()),
        None => {
            shares.insert(node.clone(), vec![key.clone()]);
        }
    };
    for key in keys {
        match key {
            Key::Binding(node, _) | Key::TaskStatus(node, _) => add(node, key),
            Key::Task(_, task) => match cache.facets(task) {
                Some(Facets {
                    binding: Some((node, _)),
                    ..
                }) => add(node, key),
                Some(facets) => facets.statuses.iter().for_each(|(node, _)| add(node, key)),
                None => {}
            },
            _ => {}
        }
    }
    if keys.contains(&Key::Cluster) {
        for share in shares.values_mut() {
            share.push(Key::Cluster);
        }
    }
    shares
}

impl Cache {
    /// The store's life as the cluster's record says it; 0 where there is no record.
    pub fn incarnation(&self) -> Incarnation {
        self.cluster
            .as_ref()
            .map_or(Incarnation(0), |cluster| cluster.incarnation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn batch(revision: i64) -> WatchBatch {
        WatchBatch {
            revision: Revision(revision),
            events: Vec::new(),
        }
    }

    #[test]
    fn a_wait_ends_when_its_own_revision_is_there() {
        let shared = SharedCache::new("/skep/");
        let mut early = Box::pin(shared.reached(Revision(5), 0));
        let mut late = Box::pin(shared.reached(Revision(7), 0));
        assert!(early.as_mut().now_or_never().is_none());
        assert!(late.as_mut().now_or_never().is_none());
        shared.advance(&batch(4));
        assert!(early.as_mut().now_or_never().is_none());
        shared.advance(&batch(6));
        assert!(early.as_mut().now_or_never().is_some());
        assert!(late.as_mut().now_or_never().is_none());
        shared.advance(&batch(7));
        assert!(late.as_mut().now_or_never().is_some());
        assert!(shared.reached(Revision(3), 0).now_or_never().is_some());
    }

    #[test]
    fn a_new_listing_ends_every_wait() {
        let shared = SharedCache::new("/skep/");
        let mut waiting = Box::pin(shared.reached(Revision(5), 0));
        assert!(waiting.as_mut().now_or_never().is_none());
        shared.replace(&[], Revision(2), false);
        assert!(waiting.as_mut().now_or_never().is_some());
        assert!(shared.reached(Revision(5), 0).now_or_never().is_some());
    }
}
