//! Changes: a wait for changes of some keys among all.
//!
//! Who follows the cache's progress is woken by each of the thousands of changes while a large service starts; who asks for
//! some keys only by theirs.

use super::shared::{SharedCache, Subscription};
use crate::api::key::Key;
use std::sync::Arc;
use tokio::sync::Notify;

/// Tells one waiter of changes since it last looked.
pub struct Changes {
    changed: Arc<Notify>,
    _subscription: Subscription,
}

impl Changes {
    /// Changes of the keys that `matters` names, from now on.
    pub fn of(
        cache: &Arc<SharedCache>,
        matters: impl Fn(&Key) -> bool + Send + Sync + 'static,
    ) -> Self {
        let changed = Arc::new(Notify::new());
        let told = changed.clone();
        let subscription = cache.subscribe(move |_, keys| {
            if keys.iter().any(&matters) {
                told.notify_one();
            }
        });
        Self {
            changed,
            _subscription: subscription,
        }
    }

    /// Waits until one of the keys has changed since the last call returned.
    ///
    /// Safe to drop while it waits.
    pub async fn next(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::unit::Revision;
    use crate::store::{WatchBatch, WatchEvent};
    use futures::FutureExt;

    fn change(cache: &SharedCache, key: &str, revision: i64) {
        let revision = Revision(revision);
        let event = WatchEvent::Delete {
            key: format!("/skep/{key}"),
            revision,
        };
        cache.advance(&WatchBatch {
            revision,
            events: vec![event],
        });
    }

    #[test]
    fn only_what_matters_is_news_and_what_came_between_two_waits_is_not_lost() {
        let cache = SharedCache::new("/skep/");
        let changes = Changes::of(&cache, |key| matches!(key, Key::Cluster));
        change(&cache, "shards/000", 1);
        assert!(changes.next().now_or_never().is_none());
        change(&cache, "cluster", 2);
        change(&cache, "cluster", 3);
        assert!(changes.next().now_or_never().is_some());
        assert!(changes.next().now_or_never().is_none(), "told once");
        change(&cache, "cluster", 4);
        assert!(changes.next().now_or_never().is_some());
    }
}
