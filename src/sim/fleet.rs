//! [`SimFleet`]: simulated engines by URL.

use super::engine::SimEngine;
use crate::api::node::EngineSpec;
use crate::engine::{Connector, Engine, Error};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// A fleet of simulated engines. Clones are handles of the same fleet.
#[derive(Clone, Default)]
pub struct SimFleet {
    engines: Arc<Mutex<BTreeMap<String, SimEngine>>>,
}

impl SimFleet {
    /// A fleet without engines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an engine at `sim://<name>`, or gives the one that is there.
    pub fn add(&self, name: &str) -> SimEngine {
        self.add_at(&format!("sim://{name}"), name)
    }

    /// Adds an engine at a URL of one's choice (`tcp://n1:2375`), or gives the one that is there.
    pub fn add_at(&self, url: &str, name: &str) -> SimEngine {
        let mut engines = self.engines();
        let engine = engines
            .entry(url.to_owned())
            .or_insert_with(|| SimEngine::at(url, name));
        engine.clone()
    }

    /// Puts another engine behind a URL: the one before stays as it is, but nobody reaches it there.
    pub fn replace(&self, url: &str, engine: SimEngine) {
        self.engines().insert(url.to_owned(), engine);
    }

    /// The engine at `sim://<name>` or at this URL.
    pub fn get(&self, name: &str) -> Option<SimEngine> {
        let engines = self.engines();
        let found = engines
            .get(name)
            .or_else(|| engines.get(&format!("sim://{name}")));
        found.cloned()
    }

    /// Every engine, by URL.
    pub fn all(&self) -> Vec<SimEngine> {
        self.engines().values().cloned().collect()
    }

    /// The violations of all engines.
    pub fn violations(&self) -> Vec<String> {
        self.all().iter().flat_map(SimEngine::violations).collect()
    }

    fn engines(&self) -> MutexGuard<'_, BTreeMap<String, SimEngine>> {
        self.engines
            .lock()
            .expect("nobody panics while holding the fleet")
    }
}

#[async_trait]
impl Connector for SimFleet {
    /// Where there is no engine, one that never answers: as a real connector, which does not talk to it either.
    async fn connect(&self, spec: &EngineSpec) -> Result<Arc<dyn Engine>, Error> {
        let found = self.engines().get(&spec.url).cloned();
        Ok(Arc::new(found.unwrap_or_else(|| {
            let nothing = SimEngine::at(&spec.url, "nothing");
            nothing.set_reachable(false);
            nothing
        })))
    }
}
