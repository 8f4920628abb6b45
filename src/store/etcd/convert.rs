//! Between the door's words and etcd's messages.

use super::failure::other;
use crate::api::unit::{LeaseId, Revision};
use crate::store::{
    Compare, Error, KeyValue, LeaseStatus, Op, Outcome, RangeRequest, RangeResponse, Reply,
    StoreStatus, Txn,
};
use etcd_client::proto::PbKeyValue;
use etcd_client::{
    AlarmResponse, AlarmType, CompareOp, GetOptions, GetResponse, PutOptions, ResponseHeader,
    StatusResponse, TxnOp, TxnOpResponse, TxnResponse,
};
use std::time::Duration;

/// etcd refuses the empty key; the first key that there can be is a zero byte.
pub(super) fn first_key(key: &str) -> Vec<u8> {
    if key.is_empty() {
        vec![0]
    } else {
        key.as_bytes().to_vec()
    }
}

pub(super) fn range(request: &RangeRequest) -> (Vec<u8>, GetOptions) {
    let mut options = GetOptions::new().with_limit(request.limit);
    let mut key = request.key.as_bytes().to_vec();
    if let Some(end) = &request.end {
        key = first_key(&request.key);
        options = options.with_range(end.as_bytes());
    }
    if let Some(revision) = request.revision {
        options = options.with_revision(revision.0);
    }
    if request.keys_only {
        options = options.with_keys_only();
    }
    (key, options)
}

pub(super) fn range_response(mut response: GetResponse) -> Result<RangeResponse, Error> {
    Ok(RangeResponse {
        revision: revision(response.header())?,
        kvs: key_values(response.take_kvs()),
        more: response.more(),
        count: response.count(),
    })
}

/// What is sent, which the client consumes: one copy for each attempt.
pub(super) fn txn(txn: &Txn) -> etcd_client::Txn {
    let ops = |ops: &[Op]| ops.iter().map(operation).collect::<Vec<_>>();
    etcd_client::Txn::new()
        .when(txn.compares.iter().map(compare).collect::<Vec<_>>())
        .and_then(ops(&txn.then))
        .or_else(ops(&txn.otherwise))
}

fn compare(compare: &Compare) -> etcd_client::Compare {
    use etcd_client::Compare as C;
    let equal = CompareOp::Equal;
    match compare {
        Compare::Missing(key) => C::create_revision(key.as_str(), equal, 0),
        Compare::CreatedAt(key, at) => C::create_revision(key.as_str(), equal, at.0),
        Compare::ModifiedAt(key, at) => C::mod_revision(key.as_str(), equal, at.0),
        Compare::HeldBy(key, lease) => C::lease(key.as_str(), equal, lease.0),
        // Holds for each key that there is, or for the one that is not there: so for none.
        Compare::NoneBelow(prefix) => C::create_revision(prefix.as_str(), equal, 0).with_prefix(),
    }
}

fn operation(op: &Op) -> TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            TxnOp::put(key.as_str(), value.as_slice(), options)
        }
        Op::Delete { key } => TxnOp::delete(key.as_str(), None),
        Op::Get { key } => TxnOp::get(key.as_str(), None),
    }
}

/// Reads an answer. One that makes no sense leaves the outcome unknown: it was sent and something answered.
pub(super) fn outcome(response: TxnResponse) -> Result<Outcome, Error> {
    let read = || {
        let replies: Result<Vec<_>, _> = response.op_responses().into_iter().map(reply).collect();
        Ok((revision(response.header())?, replies?))
    };
    Ok(match read() {
        Ok((revision, replies)) if response.succeeded() => Outcome::Committed { revision, replies },
        Ok((revision, replies)) => Outcome::Refused { revision, replies },
        Err(error) => Outcome::Unknown { error },
    })
}

fn reply(response: TxnOpResponse) -> Result<Reply, Error> {
    match response {
        TxnOpResponse::Put(_) => Ok(Reply::Put),
        TxnOpResponse::Delete(gone) => Ok(Reply::Deleted(gone.deleted())),
        TxnOpResponse::Get(mut found) => Ok(Reply::Read(key_values(found.take_kvs()))),
        TxnOpResponse::Txn(_) => Err(other("a nested answer that nobody asked for")),
    }
}

fn key_values(kvs: Vec<etcd_client::KeyValue>) -> Vec<KeyValue> {
    kvs.into_iter().map(|kv| key_value(kv.0)).collect()
}

/// A key that is not text is not ours: such a key below our prefix is shown with replacement characters, and the
/// controller of unknown keys reports it.
pub(super) fn key_value(kv: PbKeyValue) -> KeyValue {
    KeyValue {
        key: text(kv.key),
        value: kv.value,
        create_revision: Revision(kv.create_revision),
        mod_revision: Revision(kv.mod_revision),
        version: kv.version,
        lease: LeaseId(kv.lease),
    }
}

pub(super) fn text(key: Vec<u8>) -> String {
    String::from_utf8(key)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn revision(header: Option<&ResponseHeader>) -> Result<Revision, Error> {
    let header = header.ok_or_else(|| other("an answer without a header"))?;
    Ok(Revision(header.revision()))
}

/// etcd counts whole seconds; a lease lives at least as long as was asked for.
pub(super) fn whole_seconds(ttl: Duration) -> i64 {
    let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

pub(super) fn lease(id: i64, ttl: i64) -> LeaseStatus {
    LeaseStatus {
        id: LeaseId(id),
        ttl: Duration::from_secs(u64::try_from(ttl).unwrap_or(0)),
    }
}

pub(super) fn status(status: &StatusResponse, alarms: &AlarmResponse) -> StoreStatus {
    let bytes = |number: i64| u64::try_from(number).unwrap_or(0);
    let name = |alarm: AlarmType| match alarm {
        AlarmType::None => "NONE",
        AlarmType::Nospace => "NOSPACE",
        AlarmType::Corrupt => "CORRUPT",
    };
    StoreStatus {
        version: status.version().into(),
        db_size: bytes(status.db_size()),
        db_in_use: bytes(status.0.db_size_in_use),
        quota: Some(bytes(status.0.db_size_quota)).filter(|quota| *quota > 0),
        alarms: alarms
            .alarms()
            .iter()
            .map(|alarm| name(alarm.alarm()).into())
            .collect(),
    }
}
