//! Fenced batches (rule S7): many independent units in few transactions.
//!
//! A unit is what has to happen together: comparisons and operations. Several go into one transaction; if it is refused,
//! each is tried on its own, so that one conflict does not hold up its neighbours. Nothing waits for more to come.
//!
//! Invariants:
//! - A transaction holds at most 127 operations, 128 comparisons with the fence, and about 1 MiB, and writes a key once. A
//!   unit that is larger by itself goes alone and gets the store's own refusal.
//! - Units take effect in their order where they touch the same keys.
//! - After an unknown outcome or a lost fence nothing more is sent; after a unit that did not happen, nothing more of its
//!   plan.

use super::{BATCH_BYTES, BATCH_OPERATIONS, Compare, Error, Kv, Op, Outcome, Reply, Txn};
use crate::api::unit::Revision;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// What has to happen together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// All have to hold, besides the fence.
    pub compares: Vec<Compare>,
    /// The newest write that the store's history has to have, and its revision: a key that was last written then. Of the units
    /// of one transaction the newest of all is compared: a history that has it has those before it.
    pub known: Option<(String, Revision)>,
    /// What happens then.
    pub ops: Vec<Op>,
    /// The plan that it belongs to: after a unit that did not happen, nothing more of its plan is tried.
    pub plan: usize,
}

impl Unit {
    /// The store's history has to have this write as well.
    pub fn knows(&mut self, key: String, revision: Revision) {
        let newest = self.known.take_if(|(_, newest)| *newest >= revision);
        self.known = newest.or(Some((key, revision)));
    }
}

/// How one unit ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It happened, at this revision.
    Committed(Revision),
    /// One of its own comparisons did not hold: look again.
    Conflict,
    /// The right to write is gone: it did not happen.
    FenceLost,
    /// Nobody knows whether it happened (rule S5): the term is over.
    Unknown(Error),
    /// It certainly did not happen.
    Failed(Error),
}

/// Commits units under a fence; the results come in their order.
pub async fn commit(kv: &dyn Kv, fence: &[Compare], units: Vec<Unit>) -> Vec<Committed> {
    let mut run = Run {
        kv,
        fence,
        end: None,
        ended_plans: BTreeMap::new(),
        results: Vec::with_capacity(units.len()),
    };
    for batch in pack(fence.len(), units) {
        run.batch(batch).await;
    }
    run.results
}

/// One call of [`commit`].
struct Run<'a> {
    kv: &'a dyn Kv,
    fence: &'a [Compare],
    /// What all further units get, once something has ended the run.
    end: Option<Committed>,
    /// Plans of which a unit did not happen, with how it ended.
    ended_plans: BTreeMap<usize, Committed>,
    results: Vec<Committed>,
}

impl Run<'_> {
    /// Tries a batch whole; if that is refused, its units one by one.
    async fn batch(&mut self, batch: Vec<Unit>) {
        let has_ended_plan = |unit: &Unit| self.ended_plans.contains_key(&unit.plan);
        let mut units = batch;
        if units.len() > 1 && !units.iter().any(has_ended_plan) {
            let together = Together::new(self.fence, units);
            let whole = self.try_one(&together.txn).await;
            let apart = match &whole {
                Committed::Conflict => true,
                Committed::Failed(error) => !error.is_retryable(),
                Committed::Committed(_) | Committed::FenceLost | Committed::Unknown(_) => false,
            };
            if !apart || self.end.is_some() {
                let results = std::iter::repeat_n(whole, together.shapes.len());
                self.results.extend(results);
                return;
            }
            units = together.apart();
        }
        for unit in units {
            let plan = unit.plan;
            let result = match self.ended_plans.get(&plan) {
                Some(ended) => ended.clone(),
                None => {
                    self.try_one(&Together::new(self.fence, vec![unit]).txn)
                        .await
                }
            };
            if !matches!(result, Committed::Committed(_)) {
                self.ended_plans.insert(plan, result.clone());
            }
            self.results.push(result);
        }
    }

    async fn try_one(&mut self, txn: &Txn) -> Committed {
        if let Some(end) = &self.end {
            return end.clone();
        }
        let result = send(self.kv, self.fence, txn).await;
        self.end = end_of(&result);
        result
    }
}

/// Units as one transaction, which they were moved into: a copy of what is written would cost as much as to send it.
struct Together {
    txn: Txn,
    shapes: Vec<Shape>,
    fence: usize,
}

/// What a unit has in a transaction.
struct Shape {
    compares: usize,
    known: Option<(String, Revision)>,
    ops: usize,
    plan: usize,
}

