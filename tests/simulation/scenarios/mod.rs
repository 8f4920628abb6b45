//! The scenarios: what users and machines do, on a fleet where nothing else goes wrong. The families do the rest.

mod nodes;
mod services;
mod store;
pub(crate) mod walks;

use crate::families::Family;
use std::collections::BTreeMap;
use std::fmt;

/// What somebody does, or a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// A user puts a value below the prefix.
    Put(&'static str, String),
    /// A user deletes a key.
    Delete(&'static str),
    /// An engine is there, and a user puts its node.
    AddNode(u64),
    /// A machine dies: its engine cannot be reached, its containers go on.
    Lose(u64),
    /// It can be reached again.
    Return(u64),
    /// Managers stop, the store's content is copied into an empty one, managers start there.
    Move,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(key, value) => write!(f, "puts {key}: {value}"),
            Self::Delete(key) => write!(f, "deletes {key}"),
            Self::AddNode(node) => write!(f, "adds node n{node}"),
            Self::Lose(node) => write!(f, "n{node} cannot be reached"),
            Self::Return(node) => write!(f, "n{node} can be reached again"),
            Self::Move => f.write_str("moves the store"),
        }
    }
}

/// A scenario.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Nodes at its begin.
    pub(crate) nodes: u64,
    /// What was there before it begins; nothing: it begins with the first process of a new cluster.
    pub(crate) before: Vec<Deed>,
    /// Seconds since its begin, and what is done then.
    pub(crate) deeds: Vec<(u64, Deed)>,
    /// A service that wants what a service of the scenario holds.
    pub(crate) rival: Option<String>,
    /// Families that find no point in it: no controller deletes a key, nothing is given free.
    pub(crate) without: &'static [Family],
    /// What runs in the end, `service.slot version`, as told by a person and not by a run.
    pub(crate) end: &'static str,
}

impl Scenario {
    /// The keys that are deleted and not put again, with what was there.
    pub(crate) fn deleted(&self) -> Vec<(&'static str, String)> {
        let mut there: BTreeMap<&'static str, String> = BTreeMap::new();
        let mut deleted = BTreeMap::new();
        let all = self
            .before
            .iter()
            .chain(self.deeds.iter().map(|(_, deed)| deed));
        for deed in all {
            match deed {
                Deed::Put(key, value) => {
                    there.insert(key, value.clone());
                    deleted.remove(key);
                }
                Deed::Delete(key) => {
                    deleted.extend(there.remove_entry(key));
                }
                Deed::AddNode(_) | Deed::Lose(_) | Deed::Return(_) | Deed::Move => {}
            }
        }
        deleted.into_iter().collect()
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = services::all();
    all.extend(nodes::all());
    all.extend(store::all());
    all
}

/// A service in few words: its size, the update's options, what a template says beside the image and a variable `V`.
fn service(size: &str, update: &str, version: u64) -> String {
    format!(
        "{{{size}, update: {{{update}}}, template: {{container: {{image: \"app:1\", env: {{V: v{version}}}}}}}}}"
    )
}

/// A change of which takes effect at once: nothing is watched after a start.
const QUICK: &str = "parallelism: 1, order: start-first, monitor: 0s";

const WEB: &str = "services/default/web";

fn web(replicas: u64, version: u64) -> Deed {
    Deed::Put(
        WEB,
        service(&format!("replicas: {replicas}"), QUICK, version),
    )
}
