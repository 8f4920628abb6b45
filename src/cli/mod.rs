//! Layer 4: the command line, one file per verb.
//!
//! A verb lists everything below the prefix once, at one revision, into the same cache that the controllers use, and
//! looks at it through the same views; `-w` and waiting go on with a watch from that revision. `main.rs` puts the
//! grammar together and hands in the doors, so that tests run verbs in process over the in-memory store.
//!
//! Writes: user keys only, guarded by what was read; and the two rights that people have over controllers' records:
//! `node rm --force` deletes an accepted record, `reap --yes` makes a task record with desired `remove`.
//!
//! Invariants: a user's text is stored byte for byte; what means the same as what is stored is not written; results go
//! to standard output and everything else to standard error; exit codes are those of `error.rs`.
//!
//! Deliberately absent: verbs that need the layers above (`up`, `down`, `store serve`, `manager`, `whoami`, `image load`):
//! `main.rs` adds them. [`up`] and [`down`] are their parts that look at a cluster like any other verb; [`store`] is all of
//! `skep store` but `serve`, with a grammar of its own.

mod api_resources;
mod apply;
mod completion;
mod converge;
pub mod data_dir;
mod delete;
mod describe;
mod diff;
pub mod down;
mod endpoints;
mod error;
mod events;
mod exec;
mod files;
mod get;
mod help;
mod kinds;
mod logs;
mod netcheck;
mod node;
mod object;
mod print;
mod reach;
mod reap;
mod scale;
mod selector;
mod session;
mod settings;
mod status;
pub mod store;
mod table;
mod tasks;
mod terminal;
mod text;
pub mod up;
mod validate;
mod version;
mod wait;
mod why;
mod write;

pub use help::TEMPLATE as HELP_TEMPLATE;
pub use session::Session;
pub use settings::{of_directory, resolve};
pub use terminal::{Captured, Terminal};

use crate::api::unit::Period;
use crate::engine::Connector;
use crate::runtime::clock::Clock;
use crate::store::Kv;
use crate::store::config::{ConfigError, StoreArgs, StoreConfig};
use error::Error;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// The command line without the verbs of the layers above.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "skep", version, about = help::ABOUT, help_template = help::TEMPLATE, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Flags of all verbs.
    #[command(flatten)]
    pub globals: StoreArgs,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs. `main.rs` flattens this into its own.
#[derive(Clone, Debug, clap::Subcommand)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one of them in a process"
)]
pub enum Command {
    /// Creates or changes objects from manifests
    Apply(apply::Args),
    /// Shows what apply would change
    Diff(diff::Args),
    /// Checks manifests; needs no store
    Validate(validate::Args),
    /// Lists objects, tasks, revisions, endpoints or events
    Get(get::Args),
    /// Shows all that is known of one object
    Describe(describe::Args),
    /// Says what a service or task waits for, node by node
    Why(why::Args),
    /// Deletes objects by name, manifest or label
    Delete(delete::Args),
    /// Changes the number of replicas of services
    Scale(scale::Args),
    /// Waits for a condition, or until objects are gone
    Wait(wait::Args),
    /// Shows the output of a service's tasks, what they write to stderr on stderr
    Logs(logs::Args),
    /// Runs a command in a task's container
    Exec(exec::Args),
    /// Shows what happened
    Events(events::Args),
    /// Shows managers, nodes, services, and what is stuck and why
    Status(status::Args),
    /// Tries from every node whether tasks, names and ports are reached, and names the broken hop
    Netcheck(netcheck::Args),
    /// Adds, drains, activates, pauses and removes nodes
    Node(node::Args),
    /// Lists containers without a record; --yes removes those of this cluster
    Reap(reap::Args),
    /// Lists the kinds with their short names and keys
    ApiResources,
    /// Prints the version
    Version,
    /// Prints the completion script of a shell
    Completion(completion::Args),
}

/// Opens the store; an error says which setting is wrong.
pub type OpenStore =
    dyn Fn(StoreConfig) -> BoxFuture<'static, Result<Arc<dyn Kv>, ConfigError>> + Send + Sync;

