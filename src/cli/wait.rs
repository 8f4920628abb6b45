//! `skep wait`: until a condition holds, or something is gone.

use super::converge::{self, Standing};
use super::delete;
use super::error::Error;
use super::kinds::{self, title};
use super::object;
use super::session::Session;
use super::tasks;
use crate::api::name::{DEFAULT_NAMESPACE, Kind, ObjectKey};
use crate::api::unit::{Period, Revision};
use crate::runtime::cache::Cache;

/// Arguments of `skep wait`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// KIND NAME... or KIND/NAME...
    #[arg(required = true, value_name = "KIND NAME")]
    pub targets: Vec<String>,
    /// condition=TYPE[=True|False|Unknown], condition=Ready (as asked for), or delete
    #[arg(long = "for", value_name = "WHAT")]
    pub what: String,
    /// How long
    #[arg(long, default_value = "30s", value_parser = super::period)]
    pub timeout: Period,
    /// The namespace
    #[arg(short, long, default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
}

/// What is waited for.
enum Goal {
    Gone,
    Ready,
    Condition { kind: String, status: String },
}

pub(super) async fn run(session: &Session, args: Args) -> Result<(), Error> {
    let goal = goal(&args.what)?;
    let keys = kinds::objects(&args.targets, &args.namespace)?;
    converge::until(session, args.timeout.0, |cache| {
        keys.iter()
            .map(|key| (title(key), look(cache, key, &goal)))
            .collect()
    })
    .await?;
    let word = match goal {
        Goal::Gone => "gone".to_owned(),
        Goal::Ready => "ready".to_owned(),
        Goal::Condition { kind, status } => format!("{kind}={status}"),
    };
    keys.iter()
        .try_for_each(|key| session.terminal.line(&format!("{} {word}", title(key))))
}

fn goal(text: &str) -> Result<Goal, Error> {
    let usage = || {
        Error::Usage(format!(
            "--for={text}: write condition=TYPE[=STATUS] or delete"
        ))
    };
    if text.eq_ignore_ascii_case("delete") {
        return Ok(Goal::Gone);
    }
    let condition = text.strip_prefix("condition=").ok_or_else(usage)?;
    let (kind, status) = condition.split_once('=').unwrap_or((condition, "True"));
    let statuses = ["True", "False", "Unknown"];
    let known = statuses
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(status));
    match (kind, known) {
        ("", _) | (_, None) => Err(usage()),
        (kind, Some("True")) if kind.eq_ignore_ascii_case("ready") => Ok(Goal::Ready),
        (kind, Some(status)) => Ok(Goal::Condition {
            kind: kind.into(),
            status: status.into(),
        }),
    }
}

fn look(cache: &Cache, key: &ObjectKey, goal: &Goal) -> Standing {
    match goal {
        Goal::Gone => delete::absence(cache, key),
        Goal::Ready | Goal::Condition { .. } if !is_there(cache, key) => {
            Standing::Waiting("is not there".into())
        }
        Goal::Ready => match converge::settled(cache, key, Revision(0)) {
            // A refusal may be put right while this waits.
            Standing::Refused(why) | Standing::Halted(why) => Standing::Waiting(why),
            standing => standing,
        },
        Goal::Condition { kind, status } => condition(cache, key, kind, status),
    }
}

fn is_there(cache: &Cache, key: &ObjectKey) -> bool {
    cache.users.contains_key(key) || object::record(cache, key).is_some()
}

fn condition(cache: &Cache, key: &ObjectKey, kind: &str, wanted: &str) -> Standing {
    let found = object::conditions(cache, key)
        .into_iter()
        .find(|condition| condition.kind.eq_ignore_ascii_case(kind));
    match found {
        // What was said of an earlier generation does not count.
        Some(found) if found.status.as_str() == wanted && is_current(cache, key, kind) => {
            Standing::Done
        }
        Some(found) => Standing::Waiting(format!(
            "{} is {} ({})",
            found.kind,
            found.status.as_str(),
            tasks::join(&found.reason, &found.message)
        )),
        None => Standing::Waiting(format!("nothing is said of {kind} yet")),
    }
}

/// Whether the controller that reports the condition has seen the generation in force. Only services have more than one.
fn is_current(cache: &Cache, key: &ObjectKey, kind: &str) -> bool {
    let generation = object::record(cache, key).map(|record| record.head.generation);
    object::statuses(cache, key)
        .iter()
        .filter(|(_, status)| {
            status
                .conditions
                .iter()
                .any(|c| c.kind.eq_ignore_ascii_case(kind))
        })
        .all(|(_, status)| {
            key.kind != Kind::Service
                || status.observed_generation.is_none()
                || status.observed_generation == generation
        })
}
