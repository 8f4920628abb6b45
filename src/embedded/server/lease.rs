//! The service Lease.

use super::failure::status;
use super::{Answers, Api};
use crate::embedded::store::Store;
use etcd_client::proto::{
    PbLeaseGrantRequest, PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse,
    PbLeaseLeasesRequest, PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse,
    PbLeaseService, PbLeaseStatus, PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse,
};
use futures::{StreamExt, stream};
use tonic::{Request, Response, Status, Streaming};

#[tonic::async_trait]
impl PbLeaseService for Api {
    async fn lease_grant(
        &self,
        request: Request<PbLeaseGrantRequest>,
    ) -> Result<Response<PbLeaseGrantResponse>, Status> {
        let request = request.into_inner();
        let granted = self.store.grant(request.id, request.ttl).await;
        let (id, ttl, revision) = granted.map_err(status)?;
        Ok(Response::new(PbLeaseGrantResponse {
            header: self.header(revision),
            id,
            ttl,
            error: String::new(),
        }))
    }

    async fn lease_revoke(
        &self,
        request: Request<PbLeaseRevokeRequest>,
    ) -> Result<Response<PbLeaseRevokeResponse>, Status> {
        let revoked = self.store.revoke(request.into_inner().id).await;
        let revision = revoked.map_err(status)?;
        Ok(Response::new(PbLeaseRevokeResponse {
            header: self.header(revision),
        }))
    }

    type LeaseKeepAliveStream = Answers<PbLeaseKeepAliveResponse>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let api = self.clone();
        let stopping = Box::pin(self.stopping());
        let renewals = stream::unfold(
            (api, request.into_inner(), stopping),
            |(api, mut requests, mut stopping)| async move {
                let request = tokio::select! {
                    request = requests.next() => request?,
                    () = &mut stopping => return None,
                };
                let answer = request.map(|request| api.renewed(request.id));
                Some((answer, (api, requests, stopping)))
            },
        );
        Ok(Response::new(renewals.boxed()))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<PbLeaseTimeToLiveRequest>,
    ) -> Result<Response<PbLeaseTimeToLiveResponse>, Status> {
        let PbLeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let mut answer = PbLeaseTimeToLiveResponse {
            header: self.header(self.store.revision()),
            id,
            ttl: -1,
            granted_ttl: 0,
            keys: Vec::new(),
        };
        if let Some(lease) = self.store.lease(id) {
            answer.ttl = i64::try_from(lease.left.as_secs()).unwrap_or(i64::MAX);
            answer.granted_ttl = lease.granted;
            if keys {
                answer.keys = lease.keys.iter().map(|key| key.to_vec()).collect();
            }
        }
        Ok(Response::new(answer))
    }

    async fn lease_leases(
        &self,
        _: Request<PbLeaseLeasesRequest>,
    ) -> Result<Response<PbLeaseLeasesResponse>, Status> {
        let leases = self.store.leases();
        Ok(Response::new(PbLeaseLeasesResponse {
            header: self.header(self.store.revision()),
            leases: leases.into_iter().map(|id| PbLeaseStatus { id }).collect(),
        }))
    }
}

impl Api {
    /// A renewal; TTL 0 says that the lease is gone.
    fn renewed(&self, id: i64) -> PbLeaseKeepAliveResponse {
        PbLeaseKeepAliveResponse {
            header: self.header(self.store.revision()),
            id,
            ttl: Store::renew(&self.store, id).unwrap_or(0),
        }
    }
}
