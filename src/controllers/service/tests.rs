//! Services in their own words: what people and nodes do, and the tasks that follow.
//!
//! A task is shown as `slot/revision desired:state`, those of a slot in order of their making.

use super::Service;
use crate::api::key::Key;
use crate::api::name::{NodeName, ObjectKey};
use crate::api::node::Availability;
use crate::api::service::OnNodeLost;
use crate::api::status::{Condition, NodeState, Truth, UpdateState};
use crate::api::task::{Desired, Health, Slot, Task, TaskState};
use crate::api::time::Timestamp;
use crate::api::uid::Uid;
use crate::api::unit::RevisionNumber;
use crate::controllers::fixture::{World, bytes, web_name};
use crate::runtime::plan::Expect;
use crate::runtime::view;
use std::time::Duration;

pub(super) const WEB: &str = "{replicas: 3, template: {container: 'nginx:1'}}";
pub(super) const ONE: &str = "{replicas: 1, template: {container: 'nginx:1'}}";

pub(super) struct Web(pub(super) World);

impl Web {
    pub(super) fn new(text: &str) -> Self {
        let mut web = Self(World::new());
        for node in ["n1", "n2"] {
            web.0.node(node, NodeState::Ready, |_| {});
        }
        web.put(text);
        web
    }

    /// A service whose tasks all serve, for longer than any monitor.
    pub(super) fn running(text: &str) -> Self {
        let mut web = Self::new(text);
        web.go();
        web.0.pass(Duration::from_secs(60));
        web.plan();
        web
    }

    pub(super) fn put(&mut self, text: &str) {
        self.0.user(text);
        self.plan();
    }

    pub(super) fn plan(&mut self) {
        self.0.settle(&Service);
    }

    pub(super) fn scale(&mut self, text: &str) {
        self.0.raw(&Key::Scale(web_name()), text.as_bytes());
        self.plan();
    }

    pub(super) fn node(&mut self, name: &str, state: NodeState) {
        self.0.node(name, state, |_| {});
        self.plan();
    }

    pub(super) fn drain(&mut self, name: &str) {
        self.0.node(name, NodeState::Ready, |node| {
            node.spec.availability = Availability::Drain;
        });
        self.plan();
    }

    /// Binds what waits: global tasks to their node, others to the first ready and active node.
    pub(super) fn schedule(&mut self) {
        for task in self.0.tasks() {
            if task.desired > Desired::Running || self.0.cache.binding(&task.id).is_some() {
                continue;
            }
            let target = match &task.slot {
                Slot::Node(node) => Some(node.to_string()),
                Slot::Replica(_) => view::nodes(&self.0.cache)
                    .into_iter()
                    .find(view::NodeView::is_schedulable)
                    .map(|node| node.name.to_string()),
            };
            if let Some(node) = task.adopted_from.map(|node| node.to_string()).or(target) {
                self.0.bind(&task.id, &node);
            }
        }
        self.plan();
    }

    /// One round of what happens when all works: bind, start, stop.
    pub(super) fn round(&mut self) {
        self.schedule();
        self.0.engines();
        self.plan();
    }

    pub(super) fn go(&mut self) {
        for _ in 0..6 {
            self.round();
        }
    }

    pub(super) fn task(&self, slot: u32) -> Task {
        let wanted =
            |task: &Task| task.slot == Slot::Replica(slot) && task.desired <= Desired::Running;
        self.0
            .tasks()
            .into_iter()
            .rfind(wanted)
            .expect("a wanted task in the slot")
    }

    pub(super) fn observe(&mut self, slot: u32, state: TaskState) {
        let id = self.task(slot).id;
        self.0.observe(&id, state);
        self.plan();
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        self.0.pass(Duration::from_secs(seconds));
        self.plan();
    }

    #[track_caller]
    pub(super) fn shows(&self, expected: &str) {
        let show = |task: &Task| {
            let stored = &self.0.cache.tasks[&(web_name(), task.id.clone())];
            let state = view::task(&self.0.cache, stored).state.as_str();
            let desired = format!("{:?}", task.desired).to_lowercase();
            format!("{}/{} {desired}:{state}", task.slot, task.revision)
        };
        let tasks: Vec<String> = self.0.tasks().iter().map(show).collect();
        assert_eq!(tasks.join(", "), expected);
    }

    pub(super) fn condition(&self, kind: &str) -> Condition {
        let status = self
            .0
            .cache
            .status(&ObjectKey::service(&web_name()), "service")
            .expect("a status");
        status.value.condition(kind).expect("the condition").clone()
    }

