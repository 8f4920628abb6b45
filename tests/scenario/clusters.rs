//! Whose is what: clusters, copies, engines (rules I1 to I4, C1).

use crate::world::World;
use skep::api::name::{ObjectKey, Scoped};
use std::time::Duration;

const WEB: &str = "{replicas: 2, template: {container: IMAGE}}";

fn web() -> Scoped {
    Scoped::new("default", "web")
}

fn node(name: &str) -> ObjectKey {
    ObjectKey::node(&name.into())
}

#[tokio::test(start_paused = true)]
async fn i1_a_node_deleted_while_no_manager_runs_is_cleaned_up() {
    let mut world = World::start(2).await;
    world.service("web", WEB);
    world.serving("web", 2).await;
    world.kill("m1");
    world.pass(Duration::from_secs(10)).await;
    world.store.delete("/skep/nodes/n2");
    world.manager("m2");
    world
        .until("the node is forgotten and left empty", |cache| {
            !cache.nodes.contains_key(&"n2".into()) && world.engine("n2").containers().is_empty()
        })
        .await;
    world.serving("web", 2).await;
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn i2_deleted_and_made_anew_under_one_name_is_another_service() {
    let world = World::start(2).await;
    world.service("web", WEB);
    world.serving("web", 2).await;
    let before = world.running();
    let uid = world.cache().services[&web()].uid.clone();
    world.store.delete("/skep/services/default/web");
    world.service("web", WEB);
    world
        .until("another service of the name serves", |cache| {
            let service = cache.services.get(&web());
            service.is_some_and(|service| service.uid != uid && service.deleted_at.is_none())
                && crate::world::serving(cache, &web()).len() == 2
        })
        .await;
    world.settled().await;
    assert!(world.running().iter().all(|name| !before.contains(name)));
    assert_eq!(world.running().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn i2_an_identical_put_writes_nothing() {
    let world = World::start(2).await;
    world.service("web", WEB);
    world.serving("web", 2).await;
    world.quiet().await;
    let before = world.running();
    let revision = world.store.revision().0;
    world.service("web", WEB);
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(
        world.store.revision().0,
        revision + 1,
        "the user's put alone"
    );
    assert_eq!(world.running(), before);
}

#[tokio::test(start_paused = true)]
async fn i3_two_clusters_on_one_engine_leave_each_other_alone() {
    let world = World::start(2).await;
    world.service("web", WEB);
    world.serving("web", 2).await;
    let before = world.running();
    let mut other = world.beside();
    other.node("n1");
    other.node("n2");
    other.manager("o1");
    other.service("api", "{replicas: 3, template: {container: IMAGE}}");
    other.serving("api", 3).await;
    world
        .until("each sees the other", |_| {
            let kind = "ForeignContainers";
            let said = |world: &World| world.condition(&node("n1"), "reaper", kind);
            said(&world).is_some() && said(&other).is_some()
        })
        .await;
    other.service("api", "{replicas: 1, template: {container: IMAGE}}");
    other.settled().await;
    world.settled().await;
    for name in before {
        assert!(world.running().contains(&name), "{name} is left alone");
    }
    other.store.delete("/skep/services/default/api");
    other
        .until("what is its own is removed", |_| other.running().len() == 2)
        .await;
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn i3_a_fresh_manager_on_an_empty_store_reports_whose_containers_it_finds_until_told() {
    let mut lost = World::start(2).await;
    lost.service("web", WEB);
    lost.serving("web", 2).await;
    let before = lost.running();
    let id = lost.cluster().id;
    lost.kill("m1");
    // Neither the store nor a manager that knew it is left.
    let mut world = lost.beside();
    world.node("n1");
    world.node("n2");
    world.manager("m2");
    world
        .until("people are told", |_| world.told("ForeignCluster") > 0)
        .await;
    world.pass(Duration::from_secs(1_800)).await;
    assert_eq!(world.running(), before, "none of them is touched");
    assert_eq!(world.told("ForeignCluster"), 2, "once for each node");
    assert_ne!(world.cluster().id, id);
    let told = world
        .events()
        .into_iter()
        .find(|event| event.reason == "ForeignCluster");
    let told = told.expect("the event lives for an hour").message;
    assert!(told.contains(&format!("--cluster-id {id}")), "{told}");

    world.kill("m2");
    world.pass(Duration::from_secs(10)).await;
    world.manager_with("m3", &skep::app::manager::CONTROLLERS, Some(id.clone()));
    world
        .until("the cluster is taken back", |_| world.cluster().id == id)
        .await;
    world.service("web", WEB);
    world.serving("web", 2).await;
    world.settled().await;
    assert_eq!(world.running(), before, "what runs is adopted");
}

#[tokio::test(start_paused = true)]
async fn i3_a_service_put_anew_beside_its_lost_clusters_containers_is_told() {
    let mut lost = World::start(2).await;
    lost.service("web", "{replicas: 1, template: {container: IMAGE}}");
    lost.serving("web", 1).await;
    lost.kill("m1");
    let mut world = lost.beside();
    world.node("n1");
    world.node("n2");
    world.service("web", WEB);
    world.manager("m2");
    world.serving("web", 2).await;
    world
        .until("people are told, though the cluster has containers", |_| {
            world.told("ForeignCluster") > 0
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn i3_a_manager_whose_store_becomes_another_clusters_ends_and_touches_nothing() {
    let mut world = World::start(2).await;
    world.service("web", WEB);
    world.serving("web", 2).await;
    let before = world.running();
    let mut record = world.cluster();
    record.id = "anothercluster00000000000".into();
    world.put("cluster", &serde_json::to_string(&record).unwrap());
    let why = world.refused("m1").await;
    assert!(why.contains("check --endpoints"), "{why}");
    assert_eq!(world.running(), before);
    world.check();
}

#[tokio::test(start_paused = true)]
async fn i4_another_engine_behind_a_url_is_a_condition_and_no_action() {
    let world = World::start(2).await;
    world.service("web", WEB);
    world.serving("web", 2).await;
    let before = world.running();
    let engine = world.engine("n2");
    engine.edit_identity(|identity| identity.id = "SIM:another".into());
    engine.drop_events();
    world
        .until("the node says so", |_| {
            world
                .condition(&node("n2"), "health", "EngineChanged")
                .as_deref()
                == Some("True/EngineChanged")
        })
        .await;
    let stops = engine.count("stop") + engine.count("remove");
    world.pass(Duration::from_secs(600)).await;
    assert_eq!(world.running(), before, "nothing is replaced");
    assert_eq!(engine.count("stop") + engine.count("remove"), stops);
    assert_eq!(world.told("EngineChanged"), 1, "told once");
    engine.edit_identity(|identity| identity.id = "SIM:n2".into());
    world
        .until("the right one is back", |_| {
            world
                .condition(&node("n2"), "health", "EngineChanged")
                .is_none()
        })
        .await;
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn i4_of_cloned_engines_the_younger_node_gets_nothing() {
    let mut world = World::start(1).await;
    world.service("web", WEB);
    world.serving("web", 2).await;
    let clone = world.add_node("n2");
    clone.edit_identity(|identity| identity.id = "SIM:n1".into());
    world
        .until("the clone is told", |_| world.told("DuplicateEngine") > 0)
        .await;
    world.service("web", "{replicas: 4, template: {container: IMAGE}}");
    world.serving("web", 4).await;
    assert_eq!(clone.count("create"), 0);
    assert_eq!(world.engine("n1").running().len(), 4);
    world.settled().await;
}

#[tokio::test(start_paused = true)]
async fn c1_a_container_from_a_committed_image_is_reported_and_never_touched() {
    let world = World::start(1).await;
    world.service("web", WEB);
    world.serving("web", 2).await;
    let engine = world.engine("n1");
    let original = engine.running()[0].clone();
    let labels: Vec<(&str, &str)> = original
        .labels
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let copy = engine.make_by_hand("debug", &labels, true).unwrap();
    world
        .until("the copy is reported", |_| {
            world
                .condition(&node("n1"), "reaper", "CopiedLabels")
                .is_some()
        })
        .await;
    world.store.delete("/skep/services/default/web");
    world
        .until("the service is gone", |_| world.running() == ["debug"])
        .await;
    world.pass(Duration::from_secs(3_600)).await;
    assert_eq!(world.running(), ["debug"]);
    engine.remove_by_hand(&copy);
    world.settled().await;
}
