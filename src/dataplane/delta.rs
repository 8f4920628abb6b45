//! What leads from one state to another, as few changes as the words of [`Change`] allow. Pure.

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
    differ(
        &before.members,
        &after.members,
        &mut changes,
        Change::Member,
    );
    networks(before, after, &mut changes);
    let (old, new) = (&before.virtual_addresses, &after.virtual_addresses);
    differ(old, new, &mut changes, Change::VirtualAddress);
    differ(&before.ports, &after.ports, &mut changes, Change::Port);
    match changes.is_empty() {
        true => Way::Same,
        false => Way::Delta(Delta {
            from: before.revision,
            to: after.revision,
            changes,
        }),
    }
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
            Some(old) if is_alike(old, new) => {
                differ(&old.tasks, &new.tasks, changes, |address, node| {
                    Change::Task(*vni, address, node)
                });
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
        mtu,
        internal,
        nodes,
        tasks: _,
    } = one;
    (subnet, gateway, mtu, internal, nodes)
        == (
            &other.subnet,
            &other.gateway,
            &other.mtu,
            &other.internal,
            &other.nodes,
        )
}

fn differ<K: Ord + Copy, V: PartialEq + Clone>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    changes: &mut Vec<Change>,
    change: impl Fn(K, Option<V>) -> Change,
) {
    let gone = before.keys().filter(|key| !after.contains_key(key));
    changes.extend(gone.map(|key| change(*key, None)));
    let put = after
        .iter()
        .filter(|(key, value)| before.get(key) != Some(value));
    changes.extend(put.map(|(key, value)| change(*key, Some(value.clone()))));
}
