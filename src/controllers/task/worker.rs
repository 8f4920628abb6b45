//! One worker: plan, write and order, take in what was seen, and again until nothing is left to do.

use super::driver::{Connection, Ended};
use super::networks::{Callers, Networks};
use super::plan::{Decision, plan};
use super::snapshot::{Image, Progress, Refused, Seen, Snapshot};
use crate::api::uid::TaskId;
use crate::engine::{ContainerState, Error};
use crate::metrics::list;
use crate::runtime::apply::WriteError;
use crate::runtime::cache::Cache;
use crate::runtime::clock::timer_now;
use crate::runtime::orders::{Failure, Order, Report, Sight};
use crate::runtime::outage;
use crate::runtime::plan::Expect;
use crate::runtime::view::TASK;
use std::sync::Arc;
use std::time::Duration;

/// How soon a plan whose ground has changed is made again, in case the cache saw the change before the answer.
const CONFLICT: Duration = Duration::from_millis(50);

/// What comes after one round.
enum Next {
    /// Plan again.
    Again,
    /// Nothing to do until something changes, or until then.
    Wait(Option<Duration>),
}

impl Connection {
    /// One worker: until the term is over.
    pub(super) async fn work(self: Arc<Self>) -> Ended {
        while let Some(task) = self.queue.next().await {
            let started = timer_now();
            let result = self.settle(&task).await;
            self.count(&task, &result, timer_now() - started);
            self.queue.done(&task);
            match result {
                Ok(Some(delay)) => self.queue.add_after(task, delay),
                Ok(None) => {}
                Err(why) => return Ended::Term(why),
            }
        }
        Ended::Engine("the workers were stopped".into())
    }

    /// Counts a look at one task as the reconciles of other controllers are counted.
    fn count(&self, task: &TaskId, result: &Result<Option<Duration>, String>, took: Duration) {
        let has_trouble = || {
            let memory = self.memory();
            memory
                .get(task)
                .is_some_and(|progress| progress.trouble.is_some())
        };
        let metrics = &self.driver.context.metrics;
        let result = match result {
            Err(_) => return,
            Ok(_) if has_trouble() => "error",
            Ok(Some(_)) => "requeue_after",
            Ok(None) => "success",
        };
        metrics.observe(&list::RECONCILE_TIME, &[TASK], took);
        metrics.add(&list::RECONCILES, &[TASK, result], 1);
    }

    /// Works on one task until it is in step; says when to look again. An error ends the term.
    async fn settle(self: &Arc<Self>, task: &TaskId) -> Result<Option<Duration>, String> {
        loop {
            if !(self.driver.may_act)() {
                return Err("the lease's deadline has passed".into());
            }
            self.serves()?;
            // Mostly what this worker itself has written since its last look.
            self.queue.catch_up(task);
            let changes = self.plane().changes();
            let Some(mut decision) = self.decide(task) else {
                self.pulls.leave(task);
                return Ok(None);
            };
            let is_pull = |order: &mut Order| matches!(order, Order::Pull { .. });
            match decision.order.take_if(is_pull) {
                // Not waited for: what is wanted of the task may change before a registry answers.
                Some(Order::Pull { image }) => self.begin_pull(task, &image),
                Some(_) | None => self.pulls.leave(task),
            }
            if self.driver.feed.is_some() {
                self.note_wait(task, decision.waits);
            }
            if decision.waits && !self.plane().wait(task, changes) {
                continue;
            }
            match self.act(task, decision).await? {
                Next::Again => {}
                Next::Wait(delay) => return Ok(delay),
            }
        }
    }

    fn decide(&self, task: &TaskId) -> Option<Decision> {
        let driver = &self.driver;
        let life = driver.context.cache.read(Cache::incarnation);
        let (seen, ahead) = {
            let view = self.view();
            (view.seen(task), view.is_ahead(life))
        };
        let progress = self.memory().entry(task.clone()).or_default().clone();
        let now = driver.context.clock.now();
        let (decision, is_known) = driver.context.cache.read(|cache| {
            let mut snapshot = Snapshot::new(
                cache,
                &driver.node,
                task,
                driver.term,
                &seen,
                &progress,
                now,
            )?;
            snapshot.is_adopting |= ahead;
            let networks = match (&driver.feed, snapshot.task) {
                (Some(_), Some((service, record))) => {
                    Networks::of(cache, service, record, &self.plane())
                }
                (_, _) => Networks::Engines,
            };
            snapshot.networks = &networks;
            if let (Some(_), Some((service, record))) = (&driver.feed, snapshot.task) {
                snapshot.callers = Callers::of(cache, service, record, &driver.acknowledged);
            }
            let is_known =
                snapshot.task.is_some() || snapshot.has_binding_key || snapshot.has_status_key;
            Some((plan(&snapshot), is_known))
        })?;
        if !is_known {
            self.memory().remove(task);
            self.view().forget(task);
        }
        Some(decision)
    }

