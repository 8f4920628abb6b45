//! States and what leads from one to the next.

use super::state::*;
use crate::api::unit::Port;
use std::net::Ipv4Addr;

/// A node of two with one network, a task on each, a virtual address, and ports.
pub(crate) fn example() -> State {
    let text = r#"{
        "revision": 7, "node": 1,
        "members": {"1": "172.31.0.11", "2": "172.31.0.12"},
        "networks": {"4097": {
            "subnet": "10.100.1.0/24", "gateway": "10.100.1.1", "mtu": 1450, "nodes": [1, 2],
            "tasks": {"10.100.1.11": 1, "10.100.1.21": 2}
        }},
        "virtualAddresses": {"10.100.1.200": {"backends": ["10.100.1.11", "10.100.1.21"]}},
        "ports": {
            "tcp/8080": {"target": 80, "backends": ["10.100.1.11", "10.100.1.21"]},
            "udp/172.31.0.11:53": {"target": 5353, "backends": ["10.100.1.21"], "affinity": "clientIP"}
        }
    }"#;
    serde_json::from_str(text).expect("it reads")
}

/// The same, with IPv6: its network carries it, and one port is open on an address of it alone.
pub(crate) fn dual_example() -> State {
    let mut state = example();
    for network in state.networks.values_mut() {
        network.subnet6 = Some("fd00:1::/64".parse().expect("a subnet"));
    }
    let port = state.ports.values().next().expect("a port").clone();
    let key = "tcp/[2001:db8::11]:8443".parse().expect("a key");
    state.ports.insert(key, port);
    state
}

#[test]
fn a_state_reads_and_is_written_the_same() {
    let state = example();
    assert_eq!(state.vxlan_port, VXLAN_PORT);
    assert_eq!(state.check(), Ok(()));
    let text = serde_json::to_string(&state).expect("it is written");
    assert_eq!(
        serde_json::from_str::<State>(&text).expect("it reads"),
        state
    );
    let unknown = text.replace("\"mtu\"", "\"encryption\": true, \"mtu\"");
    let error = serde_json::from_str::<State>(&unknown).expect_err("half a state is none");
    assert!(
        error.to_string().contains("unknown field `encryption`"),
        "{error}"
    );
}

#[test]
fn a_change_leads_from_one_state_to_the_next() {
    let state = example();
    let key: PublishedKey = "tcp/8080".parse().expect("a port");
    let mut port = state.ports[&key].clone();
    port.target = Port(81);
    let task = Ipv4Addr::new(10, 100, 1, 22);
    let delta = Delta {
        from: StateRevision(7),
        to: StateRevision(9),
        changes: vec![
            Change::Task(Vni(4097), task, Some(NodeIndex(2))),
            Change::Port(key, Some(port.clone())),
            Change::VirtualAddress(Ipv4Addr::new(10, 100, 1, 200), None),
        ],
    };
    let text = serde_json::to_string(&delta).expect("it is written");
    let delta: Delta = serde_json::from_str(&text).expect("it reads");
    let next = state.after(delta.clone()).expect("it fits");
    assert_eq!(next.revision, StateRevision(9));
    assert_eq!(next.place(task), Some(NodeIndex(2)));
    assert_eq!(next.ports[&key], port);
    assert!(next.virtual_addresses.is_empty());
    let gap = next.after(delta).expect_err("it was for the state before");
    assert!(gap.is_retryable(), "{gap}");
    assert_eq!(
        gap.to_string(),
        "a change from revision 7 does not fit revision 9"
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    let refused = |change: fn(&mut State)| {
        let mut state = example();
        change(&mut state);
        state
            .check()
            .expect_err("it contradicts itself")
            .to_string()
    };
    assert_eq!(
        refused(|state| state.node = NodeIndex(3)),
        "this node, 3, is no member"
    );
    assert_eq!(
        refused(|state| {
            state.members.insert(NodeIndex(0), Ipv4Addr::LOCALHOST);
        }),
        "node 0 has no place in marks"
    );
    assert_eq!(
        refused(|state| {
            let other = state.networks[&Vni(4097)].clone();
            state.networks.insert(Vni(4098), other);
        }),
        "network 4097: its subnet overlaps that of network 4098"
    );
    assert_eq!(
        refused(|state| {
            let network = state.networks.get_mut(&Vni(4097)).expect("it is there");
            network
                .tasks
                .insert(Ipv4Addr::new(10, 100, 2, 1), NodeIndex(1));
        }),
        "network 4097: 10.100.2.1 is not in 10.100.1.0/24"
    );
    assert_eq!(
        refused(|state| {
            let network = state.networks.get_mut(&Vni(4097)).expect("it is there");
            network.tasks.remove(&Ipv4Addr::new(10, 100, 1, 21));
        }),
        "10.100.1.200: 10.100.1.21 is no task of a network of this node"
    );
    assert_eq!(
        refused(|state| {
            let network = state.networks.get_mut(&Vni(4097)).expect("it is there");
            network.bridged.insert(Ipv4Addr::new(10, 100, 1, 30));
        }),
        "network 4097: 10.100.1.30 stays on bridges and is no task"
    );
    assert_eq!(
        refused(|state| {
            let address = Ipv4Addr::new(10, 100, 1, 11);
            state
                .virtual_addresses
                .insert(address, VirtualAddress::default().into());
        }),
        "network 4097: 10.100.1.11 is a virtual address too"
    );
}

#[test]
fn published_ports_are_read_as_they_are_written() {
    for text in ["tcp/8080", "udp/192.0.2.1:53"] {
        let key: PublishedKey = text.parse().expect("a port");
        assert_eq!(key.to_string(), text);
    }
    for wrong in [
        "8080",
        "sctp/80",
        "tcp/0",
        "tcp/70000",
        "tcp/host:80",
        "tcp/",
    ] {
        assert!(wrong.parse::<PublishedKey>().is_err(), "{wrong}");
    }
}

#[test]
fn what_leads_to_who_is_no_task_is_refused_as_it_is_in_a_whole_state() {
    let state = example();
    let stranger = Ipv4Addr::new(10, 100, 1, 99);
    let (address, service) = state.virtual_addresses.iter().next().expect("a service");
    let (key, port) = state.ports.iter().next().expect("a port");
    let mut to_stranger = (**service).clone();
    to_stranger.backends.insert(stranger);
    let mut port = (**port).clone();
    port.backends.insert(stranger);
    let changes = [
        Change::VirtualAddress(*address, Some(to_stranger.into())),
        Change::Port(*key, Some(port.into())),
        Change::Namespace(Vni(9), Some("shop".into())),
    ];
    for change in changes {
        let delta = Delta {
            from: state.revision,
            to: StateRevision(state.revision.0 + 1),
            changes: vec![change.clone()],
        };
        let mut whole = state.clone();
        match change {
            Change::VirtualAddress(address, Some(value)) => {
                whole.virtual_addresses.insert(address, value);
            }
            Change::Port(key, Some(value)) => {
                whole.ports.insert(key, value);
            }
            _ => {
                whole.names.namespaces.insert(Vni(9), "shop".into());
            }
        }
        let refused = state.after(delta).expect_err("it makes no sense");
        assert_eq!(Err(refused), whole.check());
    }
}
