//! Adoption: what runs without a record, after a wipe, a restore or a lost record.

use super::tests::{ONE, WEB, Web};
use crate::api::key::Key;
use crate::api::name::{NodeName, ObjectKey};
use crate::api::status::{Claim, Found, NodeState, Unclaimed, UnclaimedKind};
use crate::api::task::{Slot, Stamp, TaskState};
use crate::api::time::Timestamp;
use crate::api::uid::{ContainerId, TaskId, Uid};
use crate::api::unit::{Incarnation, Revision, RevisionNumber, Term};
use crate::controllers::fixture::{World, web_name};

fn lost(
    node: &str,
    task: &str,
    slot: u32,
    hash: &str,
    service: &Uid,
    incarnation: u64,
) -> Unclaimed {
    Unclaimed {
        container: ContainerId::from(format!("c-{task}")),
        name: format!("web.{slot}.{task}"),
        kind: UnclaimedKind::Lost,
        running: true,
        since: Timestamp(0),
        addresses: Vec::new(),
        claim: Some(Claim {
            cluster: Uid::from("cluster"),
            task: TaskId::from(task),
            service: service.clone(),
            namespace: "default".into(),
            name: "web".into(),
            slot: Slot::Replica(slot),
            revision: RevisionNumber(7),
            hash: hash.into(),
            node: Uid::from(format!("uid-{node}")),
            stamp: Stamp {
                incarnation: Incarnation(incarnation),
                term: Term(1),
                revision: Revision(1),
            },
        }),
    }
}

/// A wiped store: one container of web runs on n2 without a record.
fn wiped(incarnation: u64, uid: &Uid, hash: Option<&str>) -> Web {
    let mut web = Web(World::new());
    for node in ["n1", "n2"] {
        web.0.node(node, NodeState::Ready, |_| {});
    }
    web.0.cluster(2, true);
    web.put(ONE);
    web.shows("");
    let current = web
        .0
        .cache
        .revisions
        .values()
        .next()
        .expect("a revision")
        .value
        .hash
        .clone();
    let unclaimed = vec![lost(
        "n2",
        "old",
        1,
        hash.unwrap_or(&current),
        uid,
        incarnation,
    )];
    web.0.found(
        "n2",
        Found {
            incarnation: Incarnation(2),
            unclaimed,
            total: 1,
            ..Found::default()
        },
    );
    web.plan();
    web
}

#[test]
fn across_incarnations_what_runs_is_adopted_by_name_slot_and_hash() {
    let mut web = wiped(1, &Uid::from("another"), None);
    web.shows("1/1 running:pending");
    assert_eq!(web.task(1).adopted_from, Some(NodeName::from("n2")));
    assert_eq!(web.task(1).id, TaskId::from("old"));
    web.0.cluster(2, false);
    web.plan();
    web.shows("1/1 running:pending");
}

#[test]
fn within_an_incarnation_only_the_uid_counts() {
    let web = wiped(2, &Uid::from("another"), None);
    web.shows("");
}

#[test]
fn another_template_is_not_adopted() {
    let mut web = wiped(1, &Uid::from("another"), Some("0000"));
    web.shows("");
    web.0.cluster(2, false);
    web.plan();
    assert_ne!(web.task(1).id, TaskId::from("old"));
}

#[test]
fn what_was_adopted_waits_for_its_turn_in_a_change_also_before_it_is_bound() {
    let mut web = wiped(1, &Uid::from("another"), None);
    web.0.cluster(2, false);
    web.put("{replicas: 1, template: {container: 'nginx:2'}}");
    assert_eq!(web.task(1).id, TaskId::from("old"));
    web.shows("1/1 running:pending");
}

/// The record is there and the binding was lost: what was found runs, and what was not may run on a node that is away.
#[test]
fn s6_a_task_without_a_binding_counts_where_it_was_found_or_is_given_up() {
    for is_found in [true, false] {
        let mut web = Web::new(ONE);
        web.0.cluster(2, false);
        let (task, uid) = (web.task(1), web.uid());
        let mut one = lost("n2", task.id.as_str(), 1, "h", &uid, 1);
        one.kind = UnclaimedKind::Unbound;
        let found = Found {
            incarnation: Incarnation(2),
            unclaimed: Vec::from_iter(is_found.then_some(one)),
            ..Found::default()
        };
        web.0.found("n2", found);
        web.plan();
        match is_found {
            true => web.shows("1/1 running:pending"),
            false => web.shows("1/1 remove:pending, 1/1 running:pending"),
        }
        web.put("{replicas: 1, template: {container: 'nginx:2'}}");
        if is_found {
            web.shows("1/1 running:pending");
        }
    }
}