    #[track_caller]
    pub(super) fn is(&self, kind: &str, truth: Truth, reason: &str) {
        let condition = self.condition(kind);
        assert_eq!(
            (condition.status, condition.reason.as_str()),
            (truth, reason),
            "{condition:?}"
        );
    }

    pub(super) fn uid(&self) -> Uid {
        self.0.cache.services[&web_name()].value.uid.clone()
    }

    pub(super) fn generation(&self) -> u64 {
        self.0.cache.services[&web_name()].value.generation.0
    }
}

#[test]
fn a_put_becomes_tasks_at_once() {
    let mut web = Web(World::new());
    web.0.user(WEB);
    let plan = web.0.settle(&Service);
    assert_eq!(
        plan.steps.len(),
        1,
        "accepted, revision, status and tasks in one commit (C9)"
    );
    web.shows("1/1 running:pending, 2/1 running:pending, 3/1 running:pending");
    web.is("Accepted", Truth::True, "Accepted");
    web.is("Available", Truth::False, "TooFewServing");
    web.is("Progressing", Truth::True, "Pending");
    for node in ["n1", "n2"] {
        web.0.node(node, NodeState::Ready, |_| {});
    }
    web.go();
    web.shows("1/1 running:running, 2/1 running:running, 3/1 running:running");
    web.is("Available", Truth::True, "Serving");
    web.is("Progressing", Truth::False, "Complete");
}

#[test]
fn an_identical_put_writes_nothing() {
    let mut web = Web::running(WEB);
    let before = web.0.writes;
    web.put(WEB);
    web.put("{template: {container: 'nginx:1'},   replicas: 3}");
    assert_eq!(web.0.writes - before, 2, "the user's own");
    assert_eq!(web.generation(), 1);
}

#[test]
fn a_bad_put_keeps_the_spec_in_force_and_a_good_one_heals() {
    let mut web = Web::running(WEB);
    web.put("garbage: [");
    web.is("Accepted", Truth::False, "Invalid");
    web.shows("1/1 running:running, 2/1 running:running, 3/1 running:running");
    web.put(WEB);
    web.is("Accepted", Truth::True, "Accepted");
    assert_eq!(web.generation(), 1);
}

#[test]
fn a_bad_first_put_is_reported() {
    let web = Web::new("garbage: [");
    web.shows("");
    web.is("Accepted", Truth::False, "Invalid");
}

#[test]
fn scaling_fills_low_slots_and_empties_high_ones() {
    let mut web = Web::running(WEB);
    web.put("{replicas: 1, template: {container: 'nginx:1'}}");
    web.shows("1/1 running:running, 2/1 remove:running, 3/1 remove:running");
    web.go();
    web.shows("1/1 running:running");
    assert_eq!(web.generation(), 2);
}

#[test]
fn a_slot_that_is_used_again_waits_for_its_last_task() {
    let mut web = Web::running("{replicas: 2, template: {container: 'nginx:1'}}");
    web.put(ONE);
    web.put("{replicas: 2, template: {container: 'nginx:1'}}");
    web.shows("1/1 running:running, 2/1 remove:running, 2/1 ready:pending");
    web.round();
    web.round();
    web.shows("1/1 running:running, 2/1 running:running");
}

#[test]
fn the_scale_key_counts_where_the_manifest_is_silent() {
    let mut web = Web::running("{template: {container: 'nginx:1'}}");
    web.shows("1/1 running:running");
    web.scale("{replicas: 2}");
    web.go();
    web.shows("1/1 running:running, 2/1 running:running");
    web.scale("many");
    web.is("Accepted", Truth::False, "InvalidScale");
    web.shows("1/1 running:running, 2/1 running:running");
    web.0.delete(&Key::Scale(web_name()));
    web.plan();
    web.is("Accepted", Truth::True, "Accepted");
    web.shows("1/1 running:running, 2/1 running:running");
    web.put(ONE);
    web.scale("5");
    web.go();
    web.shows("1/1 running:running");
}

#[test]
fn deleted_and_made_anew_is_another_service() {
    let mut web = Web::running(ONE);
    let old = web.uid();
    let key = Key::User(ObjectKey::service(&web_name()));
    web.0.delete(&key);
    web.0.user(ONE);
    web.plan();
    web.shows("1/1 remove:running");
    web.is("Accepted", Truth::False, "Terminating");
    web.0.engines();
    web.0.settle_twice();
    assert_ne!(web.uid(), old);
    web.shows("1/1 running:pending");
    assert!(web.0.cache.revisions.keys().all(|(uid, _)| *uid != old));
}

