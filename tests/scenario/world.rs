//! A world for scenarios: the in-memory store, simulated engines, a paused clock, and real managers with the real
//! wiring between them. Nothing sleeps: virtual time jumps to the next timer.

use crate::line::Line;
use skep::api::cluster::{Cluster, Event};
use skep::api::name::{NodeName, ObjectKey, Scoped};
use skep::api::task::{Desired, Task, TaskState};
use skep::api::uid::Uid;
use skep::app::manager::{self, CONTROLLERS, Doors, Options};
use skep::controllers::network;
use skep::embedded::memory::Memory;
use skep::metrics::Metrics;
use skep::runtime::cache::{Cache, Stored};
use skep::runtime::shared::SharedCache;
use skep::runtime::view;
use skep::sim::clock::SimClock;
use skep::sim::{SimEngine, SimFleet};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The image that every simulated engine has.
pub(crate) const IMAGE: &str = "app:1";

pub(crate) struct World {
    pub(crate) store: Memory,
    pub(crate) fleet: SimFleet,
    /// What managers are told of networks that are started from now on.
    pub(crate) network: network::Settings,
    clock: Arc<SimClock>,
    managers: BTreeMap<String, Running>,
}

/// A manager that was started.
struct Running {
    task: JoinHandle<Result<(), manager::Error>>,
    stop: watch::Sender<bool>,
    line: Line,
}

impl World {
    /// Another cluster, with a store of its own, over the same engines.
    pub(crate) fn beside(&self) -> Self {
        Self {
            store: Memory::new(),
            fleet: self.fleet.clone(),
            network: self.network,
            clock: self.clock.clone(),
            managers: BTreeMap::new(),
        }
    }

    /// The node of an engine that is there.
    pub(crate) fn node(&self, name: &str) {
        self.put(
            &format!("nodes/{name}"),
            &format!("{{engine: {{url: \"tcp://{name}:2375\"}}}}"),
        );
    }

    /// Engines `n1` to `n<nodes>`, each a node, and one manager `m1`.
    pub(crate) async fn start(nodes: usize) -> Self {
        let mut world = Self::empty();
        for number in 1..=nodes {
            world.add_node(&format!("n{number}"));
        }
        world.manager("m1");
        world
            .until("all nodes are ready", move |cache| {
                let ready = view::nodes(cache)
                    .iter()
                    .filter(|node| node.is_schedulable())
                    .count();
                ready == nodes
            })
            .await;
        world
    }

    /// Nothing yet.
    pub(crate) fn empty() -> Self {
        Self {
            store: Memory::new(),
            fleet: SimFleet::new(),
            network: network::Settings::default(),
            clock: Arc::new(SimClock::new(7)),
            managers: BTreeMap::new(),
        }
    }

    /// An engine with the image, and its node.
    pub(crate) fn add_node(&mut self, name: &str) -> SimEngine {
        let engine = self.fleet.add_at(&format!("tcp://{name}:2375"), name);
        engine.add_image(IMAGE);
        let clock = self.clock.clone();
        engine.set_clock(move || skep::runtime::clock::Clock::now(&*clock).wall);
        self.node(name);
        engine
    }

    /// The engine of a node.
    pub(crate) fn engine(&self, name: &str) -> SimEngine {
        self.fleet
            .get(&format!("tcp://{name}:2375"))
            .expect("the node's engine")
    }

    /// Starts a manager with all controllers.
    pub(crate) fn manager(&mut self, name: &str) {
        self.manager_with(name, &CONTROLLERS, None);
    }

    /// One process for each controller, named as it is.
    pub(crate) fn managers_apart(&mut self) {
        for controller in CONTROLLERS {
            self.manager_with(controller, &[controller], None);
        }
    }

    /// Starts a manager with some controllers, and perhaps `--cluster-id`.
    pub(crate) fn manager_with(
        &mut self,
        name: &str,
        controllers: &[&str],
        cluster_id: Option<Uid>,
    ) {
        let (stop, stopped) = watch::channel(false);
        let line = Line::to(self.store.clone());
        let options = Options {
            name: name.into(),
            hostname: name.into(),
            controllers: controllers.iter().map(ToString::to_string).collect(),
            metrics: None,
            cluster: skep::controllers::cluster::Settings {
                id: cluster_id,
                ..Default::default()
            },
            network: self.network,
            node: Default::default(),
        };
        let doors = Doors {
            kv: Arc::new(line.clone()),
            cache: SharedCache::new("/skep/"),
            connector: Arc::new(self.fleet.clone()),
            clock: self.clock.clone(),
            metrics: Arc::new(Metrics::new()),
        };
        let task = tokio::spawn(manager::run(options, doors, stopped));
        let running = Running { task, stop, line };
        self.managers.insert(name.into(), running);
    }

    /// A manager's line to the store.
    pub(crate) fn line(&self, name: &str) -> Line {
        self.managers[name].line.clone()
    }

    /// Waits for a manager that ends by itself; says why.
    pub(crate) async fn refused(&mut self, name: &str) -> String {
        let running = self.managers.remove(name).expect("the manager runs");
        let ended = running.task.await.expect("the manager does not panic");
        ended.expect_err("it ends with an error").to_string()
    }

    /// Ends a manager at whatever await it is: `kill -9`.
    pub(crate) fn kill(&mut self, name: &str) {
        let running = self.managers.remove(name).expect("the manager runs");
        // Nobody writes from a dead process, whatever its parts were spawned as.
        running.line.set_up(false);
        running.task.abort();
    }

    /// Asks a manager to stop and waits until it has.
    pub(crate) async fn stop(&mut self, name: &str) {
        let running = self.managers.remove(name).expect("the manager runs");
        running.stop.send(true).expect("the manager listens");
        let ended = running.task.await.expect("the manager does not panic");
        ended.expect("the manager stops in peace");
    }

