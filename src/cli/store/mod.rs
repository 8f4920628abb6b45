//! `skep store`: moves a cluster between stores, and keeps it in files.
//!
//! | Verb | |
//! |---|---|
//! | `copy` | the whole cluster to another store: embedded to etcd and back |
//! | `release` | takes back the mark of a copy, where the target is lost |
//! | `export`, `import` | what users wrote, as YAML for people and git |
//! | `backup`, `restore` | the store's own backup, taken while it runs |
//!
//! Invariants:
//! - What comes into a store begins the cluster's next life there (rules I2 and S6): managers adopt what runs, and no
//!   container is stopped or restarted for it.
//! - A store is claimed before it is filled, and served only when it is whole; a cluster is never left for a target while
//!   managers can still write to the source.
//! - Nothing that would be lost is written over without a flag that says so, and `restore` names first what it changes.
//!
//! `skep store serve` belongs to the layer above.

mod backup;
mod carried;
mod compare;
mod copy;
mod document;
mod export;
mod import;
mod life;
mod place;
mod record;
mod release;
mod restore;
mod target;

use super::error::Error;
use super::terminal::Terminal;
use super::{Doors, OpenStore, data_dir, finish, resolve};
use crate::api::time::Timestamp;
use crate::runtime::clock::Clock;
use crate::store::config::{StoreArgs, StoreConfig};
use place::{Opened, Place};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, BufReader};

/// `skep store` without the verbs of the layers above.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "skep-store")]
pub struct Cli {
    /// Flags of all verbs.
    #[command(flatten)]
    pub globals: StoreArgs,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Clone, Debug, clap::Subcommand)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one of them in a process"
)]
pub enum Command {
    /// Moves the cluster to another store: embedded to etcd, or back; what runs goes on
    Copy(copy::Args),
    /// Lets managers serve a store again that `copy` has left, where the target is lost
    Release(release::Args),
    /// Writes what users wrote as YAML, which `apply -f` takes too
    Export(export::Args),
    /// Fills a new store with an export, so that managers adopt what runs
    Import(import::Args),
    /// Saves the whole store to a file while it runs
    Backup(backup::Args),
    /// Puts a backup in the place of an embedded store, after saying what changes
    Restore(restore::Args),
}

/// Runs a verb and gives its exit code.
pub async fn code(cli: Cli, doors: Doors) -> u8 {
    let terminal = doors.terminal.clone();
    let around = Surroundings {
        globals: cli.globals,
        environment: doors.environment,
        directory: doors.directory,
        open: doors.store,
        clock: doors.clock,
        terminal: doors.terminal,
    };
    let result = tokio::select! {
        biased;
        result = dispatch(&around, cli.command) => result,
        () = doors.interrupted => return 130,
    };
    finish(result, None, &terminal)
}

async fn dispatch(around: &Surroundings, command: Command) -> Result<(), Error> {
    match command {
        Command::Copy(args) => copy::run(around, args).await,
        Command::Release(args) => release::run(around, args).await,
        Command::Export(args) => export::run(around, args).await,
        Command::Import(args) => import::run(around, args).await,
        Command::Backup(args) => backup::run(around, args).await,
        Command::Restore(args) => restore::run(around, args).await,
    }
}

/// What the verbs work with.
struct Surroundings {
    globals: StoreArgs,
    environment: BTreeMap<String, String>,
    directory: PathBuf,
    open: Box<OpenStore>,
    clock: Arc<dyn Clock>,
    terminal: Terminal,
}

impl Surroundings {
    fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    fn note(&self, text: &str) {
        self.terminal.note(text);
    }

    fn now(&self) -> Timestamp {
        self.clock.now().wall
    }

    /// The store that a flag names; without one the store that all verbs use.
    async fn source(&self, said: Option<&str>) -> Result<Opened, Error> {
        self.store(said, true).await
    }