impl World {
    /// The tombstone leaves in one plan, its successor comes in the next.
    fn settle_twice(&mut self) {
        for step in self.plan(&Service).steps {
            self.apply(&step);
        }
        self.settle(&Service);
    }
}

#[test]
fn a_deleted_service_leaves_nothing() {
    let mut web = Web::running(WEB);
    web.0.delete(&Key::User(ObjectKey::service(&web_name())));
    web.plan();
    web.shows("1/1 remove:running, 2/1 remove:running, 3/1 remove:running");
    web.0.engines();
    web.plan();
    assert!(web.0.cache.services.is_empty() && web.0.cache.revisions.is_empty());
    assert!(
        web.0
            .cache
            .status(&ObjectKey::service(&web_name()), "service")
            .is_none()
    );
}

#[test]
fn in_another_incarnation_a_name_keeps_its_uid() {
    let mut web = Web::running(ONE);
    let old = web.uid();
    web.0.delete(&Key::User(ObjectKey::service(&web_name())));
    web.0.cluster(2, false);
    web.put(ONE);
    assert_eq!((web.uid(), web.generation()), (old, 1));
    web.shows("1/1 running:running");
}

#[test]
fn a_task_that_ends_is_replaced_after_a_doubling_wait() {
    let mut web = Web::running(ONE);
    web.observe(1, TaskState::Failed);
    web.shows("1/1 shutdown:failed, 1/1 ready:pending");
    assert_eq!(
        web.0.plan(&Service).look_again,
        Some(Duration::from_secs(1))
    );
    web.wait(1);
    web.shows("1/1 shutdown:failed, 1/1 running:pending");
    web.schedule();
    web.observe(1, TaskState::Failed);
    web.wait(1);
    assert_eq!(web.task(1).desired, Desired::Ready, "two seconds now");
    web.wait(1);
    assert_eq!(web.task(1).desired, Desired::Running);
    assert_eq!(web.task(1).failures, 2);
    assert!(web.0.notes.iter().any(|note| note.reason == "TaskFailed"));
}

/// A leader whose clock was a year ahead has made tasks; its successor's is right.
#[test]
fn n4_a_time_further_ahead_than_clocks_may_be_delays_nothing_for_ever() {
    let year = Duration::from_secs(365 * 86_400);
    let right = |web: &mut Web| web.0.now.wall = Timestamp(web.0.now.wall.0 - 31_536_000_000);
    let mut web = Web::running(ONE);
    web.0.pass(year);
    web.observe(1, TaskState::Failed);
    right(&mut web);
    web.plan();
    web.shows("1/1 shutdown:failed, 1/1 running:pending");

    let mut web = Web::running(TWO);
    web.0.pass(year);
    web.put(START_FIRST);
    web.schedule();
    web.observe(1, TaskState::Running);
    right(&mut web);
    web.go();
    web.is("Progressing", Truth::False, "Complete");
    // A clock that is a little ahead delays.
    let mut web = Web::running(ONE);
    web.0.pass(Duration::from_secs(60));
    web.observe(1, TaskState::Failed);
    web.0.now.wall = Timestamp(web.0.now.wall.0 - 60_000);
    web.plan();
    web.shows("1/1 shutdown:failed, 1/1 ready:pending");
}

#[test]
fn the_wait_has_a_limit_and_a_long_run_breaks_the_row() {
    let text =
        "{replicas: 1, template: {container: 'nginx:1', restart: {delay: 1s, maxDelay: 4s}}}";
    let mut web = Web::running(text);
    for expected in [1, 2, 4, 4] {
        web.observe(1, TaskState::Failed);
        let again = web.0.plan(&Service).look_again;
        assert_eq!(again, Some(Duration::from_secs(expected)));
        web.wait(expected);
        web.schedule();
    }
    let (id, now) = (web.task(1).id, web.0.now.wall);
    web.0.observe_with(&id, TaskState::Failed, |status| {
        status.started_at = Some(Timestamp(now.0 - 4_000));
        status.finished_at = Some(now);
    });
    web.plan();
    assert_eq!(web.task(1).failures, 1);
}

