//! Runs `skep store` in process, over stores in memory by their names and over real ones by their addresses.

use clap::Parser;
use futures::FutureExt;
use skep::cli::store::{Cli, code};
use skep::cli::{Doors, Terminal};
use skep::runtime::clock::{Clock, SystemClock};
use skep::sim::SimFleet;
use skep::store::Kv;
use skep::store::etcd::Etcd;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Stores in memory, by the endpoint that names them.
#[derive(Clone)]
pub(crate) struct Stores {
    by_endpoint: BTreeMap<String, Arc<dyn Kv>>,
    clock: Arc<dyn Clock>,
}

impl Default for Stores {
    fn default() -> Self {
        Self::by(Arc::new(SystemClock))
    }
}

/// What a verb said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Stores {
    /// No stores yet; verbs take their time from this clock.
    pub(crate) fn by(clock: Arc<dyn Clock>) -> Self {
        Self {
            by_endpoint: BTreeMap::new(),
            clock,
        }
    }

    pub(crate) fn with(mut self, name: &str, kv: impl Kv) -> Self {
        self.by_endpoint
            .insert(format!("http://{name}"), Arc::new(kv));
        self
    }

    /// Runs `skep store WORDS`.
    pub(crate) async fn run(&self, words: &[&str]) -> Said {
        let words = std::iter::once("skep-store").chain(words.iter().copied());
        let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
        let (terminal, captured) = Terminal::captured(b"");
        let stores = self.by_endpoint.clone();
        let doors = Doors {
            store: Box::new(move |config| {
                let known = stores.get(&config.endpoints[0]).cloned();
                async move {
                    Ok(match known {
                        Some(kv) => kv,
                        None => Arc::new(Etcd::new(&config)?),
                    })
                }
                .boxed()
            }),
            connector: Arc::new(SimFleet::new()),
            clock: self.clock.clone(),
            terminal,
            environment: BTreeMap::new(),
            directory: PathBuf::from("/"),
            interrupted: std::future::pending().boxed(),
            grammar: clap::Command::new("skep"),
        };
        let code = code(cli, doors).await;
        Said {
            code,
            out: captured.take_out(),
            err: captured.take_err(),
        }
    }

    /// Runs a verb that has to succeed.
    pub(crate) async fn ok(&self, words: &[&str]) -> Said {
        let said = self.run(words).await;
        assert_eq!(said.code, 0, "{words:?}: {said:?}");
        said
    }

    /// Runs a verb that has to be refused, and says why.
    pub(crate) async fn refused(&self, words: &[&str]) -> String {
        let said = self.run(words).await;
        assert!(said.code > 0, "{words:?}: {said:?}");
        said.err
    }
}
