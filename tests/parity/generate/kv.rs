//! Draws requests of the service KV.

use super::Generator;
use crate::compare::Hint;
use etcd_client::proto::{
    PbCompare, PbDeleteRequest, PbPutRequest, PbRangeRequest, PbTargetUnion, PbTxnOpRequest,
    PbTxnRequest, PbTxnRequestOp,
};

/// Above etcd's limit on requests, and above that of its transport.
const LARGE: [usize; 2] = [1_600_000, 2_200_000];

impl Generator {
    pub(super) fn put(&mut self) -> PbPutRequest {
        let ignores_value = self.random.chance(8);
        let ignores_lease = self.random.chance(8);
        PbPutRequest {
            key: self.key(),
            value: if ignores_value && self.random.chance(80) {
                Vec::new()
            } else {
                self.value()
            },
            lease: if ignores_lease && self.random.chance(80) {
                0
            } else {
                self.lease_id()
            },
            prev_kv: self.random.chance(30),
            ignore_value: ignores_value,
            ignore_lease: ignores_lease,
        }
    }

    fn lease_id(&mut self) -> i64 {
        match self.random.below(20) {
            0 => -1,
            1 => 77,
            2..7 => self.random.between(1, super::LEASES),
            _ => 0,
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.below(400) {
            0 => vec![b'x'; *self.random.pick(&LARGE)],
            1..80 => Vec::new(),
            _ => format!("v{}", self.random.below(5)).into_bytes(),
        }
    }

    pub(super) fn range(&mut self, hint: &Hint) -> PbRangeRequest {
        let (key, range_end) = self.span();
        let is_sorted = self.random.chance(40);
        PbRangeRequest {
            key,
            range_end,
            limit: match self.random.below(4) {
                0 => self.random.between(-1, 4),
                _ => 0,
            },
            revision: self.revision(hint),
            sort_order: if is_sorted { self.small(0, 2) } else { 0 },
            sort_target: if is_sorted { self.small(0, 4) } else { 0 },
            serializable: self.random.chance(20),
            keys_only: self.random.chance(15),
            count_only: self.random.chance(10),
            min_mod_revision: self.bound(hint),
            max_mod_revision: self.bound(hint),
            min_create_revision: self.bound(hint),
            max_create_revision: self.bound(hint),
        }
    }

    fn small(&mut self, least: i64, most: i64) -> i32 {
        i32::try_from(self.random.between(least, most)).unwrap()
    }

    fn bound(&mut self, hint: &Hint) -> i64 {
        match self.random.below(8) {
            0 => self.random.between(-1, hint.revision + 2),
            _ => 0,
        }
    }

    pub(super) fn delete(&mut self) -> PbDeleteRequest {
        let (key, range_end) = self.span();
        PbDeleteRequest {
            key,
            range_end,
            prev_kv: self.random.chance(50),
        }
    }

    /// A transaction with at most so many levels below it.
    pub(super) fn transaction(&mut self, hint: &Hint, levels: usize) -> PbTxnRequest {
        let mut txn = self.level(hint, levels);
        if deletes_to_the_end(&txn) {
            keep_nothing(&mut txn);
        }
        txn
    }

    fn level(&mut self, hint: &Hint, levels: usize) -> PbTxnRequest {
        let conditions = self.random.below(4);
        PbTxnRequest {
            compare: (0..conditions).map(|_| self.condition(hint)).collect(),
            success: self.branch(hint, levels),
            failure: self.branch(hint, levels),
        }
    }

    fn branch(&mut self, hint: &Hint, levels: usize) -> Vec<PbTxnRequestOp> {
        let count = match self.random.below(200) {
            0 => 129,
            1 => 120,
            _ => self.random.below(5),
        };
        if count > 10 {
            // Reads only: as many writes would be of the same keys.
            let read = self.range(hint);
            let read = PbTxnRequestOp {
                request: Some(PbTxnOpRequest::RequestRange(read)),
            };
            return vec![read; count];
        }
        (0..count).map(|_| self.operation(hint, levels)).collect()
    }

    fn operation(&mut self, hint: &Hint, levels: usize) -> PbTxnRequestOp {
        let request = match self.random.below(100) {
            0 => None,
            1..40 => Some(PbTxnOpRequest::RequestPut(self.put())),
            40..60 => Some(PbTxnOpRequest::RequestDeleteRange(self.delete())),
            60..80 if levels > 0 => Some(PbTxnOpRequest::RequestTxn(self.level(hint, levels - 1))),
            _ => {
                let mut read = self.range(hint);
                // Most revisions are refused here, and with them the whole transaction.
                if self.random.chance(60) {
                    read.revision = 0;
                }
                Some(PbTxnOpRequest::RequestRange(read))
            }
        };
        PbTxnRequestOp { request }
    }

    fn condition(&mut self, hint: &Hint) -> PbCompare {
        let (key, range_end) = if self.random.chance(70) {
            (self.key(), Vec::new())
        } else {
            self.span()
        };
        let number = self.number(hint);
        let (target, union) = match self.random.below(5) {
            0 => (0, PbTargetUnion::Version(self.random.between(-1, 4))),
            1 => (1, PbTargetUnion::CreateRevision(number)),
            2 => (2, PbTargetUnion::ModRevision(number)),
            3 => (3, PbTargetUnion::Value(self.value())),
            _ => (
                4,
                PbTargetUnion::Lease(self.random.between(0, super::LEASES)),
            ),
        };
        PbCompare {
            result: self.small(0, 3),
            target: if self.random.chance(3) {
                self.small(0, 4)
            } else {
                target
            },
            key,
            range_end,
            target_union: self.random.chance(94).then_some(union),
        }
    }

    fn number(&mut self, hint: &Hint) -> i64 {
        match self.random.below(3) {
            0 => 0,
            1 => hint.revision - self.random.between(0, 8).min(hint.revision),
            _ => self.random.between(0, hint.revision),
        }
    }
}

fn branches(txn: &PbTxnRequest) -> impl Iterator<Item = &PbTxnOpRequest> {
    let all = txn.success.iter().chain(&txn.failure);
    all.filter_map(|operation| operation.request.as_ref())
}

/// Whether it holds a delete to the end of all keys: with a put that keeps a value or lease of what is deleted, etcd panics.
fn deletes_to_the_end(txn: &PbTxnRequest) -> bool {
    branches(txn).any(|operation| match operation {
        PbTxnOpRequest::RequestDeleteRange(delete) => delete.range_end == [0],
        PbTxnOpRequest::RequestTxn(inner) => deletes_to_the_end(inner),
        PbTxnOpRequest::RequestRange(_) | PbTxnOpRequest::RequestPut(_) => false,
    })
}

/// Makes its puts keep nothing of what was there.
fn keep_nothing(txn: &mut PbTxnRequest) {
    let all = txn.success.iter_mut().chain(&mut txn.failure);
    for operation in all.filter_map(|operation| operation.request.as_mut()) {
        match operation {
            PbTxnOpRequest::RequestPut(put) => {
                put.ignore_value = false;
                put.ignore_lease = false;
            }
            PbTxnOpRequest::RequestTxn(inner) => keep_nothing(inner),
            PbTxnOpRequest::RequestRange(_) | PbTxnOpRequest::RequestDeleteRange(_) => {}
        }
    }
}