#[test]
fn the_restart_policy_decides() {
    let check = |restart: &str, state: TaskState, expected: &str| {
        let text =
            format!("{{replicas: 1, template: {{container: 'nginx:1', restart: {restart}}}}}");
        let mut web = Web::running(&text);
        web.observe(1, state);
        web.shows(expected);
    };
    let kept = |state: &str| format!("1/1 running:{state}");
    let replaced = |state: &str| format!("1/1 shutdown:{state}, 1/1 ready:pending");
    check(
        "{condition: any}",
        TaskState::Complete,
        &replaced("complete"),
    );
    check(
        "{condition: on-failure}",
        TaskState::Complete,
        &kept("complete"),
    );
    check(
        "{condition: on-failure}",
        TaskState::Failed,
        &replaced("failed"),
    );
    check("{condition: none}", TaskState::Failed, &kept("failed"));
    check(
        "{condition: any}",
        TaskState::Rejected,
        &replaced("rejected"),
    );
    check("{maxAttempts: 1}", TaskState::Failed, &replaced("failed"));
    check(
        "{delay: 0s}",
        TaskState::Failed,
        "1/1 shutdown:failed, 1/1 running:pending",
    );
}

#[test]
fn attempts_can_be_exhausted() {
    let mut web =
        Web::running("{replicas: 1, template: {container: 'nginx:1', restart: {maxAttempts: 1}}}");
    web.observe(1, TaskState::Failed);
    web.wait(1);
    web.schedule();
    web.observe(1, TaskState::Failed);
    web.shows("1/1 shutdown:failed, 1/1 running:failed");
}

pub(super) const START_FIRST: &str =
    "{replicas: 2, template: {container: 'nginx:2'}, update: {order: start-first, monitor: 5s}}";
const STOP_FIRST: &str =
    "{replicas: 2, template: {container: 'nginx:2'}, update: {order: stop-first, monitor: 5s}}";
const TWO: &str = "{replicas: 2, template: {container: 'nginx:1'}}";

#[test]
fn start_first_runs_a_pair_until_the_new_one_serves() {
    let mut web = Web::running(TWO);
    web.put(START_FIRST);
    web.shows("1/1 running:running, 1/2 running:pending, 2/1 running:running");
    web.is("Progressing", Truth::True, "Updating");
    web.schedule();
    web.observe(1, TaskState::Running);
    web.shows("1/1 shutdown:running, 1/2 running:running, 2/1 running:running");
    web.wait(4);
    web.shows("1/1 shutdown:running, 1/2 running:running, 2/1 running:running");
    web.wait(1);
    // The old one has not stopped yet: a second pair beside it would be more than one surplus task.
    web.shows("1/1 shutdown:running, 1/2 running:running, 2/1 running:running");
    web.0.engines();
    web.plan();
    web.shows(
        "1/1 shutdown:shutdown, 1/2 running:running, 2/1 running:running, 2/2 running:pending",
    );
    web.go();
    web.wait(5);
    web.is("Progressing", Truth::False, "Complete");
}

#[test]
fn s6_the_new_one_of_a_pair_comes_only_beside_the_old_one_that_was_seen() {
    let mut web = Web::running(ONE);
    let old = Key::Task(web_name(), web.task(1).id);
    web.0
        .user("{replicas: 1, template: {container: 'nginx:2'}, update: {order: start-first}}");
    let plan = web.0.settle(&Service);
    web.shows("1/1 running:running, 1/2 running:pending");
    let expects = plan.steps.iter().flat_map(|step| &step.expects);
    let of_old =
        expects.filter(|expect| matches!(expect, Expect::Unchanged(key, _) if *key == old));
    assert_eq!(of_old.count(), 1);
}

#[test]
fn n3_a_drain_waits_for_the_stop_of_the_drained_ones_own_predecessor() {
    let mut web = Web::running(ONE);
    web.put("{replicas: 1, template: {container: 'nginx:2'}, update: {order: start-first, parallelism: 2}}");
    web.schedule();
    web.observe(1, TaskState::Running);
    web.shows("1/1 shutdown:running, 1/2 running:running");
    web.drain("n1");
    // A replacement beside both would make three.
    web.shows("1/1 shutdown:running, 1/2 running:running");
    web.0.engines();
    web.plan();
    web.shows("1/1 shutdown:shutdown, 1/2 running:running, 1/2 running:pending");
}

#[test]
fn stop_first_waits_until_the_old_one_was_seen_stopped() {
    let mut web = Web::running(TWO);
    web.put(STOP_FIRST);
    web.shows("1/1 shutdown:running, 1/2 ready:pending, 2/1 running:running");
    web.schedule();
    web.observe(1, TaskState::Ready);
    assert_eq!(
        web.task(1).desired,
        Desired::Ready,
        "C6: the old one still runs"
    );
    web.0.engines();
    web.plan();
    web.shows("1/1 shutdown:shutdown, 1/2 running:ready, 2/1 running:running");
}

