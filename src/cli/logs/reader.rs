//! Reads the output of the tasks of one node; while it is followed, a stream that breaks is opened anew.

use super::line::{Lines, Stamps};
use super::{Line, Source};
use crate::api::name::NodeName;
use crate::api::node::NodeSpec;
use crate::api::time::Timestamp;
use crate::api::uid::TaskId;
use crate::cli::error::Error;
use crate::cli::reach;
use crate::cli::session::Session;
use crate::engine::{self, Engine, LogOptions};
use futures::StreamExt;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Wait before a stream that ended or broke is opened anew.
const RETRY: Duration = Duration::from_secs(1);

/// What all readers of a command share.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) session: Session,
    pub(super) options: LogOptions,
    pub(super) lines: mpsc::Sender<Line>,
    /// The tasks that have not ended, as far as the store says.
    pub(super) alive: watch::Receiver<BTreeSet<TaskId>>,
}

/// Nobody takes lines any more.
struct Closed;

impl Reader {
    /// Reads tasks of one node to their ends; fails for all of them if the engine is out of reach.
    pub(super) async fn node(
        self,
        node: NodeName,
        spec: NodeSpec,
        sources: Vec<Source>,
    ) -> Result<(), Error> {
        let engine = match self.dial(&node, &spec, &sources).await? {
            Some(engine) => engine,
            None => return Ok(()),
        };
        let tasks = sources
            .iter()
            .map(|source| self.task(engine.as_ref(), source));
        for read in futures::future::join_all(tasks).await {
            read.map_err(|error| reach::failed(&node, &spec, error))?;
        }
        Ok(())
    }

    /// The engine; while following it is waited for as long as one of the tasks has not ended.
    async fn dial(
        &self,
        node: &NodeName,
        spec: &NodeSpec,
        sources: &[Source],
    ) -> Result<Option<Arc<dyn Engine>>, Error> {
        let mut is_said = false;
        loop {
            let error = match reach::dial(&self.session, node, spec).await {
                Ok(engine) => return Ok(Some(engine)),
                Err(error) if !self.options.follow => return Err(error),
                Err(error) => error,
            };
            if !std::mem::replace(&mut is_said, true) {
                let text = format!("{}: trying again ({})", error.chain(), error.hint());
                self.session.terminal.note(&text);
            }
            if !sources.iter().any(|source| self.is_alive(source)) {
                return Ok(None);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn is_alive(&self, source: &Source) -> bool {
        self.alive.borrow().contains(&source.task)
    }

    async fn task(&self, engine: &dyn Engine, source: &Source) -> Result<(), engine::Error> {
        let mut stamps = Stamps {
            are_sent: self.options.follow || self.options.timestamps,
            are_shown: self.options.timestamps,
            ..Stamps::default()
        };
        let mut is_said = false;
        loop {
            // Asked first: what a task said before it ended is read once more after that is known.
            let was_alive = self.is_alive(source);
            match self.stream(engine, source, &mut stamps).await {
                Ok(Err(Closed)) => return Ok(()),
                Ok(Ok(())) if !self.options.follow || !was_alive => return Ok(()),
                Ok(Ok(())) => is_said = false,
                Err(error) if !self.options.follow => return Err(error),
                // The container went with its task.
                Err(engine::Error::NotFound { .. }) if !was_alive => return Ok(()),
                Err(engine::Error::NotFound { .. }) => {}
                Err(error) => {
                    if !std::mem::replace(&mut is_said, true) {
                        let text = format!("{}: {error}: trying again", source.place());
                        self.session.terminal.note(&text);
                    }
                }
            }
            stamps.shown_until = stamps.last.clone();
            tokio::time::sleep(RETRY).await;
        }
    }

    /// One stream, until it ends or breaks.
    async fn stream(
        &self,
        engine: &dyn Engine,
        source: &Source,
        stamps: &mut Stamps,
    ) -> Result<Result<(), Closed>, engine::Error> {
        let mut options = LogOptions {
            timestamps: stamps.are_sent,
            ..self.options.clone()
        };
        if let Some(time) = stamps.shown_until.as_deref().and_then(Timestamp::parse) {
            options.since = Some(time);
            options.tail = None;
        }
        let mut output = engine.logs(&source.container, &options).await?;
        let mut streams: [Lines; 2] = Default::default();
        while let Some(piece) = output.next().await {
            let piece = piece?;
            let lines = &mut streams[usize::from(piece.is_stderr)];
            for bytes in lines.take(&piece.bytes, stamps) {
                if !self.send(source, piece.is_stderr, bytes).await {
                    return Ok(Err(Closed));
                }
            }
        }
        for (index, lines) in streams.iter_mut().enumerate() {
            if let Some(bytes) = lines.last() {
                self.send(source, index == 1, bytes).await;
            }
        }
        Ok(Ok(()))
    }

    async fn send(&self, source: &Source, is_stderr: bool, bytes: Vec<u8>) -> bool {
        let line = Line {
            place: source.place(),
            is_stderr,
            bytes,
        };
        self.lines.send(line).await.is_ok()
    }
}