    /// As [`Self::source`]; a directory without a store gets one, unless it `must_exist`.
    async fn store(&self, said: Option<&str>, must_exist: bool) -> Result<Opened, Error> {
        let place = said.map(Place::parse).transpose().map_err(Error::Usage)?;
        match place {
            None => self.running(self.settings(&self.globals)?).await,
            Some(Place::Endpoints(list)) => {
                let args = StoreArgs {
                    endpoints: Some(list),
                    ..self.globals.clone()
                };
                self.running(self.settings(&args)?).await
            }
            Some(Place::Directory(path)) => {
                Opened::directory(&self.at(&path), &self.prefix()?, must_exist).await
            }
        }
    }

    /// The store that `copy` fills. Flags and variables that belong to the source say nothing to it.
    async fn target(&self, args: &copy::Args, source: &Opened) -> Result<Opened, Error> {
        let own = args.target.store();
        let prefix = args.target.to_prefix.clone();
        let prefix = prefix.unwrap_or_else(|| source.prefix.clone());
        let opened = match Place::parse(&args.to).map_err(Error::Usage)? {
            Place::Directory(path) => {
                let path = self.at(&path);
                // Its lock would say that this very process has it.
                if source.name == path.display().to_string() {
                    return Err(same(&source.name));
                }
                return Opened::directory(&path, &ended(prefix), false).await;
            }
            Place::Endpoints(list) => {
                let is_source = own.is_none() && !source.is_shared();
                let base = match (is_source, own) {
                    (true, _) => self.globals.clone(),
                    (false, own) => own.unwrap_or_default(),
                };
                let args = StoreArgs {
                    endpoints: Some(list),
                    prefix: Some(prefix),
                    ..base
                };
                let variable = |name: &str| is_source.then(|| self.variable(name)).flatten();
                let config = args.resolve(variable).map_err(|error| {
                    let own = if is_source { "--" } else { "--to-" };
                    Error::Usage(error.to_string().replace("--", own))
                })?;
                self.running(config).await?
            }
        };
        match opened.name == source.name && opened.prefix == source.prefix {
            true => Err(same(&opened.name)),
            false => Ok(opened),
        }
    }

    async fn running(&self, config: StoreConfig) -> Result<Opened, Error> {
        let kv = (self.open)(config.clone()).await?;
        Ok(Opened::running(kv, &config))
    }

    fn settings(&self, args: &StoreArgs) -> Result<StoreConfig, Error> {
        resolve(args, &self.environment, &self.directory).map_err(Error::Usage)
    }

    /// The prefix of a store in a directory: no endpoint and no certificate says anything about it.
    fn prefix(&self) -> Result<String, Error> {
        let args = StoreArgs {
            prefix: self.globals.prefix.clone(),
            ..StoreArgs::default()
        };
        let variable = |name: &str| {
            let is_prefix = name.ends_with("_PREFIX");
            is_prefix.then(|| self.variable(name)).flatten()
        };
        let config = args.resolve(variable);
        config
            .map(|config| config.prefix)
            .map_err(|error| Error::Usage(error.to_string()))
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }

    /// A path as it is from the current directory.
    fn at(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    /// The data directory of `skep up` that a flag names, or the usual one.
    fn data_dir(&self, flag: Option<&Path>) -> Result<PathBuf, Error> {
        let found = flag.map(|path| self.at(path));
        let found = found.or_else(|| data_dir::default(&self.environment));
        found.ok_or_else(|| {
            Error::Usage("there is no home directory: say where with --data-dir DIR".into())
        })
    }

    /// Asks a person; where nobody can answer, the flag has to say yes.
    async fn confirm(&self, question: &str, yes: bool) -> Result<(), Error> {
        if yes {
            return Ok(());
        }
        if !self.terminal.is_interactive() {
            return Err(Error::Usage(
                "nothing was changed: say --yes where nobody can be asked".into(),
            ));
        }
        let question = format!("{question} [y/N] ");
        self.terminal.write_err(question.as_bytes())?;
        let mut answer = String::new();
        let mut input = BufReader::new(self.terminal.input());
        input.read_line(&mut answer).await.map_err(Error::Output)?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Error::refused("nothing was changed")),
        }
    }
}

/// A prefix ends in `/` (rule S10).
fn ended(prefix: String) -> String {
    match prefix.ends_with('/') {
        true => prefix,
        false => format!("{prefix}/"),
    }
}

fn same(name: &str) -> Error {
    Error::Usage(format!("--from and --to are the same store, {name}"))
}