impl Together {
    fn new(fence: &[Compare], units: Vec<Unit>) -> Self {
        let compares: usize = units.iter().map(|unit| unit.compares.len()).sum();
        let get = |compare: &Compare| Op::Get {
            key: compare.key().into(),
        };
        let mut txn = Txn {
            compares: Vec::with_capacity(fence.len() + 1 + compares),
            then: Vec::with_capacity(units.iter().map(|unit| unit.ops.len()).sum()),
            otherwise: fence.iter().map(get).collect(),
        };
        txn.compares.extend_from_slice(fence);
        let mut shapes = Vec::with_capacity(units.len());
        for unit in units {
            shapes.push(Shape {
                compares: unit.compares.len(),
                known: unit.known,
                ops: unit.ops.len(),
                plan: unit.plan,
            });
            txn.compares.extend(unit.compares);
            txn.then.extend(unit.ops);
        }
        let known = shapes.iter().filter_map(|shape| shape.known.as_ref());
        let newest = known.max_by_key(|(_, revision)| *revision);
        let newest = newest.map(|(key, revision)| Compare::ModifiedAt(key.clone(), *revision));
        txn.compares.extend(newest);
        Self {
            txn,
            shapes,
            fence: fence.len(),
        }
    }

    /// The units that it was made of.
    fn apart(self) -> Vec<Unit> {
        let mut compares = self.txn.compares.into_iter().skip(self.fence);
        let mut ops = self.txn.then.into_iter();
        let unit = |shape: Shape| Unit {
            compares: compares.by_ref().take(shape.compares).collect(),
            known: shape.known,
            ops: ops.by_ref().take(shape.ops).collect(),
            plan: shape.plan,
        };
        self.shapes.into_iter().map(unit).collect()
    }
}

/// What the units after this result get, if it ends the run.
fn end_of(result: &Committed) -> Option<Committed> {
    match result {
        Committed::Committed(_) | Committed::Conflict => None,
        Committed::FenceLost => Some(Committed::FenceLost),
        // They were not sent.
        Committed::Unknown(error) => Some(Committed::Failed(error.clone())),
        Committed::Failed(error) => error.is_retryable().then(|| result.clone()),
    }
}

async fn send(kv: &dyn Kv, fence: &[Compare], txn: &Txn) -> Committed {
    match kv.txn(txn).await {
        Ok(Outcome::Committed { revision, .. }) => Committed::Committed(revision),
        Ok(Outcome::Refused { replies, .. }) if holds(fence, &replies) => Committed::Conflict,
        Ok(Outcome::Refused { .. }) => Committed::FenceLost,
        Ok(Outcome::Unknown { error }) => Committed::Unknown(error),
        Err(error) => Committed::Failed(error),
    }
}

/// Whether the fence held when the batch was refused: then a unit's own comparison did not.
fn holds(fence: &[Compare], replies: &[Reply]) -> bool {
    fence.len() == replies.len()
        && fence.iter().zip(replies).all(|(compare, reply)| {
            let Reply::Read(kvs) = reply else {
                return false;
            };
            let kv = kvs.first();
            match compare {
                Compare::Missing(_) | Compare::NoneBelow(_) => kv.is_none(),
                Compare::CreatedAt(_, at) => kv.is_some_and(|kv| kv.create_revision == *at),
                Compare::ModifiedAt(_, at) => kv.is_some_and(|kv| kv.mod_revision == *at),
                Compare::HeldBy(_, lease) => kv.is_some_and(|kv| kv.lease == *lease),
            }
        })
}

/// Puts units into transactions, in order. Pure.
fn pack(fence: usize, units: Vec<Unit>) -> Vec<Vec<Unit>> {
    let mut batches = Vec::new();
    let mut open = Open::default();
    for unit in units {
        if !open.units.is_empty() && !open.takes(fence, &unit) {
            batches.push(std::mem::take(&mut open).units);
        }
        open.add(unit);
    }
    if !open.units.is_empty() {
        batches.push(open.units);
    }
    batches
}

