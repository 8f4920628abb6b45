//! Waiting until objects are as asked for, with progress.

use super::error::Error;
use super::kinds::title;
use super::object;
use super::print::count;
use super::session::{Follow, Session};
use super::table;
use super::tasks;
use super::text::{self, Meaning};
use crate::api::manifest::Spec;
use crate::api::name::{Kind, NodeName, ObjectKey};
use crate::api::service::Mode;
use crate::api::status::{NodeState, Truth, UpdateState};
use crate::api::task::Desired;
use crate::api::unit::Revision;
use crate::runtime::cache::Cache;
use crate::runtime::view;
use serde_json::Value;
use std::time::Duration;

/// So many objects are named in one line of progress; the rest is counted, so that hundreds of objects do not fill the
/// screen with each change.
const NAMED: usize = 5;

/// How far something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// There.
    Done,
    /// On the way; what is missing.
    Waiting(String),
    /// It will not get there by itself; why.
    Refused(String),
    /// A change that was halted; why.
    Halted(String),
}

/// Waits until all of these are in force as of `written` and there.
pub(super) async fn wait(
    session: &Session,
    keys: Vec<ObjectKey>,
    written: Revision,
    timeout: Duration,
) -> Result<(), Error> {
    let named = |cache: &Cache| -> Vec<(String, Standing)> {
        keys.iter()
            .map(|key| (title(key), settled(cache, key, written)))
            .collect()
    };
    until(session, timeout, named)
        .await
        .map_err(|error| match error {
            Error::TimedOut(missing) => {
                Error::TimedOut(format!("accepted, still converging: {missing}"))
            }
            error => error,
        })?;
    keys.iter()
        .try_for_each(|key| session.terminal.line(&format!("{} ready", title(key))))
}

/// Waits until `look` says that all is done.
pub(super) async fn until(
    session: &Session,
    timeout: Duration,
    look: impl Fn(&Cache) -> Vec<(String, Standing)>,
) -> Result<(), Error> {
    let mut follow = session.follow(session.snapshot().await?);
    let mut progress = session.terminal.progress();
    let mut missing = String::new();
    let waited = tokio::time::timeout(timeout, async {
        loop {
            match judge(look(&follow.cache)) {
                Ok(None) => return Ok(()),
                Ok(Some(text)) => {
                    progress.say(&text);
                    missing = text;
                }
                Err(error) => return Err(error),
            }
            settle(&mut follow).await?;
        }
    })
    .await;
    match waited {
        Ok(result) => result,
        Err(_) => Err(Error::TimedOut(missing)),
    }
}

async fn settle(follow: &mut Follow) -> Result<(), Error> {
    follow.changed().await.map(drop)
}

/// None: all is done; a text: what is missing.
fn judge(found: Vec<(String, Standing)>) -> Result<Option<String>, Error> {
    let mut missing = Vec::new();
    for (name, standing) in found {
        match standing {
            Standing::Done => {}
            Standing::Waiting(why) => missing.push(format!("{name}: {why}")),
            Standing::Refused(why) => return Err(Error::refused(format!("{name}: {why}"))),
            Standing::Halted(why) => return Err(Error::RolloutFailed(format!("{name}: {why}"))),
        }
    }
    let more = missing.len().saturating_sub(NAMED);
    missing.truncate(NAMED);
    if more > 0 {
        missing.push(format!("and {more} more"));
    }
    Ok((!missing.is_empty()).then(|| missing.join("; ")))
}

/// As [`standing`], and nothing that was replaced or is too many still runs, but on nodes that are out of reach.
pub(super) fn settled(cache: &Cache, key: &ObjectKey, written: Revision) -> Standing {
    let standing = explained(cache, key, written);
    if key.kind != Kind::Service || standing != Standing::Done {
        return standing;
    }
    let is_reached = |node: &NodeName| {
        view::node(cache, node).is_some_and(|node| node.state == NodeState::Ready)
    };
    let stopping = cache
        .tasks_of(&key.scoped())
        .map(|task| view::task(cache, task))
        .filter(|task| task.task.desired > Desired::Running && !task.is_terminal())
        .filter(|task| task.node.is_some_and(is_reached))
        .count();
    match stopping {
        0 => Standing::Done,
        _ => Standing::Waiting(format!("{} still to stop", count(stopping, "task"))),
    }
}

/// As [`standing`], with what keeps a service's tasks from serving.
pub(super) fn explained(cache: &Cache, key: &ObjectKey, written: Revision) -> Standing {
    let standing = standing(cache, key, written);
    // Before that its tasks are those of the spec before.
    let is_in_force = acceptance(cache, key, written).is_none() && table::is_current(cache, key);
    match standing {
        Standing::Waiting(why) if key.kind == Kind::Service && is_in_force => {
            let trouble = tasks::trouble(cache, &key.scoped());
            let parts = [Some(why), trouble].into_iter().flatten();
            Standing::Waiting(parts.collect::<Vec<_>>().join(", "))
        }
        other => other,
    }
}

