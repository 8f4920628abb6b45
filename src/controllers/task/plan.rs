//! The decision for one task: at most one status to write and one engine order. Pure.
//!
//! Order of thought: is anything wanted here at all; what was seen of the container; what is wanted of the task. One
//! order at a time, and a new plan after each, so that a crash between any two leaves a state that this same function
//! goes on from.

use super::container::{self, Claim, ContainerInput};
use super::networks::{Callers, Endpoint, Networks};
use super::note;
use super::snapshot::{Image, Seen, Snapshot};
use super::status;
use crate::api::container::PullPolicy;
use crate::api::key::Key;
use crate::api::name::Scoped;
use crate::api::task::{Binding, Desired, ServiceRevision, Task, TaskState, TaskStatus};
use crate::api::unit::Period;
use crate::engine::{Container, ContainerState};
use crate::planted::{Bug, planted};
use crate::runtime::cache::Stored;
use crate::runtime::orders::Order;
use crate::runtime::plan::{Expect, Note, Step};
use std::time::Duration;

/// How long a start whose outcome is unknown may stay without effect before the task is given up. Longer than any
/// engine queues a start; the order is never repeated, because a container that ran must not be started again (C4).
pub const START_PATIENCE: Duration = Duration::from_secs(30);

/// How soon to look again at something that the engine is busy with, in case its event is lost.
const BUSY: Duration = Duration::from_secs(2);

/// A start rests on a look that is no older than this.
const FRESH: Duration = Duration::from_secs(5);

/// How long a task may wait for its networks before people are told: programming takes tens of milliseconds.
const UNSAID: Duration = Duration::from_secs(2);

/// How long agents may take to acknowledge that a task gets nobody any more: that of a node programs within tens of
/// milliseconds, or a second where thousands of services arrive at once. Who takes longer is not waited for.
const ACKNOWLEDGED: Duration = Duration::from_secs(5);

/// The same for agents that other managers speak to: nobody says when they are done.
const TOLD_BY_OTHERS: Duration = Duration::from_secs(2);

/// How often acknowledgements are looked at: it is for tasks that are about to be stopped only.
const LOOK: Duration = Duration::from_millis(50);

/// Docker's own grace, where the revision does not say or is gone.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// What to do for one task now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// The status to write; empty: it is as it should be.
    pub step: Step,
    /// Whether the step is the commitment to start (rule C4): it precedes the start, and may go beside a create.
    pub commits_start: bool,
    /// What to tell users once the step is written.
    pub note: Option<Note>,
    /// What to tell the engine.
    pub order: Option<Order>,
    /// Plan again after this long, even if nothing changes.
    pub look_again: Option<Duration>,
    /// Whether it waits for its networks (rule C8), or for callers to stay away: plan again when the node's data plane has
    /// changed.
    pub waits: bool,
}

/// What concerns a task that is wanted here.
struct Wanted<'a> {
    service: &'a Scoped,
    task: &'a Stored<Task>,
    binding: &'a Stored<Binding>,
}

/// Decides. An empty decision means: in step, or waiting for a change.
pub fn plan(snapshot: &Snapshot<'_>) -> Decision {
    let decision = match (snapshot.task, snapshot.binding) {
        (Some((service, task)), Some(binding)) => wanted(
            snapshot,
            &Wanted {
                service,
                task,
                binding,
            },
        ),
        (None, None) if !snapshot.has_binding_key => forgotten(snapshot),
        _ => Decision::default(),
    };
    let is_adopting = snapshot.is_adopting && !planted(Bug::OrdersWhileAdopting);
    if is_adopting && (decision.commits_start || is_action(decision.order.as_ref())) {
        return Decision::default();
    }
    match (left_to_wait(snapshot), &decision.order) {
        (Some(left), Some(_)) => held_back(snapshot, left),
        _ => decision,
    }
}

/// Whether the order changes anything.
fn is_action(order: Option<&Order>) -> bool {
    match order {
        None | Some(Order::Inspect { .. }) => false,
        Some(
            Order::Pull { .. }
            | Order::Create { .. }
            | Order::Connect { .. }
            | Order::Start { .. }
            | Order::Stop { .. }
            | Order::Remove { .. },
        ) => true,
    }
}

/// What is left of the last attempt's backoff.
fn left_to_wait(snapshot: &Snapshot<'_>) -> Option<Duration> {
    snapshot
        .progress
        .retry_at
        .and_then(|at| at.checked_sub(snapshot.now.since_boot))
        .filter(|left| !left.is_zero())
}

