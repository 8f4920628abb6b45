//! `skep node`: adds, drains, activates, pauses and removes nodes.

use super::converge::{self, Standing};
use super::delete;
use super::error::Error;
use super::kinds::{self, title};
use super::object;
use super::print;
use super::session::Session;
use super::tasks;
use super::text;
use super::write::{self, Guarded};
use crate::api::key::Key;
use crate::api::manifest::Spec;
use crate::api::name::{Kind, NodeName, ObjectKey};
use crate::api::node::Availability;
use crate::api::unit::Period;
use crate::runtime::cache::Cache;
use std::fmt::Write;
use std::time::Duration;

/// Arguments of `skep node`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What can be done with nodes.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Verb {
    /// Adds a Docker Engine to the fleet
    Add(Add),
    /// Moves the tasks away and takes no new ones
    Drain(Change),
    /// Takes tasks again
    Activate(Change),
    /// Keeps its tasks and takes no new ones
    Pause(Change),
    /// Takes nodes out of the fleet
    Rm(Remove),
}

/// A new node.
#[derive(Clone, Debug, clap::Args)]
pub struct Add {
    /// The node's name
    pub name: String,
    /// How its engine is reached: tcp://host:port or unix:///path
    #[arg(long, value_name = "URL")]
    pub engine: String,
    /// A label, name=value
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub labels: Vec<String>,
    /// The authority that signed the engine's certificate, a file on the managers
    #[arg(long, value_name = "FILE", requires_all = ["tls_cert", "tls_key"])]
    pub tls_ca: Option<String>,
    /// The managers' client certificate, a file on the managers
    #[arg(long, value_name = "FILE", requires_all = ["tls_ca", "tls_key"])]
    pub tls_cert: Option<String>,
    /// Its key, a file on the managers
    #[arg(long, value_name = "FILE", requires_all = ["tls_ca", "tls_cert"])]
    pub tls_key: Option<String>,
    /// For unix://: the manager whose socket it is [default: the only one]
    #[arg(long, value_name = "NAME")]
    pub manager: Option<String>,
    /// worker or manager
    #[arg(long, default_value = "worker")]
    pub role: String,
    /// Print the manifest and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Wait until it is ready
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "1m", value_parser = super::period)]
    pub timeout: Period,
}

/// A change of availability.
#[derive(Clone, Debug, clap::Args)]
pub struct Change {
    /// The nodes
    #[arg(required = true, value_name = "NODE")]
    pub names: Vec<String>,
    /// Wait until it is so; for drain: until no task is left there
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_parser = super::period)]
    pub timeout: Period,
}

/// A removal.
#[derive(Clone, Debug, clap::Args)]
pub struct Remove {
    /// The nodes
    #[arg(required = true, value_name = "NODE")]
    pub names: Vec<String>,
    /// Give up what is there: for machines that will not come back
    #[arg(long)]
    pub force: bool,
    /// Wait until they are gone
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_parser = super::period)]
    pub timeout: Period,
}

pub(super) async fn run(session: &Session, args: Args) -> Result<(), Error> {
    match args.verb {
        Verb::Add(args) => add(session, &args).await,
        Verb::Drain(args) => change(session, &args, Availability::Drain).await,
        Verb::Activate(args) => change(session, &args, Availability::Active).await,
        Verb::Pause(args) => change(session, &args, Availability::Pause).await,
        Verb::Rm(args) => remove(session, &args).await,
    }
}

async fn add(session: &Session, args: &Add) -> Result<(), Error> {
    let key = kinds::object(Kind::Node, "", &args.name);
    let cache = session.snapshot().await?;
    let manager = socket_owner(args, &cache)?;
    let manifest = manifest(args, manager.as_deref())?;
    // Places in a text that nobody wrote would only puzzle.
    text::placeless(&key, &manifest).map_err(Error::refused)?;
    if args.dry_run {
        return session.terminal.write(manifest.as_bytes());
    }
    if cache.users.contains_key(&key) {
        return Err(Error::advised(
            format!("{} is there already", title(&key)),
            format!("`skep get {key} -o yaml` shows it, `skep apply -f` changes it"),
        ));
    }
    let write = Guarded {
        key: session.key(&Key::User(key.clone())),
        value: Some(manifest.into_bytes()),
        read: None,
    };
    let revision = write::commit(session, &[write]).await?;
    session.terminal.line(&format!("{} created", title(&key)))?;
    match args.wait {
        true => converge::wait(session, vec![key], revision, args.timeout.0).await,
        false => Ok(()),
    }
}

