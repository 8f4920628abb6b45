//! Explain: why tasks wait, and the smallest change that would let one go. Pure.

use super::filter::{ORDER, Refused};
use crate::api::name::NodeName;
use crate::api::status::{Refusal, Waiting};
use crate::api::unit::RevisionNumber;
use std::collections::BTreeMap;

/// What refuses the tasks of one revision that wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Explanation {
    /// How many wait.
    pub(super) tasks: u32,
    /// Per node, the first filter that refused.
    pub(super) nodes: BTreeMap<NodeName, Refused>,
}

impl Explanation {
    /// The same for people and tools.
    pub(super) fn waiting(&self, revision: RevisionNumber) -> Waiting {
        let mut filters: BTreeMap<String, u32> = BTreeMap::new();
        for refused in self.nodes.values() {
            *filters.entry(refused.filter.to_owned()).or_default() += 1;
        }
        let nodes = self
            .nodes
            .iter()
            .map(|(node, refused)| {
                let refusal = Refusal {
                    filter: refused.filter.to_owned(),
                    message: refused.message.clone(),
                };
                (node.to_string(), refusal)
            })
            .collect();
        Waiting {
            revision,
            tasks: self.tasks,
            filters,
            nodes,
            message: self.message(),
        }
    }

    fn message(&self) -> String {
        let Some((node, closest)) = self.closest() else {
            return "no suitable node: there is none; add one with `skep node add`".into();
        };
        let total = self.nodes.len();
        let parts: Vec<String> = ORDER
            .iter()
            .filter_map(|filter| {
                let of_filter = |refused: &&Refused| refused.filter == *filter;
                let count = self.nodes.values().filter(of_filter).count();
                (count > 0).then(|| format!("{count} of {total} by {filter}"))
            })
            .collect();
        format!(
            "no suitable node: {}; nearest is {node}, which {}: {}",
            parts.join(", "),
            which(closest),
            closest.remedy
        )
    }

    /// The node that got through the most filters: it takes the least to make it fit.
    fn closest(&self) -> Option<(&NodeName, &Refused)> {
        let reached = |refused: &Refused| ORDER.iter().position(|filter| *filter == refused.filter);
        // The first of equals by name.
        self.nodes
            .iter()
            .rev()
            .max_by_key(|(_, refused)| reached(refused))
    }
}

fn which(refused: &Refused) -> String {
    match refused.message.starts_with("host port") {
        true => format!("has no room, as {}", refused.message),
        false => refused.message.clone(),
    }
}