/// Nothing is ordered until the backoff has run; the status says what is tried again.
fn held_back(snapshot: &Snapshot<'_>, left: Duration) -> Decision {
    let telling = snapshot
        .binding
        .and_then(|binding| status::retrying(snapshot, binding));
    Decision {
        look_again: Some(left),
        ..telling.map_or_else(Decision::default, |status| write(snapshot, status))
    }
}

/// Record and binding are gone: the status goes once its container is confirmed gone. A container that is still there
/// is unclaimed now (rule C3) and none of this controller's business.
fn forgotten(snapshot: &Snapshot<'_>) -> Decision {
    let container = snapshot.status.and_then(|status| status.container.as_ref());
    match (snapshot.has_status_key, snapshot.seen, container) {
        (true, Seen::Unknown, Some(id)) => inspect([id.to_string()]),
        (true, Seen::Unknown, None) | (true, Seen::Missing, _) => Decision {
            step: Step::default().delete(snapshot.status_key()),
            ..Decision::default()
        },
        (true, Seen::Here(_), _) | (false, ..) => Decision::default(),
    }
}

fn wanted(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>) -> Decision {
    let is_over = snapshot
        .status
        .is_some_and(|status| status.state.is_terminal());
    match wanted.task.desired {
        Desired::Ready | Desired::Running if is_over => Decision::default(),
        Desired::Ready | Desired::Running => forward(snapshot, wanted),
        Desired::Shutdown => shutdown(snapshot, wanted),
        Desired::Remove => remove(snapshot, wanted),
    }
}

/// Desired `ready` or `running`.
fn forward(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>) -> Decision {
    if let Some(refused) = &snapshot.progress.refused {
        let stage = match snapshot.progress.start_sent {
            Some(_) => TaskState::Failed,
            None => TaskState::Rejected,
        };
        return write(
            snapshot,
            status::refused(snapshot, wanted.binding, stage, refused),
        );
    }
    match snapshot.seen {
        Seen::Unknown => unseen(snapshot, wanted),
        Seen::Missing => missing(snapshot, wanted),
        Seen::Here(container) => here(snapshot, wanted, container),
    }
}

/// Nothing was seen of the container. Where a status says that one was made, it is looked for; where there is none,
/// the create itself finds out: names carry task ids, so a second one is refused.
fn unseen(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>) -> Decision {
    match snapshot.status {
        Some(_) if planted(Bug::TrustsLists) => missing(snapshot, wanted),
        Some(status) if status.state > TaskState::Preparing => look_for(snapshot, wanted),
        Some(_) | None => prepare(snapshot, wanted),
    }
}

/// The container is certainly not there.
fn missing(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>) -> Decision {
    let ran = snapshot.progress.start_sent.is_some()
        || snapshot
            .status
            .is_some_and(|status| status.state == TaskState::Running);
    if ran && !planted(Bug::RemakesWhatRan) {
        write(snapshot, gone(snapshot, wanted, TaskState::Failed))
    } else {
        prepare(snapshot, wanted)
    }
}

/// Pulls or creates.
fn prepare(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>) -> Decision {
    let Some(revision) = snapshot.revision else {
        return Decision::default();
    };
    if let Networks::Wait(why) = snapshot.networks {
        return wait(snapshot, wanted, why);
    }
    let template = &revision.template.container;
    match (template.pull_policy, snapshot.progress.image) {
        (PullPolicy::Always, Image::Unknown | Image::Absent)
        | (PullPolicy::Missing, Image::Absent) => pull(snapshot, wanted, &template.image),
        (PullPolicy::Always | PullPolicy::Missing | PullPolicy::Never, _) => {
            create(snapshot, wanted, revision)
        }
    }
}

fn pull(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>, image: &str) -> Decision {
    // Mostly a create has found out, and `starting` was committed beside it: the state stays, the reason tells. What is
    // being tried again tells more than that it is.
    let before = snapshot.status;
    let is_retried =
        before.is_some_and(|before| before.reason.as_deref() == Some(status::RETRYING));
    let mut decision = Decision::default();
    if !is_retried {
        let reached = before.map_or(TaskState::Preparing, |before| before.state);
        let stage = reached.max(TaskState::Preparing);
        let mut status = status::state(snapshot, wanted.binding, stage);
        status.reason = Some("Pulling".into());
        status.message = Some(format!("pulling {image}"));
        decision = write(snapshot, status);
    }
    decision.order = Some(Order::Pull {
        image: image.to_owned(),
    });
    decision
}

