//! What is reported of an engine beside its tasks.

use super::container;
use super::snapshot::Seen;
use super::tests::{ID, OURS, World};
use super::view::EngineView;
use crate::api::status::UnclaimedKind;
use crate::api::time::Timestamp;
use crate::api::uid::Uid;
use crate::api::unit::{Incarnation, Revision, Term};
use crate::engine::ContainerState;
use crate::runtime::cache::Cache;
use std::sync::Arc;

#[test]
fn a_copy_or_another_clusters_container_is_only_reported() {
    let world = World::new();
    let mut view = EngineView::default();
    let container = world.container(OURS, ContainerState::Running);
    let mut copy = container.clone();
    copy.id = "c2".into();
    copy.name = "somebody".into();
    let mut foreign = container.clone();
    foreign.id = "c3".into();
    let labels = Arc::make_mut(&mut foreign.labels);
    labels.insert(container::CLUSTER.into(), "elsewhere".into());
    assert_eq!(view.put(&world.cluster, copy), None);
    assert_eq!(view.seen(&ID.into()), Seen::Unknown);
    view.put(&world.cluster, container);
    view.put(&world.cluster, foreign);

    let kinds = |view: &mut EngineView, cache: &Cache| -> Vec<(String, UnclaimedKind)> {
        view.found(cache, &world.cluster, &"n1".into(), Timestamp(1))
            .unclaimed
            .iter()
            .map(|found| (found.container.to_string(), found.kind))
            .collect()
    };
    let reported = kinds(&mut view, &world.cache());
    assert_eq!(
        reported,
        [
            ("c2".into(), UnclaimedKind::Imposter),
            ("c3".into(), UnclaimedKind::ForeignCluster)
        ]
    );
    let mut lost = World::new();
    lost.say("no-task no-binding");
    let reported = kinds(&mut view, &lost.cache());
    assert_eq!(reported[0], ("c1".into(), UnclaimedKind::Lost));
    let highest = view.highest(&world.cluster);
    assert_eq!(highest, Some((Incarnation(1), Revision(50))));
    let _: Uid = world.cluster.id.clone();
}

#[test]
fn labels_of_a_lost_future_are_seen() {
    let check = |term: i64, life: u64, is_ahead: bool| {
        let world = World::new();
        let mut view = EngineView::default();
        // Ordered in life 1 at revision 50, under the term 9.
        view.put(
            &world.cluster,
            world.container(OURS, ContainerState::Running),
        );
        let mut cluster = world.cluster.clone();
        cluster.incarnation = Incarnation(life);
        view.look_for_rewind(&cluster, Term(term));
        let found = view.is_ahead(cluster.incarnation);
        assert_eq!(found, is_ahead, "term {term} in life {life}");
    };
    check(9, 1, false);
    check(51, 1, false);
    check(50, 1, true);
    check(20, 1, true);
    check(4, 1, true);
    check(4, 2, false);
    check(51, 0, true);
}

/// What is reported of the task's container on the node `node`.
#[track_caller]
fn check_lack(world: &World, node: &str, expected: Option<UnclaimedKind>) {
    let mut view = EngineView::default();
    let container = world.container(OURS, ContainerState::Running);
    view.put(&world.cluster, container);
    let cache = world.cache();
    let found = view.found(&cache, &world.cluster, &node.into(), Timestamp(1));
    let kinds: Vec<UnclaimedKind> = found.unclaimed.iter().map(|found| found.kind).collect();
    assert_eq!(kinds, Vec::from_iter(expected), "on {node}");
}

#[test]
fn a_container_whose_task_is_bound_nowhere_or_elsewhere_is_reported() {
    let mut world = World::new();
    check_lack(&world, "n1", None);
    check_lack(&world, "n2", Some(UnclaimedKind::Stray));
    world.say("no-binding");
    check_lack(&world, "n1", Some(UnclaimedKind::Unbound));
    // Its record was rebuilt from it: it is bound without being told of.
    let task = world.task.as_mut().expect("a record");
    task.adopted_from = Some("n1".into());
    check_lack(&world, "n1", None);
    check_lack(&world, "n2", Some(UnclaimedKind::Unbound));
    world.say("no-task");
    check_lack(&world, "n1", Some(UnclaimedKind::Lost));
}
