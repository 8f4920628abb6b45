//! The world of one run: a store, engines and real managers with the real wiring, over lines and links that can fail.

use crate::court::Court;
use crate::line::{Line, Way};
use crate::link::{Cuts, Links};
use crate::mutants::Mutant;
use crate::plan::{Plan, Spec};
use skep::api::uid::Uid;
use skep::app::manager::{self, CONTROLLERS, Doors, Options};
use skep::embedded::memory::Memory;
use skep::metrics::Metrics;
use skep::runtime::shared::SharedCache;
use skep::sim::check::Broken;
use skep::sim::clock::SimClock;
use skep::sim::{SimEngine, SimFleet};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The cluster's id, told to every manager, so that a wiped store becomes the same cluster's again.
const CLUSTER: &str = "0000000000000000000simula";

pub(crate) struct World {
    pub(crate) store: Memory,
    pub(crate) fleet: SimFleet,
    pub(crate) court: Court,
    pub(crate) managers: Vec<Option<Manager>>,
    /// What users want now.
    pub(crate) wanted: BTreeMap<String, Spec>,
    pub(crate) nodes: BTreeSet<u64>,
    pub(crate) engines: BTreeSet<u64>,
    clock: Arc<SimClock>,
    latency: Duration,
    mutant: Option<Mutant>,
    /// How many managers were ever started, for their names.
    started: u64,
}

/// A manager that was started.
pub(crate) struct Manager {
    pub(crate) name: String,
    pub(crate) line: Line,
    pub(crate) cuts: Arc<watch::Sender<Cuts>>,
    task: JoinHandle<Result<(), manager::Error>>,
    /// Held, because a manager ends when it is dropped.
    _stop: watch::Sender<bool>,
}

pub(crate) fn url(node: u64) -> String {
    format!("tcp://n{node}:2375")
}

impl World {
    pub(crate) fn new(plan: &Plan, mutant: Option<Mutant>) -> Self {
        let store = Memory::new();
        let mut world = Self {
            court: Court::new(store.clone()),
            store,
            fleet: SimFleet::new(),
            managers: Vec::new(),
            wanted: BTreeMap::new(),
            nodes: BTreeSet::new(),
            engines: BTreeSet::new(),
            clock: Arc::new(SimClock::new(u128::from(plan.seed))),
            latency: Duration::from_millis(plan.latency),
            mutant,
            started: 0,
        };
        for node in 1..=plan.nodes {
            world.add_node(node);
        }
        for _ in 0..plan.managers {
            let manager = world.start_manager();
            world.managers.push(Some(manager));
        }
        world
    }

    pub(crate) fn engine(&self, node: u64) -> SimEngine {
        let found = self.fleet.get(&url(node));
        found.unwrap_or_else(|| self.fleet.get(&url(1)).expect("the first engine"))
    }

    /// An engine with containers of others on it, where there is none yet, and its node.
    pub(crate) fn add_node(&mut self, node: u64) {
        if self.engines.insert(node) {
            let engine = self.fleet.add_at(&url(node), &format!("n{node}"));
            engine.add_image("app:1");
            let clock = self.clock.clone();
            engine.set_clock(move || skep::runtime::clock::Clock::now(&*clock).wall);
            engine.set_witness(self.court.witness());
            engine.set_latency("*", self.latency);
            self.by_hand(&engine, "redis", &[("com.example.mine", "yes")]);
            let foreign = [("dev.skep.cluster", "another"), ("com.example.mine", "yes")];
            self.by_hand(&engine, "other.1.theirs", &foreign);
        }
        self.nodes.insert(node);
        self.put_node(node, "active");
    }

    /// A container that is nobody's to touch.
    pub(crate) fn by_hand(&self, engine: &SimEngine, name: &str, labels: &[(&str, &str)]) {
        if let Ok(id) = engine.make_by_hand(name, labels, true) {
            self.court.judge(|judge| judge.protect(id));
        }
    }

    pub(crate) fn put_node(&mut self, node: u64, availability: &str) {
        self.put(
            &format!("nodes/n{node}"),
            &format!(
                "{{engine: {{url: \"{}\"}}, availability: {availability}}}",
                url(node)
            ),
        );
    }

    pub(crate) fn put(&self, key: &str, value: &str) {
        self.store.put(&format!("/skep/{key}"), value);
        self.court.look_at_store(false);
    }

    pub(crate) fn delete(&self, key: &str) {
        self.store.delete(&format!("/skep/{key}"));
        self.court.look_at_store(false);
    }

    /// Starts a manager under a new name.
    pub(crate) fn start_manager(&mut self) -> Manager {
        self.started += 1;
        let name = format!("m{}", self.started);
        let (stop, stopped) = watch::channel(false);
        let line = Line::to(self.store.clone(), &name, self.court.clone(), self.mutant);
        let cuts = Arc::new(watch::Sender::new(Cuts::default()));
        let links = Links {
            name: name.as_str().into(),
            fleet: self.fleet.clone(),
            cuts: cuts.clone(),
            court: self.court.clone(),
            mutant: self.mutant,
        };
        let options = Options {
            name: name.clone(),
            hostname: name.clone(),
            controllers: CONTROLLERS.iter().map(ToString::to_string).collect(),
            metrics: None,
            cluster: skep::controllers::cluster::Settings {
                id: Some(Uid::from(CLUSTER)),
                ..Default::default()
            },
            node: Default::default(),
        };
        let doors = Doors {
            kv: Arc::new(line.clone()),
            cache: SharedCache::new("/skep/"),
            connector: Arc::new(links),
            clock: self.clock.clone(),
            metrics: Arc::new(Metrics::new()),
        };
        self.court.note(&name, "starts");
        Manager {
            name,
            line,
            cuts,
            task: tokio::spawn(manager::run(options, doors, stopped)),
            _stop: stop,
        }
    }

    /// Ends a manager at whatever await it is.
    pub(crate) fn kill(&mut self, place: usize) {
        let Some(manager) = self.managers[place].take() else {
            return;
        };
        self.court.note(&manager.name, "is killed");
        manager.line.set(Way::Dead);
        manager.cuts.send_modify(|cuts| cuts.is_dead = true);
        manager.task.abort();
    }

    /// Starts managers again that ended by themselves; one that panicked broke a rule.
    pub(crate) async fn revive(&mut self) {
        for place in 0..self.managers.len() {
            let is_over = |manager: &Manager| manager.task.is_finished();
            if !self.managers[place].as_ref().is_some_and(is_over) {
                continue;
            }
            let Some(over) = self.managers[place].take() else {
                continue;
            };
            over.line.set(Way::Dead);
            over.cuts.send_modify(|cuts| cuts.is_dead = true);
            let why = match over.task.await {
                Ok(Ok(())) => "it was not asked to".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            self.court
                .note(&over.name, &format!("ends by itself: {why}"));
            if why.contains("panic") {
                let what = format!("{}: {why}", over.name);
                self.court
                    .accuse(Broken::new("a manager does not panic", what));
            }
            let again = self.start_manager();
            self.managers[place] = Some(again);
        }
    }
}