/// What the task needs of networks is not there yet. Nothing is said of a wait that is soon over.
fn wait(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>, why: &str) -> Decision {
    let decision = match UNSAID.checked_sub(waited(snapshot)) {
        Some(left) if !left.is_zero() => Decision {
            look_again: Some(left),
            ..Decision::default()
        },
        _ => write(snapshot, status::waiting(snapshot, wanted.binding, why)),
    };
    Decision {
        waits: true,
        ..decision
    }
}

/// How long it has waited for its networks or its callers.
fn waited(snapshot: &Snapshot<'_>) -> Duration {
    let since = snapshot.progress.waits_since;
    since.map_or(Duration::ZERO, |since| {
        snapshot.now.since_boot.saturating_sub(since)
    })
}

/// Makes the container; where it is to run, `starting` is committed on the way (rules C4, C9).
fn create(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>, revision: &ServiceRevision) -> Decision {
    let mut decision = match wanted.task.desired {
        Desired::Running if !is_committed(snapshot, wanted) => commit_start(snapshot, wanted),
        _ => Decision::default(),
    };
    let input = ContainerInput {
        cluster: &snapshot.cluster.id,
        service: wanted.service,
        task: wanted.task,
        revision,
        binding: wanted.binding,
        node: snapshot.node,
        node_uid: &wanted.binding.node,
        stamp: snapshot.stamp,
        endpoints: snapshot.networks.endpoints(),
    };
    decision.order = Some(Order::Create {
        name: container::name(wanted.service, &wanted.task.slot, &wanted.task.id),
        body: container::body(&input),
    });
    decision
}

/// The commitment to start: the task compared, so that a start cannot overtake a change of it, and its binding known to the
/// store. A binding goes only after the task's record has changed.
fn commit_start(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>) -> Decision {
    let status = status::state(snapshot, wanted.binding, TaskState::Starting);
    let task_key = Key::Task(wanted.service.clone(), snapshot.id.clone());
    let binding_key = Key::Binding(snapshot.node.clone(), snapshot.id.clone());
    let mut step = Step::default().put(snapshot.status_key(), &status);
    step.expects = vec![
        Expect::Unchanged(task_key, wanted.task.mod_revision),
        Expect::Known(binding_key, wanted.binding.mod_revision),
    ];
    Decision {
        step,
        commits_start: true,
        ..Decision::default()
    }
}

fn here(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>, container: &Container) -> Decision {
    match (container.state, container.started_at) {
        (ContainerState::Removing, _) => busy(snapshot, container),
        (ContainerState::Running, _) => {
            let stage = TaskState::Running;
            let status = status::of_container(snapshot, wanted.binding, container, stage);
            write(snapshot, status)
        }
        (ContainerState::Created, None) => created(snapshot, wanted, container),
        (ContainerState::Exited, _) if planted(Bug::StartsWhatRan) => start(container),
        // StartedAt is set, or the engine calls it exited or dead: it is over, whatever the rest says (rule C4).
        (ContainerState::Created | ContainerState::Exited | ContainerState::Dead, _) => {
            write(snapshot, status::ended(snapshot, wanted.binding, container))
        }
    }
}

/// A container that never ran.
fn created(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>, container: &Container) -> Decision {
    if snapshot
        .status
        .is_some_and(|status| status.state == TaskState::Running)
    {
        // What ran is gone; this is somebody's copy under its name.
        return write(snapshot, gone(snapshot, wanted, TaskState::Failed));
    }
    if !container.error.is_empty() {
        return write(
            snapshot,
            start_failed(snapshot, wanted, container, &container.error),
        );
    }
    if !is_of_this_term(snapshot, container) && !planted(Bug::StartsAnotherTerms) {
        return remove_order(container, false);
    }
    let mut endpoints = snapshot.networks.endpoints().iter();
    if let Some(lacking) = endpoints.find(|one| !container.networks.contains(&one.network)) {
        return connect(container, lacking);
    }
    if wanted.task.desired == Desired::Ready {
        let stage = TaskState::Ready;
        let status = status::of_container(snapshot, wanted.binding, container, stage);
        return write(snapshot, status);
    }
    if let (Networks::Wait(why), None) = (snapshot.networks, snapshot.progress.start_sent) {
        return wait(snapshot, wanted, why);
    }
    match snapshot.progress.start_sent {
        None if !is_committed(snapshot, wanted) => commit_start(snapshot, wanted),
        // Somebody may have started it by hand since: look once more.
        None if since_looked(snapshot) > FRESH => inspect([container.id.to_string()]),
        None => start(container),
        Some(sent) => started_in_vain(snapshot, wanted, container, sent),
    }
}