    /// Notes since when a task waits for its networks or its callers.
    fn note_wait(&self, task: &TaskId, waits: bool) {
        let now = self.now();
        if let Some(progress) = self.memory().get_mut(task) {
            progress.waits_since = waits.then(|| progress.waits_since.unwrap_or(now));
        }
    }

    async fn act(&self, task: &TaskId, mut decision: Decision) -> Result<Next, String> {
        let has_step = !decision.step.writes.is_empty();
        if decision.order.is_none() && !has_step {
            return Ok(Next::Wait(decision.look_again));
        }
        let before = self.view().seen(task);
        if let Some(Order::Start { .. }) = &decision.order {
            // Before it is sent: a worker that is dropped meanwhile must not send it again (rule C4).
            self.note(task, |progress| progress.start_sent = Some(self.now()));
        }
        let committed = committed(&decision);
        let step = std::mem::take(&mut decision.step);
        let write = async {
            match has_step {
                true => {
                    let writer = &self.driver.writer;
                    writer.write_and_see(vec![step]).await.map(|_| ())
                }
                false => Ok(()),
            }
        };
        let order = async {
            match &decision.order {
                Some(order) => Some(self.orders.run(order).await),
                None => None,
            }
        };
        let (written, report) = tokio::join!(write, order);
        if let (Some(order), Some(report)) = (&decision.order, report) {
            self.take_in(task, order, report, &before)?;
        }
        match written {
            Ok(()) => {
                let recorder = &self.driver.context.recorder;
                recorder.record(TASK, decision.note);
                if decision.commits_start {
                    self.note(task, |progress| progress.committed = committed);
                }
                Ok(Next::Again)
            }
            Err(WriteError::TermOver(why)) => Err(why),
            Err(WriteError::Conflict) => Ok(Next::Wait(Some(CONFLICT))),
            Err(WriteError::Store(error)) => {
                outage::failed(TASK, &format!("writing the status of {task}"), &error);
                let delay = self.next_delay(task);
                Ok(Next::Wait(Some(delay)))
            }
        }
    }

    /// Takes in what became of an order.
    pub(super) fn take_in(
        &self,
        task: &TaskId,
        order: &Order,
        report: Report,
        before: &Seen,
    ) -> Result<(), String> {
        if report.result == Err(Failure::TermOver) {
            return Err(Failure::TermOver.to_string());
        }
        let is_stranger = self.sight(task, order, &report);
        let after = self.view().seen(task);
        match (&report.result, order) {
            (Ok(()), Order::Pull { .. }) => {
                self.note(task, |progress| progress.image = Image::Pulled);
                self.went_well(task);
            }
            (Ok(()), Order::Inspect { .. }) => {}
            // The engine took it and nothing changed: not again at once.
            (Ok(()), Order::Stop { .. } | Order::Remove { .. } | Order::Create { .. })
                if after == *before && !is_removing(&after) =>
            {
                self.went_wrong(task, "the engine took the order and nothing changed");
            }
            (Ok(()), _) => self.went_well(task),
            (Err(Failure::Engine(error)), order) => {
                self.failed(task, order, error, is_stranger, &after);
            }
            (Err(Failure::TermOver), _) => {}
        }
        Ok(())
    }

    /// Takes in what was seen; says whether somebody else's container stands under the task's name.
    fn sight(&self, task: &TaskId, order: &Order, report: &Report) -> bool {
        let mut is_stranger = false;
        match &report.sight {
            Some(Sight::Here(container)) => {
                is_stranger = self.see(container.clone()).as_ref() != Some(task);
                if is_stranger {
                    // Who has the name is not ours: ours is not there.
                    self.view().remove_task(task);
                }
            }
            Some(Sight::Missing) => self.view().remove_task(task),
            None if matches!(order, Order::Pull { .. }) => return false,
            None => self.view().doubt(task),
        }
        let now = report.sight.as_ref().map(|_| self.now());
        self.note(task, |progress| progress.looked_at = now);
        is_stranger
    }

