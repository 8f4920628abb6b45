//! The service Cluster: one member, and it stays one.

use super::Api;
use super::failure::absent;
use etcd_client::proto::{
    PbClusterService, PbMember, PbMemberAddRequest, PbMemberAddResponse, PbMemberListRequest,
    PbMemberListResponse, PbMemberPromoteRequest, PbMemberPromoteResponse, PbMemberRemoveRequest,
    PbMemberRemoveResponse, PbMemberUpdateRequest, PbMemberUpdateResponse,
};
use tonic::{Request, Response, Status};

/// The member's name, as `etcdctl member list` shows it.
const NAME: &str = "skep";

#[tonic::async_trait]
impl PbClusterService for Api {
    async fn member_list(
        &self,
        _: Request<PbMemberListRequest>,
    ) -> Result<Response<PbMemberListResponse>, Status> {
        let member = PbMember {
            id: self.store.identity().member,
            name: NAME.into(),
            // Nothing listens for peers: the address of the clients stands for both, so that tools that print it work.
            peer_ur_ls: vec![self.url.to_string()],
            client_ur_ls: vec![self.url.to_string()],
            is_learner: false,
        };
        Ok(Response::new(PbMemberListResponse {
            header: self.header(0),
            members: vec![member],
        }))
    }

    async fn member_add(
        &self,
        _: Request<PbMemberAddRequest>,
    ) -> Result<Response<PbMemberAddResponse>, Status> {
        Err(one_member())
    }

    async fn member_remove(
        &self,
        _: Request<PbMemberRemoveRequest>,
    ) -> Result<Response<PbMemberRemoveResponse>, Status> {
        Err(one_member())
    }

    async fn member_update(
        &self,
        _: Request<PbMemberUpdateRequest>,
    ) -> Result<Response<PbMemberUpdateResponse>, Status> {
        Err(one_member())
    }

    async fn member_promote(
        &self,
        _: Request<PbMemberPromoteRequest>,
    ) -> Result<Response<PbMemberPromoteResponse>, Status> {
        Err(one_member())
    }
}

fn one_member() -> Status {
    absent(
        "other members",
        "copy it to an etcd of several members (skep store copy)",
    )
}
