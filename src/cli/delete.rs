//! `skep delete`: deletes user keys; the controllers clean up what followed from them.

use super::converge::{self, Standing};
use super::error::Error;
use super::files;
use super::kinds::{self, title};
use super::object;
use super::selector::Selector;
use super::session::Session;
use super::write::{self, CHUNK, Guarded};
use crate::api::key::Key;
use crate::api::name::{Kind, ObjectKey};
use crate::api::unit::Period;
use crate::runtime::cache::Cache;
use std::time::Duration;

/// Arguments of `skep delete`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// KIND NAME..., KIND/NAME..., or KIND with -l
    #[arg(value_name = "KIND NAME")]
    pub targets: Vec<String>,
    /// Delete the objects of these manifests
    #[arg(short, long = "filename", value_name = "FILE|DIR|-", conflicts_with_all = ["targets", "selector"])]
    pub filename: Vec<String>,
    /// Delete the objects with these labels
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// The namespace
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// Wait until they and all that followed from them are gone
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_parser = super::period)]
    pub timeout: Period,
    /// What is not there is no error
    #[arg(long)]
    pub ignore_not_found: bool,
}

pub(super) async fn run(session: &Session, args: Args) -> Result<(), Error> {
    let documents = match args.filename.is_empty() {
        true => Vec::new(),
        false => files::read(&args.filename, &session.terminal).await?,
    };
    let cache = session.snapshot().await?;
    let keys = match args.filename.is_empty() {
        true => selected(&cache, &args)?,
        false => documents.iter().rev().map(|d| d.key().clone()).collect(),
    };
    if keys.is_empty() {
        session.terminal.note("nothing to delete");
        return Ok(());
    }
    remove(session, &cache, &keys, args.ignore_not_found).await?;
    if args.wait {
        gone(session, &keys, args.timeout.0).await?;
    }
    Ok(())
}

fn selected(cache: &Cache, args: &Args) -> Result<Vec<ObjectKey>, Error> {
    let Some(text) = &args.selector else {
        return kinds::objects(&args.targets, &args.namespace);
    };
    let selector = Selector::parse(text).map_err(Error::Usage)?;
    if selector.is_empty() {
        return Err(Error::Usage(
            "an empty selector would delete everything".into(),
        ));
    }
    let mut found = Vec::new();
    for target in kinds::targets(&args.targets)? {
        let kinds::Resource::Object(kind) = target.resource else {
            return Err(Error::Usage("only what users write can be deleted".into()));
        };
        if !target.names.is_empty() {
            return Err(Error::Usage("give names or a selector, not both".into()));
        }
        found.extend(object::keys(cache, kind).into_iter().filter(|key| {
            (!kind.is_namespaced() || key.namespace == args.namespace)
                && cache.users.contains_key(key)
                && selector.matches(&object::annotated(cache, key).labels)
        }));
    }
    Ok(found)
}

/// Deletes the user keys of these objects, and what `skep scale` said of them.
pub(super) async fn remove(
    session: &Session,
    cache: &Cache,
    keys: &[ObjectKey],
    ignore_missing: bool,
) -> Result<(), Error> {
    let missing = keys.iter().filter(|key| !cache.users.contains_key(*key));
    let missing: Vec<String> = missing.map(|key| missing_text(cache, key)).collect();
    if !ignore_missing && !missing.is_empty() {
        return Err(Error::refused(missing.join("\n")));
    }
    each(session, cache, keys, |key| {
        session.terminal.line(&format!("{} deleted", title(key)))
    })
    .await
}

/// As [`remove`]; what is not there is no error, and nothing is said.
pub(super) async fn quietly(
    session: &Session,
    cache: &Cache,
    keys: &[ObjectKey],
) -> Result<(), Error> {
    each(session, cache, keys, |_| Ok(())).await
}

async fn each(
    session: &Session,
    cache: &Cache,
    keys: &[ObjectKey],
    deleted: impl Fn(&ObjectKey) -> Result<(), Error>,
) -> Result<(), Error> {
    let there = keys.iter().filter(|key| cache.users.contains_key(*key));
    let there: Vec<&ObjectKey> = there.collect();
    // Two keys at most for each object.
    for chunk in there.chunks(CHUNK / 2) {
        let writes: Vec<Guarded> = chunk
            .iter()
            .flat_map(|key| deletions(session, cache, key))
            .collect();
        write::commit(session, &writes).await?;
        chunk.iter().try_for_each(|key| deleted(key))?;
    }
    Ok(())
}

fn missing_text(cache: &Cache, key: &ObjectKey) -> String {
    match object::record(cache, key) {
        Some(_) => format!("{} is deleted already and being cleaned up", title(key)),
        None => format!("there is no {}", title(key)),
    }
}

fn deletions(session: &Session, cache: &Cache, key: &ObjectKey) -> Vec<Guarded> {
    let mut keys = vec![Key::User(key.clone())];
    let scale = Key::Scale(key.scoped());
    if key.kind == Kind::Service && cache.mod_revision(&scale).is_some() {
        keys.push(scale);
    }
    keys.into_iter()
        .map(|key| Guarded {
            key: session.key(&key),
            value: None,
            read: cache.mod_revision(&key),
        })
        .collect()
}

/// Waits until nothing is left of these objects.
pub(super) async fn gone(
    session: &Session,
    keys: &[ObjectKey],
    timeout: Duration,
) -> Result<(), Error> {
    converge::until(session, timeout, |cache| {
        keys.iter()
            .map(|key| (title(key), absence(cache, key)))
            .collect()
    })
    .await
}

/// Whether an object is gone with all that followed from it: the accepted record is the tombstone.
pub(super) fn absence(cache: &Cache, key: &ObjectKey) -> Standing {
    if cache.users.contains_key(key) {
        return Standing::Waiting("is there".into());
    }
    if object::record(cache, key).is_none() {
        return Standing::Done;
    }
    let tasks = match key.kind {
        Kind::Service => cache.tasks_of(&key.scoped()).count(),
        Kind::Node => cache.bindings_on(&key.node_name()).count(),
        Kind::Network => 0,
    };
    Standing::Waiting(match tasks {
        0 => "is being cleaned up".into(),
        _ => format!("{} left", super::print::count(tasks, "task")),
    })
}
