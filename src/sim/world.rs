//! The world of one run: a store, engines and real managers with the real wiring, over lines and links that can fail.

use super::check::Broken;
use super::clock::SimClock;
use super::court::Court;
use super::line::{Line, Way};
use super::link::{Cuts, Links};
use super::process::Process;
use super::{SimEngine, SimFleet};
use crate::api::task::Health;
use crate::api::uid::Uid;
use crate::app::manager::{self, CONTROLLERS, Doors, Options};
use crate::embedded::memory::Memory;
use crate::metrics::Metrics;
use crate::runtime::clock::Clock;
use crate::runtime::shared::SharedCache;
use crate::spawn::behind;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The cluster's id, told to every manager, so that a wiped store becomes the same cluster's again.
const CLUSTER: &str = "0000000000000000000simula";

/// A store, engines, and managers. It runs on one thread with tokio's time paused, in a runtime whose own randomness is
/// seeded: then equal worlds to which the same is done have equal traces.
pub struct World {
    /// What managers reach over their lines, and tests by hand.
    pub store: Memory,
    /// The engines, by URL ([`url`]).
    pub fleet: SimFleet,
    /// The trace and the judge.
    pub court: Court,
    /// The managers by place; none: it was killed, and nobody has started another.
    pub managers: Vec<Option<Manager>>,
    /// The nodes that users want.
    pub nodes: BTreeSet<u64>,
    /// The nodes that ever were, whose engines still run.
    pub engines: BTreeSet<u64>,
    /// The clocks of the engines' machines, by node.
    pub clocks: BTreeMap<u64, Arc<SimClock>>,
    /// What is asked where nobody's own clock is meant.
    pub clock: SimClock,
    /// Whether nodes say at which address others reach them: their engines' URLs do not.
    pub has_addresses: bool,
    latency: Duration,
    /// How many managers were ever started, for their names.
    started: u64,
}

/// What a manager is for.
#[derive(Clone, Default)]
pub struct Role {
    /// The controllers that it runs; none: all.
    pub controllers: Vec<&'static str>,
    /// What it is told of networks.
    pub network: crate::controllers::network::Settings,
    /// What stands between it and its doors.
    pub hook: Option<Hook>,
}

/// Wraps the doors of a manager that starts: planted bugs, faults at a counted call, records of what goes through. A
/// manager's own way to the doors lies behind it, so the trace shows what came out of the hook.
pub type Hook = Arc<dyn Fn(Doors) -> Doors + Send + Sync>;

/// A manager that was started.
pub struct Manager {
    /// `m1` is the first one of a run; a name is used once.
    pub name: String,
    /// Its way to the store.
    pub line: Line,
    /// Its ways to engines.
    pub cuts: Arc<watch::Sender<Cuts>>,
    /// It can be stopped and woken.
    pub process: Arc<Process>,
    /// Its machine's clocks.
    pub clock: Arc<SimClock>,
    role: Role,
    task: JoinHandle<Result<(), manager::Error>>,
    /// Held, because a manager ends when it is dropped.
    _stop: watch::Sender<bool>,
}

/// Where the engine of a node is.
pub fn url(node: u64) -> String {
    format!("tcp://n{node}:2375")
}

impl World {
    /// A world without nodes and managers. The seed is that of all uids and of all jitter; every call of an engine takes
    /// the latency.
    pub fn new(seed: u64, latency: Duration) -> Self {
        let store = Memory::new();
        Self {
            court: Court::new(store.clone()),
            store,
            fleet: SimFleet::new(),
            managers: Vec::new(),
            nodes: BTreeSet::new(),
            engines: BTreeSet::new(),
            clocks: BTreeMap::new(),
            clock: SimClock::new(u128::from(seed)),
            has_addresses: false,
            latency,
            started: 0,
        }
    }

    /// The engine of a node.
    ///
    /// # Panics
    /// The node never was, and neither was n1.
    pub fn engine(&self, node: u64) -> SimEngine {
        let found = self.fleet.get(&url(node));
        found.unwrap_or_else(|| self.fleet.get(&url(1)).expect("the first engine"))
    }

