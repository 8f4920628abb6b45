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
