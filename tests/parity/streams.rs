//! A watch stream: requests go in, and all answers are kept.

use crate::raw::Raw;
use etcd_client::proto::{PbWatchRequest, PbWatchRequestUnion, PbWatchResponse};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// One stream; dropped, its client is gone.
pub(crate) struct WatchStream {
    requests: UnboundedSender<PbWatchRequest>,
    answers: Arc<Mutex<Vec<PbWatchResponse>>>,
    reader: JoinHandle<()>,
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl WatchStream {
    /// Opens a stream. etcd answers it with the first request only, so nothing is waited for.
    pub(crate) fn open(raw: &Raw) -> Self {
        let (requests, outgoing) = unbounded();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let (raw, kept) = (raw.clone(), Arc::clone(&answers));
        let reader = tokio::spawn(async move {
            let Ok(mut stream) = raw.stream("Watch/Watch", outgoing).await else {
                return;
            };
            while let Ok(Some(answer)) = stream.message().await {
                kept.lock().unwrap().push(answer);
            }
        });
        Self {
            requests,
            answers,
            reader,
        }
    }

    pub(crate) fn send(&self, request: PbWatchRequestUnion) {
        let request = PbWatchRequest {
            request_union: Some(request),
        };
        self.requests.unbounded_send(request).unwrap();
    }

    /// All answers so far.
    pub(crate) fn answers(&self) -> Vec<PbWatchResponse> {
        self.answers.lock().unwrap().clone()
    }
}
