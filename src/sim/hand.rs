//! The test's hand on a simulated engine: what happens beside skep's calls, what goes wrong, what is to be seen.
//!
//! Nothing here is recorded as a call.

use super::container::{Behaviour, SimContainer};
use super::engine::SimEngine;
use super::fault::Fault;
use super::state::{Call, Planned, Registry};
use super::telling::Telling;
use super::witness::Witness;
use crate::api::task::Health;
use crate::api::time::Timestamp;
use crate::api::uid::ContainerId;
use crate::engine::{Container, Error, Identity, LogLine};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What the engine is.
impl SimEngine {
    /// Takes times from here instead of from the engine's own counter.
    pub fn set_clock(&self, now: impl Fn() -> Timestamp + Send + Sync + 'static) {
        self.state().now = Arc::new(now);
    }

    /// Keeps no record of calls from now on: a long run makes millions of them, which nobody reads.
    pub fn forget_calls(&self) {
        let mut state = self.state();
        state.keeps_calls = false;
        state.calls = Vec::new();
    }

    /// Tells of everything that happens to containers from now on.
    pub fn set_witness(&self, witness: Witness) {
        self.state().witness = Some(witness);
    }

    /// Changes what the engine says of itself: another id is another engine.
    pub fn edit_identity(&self, edit: impl FnOnce(&mut Identity)) {
        edit(&mut self.state().identity);
    }

    /// Puts an image on the engine.
    pub fn add_image(&self, image: &str) {
        self.state().images.insert(image.to_owned());
    }

    /// Says what pulls find.
    pub fn set_registry(&self, registry: Registry) {
        self.state().registry = registry;
    }

    /// Says what containers of an image do once started.
    pub fn set_behaviour(&self, image: &str, behaviour: Behaviour) {
        self.state().behaviours.insert(image.to_owned(), behaviour);
    }

    /// Says what health checks find right after the start (at first `starting`).
    pub fn set_first_health(&self, health: Health) {
        self.state().first_health = health;
    }

    /// Makes a call (`*`: every call without its own) take this long.
    pub fn set_latency(&self, call: &str, latency: Duration) {
        self.state().latencies.insert(call.to_owned(), latency);
    }

    /// Says what commands print and how they end.
    pub fn set_exec(&self, output: &[u8], exit_code: i64) {
        let mut state = self.state();
        state.exec_output = output.to_vec();
        state.exec_exit_code = exit_code;
    }
}

/// What goes wrong.
impl SimEngine {
    /// The next `times` calls of this name (`*`: any) go wrong this way; faults strike in the order they were given.
    pub fn fail(&self, call: &str, fault: Fault, times: usize) {
        self.state().faults.push(Planned {
            call: call.to_owned(),
            fault,
            left: times,
        });
    }

    /// Takes back all faults that have not struck.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Cuts the engine off (event streams break, containers go on) or connects it again.
    pub fn set_reachable(&self, is_reachable: bool) {
        self.state().is_reachable = is_reachable;
        if !is_reachable {
            self.drop_events();
        }
    }

    /// Breaks every stream: of events, and an agent's.
    pub fn drop_events(&self) {
        let mut state = self.state();
        state.teller.hang_up();
        state.overlays.hang_up();
    }

    /// Says how it tells of its events from now on.
    pub fn tell(&self, telling: Telling) {
        self.state().teller.set(telling);
    }

    /// Says what the verdict on every container with a health check is, from now on and at once.
    pub fn set_all_health(&self, health: Health) {
        self.set_first_health(health);
        let is_checked = |container: &Container| container.health.is_some();
        for container in self.running().into_iter().filter(is_checked) {
            self.set_health(&container.id, health);
        }
    }

    /// The machine reboots: what ran has ended (137), streams break.
    pub fn reboot(&self) {
        self.drop_events();
        let running: Vec<_> = self.running().into_iter().map(|c| c.id).collect();
        for id in running {
            self.exit(&id, 137);
        }
    }