    /// An engine with containers of others on it, where there is none yet, and its node.
    pub fn add_node(&mut self, node: u64) {
        if self.engines.insert(node) {
            let engine = self.fleet.add_at(&url(node), &format!("n{node}"));
            engine.add_image("app:1");
            let clock = Arc::new(self.clock.another());
            self.clocks.insert(node, clock.clone());
            engine.set_clock(move || clock.now().wall);
            engine.set_first_health(Health::Healthy);
            engine.forget_calls();
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
    pub fn by_hand(&self, engine: &SimEngine, name: &str, labels: &[(&str, &str)]) {
        if let Ok(id) = engine.make_by_hand(name, labels, true) {
            self.court.judge(|judge| judge.protect(id));
        }
    }

    /// A user writes a node's manifest.
    pub fn put_node(&mut self, node: u64, availability: &str) {
        let [.., high, low] = node.to_be_bytes();
        let address = match self.has_addresses {
            true => format!(", address: 192.0.{high}.{low}"),
            false => String::new(),
        };
        self.put(
            &format!("nodes/n{node}"),
            &format!(
                "{{engine: {{url: \"{}\"}}, availability: {availability}{address}}}",
                url(node)
            ),
        );
    }

    /// A user writes a key below the prefix.
    pub fn put(&self, key: &str, value: &str) {
        self.store.put(&format!("/skep/{key}"), value);
        self.court.look_at_store(false);
    }

    /// A user deletes a key below the prefix.
    pub fn delete(&self, key: &str) {
        self.store.delete(&format!("/skep/{key}"));
        self.court.look_at_store(false);
    }

    /// The cluster lives in another store from now on: managers that start go there.
    pub fn move_to(&mut self, store: Memory) {
        self.store = store.clone();
        self.court.move_to(store);
    }

    /// Tells the judge that a node cannot be reached by somebody, or can be again.
    pub fn set_cut(&self, node: u64, is_cut: bool) {
        self.court
            .judge(|judge| judge.set_cut(&format!("n{node}"), is_cut));
    }

    /// Starts a manager under a new name, in the first place that nobody has had yet.
    pub fn add_manager(&mut self, role: Role) {
        let manager = self.start(role);
        self.managers.push(Some(manager));
    }

    /// Starts another manager where one was killed.
    pub fn start_manager(&mut self, place: usize, role: Role) {
        if self.managers[place].is_none() {
            self.managers[place] = Some(self.start(role));
        }
    }

    fn start(&mut self, role: Role) -> Manager {
        self.started += 1;
        let name = format!("m{}", self.started);
        let (stop, stopped) = watch::channel(false);
        let line = Line::to(self.store.clone(), &name, self.court.clone());
        let cuts = Arc::new(watch::Sender::new(Cuts::default()));
        let links = Links {
            name: name.as_str().into(),
            fleet: self.fleet.clone(),
            cuts: cuts.clone(),
            court: self.court.clone(),
        };
        let clock = Arc::new(self.clock.another());
        let process = Arc::new(Process::default());
        let mut doors = Doors {
            kv: Arc::new(line.clone()),
            cache: SharedCache::new("/skep/"),
            connector: Arc::new(links),
            clock: clock.clone(),
            metrics: Arc::new(Metrics::new()),
        };
        if let Some(hook) = &role.hook {
            doors = hook(doors);
        }
        self.court.note(&name, "starts");
        let run = manager::run(options(&name, &role), doors, stopped);
        Manager {
            name,
            line,
            cuts,
            task: tokio::spawn(behind(process.clone(), run)),
            process,
            clock,
            role,
            _stop: stop,
        }
    }

    /// Ends a manager at whatever await it is; gives what it was for.
    pub fn kill(&mut self, place: usize) -> Option<Role> {
        let manager = self.managers[place].take()?;
        self.court.note(&manager.name, "is killed");
        manager.cut_off();
        manager.task.abort();
        Some(manager.role)
    }

    /// Starts managers again that ended by themselves; one that panicked broke a rule.
    pub async fn revive(&mut self) {
        for place in 0..self.managers.len() {
            let is_over = |manager: &Manager| manager.task.is_finished();
            if !self.managers[place].as_ref().is_some_and(is_over) {
                continue;
            }
            let Some(over) = self.managers[place].take() else {
                continue;
            };
            over.cut_off();
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
            self.start_manager(place, over.role);
        }
    }
}

impl Manager {
    /// Nothing that it has not sent yet goes out any more.
    fn cut_off(&self) {
        self.process.stop();
        self.line.set(Way::Dead);
        self.cuts.send_modify(|cuts| cuts.is_dead = true);
    }
}

fn options(name: &str, role: &Role) -> Options {
    let controllers = match role.controllers.is_empty() {
        true => &CONTROLLERS[..],
        false => &role.controllers,
    };
    Options {
        name: name.to_owned(),
        hostname: name.to_owned(),
        controllers: controllers.iter().map(ToString::to_string).collect(),
        metrics: None,
        cluster: crate::controllers::cluster::Settings {
            id: Some(Uid::from(CLUSTER)),
            ..Default::default()
        },
        network: role.network,
        node: Default::default(),
    }
}
