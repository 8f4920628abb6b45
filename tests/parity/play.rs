//! Plays one step on one server and writes down what it answered, with what may differ masked.

use crate::peer::Peer;
use crate::step::Step;
use crate::support::wait::until;
use crate::written::line;
use etcd_client::proto::{
    PbAlarmResponse, PbCompactionResponse, PbDefragmentRequest, PbDefragmentResponse,
    PbDeleteResponse, PbHashKvResponse, PbHashRequest, PbHashResponse, PbLeaseGrantRequest,
    PbLeaseGrantResponse, PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse, PbLeaseLeasesRequest,
    PbLeaseLeasesResponse, PbLeaseRevokeRequest, PbLeaseRevokeResponse, PbLeaseTimeToLiveRequest,
    PbLeaseTimeToLiveResponse, PbMemberListRequest, PbMemberListResponse, PbPutRequest,
    PbPutResponse, PbRangeResponse, PbResponseHeader, PbStatusRequest, PbStatusResponse,
    PbTxnResponse,
};
use futures::{StreamExt, stream};
use std::fmt::Debug;
use std::time::Duration;
use tonic::Status;

/// A lease's time left may differ by so much: the servers are asked one after the other.
pub(crate) const SLACK_SECONDS: i64 = 10;

/// How long a lease of two seconds may take to end on a busy machine.
const EXPIRY: Duration = Duration::from_secs(60);

/// What a server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The answer, or code and words of the refusal.
    pub(crate) text: String,
    /// The store's revision, where the answer says it.
    pub(crate) revision: Option<i64>,
    /// A time left in seconds.
    pub(crate) left: Option<i64>,
}

impl Told {
    fn of<A: Debug>(
        answer: Result<A, Status>,
        header: impl FnOnce(&mut A) -> Option<&mut PbResponseHeader>,
    ) -> Self {
        match answer {
            Ok(mut answer) => {
                let revision = header(&mut answer).map(|header| {
                    mask(header);
                    header.revision
                });
                Self {
                    text: line(&answer),
                    revision,
                    left: None,
                }
            }
            Err(status) => Self {
                text: format!("{:?}: {}", status.code(), status.message()),
                ..Self::default()
            },
        }
    }
}

/// Whether there is an id and a term stays, which ones goes.
pub(crate) fn mask(header: &mut PbResponseHeader) {
    header.cluster_id = header.cluster_id.min(1);
    header.member_id = header.member_id.min(1);
    header.raft_term = header.raft_term.min(1);
}

/// Plays a call.
macro_rules! call {
    ($peer:ident, $path:literal, $request:expr, $answer:ty) => {{
        let answer: Result<$answer, Status> = $peer.raw.call($path, $request).await;
        Told::of(answer, |answer| answer.header.as_mut())
    }};
}

/// Plays a step; what watches tell is kept by their streams.
pub(crate) async fn play(peer: &mut Peer, step: &Step) -> Told {
    match step.clone() {
        Step::Range(request) => call!(peer, "KV/Range", request, PbRangeResponse),
        Step::Put(request) => call!(peer, "KV/Put", request, PbPutResponse),
        Step::Delete(request) => call!(peer, "KV/DeleteRange", request, PbDeleteResponse),
        Step::Txn(request) => call!(peer, "KV/Txn", request, PbTxnResponse),
        Step::Compact(request) => {
            peer.level().await;
            call!(peer, "KV/Compact", request, PbCompactionResponse)
        }
        Step::Watch { stream, request } => {
            peer.stream(stream).send(request);
            Told::default()
        }
        Step::Close { stream } => {
            peer.streams[stream] = None;
            Told::default()
        }
        Step::Restart { kill } => {
            peer.restart(kill).await;
            Told::default()
        }
        Step::Alarm(_)
        | Step::Status
        | Step::Hash
        | Step::HashKv(_)
        | Step::Members
        | Step::Defragment => maintenance(peer, step).await,
        Step::Grant(_)
        | Step::Expire { .. }
        | Step::Revoke(_)
        | Step::KeepAlive(_)
        | Step::TimeToLive { .. }
        | Step::Leases => lease(peer, step).await,
    }
}

