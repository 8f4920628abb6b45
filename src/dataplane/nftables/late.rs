//! What of a change has to wait for the rest of it. Pure.

use super::diff::{Change, Step};
use super::tables::name;
use std::collections::BTreeMap;

/// The maps that a packet is led to by another one.
const SLOTS: [&str; 3] = [name::SERVICE_SLOTS, name::PORT_SLOTS, name::PORT_AT_SLOTS];

/// Parts the backends that go from all else, for a batch of their own behind it.
///
/// The kernel changes all tables at once, but a packet that is on its way through them looks into each map as it is at that moment: it
/// may have been told how many backends there are a moment before one goes, and not find it a moment after. It would be
/// translated to nobody, and refused.
pub(in crate::dataplane) fn part(changes: Vec<Change>) -> (Vec<Change>, Vec<Change>) {
    let mut late = Vec::new();
    let mut first = Vec::new();
    let comes = |of: &Change, set: &str, key: &Vec<u8>| {
        let mut all = changes.iter().filter(|change| change.table == of.table);
        all.any(|change| {
            matches!(&change.step, Step::AddElements(name, _, new) if name == set && new.contains_key(key))
        })
    };
    for change in &changes {
        let Step::DeleteElements(set, shape, gone) = &change.step else {
            first.push(change.clone());
            continue;
        };
        // One whose value changes is there all the time.
        let is_late = |key: &Vec<u8>| SLOTS.contains(&set.as_str()) && !comes(change, set, key);
        let (after, now): (BTreeMap<_, _>, BTreeMap<_, _>) =
            gone.clone().into_iter().partition(|(key, _)| is_late(key));
        for (elements, to) in [(now, &mut first), (after, &mut late)] {
            if !elements.is_empty() {
                let table = change.table.clone();
                let step = Step::DeleteElements(set.clone(), *shape, elements);
                to.push(Change { table, step });
            }
        }
    }
    (first, late)
}