    fn failed(&self, task: &TaskId, order: &Order, error: &Error, is_stranger: bool, after: &Seen) {
        let message = error.to_string();
        match (order, error) {
            (Order::Create { name, .. }, Error::Conflict { .. }) if is_stranger => {
                let message = format!(
                    "{name} is the name of a container that is not ours; it is left alone: {message}"
                );
                self.refuse(task, "NameConflict", message);
            }
            // The holder of the name is this task's own container: an earlier create whose answer was lost.
            (Order::Create { .. }, Error::Conflict { .. }) if matches!(after, Seen::Here(_)) => {}
            (Order::Create { .. }, Error::NotFound { .. }) => self.not_found(task, message),
            (Order::Create { .. }, error) if is_final(error) => {
                self.refuse(task, "CreateRefused", message);
            }
            (Order::Pull { .. }, error) if is_final(error) => {
                self.refuse(task, "NoSuchImage", message);
            }
            // Certainly not sent: it may be sent again.
            (Order::Start { .. }, error) if error.is_retryable() && !error.is_ambiguous() => {
                self.note(task, |progress| progress.start_sent = None);
                self.went_wrong(task, &message);
            }
            // Whether it happened is for the next looks to find out.
            (Order::Start { .. }, error) if error.is_ambiguous() => {}
            (Order::Start { .. }, _) if *after != Seen::Missing => {
                self.refuse(task, "StartFailed", message);
            }
            (_, Error::NotFound { .. }) if *after == Seen::Missing => {}
            _ => self.went_wrong(task, &message),
        }
    }

    /// A create answered 404: mostly the image.
    fn not_found(&self, task: &TaskId, message: String) {
        let lower = message.to_lowercase();
        let is_image = lower.contains("image");
        if self.driver.feed.is_some() && !is_image && lower.contains("network") {
            // Somebody removed it: it is made again.
            self.plane_doubts.notify_one();
            self.went_wrong(task, &message);
            return;
        }
        let was = self.memory().get(task).map(|progress| progress.image);
        match (is_image, was) {
            (true, Some(Image::Unknown) | None) => {
                self.note(task, |progress| progress.image = Image::Absent);
            }
            (true, Some(Image::Absent | Image::Pulled)) => {
                self.refuse(task, "NoSuchImage", message);
            }
            (false, _) => self.refuse(task, "CreateRefused", message),
        }
    }

    fn refuse(&self, task: &TaskId, reason: &'static str, message: String) {
        let metrics = &self.driver.context.metrics;
        metrics.add(&list::RECONCILE_ERRORS, &[TASK], 1);
        metrics.add(&list::RECONCILE_TERMINAL_ERRORS, &[TASK], 1);
        self.note(task, |progress| {
            progress.refused = Some(Refused { reason, message });
        });
    }

    fn went_well(&self, task: &TaskId) {
        self.retries
            .lock()
            .expect("no code panics while it holds the retries")
            .reset(task);
        self.note(task, |progress| {
            progress.trouble = None;
            progress.retry_at = None;
        });
    }

    fn went_wrong(&self, task: &TaskId, message: &str) {
        let metrics = &self.driver.context.metrics;
        metrics.add(&list::RECONCILE_ERRORS, &[TASK], 1);
        metrics.add(&list::QUEUE_RETRIES, &[TASK, TASK], 1);
        let at = self.now() + self.next_delay(task);
        self.note(task, |progress| {
            progress.trouble = Some(message.to_owned());
            progress.retry_at = Some(at);
        });
    }

    fn next_delay(&self, task: &TaskId) -> Duration {
        self.retries
            .lock()
            .expect("no code panics while it holds the retries")
            .next(task)
    }

    fn note(&self, task: &TaskId, change: impl FnOnce(&mut Progress)) {
        change(self.memory().entry(task.clone()).or_default());
    }
}

/// Whether the engine will say the same again.
fn is_final(error: &Error) -> bool {
    match error {
        Error::NotFound { .. } => true,
        Error::Refused { .. } => !error.is_retryable(),
        Error::Connect { .. }
        | Error::Tls { .. }
        | Error::Timeout { .. }
        | Error::Broken { .. }
        | Error::Conflict { .. }
        | Error::Config { .. } => false,
    }
}

fn is_removing(seen: &Seen) -> bool {
    matches!(seen, Seen::Here(container) if container.state == ContainerState::Removing)
}

/// What the commitment to start compared.
fn committed(
    decision: &Decision,
) -> Option<(crate::api::unit::Revision, crate::api::unit::Revision)> {
    match decision.step.expects.as_slice() {
        [Expect::Unchanged(_, task), Expect::Known(_, binding)] => Some((*task, *binding)),
        _ => None,
    }
}
