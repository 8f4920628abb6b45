//! The agent of a node: `skep agent` in the node's network namespace, with its orders on standard input.

use super::space::Space;
use super::states::{Form, form};
use crate::report::instant;
use crate::support::process::{owner, skep};
use skep::dataplane::agent::{Order, Report};
use skep::dataplane::state::{Change, Delta, State, StateRevision};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// How long the agent may take for anything.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long it must have done nothing to be at rest.
const QUIET: Duration = Duration::from_millis(300);

/// A running agent; dropped, it is killed, and what it programmed stays.
pub(super) struct Agent {
    process: Child,
    input: ChildStdin,
    reports: Receiver<Report>,
    /// What it was told last.
    pub(super) state: State,
    _directory: TempDir,
}

impl Agent {
    /// Starts one that has programmed `state`.
    pub(super) fn start(space: &Space, state: State) -> Self {
        let directory = TempDir::new().expect("the machine has a temporary directory");
        let path = directory.path().to_str().expect("a temporary path is text");
        let mut arguments = vec!["agent", "--directory", path, "--state", "-"];
        if form() == Form::Bridged {
            arguments.push("--on-bridges");
        }
        let mut command = skep(&arguments);
        command.env("SKEP_TEST_OWNER", owner());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = space
            .within(move || command.spawn())
            .expect("skep was built for this run");
        let input = process.stdin.take().expect("it was piped");
        let output = BufReader::new(process.stdout.take().expect("it was piped"));
        let (sender, reports) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Ok(report) = serde_json::from_str(&line) {
                    // Nobody waits for the last ones.
                    let _ = sender.send(report);
                }
            }
        });
        let mut agent = Self {
            process,
            input,
            reports,
            state: state.clone(),
            _directory: directory,
        };
        agent.put(state);
        agent
    }

    /// Gives it a whole state, and waits until the kernel shows it: the time that this took.
    pub(super) fn put(&mut self, mut state: State) -> Duration {
        state.revision = StateRevision(self.state.revision.0 + 1);
        self.state = state.clone();
        self.told(Order::State(Box::new(state)))
    }

    /// Gives it changes, and waits until the kernel shows them: the time that this took.
    pub(super) fn change(&mut self, changes: Vec<Change>) -> Duration {
        let from = self.state.revision;
        let to = StateRevision(from.0 + 1);
        let delta = Delta { from, to, changes };
        let next = self.state.after(delta.clone());
        self.state = next.expect("a benchmark's changes make sense");
        self.told(Order::Delta(delta))
    }

    /// Has everything taken away.
    pub(super) fn remove(&mut self) {
        self.send(&Order::Remove);
        self.wait("has taken all away", |report| report.removed);
    }

    fn told(&mut self, order: Order) -> Duration {
        let revision = self.state.revision;
        let line = line(&order);
        let start = instant();
        self.write(&line);
        self.wait("has programmed it", |report| {
            report.programmed == Some(revision)
        });
        start.elapsed()
    }

    fn send(&mut self, order: &Order) {
        self.write(&line(order));
    }

    fn write(&mut self, line: &str) {
        let written = self.input.write_all(line.as_bytes());
        written.expect("the agent reads its orders");
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Report) -> bool) {
        loop {
            let report = self.reports.recv_timeout(PATIENCE);
            let report = report.unwrap_or_else(|_| panic!("the agent never says that it {what}"));
            if let Some(trouble) = &report.trouble {
                panic!("the agent has trouble: {trouble}");
            }
            if is_so(&report) {
                return;
            }
        }
    }

    /// Waits until it does nothing any more: changes of its own have it look at the kernel once more.
    pub(super) fn rest(&self) {
        let mut last = None;
        loop {
            let path = format!("/proc/{}/stat", self.process.id());
            let text = std::fs::read_to_string(path).expect("the agent runs");
            // Ticks in user and system mode: the 12th and 13th word behind the name.
            let words = text.rsplit_once(')').map_or("", |(_, rest)| rest);
            let words = words.split_whitespace().skip(11).take(2);
            let ticks: Vec<String> = words.map(str::to_owned).collect();
            if last.as_ref() == Some(&ticks) {
                return;
            }
            last = Some(ticks);
            thread::sleep(QUIET);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // An error means that it has ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn line(order: &Order) -> String {
    let text = serde_json::to_string(order);
    text.expect("an order has only text keys") + "\n"
}
