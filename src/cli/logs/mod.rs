//! `skep logs`: the output of all tasks of a service, read from their engines by this machine, each line with its task.
//!
//! A node that is out of reach takes nothing from the others: what they have is shown, and the exit code at the end
//! says that something is missing. With `-f` it is tried again until its tasks have ended, and new tasks join.

mod line;
mod reader;

use super::error::Error;
use super::print::coloured_prefix;
use super::session::Session;
use super::tasks::{self, Named};
use crate::api::name::{DEFAULT_NAMESPACE, NodeName};
use crate::api::task::TaskState;
use crate::api::time::Timestamp;
use crate::api::uid::{ContainerId, TaskId};
use crate::api::unit::Period;
use crate::engine::LogOptions;
use crate::runtime::cache::Cache;
use reader::Reader;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// Lines that may wait between the engines and the terminal; a slow terminal slows the engines down.
const BUFFER: usize = 256;

/// Arguments of `skep logs`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A service, a task (web.1) or a task's id
    #[arg(value_name = "SERVICE|TASK")]
    pub target: String,
    /// Go on as lines come, also of new tasks
    #[arg(short, long)]
    pub follow: bool,
    /// Only so many of the last lines of each task
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u64>,
    /// Only since then: 10m, or 2026-01-02T03:04:05Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Begin each line with its time
    #[arg(short, long)]
    pub timestamps: bool,
    /// No task in front of the lines
    #[arg(long)]
    pub no_prefix: bool,
    /// The namespace
    #[arg(short, long, default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
}

/// A task whose output can be read.
struct Source {
    task: TaskId,
    name: String,
    node: NodeName,
    container: ContainerId,
    is_alive: bool,
}

impl Source {
    /// `web.1@n1`: what stands in front of its lines.
    fn place(&self) -> String {
        format!("{}@{}", self.name, self.node)
    }
}

/// A line with its task.
struct Line {
    place: String,
    is_stderr: bool,
    bytes: Vec<u8>,
}

pub(super) async fn run(session: &Session, args: Args) -> Result<(), Error> {
    let options = LogOptions {
        follow: args.follow,
        tail: args.tail,
        since: since(args.since.as_deref(), session.now())?,
        timestamps: args.timestamps,
    };
    let cache = session.snapshot().await?;
    let sources = sources(&cache, &args)?;
    if sources.is_empty() && !args.follow {
        return Err(Error::advised(
            format!("no task of `{}` has a container", args.target),
            format!("`skep why {}` says what it waits for", args.target),
        ));
    }
    let (sender, lines) = mpsc::channel(BUFFER);
    let (alive, receiver) = watch::channel(BTreeSet::new());
    let reader = Reader {
        session: session.clone(),
        options,
        lines: sender,
        alive: receiver,
    };
    let mut readers = Readers {
        reader,
        alive,
        started: BTreeSet::new(),
        running: JoinSet::new(),
    };
    readers.start(&cache, sources);
    match args.follow {
        true => follow(session, &args, cache, readers, lines).await,
        false => whole(session, &args, readers, lines).await,
    }
}

/// Shows what there is, then what is missing.
async fn whole(
    session: &Session,
    args: &Args,
    readers: Readers,
    mut lines: mpsc::Receiver<Line>,
) -> Result<(), Error> {
    let Readers {
        reader,
        mut running,
        ..
    } = readers;
    drop(reader);
    while let Some(line) = lines.recv().await {
        print(session, args, line)?;
    }
    let mut failed = Vec::new();
    while let Some(ended) = running.join_next().await {
        failed.extend(ended.ok().and_then(Result::err));
    }
    let last = failed.pop();
    for error in failed {
        session.terminal.note(&format!("error: {}", error.chain()));
    }
    last.map_or(Ok(()), Err)
}

