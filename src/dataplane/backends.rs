//! What follows for a kernel where nothing changes but who stands behind addresses and ports. Pure.
//!
//! It is the change that comes most often and that somebody waits for, and it concerns a few elements of maps. To see by the
//! whole that all else stays takes longer than the kernel takes for the change: with 10,000 tasks there are 75,000 things
//! to compare.

use super::kernel::Kernel;
use super::nftables::apply::apply;
use super::nftables::diff::{Change, Step, diff};
use super::nftables::elements::backends;
use super::nftables::ruleset::{Element, Ruleset, Table, TableName};
use super::shared::Shared;
use super::state::State;
use std::collections::{BTreeMap, BTreeSet};

/// The changes of a kernel's tables from one state to another; none: more than backends changes, and the whole has to be looked
/// at.
pub(super) fn changes(before: &State, after: &State, found: &Kernel) -> Option<Vec<Change>> {
    if fixed(before) != fixed(after) {
        return None;
    }
    let addresses = differing(&before.virtual_addresses, &after.virtual_addresses)?;
    let ports = differing(&before.ports, &after.ports)?;
    // Whether a program keeps its port may depend on where it leads.
    let is_met = |number| found.listeners.iter().any(|one| one.port == number);
    if ports.iter().any(|key| is_met(key.port)) {
        return None;
    }
    let [old, new] = [before, after].map(|state| State {
        virtual_addresses: only(&state.virtual_addresses, &addresses).into(),
        ports: only(&state.ports, &ports).into(),
        ..state.clone()
    });
    let changes = diff(&backends(&old), &backends(&new));
    Some(shared(changes, &found.tables))
}

/// What backends go by, or what is not about them: no change of it is a change of backends alone.
fn fixed(state: &State) -> impl PartialEq + use<'_> {
    let State {
        revision: _,
        node,
        vxlan_port,
        members,
        members6,
        networks,
        virtual_addresses: _,
        ports: _,
        health,
        names: _,
    } = state;
    (node, vxlan_port, members, members6, networks, health)
}

/// The keys of values that differ; none: other keys are there.
fn differing<K: Ord + Clone, V: Eq>(
    before: &BTreeMap<K, Shared<V>>,
    after: &BTreeMap<K, Shared<V>>,
) -> Option<BTreeSet<K>> {
    let is_same = before.len() == after.len() && before.keys().eq(after.keys());
    let pairs = before.iter().zip(after.values());
    let others = pairs.filter(|((_, old), new)| old != new);
    is_same.then(|| others.map(|((key, _), _)| key.clone()).collect())
}

fn only<K: Ord + Clone, V>(
    all: &BTreeMap<K, Shared<V>>,
    keys: &BTreeSet<K>,
) -> BTreeMap<K, Shared<V>> {
    let found = keys.iter().filter_map(|key| all.get_key_value(key));
    let found = found.map(|(key, value)| (key.clone(), value.clone()));
    found.collect()
}

/// The changes where chains are shared: one that is there is not made, one that others lead to does not go.
fn shared(mut changes: Vec<Change>, tables: &Ruleset) -> Vec<Change> {
    changes.retain(|Change { table, step }| match step {
        Step::AddChain(name, _) | Step::AppendRule(name, _) => {
            let present = tables.get(table);
            present.is_none_or(|present| !present.chains.contains_key(name))
        }
        _ => true,
    });
    let gone = changes.iter().filter_map(|change| match &change.step {
        Step::DeleteChain(name) => Some((change.table.clone(), name.clone())),
        _ => None,
    });
    let mut gone: BTreeSet<(TableName, String)> = gone.collect();
    gone.retain(|(table, chain)| {
        let of_table = changes.iter().filter(|change| change.table == *table);
        let steps: Vec<&Step> = of_table.map(|change| &change.step).collect();
        let present = tables.get(table);
        present.is_none_or(|present| !is_led_to(present, &steps, chain))
    });
    changes.retain(|Change { table, step }| match step {
        Step::EmptyChain(name) | Step::DeleteChain(name) => {
            gone.contains(&(table.clone(), name.clone()))
        }
        _ => true,
    });
    changes
}

/// Whether anything leads to a chain of a table after these steps.
fn is_led_to(table: &Table, steps: &[&Step], chain: &str) -> bool {
    let leads = |element: &Element| matches!(element, Element::Goto(to) if to == chain);
    let mut put = steps.iter().filter_map(|step| match step {
        Step::AddElements(_, _, elements) => Some(elements),
        _ => None,
    });
    let is_taken = |set: &str, key: &Vec<u8>| {
        let mut taken = steps.iter();
        taken.any(|step| matches!(step, Step::DeleteElements(of, _, elements) if of == set && elements.contains_key(key)))
    };
    let mut sets = table.sets.iter();
    let stays = sets.any(|(name, set)| {
        let mut elements = set.elements.iter();
        elements.any(|(key, element)| leads(element) && !is_taken(name, key))
    });
    stays || put.any(|elements| elements.values().any(leads))
}

/// Makes the tables what the changes made of the kernel's; false: they did not fit.
pub(super) fn note(changes: &[Change], tables: &mut Ruleset) -> bool {
    changes.iter().all(|Change { table, step }| {
        let table = tables.get_mut(table);
        table.is_some_and(|table| apply(table, step).is_ok())
    })
}
