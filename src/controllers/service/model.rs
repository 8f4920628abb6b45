//! The model: the tasks of one service as they are, and then as the plan changes them. Pure.
//!
//! Rules look at the model and return actions; the model takes them in; the rules look again until there is nothing left
//! to do. So one plan goes as far as it can, and planning again after it was applied plans nothing.

use super::place::{Place, Places};
use crate::api::accepted::AcceptedService;
use crate::api::name::NodeName;
use crate::api::service::OnNodeLost;
use crate::api::service::ServiceSpec;
use crate::api::task::{Desired, Health, Slot, Task, TaskState, TaskStatus};
use crate::api::time::Timestamp;
use crate::api::uid::{Ids, TaskId};
use crate::api::unit::RevisionNumber;
use crate::planted::{Bug, planted};
use crate::runtime::view::TaskView;
use std::collections::BTreeMap;
use std::time::Duration;

/// No clock that is kept right is further ahead of another.
const AHEAD: Duration = Duration::from_secs(300);

/// A task with what was seen of it, changes of the plan included.
#[derive(Clone, Debug)]
pub(super) struct Member<'a> {
    /// What is wanted, with the plan's changes.
    pub(super) task: Task,
    /// What was wanted before the plan; none: the plan makes the task.
    pub(super) before: Option<&'a Task>,
    /// Where it is in its life.
    pub(super) state: TaskState,
    /// Where it is.
    pub(super) place: Place,
    /// What was seen of it.
    pub(super) status: Option<&'a TaskStatus>,
}

impl Member<'_> {
    /// Whether it ended.
    pub(super) fn is_terminal(&self) -> bool {
        self.state.is_terminal()
    }

    /// Whether it is wanted: prepared or running.
    pub(super) fn is_wanted(&self) -> bool {
        self.task.desired <= Desired::Running
    }

    /// Whether it gets traffic on a node that can be seen.
    pub(super) fn is_serving(&self) -> bool {
        matches!(self.place, Place::Ready(_)) && self.status.is_some_and(TaskStatus::is_serving)
    }

    /// Whether its health check says that it is not well.
    pub(super) fn is_unhealthy(&self) -> bool {
        self.status.and_then(|status| status.health) == Some(Health::Unhealthy)
    }

    /// How long its container ran; none while it runs or where nobody knows.
    pub(super) fn ran_for(&self) -> Option<Duration> {
        let status = self.status?;
        Some(status.finished_at?.since(status.started_at?))
    }
}

/// A change that a rule asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Moves what is wanted of a task forward; no reason keeps the old one.
    Move(TaskId, Desired, Option<&'static str>),
    /// Makes a task.
    Create(NewTask),
}

/// A task to make.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NewTask {
    /// Its place within the service.
    pub(super) slot: Slot,
    /// What it is made from.
    pub(super) revision: RevisionNumber,
    /// `Ready` where it waits for something, else `Running`.
    pub(super) desired: Desired,
    /// Why it is made.
    pub(super) reason: Option<&'static str>,
    /// The task that it takes over from.
    pub(super) replaces: Option<TaskId>,
    /// Ends in a row before it.
    pub(super) failures: u32,
    /// How long it waits.
    pub(super) delay: Option<Duration>,
}

/// All tasks of one service's uid, with what the rules depend on.
pub(super) struct Model<'a> {
    /// The service.
    pub(super) service: &'a AcceptedService,
    /// The revision that tasks should be of.
    pub(super) current: RevisionNumber,
    /// The wall clock.
    pub(super) now: Timestamp,
    /// Whether the change to `current` is halted.
    pub(super) is_paused: bool,
    /// The tasks, in order of their making.
    pub(super) members: Vec<Member<'a>>,
    /// The first task of each slot, and those made after it: mostly none.
    by_slot: BTreeMap<Slot, (usize, Vec<usize>)>,
    by_id: BTreeMap<TaskId, usize>,
}

impl<'a> Model<'a> {
    /// A model of `tasks`, those of another uid left out.
    pub(super) fn new(
        service: &'a AcceptedService,
        current: RevisionNumber,
        now: Timestamp,
        tasks: &[TaskView<'a>],
        places: &Places<'_>,
    ) -> Self {
        let mut model = Self {
            service,
            current,
            now,
            is_paused: false,
            members: Vec::with_capacity(tasks.len()),
            by_slot: BTreeMap::new(),
            by_id: BTreeMap::new(),
        };
        let mut own: Vec<&TaskView<'a>> = tasks
            .iter()
            .filter(|view| view.task.service == service.uid)
            .collect();
        own.sort_by(|a, b| {
            let (one, other) = (&a.task.value, &b.task.value);
            (one.created_at, one.replaces.is_some(), &one.id).cmp(&(
                other.created_at,
                other.replaces.is_some(),
                &other.id,
            ))
        });
        for view in own {
            model.add(Member {
                task: (*view.task.value).clone(),
                before: Some(&view.task.value),
                state: view.state,
                place: places.of(view),
                status: view.status.map(|status| &*status.value),
            });
        }
        model
    }

    /// The spec in force.
    pub(super) fn spec(&self) -> &'a ServiceSpec {
        &self.service.spec
    }

