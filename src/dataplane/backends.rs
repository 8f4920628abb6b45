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
use super::state::{PublishedPort, State, VirtualAddress};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// What of a state leads elsewhere than it did.
type Parts = (
    BTreeMap<Ipv4Addr, Shared<VirtualAddress>>,
    BTreeMap<super::state::PublishedKey, Shared<PublishedPort>>,
);

/// The changes of a kernel's tables from one state to another; none: more than backends changes, and the whole has to be looked
/// at.
pub(super) fn changes(before: &State, after: &State, found: &Kernel) -> Option<Vec<Change>> {
    let fixed = |state: &State| {
        let State {
            node,
            vxlan_port,
            members,
            members6,
            networks,
            health,
            ..
        } = state.clone();
        (node, vxlan_port, members, members6, networks, health)
    };
    if fixed(before) != fixed(after) {
        return None;
    }
    let (old_addresses, addresses) =
        differing(&before.virtual_addresses, &after.virtual_addresses)?;
    let (old_ports, ports) = differing(&before.ports, &after.ports)?;
    // Whether a program keeps its port may depend on where it leads.
    let is_met = |number| found.listeners.iter().any(|one| one.port == number);
    if ports.keys().any(|key| is_met(key.port)) {
        return None;
    }
    let [old, new] =
        [(old_addresses, old_ports), (addresses, ports)].map(|parts| part(after, parts));
    let changes = diff(&backends(&old), &backends(&new));
    Some(shared(changes, &found.tables))
}

/// The values that differ, before and after; none: other keys are there.
#[expect(clippy::type_complexity, reason = "two of what it is given")]
fn differing<K: Ord + Clone, V: Eq>(
    before: &BTreeMap<K, Shared<V>>,
    after: &BTreeMap<K, Shared<V>>,
) -> Option<(BTreeMap<K, Shared<V>>, BTreeMap<K, Shared<V>>)> {
    if before.len() != after.len() {
        return None;
    }
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    for ((key, value), (other_key, other)) in before.iter().zip(after) {
        if key != other_key {
            return None;
        }
        if value != other {
            old.insert(key.clone(), value.clone());
            new.insert(key.clone(), other.clone());
        }
    }
    Some((old, new))
}

/// A state with nothing that leads anywhere but these.
fn part(state: &State, (virtual_addresses, ports): Parts) -> State {
    State {
        revision: state.revision,
        node: state.node,
        vxlan_port: state.vxlan_port,
        members: state.members.clone(),
        members6: state.members6.clone(),
        networks: state.networks.clone(),
        virtual_addresses: virtual_addresses.into(),
        ports: ports.into(),
        health: BTreeMap::new(),
        names: Default::default(),
    }
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
