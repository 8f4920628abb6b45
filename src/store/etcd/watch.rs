//! A watch on etcd as a stream of whole revisions.
//!
//! The watch asks for fragments, so that etcd need not hold a huge answer (a thousand revisions of replay) in one
//! message, and joins them here: a batch goes out when its last fragment is in. Progress answers are not asked for, neither
//! for correctness (rule S3) nor as a sign of life: from 3.5.8 on etcd answers no request while the watch waits for a
//! revision that is still to come, which is the ordinary state of a watch that was resumed.
//!
//! A batch brings the reader to the revision of its last event, not to that of the header: while a watch catches up,
//! etcd puts its newest revision there although later answers are still to come.

use super::convert::{first_key, key_value, text};
use super::endpoints::Connection;
use super::failure::{Failure, chain, denied, of_text};
use crate::api::unit::Revision;
use crate::store::{
    Error, MAX_MESSAGE, WatchBatch, WatchEvent, WatchRequest, WatchStream, prefix_end,
};
use etcd_client::proto::PbEvent;
use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream as Responses};
use futures::stream;
use tokio::sync::watch;

/// Opens a watch and waits until etcd has confirmed it.
pub(super) async fn open(
    connection: Connection,
    request: &WatchRequest,
) -> Result<WatchStream, Failure> {
    let options = WatchOptions::new()
        .with_range(prefix_end(&request.prefix))
        .with_start_revision(request.start.0)
        .with_fragment();
    let mut watches = connection
        .client
        .watch_client()
        .max_decoding_message_size(MAX_MESSAGE);
    let mut responses = watches
        .watch(first_key(&request.prefix), Some(options))
        .await?;
    let Some(first) = responses.message().await? else {
        return Err(Failure::Ambiguous(ended("the server closed the stream")));
    };
    if first.canceled() {
        return Err(refused(&first));
    }
    let feed = Feed {
        responses,
        abandoned: connection.abandoned,
        start: request.start,
        events: Vec::new(),
        over: false,
    };
    Ok(Box::pin(stream::unfold(feed, Feed::next)))
}

struct Feed {
    responses: Responses,
    abandoned: watch::Receiver<bool>,
    start: Revision,
    /// Fragments of a batch whose end is still to come.
    events: Vec<WatchEvent>,
    over: bool,
}

impl Feed {
    async fn next(mut self) -> Option<(Result<WatchBatch, Error>, Self)> {
        if self.over {
            return None;
        }
        let mut abandoned = self.abandoned.clone();
        let batch = tokio::select! {
            biased;
            batch = self.batch() => batch,
            () = until_true(&mut abandoned) => Err(ended("the endpoint stopped answering")),
        };
        self.over = batch.is_err();
        Some((batch, self))
    }

    async fn batch(&mut self) -> Result<WatchBatch, Error> {
        loop {
            let mut response = match self.responses.message().await {
                Ok(Some(response)) => response,
                Ok(None) => return Err(ended("the server closed the stream")),
                Err(error) => return Err(ended(&chain(&error))),
            };
            if response.canceled() {
                return Err(self.canceled(&response));
            }
            let events = std::mem::take(&mut response.0.events);
            self.events.extend(events.into_iter().filter_map(event));
            if response.0.fragment {
                continue;
            }
            let events = std::mem::take(&mut self.events);
            if let Some(last) = events.last() {
                let revision = revision_of(last);
                return Ok(WatchBatch { revision, events });
            }
        }
    }

    fn canceled(&self, response: &WatchResponse) -> Error {
        if response.compact_revision() > 0 {
            return Error::Compacted {
                asked: self.start,
                oldest: Revision(response.compact_revision()),
            };
        }
        match of_text(response.cancel_reason()) {
            Some(failure) => failure.into(),
            None => ended(response.cancel_reason()),
        }
    }
}

/// etcd confirms and cancels in one answer what it refuses. 3.4 says "permission denied" also for a token that it no
/// longer knows, so that a new token is worth one try.
fn refused(response: &WatchResponse) -> Failure {
    let reason = response.cancel_reason();
    if reason.contains("permission denied") {
        return Failure::Stale(denied(reason));
    }
    of_text(reason).unwrap_or_else(|| Failure::Definite(ended(reason)))
}

fn event(event: PbEvent) -> Option<WatchEvent> {
    let kind = event.r#type();
    let kv = event.kv?;
    Some(match kind {
        EventType::Put => WatchEvent::Put(key_value(kv)),
        EventType::Delete => WatchEvent::Delete {
            key: text(kv.key),
            revision: Revision(kv.mod_revision),
        },
    })
}

fn revision_of(event: &WatchEvent) -> Revision {
    match event {
        WatchEvent::Put(kv) => kv.mod_revision,
        WatchEvent::Delete { revision, .. } => *revision,
    }
}

/// Waits for ever if the connection's owner is gone: then nobody can say so, and the transport's pings remain.
async fn until_true(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|value| *value).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn ended(message: &str) -> Error {
    Error::WatchEnded {
        message: message.into(),
    }
}
