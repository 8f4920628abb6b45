//! The loop around a controller's pure planner.
//!
//! ```text
//! campaign -> queue everything -> key -> snapshot + plan (pure) -> write under the fence -> wait until the cache shows it
//!    ^                             ^  change, resync, look again, retry |
//!    |                             +-----------------------------------+
//!    +---- the term is over: lease lost, key gone, fence refused, outcome unknown
//! ```
//!
//! Three outcomes of a reconcile, no fourth: done (perhaps look again at a time), retry with backoff, or wait for a
//! change. A conflict is not an error: what the plan rests on has changed, so it is planned again.

use super::apply::{WriteError, Writer};
use super::backoff::{Backoff, Backoffs};
use super::context::Context;
use super::controller::Controller;
use super::outage;
use super::plan::Plan;
use super::queue::Queue;
use super::term;
use crate::api::key::Key;
use crate::api::uid::Ids;
use crate::metrics::list;
use crate::spawn::part;
use crate::store::election::Leadership;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tracing::{error, info};

/// Everything is looked at again this often: whatever was missed is found.
pub const RESYNC: Duration = Duration::from_secs(300);
/// A plan that takes longer than this is followed by a rest ([`Controller::REST`]).
const QUICK: Duration = Duration::from_micros(500);
/// On a machine that is busy with other things a plan takes long without being large.
const LONGEST_REST: Duration = Duration::from_millis(250);
/// What workers have to end their last writes: the store's deadline and a little.
const LAST_WRITES: Duration = Duration::from_secs(3);
/// The first and the longest wait before a failed reconcile is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(30));

/// Runs a controller until `stop`: campaigns, leads, and campaigns again.
pub async fn run<C: Controller>(controller: Arc<C>, context: Context, stop: watch::Receiver<bool>) {
    let mut backoff = Backoff::store(context.clock.seed());
    let mut stopped = stop.clone();
    let mut candidate = context.candidate(C::NAME);
    context.metrics.introduce(C::NAME);
    loop {
        let campaign = async {
            context.cache.filled().await;
            candidate.campaign().await
        };
        let leadership = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            leadership = campaign => leadership,
        };
        match leadership {
            Ok(leadership) => {
                backoff.reset();
                let leadership = Arc::new(leadership);
                info!(controller = C::NAME, term = %leadership.term, "leads");
                let leads = context.metrics.lead(C::NAME);
                let why = lead(&controller, &context, &leadership, stop.clone()).await;
                drop(leads);
                info!(controller = C::NAME, term = %leadership.term, why, "leads no longer");
                // If the store does not answer, the lease runs out by itself.
                let _ = leadership.session.close().await;
            }
            Err(error) => {
                outage::failed(C::NAME, "campaigning", &error);
                tokio::time::sleep(backoff.next()).await;
            }
        }
    }
}

/// How long a key rests after a plan that took so long. Small objects never rest.
fn rest<C: Controller>(planned: Duration) -> Duration {
    match planned > QUICK {
        true => LONGEST_REST.min(planned * C::REST),
        false => Duration::ZERO,
    }
}

/// One term of a controller.
struct Reign<C: Controller> {
    controller: Arc<C>,
    context: Context,
    leadership: Arc<Leadership>,
    queue: Arc<Queue<C::Work>>,
    writer: Writer,
    retries: Mutex<Backoffs<C::Work>>,
}

/// Leads until the term is over or `stop`; says why it ended.
async fn lead<C: Controller>(
    controller: &Arc<C>,
    context: &Context,
    leadership: &Arc<Leadership>,
    mut stop: watch::Receiver<bool>,
) -> String {
    // A leader that has not seen its own election would plan on a view from before it, at whatever change it hears of.
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return "stopping".to_owned(),
        () = leadership.session.lost() => return "the lease is lost".to_owned(),
        () = context.cache.caught_up(leadership.since) => {}
    }
    let queue = Arc::new(Queue::new(C::NAME, C::WORKERS, &context.metrics));
    let reign = Arc::new(Reign {
        controller: controller.clone(),
        context: context.clone(),
        leadership: leadership.clone(),
        queue: queue.clone(),
        writer: Writer::start(
            context.kv.clone(),
            context.cache.clone(),
            C::NAME,
            vec![leadership.fence()],
            context.metrics.clone(),
        ),
        retries: Mutex::new(Backoffs::new(RETRY.0, RETRY.1, context.clock.seed())),
    });
    let feed = (controller.clone(), queue.clone());
    let _subscription = context.cache.subscribe(move |cache, keys| {
        // A hundred tasks of one service that change together are one thing to look at.
        let mut last = None;
        for work in keys.iter().flat_map(|key| feed.0.work(key, cache)) {
            if last.as_ref() != Some(&work) {
                feed.1.add(work.clone());
                last = Some(work);
            }
        }
    });
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..C::WORKERS {
        workers.spawn(part(reign.clone().work()));
    }
    let lease = leadership.session.lease();
    let key = Key::Election(C::NAME.to_owned(), lease);
    let why = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => "stopping".to_owned(),
        () = leadership.session.lost() => "the lease is lost".to_owned(),
        why = term::over(context, C::NAME, &key, leadership.term, lease) => why,
        why = workers.join_next() => match why {
            Some(Ok(why)) => why,
            Some(Err(error)) => format!("a worker ended: {error}"),
            None => "no workers".to_owned(),
        },
        () = reign.resync() => "resync ended".to_owned(),
    };
    queue.close();
    // A worker that is in the middle of a write ends with it: the outcome belongs to this term. One that waits for a
    // store that does not answer is dropped: what it wrote is found by the next term.
    let _ = tokio::time::timeout(LAST_WRITES, async {
        while workers.join_next().await.is_some() {}
    })
    .await;
    why
}

