//! A process killed at each of many moments of a change: the end is the same (rule C4, and all others at once).

use crate::world::{World, serving};
use skep::api::name::{NodeName, Scoped};
use skep::app::manager::CONTROLLERS;
use std::time::Duration;

const SIX: &str = "{replicas: 4, template: {container: IMAGE}}";

fn web() -> Scoped {
    Scoped::new("default", "web")
}

/// A change of a service with four tasks on three nodes.
#[derive(Clone, Copy, Debug)]
enum Change {
    ScaleUp,
    ScaleDown,
    Template,
    Drain,
    NodeLoss,
    Deletion,
}

impl Change {
    fn begin(self, world: &World) {
        match self {
            Self::ScaleUp => world.service("web", "{replicas: 6, template: {container: IMAGE}}"),
            Self::ScaleDown => world.service("web", "{replicas: 1, template: {container: IMAGE}}"),
            Self::Template => world.service(
                "web",
                "{replicas: 4, update: {parallelism: 0, monitor: 0s}, template: {container: {image: IMAGE, env: {A: b}}}}",
            ),
            Self::Drain => world.put(
                "nodes/n1",
                "{engine: {url: \"tcp://n1:2375\"}, availability: drain}",
            ),
            Self::NodeLoss => world.engine("n1").set_reachable(false),
            Self::Deletion => {
                world.store.delete("/skep/services/default/web");
            }
        }
    }

    /// When something happens, from its begin on.
    fn moments(self) -> std::ops::Range<u64> {
        match self {
            Self::NodeLoss => 10_900..11_300,
            Self::ScaleUp | Self::ScaleDown | Self::Template | Self::Drain | Self::Deletion => {
                0..350
            }
        }
    }

    async fn end(self, world: &World) {
        let count = match self {
            Self::ScaleUp => 6,
            Self::ScaleDown => 1,
            Self::Template | Self::Drain | Self::NodeLoss => 4,
            Self::Deletion => 0,
        };
        if matches!(self, Self::NodeLoss) {
            world
                .until("all serve elsewhere", |cache| {
                    let nodes = crate::world::nodes_of(cache, &web());
                    let elsewhere = nodes.iter().filter(|node| **node != NodeName::from("n1"));
                    elsewhere.count() == 4
                })
                .await;
            world.engine("n1").set_reachable(true);
        }
        world
            .until(&format!("{self:?} ends"), |cache| {
                let tasks = serving(cache, &web());
                let is_new = |task: &skep::api::task::Task| task.revision.0 == 2;
                let is_changed = !matches!(self, Self::Template) || tasks.iter().all(is_new);
                let is_left = !matches!(self, Self::Drain | Self::NodeLoss)
                    || world.engine("n1").running().is_empty();
                tasks.len() == count && world.running().len() == count && is_changed && is_left
            })
            .await;
        world.settled().await;
        assert_eq!(world.running().len(), count, "{}", world.describe());
    }
}

fn slow_engines(world: &World) {
    for engine in world.fleet.all() {
        engine.set_latency("create", Duration::from_millis(40));
        engine.set_latency("start", Duration::from_millis(30));
        engine.set_latency("stop", Duration::from_millis(50));
        engine.set_latency("remove", Duration::from_millis(20));
    }
}

/// Kills the only manager at each moment; another takes over.
async fn killed_at_each_moment(change: Change) {
    for delay in change.moments().step_by(7) {
        let mut world = World::start(3).await;
        slow_engines(&world);
        world.service("web", SIX);
        world.serving("web", 4).await;
        change.begin(&world);
        world.pass(Duration::from_millis(delay)).await;
        world.kill("m1");
        world.manager("m2");
        change.end(&world).await;
    }
}

#[tokio::test(start_paused = true)]
async fn killed_at_each_moment_of_scaling_up() {
    killed_at_each_moment(Change::ScaleUp).await;
}

#[tokio::test(start_paused = true)]
async fn killed_at_each_moment_of_scaling_down() {
    killed_at_each_moment(Change::ScaleDown).await;
}

#[tokio::test(start_paused = true)]
async fn killed_at_each_moment_of_a_new_template() {
    killed_at_each_moment(Change::Template).await;
}

#[tokio::test(start_paused = true)]
async fn killed_at_each_moment_of_a_drain() {
    killed_at_each_moment(Change::Drain).await;
}

#[tokio::test(start_paused = true)]
async fn killed_at_each_moment_of_a_lost_node() {
    killed_at_each_moment(Change::NodeLoss).await;
}

#[tokio::test(start_paused = true)]
async fn killed_at_each_moment_of_a_deletion() {
    killed_at_each_moment(Change::Deletion).await;
}

#[tokio::test(start_paused = true)]
async fn each_controllers_process_killed_in_the_middle_of_each_change() {
    for change in [
        Change::ScaleUp,
        Change::ScaleDown,
        Change::Template,
        Change::Drain,
        Change::Deletion,
    ] {
        for controller in CONTROLLERS {
            for delay in [0, 45, 90] {
                let mut world = World::empty();
                for node in ["n1", "n2", "n3"] {
                    world.add_node(node);
                }
                world.managers_apart();
                world.service("web", SIX);
                world.serving("web", 4).await;
                slow_engines(&world);
                change.begin(&world);
                world.pass(Duration::from_millis(delay)).await;
                world.kill(controller);
                world.manager_with("again", &[controller], None);
                change.end(&world).await;
            }
        }
    }
}
