//! The service Watch: one [`Session`] for each stream, with any number of watches.
//!
//! The session runs inside of the answer's stream, so it works only as fast as the client reads: it takes the next news
//! from the history when the last ones are gone. Requests and the timer of progress wait meanwhile, nothing piles up.

use super::failure::status;
use super::watches::{self, Watches};
use super::{Answers, Api};
use crate::embedded::store::Error;
use etcd_client::proto::{PbWatchRequest, PbWatchRequestUnion, PbWatchResponse, PbWatchService};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Interval;
use tonic::{Request, Response, Status, Streaming};

/// How often a watch that asked for it is told the revision when there was nothing else to tell; etcd's own.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(600);

/// So often news are told before requests are looked at: a cancel is not to wait for all of a long history.
const MOST_TOLD: u32 = 16;

#[tonic::async_trait]
impl PbWatchService for Api {
    type WatchStream = Answers<PbWatchResponse>;

    async fn watch(
        &self,
        request: Request<Streaming<PbWatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let session = Session::new(self.clone(), request.into_inner());
        let answers = stream::unfold(session, |mut session| async move {
            let answer = session.next().await?;
            Some((answer, session))
        });
        Ok(Response::new(answers.boxed()))
    }
}

/// One stream of requests and answers.
struct Session {
    /// Requests; a client that closes its side keeps its watches, as in etcd.
    requests: BoxStream<'static, Result<PbWatchRequest, Status>>,
    watches: Watches,
    /// Answers that are ready to go.
    ready: VecDeque<PbWatchResponse>,
    /// How often news were told since requests were looked at.
    told: u32,
    progress: Interval,
    stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What happens next on a stream.
enum Step {
    Request(Result<PbWatchRequest, Status>),
    News,
    Progress,
    Stop,
}

impl Session {
    fn new(api: Api, requests: Streaming<PbWatchRequest>) -> Self {
        let mut progress = tokio::time::interval(PROGRESS_INTERVAL);
        // The first tick is at once: it would tell nobody anything.
        progress.reset();
        Self {
            requests: requests.chain(stream::pending()).boxed(),
            stopping: Box::pin(api.stopping()),
            watches: Watches::new(api),
            ready: VecDeque::new(),
            told: 0,
            progress,
        }
    }

    /// The next answer; none when the stream is over.
    async fn next(&mut self) -> Option<Result<PbWatchResponse, Status>> {
        loop {
            if let Some(answer) = self.ready.pop_front() {
                return Some(Ok(answer));
            }
            if self.told < MOST_TOLD
                && let Some(answers) = self.watches.news()
            {
                self.told += 1;
                self.ready = answers;
                continue;
            }
            self.told = 0;
            match self.step().await {
                Step::Request(request) => {
                    if let Err(error) = self.request(request) {
                        return Some(Err(error));
                    }
                }
                Step::News => {}
                Step::Progress => self.ready = self.watches.progress(),
                Step::Stop => return Some(Err(status(Error::Stopping))),
            }
        }
    }

    async fn step(&mut self) -> Step {
        tokio::select! {
            biased;
            Some(request) = self.requests.next() => Step::Request(request),
            () = self.watches.waiting() => Step::News,
            _ = self.progress.tick() => Step::Progress,
            () = &mut self.stopping => Step::Stop,
        }
    }

    /// Takes a request. A broken connection ends the stream.
    fn request(&mut self, request: Result<PbWatchRequest, Status>) -> Result<(), Status> {
        match request?.request_union {
            None => {}
            Some(PbWatchRequestUnion::CreateRequest(wanted)) => {
                let answer = self.watches.create(watches::Request {
                    key: wanted.key,
                    range_end: wanted.range_end,
                    start_revision: wanted.start_revision,
                    progress_notify: wanted.progress_notify,
                    filters: wanted.filters,
                    prev_kv: wanted.prev_kv,
                    watch_id: wanted.watch_id,
                    fragment: wanted.fragment,
                });
                self.ready.push_back(answer);
            }
            Some(PbWatchRequestUnion::CancelRequest(cancelled)) => {
                self.ready.extend(self.watches.cancel(cancelled.watch_id));
            }
            Some(PbWatchRequestUnion::ProgressRequest(_)) => {
                let answers = self.watches.stand();
                self.ready.extend(answers);
            }
        }
        Ok(())
    }
}
