//! The end of a term that nobody ended: its key went with the store's past.
//!
//! A leader that has nothing to write would never learn from its fence that a restored store lacks its key, and lead on
//! while nobody is seen to lead. So whoever holds a right watches its key. Its lease counts as well: a restored store issues
//! revisions again, and another's claim of the same key may have the very revision of the one that was lost.

use super::cache::Cache;
use super::changes::Changes;
use super::context::Context;
use super::outage;
use crate::api::key::Key;
use crate::api::unit::{LeaseId, Revision, Term};
use crate::store::{Error, RangeRequest};
use std::time::Duration;

/// How soon a store that did not answer is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Returns once the key that gives the right of `term`, under `lease`, is certainly not in the store any more; says so.
pub async fn over(context: &Context, who: &str, key: &Key, term: Term, lease: LeaseId) -> String {
    let created = Revision(term.0);
    let right = (created, lease);
    let cache = &context.cache;
    let watched = key.clone();
    let changes = Changes::of(cache, move |changed| *changed == watched);
    // Before that the cache may be of a time before the term, and lacks the key for that.
    cache.reached(created, cache.progress().epoch).await;
    loop {
        if !cache.read(|cache| is_shown(cache, key, right)) {
            match is_stored(context, key, right).await {
                Ok(true) => {}
                Ok(false) => return format!("its key {key} is gone from the store"),
                Err(error) => {
                    outage::failed(who, &format!("looking for {key}"), &error);
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            }
        }
        changes.next().await;
    }
}

fn is_shown(cache: &Cache, key: &Key, right: (Revision, LeaseId)) -> bool {
    let holder = match key {
        Key::Election(controller, lease) => cache.elections.get(&(controller.clone(), *lease)),
        Key::Shard(name) => cache.shards.get(name),
        _ => None,
    };
    holder.is_some_and(|holder| (holder.create_revision, holder.lease) == right)
}

/// Asked of the store itself: a cache may lag.
async fn is_stored(
    context: &Context,
    key: &Key,
    right: (Revision, LeaseId),
) -> Result<bool, Error> {
    let request = RangeRequest::key(key.full(context.cache.prefix()));
    let found = context.kv.range(request).await?;
    Ok(found
        .kvs
        .iter()
        .any(|kv| (kv.create_revision, kv.lease) == right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::memory::Memory;
    use crate::runtime::fixture::context;
    use crate::runtime::plan::encode;
    use crate::sim::clock::SimClock;
    use crate::store::election;
    use std::sync::Arc;
    use tokio::time::timeout;

    const KEY: &str = "/skep/shards/000";

    /// Waits a while: whether the term is over.
    async fn is_over(over: &mut (impl Future<Output = String> + Unpin)) -> bool {
        timeout(Duration::from_secs(60), over).await.is_ok()
    }

    fn list(context: &Context, store: &Memory, rewound: bool) {
        let kvs = store.dump("/skep/");
        context.cache.replace(&kvs, store.revision(), rewound);
    }

    fn claim(context: &Context, store: &Memory) -> Term {
        Term(store.put(KEY, encode(&context.holder())).0)
    }

    #[tokio::test(start_paused = true)]
    async fn s6_a_term_is_over_once_its_key_is_gone_or_is_anothers() {
        for is_taken in [false, true] {
            let store = Memory::new();
            let context = context(&store, Arc::new(SimClock::new(7)));
            let backup = store.put("/skep/nodes/a", "x");
            let term = claim(&context, &store);
            list(&context, &store, false);
            let key = Key::Shard("000".into());
            let mut over = Box::pin(over(&context, "test", &key, term, LeaseId(0)));
            assert!(!is_over(&mut over).await);
            store.rewind(backup).expect("the backup is there");
            if is_taken {
                // At the very revision of the first claim.
                let lease = context.kv.grant(Duration::from_secs(600)).await;
                let lease = lease.expect("a lease").id;
                let value = encode(&context.holder());
                let claimed = election::claim(&*context.kv, KEY, lease, value).await;
                assert_eq!(claimed, Ok(election::Claim::Ours(term)));
            }
            list(&context, &store, true);
            assert!(is_over(&mut over).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cache_of_before_the_term_ends_nothing() {
        let store = Memory::new();
        let context = context(&store, Arc::new(SimClock::new(7)));
        let before = store.put("/skep/nodes/a", "x");
        let term = claim(&context, &store);
        let key = Key::Shard("000".into());
        let mut over = Box::pin(over(&context, "test", &key, term, LeaseId(0)));
        assert!(!is_over(&mut over).await, "it waits for the cache");
        context.cache.replace(&[], before, false);
        assert!(
            !is_over(&mut over).await,
            "the listing began before the claim"
        );
        list(&context, &store, false);
        assert!(!is_over(&mut over).await);
        store.delete(KEY);
        list(&context, &store, false);
        assert!(is_over(&mut over).await);
    }
}