#[test]
fn what_a_drain_makes_while_a_change_is_halted_waits_before_it_is_tried_again() {
    let mut web = Web::running(TWO);
    web.put(START_FIRST);
    web.schedule();
    web.observe(1, TaskState::Running);
    web.0.engines();
    web.wait(5);
    web.schedule();
    web.observe(2, TaskState::Failed);
    web.is("Progressing", Truth::False, "Paused");
    web.drain("n1");
    web.schedule();
    web.observe(1, TaskState::Failed);
    // Given up and made anew in the same moment, it would fail fifty times a second.
    assert_eq!(web.task(1).desired, Desired::Ready);
    assert!(web.task(1).not_before.is_some());
}

#[test]
fn a_failed_new_task_halts_the_change() {
    for (text, expected) in [
        (
            START_FIRST,
            "1/1 running:running, 1/2 shutdown:failed, 2/1 running:running",
        ),
        (
            STOP_FIRST,
            "1/1 shutdown:shutdown, 1/2 shutdown:failed, 1/2 ready:pending, 2/1 running:running",
        ),
    ] {
        let mut web = Web::running(TWO);
        web.put(text);
        web.schedule();
        if text == STOP_FIRST {
            web.0.engines();
            web.plan();
        }
        web.observe(1, TaskState::Failed);
        web.shows(expected);
        web.is("Progressing", Truth::False, "Paused");
        web.wait(1_000);
        let update = web
            .0
            .cache
            .status(&ObjectKey::service(&web_name()), "service")
            .unwrap()
            .value
            .update
            .clone()
            .unwrap();
        assert_eq!(update.state, UpdateState::Paused);
        assert!(update.message.unwrap().contains("1 of "));
        assert!(
            web.0
                .tasks()
                .iter()
                .any(|task| task.slot == Slot::Replica(2)
                    && task.revision == RevisionNumber(1)
                    && task.desired == Desired::Running)
        );
        web.put(&text.replace("nginx:2", "nginx:3"));
        web.is("Progressing", Truth::True, "Updating");
    }
}

#[test]
fn what_fails_of_one_revision_does_not_halt_the_change_to_the_next() {
    let mut web = Web::running(TWO);
    web.put(START_FIRST);
    web.schedule();
    // The failure and the next template are seen at once.
    let id = web.task(1).id;
    web.0.observe(&id, TaskState::Failed);
    web.put(&START_FIRST.replace("nginx:2", "nginx:3"));
    web.is("Progressing", Truth::True, "Updating");
    for _ in 0..3 {
        web.go();
        web.wait(60);
    }
    web.is("Progressing", Truth::False, "Complete");
    let is_of_it = |task: &Task| task.revision == RevisionNumber(3);
    assert!(is_of_it(&web.task(1)) && is_of_it(&web.task(2)));
}

#[test]
fn an_unhealthy_new_task_halts_the_change_too() {
    let mut web = Web::running(TWO);
    web.put(START_FIRST);
    web.schedule();
    let id = web.task(1).id;
    web.0.observe_with(&id, TaskState::Running, |status| {
        status.health = Some(Health::Unhealthy)
    });
    web.plan();
    web.shows("1/1 running:running, 1/2 shutdown:running, 2/1 running:running");
    web.is("Progressing", Truth::False, "Paused");
}

#[test]
fn going_back_leaves_alone_what_was_not_reached() {
    let mut web = Web::running(TWO);
    web.put(START_FIRST);
    web.put(TWO);
    web.shows("1/1 running:running, 1/2 remove:pending, 2/1 running:running");
    assert_eq!(web.0.cache.revisions.len(), 2);
}

#[test]
fn a_change_of_placement_or_restart_replaces_nothing() {
    let mut web = Web::running(ONE);
    web.put("{replicas: 1, template: {container: 'nginx:1', restart: {delay: 9s}, placement: {strategy: binpack}}}");
    web.shows("1/1 running:running");
    assert_eq!(web.generation(), 2);
}

