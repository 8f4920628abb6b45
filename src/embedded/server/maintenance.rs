//! The service Maintenance.

use super::failure::{absent, status};
use super::snapshot::Chunks;
use super::{Answers, Api};
use crate::embedded::backup::Backup;
use etcd_client::proto::{
    PbAlarmMember, PbAlarmRequest, PbAlarmResponse, PbDefragmentRequest, PbDefragmentResponse,
    PbDowngradeRequest, PbDowngradeResponse, PbHashKvRequest, PbHashKvResponse, PbHashRequest,
    PbHashResponse, PbMaintenanceService, PbMoveLeaderRequest, PbMoveLeaderResponse,
    PbSnapshotRequest, PbSnapshotResponse, PbStatusRequest, PbStatusResponse,
};
use futures::StreamExt;
use tonic::{Request, Response, Status};

/// The version that is told: etcd's whose answers these are. Clients read `major.minor` from its front (etcdctl 3.4 to 3.6
/// and etcd-client take any 3.x); what follows the plus sign says that this is not etcd itself.
pub const VERSION: &str = concat!("3.4.23+skep-", env!("CARGO_PKG_VERSION"));

/// etcd's numbers of actions on alarms.
const GET: i32 = 0;
const ACTIVATE: i32 = 1;
const DEACTIVATE: i32 = 2;

/// etcd's numbers of alarms.
const NONE: i32 = 0;
const NOSPACE: i32 = 1;

#[tonic::async_trait]
impl PbMaintenanceService for Api {
    async fn status(
        &self,
        _: Request<PbStatusRequest>,
    ) -> Result<Response<PbStatusResponse>, Status> {
        let status = self.store.status();
        let member = self.store.identity().member;
        let index = u64::try_from(status.revision).unwrap_or_default();
        let errors = status
            .is_full
            .then(|| format!("memberID:{member} alarm:NOSPACE "));
        Ok(Response::new(PbStatusResponse {
            header: self.header(status.revision),
            version: VERSION.into(),
            db_size: signed(status.size),
            leader: member,
            raft_index: index,
            raft_term: super::TERM,
            raft_applied_index: index,
            errors: errors.into_iter().collect(),
            db_size_in_use: signed(status.in_use),
            is_learner: false,
            // What 3.6 added: the quota is told, for those who ask how full it is.
            db_size_quota: signed(status.quota),
            ..PbStatusResponse::default()
        }))
    }

    async fn alarm(
        &self,
        request: Request<PbAlarmRequest>,
    ) -> Result<Response<PbAlarmResponse>, Status> {
        let request = request.into_inner();
        match (request.action, request.alarm) {
            (GET, _) => Ok(self.alarms(self.store.status().is_full)),
            (ACTIVATE, NOSPACE) => {
                self.store.set_full(true).await.map_err(status)?;
                Ok(self.alarms(true))
            }
            (DEACTIVATE, alarm) => {
                // Alarms belong to members; of another one there are none.
                let is_meant =
                    alarm == NOSPACE && request.member_id == self.store.identity().member;
                let ends = is_meant && self.store.status().is_full;
                if ends {
                    self.store.set_full(false).await.map_err(status)?;
                }
                Ok(self.alarms(ends))
            }
            (ACTIVATE, NONE) => Err(Status::invalid_argument(
                "etcdserver: which alarm is to be raised? NOSPACE is the one there is",
            )),
            (ACTIVATE, _) => Err(absent("alarm but NOSPACE", "stop the server instead")),
            _ => Err(Status::invalid_argument(
                "etcdserver: an alarm can be read, activated or deactivated",
            )),
        }
    }

    async fn defragment(
        &self,
        _: Request<PbDefragmentRequest>,
    ) -> Result<Response<PbDefragmentResponse>, Status> {
        self.store.defragment().await.map_err(status)?;
        // As etcd: without a header.
        Ok(Response::new(PbDefragmentResponse { header: None }))
    }

    async fn hash(&self, _: Request<PbHashRequest>) -> Result<Response<PbHashResponse>, Status> {
        let hashed = self.store.hash(0).map_err(status)?;
        Ok(Response::new(PbHashResponse {
            header: self.header(hashed.revision),
            hash: hashed.hash,
        }))
    }

    async fn hash_kv(
        &self,
        request: Request<PbHashKvRequest>,
    ) -> Result<Response<PbHashKvResponse>, Status> {
        let asked = request.into_inner().revision;
        let hashed = self.store.hash(asked).map_err(status)?;
        Ok(Response::new(PbHashKvResponse {
            header: self.header(hashed.revision),
            hash: hashed.hash,
            compact_revision: hashed.compacted,
            hash_revision: if asked > 0 { asked } else { hashed.revision },
        }))
    }

    type SnapshotStream = Answers<PbSnapshotResponse>;

    async fn snapshot(
        &self,
        _: Request<PbSnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        let (changes, revision) = self.store.changes().await.map_err(status)?;
        let backup = Backup {
            identity: self.store.identity(),
            revision,
            changes,
        };
        let header = self.header(revision);
        let (length, pieces) = backup.into_pieces();
        let chunks = Chunks::new(pieces, length).map(move |(blob, remaining)| {
            Ok(PbSnapshotResponse {
                header,
                remaining_bytes: remaining,
                blob,
                version: String::new(),
            })
        });
        Ok(Response::new(futures::stream::iter(chunks).boxed()))
    }

    async fn move_leader(
        &self,
        _: Request<PbMoveLeaderRequest>,
    ) -> Result<Response<PbMoveLeaderResponse>, Status> {
        Err(absent("other members", "its one member always leads"))
    }

    async fn downgrade(
        &self,
        _: Request<PbDowngradeRequest>,
    ) -> Result<Response<PbDowngradeResponse>, Status> {
        Err(absent(
            "versions of etcd to go back to",
            "restore a backup with the older skep",
        ))
    }
}

impl Api {
    /// The alarms, without a header as in etcd.
    fn alarms(&self, is_full: bool) -> Response<PbAlarmResponse> {
        let alarm = is_full.then(|| PbAlarmMember {
            member_id: self.store.identity().member,
            alarm: NOSPACE,
        });
        Response::new(PbAlarmResponse {
            header: None,
            alarms: alarm.into_iter().collect(),
        })
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
