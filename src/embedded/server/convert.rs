//! Requests of the API as what the MVCC is asked, and its answers as the API's messages.

use crate::embedded::mvcc::{
    Answer, Condition, Done, Error as Refusal, Event, Found, KeyBytes, Operation, Put, Query,
    Relation, SortOrder, SortTarget, Span, Stored, Target, Transaction, Window,
};
use etcd_client::proto::{
    PbCompare, PbDeleteRequest, PbDeleteResponse, PbEvent, PbKeyValue, PbPutRequest, PbPutResponse,
    PbRangeRequest, PbRangeResponse, PbResponseHeader, PbResponseOp, PbTargetUnion, PbTxnOpRequest,
    PbTxnOpResponse, PbTxnRequest, PbTxnRequestOp, PbTxnResponse,
};

/// etcd's number of the event that a key was deleted; a put is 0.
const DELETED: i32 = 1;

/// What to read. An order or target that there is not is refused, where etcd 3.4 would panic.
pub(super) fn query(request: PbRangeRequest) -> Result<Query, Refusal> {
    Ok(Query {
        span: Span::new(request.key, request.range_end),
        revision: request.revision,
        limit: request.limit,
        target: target(request.sort_target)?,
        order: order(request.sort_order)?,
        created: Window {
            least: request.min_create_revision,
            most: request.max_create_revision,
        },
        modified: Window {
            least: request.min_mod_revision,
            most: request.max_mod_revision,
        },
        keys_only: request.keys_only,
        count_only: request.count_only,
    })
}

fn target(number: i32) -> Result<SortTarget, Refusal> {
    match number {
        0 => Ok(SortTarget::Key),
        1 => Ok(SortTarget::Version),
        2 => Ok(SortTarget::Create),
        3 => Ok(SortTarget::Mod),
        4 => Ok(SortTarget::Value),
        _ => Err(Refusal::InvalidSort),
    }
}

fn order(number: i32) -> Result<SortOrder, Refusal> {
    match number {
        0 => Ok(SortOrder::Unspecified),
        1 => Ok(SortOrder::Ascend),
        2 => Ok(SortOrder::Descend),
        _ => Err(Refusal::InvalidSort),
    }
}

