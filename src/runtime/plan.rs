//! Plans: what a pure planner decided, as data for the executors.
//!
//! A planner never acts. It returns steps (store writes that happen together or not at all), notes (events), engine
//! orders, and when to look again. `runtime::apply` writes the steps under the controller's fence, in order; nothing
//! meaningful is decided after planning.

use super::cache::Cache;
use crate::api::cluster::Severity;
use crate::api::key::Key;
use crate::api::uid::Uid;
use crate::api::unit::Revision;
use crate::metrics::list::Family;
use serde::Serialize;
use std::time::Duration;

/// What a planner decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Store writes, in order.
    pub steps: Vec<Step>,
    /// Whether the steps have nothing to do with each other: they may be written in any order, several at once, and one
    /// that does not hold stops no other.
    pub is_unordered: bool,
    /// Events for users.
    pub notes: Vec<Note>,
    /// Plan again after this long, even if nothing changes.
    pub look_again: Option<Duration>,
    /// What is counted once the steps are written.
    pub counts: Vec<Count>,
}

/// Something that a metric counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// The counter.
    pub family: &'static Family,
    /// The value of its only label.
    pub label: &'static str,
    /// How many.
    pub amount: u64,
}

/// Writes that happen together, if what they expect holds. At most 127 writes and expectations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// All have to hold, beside the controller's own fence.
    pub expects: Vec<Expect>,
    /// What is written then.
    pub writes: Vec<Write>,
}

/// A condition of a step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expect {
    /// The key does not exist: a claim.
    Missing(Key),
    /// The key was last written at this revision.
    Unchanged(Key, Revision),
    /// The store's history has this write. Of what is written in one transaction only the newest such write is compared: a
    /// history that has it has the earlier ones too. For what nobody takes back without first changing something that the
    /// same step compares.
    Known(Key, Revision),
    /// No key begins with this, which ends in `/`; without the prefix of all keys. Not for keys that the same controller
    /// writes: a transaction compares all before its first write, and a write of one below it may be in the same.
    NoneBelow(String),
}

/// One write of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Writes a key.
    Put(Key, Vec<u8>),
    /// Deletes a key.
    Delete(Key),
}

/// Something to tell users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The tail of the object's key: `services/default/web`, `tasks/default/web/<id>`, `nodes/n1`.
    pub object: String,
    /// Its uid, where it has one.
    pub uid: Option<Uid>,
    /// How much it matters.
    pub severity: Severity,
    /// A `PascalCase` word.
    pub reason: &'static str,
    /// The same for people.
    pub message: String,
}

impl Plan {
    /// Writes `value` at `key`, on its own.
    pub fn put(&mut self, key: Key, value: &impl Serialize) {
        self.steps.push(Step::default().put(key, value));
    }

    /// Deletes `key`, on its own.
    pub fn delete(&mut self, key: Key) {
        self.steps.push(Step::default().delete(key));
    }

    /// Adds a step unless it is empty.
    pub fn push(&mut self, step: Step) {
        if !step.writes.is_empty() {
            self.steps.push(step);
        }
    }

    /// Adds an event.
    pub fn note(
        &mut self,
        object: impl ToString,
        uid: Option<&Uid>,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.notes.push(Note {
            object: object.to_string(),
            uid: uid.cloned(),
            severity,
            reason,
            message: message.into(),
        });
    }

    /// Counts something for people who watch the metrics.
    pub fn count(&mut self, family: &'static Family, label: &'static str, amount: usize) {
        self.counts.push(Count {
            family,
            label,
            amount: amount as u64,
        });
    }

    /// Plans again after `delay` at the latest.
    pub fn look_again(&mut self, delay: Duration) {
        self.look_again = Some(self.look_again.map_or(delay, |earlier| earlier.min(delay)));
    }

    /// Whether nothing is to be written.
    pub fn is_in_step(&self) -> bool {
        self.steps.is_empty()
    }
}

impl Step {
    /// Also writes `value` at `key`.
    #[must_use]
    pub fn put(mut self, key: Key, value: &impl Serialize) -> Self {
        self.writes.push(Write::Put(key, encode(value)));
        self
    }

    /// Also deletes `key`.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.writes.push(Write::Delete(key));
        self
    }

    /// Only if `key` does not exist.
    #[must_use]
    pub fn if_missing(mut self, key: Key) -> Self {
        self.expects.push(Expect::Missing(key));
        self
    }

    /// Only if no key begins with `prefix`, whatever the cache shows.
    #[must_use]
    pub fn if_none_below(mut self, prefix: String) -> Self {
        self.expects.push(Expect::NoneBelow(prefix));
        self
    }

    /// Only if `key` is as the cache shows it.
    #[must_use]
    pub fn if_unchanged(mut self, cache: &Cache, key: Key) -> Self {
        self.expects.push(match cache.mod_revision(&key) {
            Some(revision) => Expect::Unchanged(key, revision),
            None => Expect::Missing(key),
        });
        self
    }
}

/// A record as it is stored: JSON.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("records have string keys and no failing serialisers")
}