/// The manager whose socket a `unix://` engine is: the one that is named, else the only one that there is.
fn socket_owner(args: &Add, cache: &Cache) -> Result<Option<String>, Error> {
    if args.manager.is_some() || !args.engine.starts_with("unix://") {
        return Ok(args.manager.clone());
    }
    let mut known: Vec<&String> = cache.managers.values().map(|m| &m.name).collect();
    known.sort();
    known.dedup();
    match known.as_slice() {
        [one] => Ok(Some((*one).clone())),
        [] => Err(Error::Usage(format!(
            "{} is a socket of one machine: say with --manager which manager runs there (none runs now)",
            args.engine
        ))),
        several => {
            let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
            Err(Error::Usage(format!(
                "{} is a socket of one machine: say with --manager whose: {}",
                args.engine,
                names.join(", ")
            )))
        }
    }
}

/// A manifest for people to read and change later.
fn manifest(args: &Add, manager: Option<&str>) -> Result<String, Error> {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let mut labels = String::new();
    for label in &args.labels {
        let (name, value) = label
            .split_once('=')
            .ok_or_else(|| Error::Usage(format!("--label {label}: write name=value")))?;
        let _ = write!(labels, "\n    {}: {}", quoted(name), quoted(value));
    }
    let labels = match labels.is_empty() {
        true => "  # labels: {disk: ssd}   # node.labels.* in placement constraints".to_owned(),
        false => format!("  labels:   # node.labels.* in placement constraints{labels}"),
    };
    let tls = match (&args.tls_ca, &args.tls_cert, &args.tls_key) {
        (Some(ca), Some(cert), Some(key)) => format!(
            "    tls:   # files on the machines of managers\n      ca: {}\n      cert: {}\n      key: {}\n",
            quoted(ca),
            quoted(cert),
            quoted(key)
        ),
        _ => String::new(),
    };
    let manager = manager.map_or(String::new(), |manager| {
        format!("  manager: {}   # whose socket it is\n", quoted(manager))
    });
    Ok(format!(
        "apiVersion: skep.dev/v1\nkind: Node\nmetadata:\n  name: {}\n{labels}\nspec:\n  engine:\n    url: {}\n{tls}{manager}  role: {}   # worker | manager\n  availability: active   # active | pause | drain\n",
        quoted(&args.name),
        quoted(&args.engine),
        args.role,
    ))
}

/// The manifest of a socket's node without labels.
pub(super) fn plain(name: &str, engine: &str, manager: &str) -> String {
    let args = Add {
        name: name.into(),
        engine: engine.into(),
        labels: Vec::new(),
        tls_ca: None,
        tls_cert: None,
        tls_key: None,
        manager: None,
        role: "worker".into(),
        dry_run: false,
        wait: false,
        timeout: Period::default(),
    };
    let manager = engine.starts_with("unix://").then_some(manager);
    manifest(&args, manager).expect("there is no label that could be wrong")
}

async fn change(session: &Session, args: &Change, wanted: Availability) -> Result<(), Error> {
    let cache = session.snapshot().await?;
    let keys = keys(&args.names);
    let mut writes = Vec::new();
    let mut lines = Vec::new();
    for key in &keys {
        let edit = edit(session, &cache, key, wanted)?;
        lines.push(match &edit {
            Some(_) => format!("{} {}", title(key), done(wanted)),
            None => format!("{} unchanged ({})", title(key), wanted.as_str()),
        });
        writes.extend(edit);
    }
    let revision = match writes.is_empty() {
        true => cache.revision,
        false => write::commit(session, &writes).await?,
    };
    lines
        .iter()
        .try_for_each(|line| session.terminal.line(line))?;
    match (args.wait, wanted) {
        (false, _) => Ok(()),
        (true, Availability::Drain) => empty(session, &keys, args.timeout.0).await,
        (true, Availability::Active | Availability::Pause) => {
            converge::wait(session, keys, revision, args.timeout.0).await
        }
    }
}

