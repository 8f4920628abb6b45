//! The executor of the store: writes the steps of plans under the controller's fence, many at once (rules S4, S5, S7).
//!
//! Plans of several workers that arrive while a transaction is on its way share the next one; an idle writer sends at
//! once, and one with more to write than a transaction holds sends several beside each other: the store syncs them to
//! its disk together. A step is atomic; the steps of a plan are written in order, and the first that does not hold ends
//! the plan. Plans that touch the same keys are written in the order in which they came.

use super::lanes::{Lanes, Touched};
use super::plan::{Expect, Plan, Step, Write};
use super::shared::SharedCache;
use crate::api::unit::Revision;
use crate::metrics::Metrics;
use crate::planted::{Bug, planted};
use crate::store::batch::{Committed, Unit, commit, mark};
use crate::store::{Compare, Error, Kv, Op};
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Writers may have so many plans waiting before callers wait for a place.
const WAITING_PLANS: usize = 1_024;

/// Writes under one fence; cheap to clone. The term is over when one of its writes says so.
#[derive(Clone)]
pub struct Writer {
    requests: mpsc::Sender<Request>,
    cache: Arc<SharedCache>,
}

struct Request {
    units: Vec<Unit>,
    written: Vec<u64>,
    compared: Vec<u64>,
    /// The answer waits until the cache shows what was written, unless the store was rewound since this epoch: one wake for
    /// both.
    seen_in: Option<u64>,
    answer: oneshot::Sender<Result<Revision, WriteError>>,
}

/// Why a plan was not (wholly) written.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum WriteError {
    /// What the plan rests on has changed: plan again.
    #[error("what the plan rests on has changed")]
    Conflict,
    /// Somebody else leads, or the outcome of a write is unknown: the term ends (rule S5).
    #[error("the term is over: {0}")]
    TermOver(String),
    /// The store did not take it; nothing of this step was applied.
    #[error("the store did not take the write")]
    Store(#[source] Error),
}

impl WriteError {
    /// Whether the same plan may be written later under the same term.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Conflict => true,
            Self::TermOver(_) => false,
            Self::Store(error) => error.is_retryable(),
        }
    }
}

impl Writer {
    /// A writer whose every transaction compares `fence`; it ends when the last clone is dropped.
    pub fn start(
        kv: Arc<dyn Kv>,
        cache: Arc<SharedCache>,
        controller: &'static str,
        fence: Vec<Compare>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let fence = if planted(Bug::SkipsFence) {
            Vec::new()
        } else {
            fence
        };
        let (requests, receiver) = mpsc::channel(WAITING_PLANS);
        crate::spawn::task(write_all(
            kv,
            cache.clone(),
            controller,
            fence,
            receiver,
            metrics,
        ));
        Self { requests, cache }
    }

    /// Writes the steps in order; returns the revision of the last.
    ///
    /// # Errors
    /// The first step that was not written, and why; the steps after it were not tried.
    pub async fn write(&self, steps: Vec<Step>) -> Result<Revision, WriteError> {
        self.ask(steps, None).await
    }

    async fn ask(&self, steps: Vec<Step>, seen_in: Option<u64>) -> Result<Revision, WriteError> {
        let units: Vec<Unit> = steps.into_iter().map(|step| self.unit(step)).collect();
        let (answer, answered) = oneshot::channel();
        let over = |_| WriteError::TermOver("the writer has ended".into());
        self.requests
            .send(Request::new(units, seen_in, answer))
            .await
            .map_err(|_| over(()))?;
        answered.await.map_err(|_| over(()))?
    }

    /// Writes the steps of a plan, which leave it, and waits until the cache shows them: nobody plans on a view older than
    /// its own writes.
    ///
    /// # Errors
    /// As for [`Writer::write`]; of an unordered plan all steps were tried.
    pub async fn carry_out(&self, plan: &mut Plan) -> Result<Revision, WriteError> {
        let steps = std::mem::take(&mut plan.steps);
        if !plan.is_unordered {
            return self.write_and_see(steps).await;
        }
        let written = steps.into_iter().map(|step| self.write_and_see(vec![step]));
        join_all(written)
            .await
            .into_iter()
            .try_fold(Revision(0), |last, written| written.map(|at| last.max(at)))
    }