/// Where an object stands that was written at or before `written`.
pub(super) fn standing(cache: &Cache, key: &ObjectKey, written: Revision) -> Standing {
    if let Some(early) = acceptance(cache, key, written) {
        return early;
    }
    match key.kind {
        Kind::Service => service(cache, key),
        Kind::Node => node(cache, key),
        Kind::Network => Standing::Done,
    }
}

/// What is in the way of acceptance; none: the value that was written is in force.
fn acceptance(cache: &Cache, key: &ObjectKey, written: Revision) -> Option<Standing> {
    if !cache.users.contains_key(key) {
        return Some(Standing::Refused("somebody deleted it".into()));
    }
    let record = object::record(cache, key);
    let meaning = object::meaning(cache, key);
    let in_force = record
        .as_ref()
        .zip(meaning)
        .is_some_and(|(record, meaning)| {
            record.head.deleted_at.is_none()
                && record.spec == wanted(cache, key, &meaning, &record.spec)
                && record.head.metadata == meaning.metadata
        });
    if in_force {
        return None;
    }
    // A refusal counts only if it was said about this value, not about the one before.
    let said = cache
        .statuses_of(key)
        .filter(|(_, status)| status.mod_revision > written)
        .find_map(|(_, status)| status.value.condition("Accepted"));
    match said {
        Some(condition)
            if condition.status == Truth::False && condition.reason != "Terminating" =>
        {
            Some(Standing::Refused(format!(
                "not accepted: {}",
                condition.message
            )))
        }
        Some(condition) if condition.status == Truth::False => {
            Some(Standing::Waiting(condition.message.clone()))
        }
        Some(_) | None => Some(Standing::Waiting("waits for acceptance".into())),
    }
}

/// The spec that comes into force: replicas that the manifest leaves out are those of the scale key, else those that
/// there are.
fn wanted(cache: &Cache, key: &ObjectKey, meaning: &Meaning, in_force: &Value) -> Value {
    let mut spec = meaning.spec_json();
    let is_left_out = matches!(
        &meaning.spec,
        Spec::Service(spec) if spec.mode == Mode::Replicated && spec.replicas.is_none()
    );
    if is_left_out {
        let scaled = text::scaled(cache, key).map(Value::from);
        let replicas = scaled.or_else(|| in_force.get("replicas").cloned());
        if let Some(replicas) = replicas {
            spec["replicas"] = replicas;
        }
    }
    spec
}

fn service(cache: &Cache, key: &ObjectKey) -> Standing {
    if !table::is_current(cache, key) {
        return Standing::Waiting("waits for the service controller".into());
    }
    let statuses = object::statuses(cache, key);
    let update = statuses
        .iter()
        .find_map(|(_, status)| status.update.as_ref());
    if let Some(update) = update.filter(|update| update.state == UpdateState::Paused) {
        let why = update
            .message
            .clone()
            .unwrap_or_else(|| "a new task failed".into());
        return Standing::Halted(format!(
            "the change to revision {} is halted: {why}",
            update.revision
        ));
    }
    let counts = table::counts(cache, key).unwrap_or_default();
    let is_updating = update.is_some_and(|update| update.state == UpdateState::Updating);
    if counts.ready >= counts.wanted && counts.updated >= counts.wanted && !is_updating {
        return Standing::Done;
    }
    let waiting = statuses
        .iter()
        .flat_map(|(_, status)| &status.waiting)
        .next();
    let why = waiting
        .map(|waiting| format!(", {}", waiting.message))
        .unwrap_or_default();
    Standing::Waiting(format!(
        "{} of {} ready, {} up to date{why}",
        counts.ready, counts.wanted, counts.updated
    ))
}

fn node(cache: &Cache, key: &ObjectKey) -> Standing {
    match view::node(cache, &key.node_name()) {
        Some(node) if node.state == NodeState::Ready => Standing::Done,
        Some(node) => Standing::Waiting(format!("{}: {}", node.state.as_str(), node.reason)),
        None => Standing::Waiting("waits for acceptance".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(objects: usize) -> String {
        let waits = |n: usize| (format!("s{n}"), Standing::Waiting("why".into()));
        judge((1..=objects).map(waits).collect()).unwrap().unwrap()
    }

    #[test]
    fn the_first_of_many_objects_are_named_and_the_rest_is_counted() {
        assert_eq!(said(2), "s1: why; s2: why");
        let named = "s1: why; s2: why; s3: why; s4: why; s5: why";
        assert_eq!(said(5), named);
        assert_eq!(said(300), format!("{named}; and 295 more"));
    }
}