/// Shows what comes until the person interrupts.
async fn follow(
    session: &Session,
    args: &Args,
    cache: Cache,
    mut readers: Readers,
    mut lines: mpsc::Receiver<Line>,
) -> Result<(), Error> {
    let mut follow = session.follow(cache);
    loop {
        tokio::select! {
            biased;
            Some(line) = lines.recv() => print(session, args, line)?,
            Some(ended) = readers.running.join_next() => {
                if let Ok(Err(error)) = ended {
                    session.terminal.note(&format!("error: {}", error.chain()));
                }
            }
            changed = follow.changed() => {
                changed?;
                // A new task's output is wanted from its beginning.
                readers.reader.options.tail = None;
                // An error means that the service is gone, for now.
                let sources = sources(&follow.cache, args).unwrap_or_default();
                readers.start(&follow.cache, sources);
            }
        }
    }
}

fn since(text: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let Some(text) = text else {
        return Ok(None);
    };
    if let Ok(period) = Period::parse(text) {
        let millis = i64::try_from(period.0.as_millis()).unwrap_or(i64::MAX);
        return Ok(Some(Timestamp(now.0.saturating_sub(millis))));
    }
    match Timestamp::parse(text) {
        Some(time) => Ok(Some(time)),
        None => Err(Error::Usage(format!(
            "--since {text}: write a length of time (10m) or an RFC 3339 time"
        ))),
    }
}

/// The tasks whose container was started, by slot, the oldest of a slot first. An engine ends the stream of one that was
/// not started yet at once.
fn sources(cache: &Cache, args: &Args) -> Result<Vec<Source>, Error> {
    let mut found = tasks::named(cache, Some(&args.namespace), &args.target)?;
    found.sort_by(|a, b| {
        let place = |task: &Named<'_>| (task.view.task.slot.clone(), task.view.task.created_at);
        place(a).cmp(&place(b))
    });
    Ok(found.iter().filter_map(source).collect())
}

fn source(task: &Named<'_>) -> Option<Source> {
    if task.view.state < TaskState::Running {
        return None;
    }
    Some(Source {
        task: task.view.task.id.clone(),
        name: task.name(),
        node: task.view.node?.clone(),
        container: task.view.status?.container.clone()?,
        is_alive: !task.view.is_terminal(),
    })
}

/// The readers of tasks.
struct Readers {
    reader: Reader,
    alive: watch::Sender<BTreeSet<TaskId>>,
    started: BTreeSet<TaskId>,
    running: JoinSet<Result<(), Error>>,
}

impl Readers {
    /// Starts to read those that are new, the tasks of a node together.
    fn start(&mut self, cache: &Cache, sources: Vec<Source>) {
        let alive = sources.iter().filter(|source| source.is_alive);
        self.alive
            .send_replace(alive.map(|source| source.task.clone()).collect());
        let mut new: BTreeMap<NodeName, Vec<Source>> = BTreeMap::new();
        for source in sources {
            if self.started.insert(source.task.clone()) {
                new.entry(source.node.clone()).or_default().push(source);
            }
        }
        for (node, sources) in new {
            let reader = self.reader.clone();
            match cache.nodes.get(&node) {
                Some(accepted) => {
                    let spec = accepted.spec.clone();
                    self.running.spawn(reader.node(node, spec, sources));
                }
                None => {
                    let text = format!("node {node} is not there any more, nor are its logs");
                    self.running.spawn(async { Err(Error::refused(text)) });
                }
            }
        }
    }
}

fn print(session: &Session, args: &Args, line: Line) -> Result<(), Error> {
    let mut bytes = Vec::with_capacity(line.bytes.len() + line.place.len() + 16);
    if !args.no_prefix {
        let prefix = coloured_prefix(&line.place, session.terminal.has_colour());
        bytes.extend_from_slice(prefix.as_bytes());
        bytes.extend_from_slice(b" | ");
    }
    bytes.extend_from_slice(&line.bytes);
    match line.is_stderr {
        true => session.terminal.write_err(&bytes),
        false => session.terminal.write(&bytes),
    }
}