    /// Writes the steps and waits until the cache shows them: nobody plans on a view older than its own writes.
    ///
    /// # Errors
    /// As for [`Writer::write`].
    pub async fn write_and_see(&self, steps: Vec<Step>) -> Result<Revision, WriteError> {
        let epoch = self.cache.progress().epoch;
        self.ask(steps, Some(epoch)).await
    }

    fn unit(&self, step: Step) -> Unit {
        let prefix = self.cache.prefix();
        let mut unit = Unit::default();
        let expects = step.expects.into_iter();
        for expect in expects.filter(|_| !planted(Bug::DropsCompares)) {
            unit.compares.push(match expect {
                Expect::Missing(key) => Compare::Missing(key.full(prefix)),
                Expect::Unchanged(key, revision) => Compare::ModifiedAt(key.full(prefix), revision),
                Expect::NoneBelow(below) => Compare::NoneBelow(format!("{prefix}{below}")),
                Expect::Known(key, revision) => {
                    unit.knows(key.full(prefix), revision);
                    continue;
                }
            });
        }
        let ops = step
            .writes
            .into_iter()
            .map(|write| match write {
                Write::Put(key, value) => Op::Put {
                    key: key.full(prefix),
                    value,
                    lease: None,
                },
                Write::Delete(key) => Op::Delete {
                    key: key.full(prefix),
                },
            })
            .collect();
        Unit { ops, ..unit }
    }
}

async fn write_all(
    kv: Arc<dyn Kv>,
    cache: Arc<SharedCache>,
    controller: &'static str,
    fence: Vec<Compare>,
    mut requests: mpsc::Receiver<Request>,
    metrics: Arc<Metrics>,
) {
    // Beside the fence the one write that all in the transaction know of.
    let mut lanes = Lanes::new(fence.len() + 1);
    let mut sent = FuturesUnordered::new();
    let mut over: Option<String> = None;
    let mut is_open = true;
    while is_open || !sent.is_empty() {
        tokio::select! {
            biased;
            Some((lane, ended)) = sent.next() => {
                lanes.done(lane);
                over = over.or(ended);
            }
            request = requests.recv(), if is_open => match request {
                Some(request) => lanes.add(request),
                None => is_open = false,
            },
        }
        while let Ok(more) = requests.try_recv() {
            lanes.add(more);
        }
        if let Some(why) = &over {
            for request in lanes.drain() {
                // The worker may have been dropped with its term: nobody to tell then.
                let _ = request.answer.send(Err(WriteError::TermOver(why.clone())));
            }
        }
        while let Some((lane, batch)) = lanes.next() {
            let (kv, cache, fence, metrics) = (&kv, &cache, &fence, &metrics);
            sent.push(async move {
                let ended = write_batch(&**kv, cache, controller, fence, batch, metrics).await;
                (lane, ended)
            });
        }
    }
}

impl Request {
    fn new(
        units: Vec<Unit>,
        seen_in: Option<u64>,
        answer: oneshot::Sender<Result<Revision, WriteError>>,
    ) -> Self {
        let ops = units.iter().flat_map(|unit| &unit.ops);
        let compares = units.iter().flat_map(|unit| &unit.compares);
        Self {
            written: ops.map(|op| mark(op.key())).collect(),
            compared: compares.map(|compare| mark(compare.key())).collect(),
            units,
            seen_in,
            answer,
        }
    }
}

impl Touched for Request {
    fn operations(&self) -> usize {
        self.written.len()
    }

    fn comparisons(&self) -> usize {
        self.compared.len()
    }

    fn written(&self) -> &[u64] {
        &self.written
    }

    fn compared(&self) -> &[u64] {
        &self.compared
    }
}