fn done(availability: Availability) -> &'static str {
    match availability {
        Availability::Active => "activated",
        Availability::Pause => "paused",
        Availability::Drain => "draining",
    }
}

fn keys(names: &[String]) -> Vec<ObjectKey> {
    names
        .iter()
        .map(|name| name.rsplit('/').next().unwrap_or(name))
        .map(|name| kinds::object(Kind::Node, "", name))
        .collect()
}

fn edit(
    session: &Session,
    cache: &Cache,
    key: &ObjectKey,
    wanted: Availability,
) -> Result<Option<Guarded>, Error> {
    let Some(stored) = cache.users.get(key) else {
        return Err(Error::refused(format!("there is no {}", title(key))));
    };
    let meaning = text::meaning(key, &stored.value).map_err(|why| {
        Error::refused(format!(
            "the stored value of {} cannot be read: {why}",
            title(key)
        ))
    })?;
    if matches!(&meaning.spec, Spec::Node(spec) if spec.availability == wanted) {
        return Ok(None);
    }
    let text = text::with_availability(&stored.value, wanted).map_err(Error::refused)?;
    Ok(Some(Guarded {
        key: session.key(&Key::User(key.clone())),
        value: Some(text),
        read: Some(stored.mod_revision),
    }))
}

/// Waits until no task is left on these nodes.
async fn empty(session: &Session, keys: &[ObjectKey], timeout: Duration) -> Result<(), Error> {
    converge::until(session, timeout, |cache| {
        keys.iter()
            .map(|key| (title(key), emptiness(cache, &key.node_name())))
            .collect()
    })
    .await?;
    keys.iter()
        .try_for_each(|key| session.terminal.line(&format!("{} drained", title(key))))
}

fn emptiness(cache: &Cache, node: &NodeName) -> Standing {
    let is_drained = cache
        .nodes
        .get(node)
        .is_none_or(|accepted| accepted.spec.availability == Availability::Drain);
    let left: Vec<_> = tasks::all(cache, None)
        .into_iter()
        .filter(|task| task.view.node == Some(node) && !task.view.is_terminal())
        .collect();
    match (is_drained, left) {
        (false, _) => Standing::Waiting("waits for acceptance".into()),
        (true, left) if left.is_empty() => Standing::Done,
        (true, left) => {
            let mut text = format!("{} left", print::count(left.len(), "task"));
            // Tasks leave when their replacements run: what those wait for holds the node.
            let held = left.iter().find_map(|task| {
                let key = ObjectKey::service(task.service);
                let statuses = object::statuses(cache, &key).into_iter();
                let mut waiting = statuses.flat_map(|(_, status)| &status.waiting);
                waiting
                    .next()
                    .map(|waiting| format!(", {}: {}", title(&key), waiting.message))
            });
            text.push_str(&held.unwrap_or_default());
            Standing::Waiting(text)
        }
    }
}

async fn remove(session: &Session, args: &Remove) -> Result<(), Error> {
    let cache = session.snapshot().await?;
    let keys = keys(&args.names);
    if args.force {
        return force(session, &cache, &keys).await;
    }
    delete::remove(session, &cache, &keys, false).await?;
    match args.wait {
        true => delete::gone(session, &keys, args.timeout.0).await,
        false => Ok(()),
    }
}

/// Deletes the accepted records as well: nothing waits for the engines any more.
async fn force(session: &Session, cache: &Cache, keys: &[ObjectKey]) -> Result<(), Error> {
    for key in keys {
        let records = [Key::User(key.clone()), Key::Accepted(key.clone())];
        let writes: Vec<Guarded> = records
            .iter()
            .filter_map(|record| {
                Some(Guarded {
                    key: session.key(record),
                    value: None,
                    read: Some(cache.mod_revision(record)?),
                })
            })
            .collect();
        if writes.is_empty() {
            return Err(Error::refused(format!("there is no {}", title(key))));
        }
        let tasks = cache.bindings_on(&key.node_name()).count();
        write::commit(session, &writes).await?;
        session.terminal.line(&format!("{} deleted", title(key)))?;
        session.terminal.note(&format!(
            "warning: {} given up; if its engine still runs, so do their containers, beside their replacements: remove them there, or add the node again",
            print::count(tasks, "task")
        ));
    }
    Ok(())
}
