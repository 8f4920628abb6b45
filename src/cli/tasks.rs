//! Tasks as people name and sort them. Pure.

use super::error::Error;
use crate::api::name::{Kind, Scoped};
use crate::api::task::{HostPort, Task};
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
        use crate::api::task::Health;
        let word = self.view.state.as_str();
        match self.view.status.and_then(|status| status.health) {
            Some(Health::Unhealthy) if !self.view.is_terminal() => format!("{word} (unhealthy)"),
            Some(Health::Starting) if !self.view.is_terminal() => {
                format!("{word} (health: starting)")
            }
            Some(_) | None => word.into(),
        }
    }

    /// Why it is as it is.
    pub(super) fn message(&self) -> String {
        let status = self.view.status.map(|status| {
            let reason = status.reason.clone().unwrap_or_default();
            let message = status.message.clone().unwrap_or_default();
            join(&reason, &message)
        });
        match status {
            Some(text) if !text.is_empty() => text,
            // The record says why the task was made or ended: of one that serves that is no news.
            Some(_) if self.view.is_serving() => String::new(),
            Some(_) | None => self.view.task.reason.clone().unwrap_or_default(),
        }
    }
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

/// `8080->80/tcp`.
pub(super) fn port(port: &HostPort) -> String {
    let ip = port.host_ip.map(|ip| format!("{ip}:")).unwrap_or_default();
    let protocol = port.protocol.as_str();
    format!("{ip}{}->{}/{protocol}", port.published, port.target)
}
