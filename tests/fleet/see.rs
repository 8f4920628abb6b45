//! What is there: records of the store as etcdctl gives them, and containers as the docker client lists them.

use super::world::{SOON, World};
use crate::support::node::Node;
use crate::support::wait::until;
use serde::de::DeserializeOwned;
use skep::api::cluster::Event;
use skep::api::status::{Condition, EngineStatus, Status};
use skep::api::task::{Desired, Task, TaskState, TaskStatus};
use std::collections::{BTreeMap, BTreeSet};

/// A task with what was seen of it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) task: Task,
    pub(crate) status: Option<TaskStatus>,
    /// The node that it is bound to.
    pub(crate) node: Option<String>,
}

impl Seen {
    pub(crate) fn state(&self) -> Option<TaskState> {
        self.status.as_ref().map(|status| status.state)
    }

    pub(crate) fn reason(&self) -> &str {
        let status = self.status.as_ref();
        status
            .and_then(|status| status.reason.as_deref())
            .unwrap_or_default()
    }

    fn container(&self) -> Option<&str> {
        let status = self.status.as_ref()?;
        status.container.as_ref().map(|id| id.as_str())
    }
}

/// A container with our labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) is_running: bool,
    pub(crate) slot: String,
    pub(crate) task: String,
    pub(crate) revision: String,
}

/// Container ids by slot: what must not change where nothing is repeated.
pub(crate) type Running = BTreeMap<String, Listed>;

impl World {
    /// Controllers' records below a prefix. They are JSON on one line each.
    pub(crate) async fn records<T: DeserializeOwned>(&self, prefix: &str) -> BTreeMap<String, T> {
        let text = self.etcd.ctl(&["get", "--prefix", prefix]).await;
        let lines: Vec<&str> = text.lines().collect();
        lines
            .chunks_exact(2)
            .map(|pair| {
                let value = serde_json::from_str(pair[1]);
                let value = value.unwrap_or_else(|error| panic!("{}: {error}", pair[0]));
                (pair[0][prefix.len()..].to_owned(), value)
            })
            .collect()
    }