    /// Puts a value below the prefix.
    pub(crate) fn put(&self, key: &str, value: &str) {
        self.store.put(&format!("/skep/{key}"), value);
    }

    /// Puts a service with this short form; `IMAGE` stands for the image.
    pub(crate) fn service(&self, name: &str, spec: &str) {
        self.put(
            &format!("services/default/{name}"),
            &spec.replace("IMAGE", IMAGE),
        );
    }

    /// What the store holds now.
    pub(crate) fn cache(&self) -> Cache {
        let mut cache = Cache::default();
        cache.replace("/skep/", &self.store.dump("/skep/"), self.store.revision());
        cache
    }

    /// Lets virtual time pass until `holds`; fails after ten minutes of it, with what there is.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Cache) -> bool) {
        let mut cache = self.cache();
        for _ in 0..12_000 {
            if cache.revision != self.store.revision() {
                cache = self.cache();
            }
            if holds(&cache) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never: {what}\n{}", self.describe());
    }

    /// Lets virtual time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Waits until the named service has `count` serving tasks.
    pub(crate) async fn serving(&self, service: &str, count: usize) {
        let name = Scoped::new("default", service);
        self.until(&format!("{service} has {count} serving tasks"), |cache| {
            serving(cache, &name).len() == count
        })
        .await;
    }

    /// What everything ends with: the store is quiet, and nothing runs that should not.
    pub(crate) async fn settled(&self) {
        self.quiet().await;
        self.check();
    }

    /// What users were told so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        let events = self.store.dump("/skep-events/");
        let read = |kv: &skep::store::KeyValue| {
            serde_json::from_slice(&kv.value).expect("an event can be read")
        };
        events.iter().map(read).collect()
    }

    /// How often users were told of this.
    pub(crate) fn told(&self, reason: &str) -> u64 {
        let events = self.events();
        let of = events.iter().filter(|event| event.reason == reason);
        of.map(|event| event.count).sum()
    }

    /// A condition: `True/Reason`.
    pub(crate) fn condition(
        &self,
        object: &ObjectKey,
        controller: &str,
        kind: &str,
    ) -> Option<String> {
        let cache = self.cache();
        let status = cache.status(object, controller)?;
        let condition = status.condition(kind)?;
        Some(format!(
            "{}/{}",
            condition.status.as_str(),
            condition.reason
        ))
    }

    /// How often a call was made on any engine.
    pub(crate) fn calls(&self, call: &str) -> usize {
        let engines = self.fleet.all();
        engines.iter().map(|engine| engine.count(call)).sum()
    }

    /// Waits until nothing is written for a minute of virtual time.
    pub(crate) async fn quiet(&self) {
        for _ in 0..60 {
            let before = self.revision_without_leases();
            self.pass(Duration::from_secs(60)).await;
            if self.revision_without_leases() == before {
                return;
            }
        }
        panic!("the store never becomes quiet\n{}", self.describe());
    }

    /// The revision of the last write: keep-alives are no writes.
    fn revision_without_leases(&self) -> i64 {
        self.store.revision().0
    }

    /// The running containers of all engines, by name.
    pub(crate) fn running(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .fleet
            .all()
            .iter()
            .flat_map(|engine| engine.running())
            .map(|container| container.name)
            .collect();
        names.sort();
        names
    }

    /// Fails if an engine was told what must never be told, or two containers of a slot run.
    pub(crate) fn check(&self) {
        assert_eq!(self.fleet.violations(), Vec::<String>::new());
        let mut slots = BTreeMap::new();
        let is_task = |name: &String| name != skep::controllers::task::agent::container::NAME;
        for name in self.running().into_iter().filter(is_task) {
            let slot = name
                .rsplit_once('.')
                .map_or(name.clone(), |(slot, _)| slot.to_owned());
            slots.entry(slot).or_insert_with(Vec::new).push(name);
        }
        for (slot, names) in slots {
            assert!(names.len() < 2, "two containers of {slot}: {names:?}");
        }
    }

    pub(crate) fn cluster(&self) -> Cluster {
        self.cache()
            .cluster
            .expect("the cluster has a record")
            .value
            .as_ref()
            .clone()
    }

    /// All that there is, for a failed test.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for kv in self.store.dump("/skep") {
            text += &format!("{} = {}\n", kv.key, String::from_utf8_lossy(&kv.value));
        }
        for engine in self.fleet.all() {
            for container in engine.containers() {
                text += &format!(
                    "{}: {} {:?}\n",
                    skep::engine::Engine::address(&engine),
                    container.name,
                    container.state
                );
            }
        }
        text
    }
}

/// The serving tasks of a service.
pub(crate) fn serving(cache: &Cache, service: &Scoped) -> Vec<Task> {
    let views = cache.tasks_of(service).map(|task| view::task(cache, task));
    views
        .filter(|view| view.is_serving() && view.task.desired == Desired::Running)
        .map(|view| (*view.task.value).clone())
        .collect()
}

/// The tasks of a service in this observed state.
pub(crate) fn in_state(cache: &Cache, service: &Scoped, state: TaskState) -> usize {
    cache
        .tasks_of(service)
        .filter(|task| view::task(cache, task).state == state)
        .count()
}

/// The nodes that the serving tasks of a service are on.
pub(crate) fn nodes_of(cache: &Cache, service: &Scoped) -> Vec<NodeName> {
    let on = |task: &Stored<Task>| view::task(cache, task).node.cloned();
    let mut nodes: Vec<NodeName> = cache
        .tasks_of(service)
        .filter(|task| view::task(cache, task).is_serving())
        .filter_map(on)
        .collect();
    nodes.sort();
    nodes
}
