//! The last events of the cluster, as they come. They live beside the prefix, so this lists and watches its own.

use crate::api::cluster::Event;
use crate::api::key::event_prefix;
use crate::api::unit::Revision;
use crate::cli::session::Session;
use crate::store::{self, WatchEvent, WatchRequest};
use futures::StreamExt;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// So many are kept: more than a screen has lines.
const KEPT: usize = 100;

/// Wait before a lost store is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// Follows events until nobody listens any more.
pub(super) async fn follow(session: Session, news: watch::Sender<Vec<Event>>) {
    while !news.is_closed() {
        if let Err(error) = until_lost(&session, &news).await {
            tracing::debug!(%error, "events are read anew");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn until_lost(
    session: &Session,
    news: &watch::Sender<Vec<Event>>,
) -> Result<(), store::Error> {
    let prefix = event_prefix(&session.prefix);
    let (listed, revision) = session.list(&prefix).await?;
    let mut events = BTreeMap::new();
    for kv in &listed {
        put(&mut events, &kv.key, &kv.value);
    }
    news.send_replace(latest(&mut events));
    let start = Revision(revision.0 + 1);
    let mut changes = session.kv.watch(WatchRequest { prefix, start }).await?;
    while let Some(batch) = changes.next().await {
        for change in batch?.events {
            match change {
                WatchEvent::Put(kv) => put(&mut events, &kv.key, &kv.value),
                WatchEvent::Delete { key, .. } => {
                    events.remove(&key);
                }
            }
        }
        if news.send(latest(&mut events)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn put(events: &mut BTreeMap<String, Event>, key: &str, value: &[u8]) {
    // What does not parse is for a newer version.
    if let Ok(event) = serde_json::from_slice(value) {
        events.insert(key.to_owned(), event);
    }
}

/// The last ones, the latest last; older ones are let go.
fn latest(events: &mut BTreeMap<String, Event>) -> Vec<Event> {
    let mut times: Vec<_> = events.values().map(|event| event.last).collect();
    times.sort_unstable();
    if let Some(oldest) = times.len().checked_sub(KEPT).map(|at| times[at]) {
        events.retain(|_, event| event.last >= oldest);
    }
    let mut latest: Vec<Event> = events.values().cloned().collect();
    latest.sort_by_key(|event| event.last);
    latest
}
