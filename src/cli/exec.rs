//! `skep exec`: runs a command in a task's container, on the person's terminal.
//!
//! The exit code is the command's; ours are docker's: 125 we failed, 126 it cannot be run, 127 it is not there.

use super::error::Error;
use super::reach;
use super::session::Session;
use super::tasks::{self, Named};
use super::terminal::Terminal;
use crate::api::name::DEFAULT_NAMESPACE;
use crate::api::task::TaskState;
use crate::engine::{self, Engine, ExecIo, ExecRequest};
use futures::StreamExt;
use rustix::termios::{self, OptionalActions, Termios};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The engine learns the exit code a moment after the output ends.
const EXIT_CODE_WAIT: Duration = Duration::from_secs(10);
/// How often it is asked.
const EXIT_CODE_POLL: Duration = Duration::from_millis(50);

/// Arguments of `skep exec`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Pass standard input on
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Give the command a terminal
    #[arg(short = 't', long)]
    pub tty: bool,
    /// Its environment, NAME=value
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Its user
    #[arg(short, long = "as", value_name = "USER")]
    pub user_inside: Option<String>,
    /// Its directory
    #[arg(short, long)]
    pub workdir: Option<String>,
    /// The namespace
    #[arg(short, long, default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
    /// A service (one of its tasks is taken), a task (web.1) or a task's id
    #[arg(value_name = "SERVICE|TASK")]
    pub target: String,
    /// The command, after --
    #[arg(required = true, last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

pub(super) async fn run(session: &Session, args: Args) -> Result<(), Error> {
    let code = attempt(session, args).await.map_err(own)?;
    match u8::try_from(code) {
        Ok(0) => Ok(()),
        Ok(code) => Err(Error::Said(code)),
        Err(_) => Err(Error::Said(255)),
    }
}

/// What we could not do has code 125, but where the engine says that it is the command.
fn own(error: Error) -> Error {
    let code = match &error {
        Error::Exec { code, .. } => *code,
        Error::Engine { .. }
        | Error::Store(_)
        | Error::Refused { .. }
        | Error::Usage(_)
        | Error::TimedOut(_)
        | Error::RolloutFailed(_)
        | Error::Unknown(_)
        | Error::Output(_)
        | Error::Said(_) => 125,
    };
    let hint = error.hint();
    let message = match hint.is_empty() {
        true => error.chain(),
        false => format!("{} ({hint})", error.chain()),
    };
    Error::Exec { code, message }
}

async fn attempt(session: &Session, args: Args) -> Result<i64, Error> {
    if args.tty && args.stdin && !session.terminal.has_typed_input() {
        return Err(Error::refused(
            "-t needs a terminal on standard input: leave it out",
        ));
    }
    let cache = session.snapshot().await?;
    let found = tasks::named(&cache, Some(&args.namespace), &args.target)?;
    let task = choose(&found).ok_or_else(|| {
        Error::advised(
            format!("no task of `{}` runs", args.target),
            format!("`skep why {}` says what it waits for", args.target),
        )
    })?;
    let (Some(node), Some(container)) = (
        task.view.node,
        task.view
            .status
            .and_then(|status| status.container.as_ref()),
    ) else {
        return Err(Error::refused(format!(
            "task {} has no container",
            task.name()
        )));
    };
    let engine = reach::engine(session, &cache, node).await?;
    let request = ExecRequest {
        command: args.command,
        tty: args.tty,
        stdin: args.stdin,
        env: args.env,
        user: args.user_inside,
        working_dir: args.workdir,
    };
    let io = engine.exec(container, &request).await.map_err(refused)?;
    stream(&session.terminal, engine.as_ref(), io, &request).await
}

/// A task that serves, else one that runs.
fn choose<'a, 'b>(found: &'b [Named<'a>]) -> Option<&'b Named<'a>> {
    let runs = |task: &&Named<'_>| task.view.state == TaskState::Running;
    found
        .iter()
        .find(|task| task.view.is_serving())
        .or_else(|| found.iter().find(runs))
}

/// Runtimes say in words whether a command is missing or cannot be run.
fn refused(error: engine::Error) -> Error {
    let text = error.to_string();
    let lower = text.to_lowercase();
    let code = match () {
        () if lower.contains("executable file not found") => 127,
        () if lower.contains("no such file or directory") => 127,
        () if lower.contains("permission denied") => 126,
        () => 125,
    };
    Error::Exec {
        code,
        message: text,
    }
}

async fn stream(
    terminal: &Terminal,
    engine: &dyn Engine,
    io: ExecIo,
    request: &ExecRequest,
) -> Result<i64, Error> {
    let ExecIo {
        id,
        mut output,
        input,
    } = io;
    let _raw = (request.tty && terminal.is_interactive())
        .then(Raw::enter)
        .flatten();
    let feeder = request
        .stdin
        .then(|| tokio::spawn(feed(terminal.input(), input)));
    let mut resized = Resized::new(request.tty && terminal.is_interactive());
    resize(engine, &id, request.tty && terminal.is_interactive()).await;
    let result = loop {
        tokio::select! {
            biased;
            piece = output.next() => match piece {
                Some(Ok(piece)) if piece.is_stderr => terminal.write_err(&piece.bytes)?,
                Some(Ok(piece)) => terminal.write(&piece.bytes)?,
                Some(Err(error)) => break Err(refused(error)),
                None => break Ok(()),
            },
            () = resized.next() => resize(engine, &id, true).await,
        }
    };
    if let Some(feeder) = feeder {
        feeder.abort();
    }
    result?;
    exit_code(engine, &id).await
}

async fn feed(
    mut from: Box<dyn AsyncRead + Send + Unpin>,
    mut to: Box<dyn AsyncWrite + Send + Unpin>,
) {
    let mut buffer = vec![0; 8 << 10];
    while let Ok(length) = from.read(&mut buffer).await {
        let is_sent =
            length > 0 && to.write_all(&buffer[..length]).await.is_ok() && to.flush().await.is_ok();
        if !is_sent {
            break;
        }
    }
    // The end of file for the command; if it is gone already, nobody needs it.
    let _ = to.shutdown().await;
}

async fn exit_code(engine: &dyn Engine, id: &str) -> Result<i64, Error> {
    let asked = async {
        loop {
            match engine.exec_exit_code(id).await {
                Ok(Some(code)) => return Ok(code),
                Ok(None) => tokio::time::sleep(EXIT_CODE_POLL).await,
                Err(error) => return Err(refused(error)),
            }
        }
    };
    match tokio::time::timeout(EXIT_CODE_WAIT, asked).await {
        Ok(result) => result,
        Err(_) => Err(Error::Exec {
            code: 125,
            message: "the output ended but the command goes on".into(),
        }),
    }
}

async fn resize(engine: &dyn Engine, id: &str, is_terminal: bool) {
    if !is_terminal {
        return;
    }
    if let Ok(size) = termios::tcgetwinsize(std::io::stdout()) {
        // A wrong size is a nuisance, no reason to end the command.
        if let Err(error) = engine.exec_resize(id, size.ws_col, size.ws_row).await {
            tracing::debug!(%error, "could not tell the terminal's size");
        }
    }
}

/// Changes of the window's size; never any without a terminal.
struct Resized(Option<Signal>);

impl Resized {
    fn new(is_terminal: bool) -> Self {
        let listen = || signal(SignalKind::window_change()).ok();
        Self(is_terminal.then(listen).flatten())
    }

    async fn next(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => std::future::pending().await,
        }
    }
}

/// The terminal hands every key on; as it was when this is dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> Option<Self> {
        let before = termios::tcgetattr(std::io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
