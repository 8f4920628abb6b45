//! `skep agent --probe`: tries from this network namespace what standard input asks for, and says what came of it.

use crate::dataplane::address::Version;
use crate::dataplane::probe::{Asked, Outcome, Probe, answered, question};
use futures::StreamExt;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, stdin, stdout};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How many are tried at a time.
const AT_ONCE: usize = 64;

/// How often a resolver is asked: a datagram may be lost.
const ASKED: u16 = 2;

/// Reads a line, tries what it asks for, and prints a line.
///
/// # Errors
/// The line cannot be read or the answer not be printed.
pub(super) async fn run() -> Result<(), String> {
    let mut line = String::new();
    let read = BufReader::new(stdin()).read_line(&mut line).await;
    read.map_err(|error| format!("cannot read standard input: {error}"))?;
    let asked: Asked =
        serde_json::from_str(&line).map_err(|error| format!("cannot read what to try: {error}"))?;
    let patience = Duration::from_millis(asked.patience_ms);
    let outcomes = futures::stream::iter(asked.probes)
        .map(|probe| tried(probe, patience))
        .buffered(AT_ONCE);
    let outcomes: Vec<Outcome> = outcomes.collect().await;
    let mut text = serde_json::to_vec(&outcomes).expect("outcomes have only text keys");
    text.push(b'\n');
    let mut out = stdout();
    let said = async {
        out.write_all(&text).await?;
        out.flush().await
    };
    said.await
        .map_err(|error| format!("cannot say what came of it: {error}"))
}

async fn tried(probe: Probe, patience: Duration) -> Outcome {
    let outcome = match probe {
        Probe::Connect(to) => timeout(patience, TcpStream::connect(to))
            .await
            .map(|done| done.map_or_else(refused, |_| Outcome::Connected)),
        Probe::Resolve(server, name) => {
            timeout(patience, resolve(server, &name, Version::V4, patience)).await
        }
        Probe::Resolve6(server, name) => {
            timeout(patience, resolve(server, &name, Version::V6, patience)).await
        }
    };
    outcome.unwrap_or(Outcome::Silent)
}

fn refused(error: std::io::Error) -> Outcome {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Outcome::Refused,
        _ => Outcome::Failed(error.to_string()),
    }
}

async fn resolve(server: Ipv4Addr, name: &str, version: Version, patience: Duration) -> Outcome {
    for id in 1..=ASKED {
        match timeout(patience / u32::from(ASKED), ask(server, name, version, id)).await {
            Ok(Ok(outcome)) => return outcome,
            Ok(Err(why)) => return Outcome::Failed(why),
            Err(_) => {}
        }
    }
    Outcome::Silent
}

async fn ask(server: Ipv4Addr, name: &str, version: Version, id: u16) -> Result<Outcome, String> {
    let question = question(name, version, id)?;
    let answer = async {
        // From the loopback, as nobody but the node itself can: it is told what the network's tasks are. From the gateway's
        // own address engines' rules would translate it to any of the node's.
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect((server, 53)).await?;
        socket.send(&question).await?;
        let mut buffer = [0; 4_096];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if let Some(outcome) = answered(&buffer[..length], id) {
                return Ok(outcome);
            }
        }
    };
    let answer: std::io::Result<Outcome> = answer.await;
    answer.map_err(|error| error.to_string())
}
