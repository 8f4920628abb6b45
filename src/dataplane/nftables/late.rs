//! What of a change has to wait for the rest of it. Pure.

use super::diff::{Change, Step};
use super::ruleset::TableName;
use super::tables::name;
use std::collections::{BTreeMap, BTreeSet};

/// The maps that a packet is led to by another one.
const SLOTS: [&str; 3] = [name::SERVICE_SLOTS, name::PORT_SLOTS, name::PORT_AT_SLOTS];

/// Parts the backends that go from all else, for a batch of their own behind it.
///
/// The kernel changes all tables at once, but a packet that is on its way through them looks into each map as it is at that moment: it
/// may have been told how many backends there are a moment before one goes, and not find it a moment after. It would be
/// translated to nobody, and refused.
pub(in crate::dataplane) fn part(changes: Vec<Change>) -> (Vec<Change>, Vec<Change>) {
    // One whose value changes is there all the time.
    let stays = |of: &TableName, set: &str, key: &Vec<u8>| {
        changes.iter().any(|Change { table, step }| match step {
            Step::AddElements(name, _, new) => table == of && name == set && new.contains_key(key),
            _ => false,
        })
    };
    let mut gone = BTreeSet::new();
    for Change { table, step } in &changes {
        if let Step::DeleteElements(set, _, elements) = step
            && SLOTS.contains(&set.as_str())
        {
            let keys = elements.keys().filter(|key| !stays(table, set, key));
            gone.extend(keys.map(|key| (table.clone(), set.clone(), key.clone())));
        }
    }
    let (mut first, mut late) = (Vec::new(), Vec::new());
    for Change { table, step } in changes {
        let Step::DeleteElements(set, shape, elements) = step else {
            first.push(Change { table, step });
            continue;
        };
        let is_late = |key: &Vec<u8>| gone.contains(&(table.clone(), set.clone(), key.clone()));
        let (after, now): (BTreeMap<_, _>, BTreeMap<_, _>) =
            elements.into_iter().partition(|(key, _)| is_late(key));
        for (elements, to) in [(now, &mut first), (after, &mut late)] {
            if !elements.is_empty() {
                let (table, set) = (table.clone(), set.clone());
                let step = Step::DeleteElements(set, shape, elements);
                to.push(Change { table, step });
            }
        }
    }
    (first, late)
}