/// Everything that a verb needs from outside.
pub struct Doors {
    /// Opens the store.
    pub store: Box<OpenStore>,
    /// Where engines come from.
    pub connector: Arc<dyn Connector>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The person.
    pub terminal: Terminal,
    /// The environment's variables.
    pub environment: BTreeMap<String, String>,
    /// The current directory.
    pub directory: PathBuf,
    /// Resolves when the person interrupts.
    pub interrupted: BoxFuture<'static, ()>,
    /// The whole grammar, for `completion`.
    pub grammar: clap::Command,
}

/// Runs a verb and says how it went, with its exit code.
///
/// The caller ends the process without waiting for the runtime's blocking threads: one may still read standard input.
pub async fn run(cli: Cli, doors: Doors) -> ExitCode {
    ExitCode::from(code(cli, doors).await)
}

/// As [`run`], as a number.
pub async fn code(cli: Cli, doors: Doors) -> u8 {
    let Doors {
        store,
        connector,
        clock,
        terminal,
        environment,
        directory,
        interrupted,
        grammar,
    } = doors;
    let file = settings::file(&cli.globals, &environment, &directory);
    let open = async || {
        let settings = resolve(&cli.globals, &environment, &directory).map_err(Error::Usage)?;
        let prefix = settings.prefix.clone();
        let kv = store(settings).await?;
        Ok(Session {
            kv,
            prefix,
            connector,
            clock,
            terminal: terminal.clone(),
        })
    };
    let result = tokio::select! {
        biased;
        result = dispatch(cli.command, open, &terminal, grammar) => result,
        () = interrupted => return 130,
    };
    finish(result, file.as_deref(), &terminal)
}

/// Prints what went wrong, once, with its causes and advice. `file` is the configuration file that said where the store is.
fn finish(result: Result<(), Error>, file: Option<&Path>, terminal: &Terminal) -> u8 {
    let error = match result {
        Ok(()) => return 0,
        Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => return 0,
        Err(error) => error,
    };
    if !matches!(error, Error::Said(_)) {
        terminal.note(&format!("error: {}", error.chain()));
        let hint = match file {
            Some(file) if error.is_store_away() => format!(
                "{} says that it is there: does `skep up` run? or say where with --endpoints, SKEP_ENDPOINTS or ETCDCTL_ENDPOINTS",
                file.display()
            ),
            Some(_) | None => error.hint(),
        };
        if !hint.is_empty() {
            terminal.note(&format!("hint: {hint}"));
        }
    }
    error.exit_code()
}

async fn dispatch(
    command: Command,
    open: impl AsyncFnOnce() -> Result<Session, Error>,
    terminal: &Terminal,
    grammar: clap::Command,
) -> Result<(), Error> {
    match command {
        Command::Validate(args) => validate::run(terminal, args).await,
        Command::Completion(args) => completion::run(terminal, &args, grammar),
        Command::ApiResources => api_resources::run(terminal),
        Command::Version => version::run(terminal),
        Command::Apply(args) => apply::run(&open().await?, args).await,
        Command::Diff(args) => diff::run(&open().await?, args).await,
        Command::Get(args) => get::run(&open().await?, args).await,
        Command::Describe(args) => describe::run(&open().await?, args).await,
        Command::Why(args) => why::run(&open().await?, args).await,
        Command::Delete(args) => delete::run(&open().await?, args).await,
        Command::Scale(args) => scale::run(&open().await?, args).await,
        Command::Wait(args) => wait::run(&open().await?, args).await,
        Command::Logs(args) => logs::run(&open().await?, args).await,
        Command::Exec(args) => match open().await {
            Ok(session) => exec::run(&session, args).await,
            Err(error) => Err(Error::Exec {
                code: 125,
                message: error.chain(),
            }),
        },
        Command::Events(args) => events::run(&open().await?, args).await,
        Command::Status(args) => status::run(&open().await?, args).await,
        Command::Netcheck(args) => netcheck::run(&open().await?, args).await,
        Command::Node(args) => node::run(&open().await?, args).await,
        Command::Reap(args) => reap::run(&open().await?, args).await,
    }
}

/// Reads a length of time for clap.
fn period(text: &str) -> Result<Period, String> {
    Period::parse(text)
}
