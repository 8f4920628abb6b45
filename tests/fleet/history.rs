//! What engines did, as they tell it themselves: the judge of "nothing doubled, nothing repeated".

use super::world::World;
use crate::support::node::Node;
use crate::support::process::Process;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// One event of a container with our labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    /// When, in nanoseconds: all engines of the fleet share one clock.
    pub(crate) at: u64,
    /// `create`, `start`, `die`, `destroy` ...
    pub(crate) action: String,
    pub(crate) container: String,
    pub(crate) service: String,
    pub(crate) slot: String,
    pub(crate) task: String,
    pub(crate) revision: String,
}

/// The events of all engines from now on, by `docker events`, until it is dropped.
pub(crate) struct History {
    streams: Vec<Process>,
}

impl History {
    /// Starts to listen.
    pub(crate) async fn start(world: &World, name: &str) -> Self {
        Self::start_without(world, name, 0).await
    }

    /// Starts to listen on all nodes but the one with this number, which is about to be lost.
    pub(crate) async fn start_without(world: &World, name: &str, number: usize) -> Self {
        let lost = format!("n{number}");
        let nodes = world.fleet.nodes.iter();
        let nodes: Vec<&Node> = nodes.filter(|node| node.name != lost).collect();
        let streams = nodes.iter().map(|node| listen(world, node, name)).collect();
        let history = Self { streams };
        // A stream is open when it shows an event: a container of nobody's is made and removed until it does.
        for (node, stream) in nodes.into_iter().zip(&history.streams) {
            super::world::until_soon("docker events listens", async || {
                let container = node.docker(&["create", "skep-test/busybox:1"]).await;
                node.docker(&["rm", &container]).await;
                stream.output().contains(&container).then_some(())
            })
            .await;
        }
        history
    }

    /// What has happened so far to containers of a service, in order.
    pub(crate) fn of(&self, service: &str) -> Vec<Event> {
        let mut events: Vec<Event> = self
            .streams
            .iter()
            .flat_map(|stream| {
                let output = stream.output();
                output.lines().filter_map(event).collect::<Vec<_>>()
            })
            .filter(|event| event.service == service)
            .collect();
        events.sort();
        events
    }

    /// The judgement over a service: each task was started once, and no two containers of one slot and revision ran at
    /// the same time (the old and the new one of a start-first change are of different revisions).
    ///
    /// # Panics
    /// Something was doubled.
    pub(crate) fn nothing_doubled(&self, service: &str) {
        let mut started: BTreeMap<String, String> = BTreeMap::new();
        let mut running: BTreeMap<(String, String), String> = BTreeMap::new();
        for event in self.of(service) {
            let place = (event.revision.clone(), event.slot.clone());
            match event.action.as_str() {
                "start" => {
                    let first = started.insert(event.task.clone(), event.container.clone());
                    assert_eq!(first, None, "the task started before: {event:#?}");
                    let beside = running.insert(place, event.container.clone());
                    assert_eq!(beside, None, "another runs in the slot: {event:#?}");
                }
                "die" if running.get(&place) == Some(&event.container) => {
                    running.remove(&place);
                }
                _ => {}
            }
        }
    }

    /// How many containers of a service were started.
    pub(crate) fn starts(&self, service: &str) -> usize {
        let events = self.of(service);
        let starts = events.iter().filter(|event| event.action == "start");
        starts.count()
    }

    /// The fewest and the most containers of a service that ran at once, given those that ran at the start.
    pub(crate) fn bounds(&self, service: &str, before: usize) -> (usize, usize) {
        let (mut least, mut most, mut running) = (before, before, before);
        for event in self.of(service) {
            match event.action.as_str() {
                "start" => running += 1,
                "die" => running -= 1,
                _ => {}
            }
            least = least.min(running);
            most = most.max(running);
        }
        (least, most)
    }

    /// How many containers of a service were made, started or ended.
    pub(crate) fn changes(&self, service: &str) -> usize {
        let counted = BTreeSet::from(["create", "start", "die", "destroy", "kill"]);
        let events = self.of(service);
        let changes = events
            .iter()
            .filter(|event| counted.contains(event.action.as_str()));
        changes.count()
    }
}

fn listen(world: &World, node: &Node, name: &str) -> Process {
    let mut command = Command::new("docker");
    for variable in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY"] {
        command.env_remove(variable);
    }
    command.args(["--host", &node.url(), "events", "--filter"]);
    command.args(["type=container", "--format", "{{json .}}"]);
    let log = format!("events-{name}-{}", node.name);
    Process::spawn(&log, command, world.fleet.dir())
}

fn event(line: &str) -> Option<Event> {
    let value: Value = serde_json::from_str(line).ok()?;
    let attributes = value.get("Actor")?.get("Attributes")?;
    let label = |name: &str| Some(attributes.get(name)?.as_str()?.to_owned());
    Some(Event {
        at: value.get("timeNano")?.as_u64()?,
        action: value.get("Action")?.as_str()?.to_owned(),
        container: value.get("Actor")?.get("ID")?.as_str()?.to_owned(),
        service: label("dev.skep.name")?,
        slot: label("dev.skep.slot")?,
        task: label("dev.skep.task")?,
        revision: label("dev.skep.revision")?,
    })
}