#[test]
fn what_is_adopted_takes_the_slot_of_a_task_that_ended() {
    let mut web = Web::running(ONE);
    web.0.cluster(2, true);
    web.observe(1, TaskState::Failed);
    let uid = web.uid();
    let revision = web.0.cache.revisions.values().next();
    let hash = revision.expect("a revision").value.hash.clone();
    web.0.found(
        "n2",
        Found {
            incarnation: Incarnation(2),
            unclaimed: vec![lost("n2", "old", 1, &hash, &uid, 1)],
            total: 1,
            ..Found::default()
        },
    );
    web.plan();
    web.shows("1/1 shutdown:failed, 1/1 running:pending");
    assert_eq!(web.task(1).id, TaskId::from("old"));
}

#[test]
fn while_adopting_nothing_is_stopped() {
    let mut web = Web::running(WEB);
    web.0.cluster(2, true);
    web.plan();
    web.put(ONE);
    web.0.delete(&Key::User(ObjectKey::service(&web_name())));
    web.plan();
    web.shows("1/1 running:running, 2/1 running:running, 3/1 running:running");
}

#[test]
fn a_record_that_was_lost_in_ordinary_life_is_rebuilt() {
    let mut web = Web::running(ONE);
    let (task, uid) = (web.task(1), web.uid());
    let hash = web
        .0
        .cache
        .revisions
        .values()
        .next()
        .expect("one")
        .value
        .hash
        .clone();
    web.0.delete(&Key::Task(web_name(), task.id.clone()));
    web.0
        .delete(&Key::Binding(NodeName::from("n1"), task.id.clone()));
    let unclaimed = vec![lost("n1", task.id.as_str(), 1, &hash, &uid, 1)];
    web.0.found(
        "n1",
        Found {
            incarnation: Incarnation(1),
            unclaimed,
            total: 1,
            ..Found::default()
        },
    );
    web.plan();
    assert_eq!(web.task(1).id, task.id);
}

#[test]
fn a_lost_accepted_record_takes_its_uid_back_from_the_tasks() {
    let mut web = Web::running(WEB);
    let uid = web.uid();
    web.0
        .delete(&Key::Accepted(ObjectKey::service(&web_name())));
    web.plan();
    assert_eq!(web.uid(), uid);
    web.shows("1/1 running:running, 2/1 running:running, 3/1 running:running");
    assert_eq!(web.0.cache.revisions.len(), 1);
}

/// Between the look at a store that went back and the record of its next life the bindings of what runs are missing, and
/// nothing of it is given up.
#[test]
fn s6_nothing_is_given_up_once_the_store_was_seen_to_go_back() {
    for has_gone_back in [true, false] {
        let mut web = Web::new(ONE);
        web.0.cache.rewound_in = has_gone_back.then_some(Incarnation(1));
        web.put("{replicas: 1, template: {container: 'nginx:2'}}");
        match has_gone_back {
            true => web.shows("1/1 running:pending"),
            false => web.shows("1/1 remove:pending, 1/2 running:pending"),
        }
    }
}

/// A task whose binding may be lost may run on a node that is away: it is given up for another, unless its service waits for
/// lost nodes.
#[test]
fn s6_with_wait_a_task_that_may_run_on_a_lost_node_is_not_given_up() {
    for waits in [true, false] {
        let policy = if waits { "wait" } else { "replace" };
        let mut web = Web::new(&format!(
            "{{replicas: 1, template: {{onNodeLost: {policy}, container: 'nginx:1'}}}}"
        ));
        web.shows("1/1 running:pending");
        web.node("n1", NodeState::Down);
        web.0.cluster(2, false);
        web.plan();
        match waits {
            true => web.shows("1/1 running:pending"),
            false => web.shows("1/1 remove:pending, 1/1 running:pending"),
        }
    }
}
