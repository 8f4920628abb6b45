//! What leads from one state to another, as few changes as the words of [`Change`] allow. Pure.

use super::dns::names::{Names, ServiceNames};
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
    let (old, new) = (&before.members6, &after.members6);
    differ(old, new, &mut changes, Change::Member6);
    networks(before, after, &mut changes);
    let (old, new) = (&before.virtual_addresses, &after.virtual_addresses);
    differ(old, new, &mut changes, Change::VirtualAddress);
    differ(&before.ports, &after.ports, &mut changes, Change::Port);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::service::{Locality, Protocol, SessionAffinity, Source};
    use crate::api::unit::Port;
    use crate::dataplane::dns::names::TaskName;
    use crate::dataplane::state::{
        HealthPort, NodeIndex, PublishedKey, PublishedPort, StateRevision, VXLAN_PORT,
        VirtualAddress, Vni,
    };
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// A state of up to two networks with up to three tasks each; each number chooses one thing of it.
    fn state(revision: u64, choices: &[u8]) -> State {
        let mut state = State {
            revision: StateRevision(revision),
            node: NodeIndex(1),
            vxlan_port: VXLAN_PORT,
            members: BTreeMap::new(),
            members6: BTreeMap::new(),
            networks: BTreeMap::new(),
            virtual_addresses: BTreeMap::new(),
            ports: BTreeMap::new(),
            health: BTreeMap::new(),
            names: Names::default(),
        };
        for index in (1..=3).filter(|index| *index == 1 || choices[usize::from(*index)] > 0) {
            let address = Ipv4Addr::new(192, 0, 2, choices[0] + u8::try_from(index).unwrap_or(0));
            state.members.insert(NodeIndex(index), address);
            let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, choices[0].into());
            let others = (choices[0] > 0).then_some([other].into());
            state
                .members6
                .extend(others.map(|others| (NodeIndex(index), others)));
        }
        for (third, choices) in [4u8, 5].into_iter().zip(choices[4..].chunks(6)) {
            if choices[0] > 0 {
                add_network(&mut state, third, choices);
            }
        }
        state
    }

    fn add_network(state: &mut State, third: u8, choices: &[u8]) {
        let address = |last| Ipv4Addr::new(10, 1, third, last);
        let there = (1u8..=3).filter(|task| choices[usize::from(*task)] > 0);
        let there = there.map(|task| {
            (
                address(9 + task),
                NodeIndex(choices[usize::from(task)].into()),
            )
        });
        let tasks: BTreeMap<_, _> = there.collect();
        let backends: std::collections::BTreeSet<_> =
            tasks.keys().take(choices[4].into()).copied().collect();
        let network = Network {
            subnet: format!("10.1.{third}.0/24").parse().expect("a subnet"),
            gateway: address(1),
            mtu: 1_400 + u32::from(choices[5]),
            internal: false,
            nodes: [NodeIndex(1)].into(),
            subnet6: Some(format!("fd00:{third}::/64").parse().expect("a subnet")),
            addresses6: tasks
                .keys()
                .take(choices[5].into())
                .map(|address| {
                    (
                        *address,
                        Ipv6Addr::new(0xfd00, third.into(), 0, 0, 0, 0, 1, 1),
                    )
                })
                .collect(),
            bridged: tasks.keys().skip(choices[5].into()).copied().collect(),
            tasks,
        };
        state.networks.insert(Vni(third.into()), network.into());
        let value = VirtualAddress {
            backends: backends.clone(),
            affinity: SessionAffinity::None,
        };
        state.virtual_addresses.insert(address(2), value.into());
        let key = PublishedKey {
            protocol: Protocol::Tcp,
            address: None,
            port: Port(8_000 + 10 * u16::from(third) + u16::from(choices[5])),
        };
        let value = PublishedPort {
            target: Port(80),
            backends,
            source: Source::default(),
            locality: Locality::default(),
            affinity: SessionAffinity::None,
        };
        state.ports.insert(key, value.into());
        if choices[1] > 0 {
            let port = Port(30_000 + u16::from(third));
            let service = format!("n{}/web", choices[1]);
            let ports = [key].into();
            state.health.insert(port, HealthPort { service, ports });
        }
        add_names(state, third, choices);
    }

    fn add_names(state: &mut State, third: u8, choices: &[u8]) {
        let vni = Vni(third.into());
        let address = |last| Ipv4Addr::new(10, 1, third, last);
        let called = |task: u8| {
            let slot = task.to_string();
            let addresses = [(vni, address(9 + task))].into();
            (format!("web.{task}.id"), TaskName { slot, addresses })
        };
        let service = ServiceNames {
            networks: [(vni, Some(address(2)))].into(),
            is_round_robin: choices[5] == 2,
            tasks: (1..=choices[4]).map(called).collect(),
            ..ServiceNames::default()
        };
        let names = &mut state.names;
        names.namespaces.insert(vni, format!("n{}", choices[1]));
        let all = state.networks.keys().copied().collect();
        names.askers.insert(address(10), all);
        names
            .services
            .insert(format!("web{third}.shop"), service.into());
    }

    fn changes(before: &[u8], after: &[u8]) -> usize {
        match way(&state(1, before), &state(2, after)) {
            Way::Same => 0,
            Way::Delta(delta) => delta.changes.len(),
            Way::Whole => panic!("the node is the same"),
        }
    }

    #[test]
    fn one_thing_is_one_change() {
        let before = [0, 1, 1, 1, 1, 1, 1, 1, 2, 0, 1, 1, 1, 1, 2, 0];
        let with = |at: usize, value: u8| {
            let mut after = before;
            after[at] = value;
            changes(&before, &after)
        };
        assert_eq!(changes(&before, &before), 0);
        assert_eq!(with(2, 0), 1, "a member goes");
        assert_eq!(with(7, 2), 1, "a task is elsewhere");
        assert_eq!(
            with(7, 0),
            2,
            "a task goes that nobody leads to, and from bridges"
        );
        assert_eq!(
            with(8, 1),
            3,
            "a backend leaves its address, its port and its names"
        );
        assert_eq!(
            with(9, 1),
            4,
            "another network, and another port for the one before, which its health is of"
        );
        assert_eq!(with(9, 2), 5, "and a service that is called otherwise");
        assert_eq!(
            with(4, 0),
            8,
            "a network with its address, ports, namespace and service, and who asks on it"
        );
    }

    #[test]
    fn another_node_needs_the_whole() {
        let before = state(1, &[1; 16]);
        let mut after = before.clone();
        after.node = NodeIndex(2);
        assert_eq!(way(&before, &after), Way::Whole);
    }

    proptest! {
        #[test]
        fn the_way_leads_there(
            before in prop::collection::vec(0..3u8, 16),
            after in prop::collection::vec(0..3u8, 16),
        ) {
            let (before, after) = (state(1, &before), state(2, &after));
            prop_assert_eq!(after.check(), Ok(()));
            match way(&before, &after) {
                Way::Same => prop_assert_eq!(State { revision: after.revision, ..before }, after),
                Way::Delta(delta) => prop_assert_eq!(before.after(delta), Ok(after)),
                Way::Whole => prop_assert!(false, "the node is the same"),
            }
        }
    }
}