impl<C: Controller> Reign<C> {
    async fn resync(&self) {
        loop {
            self.queue.extend(
                self.context
                    .cache
                    .read(|cache| self.controller.all_work(cache)),
            );
            tokio::time::sleep(RESYNC).await;
        }
    }

    /// One worker: until the queue is closed or the term is over.
    async fn work(self: Arc<Self>) -> String {
        while let Some(work) = self.queue.next().await {
            let started = super::clock::timer_now();
            let result = self.reconcile(&work).await;
            let elapsed = super::clock::timer_now() - started;
            self.context
                .metrics
                .observe(&list::RECONCILE_TIME, &[C::NAME], elapsed);
            match result {
                Ok(planned) => self.queue.done_after(work, rest::<C>(planned)),
                Err(why) => {
                    self.queue.done(&work);
                    return why;
                }
            }
        }
        "the queue is closed".into()
    }

    /// Looks at one key; says how long the plan took. An error ends the term.
    async fn reconcile(&self, work: &C::Work) -> Result<Duration, String> {
        if !self.leadership.session.is_valid_now() {
            return Err("the lease's deadline has passed".into());
        }
        let started = super::clock::timer_now();
        let plan = self.plan(work);
        let planned = started.elapsed();
        let Some(mut plan) = plan else {
            self.retry(work, "panic");
            return Ok(planned);
        };
        let written = match plan.steps.is_empty() {
            true => Ok(()),
            false => self.writer.carry_out(&mut plan).await.map(|_| ()),
        };
        match written {
            Ok(()) => {
                self.retries
                    .lock()
                    .expect("no code panics while it holds the retries")
                    .reset(work);
                self.context.recorder.record(C::NAME, plan.notes);
                for count in plan.counts {
                    let metrics = &self.context.metrics;
                    metrics.add(count.family, &[count.label], count.amount);
                }
                let result = if plan.look_again.is_some() {
                    "requeue_after"
                } else {
                    "success"
                };
                self.context
                    .metrics
                    .add(&list::RECONCILES, &[C::NAME, result], 1);
                if let Some(delay) = plan.look_again {
                    self.queue.add_after(work.clone(), delay);
                }
            }
            Err(WriteError::Conflict) => self.retry(work, "requeue"),
            Err(WriteError::TermOver(why)) => return Err(why),
            Err(WriteError::Store(error)) => {
                outage::failed(C::NAME, &format!("writing the plan for {work}"), &error);
                self.retry(work, "error");
                if !error.is_retryable() {
                    self.context
                        .metrics
                        .add(&list::RECONCILE_TERMINAL_ERRORS, &[C::NAME], 1);
                }
            }
        }
        Ok(planned)
    }

    /// Plans; none if the planner panicked: one object must not take the others down.
    fn plan(&self, work: &C::Work) -> Option<Plan> {
        let mut ids = Ids::from_seed(self.context.clock.seed());
        let now = self.context.clock.now();
        let plan = || {
            self.context
                .cache
                .read(|cache| self.controller.plan(work, cache, now, &mut ids))
        };
        catch_unwind(AssertUnwindSafe(plan))
            .inspect_err(|_| {
                error!(controller = C::NAME, %work, "the planner panicked; this object waits, the others go on");
                self.context.metrics.add(&list::RECONCILE_PANICS, &[C::NAME], 1);
            })
            .ok()
    }

    fn retry(&self, work: &C::Work, result: &str) {
        self.context
            .metrics
            .add(&list::RECONCILES, &[C::NAME, result], 1);
        if result != "requeue" {
            self.context
                .metrics
                .add(&list::RECONCILE_ERRORS, &[C::NAME], 1);
        }
        let delay = self
            .retries
            .lock()
            .expect("no code panics while it holds the retries")
            .next(work);
        self.queue.retry_after(work.clone(), delay);
    }
}
