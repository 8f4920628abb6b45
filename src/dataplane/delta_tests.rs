//! What leads from one state to another.

use super::delta::*;
use super::dns::names::{Names, ServiceNames};
use super::shared::Shared;
use super::state::{Network, State};
use crate::api::service::{Locality, Protocol, SessionAffinity, Source};
use crate::api::unit::Port;
use crate::dataplane::dns::names::TaskName;
use crate::dataplane::state::{
    HealthPort, NodeIndex, PublishedKey, PublishedPort, StateRevision, VXLAN_PORT, VirtualAddress,
    Vni,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A state of up to two networks with up to three tasks each; each number chooses one thing of it.
fn state(revision: u64, choices: &[u8]) -> State {
    let mut state = State {
        revision: StateRevision(revision),
        node: NodeIndex(1),
        vxlan_port: VXLAN_PORT,
        members: Shared::default(),
        members6: Shared::default(),
        networks: BTreeMap::new(),
        virtual_addresses: Shared::default(),
        ports: Shared::default(),
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

/// The same state on another node.
fn on(node: u16, state: &State) -> State {
    let node = NodeIndex(node);
    State {
        node,
        ..state.clone()
    }
}

#[test]
fn states_are_one_that_hold_the_same_on_whatever_node() {
    let before = state(1, &[1; 16]);
    assert!(is_one(&before, &on(2, &before)));
    let changes: [fn(&mut State); 9] = [
        |state| state.revision.0 += 1,
        |state| state.vxlan_port.0 += 1,
        |state| state.members.clear(),
        |state| state.members6.clear(),
        |state| state.networks.clear(),
        |state| state.virtual_addresses.clear(),
        |state| state.ports.clear(),
        |state| state.health.clear(),
        |state| state.names = Names::default(),
    ];
    for (place, change) in changes.iter().enumerate() {
        let mut after = before.clone();
        change(&mut after);
        assert!(!is_one(&before, &after), "change {place}");
        assert!(!is_one(&after, &before), "change {place}, back");
    }
    let again = state(1, &[1; 16]);
    assert_eq!(before, again);
    assert!(
        !is_one(&before, &again),
        "what is held twice is not compared"
    );
}

proptest! {
    #[test]
    fn the_way_of_one_node_is_that_of_all_that_hold_the_same(
        before in prop::collection::vec(0..3u8, 16),
        after in prop::collection::vec(0..3u8, 16),
    ) {
        let (before, after) = (state(1, &before), state(2, &after));
        prop_assert!(is_one(&before, &on(7, &before)) && is_one(&after, &on(7, &after)));
        prop_assert_eq!(way(&before, &after), way(&on(7, &before), &on(7, &after)));
    }

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