    /// One record; none: there is no such key.
    pub(crate) async fn record<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let text = self.etcd.get(&format!("/skep/{key}")).await?;
        Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{key}: {error}")))
    }

    /// A condition of an object (`services/default/web`), as one controller reports it.
    pub(crate) async fn condition(
        &self,
        object: &str,
        controller: &str,
        kind: &str,
    ) -> Option<Condition> {
        let status: Status = self
            .record(&format!("status/{object}/{controller}"))
            .await?;
        status.condition(kind).cloned()
    }

    /// All tasks of a service.
    pub(crate) async fn tasks(&self, service: &str) -> Vec<Seen> {
        let tasks: BTreeMap<String, Task> = self
            .records(&format!("/skep/tasks/default/{service}/"))
            .await;
        let statuses: BTreeMap<String, TaskStatus> = self.records("/skep/status/tasks/").await;
        let bindings = self.etcd.keys("/skep/bindings/").await;
        tasks
            .into_iter()
            .map(|(id, task)| {
                let end = format!("/{id}");
                let status = statuses.iter().find(|(key, _)| key.ends_with(&end));
                let binding = bindings.iter().find(|key| key.ends_with(&end));
                Seen {
                    task,
                    status: status.map(|(_, status)| status.clone()),
                    node: binding.and_then(|key| key.split('/').nth(3).map(str::to_owned)),
                }
            })
            .collect()
    }

    /// Containers of a service on all nodes that answer.
    pub(crate) async fn containers(&self, service: &str) -> Vec<Listed> {
        let lists = self.fleet.nodes.iter().map(|node| listed(node, service));
        futures::future::join_all(lists).await.concat()
    }

    /// Waits until a service runs with so many replicas, each in a slot of its own, and the store says the same as the
    /// engines: not one container more.
    pub(crate) async fn settled(&self, service: &str, replicas: usize) -> Running {
        let what = format!("{service} runs with {replicas} tasks, and no more");
        let mut last = String::new();
        let wait = until(SOON, &what, async || {
            let result = self.try_settled(service, replicas).await;
            result
                .map_err(|why| {
                    if why != last {
                        eprintln!("    waiting: {service}: {why}");
                    }
                    last = why;
                })
                .ok()
        });
        wait.await
    }

    async fn try_settled(&self, service: &str, replicas: usize) -> Result<Running, String> {
        let status: Option<Status> = self
            .record(&format!("status/services/default/{service}/service"))
            .await;
        let counts = status.and_then(|status| status.replicas);
        if counts.as_ref().map(|counts| counts.ready as usize) != Some(replicas) {
            return Err(format!("its status says {counts:?}"));
        }
        let tasks = self.tasks(service).await;
        let wanted: Vec<&Seen> = tasks
            .iter()
            .filter(|seen| matches!(seen.task.desired, Desired::Ready | Desired::Running))
            .collect();
        let known: BTreeSet<&str> = wanted.iter().filter_map(|seen| seen.container()).collect();
        let listed = self.containers(service).await;
        let running: Vec<&Listed> = listed.iter().filter(|one| one.is_running).collect();
        let on_engines: BTreeSet<&str> = running.iter().map(|one| one.id.as_str()).collect();
        if wanted.len() != replicas || running.len() != replicas || known != on_engines {
            return Err(format!(
                "{} tasks are wanted; records know {} containers, engines run {}, {} of them known",
                wanted.len(),
                known.len(),
                on_engines.len(),
                known.intersection(&on_engines).count()
            ));
        }
        let slots: Running = running
            .into_iter()
            .map(|one| (one.slot.clone(), one.clone()))
            .collect();
        assert_eq!(slots.len(), replicas, "one container per slot: {slots:?}");
        Ok(slots)
    }

    /// What the engine of a node says, by its health.
    pub(crate) async fn engine(&self, node: &str) -> Option<EngineStatus> {
        let status: Status = self.record(&format!("status/nodes/{node}/health")).await?;
        status.engine
    }

    /// Waits until a node is in a state (`ready`, `down`, `unknown`), with a reason where one is given.
    pub(crate) async fn node_is(&self, node: &str, state: &str, reason: &str) -> EngineStatus {
        until(SOON, &format!("{node} is {state} {reason}"), async || {
            let engine = self.engine(node).await?;
            let is_so = engine.state.as_str() == state
                && (reason.is_empty() || engine.reason.as_deref() == Some(reason));
            is_so.then_some(engine)
        })
        .await
    }

    /// Waits until all nodes are ready.
    pub(crate) async fn nodes_are_ready(&self) {
        for node in &self.fleet.nodes {
            self.node_is(&node.name, "ready", "").await;
        }
    }

    /// Waits until a condition has this status and reason; its message.
    pub(crate) async fn condition_is(
        &self,
        object: &str,
        controller: &str,
        (kind, truth, reason): (&str, &str, &str),
    ) -> String {
        let what = format!("{object} says {kind}={truth} {reason}");
        until(SOON, &what, async || {
            let condition = self.condition(object, controller, kind).await?;
            let is_so = condition.status.as_str() == truth && condition.reason == reason;
            is_so.then_some(condition.message)
        })
        .await
    }

    /// Waits for an event about an object whose key starts like this.
    pub(crate) async fn event(&self, object: &str, reason: &str) -> Event {
        until(SOON, &format!("event {reason} of {object}"), async || {
            let events: BTreeMap<String, Event> = self.records("/skep-events/").await;
            events
                .into_values()
                .find(|event| event.object.starts_with(object) && event.reason == reason)
        })
        .await
    }

    /// Waits until a task of the service is as `is` says.
    pub(crate) async fn task(&self, service: &str, what: &str, is: impl Fn(&Seen) -> bool) -> Seen {
        let what = format!("a task of {service} is {what}");
        until(SOON, &what, async || {
            self.tasks(service).await.into_iter().find(|seen| is(seen))
        })
        .await
    }
}

/// Containers with a service's label on one node; none if it does not answer.
async fn listed(node: &Node, service: &str) -> Vec<Listed> {
    let filter = format!("label=dev.skep.name={service}");
    let format = ["slot", "task", "revision"]
        .map(|label| format!("{{{{.Label \"dev.skep.{label}\"}}}}"))
        .join(" ");
    let format = format!("{{{{.ID}}}} {{{{.Names}}}} {{{{.State}}}} {format}");
    let arguments = [
        "ps",
        "--all",
        "--no-trunc",
        "--filter",
        &filter,
        "--format",
        &format,
    ];
    let ask = node.try_docker(&arguments);
    let answer = tokio::time::timeout(std::time::Duration::from_secs(5), ask).await;
    let text = answer.ok().and_then(Result::ok).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            Some(Listed {
                id: words.next()?,
                name: words.next()?,
                node: node.name.clone(),
                is_running: words.next()? == "running",
                slot: words.next()?,
                task: words.next()?,
                revision: words.next()?,
            })
        })
        .collect()
}
