//! What was asked and what came of it, counted since the agent started.

use super::answer::Kind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};

/// What there is to say of names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamesReport {
    /// Questions, by kind: `a`, `aaaa`, `ptr`, `srv`, `other`, and `unreadable`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub queries: BTreeMap<String, u64>,
    /// Those that the node's resolvers answered.
    pub forwarded: u64,
    /// Those that they did not answer, or that were too many at once.
    pub failed: u64,
    /// Those of askers that are nobody's, and those that nobody gets an answer to.
    pub refused: u64,
    /// Gateway addresses on which nothing listens, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unserved: BTreeMap<Ipv4Addr, String>,
}

impl NamesReport {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

const WORDS: [&str; 6] = ["a", "aaaa", "ptr", "srv", "other", "unreadable"];

/// The counters.
#[derive(Debug, Default)]
pub struct Counts {
    queries: [AtomicU64; WORDS.len()],
    forwarded: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
}

/// What came of a question that is not answered from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The node's resolvers answered.
    Forwarded,
    /// Nobody did.
    Failed,
    /// It gets no answer.
    Refused,
}

impl Counts {
    /// Counts a question; `None`: it could not be read.
    pub fn ask(&self, kind: Option<Kind>) {
        let place = match kind {
            Some(Kind::A) => 0,
            Some(Kind::Aaaa) => 1,
            Some(Kind::Ptr) => 2,
            Some(Kind::Srv) => 3,
            Some(Kind::Any | Kind::Transfer | Kind::Other) => 4,
            None => 5,
        };
        add(&self.queries[place]);
    }

    /// Counts what came of one.
    pub fn note(&self, outcome: Outcome) {
        add(match outcome {
            Outcome::Forwarded => &self.forwarded,
            Outcome::Failed => &self.failed,
            Outcome::Refused => &self.refused,
        });
    }

    /// What was counted.
    pub fn report(&self) -> NamesReport {
        let queries = WORDS.iter().zip(&self.queries);
        let queries = queries.map(|(word, count)| ((*word).to_owned(), get(count)));
        NamesReport {
            queries: queries.filter(|(_, count)| *count > 0).collect(),
            forwarded: get(&self.forwarded),
            failed: get(&self.failed),
            refused: get(&self.refused),
            unserved: BTreeMap::new(),
        }
    }
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}
