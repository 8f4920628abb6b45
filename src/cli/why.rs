//! `skep why`: what a service or task waits for, node by node.

use super::converge::{self, Standing};
use super::error::Error;
use super::kinds;
use super::object;
use super::print::{self, indent};
use super::session::Session;
use super::table;
use super::tasks::{self, Named};
use crate::api::name::{DEFAULT_NAMESPACE, Kind, ObjectKey};
use crate::api::status::{Truth, Waiting};
use crate::api::task::{Desired, TaskState};
use crate::api::unit::{Revision, RevisionNumber};
use crate::runtime::cache::Cache;
use crate::runtime::view;

/// Arguments of `skep why`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A service, a task (web.1) or a task's id
    #[arg(value_name = "SERVICE|TASK")]
    pub target: String,
    /// The namespace
    #[arg(short, long, default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
}

pub(super) async fn run(session: &Session, args: Args) -> Result<(), Error> {
    let cache = session.snapshot().await?;
    let name = args.target.rsplit('/').next().unwrap_or(&args.target);
    let key = kinds::object(Kind::Service, &args.namespace, name);
    let is_service = cache.users.contains_key(&key) || object::record(&cache, &key).is_some();
    let text = match is_service {
        true => service(&cache, &key),
        false => tasks::named(&cache, Some(&args.namespace), name)?
            .iter()
            .map(|found| {
                let text = task(&cache, found);
                let text = match (found.view.is_terminal(), text.is_empty()) {
                    (true, true) => "has ended".into(),
                    (true, false) => format!("has ended: {text}"),
                    (false, true) => "waits for nothing".into(),
                    (false, false) => text,
                };
                format!(
                    "task {} ({}): {}\n{}",
                    found.name(),
                    found.view.task.id,
                    found.state(),
                    indent(&text, 2)
                )
            })
            .collect::<Vec<_>>()
            .join("\n"),
    };
    session.terminal.line(&text)
}

/// All that a service waits for.
fn service(cache: &Cache, key: &ObjectKey) -> String {
    let (status, message) = table::standing(cache, key);
    let mut lines = vec![format!(
        "{}: {}",
        kinds::title(key),
        tasks::join(&status, &message)
    )];
    if let Standing::Waiting(why) | Standing::Halted(why) | Standing::Refused(why) =
        converge::standing(cache, key, Revision(0))
        && why != message
        && (message.is_empty() || !why.contains(&message))
    {
        lines.push(format!("  {why}"));
    }
    for condition in object::conditions(cache, key) {
        // `Progressing` is False also where all is done.
        let is_fine = condition.status == Truth::True
            || (condition.kind == "Progressing" && condition.reason == "Complete");
        if !is_fine && condition.message != message {
            let text = tasks::join(&condition.reason, &condition.message);
            lines.push(format!(
                "  {} is {}: {text}",
                condition.kind,
                condition.status.as_str()
            ));
        }
    }
    let waits = waiting(cache, key, &message);
    if !waits.is_empty() {
        lines.push(indent(&waits, 2));
    }
    for found in tasks::all(cache, Some(&key.namespace)) {
        let is_stuck = found.service.name == key.name
            && found.view.task.desired <= Desired::Running
            && !found.view.is_serving()
            && found.view.state != TaskState::Pending;
        if is_stuck {
            let text = task(cache, &found);
            lines.push(format!("  task {}: {}", found.name(), found.state()));
            lines.push(indent(&text, 4));
        }
    }
    if view::is_adopting(cache) {
        lines.push(ADOPTING.into());
    }
    lines.retain(|line| !line.is_empty());
    if lines.len() == 1 && message.is_empty() {
        lines.push("  waits for nothing".into());
    }
    lines.join("\n")
}

const ADOPTING: &str = "  the cluster adopts what runs after a restore: nothing is started or stopped until that is done";

/// Why tasks of a service wait for a node; what was `said` is not said again.
pub(super) fn waiting(cache: &Cache, key: &ObjectKey, said: &str) -> String {
    object::statuses(cache, key)
        .into_iter()
        .flat_map(|(_, status)| &status.waiting)
        .map(|waiting| refusals(waiting, said))
        .collect::<Vec<_>>()
        .join("\n")
}

fn refusals(waiting: &Waiting, said: &str) -> String {
    let tasks = print::count(waiting.tasks as usize, "task");
    let message = match waiting.message == said {
        true => String::new(),
        false => format!(": {}", waiting.message),
    };
    let head = format!("{tasks} of revision {}{message}", waiting.revision);
    let rows: Vec<Vec<String>> = waiting
        .nodes
        .iter()
        .map(|(node, refusal)| {
            vec![
                node.clone(),
                refusal.filter.clone(),
                refusal.message.clone(),
            ]
        })
        .collect();
    let table = print::table(&["NODE", "FILTER", "WHY"], &rows);
    [head, indent(&table, 2)]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// What one task waits for; empty: nothing.
pub(super) fn task(cache: &Cache, task: &Named<'_>) -> String {
    let record = task.view.task;
    let mut lines = Vec::new();
    match (task.view.node, task.view.is_terminal()) {
        (None, _) if record.desired <= Desired::Running => {
            lines.push("waits for a node".to_owned());
            lines.extend(
                of_revision(cache, task, record.revision).map(|waiting| refusals(waiting, "")),
            );
        }
        (Some(node), false) => {
            if let Some(view) = view::node(cache, node).filter(|view| !view.reason.is_empty()) {
                lines.push(format!(
                    "node {node} is {}: {}",
                    view.state.as_str(),
                    view.reason
                ));
            }
        }
        (None, _) | (Some(_), true) => {}
    }
    if record.desired == Desired::Ready && !task.view.is_terminal() {
        let until = record.not_before.map(|time| format!(", not before {time}"));
        lines.push(format!(
            "is prepared and not started yet{}",
            until.unwrap_or_default()
        ));
    }
    let message = task.message();
    if !message.is_empty() && !task.view.is_serving() {
        lines.push(message);
    }
    if task.view.is_live()
        && !task.view.is_serving()
        && let Some(failure) = tasks::failure_before(cache, task)
    {
        lines.push(format!("the one before it failed: {failure}"));
    }
    lines.join("\n")
}

fn of_revision<'a>(
    cache: &'a Cache,
    task: &Named<'_>,
    revision: RevisionNumber,
) -> impl Iterator<Item = &'a Waiting> {
    let key = ObjectKey::service(task.service);
    let statuses: Vec<_> = cache
        .statuses
        .iter()
        .filter(|((object, _), _)| *object == key)
        .flat_map(|(_, status)| &status.value.waiting)
        .filter(|waiting| waiting.revision == revision)
        .collect();
    statuses.into_iter()
}
