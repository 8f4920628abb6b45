//! Everything about a spec that can be checked without a store or a node.
//!
//! Each check looks at the whole object and says all that is wrong with it. What is asked for and not provided yet is
//! refused here only where accepting it would be a lie with consequences (jobs, secrets, inline keys); the rest is
//! accepted and reported as a condition.

mod container;
mod network;
mod node;
mod service;
#[cfg(test)]
mod tests;

use super::path::Path;

pub use network::network;
pub use node::node;
pub use service::service;

/// The prefix of the labels that say which containers are ours (rule C1).
pub const OWN_LABELS: &str = "dev.skep.";

/// Something that a spec may not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The field, from the spec.
    pub path: Path,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Collects refusals.
#[derive(Default)]
struct Found(Vec<Refusal>);

impl Found {
    fn refuse(&mut self, path: Path, message: impl Into<String>) {
        let message = message.into();
        self.0.push(Refusal { path, message });
    }

    fn refuse_if(&mut self, wrong: bool, path: impl FnOnce() -> Path, message: impl Into<String>) {
        if wrong {
            self.refuse(path(), message);
        }
    }

    fn one_of(&mut self, path: Path, value: Option<&String>, allowed: &[&str]) {
        if let Some(value) = value.filter(|value| !allowed.contains(&value.as_str())) {
            let message = format!("expected one of {}, found {value:?}", allowed.join(", "));
            self.refuse(path, message);
        }
    }
}