/// A number for a key, where it is asked whether two writes touch the same one: of two keys with one number the second
/// waits for the first, which costs time and nothing else.
pub fn mark(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// A transaction that is being filled.
#[derive(Default)]
struct Open {
    units: Vec<Unit>,
    ops: usize,
    compares: usize,
    has_known: bool,
    bytes: usize,
    written: BTreeSet<u64>,
}

impl Open {
    fn takes(&self, fence: usize, unit: &Unit) -> bool {
        let fits = self.ops + unit.ops.len() <= BATCH_OPERATIONS
            && self.comparisons(unit) + fence <= BATCH_OPERATIONS + 1
            && self.bytes + bytes(unit) <= BATCH_BYTES;
        // All comparisons of a transaction are made before its first write, and a key may be written once.
        let touched = unit.ops.iter().map(Op::key);
        let touched = touched.chain(unit.compares.iter().map(Compare::key));
        let mut touched = touched.chain(unit.known.iter().map(|(key, _)| key.as_str()));
        fits && !touched.any(|key| self.written.contains(&mark(key)))
    }

    /// How many comparisons there are with those of `unit`.
    fn comparisons(&self, unit: &Unit) -> usize {
        let known = usize::from(self.has_known || unit.known.is_some());
        self.compares + unit.compares.len() + known
    }

    fn add(&mut self, unit: Unit) {
        self.ops += unit.ops.len();
        self.compares += unit.compares.len();
        self.has_known |= unit.known.is_some();
        self.bytes += bytes(&unit);
        let written = unit.ops.iter().filter_map(|op| match op {
            Op::Put { key, .. } | Op::Delete { key } => Some(mark(key)),
            Op::Get { .. } => None,
        });
        self.written.extend(written);
        self.units.push(unit);
    }
}

/// About the size of a unit on the wire: the fields around a key and a value take less than 64 bytes.
fn bytes(unit: &Unit) -> usize {
    const AROUND: usize = 64;
    let value = |op: &Op| match op {
        Op::Put { value, .. } => value.len(),
        Op::Delete { .. } | Op::Get { .. } => 0,
    };
    let ops = unit
        .ops
        .iter()
        .map(|op| AROUND + op.key().len() + value(op));
    let compares = unit.compares.iter().map(|c| AROUND + c.key().len());
    ops.chain(compares).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(key: &str, bytes: usize) -> Op {
        Op::Put {
            key: key.into(),
            value: vec![0; bytes],
            lease: None,
        }
    }

    fn unit(name: usize, ops: usize, compares: usize, bytes: usize) -> Unit {
        let key = |n: usize| format!("k{name}/{n}");
        Unit {
            compares: (0..compares).map(|n| Compare::Missing(key(n))).collect(),
            ops: (0..ops).map(|n| put(&key(n), bytes)).collect(),
            plan: name,
            known: None,
        }
    }

    fn check(units: Vec<Unit>, wanted: &[usize]) {
        let sizes: Vec<usize> = pack(1, units).iter().map(Vec::len).collect();
        assert_eq!(sizes, wanted);
    }

    #[test]
    fn fills_transactions_up_to_the_limits() {
        check(vec![], &[]);
        check((0..127).map(|n| unit(n, 1, 1, 9)).collect(), &[127]);
        check((0..128).map(|n| unit(n, 1, 1, 9)).collect(), &[127, 1]);
        check((0..128).map(|n| unit(n, 1, 2, 9)).collect(), &[63, 63, 2]);
        check((0..3).map(|n| unit(n, 1, 0, 500_000)).collect(), &[2, 1]);
        check(
            vec![unit(0, 1, 0, 9), unit(1, 200, 0, 9), unit(2, 1, 0, 9)],
            &[1, 1, 1],
        );
    }

    /// The unit, and the key `kN` that was written at revision N.
    fn knowing(mut unit: Unit, revision: i64) -> Unit {
        unit.knows(format!("k{revision}"), Revision(revision));
        unit
    }

    #[test]
    fn of_what_units_know_the_newest_is_compared_for_all() {
        let units = (0..128).map(|n| knowing(unit(n, 1, 1, 9), 300 - n as i64));
        let packed = pack(1, units.collect());
        let sizes: Vec<usize> = packed.iter().map(Vec::len).collect();
        assert_eq!(sizes, [126, 2], "one place is for what they know");
        let fence = [Compare::Missing("fence".into())];
        for (batch, newest) in packed.into_iter().zip([300, 174]) {
            let last = Together::new(&fence, batch).txn.compares.pop();
            let newest = Compare::ModifiedAt(format!("k{newest}"), Revision(newest));
            assert_eq!(last, Some(newest));
        }
        let mut one = knowing(knowing(unit(0, 1, 0, 9), 5), 4);
        assert_eq!(one.known, Some(("k5".into(), Revision(5))));
        one.knows("k6".into(), Revision(6));
        assert_eq!(one.known, Some(("k6".into(), Revision(6))));
    }

    #[test]
    fn units_that_touch_the_same_key_go_one_after_the_other() {
        check(
            vec![unit(0, 1, 0, 9), unit(0, 1, 0, 9), unit(1, 1, 0, 9)],
            &[1, 2],
        );
        check(vec![unit(0, 1, 0, 9), unit(0, 0, 1, 9)], &[1, 1]);
        check(vec![unit(0, 0, 1, 9), unit(0, 1, 1, 9)], &[2]);
    }

    #[test]
    fn what_was_put_together_comes_apart_as_it_was() {
        let units = vec![
            unit(3, 1, 2, 9),
            knowing(unit(4, 0, 1, 9), 7),
            unit(4, 2, 0, 9),
        ];
        let fence = [Compare::Missing("fence".into())];
        let together = Together::new(&fence, units.clone());
        let (compares, ops) = (together.txn.compares.len(), together.txn.then.len());
        assert_eq!((compares, ops), (5, 3));
        assert_eq!(together.apart(), units);
    }

    proptest! {
        #[test]
        fn keeps_order_and_limits(sizes in proptest::collection::vec((0usize..40, 0usize..40), 0..60)) {
            let units: Vec<Unit> = sizes
                .iter()
                .enumerate()
                .map(|(n, (ops, compares))| unit(n, *ops, *compares, 100))
                .collect();
            let batches = pack(1, units.clone());
            for batch in &batches {
                prop_assert!(batch.iter().map(|u| u.ops.len()).sum::<usize>() <= BATCH_OPERATIONS);
                prop_assert!(batch.iter().map(|u| u.compares.len()).sum::<usize>() <= 127);
            }
            prop_assert_eq!(batches.concat(), units);
        }
    }
}