    /// A container ends with this code.
    pub fn exit(&self, id: &ContainerId, code: i64) {
        let _ = self.state().end(id, code);
    }

    /// The kernel kills a container for memory.
    pub fn oom_kill(&self, id: &ContainerId) {
        let mut state = self.state();
        if let Ok(container) = state.get(id) {
            container.seen.oom_killed = true;
        }
        let _ = state.end(id, 137);
    }

    /// Somebody removes a container by hand (`docker rm -f`).
    pub fn remove_by_hand(&self, id: &ContainerId) {
        let _ = self.state().lose(id);
    }

    /// Somebody makes a container by hand, started or not.
    ///
    /// # Errors
    /// The name is taken.
    pub fn make_by_hand(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        is_started: bool,
    ) -> Result<ContainerId, Error> {
        let labels: Value = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(value)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let mut state = self.state();
        state.images.insert("by-hand:1".into());
        let id = state.create(
            name,
            &json!({"Image": "by-hand:1", "Labels": labels}).to_string(),
        )?;
        if is_started {
            state.start(&id)?;
        }
        Ok(id)
    }

    /// Somebody runs a container in a network (`docker run --network`); the engine gives it an address, if it has one to give.
    ///
    /// # Errors
    /// The name is taken, or there is no such network; or the engine has no address to give.
    pub fn attach_by_hand(&self, name: &str, network: &str) -> Result<ContainerId, Error> {
        let mut state = self.state();
        state.images.insert("by-hand:1".into());
        let networks = json!({"EndpointsConfig": {network: {}}});
        let body = json!({"Image": "by-hand:1", "NetworkingConfig": networks});
        let id = state.create(name, &body.to_string())?;
        let started = state.start(&id);
        // As `docker run --rm`.
        if started.is_err() {
            state.lose(&id)?;
        }
        started.map(|()| id)
    }

    /// A health check comes to a result.
    pub fn set_health(&self, id: &ContainerId, health: Health) {
        let mut state = self.state();
        if let Ok(container) = state.get(id) {
            container.seen.health = Some(health);
            let word = match health {
                Health::Starting => "starting",
                Health::Healthy => "healthy",
                Health::Unhealthy => "unhealthy",
            };
            state.publish(id, &format!("health_status: {word}"));
        }
    }

    /// A container prints a line.
    pub fn print(&self, id: &ContainerId, line: &str) {
        if let Ok(container) = self.state().get(id) {
            container.logs.push(LogLine {
                is_stderr: false,
                bytes: format!("{line}\n").into_bytes(),
            });
        }
    }
}

/// What is to be seen.
impl SimEngine {
    /// All containers, oldest first.
    pub fn containers(&self) -> Vec<Container> {
        let state = self.state();
        let mut all: Vec<&SimContainer> = state.containers.values().collect();
        all.sort_by_key(|c| c.number);
        all.into_iter().map(|c| c.seen.clone()).collect()
    }

    /// The node's agent holds no kernel from now on, and takes every state for programmed: a thousand fit into one machine.
    pub fn lighten_agent(&self) {
        self.state().overlays.lighten();
    }

    /// How many orders such an agent took.
    pub fn agent_orders(&self) -> u64 {
        self.state().overlays.orders()
    }

    /// The running ones, oldest first.
    pub fn running(&self) -> Vec<Container> {
        let mut all = self.containers();
        all.retain(|c| c.state == crate::engine::ContainerState::Running);
        all
    }

    /// The body that a container was made from.
    pub fn body(&self, id: &ContainerId) -> Option<Value> {
        Some(self.state().containers.get(id)?.body())
    }

    /// Every call so far, refused ones too.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// How many calls of this name there were.
    pub fn count(&self, call: &str) -> usize {
        self.state().calls.iter().filter(|c| c.name == call).count()
    }

    /// Forgets the calls so far.
    pub fn clear_calls(&self) {
        self.state().calls.clear();
    }

    /// What was asked of the engine that must never be: a container that ran started again.
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }
}
