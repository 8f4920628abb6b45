//! Tasks and their containers: what was seen only moves forward, what ran is not made again, who may start it, and what
//! is adopted (rules C3, C4, N3, S6). Pure.

use super::{Bench, LAG, Made, STALE};
use crate::api::task::{Desired, Task, TaskState, TaskStatus};
use crate::api::uid::TaskId;
use crate::sim::witness::Happening;
use std::collections::BTreeSet;

/// What is remembered of tasks.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Tasks that were reported to run, or to have run.
    ran: BTreeSet<TaskId>,
}

impl Memory {
    /// The store went back: a report from before may be lost with it.
    pub(super) fn lost(&mut self) {
        self.ran.clear();
    }
}

impl Bench {
    pub(super) fn check_task(&mut self, new: &Task) {
        let before = self.store.tasks.get(&new.id).map(|(_, task)| task.desired);
        self.check_reaped(new, before);
        let is_long = |since| !self.log.is_within(Some(since), LAG);
        if !self.adopting_since().is_some_and(is_long) {
            return;
        }
        let is_kept = match before {
            None => new.adopted_from.is_some(),
            Some(before) => {
                before == new.desired || before > Desired::Running || self.store.is_over(&new.id)
            }
        };
        let rule = "nothing is stopped or started while what runs is adopted (S6)";
        self.log.check(rule, is_kept, || {
            format!(
                "task {} is to be {:?}, after {before:?}",
                new.id, new.desired
            )
        });
    }

    /// A record that is made only to remove a container of an earlier life.
    fn check_reaped(&mut self, new: &Task, before: Option<Desired>) {
        if before.is_some() || new.desired != Desired::Remove {
            return;
        }
        let life = self
            .store
            .cluster
            .as_ref()
            .map(|cluster| cluster.incarnation);
        let mut containers = self.containers.values();
        let made = containers.find(|made| made.task == new.id);
        let is_earlier = made.is_some_and(|made| Some(made.incarnation) < life);
        let rule = "what an earlier life left waits for a person (C3)";
        self.log.check(rule, !is_earlier, || {
            format!("task {} is recorded only to be removed", new.id)
        });
    }

    pub(super) fn check_status(&mut self, new: &TaskStatus) {
        let before = self.store.statuses.get(&new.task);
        let before = before.map(|(_, status)| status.state);
        let rule = "what was seen of a task never goes back (C4)";
        self.log.check(rule, before <= Some(new.state), || {
            format!("task {} was {before:?} and is {:?}", new.task, new.state)
        });
        if new.state.is_terminal() && !before.is_some_and(TaskState::is_terminal) {
            let mut containers = self.containers.values();
            let runs = containers.find(|made| made.runs && made.task == new.task);
            let runs = runs.map(|made| made.name.clone());
            let rule = "a task is over once its container was seen stopped (C6)";
            self.log.check(rule, runs.is_none(), || {
                format!("task {} is {:?}, and {runs:?} runs", new.task, new.state)
            });
        }
        if new.state == TaskState::Running || new.started_at.is_some() {
            self.tasks.ran.insert(new.task.clone());
        }
    }

    /// After a step: what is adopted was made from what its record says.
    pub(super) fn check_adopted(&mut self, task: &Task) {
        if task.adopted_from.is_none() || task.desired > Desired::Running {
            return;
        }
        let template = self
            .store
            .templates
            .get(&(task.service.clone(), task.revision));
        let mut containers = self.containers.values();
        let made = containers.find(|made| made.task == task.id);
        let (Some(template), Some(made)) = (template, made) else {
            return;
        };
        let rule = "what is adopted is of the revision that its record names (C3)";
        let (is_kept, name) = (made.hash == *template, made.name.clone());
        self.log.check(rule, is_kept, || {
            format!("{name} is adopted as of revision {}", task.revision)
        });
    }

    /// After a step: a task whose successor runs already goes once that one runs.
    pub(super) fn check_pair(&mut self, old: &Task) {
        let reasons = ["Updated", "Drained", "NodeDeleted", "ConstraintViolated"];
        let is_changed = old
            .reason
            .as_deref()
            .is_some_and(|why| reasons.contains(&why));
        if old.desired != Desired::Shutdown || !is_changed || self.store.is_over(&old.id) {
            return;
        }
        let mut tasks = self.store.tasks.values().map(|(_, task)| task);
        let takes_over =
            |new: &&Task| new.replaces.as_ref() == Some(&old.id) && new.desired == Desired::Running;
        let Some(new) = tasks.find(takes_over).map(|new| new.id.clone()) else {
            return;
        };
        let status = self.store.statuses.get(&new);
        let is_there = status.is_some_and(|(_, status)| status.state >= TaskState::Running);
        let rule = "the old one of a pair goes once the new one runs (N3)";
        self.log.check(rule, is_there, || {
            format!("task {} goes, and {new} does not run yet", old.id)
        });
    }

    pub(super) fn check_made(&mut self, made: &Made) {
        let rule = "what ran is not made anew (C4)";
        self.log
            .check(rule, !self.tasks.ran.contains(&made.task), || {
                format!("{} is made on {}, and its task ran", made.name, made.engine)
            });
    }

    pub(super) fn check_started(&mut self, made: &Made) {
        let is_kept = self.rights.may_be_of(made.term, &self.store, &self.log);
        let rule = "only who had a container made starts it (C4)";
        self.log.check(rule, is_kept, || {
            format!(
                "{} was made under term {}, which is over",
                made.name, made.term
            )
        });
    }

    /// Somebody ordered it, and the engine did it.
    pub(super) fn check_ordered(&mut self, made: &Made, happening: Happening) {
        let what = format!("{} {} {}", made.engine, happening.as_str(), made.name);
        self.check_life(|| what.clone());
        let is_long = |since| !self.log.is_within(Some(since), STALE);
        let is_adopting = self.adopting_since().is_some_and(is_long);
        let rule = "nothing is ordered while what runs is adopted (S6)";
        self.log.check(rule, !is_adopting, || what.clone());
        self.check_engine(made, &what);
    }
}
