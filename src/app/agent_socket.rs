//! The agent's socket: orders come in, what it reports goes out; a line of JSON each.
//!
//! It is a file in the agent's own container, so who reaches it is who may run a command there: no port is open. The first
//! line of a connection says by which right it speaks ([`Authority`]); one with an older right than another had is closed, and
//! a newer one takes the place of the one before, whose end may not have been noticed.
//!
//! Reports are states, not news: a reader that is slow gets the newest.

use super::agent::{Read, WAITING, read};
use crate::dataplane::agent::Authority;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines, copy, stdin, stdout};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

/// Who comes; the socket is no other's.
const MODE: u32 = 0o600;

/// How long one who comes may take to say by which right.
const INTRODUCTION: Duration = Duration::from_secs(5);

/// The pause after a connection could not be taken: the process has no descriptor left, and at once it has none either.
const REFUSED_WAIT: Duration = Duration::from_millis(50);

/// Listens at `path`; whoever is heard is told what `said` holds, from its newest on.
///
/// # Errors
/// The socket cannot be made.
pub(super) fn listen(
    path: &Path,
    said: watch::Receiver<String>,
) -> Result<mpsc::Receiver<Read>, String> {
    let named = |error: io::Error| format!("cannot listen at {}: {error}", path.display());
    // Of an agent that was killed; that it is gone its directory's lock says.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(named(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(named)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(MODE)).map_err(named)?;
    let (sender, orders) = mpsc::channel(WAITING);
    tokio::spawn(accept(listener, sender, said));
    Ok(orders)
}

/// Takes connections; at most one is heard.
async fn accept(listener: UnixListener, orders: mpsc::Sender<Read>, said: watch::Receiver<String>) {
    let mut newcomers: JoinSet<io::Result<Heard>> = JoinSet::new();
    let mut heard: Option<(Authority, JoinSet<()>)> = None;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(newcomers.spawn(introduced(stream))),
                Err(error) => {
                    warn!(%error, "cannot take a connection");
                    tokio::time::sleep(REFUSED_WAIT).await;
                }
            },
            Some(newcomer) = newcomers.join_next() => {
                let newcomer = match newcomer.map_err(io::Error::other).flatten() {
                    Ok(newcomer) => newcomer,
                    Err(error) => {
                        warn!(%error, "who came did not say by which right");
                        continue;
                    }
                };
                let before = heard.as_ref().map(|(authority, _)| *authority);
                if before.is_some_and(|before| newcomer.authority < before) {
                    warn!(?newcomer.authority, ?before, "orders of an older right are not taken");
                    continue;
                }
                info!(?newcomer.authority, "takes orders");
                let mut parts = JoinSet::new();
                parts.spawn(answer(newcomer.output, said.clone()));
                parts.spawn(forward(newcomer.lines, orders.clone()));
                // The one before ends here.
                heard = Some((newcomer.authority, parts));
            }
        }
    }
}

/// Who has said by which right it speaks.
struct Heard {
    authority: Authority,
    lines: Lines<BufReader<OwnedReadHalf>>,
    output: OwnedWriteHalf,
}

async fn introduced(stream: UnixStream) -> io::Result<Heard> {
    let (input, output) = stream.into_split();
    let mut lines = BufReader::new(input).lines();
    let first = timeout(INTRODUCTION, lines.next_line()).await??;
    let first = first.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Heard {
        authority: serde_json::from_str(&first)?,
        lines,
        output,
    })
}

/// Hands on orders until the connection ends.
async fn forward(mut lines: Lines<BufReader<OwnedReadHalf>>, orders: mpsc::Sender<Read>) {
    while let Ok(Some(line)) = lines.next_line().await {
        if orders.send(read(&line)).await.is_err() {
            return;
        }
    }
}

/// Says what is to be said until the connection ends.
async fn answer(mut output: OwnedWriteHalf, mut said: watch::Receiver<String>) {
    loop {
        let line = said.borrow_and_update().clone();
        if output.write_all(line.as_bytes()).await.is_err() || said.changed().await.is_err() {
            return;
        }
    }
}

