//! A conversation with an agent: a command in its container that is its standard input and output, a line of JSON each.

use super::Trouble;
use super::container::attach;
use crate::api::uid::ContainerId;
use crate::dataplane::agent::{Authority, Report};
use crate::engine::{Engine, ExecIo, ExecRequest};
use crate::runtime::orders::DEADLINE;
use futures::StreamExt;
use serde::Serialize;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

/// The longest line that is taken: a report is a few hundred bytes, and a refusal for each network.
const LONGEST: usize = 4 << 20;

/// How much of what an agent says beside reports is kept, in bytes: enough for people.
const SAID: usize = 4_096;

/// What is said to an agent, as it is sent: a thousand agents that are told the same share it.
#[derive(Clone)]
pub(super) struct Line(Arc<[u8]>);

impl Line {
    /// A right, or an order.
    pub(super) fn of(value: &impl Serialize) -> Self {
        let mut line = serde_json::to_vec(value).expect("orders have only text keys");
        line.push(b'\n');
        Self(line.into())
    }
}

#[cfg(test)]
impl Line {
    /// As it is sent.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A conversation; ends when it is dropped.
pub(super) struct Session {
    io: ExecIo,
    /// What came of the next line.
    line: Vec<u8>,
    /// What it says beside reports.
    errors: String,
}

impl Session {
    /// Begins one: says by which right, and nothing else yet.
    pub(super) async fn open(
        engine: &dyn Engine,
        container: &ContainerId,
        authority: Authority,
    ) -> Result<Self, Trouble> {
        let request = ExecRequest {
            command: attach(),
            stdin: true,
            ..ExecRequest::default()
        };
        let mut session = Self {
            io: engine.exec(container, &request).await?,
            line: Vec::new(),
            errors: String::new(),
        };
        session.send(&Line::of(&authority)).await?;
        Ok(session)
    }

    /// Gives an order.
    pub(super) async fn send(&mut self, order: &Line) -> Result<(), Trouble> {
        let write = async {
            self.io.input.write_all(&order.0).await?;
            self.io.input.flush().await
        };
        match timeout(DEADLINE, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(broken(format!("it cannot be written to: {error}"))),
            Err(_) => Err(broken(format!("it takes nothing for {DEADLINE:?}"))),
        }
    }

    /// The next report. Safe to drop.
    pub(super) async fn next(&mut self) -> Result<Report, Trouble> {
        loop {
            if let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.line.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map_err(|error| broken(format!("its report cannot be read: {error}")));
            }
            if self.line.len() > LONGEST {
                return Err(broken("its report has no end".into()));
            }
            match self.io.output.next().await {
                Some(Ok(piece)) if piece.is_stderr => {
                    if self.errors.len() < SAID {
                        self.errors += &String::from_utf8_lossy(&piece.bytes);
                    }
                }
                Some(Ok(piece)) => self.line.extend(piece.bytes),
                Some(Err(error)) => return Err(broken(error.to_string())),
                None => {
                    return Err(broken(match self.errors.trim() {
                        "" => "it ended".into(),
                        said => said.to_owned(),
                    }));
                }
            }
        }
    }
}

fn broken(why: String) -> Trouble {
    Trouble::Other(
        "AgentUnreachable",
        format!("the agent's stream broke: {why}"),
    )
}