async fn maintenance(peer: &Peer, step: &Step) -> Told {
    match step.clone() {
        Step::Alarm(mut request) => {
            request.member_id = member(peer).await;
            let answer: Result<PbAlarmResponse, _> =
                peer.raw.call("Maintenance/Alarm", request).await;
            let masked = answer.map(|mut answer| {
                for alarm in &mut answer.alarms {
                    alarm.member_id = alarm.member_id.min(1);
                }
                if crate::series() != "3.4" {
                    // 3.4, whose answers ours are, leaves the header out; 3.5 has it.
                    answer.header = None;
                }
                answer
            });
            Told::of(masked, |answer| answer.header.as_mut())
        }
        Step::Status => {
            let request = PbStatusRequest::default();
            let answer: Result<PbStatusResponse, _> =
                peer.raw.call("Maintenance/Status", request).await;
            Told::of(answer.map(plain_status), |answer| answer.header.as_mut())
        }
        Step::Hash => {
            let request = PbHashRequest::default();
            let answer: Result<PbHashResponse, _> =
                peer.raw.call("Maintenance/Hash", request).await;
            let masked = answer.map(|answer| PbHashResponse { hash: 0, ..answer });
            Told::of(masked, |answer| answer.header.as_mut())
        }
        Step::HashKv(request) => {
            let answer: Result<PbHashKvResponse, _> =
                peer.raw.call("Maintenance/HashKV", request).await;
            // 3.4 does not tell the revision of the hash.
            let masked = answer.map(|answer| PbHashKvResponse {
                hash: 0,
                hash_revision: 0,
                ..answer
            });
            Told::of(masked, |answer| answer.header.as_mut())
        }
        Step::Members => {
            let request = PbMemberListRequest::default();
            let answer: Result<PbMemberListResponse, _> =
                peer.raw.call("Cluster/MemberList", request).await;
            let masked = answer.map(|mut answer| {
                for member in &mut answer.members {
                    member.id = member.id.min(1);
                    member.name = String::new();
                    member.peer_ur_ls.clear();
                    member.client_ur_ls.truncate(0);
                }
                answer
            });
            Told::of(masked, |answer| answer.header.as_mut())
        }
        _ => {
            let request = PbDefragmentRequest::default();
            call!(
                peer,
                "Maintenance/Defragment",
                request,
                PbDefragmentResponse
            )
        }
    }
}

/// The member's own id: alarms belong to members.
async fn member(peer: &Peer) -> u64 {
    let request = PbMemberListRequest::default();
    let list: PbMemberListResponse = peer.raw.call("Cluster/MemberList", request).await.unwrap();
    list.members[0].id
}

/// So much of a version is the same in all releases that are asked: `3.`.
const VERSION: usize = 2;

/// A status without what is the server's own.
fn plain_status(answer: PbStatusResponse) -> PbStatusResponse {
    let version = answer.version.chars().take(VERSION).collect();
    let errors = answer.errors.into_iter();
    let word = |error: String| {
        error
            .split_once(" alarm:")
            .map_or(error.clone(), |(_, alarm)| alarm.into())
    };
    PbStatusResponse {
        header: answer.header,
        version,
        leader: answer.leader.min(1),
        errors: errors.map(word).collect(),
        is_learner: answer.is_learner,
        ..PbStatusResponse::default()
    }
}

async fn lease(peer: &Peer, step: &Step) -> Told {
    match step.clone() {
        Step::Grant(request) => call!(peer, "Lease/LeaseGrant", request, PbLeaseGrantResponse),
        Step::Expire { id, ttl, keys } => expire(peer, id, ttl, keys).await,
        Step::Revoke(id) => {
            let request = PbLeaseRevokeRequest { id };
            call!(peer, "Lease/LeaseRevoke", request, PbLeaseRevokeResponse)
        }
        Step::KeepAlive(id) => {
            Told::of(keep_alive(peer, id).await, |answer| answer.header.as_mut())
        }
        Step::TimeToLive { id, keys } => {
            let answer = time_to_live(peer, id, keys).await;
            let left = answer.as_ref().ok().map(|answer| answer.ttl);
            let masked = answer.map(|mut answer| {
                // etcd tells them in no order.
                answer.keys.sort();
                PbLeaseTimeToLiveResponse { ttl: 0, ..answer }
            });
            let mut told = Told::of(masked, |answer| answer.header.as_mut());
            told.left = left;
            told
        }
        _ => {
            let request = PbLeaseLeasesRequest::default();
            call!(peer, "Lease/LeaseLeases", request, PbLeaseLeasesResponse)
        }
    }
}

async fn time_to_live(
    peer: &Peer,
    id: i64,
    keys: bool,
) -> Result<PbLeaseTimeToLiveResponse, Status> {
    let request = PbLeaseTimeToLiveRequest { id, keys };
    peer.raw.call("Lease/LeaseTimeToLive", request).await
}

/// One renewal on a stream of its own.
async fn keep_alive(peer: &Peer, id: i64) -> Result<PbLeaseKeepAliveResponse, Status> {
    let requests = stream::iter([PbLeaseKeepAliveRequest { id }]).chain(stream::pending());
    let mut answers = peer.raw.stream("Lease/LeaseKeepAlive", requests).await?;
    let answer: Option<PbLeaseKeepAliveResponse> = answers.message().await?;
    answer.ok_or_else(|| Status::cancelled("the stream ended"))
}

/// Grants a short lease, puts its keys, and waits until it has ended by itself.
async fn expire(peer: &Peer, id: i64, ttl: i64, keys: Vec<Vec<u8>>) -> Told {
    let grant = PbLeaseGrantRequest { id, ttl };
    let mut told = call!(peer, "Lease/LeaseGrant", grant, PbLeaseGrantResponse);
    for key in keys {
        let put = PbPutRequest {
            key,
            lease: id,
            ..PbPutRequest::default()
        };
        let answer = call!(peer, "KV/Put", put, PbPutResponse);
        told.text += &format!("; {}", answer.text);
    }
    until(EXPIRY, "a lease ends", async || {
        let left = time_to_live(peer, id, false).await;
        left.ok().filter(|left| left.ttl < 0)
    })
    .await;
    told
}
