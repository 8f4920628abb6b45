//! The service KV.

use super::failure::{refused, status, too_large};
use super::{Answers, Api, convert};
use crate::embedded::check::{check_put, check_shape};
use crate::embedded::mvcc::{Answer, Error as Refusal, Transaction};
use crate::embedded::store::MOST_REQUEST_BYTES;
use etcd_client::proto::{
    PbCompactionRequest, PbCompactionResponse, PbDeleteRequest, PbDeleteResponse, PbKvService,
    PbPutRequest, PbPutResponse, PbRangeRequest, PbRangeResponse, PbRangeStreamResponse,
    PbTxnRequest, PbTxnResponse,
};
use prost::Message;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl PbKvService for Api {
    async fn range(
        &self,
        request: Request<PbRangeRequest>,
    ) -> Result<Response<PbRangeResponse>, Status> {
        let query = convert::query(request.into_inner()).map_err(|error| refused(&error))?;
        let (found, revision) = self.store.range(query).map_err(status)?;
        Ok(Response::new(convert::found(&found, self.header(revision))))
    }

    type RangeStreamStream = Answers<PbRangeStreamResponse>;

    async fn range_stream(
        &self,
        _: Request<PbRangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        Err(super::failure::absent(
            "ranges as streams",
            "read in pages (--limit)",
        ))
    }

    async fn put(&self, request: Request<PbPutRequest>) -> Result<Response<PbPutResponse>, Status> {
        let request = request.into_inner();
        let (size, shows) = (request.encoded_len(), request.prev_kv);
        let put = convert::put(request);
        check_size(size, || check_put(&put))?;
        let done = self.store.put(&put).await.map_err(status)?;
        let previous = match done.answers.first() {
            Some(Answer::Put { previous, .. }) if shows => {
                previous.as_ref().map(convert::key_value)
            }
            _ => None,
        };
        Ok(Response::new(PbPutResponse {
            header: self.header(done.revision),
            prev_kv: previous,
        }))
    }

    async fn delete_range(
        &self,
        request: Request<PbDeleteRequest>,
    ) -> Result<Response<PbDeleteResponse>, Status> {
        let request = request.into_inner();
        let (size, shows) = (request.encoded_len(), request.prev_kv);
        let txn = Transaction::one(convert::delete(request));
        check_size(size, || check_shape(&txn))?;
        let done = self.store.txn(&txn).await.map_err(status)?;
        let gone = match done.answers.first() {
            Some(Answer::Deleted { gone, .. }) => gone.as_slice(),
            _ => &[],
        };
        let header = self.header(done.revision);
        Ok(Response::new(convert::deleted(gone, shows, header)))
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        let request = request.into_inner();
        let size = request.encoded_len();
        let (txn, form) = convert::transaction(request).map_err(|error| refused(&error))?;
        if convert::writes(&txn) {
            check_size(size, || check_shape(&txn))?;
        }
        let done = self.store.txn(&txn).await.map_err(status)?;
        let header = self.header(done.revision);
        Ok(Response::new(convert::done(&done, &form, header)))
    }

    async fn compact(
        &self,
        request: Request<PbCompactionRequest>,
    ) -> Result<Response<PbCompactionResponse>, Status> {
        // Compaction is done when the answer goes out, so `physical` asks for nothing more.
        let compacted = self.store.compact(request.into_inner().revision).await;
        let revision = compacted.map_err(status)?;
        Ok(Response::new(PbCompactionResponse {
            header: self.header(revision),
        }))
    }
}

/// etcd's limit is on what it writes to its log, which is the request and a few bytes. A request that is malformed, too, is
/// told so: etcd looks at its shape first.
fn check_size(size: usize, shape: impl FnOnce() -> Result<(), Refusal>) -> Result<(), Status> {
    if size > MOST_REQUEST_BYTES {
        shape().map_err(|error| refused(&error))?;
        return Err(too_large());
    }
    Ok(())
}