    /// The slots that have or had tasks.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.by_slot.keys()
    }

    /// The tasks of a slot, in order of their making.
    pub(super) fn of(&self, slot: &Slot) -> impl DoubleEndedIterator<Item = &Member<'a>> {
        self.by_slot
            .get(slot)
            .into_iter()
            .flat_map(|(first, later)| std::iter::once(first).chain(later))
            .map(|index| &self.members[*index])
    }

    /// The wanted tasks of a slot.
    pub(super) fn wanted(&self, slot: &Slot) -> impl DoubleEndedIterator<Item = &Member<'a>> {
        self.of(slot).filter(|member| member.is_wanted())
    }

    /// The task with this id.
    pub(super) fn member(&self, id: &TaskId) -> Option<&Member<'a>> {
        self.by_id.get(id).map(|index| &self.members[*index])
    }

    /// Whether a task is of an older revision and should not be.
    pub(super) fn is_outdated(&self, member: &Member<'_>) -> bool {
        member.task.revision != self.current && !self.is_paused
    }

    /// The revision of a task that takes over: while a change is halted, that of its predecessor.
    pub(super) fn revision_after(&self, member: &Member<'_>) -> RevisionNumber {
        match self.is_paused {
            true => member.task.revision,
            false => self.current,
        }
    }

    /// Whether lost nodes' tasks are replaced elsewhere: those of a global service have no elsewhere.
    pub(super) fn replaces_lost(&self, slot: &Slot) -> bool {
        let policy = self.spec().template.on_node_lost;
        let replaces = policy == OnNodeLost::Replace || planted(Bug::IgnoresWait);
        matches!(slot, Slot::Replica(_)) && replaces
    }

    /// Whether what the task held is free, as far as its slot is concerned: it was seen stopped, never got anywhere, or
    /// its node is gone or given up for lost (rule C6, N3).
    pub(super) fn is_released(&self, member: &Member<'_>) -> bool {
        member.is_terminal()
            || planted(Bug::StartsBeforeTheEnd)
            || match member.place {
                Place::Unbound | Place::Gone(_) => true,
                Place::Down => self.replaces_lost(&member.task.slot),
                Place::Ready(_) | Place::Unknown => false,
            }
    }

    /// Whether the stored end of a wait of at most `wait` has come. One further ahead than that and than any clock may be was
    /// stored by a clock that was wrong: it would delay for ever what rule N4 lets it delay.
    pub(super) fn has_come(&self, end: Timestamp, wait: Duration) -> bool {
        end <= self.now || end.since(self.now) > wait + AHEAD
    }

    /// Whether a task need not wait any more before it takes over from one that ended.
    pub(super) fn is_due(&self, member: &Member<'_>) -> bool {
        let restart = &self.spec().template.restart;
        let longest = restart.max_delay.0.max(restart.delay.0);
        let end = member.task.not_before;
        end.is_none_or(|end| self.has_come(end, longest))
    }

    /// Takes in a change.
    pub(super) fn apply(&mut self, action: &Action, ids: &mut Ids) {
        match action {
            Action::Move(id, desired, reason) => self.advance(id, *desired, *reason),
            Action::Create(new) => {
                let task = self.make(new, ids.task());
                self.add(Member {
                    task,
                    before: None,
                    state: TaskState::Pending,
                    place: Place::Unbound,
                    status: None,
                });
            }
        }
    }

    /// Takes in a task whose record is rebuilt from the labels of its container (rule C3). What ended in its slot and was
    /// still wanted gives the slot up to it.
    pub(super) fn adopt(
        &mut self,
        id: TaskId,
        slot: Slot,
        revision: RevisionNumber,
        node: NodeName,
    ) {
        let ended: Vec<TaskId> = self
            .wanted(&slot)
            .filter(|member| member.is_terminal())
            .map(|member| member.task.id.clone())
            .collect();
        for ended in ended {
            self.advance(&ended, Desired::Shutdown, Some("Superseded"));
        }
        let new = NewTask {
            slot,
            revision,
            desired: Desired::Running,
            reason: Some("Adopted"),
            replaces: None,
            failures: 0,
            delay: None,
        };
        let mut task = self.make(&new, id);
        task.adopted_from = Some(node);
        self.add(Member {
            task,
            before: None,
            state: TaskState::Pending,
            place: Place::Unknown,
            status: None,
        });
    }

    fn advance(&mut self, id: &TaskId, desired: Desired, reason: Option<&'static str>) {
        let now = self.now;
        let Some(member) = self.by_id.get(id).map(|index| &mut self.members[*index]) else {
            return;
        };
        // Rule C4: what is wanted never goes back.
        if desired <= member.task.desired {
            return;
        }
        member.task.desired = desired;
        if let Some(reason) = reason {
            member.task.reason = Some(reason.into());
        }
        if desired >= Desired::Shutdown && member.task.ended_at.is_none() {
            member.task.ended_at = Some(now);
        }
    }

    fn make(&self, new: &NewTask, id: TaskId) -> Task {
        // Within a slot the times of making are the order of making, whatever clocks do: rules tell old from new by it.
        let last = self
            .of(&new.slot)
            .map(|member| member.task.created_at)
            .max();
        let created_at = last.map_or(self.now, |last| self.now.max(Timestamp(last.0 + 1)));
        Task {
            id,
            service: self.service.uid.clone(),
            revision: new.revision,
            slot: new.slot.clone(),
            desired: new.desired,
            reason: new.reason.map(Into::into),
            replaces: new.replaces.clone(),
            failures: new.failures,
            not_before: new.delay.map(|delay| self.now.after(delay)),
            created_at,
            ended_at: None,
            adopted_from: None,
        }
    }

    fn add(&mut self, member: Member<'a>) {
        let index = self.members.len();
        self.by_id.insert(member.task.id.clone(), index);
        self.by_slot
            .entry(member.task.slot.clone())
            .and_modify(|(_, later)| later.push(index))
            .or_insert((index, Vec::new()));
        self.members.push(member);
    }
}
