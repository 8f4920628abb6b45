//! Raw gRPC calls of etcd's API: whole requests out, whole answers in.

use futures::Stream;
use prost::Message;
use std::time::Duration;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// How long a call may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A connection to a server, made with the first call.
#[derive(Clone)]
pub(crate) struct Raw(Channel);

impl Raw {
    pub(crate) fn new(address: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Self(endpoint.connect_lazy())
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.0.clone()).max_decoding_message_size(usize::MAX);
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(grpc)
    }

    /// One request, one answer. `path` is `Service/Method`.
    pub(crate) async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let work = async {
            let mut grpc = self.ready().await?;
            let codec = ProstCodec::<Q, A>::default();
            let answer = grpc.unary(Request::new(request), full(path), codec).await?;
            Ok(answer.into_inner())
        };
        let done = tokio::time::timeout(DEADLINE, work).await;
        done.unwrap_or_else(|_| panic!("{path}: no answer within {DEADLINE:?}"))
    }

    /// A stream of requests, a stream of answers.
    pub(crate) async fn stream<Q, A>(
        &self,
        path: &'static str,
        requests: impl Stream<Item = Q> + Send + 'static,
    ) -> Result<Streaming<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.ready().await?;
        let codec = ProstCodec::<Q, A>::default();
        let answers = grpc
            .streaming(Request::new(requests), full(path), codec)
            .await?;
        Ok(answers.into_inner())
    }
}

fn full(path: &str) -> PathAndQuery {
    format!("/etcdserverpb.{path}").parse().unwrap()
}
