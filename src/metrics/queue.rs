//! The metrics of work queues.
//!
//! What a queue does is counted as it happens; how it stands is asked of it when somebody reads the metrics. Several
//! queues may carry one name (the task controller has one for each engine): they add up. A queue that is gone counts
//! as empty, so a worker that is dropped with its queue leaves nothing behind.

use super::{Metrics, list};
use prometheus::{Histogram, IntCounter};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How a queue stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Keys that wait to be handed out.
    pub waiting: usize,
    /// For how long workers have had theirs.
    pub working: Vec<Duration>,
}

/// A queue that can be asked how it stands.
pub trait Watched: Send + Sync {
    /// How it stands now; must not wait.
    fn standing(&self) -> Standing;
}

/// The queues of a manager, by name.
#[derive(Default)]
pub(super) struct Queues(Mutex<BTreeMap<String, Vec<Member>>>);

struct Member {
    queue: Weak<dyn Watched>,
    workers: usize,
}

impl Queues {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Member>>> {
        // A map of weak references is whole after a panic, too.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metrics {
    /// Adds a queue that so many workers serve. `task-inspect` is a queue of the controller `task`.
    pub fn queue(
        self: &Arc<Self>,
        name: &str,
        workers: usize,
        queue: &Arc<impl Watched + 'static>,
    ) -> Handle {
        let queue: Arc<dyn Watched> = queue.clone();
        let member = Member {
            queue: Arc::downgrade(&queue),
            workers,
        };
        self.queues
            .lock()
            .entry(name.to_owned())
            .or_default()
            .push(member);
        let labels = [name, controller(name)];
        Handle {
            adds: self.counter(&list::QUEUE_ADDS, &labels),
            retries: self.counter(&list::QUEUE_RETRIES, &labels),
            waits: self.histogram(&list::QUEUE_WAIT, &labels),
            works: self.histogram(&list::QUEUE_WORK, &labels),
        }
    }

    /// Brings the gauges of all queues up to date.
    pub(super) fn look_at_queues(&self) {
        let mut queues = self.queues.lock();
        for (name, members) in &mut *queues {
            members.retain(|member| member.queue.strong_count() > 0);
            let standings = members.iter().filter_map(|member| {
                let queue = member.queue.upgrade()?;
                Some((queue.standing(), member.workers))
            });
            self.show(name, standings.collect());
        }
    }

    fn show(&self, name: &str, standings: Vec<(Standing, usize)>) {
        let controller = controller(name);
        let labels = [name, controller];
        let waiting: usize = standings.iter().map(|(one, _)| one.waiting).sum();
        let working = || standings.iter().flat_map(|(one, _)| &one.working);
        let unfinished: Duration = working().sum();
        let longest = working().max().copied().unwrap_or_default();
        self.set(&list::QUEUE_DEPTH, &labels, waiting as f64);
        self.set(&list::QUEUE_UNFINISHED, &labels, unfinished.as_secs_f64());
        self.set(&list::QUEUE_LONGEST, &labels, longest.as_secs_f64());
        if name == controller {
            let workers: usize = standings.iter().map(|(_, workers)| workers).sum();
            self.set(&list::MAX_WORKERS, &[name], workers as f64);
            self.set(&list::ACTIVE_WORKERS, &[name], working().count() as f64);
        }
    }
}

/// The controller that a queue belongs to.
fn controller(queue: &str) -> &str {
    queue.split('-').next().unwrap_or(queue)
}

/// Counts what a queue does. Its series are looked up once: queues count several times per key.
#[derive(Clone)]
pub struct Handle {
    adds: Option<IntCounter>,
    retries: Option<IntCounter>,
    waits: Option<Histogram>,
    works: Option<Histogram>,
}

impl Handle {
    /// A key was added.
    pub fn added(&self) {
        count(self.adds.as_ref());
    }

    /// A worker took a key that had waited so long.
    pub fn started(&self, waited: Duration) {
        observe(self.waits.as_ref(), waited);
    }

    /// A worker is done with a key after so long.
    pub fn finished(&self, worked: Duration) {
        observe(self.works.as_ref(), worked);
    }

    /// A key is tried again after a failure.
    pub fn retried(&self) {
        count(self.retries.as_ref());
    }
}

fn count(counter: Option<&IntCounter>) {
    if let Some(counter) = counter {
        counter.inc();
    }
}

fn observe(histogram: Option<&Histogram>, time: Duration) {
    if let Some(histogram) = histogram {
        histogram.observe(time.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Standing);

    impl Watched for Fixed {
        fn standing(&self) -> Standing {
            self.0.clone()
        }
    }

    fn fixed(waiting: usize, working: &[u64]) -> Arc<Fixed> {
        let working = working.iter().map(|time| Duration::from_secs(*time));
        Arc::new(Fixed(Standing {
            waiting,
            working: working.collect(),
        }))
    }

    #[track_caller]
    fn has(metrics: &Metrics, series: &str) {
        let text = metrics.render();
        assert!(
            text.lines().any(|line| line == series),
            "no {series} in:\n{text}"
        );
    }

    #[test]
    fn queues_of_one_name_add_up_and_one_that_is_gone_counts_no_more() {
        let metrics = Arc::new(Metrics::new());
        let (first, second) = (fixed(2, &[1, 4]), fixed(3, &[2]));
        metrics.queue("task", 8, &first);
        metrics.queue("task", 8, &second);
        has(
            &metrics,
            r#"workqueue_depth{controller="task",name="task"} 5"#,
        );
        has(
            &metrics,
            r#"workqueue_unfinished_work_seconds{controller="task",name="task"} 7"#,
        );
        has(
            &metrics,
            r#"workqueue_longest_running_processor_seconds{controller="task",name="task"} 4"#,
        );
        has(
            &metrics,
            r#"controller_runtime_max_concurrent_reconciles{controller="task"} 16"#,
        );
        drop(first);
        has(
            &metrics,
            r#"controller_runtime_active_workers{controller="task"} 1"#,
        );
        drop(second);
        has(
            &metrics,
            r#"workqueue_depth{controller="task",name="task"} 0"#,
        );
    }

    #[test]
    fn a_side_queue_has_its_controllers_label() {
        let metrics = Arc::new(Metrics::new());
        let queue = fixed(1, &[]);
        metrics.queue("task-inspect", 8, &queue);
        has(
            &metrics,
            r#"workqueue_depth{controller="task",name="task-inspect"} 1"#,
        );
    }
}