/// A start was sent and nothing came of it yet.
fn started_in_vain(
    snapshot: &Snapshot<'_>,
    wanted: &Wanted<'_>,
    container: &Container,
    sent: Duration,
) -> Decision {
    if snapshot.now.since_boot.saturating_sub(sent) < START_PATIENCE {
        return busy(snapshot, container);
    }
    let message = format!("the engine did not start it within {START_PATIENCE:?}");
    write(
        snapshot,
        start_failed(snapshot, wanted, container, &message),
    )
}

fn start_failed(
    snapshot: &Snapshot<'_>,
    wanted: &Wanted<'_>,
    container: &Container,
    message: &str,
) -> TaskStatus {
    let stage = TaskState::Failed;
    let mut status = status::of_container(snapshot, wanted.binding, container, stage);
    status.reason = Some("StartFailed".into());
    status.message = Some(message.to_owned());
    status
}

/// Whether the container was ordered under the fence that is in force: only then may it be started.
fn is_of_this_term(snapshot: &Snapshot<'_>, container: &Container) -> bool {
    match container::claim(container, &snapshot.cluster.id) {
        Claim::Ours(ours) => {
            ours.stamp.incarnation == snapshot.stamp.incarnation
                && ours.stamp.term == snapshot.stamp.term
        }
        Claim::ForeignCluster { .. } | Claim::Imposter { .. } | Claim::NotOurs => false,
    }
}

/// Desired `shutdown`: stop; the container stays as history.
fn shutdown(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>) -> Decision {
    let is_over = snapshot
        .status
        .is_some_and(|status| status.state.is_terminal());
    match snapshot.seen {
        _ if planted(Bug::EndsBeforeTheStop) && !is_over => {
            write(snapshot, gone(snapshot, wanted, TaskState::Shutdown))
        }
        Seen::Unknown if is_over => Decision::default(),
        Seen::Unknown => look_for(snapshot, wanted),
        Seen::Here(container) if container.state == ContainerState::Running => {
            stop(snapshot, container)
        }
        Seen::Here(container) if container.state == ContainerState::Removing => {
            busy(snapshot, container)
        }
        Seen::Missing | Seen::Here(_) if is_over => Decision::default(),
        Seen::Here(container) if may_still_start(snapshot, container) => busy(snapshot, container),
        Seen::Here(container) => {
            let stage = TaskState::Shutdown;
            let status = status::of_container(snapshot, wanted.binding, container, stage);
            write(snapshot, status)
        }
        Seen::Missing => write(snapshot, gone(snapshot, wanted, TaskState::Shutdown)),
    }
}

/// Whether a start whose answer was lost may still come. Its task is not over before that is certain: its successor
/// would run beside it.
fn may_still_start(snapshot: &Snapshot<'_>, container: &Container) -> bool {
    let is_recent = |sent| snapshot.now.since_boot.saturating_sub(sent) < START_PATIENCE;
    let never_ran = container.state == ContainerState::Created && container.started_at.is_none();
    never_ran
        && container.error.is_empty()
        && snapshot.progress.refused.is_none()
        && snapshot.progress.start_sent.is_some_and(is_recent)
}

/// Desired `remove`: stop, remove, say so.
fn remove(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>) -> Decision {
    match snapshot.seen {
        Seen::Unknown if is_removed(snapshot) => Decision::default(),
        Seen::Unknown => look_for(snapshot, wanted),
        Seen::Missing => write(snapshot, removed(snapshot, wanted)),
        Seen::Here(container) => match container.state {
            ContainerState::Running if planted(Bug::RemovesWhatRuns) => {
                remove_order(container, true)
            }
            ContainerState::Running => stop(snapshot, container),
            ContainerState::Removing => busy(snapshot, container),
            ContainerState::Created | ContainerState::Exited => remove_order(container, false),
            ContainerState::Dead => remove_order(container, true),
        },
    }
}

