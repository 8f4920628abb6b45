//! `skep logs`: the output of all tasks of a service, read from their engines by this machine, each line with its task.

use super::error::Error;
use super::print::coloured_prefix;
use super::reach;
use super::session::Session;
use super::tasks::{self, Named};
use crate::api::name::{DEFAULT_NAMESPACE, NodeName};
use crate::api::time::Timestamp;
use crate::api::uid::{ContainerId, TaskId};
use crate::api::unit::Period;
use crate::engine::{Engine, LogOptions};
use crate::runtime::cache::Cache;
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::mpsc;
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
#[derive(Clone)]
struct Source {
    task: TaskId,
    name: String,
    node: NodeName,
    container: ContainerId,
}

/// A line with its task.
struct Line {
    prefix: String,
    is_stderr: bool,
    bytes: Vec<u8>,
}

pub(super) async fn run(session: &Session, args: Args) -> Result<(), Error> {
    let mut options = LogOptions {
        follow: args.follow,
        tail: args.tail,
        since: since(args.since.as_deref(), session.now())?,
        timestamps: args.timestamps,
    };
    let cache = session.snapshot().await?;
    let mut sources = sources(&cache, &args)?;
    if sources.is_empty() && !args.follow {
        return Err(Error::advised(
            format!("no task of `{}` has a container", args.target),
            format!("`skep why {}` says what it waits for", args.target),
        ));
    }
    let (sender, mut lines) = mpsc::channel(BUFFER);
    let mut readers = Readers::default();
    readers
        .start(session, &cache, &sources, &options, &sender)
        .await?;
    if !args.follow {
        drop(sender);
        while let Some(line) = lines.recv().await {
            print(session, &args, line)?;
        }
        return readers.finish().await;
    }
    let mut follow = session.follow(cache);
    loop {
        tokio::select! {
            biased;
            Some(line) = lines.recv() => print(session, &args, line)?,
            changed = follow.changed() => {
                changed?;
                sources = self::sources(&follow.cache, &args).unwrap_or_default();
                // A new task's output is wanted from its beginning.
                options.tail = None;
                readers.start(session, &follow.cache, &sources, &options, &sender).await?;
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

/// The tasks that have a container, by slot, the oldest of a slot first.
fn sources(cache: &Cache, args: &Args) -> Result<Vec<Source>, Error> {
    let found = tasks::named(cache, Some(&args.namespace), &args.target)?;
    Ok(found.iter().rev().filter_map(source).collect())
}

fn source(task: &Named<'_>) -> Option<Source> {
    Some(Source {
        task: task.view.task.id.clone(),
        name: task.name(),
        node: task.view.node?.clone(),
        container: task.view.status?.container.clone()?,
    })
}

/// The readers of tasks, one each.
#[derive(Default)]
struct Readers {
    started: BTreeSet<TaskId>,
    engines: BTreeMap<NodeName, Arc<dyn Engine>>,
    running: JoinSet<Result<(), Error>>,
}

impl Readers {
    async fn start(
        &mut self,
        session: &Session,
        cache: &Cache,
        sources: &[Source],
        options: &LogOptions,
        sender: &mpsc::Sender<Line>,
    ) -> Result<(), Error> {
        for source in sources {
            if !self.started.insert(source.task.clone()) {
                continue;
            }
            let engine = match self.engines.get(&source.node) {
                Some(engine) => engine.clone(),
                None => {
                    let engine = reach::engine(session, cache, &source.node).await?;
                    self.engines
                        .entry(source.node.clone())
                        .or_insert(engine)
                        .clone()
                }
            };
            let spec = cache.nodes.get(&source.node).map(|node| node.spec.clone());
            let (source, options, sender) = (source.clone(), options.clone(), sender.clone());
            let colour = session.terminal.has_colour();
            self.running.spawn(async move {
                let read = read(engine.as_ref(), &source, &options, &sender, colour).await;
                match (read, spec) {
                    (Err(error), Some(spec)) => Err(reach::failed(&source.node, &spec, error)),
                    (Ok(()) | Err(_), _) => Ok(()),
                }
            });
        }
        Ok(())
    }

    /// The first failure, after all have ended.
    async fn finish(mut self) -> Result<(), Error> {
        let mut result = Ok(());
        while let Some(ended) = self.running.join_next().await {
            if let (Ok(Err(error)), true) = (ended, result.is_ok()) {
                result = Err(error);
            }
        }
        result
    }
}

async fn read(
    engine: &dyn Engine,
    source: &Source,
    options: &LogOptions,
    sender: &mpsc::Sender<Line>,
    colour: bool,
) -> Result<(), crate::engine::Error> {
    let mut output = engine.logs(&source.container, options).await?;
    let prefix = coloured_prefix(&format!("{}@{}", source.name, source.node), colour);
    // Pieces are mostly lines; what is not waits for its end, so that lines of two tasks never mix.
    let mut partial: [Vec<u8>; 2] = Default::default();
    let send = async |is_stderr: bool, bytes: Vec<u8>| {
        let line = Line {
            prefix: prefix.clone(),
            is_stderr,
            bytes,
        };
        sender.send(line).await.is_ok()
    };
    while let Some(piece) = output.next().await {
        let piece = piece?;
        let rest = &mut partial[usize::from(piece.is_stderr)];
        rest.extend_from_slice(&piece.bytes);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if !send(piece.is_stderr, line).await {
                return Ok(());
            }
        }
    }
    for (index, mut rest) in partial.into_iter().enumerate() {
        if !rest.is_empty() {
            rest.push(b'\n');
            send(index == 1, rest).await;
        }
    }
    Ok(())
}

fn print(session: &Session, args: &Args, line: Line) -> Result<(), Error> {
    let mut bytes = Vec::with_capacity(line.bytes.len() + line.prefix.len() + 3);
    if !args.no_prefix {
        bytes.extend_from_slice(line.prefix.as_bytes());
        bytes.extend_from_slice(b" | ");
    }
    bytes.extend_from_slice(&line.bytes);
    match line.is_stderr {
        true => session.terminal.write_err(&bytes),
        false => session.terminal.write(&bytes),
    }
}
