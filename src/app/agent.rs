//! `skep agent`: where states come from, when the kernel is looked at, and names served.

use super::agent_socket;
use super::arguments::AgentArgs;
use super::probe;
use crate::dataplane::agent::{Agent, Directory, Order, Report, explain};
use crate::dataplane::dns::server::Server;
use crate::dataplane::health;
use crate::dataplane::host::{Events, Host, Linux};
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

/// How often a file is looked at.
const POLL: Duration = Duration::from_millis(200);

/// How long changes of the kernel are gathered: an engine that starts a container makes many.
const SETTLE: Duration = Duration::from_millis(50);

/// Orders that wait; a source that is faster waits itself.
pub(super) const WAITING: usize = 16;

/// Programs the network namespace of this process until `ended`; what was programmed stays.
///
/// # Errors
/// The kernel or the directory cannot be used, or something could not be taken away.
pub(super) async fn run(args: AgentArgs, ended: impl Future<Output = ()>) -> Result<(), String> {
    if let Some(socket) = &args.attach {
        return agent_socket::attach(socket).await;
    }
    if args.probe {
        return probe::run().await;
    }
    let directory = Directory::open(&args.directory).map_err(|error| explain(&error))?;
    let host = Linux::open().map_err(|error| explain(&error))?;
    let host = match args.on_bridges {
        true => host.on_bridges(),
        false => host,
    };
    let events = Events::open().map_err(|error| explain(&error))?;
    let mut agent = Agent::new(host, Some(directory)).map_err(|error| explain(&error))?;
    if args.remove {
        return agent.remove().map_err(|error| explain(&error));
    }
    // What was there before the process ended goes on before anybody says anything.
    agent.renew();
    let mut names = Server::new(args.resolv_conf);
    let mut health = health::server::Server::default();
    let mut told = Report::default();
    let said = watch::Sender::new(String::new());
    serve(&mut names, &mut health, &mut agent);
    tell(&agent, &mut told, &said);
    let mut orders = match &args.listen {
        Some(socket) => agent_socket::listen(socket, said.subscribe())?,
        None => orders(args.state),
    };
    let mut audits = tokio::time::interval(args.audit.0);
    tokio::pin!(ended);
    loop {
        tokio::select! {
            () = &mut ended => return Ok(()),
            Some(order) = orders.recv() => match order {
                Ok(order) => agent.follow(order),
                Err(why) => agent.refuse(why),
            },
            _ = audits.tick() => agent.audit(),
            () = events.changed() => {
                tokio::time::sleep(SETTLE).await;
                agent.audit();
            }
        }
        serve(&mut names, &mut health, &mut agent);
        tell(&agent, &mut told, &said);
    }
}

/// Names and health are what the state says before anybody hears that it is programmed: who left is asked for no more.
fn serve<H: Host>(names: &mut Server, health: &mut health::server::Server, agent: &mut Agent<H>) {
    match agent.state() {
        Some(state) => names.serve(state, &agent.report().refused),
        None => names.stop(),
    }
    let answers = agent
        .state()
        .map(|state| health::answers(state, agent.report()));
    health.serve(answers.unwrap_or_default());
    agent.note_health(health.closed());
    agent.note_names(names.report());
}

/// Says what is new: to whoever is attached where it listens, else on standard output.
fn tell<H: Host>(agent: &Agent<H>, told: &mut Report, said: &watch::Sender<String>) {
    let report = agent.report();
    if report == told && !said.borrow().is_empty() {
        return;
    }
    if let Some(trouble) = report
        .trouble
        .as_ref()
        .filter(|_| report.trouble != told.trouble)
    {
        warn!(trouble, "cannot program");
    }
    if report.names.unserved != told.names.unserved && !report.names.unserved.is_empty() {
        warn!(addresses = ?report.names.unserved, "names are not answered here");
    }
    if report.drift != told.drift {
        info!(drift = ?report.drift, "mended what others changed");
    }
    let line = serde_json::to_string(report).expect("a report has only text keys");
    if said.receiver_count() == 0 {
        // Nobody may listen: the kernel is programmed all the same.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
    said.send_replace(line + "\n");
    *told = report.clone();
}

/// An order, or why it cannot be read.
pub(super) type Read = Result<Order, String>;

/// The orders of a source.
fn orders(source: Option<PathBuf>) -> mpsc::Receiver<Read> {
    let (sender, orders) = mpsc::channel(WAITING);
    match source {
        None => drop(tokio::spawn(async move { sender.closed().await })),
        Some(path) if path == Path::new("-") => drop(tokio::spawn(read_input(sender))),
        Some(path) => drop(tokio::spawn(read_file(path, sender))),
    }
    orders
}

/// Reads a line.
pub(super) fn read(line: &str) -> Read {
    let order = serde_json::from_str(line);
    order.map_err(|error| format!("cannot read an order: {error}"))
}

async fn read_input(orders: mpsc::Sender<Read>) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if orders.send(read(&line)).await.is_err() {
            return;
        }
    }
    // Nobody says anything any more: what is there goes on.
    orders.closed().await;
}

async fn read_file(path: PathBuf, orders: mpsc::Sender<Read>) {
    let mut last = Vec::new();
    loop {
        let text = tokio::fs::read(&path).await.unwrap_or_default();
        if text != last {
            let state = serde_json::from_slice(&text).map(Order::State);
            let named = |error| format!("cannot read {}: {error}", path.display());
            if orders.send(state.map_err(named)).await.is_err() {
                return;
            }
            last = text;
        }
        tokio::time::sleep(POLL).await;
    }
}