fn is_removed(snapshot: &Snapshot<'_>) -> bool {
    snapshot.status.is_some_and(|status| {
        status.state.is_terminal()
            && status.container.is_none()
            && status.reason.as_deref() == Some(status::REMOVED)
    })
}

/// The last status: terminal, without a container. How the task ended stays.
fn removed(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>) -> TaskStatus {
    let mut status = match snapshot.status {
        Some(status) if status.state.is_terminal() => status.clone(),
        _ => status::state(snapshot, wanted.binding, TaskState::Shutdown),
    };
    status.container = None;
    status.reason = Some(status::REMOVED.into());
    status
}

fn gone(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>, stage: TaskState) -> TaskStatus {
    let mut status = status::state(snapshot, wanted.binding, stage);
    let ran = status.container.take().is_some();
    if ran || stage == TaskState::Failed {
        status.reason = Some(status::CONTAINER_GONE.into());
        status.message = Some("its container was removed by someone else".into());
    }
    status
}

/// Looks for the container by its recorded id and by its name: one that was made anew has another id.
fn look_for(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>) -> Decision {
    let id = snapshot.status.and_then(|status| status.container.as_ref());
    let name = container::name(wanted.service, &wanted.task.slot, &wanted.task.id);
    let names = id.map(|id| id.to_string()).into_iter().chain([name]);
    inspect(names)
}

fn inspect(names: impl IntoIterator<Item = String>) -> Decision {
    Decision {
        order: Some(Order::Inspect {
            names: names.into_iter().collect(),
        }),
        ..Decision::default()
    }
}

fn connect(container: &Container, endpoint: &Endpoint) -> Decision {
    Decision {
        order: Some(Order::Connect {
            container: container.id.clone(),
            network: endpoint.network.clone(),
            endpoint: endpoint.config(),
        }),
        ..Decision::default()
    }
}

fn start(container: &Container) -> Decision {
    Decision {
        order: Some(Order::Start {
            container: container.id.clone(),
        }),
        ..Decision::default()
    }
}

/// Stops what runs, once nobody is sent to it any more.
fn stop(snapshot: &Snapshot<'_>, container: &Container) -> Decision {
    let patience = match snapshot.callers {
        Callers::None => Duration::ZERO,
        Callers::Told => ACKNOWLEDGED,
        Callers::Unknown => TOLD_BY_OTHERS,
    };
    let left = patience.saturating_sub(waited(snapshot));
    if !left.is_zero() {
        return Decision {
            waits: true,
            look_again: Some(left.min(LOOK)),
            ..Decision::default()
        };
    }
    let grace = snapshot
        .revision
        .and_then(|revision| revision.template.container.stop_grace_period)
        .unwrap_or(Period(DEFAULT_GRACE));
    Decision {
        order: Some(Order::Stop {
            container: container.id.clone(),
            grace: grace.0,
        }),
        ..Decision::default()
    }
}

fn remove_order(container: &Container, force: bool) -> Decision {
    Decision {
        order: Some(Order::Remove {
            container: container.id.clone(),
            force,
        }),
        ..Decision::default()
    }
}

/// The engine is at it: look at the container now and then, in case the event is lost.
fn busy(snapshot: &Snapshot<'_>, container: &Container) -> Decision {
    match BUSY.checked_sub(since_looked(snapshot)) {
        Some(left) if !left.is_zero() => Decision {
            look_again: Some(left),
            ..Decision::default()
        },
        _ => inspect([container.id.to_string()]),
    }
}

/// How long ago the container was looked at.
fn since_looked(snapshot: &Snapshot<'_>) -> Duration {
    match snapshot.progress.looked_at {
        Some(at) => snapshot.now.since_boot.saturating_sub(at),
        None => Duration::MAX,
    }
}

/// Whether `starting` is committed for the task and the binding that are in force.
fn is_committed(snapshot: &Snapshot<'_>, wanted: &Wanted<'_>) -> bool {
    planted(Bug::StartsUncommitted)
        || snapshot.progress.committed
            == Some((wanted.task.mod_revision, wanted.binding.mod_revision))
}

/// Writes the status if it says anything new. A state never goes back.
fn write(snapshot: &Snapshot<'_>, status: TaskStatus) -> Decision {
    let is_news = snapshot
        .status
        .is_none_or(|before| *before != status && before.state <= status.state);
    let mut decision = Decision::default();
    if is_news {
        decision.note = note::note(snapshot, &status);
        decision.step = Step::default().put(snapshot.status_key(), &status);
    }
    decision
}
