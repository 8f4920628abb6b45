//! One operation as data: it can be printed, and played again.

use etcd_client::proto::{
    PbAlarmRequest, PbCompactionRequest, PbDeleteRequest, PbHashKvRequest, PbLeaseGrantRequest,
    PbPutRequest, PbRangeRequest, PbTxnRequest, PbWatchRequestUnion,
};
use std::fmt;

/// One operation.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Range(PbRangeRequest),
    Put(PbPutRequest),
    Delete(PbDeleteRequest),
    Txn(PbTxnRequest),
    Compact(PbCompactionRequest),
    Grant(PbLeaseGrantRequest),
    /// A lease with the least TTL that ends with these keys, which is waited for.
    Expire {
        id: i64,
        ttl: i64,
        keys: Vec<Vec<u8>>,
    },
    Revoke(i64),
    KeepAlive(i64),
    TimeToLive {
        id: i64,
        keys: bool,
    },
    Leases,
    Alarm(PbAlarmRequest),
    Status,
    Hash,
    HashKv(PbHashKvRequest),
    Members,
    Defragment,
    /// A request on one of the watch streams, which is opened if it is not.
    Watch {
        stream: usize,
        request: PbWatchRequestUnion,
    },
    /// The client goes away from a watch stream.
    Close {
        stream: usize,
    },
    /// Both servers end in order, or are killed, and start again with what they wrote.
    Restart {
        kill: bool,
    },
}

impl Step {
    /// Whether 3.5 answers it in another way than 3.4, whose answers the embedded store gives.
    ///
    /// 3.5 tells how far a stream is only while each of its watches has told all and none begins later, so never on a
    /// stream without watches; it takes a negative first revision for one that was compacted; it keeps
    /// deletions of the very revision that was `compacted` to, which 3.4 forgets (etcd pull request 18474); and what
    /// HashKV says of compactions differs even within 3.5.
    pub(crate) fn is_of_its_release(&self, compacted: i64) -> bool {
        let request = match self {
            Self::Watch { request, .. } => request,
            Self::HashKv(_) => return true,
            _ => return false,
        };
        match request {
            PbWatchRequestUnion::ProgressRequest(_) => true,
            PbWatchRequestUnion::CreateRequest(create) => {
                let from = create.start_revision;
                from < 0 || (from != 0 && from == compacted)
            }
            PbWatchRequestUnion::CancelRequest(_) => false,
        }
    }
}

/// Steps in their order, a line for each.
pub(crate) struct Steps<'a>(pub(crate) &'a [Step]);

impl fmt::Display for Steps<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            writeln!(f, "{:3}: {}", number + 1, crate::written::line(step))?;
        }
        Ok(())
    }
}
