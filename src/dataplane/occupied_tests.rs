//! Programs that listen, and the published ports that stay theirs.

use super::kernel::{Kernel, Listener};
use super::state::State;
use super::wanted::wanted;
use crate::api::published::PublishedKey;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A network of IPv4, one of both versions, and ports that lead to tasks of each or to none.
fn state(subnet6: &str) -> State {
    let text = r#"{
        "revision": 7, "node": 1, "members": {"1": "172.31.0.11"},
        "networks": {
            "1": {"subnet": "10.1.1.0/24", "gateway": "10.1.1.1", "mtu": 1450, "nodes": [1], "tasks": {"10.1.1.11": 1}},
            "2": {"subnet": "10.1.2.0/24", "gateway": "10.1.2.1", SUBNET6 "mtu": 1450, "nodes": [1],
                "tasks": {"10.1.2.11": 1}}
        },
        "ports": {
            "tcp/8001": {"target": 80, "backends": ["10.1.1.11"]},
            "tcp/8002": {"target": 80, "backends": ["10.1.2.11"]},
            "tcp/8003": {"target": 80, "backends": []},
            "tcp/[2001:db8::1]:8002": {"target": 81, "backends": ["10.1.2.11"]},
            "tcp/172.31.0.11:8002": {"target": 82, "backends": ["10.1.2.11"]},
            "tcp/30001": {"target": 80, "backends": ["10.1.1.11"]},
            "tcp/30002": {"target": 80, "backends": ["10.1.2.11"]}
        },
        "health": {"30999": {"service": "default/web", "ports": ["tcp/8001"]}}
    }"#;
    let state: State =
        serde_json::from_str(&text.replace("SUBNET6", subnet6)).expect("a state reads");
    assert_eq!(state.check(), Ok(()));
    state
}

/// The ports that are the program's which listens on an address, or on all.
fn occupied(state: &State, address: Option<&str>, port: u16) -> Vec<String> {
    let address: Option<IpAddr> = address.map(|text| text.parse().expect("an address"));
    let key: PublishedKey = format!("tcp/{port}").parse().expect("a port");
    let listener = Listener {
        protocol: key.protocol,
        port: key.port,
        address,
    };
    let found = Kernel {
        listeners: [listener].into(),
        has_ipv6: true,
        ..Kernel::default()
    };
    let wanted = wanted(state, &found, &BTreeMap::new());
    let left = wanted.state.as_ref().expect("a state");
    let ports = state.ports.keys();
    let mut gone = ports.filter(|key| !left.ports.contains_key(key));
    assert!(gone.all(|key| wanted.occupied.contains(key)));
    let mut left = left.ports.keys();
    assert!(left.all(|key| !wanted.occupied.contains(key)));
    wanted.occupied.iter().map(ToString::to_string).collect()
}

#[test]
fn a_port_is_the_programs_at_the_addresses_that_it_would_be_served_at() {
    let state = state(r#""subnet6": "fd00:2::/64","#);
    let all = ["tcp/8002", "tcp/172.31.0.11:8002", "tcp/[2001:db8::1]:8002"];
    let none: [&str; 0] = [];
    for (address, port, expected) in [
        (None, 8001, &["tcp/8001"][..]),
        (None, 8002, &all),
        (Some("127.0.0.1"), 8002, &all[..1]),
        (Some("172.31.0.11"), 8002, &all[..2]),
        (
            Some("2001:db8::1"),
            8002,
            &["tcp/8002", "tcp/[2001:db8::1]:8002"],
        ),
        (Some("2001:db8::2"), 8002, &all[..1]),
        // Whose tasks have no IPv6, and whose might have.
        (Some("2001:db8::1"), 8001, &none),
        (Some("2001:db8::1"), 8003, &["tcp/8003"]),
        // Where no published port is served.
        (Some("::1"), 8002, &none),
        (Some("fe80::5054:ff:fead:ceb6"), 8002, &none),
        (Some("ff02::fb"), 8002, &none),
        (Some("10.1.2.1"), 8002, &none),
        (Some("fd00:2::1"), 8002, &none),
        // What is chosen for others is not what a program has, and what was chosen stays where it takes nothing from it.
        (Some("127.0.0.1"), 30_000, &["tcp/30000"]),
        (Some("2001:db8::1"), 30_000, &["tcp/30000"]),
        (Some("2001:db8::1"), 30_001, &none),
        (Some("2001:db8::1"), 30_002, &["tcp/30002"]),
        (Some("::1"), 30_000, &none),
        (Some("fe80::1"), 30_002, &none),
        (None, 30_999, &none),
        (Some("2001:db8::1"), 30_999, &none),
    ] {
        assert_eq!(
            occupied(&state, address, port),
            expected,
            "{address:?} {port}"
        );
    }
}

#[test]
fn without_networks_that_carry_it_programs_on_ipv6_alone_have_no_port_of_ours() {
    let state = state("");
    for port in [8001, 8002, 8003, 30_000, 30_001] {
        assert_eq!(
            occupied(&state, Some("2001:db8::2"), port).len(),
            0,
            "{port}"
        );
    }
    assert_eq!(occupied(&state, None, 8001), ["tcp/8001"]);
    assert_eq!(occupied(&state, None, 30_000), ["tcp/30000"]);
}
