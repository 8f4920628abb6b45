//! Preferences: tasks spread over the values of a label, then over those of the next one within it.
//!
//! Nodes without the label count as one value of their own, the empty one, as in Swarm.

use super::super::snapshot::{Candidate, Request};
use crate::api::uid::TaskId;
use std::collections::{BTreeMap, BTreeSet};

/// Leaves only the nodes with those values that have the fewest tasks of the service.
pub(super) fn narrow(
    request: &Request<'_>,
    candidates: &[Candidate<'_>],
    eligible: &mut Vec<usize>,
    replaced: Option<&TaskId>,
) {
    let preferences = &request.placement().preferences;
    if eligible.len() < 2 || preferences.is_empty() {
        return;
    }
    // Tasks on nodes that take none count too: a zone whose nodes are paused is not an empty zone.
    let mut all: Vec<&Candidate<'_>> = candidates.iter().collect();
    for preference in preferences {
        let value = |candidate: &Candidate<'_>| value(&preference.spread, candidate);
        let open: BTreeSet<String> = eligible
            .iter()
            .map(|place| value(&candidates[*place]))
            .collect();
        let mut counts: BTreeMap<String, u32> = open.into_iter().map(|value| (value, 0)).collect();
        for candidate in &all {
            if let Some(count) = counts.get_mut(&value(candidate)) {
                *count += candidate.count(&request.service.uid, replaced);
            }
        }
        let Some(least) = counts
            .into_iter()
            .min_by(|(a, few), (b, many)| few.cmp(many).then_with(|| a.cmp(b)))
            .map(|(value, _)| value)
        else {
            return;
        };
        eligible.retain(|place| value(&candidates[*place]) == least);
        all.retain(|candidate| value(candidate) == least);
    }
}

fn value(label: &str, candidate: &Candidate<'_>) -> String {
    let node = &candidate.node;
    let found = match (
        label.strip_prefix("node.labels."),
        label.strip_prefix("engine.labels."),
    ) {
        (Some(name), _) => node.accepted.value.metadata.labels.get(name),
        (None, Some(name)) => node.engine.and_then(|engine| engine.labels.get(name)),
        (None, None) => None,
    };
    found.cloned().unwrap_or_default()
}