/// Carries standard input to the socket, and what comes from there to standard output, until the agent or the one who
/// started this ends.
///
/// # Errors
/// Nobody listens there.
pub(super) async fn attach(path: &Path) -> Result<(), String> {
    let stream = UnixStream::connect(path).await;
    let stream = stream.map_err(|error| format!("no agent at {}: {error}", path.display()))?;
    let (mut input, mut output) = stream.into_split();
    let mut orders = stdin();
    let mut answers = stdout();
    // Whichever ends first: without one half the other is of no use.
    let ended = tokio::select! {
        ended = copy(&mut orders, &mut output) => ended,
        ended = copy(&mut input, &mut answers) => ended,
    };
    ended
        .map(|_| ())
        .map_err(|error| format!("the connection to {} broke: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::unit::{Incarnation, Term};
    use crate::dataplane::agent::Order;

    struct Caller {
        lines: Lines<BufReader<OwnedReadHalf>>,
        output: OwnedWriteHalf,
    }

    impl Caller {
        async fn new(path: &Path, incarnation: u64, term: i64) -> Self {
            let (input, output) = UnixStream::connect(path).await.unwrap().into_split();
            let lines = BufReader::new(input).lines();
            let mut caller = Self { lines, output };
            let authority = Authority {
                incarnation: Incarnation(incarnation),
                term: Term(term),
            };
            caller
                .say(&serde_json::to_string(&authority).unwrap())
                .await;
            caller
        }

        async fn say(&mut self, line: &str) {
            let line = format!("{line}\n");
            self.output.write_all(line.as_bytes()).await.unwrap();
        }

        async fn hears(&mut self) -> Option<String> {
            self.lines.next_line().await.unwrap_or(None)
        }
    }

    #[tokio::test]
    async fn the_newest_right_is_heard_and_an_older_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let said = watch::Sender::new("one\n".to_owned());
        let mut orders = listen(&path, said.subscribe()).unwrap();

        let mut first = Caller::new(&path, 1, 7).await;
        assert_eq!(first.hears().await.as_deref(), Some("one"));
        first.say("\"remove\"").await;
        assert_eq!(orders.recv().await, Some(Ok(Order::Remove)));

        let mut older = Caller::new(&path, 1, 6).await;
        assert_eq!(older.hears().await, None, "an older right is closed");
        said.send_replace("two\n".into());
        assert_eq!(first.hears().await.as_deref(), Some("two"));

        // The same once more: its connection broke, and nobody noticed here.
        let mut again = Caller::new(&path, 1, 7).await;
        assert_eq!(again.hears().await.as_deref(), Some("two"));
        assert_eq!(first.hears().await, None, "it took the place");

        let mut newer = Caller::new(&path, 2, 1).await;
        assert_eq!(newer.hears().await.as_deref(), Some("two"));
        assert_eq!(again.hears().await, None);
        newer.say("nonsense").await;
        assert!(orders.recv().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn one_who_says_nothing_right_keeps_nobody_from_being_heard() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let said = watch::Sender::new("one\n".to_owned());
        let _orders = listen(&path, said.subscribe()).unwrap();
        let (input, output) = UnixStream::connect(&path).await.unwrap().into_split();
        let lines = BufReader::new(input).lines();
        let mut silent = Caller { lines, output };
        let (input, mut output) = UnixStream::connect(&path).await.unwrap().into_split();
        output.write_all(b"nonsense\n").await.unwrap();
        let ended = BufReader::new(input).lines().next_line().await.unwrap();
        assert_eq!(ended, None, "it is hung up on");
        silent.say(r#"{"incarnation": 1, "term": 1}"#).await;
        assert_eq!(silent.hears().await.as_deref(), Some("one"));
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_made_anew_and_is_the_owners() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let said = watch::Sender::new("x\n".to_owned());
        let _orders = listen(&path, said.subscribe()).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert_eq!(
            Caller::new(&path, 1, 1).await.hears().await.as_deref(),
            Some("x")
        );
    }
}