/// Writes the plans of one batch; says why the term is over, if it is.
async fn write_batch(
    kv: &dyn Kv,
    cache: &SharedCache,
    controller: &'static str,
    fence: &[Compare],
    batch: Vec<Request>,
    metrics: &Metrics,
) -> Option<String> {
    let mut over = None;
    let mut units = Vec::new();
    let mut asked = Vec::with_capacity(batch.len());
    for (plan, request) in batch.into_iter().enumerate() {
        let caller = (request.seen_in, request.answer);
        asked.push((request.units.len(), request.written.len(), caller));
        units.extend(request.units.into_iter().map(|unit| Unit { plan, ..unit }));
    }
    let mut outcomes = commit(kv, fence, units).await.into_iter();
    for (units, writes, (seen_in, caller)) in asked {
        let (answer, last) = answer(outcomes.by_ref().take(units));
        if answer.is_ok() {
            metrics.written(controller, writes);
        }
        if let Err(WriteError::TermOver(why)) = &answer {
            metrics.fenced(controller);
            over = Some(why.clone());
        }
        // Also where a later step did not hold: what comes next is planned on a view that has the earlier ones.
        let seen = match &answer {
            Err(WriteError::TermOver(_)) => None,
            Ok(_) | Err(WriteError::Conflict | WriteError::Store(_)) => last.zip(seen_in),
        };
        let tell = move || {
            // The caller may have been dropped meanwhile.
            let _ = caller.send(answer);
        };
        match seen {
            Some((revision, epoch)) => cache.when_reached(revision, epoch, tell),
            None => tell(),
        }
    }
    over
}

/// How a plan ended: its last step's revision, or the first step that was not written; and when the last one was that was.
fn answer(
    outcomes: impl Iterator<Item = Committed>,
) -> (Result<Revision, WriteError>, Option<Revision>) {
    let (mut answer, mut last) = (Ok(Revision(0)), None);
    // All of a plan's outcomes are taken, also after the first bad one: the next plan's follow them.
    for outcome in outcomes {
        let step = of_step(outcome);
        last = step.as_ref().ok().copied().or(last);
        answer = answer.and(step);
    }
    (answer, last)
}