#[test]
fn a_lost_node_is_replaced_in_one_step_once_its_successor_is_prepared() {
    let mut web = Web::running(ONE);
    web.node("n1", NodeState::Unknown);
    web.shows("1/1 running:running");
    web.node("n1", NodeState::Down);
    web.shows("1/1 running:running, 1/1 ready:pending");
    web.schedule();
    let id = web.task(1).id;
    let name = web_name();
    let successor = web
        .0
        .tasks()
        .into_iter()
        .find(|task| task.desired == Desired::Ready)
        .expect("one");
    assert_eq!(successor.id, id);
    web.0.observe(&successor.id, TaskState::Ready);
    let plan = web.0.settle(&Service);
    let step = plan.steps.iter().find(|step| step.writes.iter().any(|write| {
        matches!(write, crate::runtime::plan::Write::Put(Key::Task(service, _), _) if *service == name)
    }));
    assert_eq!(
        step.map(|step| step.expects.len()),
        Some(2),
        "N3: both in one step"
    );
    web.shows("1/1 shutdown:running, 1/1 running:ready");
}

#[test]
fn a_node_that_returns_in_time_keeps_its_task() {
    let mut web = Web::running(ONE);
    web.node("n1", NodeState::Down);
    web.schedule();
    web.node("n1", NodeState::Ready);
    web.shows("1/1 running:running, 1/1 remove:assigned");
}

#[test]
fn on_node_lost_wait_waits() {
    assert_eq!(OnNodeLost::default(), OnNodeLost::Replace);
    let mut web = Web::running("{replicas: 1, template: {container: 'nginx:1', onNodeLost: wait}}");
    web.node("n1", NodeState::Down);
    web.wait(1_000);
    web.shows("1/1 running:running");
}

#[test]
fn a_drained_node_gives_its_tasks_up_one_after_another() {
    let mut web = Web::running(
        "{replicas: 2, template: {container: 'nginx:1'}, update: {order: start-first}}",
    );
    web.drain("n1");
    web.shows("1/1 running:running, 1/1 running:pending, 2/1 running:running");
    web.go();
    web.wait(60);
    web.go();
    let n1 = NodeName::from("n1");
    let on_n1 = web.0.cache.bindings_on(&n1).filter(|binding| {
        web.0
            .cache
            .task(&binding.value.task)
            .is_some_and(|(_, task)| task.value.desired <= Desired::Running)
    });
    assert_eq!(on_n1.count(), 0);
}

#[test]
fn a_removed_node_is_replaced_at_once() {
    let mut web = Web::running(ONE);
    web.0
        .delete(&Key::Accepted(ObjectKey::node(&NodeName::from("n1"))));
    web.plan();
    web.shows("1/1 remove:running, 1/1 running:pending");
}

#[test]
fn violators_of_a_constraint_move() {
    let mut web = Web::running(ONE);
    web.put("{replicas: 1, template: {container: 'nginx:1', placement: {constraints: ['node.name == n2']}}, update: {order: start-first}}");
    web.shows("1/1 running:running, 1/1 running:pending");
}

#[test]
fn a_global_service_covers_every_node_that_matches() {
    let mut web = Web::running(
        "{mode: global, template: {container: 'agent:1', placement: {constraints: ['node.name != n3']}}}",
    );
    web.shows("n1/1 running:running, n2/1 running:running");
    web.node("n3", NodeState::Ready);
    web.node("n4", NodeState::Ready);
    web.shows("n1/1 running:running, n2/1 running:running, n4/1 running:pending");
    web.node("n1", NodeState::Down);
    web.drain("n2");
    web.shows("n1/1 running:running, n2/1 remove:running, n4/1 running:pending");
}

#[test]
fn large_services_are_written_in_steps_with_the_record_first() {
    let mut web = Web(World::new());
    web.0
        .user("{replicas: 300, template: {container: 'nginx:1'}}");
    let plan = web.0.settle(&Service);
    assert_eq!(plan.steps.len(), 3);
    let first = &plan.steps[0].writes[0];
    assert!(matches!(
        first,
        crate::runtime::plan::Write::Put(Key::Accepted(_), _)
    ));
}

#[test]
fn a_record_that_cannot_be_read_is_no_deletion() {
    let web = Web::running(ONE);
    let mut cache = web.0.cache.clone();
    let name = web_name();
    cache.services.remove(&name);
    cache.users.clear();
    cache.broken.insert(
        Key::Accepted(ObjectKey::service(&name)).to_string(),
        "newer".into(),
    );
    let snapshot = super::Snapshot::take(&cache, &name);
    let plan = super::plan::plan(
        &snapshot,
        web.0.now,
        &mut crate::api::uid::Ids::from_seed(1),
    );
    assert!(plan.is_in_step());
    assert!(!bytes(&1).is_empty());
}