/// A write.
pub(super) fn put(request: PbPutRequest) -> Put {
    Put {
        key: request.key.into(),
        value: request.value.into(),
        lease: request.lease,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

/// A deletion.
pub(super) fn delete(request: PbDeleteRequest) -> Operation {
    Operation::Delete(Span::new(request.key, request.range_end))
}

/// A transaction, and how its answer is to look.
pub(super) fn transaction(request: PbTxnRequest) -> Result<(Transaction, Form), Refusal> {
    let (then, then_form) = branch(request.success)?;
    let (otherwise, otherwise_form) = branch(request.failure)?;
    let transaction = Transaction {
        conditions: request.compare.into_iter().map(condition).collect(),
        then,
        otherwise,
    };
    let form = Form {
        then: then_form,
        otherwise: otherwise_form,
    };
    Ok((transaction, form))
}

/// Whether a transaction may write, in either branch: etcd limits the size of those.
pub(super) fn writes(txn: &Transaction) -> bool {
    let writes = |operation: &Operation| match operation {
        Operation::Put(_) | Operation::Delete(_) => true,
        Operation::Txn(inner) => writes(inner),
        Operation::Read(_) | Operation::Empty => false,
    };
    txn.then.iter().chain(&txn.otherwise).any(writes)
}

/// Which former values the answer to a transaction shows.
#[derive(Debug, Default)]
pub(super) struct Form {
    then: Vec<OperationForm>,
    otherwise: Vec<OperationForm>,
}

#[derive(Debug)]
enum OperationForm {
    /// Whether the former value is shown, where there is one.
    Plain(bool),
    Nested(Form),
}

fn branch(requests: Vec<PbTxnRequestOp>) -> Result<(Vec<Operation>, Vec<OperationForm>), Refusal> {
    let operations = requests.into_iter().map(operation);
    operations
        .collect::<Result<Vec<_>, _>>()
        .map(|both| both.into_iter().unzip())
}

fn operation(request: PbTxnRequestOp) -> Result<(Operation, OperationForm), Refusal> {
    Ok(match request.request {
        None => (Operation::Empty, OperationForm::Plain(false)),
        Some(PbTxnOpRequest::RequestRange(request)) => (
            Operation::Read(query(request)?),
            OperationForm::Plain(false),
        ),
        Some(PbTxnOpRequest::RequestPut(request)) => {
            let form = OperationForm::Plain(request.prev_kv);
            (Operation::Put(put(request)), form)
        }
        Some(PbTxnOpRequest::RequestDeleteRange(request)) => {
            let form = OperationForm::Plain(request.prev_kv);
            (delete(request), form)
        }
        Some(PbTxnOpRequest::RequestTxn(request)) => {
            let (inner, form) = transaction(request)?;
            (Operation::Txn(inner), OperationForm::Nested(form))
        }
    })
}

/// A condition. One without a value, or with one that is meant for another target, compares with 0 or nothing.
fn condition(request: PbCompare) -> Condition {
    let union = request.target_union;
    let target = match request.target {
        1 => Target::Create(match union {
            Some(PbTargetUnion::CreateRevision(number)) => number,
            _ => 0,
        }),
        2 => Target::Mod(match union {
            Some(PbTargetUnion::ModRevision(number)) => number,
            _ => 0,
        }),
        3 => Target::Value(match union {
            Some(PbTargetUnion::Value(value)) => value.into(),
            _ => KeyBytes::from([]),
        }),
        4 => Target::Lease(match union {
            Some(PbTargetUnion::Lease(number)) => number,
            _ => 0,
        }),
        _ => Target::Version(match union {
            Some(PbTargetUnion::Version(number)) => number,
            _ => 0,
        }),
    };
    Condition {
        span: Span::new(request.key, request.range_end),
        target,
        relation: match request.result {
            1 => Relation::Greater,
            2 => Relation::Less,
            3 => Relation::NotEqual,
            _ => Relation::Equal,
        },
    }
}

/// What was read, under a header.
pub(super) fn found(found: &Found, header: Option<PbResponseHeader>) -> PbRangeResponse {
    PbRangeResponse {
        header,
        kvs: found.kvs.iter().map(key_value).collect(),
        more: found.more,
        count: found.count,
    }
}

/// How a transaction ended, under a header.
pub(super) fn done(done: &Done, form: &Form, header: Option<PbResponseHeader>) -> PbTxnResponse {
    let forms = if done.succeeded {
        &form.then
    } else {
        &form.otherwise
    };
    let answers = done.answers.iter().zip(forms);
    PbTxnResponse {
        header,
        succeeded: done.succeeded,
        responses: answers
            .map(|(answer, form)| PbResponseOp {
                response: Some(response(answer, form)),
            })
            .collect(),
    }
}

fn response(answer: &Answer, form: &OperationForm) -> PbTxnOpResponse {
    let shows = matches!(form, OperationForm::Plain(true));
    match answer {
        Answer::Put { revision, previous } => PbTxnOpResponse::ResponsePut(PbPutResponse {
            header: inner_header(*revision),
            prev_kv: previous.as_ref().filter(|_| shows).map(key_value),
        }),
        Answer::Deleted { revision, gone } => {
            PbTxnOpResponse::ResponseDeleteRange(deleted(gone, shows, inner_header(*revision)))
        }
        Answer::Read {
            revision,
            found: read,
        } => PbTxnOpResponse::ResponseRange(found(read, inner_header(*revision))),
        Answer::Txn(inner) => {
            let none = Form::default();
            let form = match form {
                OperationForm::Nested(form) => form,
                OperationForm::Plain(_) => &none,
            };
            PbTxnOpResponse::ResponseTxn(done(inner, form, inner_header(inner.revision)))
        }
    }
}

/// The header of an answer within a transaction: etcd gives it no ids and no term.
fn inner_header(revision: i64) -> Option<PbResponseHeader> {
    Some(PbResponseHeader {
        revision,
        ..PbResponseHeader::default()
    })
}

/// What was deleted, under a header.
pub(super) fn deleted(
    gone: &[Stored],
    shows: bool,
    header: Option<PbResponseHeader>,
) -> PbDeleteResponse {
    PbDeleteResponse {
        header,
        deleted: i64::try_from(gone.len()).unwrap_or(i64::MAX),
        prev_kvs: if shows {
            gone.iter().map(key_value).collect()
        } else {
            Vec::new()
        },
    }
}

/// A key with its value.
pub(super) fn key_value(stored: &Stored) -> PbKeyValue {
    PbKeyValue {
        key: stored.key.to_vec(),
        create_revision: stored.create_revision,
        mod_revision: stored.mod_revision,
        version: stored.version,
        value: stored.value.to_vec(),
        lease: stored.lease,
    }
}

/// A change of a key.
pub(super) fn event(event: &Event, previous: Option<&Stored>) -> PbEvent {
    let (r#type, kv) = match event {
        Event::Put(stored) => (0, key_value(stored)),
        Event::Delete(key, revision) => {
            let kv = PbKeyValue {
                key: key.to_vec(),
                mod_revision: *revision,
                ..PbKeyValue::default()
            };
            (DELETED, kv)
        }
    };
    PbEvent {
        r#type,
        kv: Some(kv),
        prev_kv: previous.map(key_value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_for_another_target_compares_as_none() {
        let compare = |target, union| {
            let request = PbCompare {
                target,
                target_union: Some(union),
                ..PbCompare::default()
            };
            condition(request).target
        };
        assert_eq!(compare(0, PbTargetUnion::Lease(6)), Target::Version(0));
        assert_eq!(compare(1, PbTargetUnion::Version(6)), Target::Create(0));
        assert_eq!(compare(2, PbTargetUnion::CreateRevision(6)), Target::Mod(0));
        assert_eq!(
            compare(3, PbTargetUnion::Version(6)),
            Target::Value(KeyBytes::from([]))
        );
        assert_eq!(
            compare(4, PbTargetUnion::Value(b"6".to_vec())),
            Target::Lease(0)
        );
        assert_eq!(compare(4, PbTargetUnion::Lease(6)), Target::Lease(6));
    }
}