fn of_step(outcome: Committed) -> Result<Revision, WriteError> {
    Err(match outcome {
        Committed::Committed(revision) => return Ok(revision),
        Committed::Conflict => WriteError::Conflict,
        Committed::FenceLost => WriteError::TermOver("another manager leads".into()),
        Committed::Unknown(error) if planted(Bug::OutlivesUnknownOutcome) => {
            WriteError::Store(error)
        }
        Committed::Unknown(error) => {
            WriteError::TermOver(format!("the outcome of a write is unknown: {error}"))
        }
        Committed::Failed(error) => WriteError::Store(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::key::Key;
    use crate::api::unit::Revision;
    use crate::embedded::fault::Fault;
    use crate::embedded::memory::Memory;
    use crate::store::{LEASE_TTL, WatchBatch, election};
    use std::time::Duration;

    const FENCE: &str = "/skep/election/test/0000000000000001";

    fn writer(store: &Memory) -> Writer {
        let term = store.put(FENCE, "us");
        fenced(store, vec![Compare::CreatedAt(FENCE.into(), term)])
    }

    fn fenced(store: &Memory, fence: Vec<Compare>) -> Writer {
        let cache = SharedCache::new("/skep/");
        Writer::start(
            Arc::new(store.clone()),
            cache,
            "test",
            fence,
            Arc::new(Metrics::new()),
        )
    }

    fn manager(name: &str) -> Key {
        Key::Manager(name.into())
    }

    fn put(name: &str) -> Step {
        Step::default().put(manager(name), &name)
    }

    #[tokio::test(start_paused = true)]
    async fn steps_are_written_in_order_and_the_first_that_does_not_hold_ends_the_plan() {
        let store = Memory::new();
        let writer = writer(&store);
        store.put("/skep/managers/taken", "x");
        let steps = [
            put("a"),
            put("taken").if_missing(manager("taken")),
            put("b"),
        ];
        assert_eq!(writer.write(steps.into()).await, Err(WriteError::Conflict));
        assert!(store.get("/skep/managers/a").is_some());
        assert!(store.get("/skep/managers/b").is_none());
        let conflicting = [put("taken").if_missing(manager("taken"))];
        let fine = [put("c")];
        let (bad, good) = tokio::join!(writer.write(conflicting.into()), writer.write(fine.into()));
        assert_eq!(
            bad,
            Err(WriteError::Conflict),
            "only the plan that conflicts"
        );
        assert_eq!(good, Ok(store.revision()));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_plans_again_has_seen_what_was_written_of_the_plan_before() {
        let store = Memory::new();
        let term = store.put(FENCE, "us");
        let fence = vec![Compare::CreatedAt(FENCE.into(), term)];
        let (kv, cache) = (Arc::new(store.clone()), SharedCache::new("/skep/"));
        let writer = Writer::start(kv, cache.clone(), "test", fence, Arc::default());
        store.put("/skep/managers/taken", "x");
        for is_unordered in [false, true] {
            let mut plan = Plan {
                steps: vec![put("a"), put("taken").if_missing(manager("taken"))],
                is_unordered,
                ..Plan::default()
            };
            let mut written = Box::pin(writer.carry_out(&mut plan));
            let long = Duration::from_secs(9);
            let answer = tokio::time::timeout(long, written.as_mut()).await;
            assert!(answer.is_err(), "the cache does not show it yet");
            cache.advance(&WatchBatch {
                revision: store.revision(),
                events: Vec::new(),
            });
            assert_eq!(written.await, Err(WriteError::Conflict));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn s4_a_leader_that_lost_its_key_cannot_write() {
        let store = Memory::new();
        let writer = writer(&store);
        store.delete(FENCE);
        let answer = writer.write(vec![put("a")]).await;
        assert!(matches!(answer, Err(WriteError::TermOver(_))), "{answer:?}");
        assert!(store.get("/skep/managers/a").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn s4_anothers_claim_at_the_same_revision_does_not_fulfil_a_fence() {
        const SHARD: &str = "/skep/shards/000";
        let store = Memory::new();
        let claim = async || {
            let lease = store.grant(LEASE_TTL).await.expect("a lease").id;
            match election::claim(&store, SHARD, lease, b"holder".to_vec()).await {
                Ok(election::Claim::Ours(term)) => (term, lease),
                taken => panic!("{taken:?}"),
            }
        };
        let backup = store.put("/skep/nodes/a", "x");
        let (term, lease) = claim().await;
        let writer = fenced(&store, election::claimed(SHARD, term, lease));
        assert!(writer.write(vec![put("a")]).await.is_ok());
        store.rewind(backup).expect("the backup is there");
        let (again, other) = claim().await;
        assert_eq!(again, term);
        let answer = writer.write(vec![put("b")]).await;
        assert!(matches!(answer, Err(WriteError::TermOver(_))), "{answer:?}");
        let writer = fenced(&store, election::claimed(SHARD, again, other));
        assert!(writer.write(vec![put("b")]).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn s5_an_unknown_outcome_ends_the_term_and_nothing_more_is_sent() {
        let store = Memory::new();
        let writer = writer(&store);
        store.fail_next(Fault::Late);
        let answer = writer.write(vec![put("a")]).await;
        assert!(matches!(answer, Err(WriteError::TermOver(_))), "{answer:?}");
        let before: Revision = store.revision();
        let answer = writer.write(vec![put("b")]).await;
        assert!(matches!(answer, Err(WriteError::TermOver(_))), "{answer:?}");
        assert_eq!(store.revision(), before);
        store.delete(FENCE);
        store.apply_late();
        assert!(
            store.get("/skep/managers/a").is_none(),
            "the late commit fails its fence"
        );
    }
}
