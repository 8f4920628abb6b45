//! Tasks as people name and sort them. Pure.

use super::error::Error;
use crate::api::name::{Kind, Scoped};
use crate::api::port_range::{Shown, before_port, compact};
use crate::api::task::{Desired, Health, HostPort, Task, TaskState};
use crate::runtime::cache::{Cache, Stored};
use crate::runtime::view::{self, TaskView};
use std::cmp::Reverse;

/// A task with the service whose key it stands under.
pub(super) struct Named<'a> {
    /// The service.
    pub(super) service: &'a Scoped,
    /// The task.
    pub(super) view: TaskView<'a>,
}

impl<'a> Named<'a> {
    fn new(cache: &'a Cache, service: &'a Scoped, task: &'a Stored<Task>) -> Self {
        Self {
            service,
            view: view::task(cache, task),
        }
    }

    /// `web.3`: the service and the slot.
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.service.name, self.view.task.slot)
    }

    /// The state, with what its health check says if that is not well.
    pub(super) fn state(&self) -> String {
        let word = self.view.state.as_str();
        match self.health() {
            Some(Health::Unhealthy) => format!("{word} (unhealthy)"),
            Some(Health::Starting) => format!("{word} (health: starting)"),
            Some(_) | None => word.into(),
        }
    }

    /// What the health check of a task that has not ended says.
    fn health(&self) -> Option<Health> {
        let status = self.view.status.filter(|_| !self.view.is_terminal())?;
        status.health
    }

    /// What was seen of it; none: nothing yet.
    fn seen(&self) -> Option<String> {
        self.view.status.map(|status| {
            let reason = status.reason.clone().unwrap_or_default();
            let message = status.message.clone().unwrap_or_default();
            join(&reason, &message)
        })
    }

    /// Why it is as it is.
    pub(super) fn message(&self) -> String {
        match self.seen() {
            Some(text) if !text.is_empty() => text,
            // The record says why the task was made or ended: of one that serves that is no news.
            Some(_) if self.view.is_serving() => String::new(),
            Some(_) | None => self.view.task.reason.clone().unwrap_or_default(),
        }
    }
}

/// How the task before this one in its slot failed; none: it did not, or it was of another revision.
pub(super) fn failure_before(cache: &Cache, task: &Named<'_>) -> Option<String> {
    let record = task.view.task;
    cache
        .tasks_of(task.service)
        .filter(|other| other.id != record.id && other.slot == record.slot)
        .filter(|other| other.created_at <= record.created_at)
        .max_by_key(|other| other.created_at)
        .filter(|other| other.revision == record.revision)
        .map(|other| Named::new(cache, task.service, other))
        .filter(|other| matches!(other.view.state, TaskState::Failed | TaskState::Rejected))
        .and_then(|other| other.seen())
        .filter(|text| !text.is_empty())
}

/// What keeps a service's tasks from serving: of the first slot of which something is known.
pub(super) fn trouble(cache: &Cache, service: &Scoped) -> Option<String> {
    let named = |task| Named::new(cache, service, task);
    let mut missing: Vec<Named<'_>> = cache.tasks_of(service).map(named).collect();
    missing.retain(|task| task.view.task.desired <= Desired::Running && !task.view.is_serving());
    missing.sort_by(|one, other| one.view.task.slot.cmp(&other.view.task.slot));
    missing.iter().find_map(|task| {
        let said = task.seen().filter(|text| !text.is_empty());
        let unwell = || (task.health() == Some(Health::Unhealthy)).then(|| task.state());
        let why = said
            .or_else(|| failure_before(cache, task))
            .or_else(unwell)?;
        Some(format!("{}: {why}", task.name()))
    })
}

/// `reason: message`, or the one that there is.
pub(super) fn join(reason: &str, message: &str) -> String {
    match (reason.is_empty(), message.is_empty()) {
        (false, false) => format!("{reason}: {message}"),
        (true, _) => message.into(),
        (_, true) => reason.into(),
    }
}

/// All tasks, by service and slot, the newest of a slot first. `namespace` none: of all.
pub(super) fn all<'a>(cache: &'a Cache, namespace: Option<&str>) -> Vec<Named<'a>> {
    let mut tasks: Vec<Named<'a>> = cache
        .tasks
        .iter()
        .filter(|((service, _), _)| namespace.is_none_or(|wanted| service.namespace == wanted))
        .map(|((service, _), task)| Named::new(cache, service, task))
        .collect();
    tasks.sort_by_key(|task| {
        let record = task.view.task;
        (
            task.service,
            record.slot.clone(),
            Reverse(record.created_at),
            record.id.clone(),
        )
    });
    tasks
}

/// The tasks that a word names: a service, `service.slot`, a task's id or the beginning of one (4 characters and up).
pub(super) fn named<'a>(
    cache: &'a Cache,
    namespace: Option<&str>,
    word: &str,
) -> Result<Vec<Named<'a>>, Error> {
    let is_in = |found: &str| namespace.is_none_or(|wanted| wanted == found);
    let word = word.rsplit('/').next().unwrap_or(word);
    let is = |test: &dyn Fn(&Named<'a>) -> bool| -> Vec<Named<'a>> {
        all(cache, namespace)
            .into_iter()
            .filter(|task| test(task))
            .collect()
    };
    let tests: [&dyn Fn(&Named<'a>) -> bool; 3] = [
        &|task| task.service.name == word,
        &|task| task.name() == word,
        &|task| task.view.task.id.as_str() == word,
    ];
    for test in tests {
        let found = is(test);
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let begun = |task: &Named<'a>| word.len() >= 4 && task.view.task.id.as_str().starts_with(word);
    let found = is(&begun);
    let is_service = cache
        .users
        .keys()
        .any(|key| key.kind == Kind::Service && key.name == word && is_in(&key.namespace));
    match found.len() {
        0 if is_service => Ok(found),
        0 => Err(Error::advised(
            format!("no service or task `{word}`"),
            "`skep get tasks -A` lists them",
        )),
        1 => Ok(found),
        several => Err(Error::refused(format!(
            "`{word}` begins the ids of {several} tasks: write more of it"
        ))),
    }
}

/// `8080->80/tcp`, those that follow each other in one.
pub(super) fn ports(ports: &[HostPort]) -> Vec<String> {
    let shown = ports.iter().map(|port| Shown {
        before: before_port(port.host_ip),
        published: Some(port.published),
        target: Some(port.target),
        behind: format!("/{}", port.protocol.as_str()),
    });
    compact(shown)
}
