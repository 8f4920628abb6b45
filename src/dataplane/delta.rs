//! What leads from one state to another, as few changes as the words of [`Change`] allow. Pure.

use super::dns::names::{Names, ServiceNames};
use super::shared::Shared;
use super::state::{Change, Delta, Network, State};
use std::collections::BTreeMap;

/// How an agent that has one state gets to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is there, but for the number of the state.
    Same,
    /// By these changes.
    Delta(Delta),
    /// Only by the whole state: it became another node, or VXLAN arrives elsewhere.
    Whole,
}

/// The way from one state to another.
pub fn way(before: &State, after: &State) -> Way {
    if (before.node, before.vxlan_port) != (after.node, after.vxlan_port) {
        return Way::Whole;
    }
    let mut changes = Vec::new();
    let (old, new) = (&before.members, &after.members);
    differ_once(old, new, &mut changes, Change::Member);
    let (old, new) = (&before.members6, &after.members6);
    differ_once(old, new, &mut changes, Change::Member6);
    networks(before, after, &mut changes);
    let (old, new) = (&before.virtual_addresses, &after.virtual_addresses);
    differ_once(old, new, &mut changes, Change::VirtualAddress);
    differ_once(&before.ports, &after.ports, &mut changes, Change::Port);
    differ(&before.health, &after.health, &mut changes, Change::Health);
    names(&before.names, &after.names, &mut changes);
    match changes.is_empty() {
        true => Way::Same,
        false => Way::Delta(Delta {
            from: before.revision,
            to: after.revision,
            changes,
        }),
    }
}

/// Whether two states are one but for their node, as far as that is seen without a walk through what is held once: where it is
/// true, what leads from or to the one does so with the other.
pub fn is_one(one: &State, other: &State) -> bool {
    let State {
        revision,
        node: _,
        vxlan_port,
        members,
        members6,
        networks,
        virtual_addresses,
        ports,
        health,
        names,
    } = one;
    let Names {
        namespaces,
        askers,
        services,
    } = names;
    let mut pairs = networks.iter().zip(&other.networks);
    (revision, vxlan_port) == (&other.revision, &other.vxlan_port)
        && members.is_same(&other.members)
        && members6.is_same(&other.members6)
        && virtual_addresses.is_same(&other.virtual_addresses)
        && ports.is_same(&other.ports)
        && services.is_same(&other.names.services)
        && networks.len() == other.networks.len()
        && pairs.all(|(one, other)| one.0 == other.0 && one.1.is_same(other.1))
        && health == &other.health
        && (namespaces, askers) == (&other.names.namespaces, &other.names.askers)
}

/// A network that only gained or lost tasks changes task by task; any other change puts it whole.
fn networks(before: &State, after: &State, changes: &mut Vec<Change>) {
    for vni in before.networks.keys() {
        if !after.networks.contains_key(vni) {
            changes.push(Change::Network(*vni, None));
        }
    }
    for (vni, new) in &after.networks {
        match before.networks.get(vni) {
            Some(old) if old.is_same(new) => {}
            Some(old) if is_alike(old, new) => {
                differ(&old.tasks, &new.tasks, changes, |address, node| {
                    Change::Task(*vni, address, node)
                });
                let bridged = old.bridged.symmetric_difference(&new.bridged);
                differ(
                    &old.addresses6,
                    &new.addresses6,
                    changes,
                    |address, other| Change::Address6(*vni, address, other),
                );
                changes.extend(
                    bridged.map(|address| {
                        Change::Bridged(*vni, *address, new.bridged.contains(address))
                    }),
                );
            }
            Some(_) | None => changes.push(Change::Network(*vni, Some(new.clone()))),
        }
    }
}

/// Whether two networks are the same but for their tasks.
fn is_alike(one: &Network, other: &Network) -> bool {
    let Network {
        subnet,
        gateway,
        subnet6,
        mtu,
        internal,
        nodes,
        tasks: _,
        bridged: _,
        addresses6: _,
    } = one;
    (subnet, gateway, subnet6, mtu, internal, nodes)
        == (
            &other.subnet,
            &other.gateway,
            &other.subnet6,
            &other.mtu,
            &other.internal,
            &other.nodes,
        )
}

/// A service of which tasks came or went changes task by task; any other change puts it whole.
fn names(before: &Names, after: &Names, changes: &mut Vec<Change>) {
    let (old, new) = (&before.namespaces, &after.namespaces);
    differ(old, new, changes, Change::Namespace);
    differ(&before.askers, &after.askers, changes, Change::Asker);
    if before.services.is_same(&after.services) {
        return;
    }
    for name in before.services.keys() {
        if !after.services.contains_key(name) {
            changes.push(Change::Service(name.clone(), None));
        }
    }
    for (name, new) in &after.services {
        match before.services.get(name) {
            Some(old) if old.is_same(new) => {}
            Some(old) if is_named_alike(old, new) => {
                differ(&old.tasks, &new.tasks, changes, |container, task| {
                    Change::ServiceTask(name.clone(), container, task)
                });
            }
            Some(_) | None => changes.push(Change::Service(name.clone(), Some(new.clone()))),
        }
    }
}

/// Whether two services are called the same but for their tasks.
fn is_named_alike(one: &ServiceNames, other: &ServiceNames) -> bool {
    let ServiceNames {
        networks,
        is_round_robin,
        aliases,
        ports,
        tasks: _,
    } = one;
    (networks, is_round_robin, aliases, ports)
        == (
            &other.networks,
            &other.is_round_robin,
            &other.aliases,
            &other.ports,
        )
}

/// What differs between two maps that may be one.
fn differ_once<K: Ord + Clone, V: PartialEq + Clone>(
    before: &Shared<BTreeMap<K, V>>,
    after: &Shared<BTreeMap<K, V>>,
    changes: &mut Vec<Change>,
    change: impl Fn(K, Option<V>) -> Change,
) {
    if !before.is_same(after) {
        differ(before, after, changes, change);
    }
}

/// What differs between two maps, in one walk along both.
fn differ<K: Ord + Clone, V: PartialEq + Clone>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    changes: &mut Vec<Change>,
    change: impl Fn(K, Option<V>) -> Change,
) {
    let mut put = Vec::new();
    let mut old = before.iter().peekable();
    for (key, value) in after {
        while let Some((gone, _)) = old.next_if(|(known, _)| *known < key) {
            changes.push(change(gone.clone(), None));
        }
        let known = old.next_if(|(known, _)| *known == key);
        if known.map(|(_, known)| known) != Some(value) {
            put.push(change(key.clone(), Some(value.clone())));
        }
    }
    changes.extend(old.map(|(gone, _)| change(gone.clone(), None)));
    // What is gone first: its address may be another's by now.
    changes.append(&mut put);
}
