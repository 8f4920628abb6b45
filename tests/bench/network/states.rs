//! What the agents are told.

use super::traffic::Server;
use skep::api::service::SessionAffinity;
use skep::api::unit::Port;
use skep::dataplane::shared::Shared;
use skep::dataplane::state::{
    Network, NodeIndex, PublishedPort, State, StateRevision, VirtualAddress, Vni,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// The overlay.
pub(super) const VNI: Vni = Vni(4_097);
pub(super) const SUBNET: &str = "10.230.0.0/15";
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 230, 0, 1);

/// A client and a server on the first node, a server on the second.
pub(super) const TASKS: [Ipv4Addr; 3] = [
    Ipv4Addr::new(10, 230, 0, 11),
    Ipv4Addr::new(10, 230, 0, 12),
    Ipv4Addr::new(10, 230, 0, 21),
];

/// The virtual addresses of a service on the first node, one on the second, and one on both.
pub(super) const HERE: Ipv4Addr = Ipv4Addr::new(10, 230, 0, 201);
pub(super) const THERE: Ipv4Addr = Ipv4Addr::new(10, 230, 0, 202);
pub(super) const BOTH: Ipv4Addr = Ipv4Addr::new(10, 230, 0, 203);

/// Published for the service on the second node: what sinks, and what answers; and for the one on both.
pub(super) const SINK: u16 = 8_001;
pub(super) const ECHO: u16 = 8_002;
pub(super) const ECHO_BOTH: u16 = 8_003;

/// Swarm's VXLAN has the port that is meant for it.
const VXLAN_PORT: Port = Port(4_799);

/// Which way frames between tasks take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Fast,
    Bridged,
    Lifted,
}

/// `FORM=`: `fast`, as managers have it, `bridged`, as kernels without a fast path have it, or `lifted`.
pub(super) fn form() -> Form {
    match std::env::var("FORM").as_deref() {
        Err(_) | Ok("fast") => Form::Fast,
        Ok("bridged") => Form::Bridged,
        Ok("lifted") => Form::Lifted,
        Ok(other) => panic!("FORM={other} is neither fast nor bridged nor lifted"),
    }
}

/// The overlay with its tasks and services, for node 1 or 2.
pub(super) fn base(node: usize, addresses: [Ipv4Addr; 2]) -> State {
    let nodes = [NodeIndex(1), NodeIndex(2)];
    let [client, here, there] = TASKS;
    let network = Network {
        subnet: SUBNET.parse().expect("a subnet"),
        gateway: GATEWAY,
        subnet6: None,
        addresses6: BTreeMap::new(),
        mtu: 1_450,
        internal: false,
        nodes: nodes.into(),
        tasks: [(client, nodes[0]), (here, nodes[0]), (there, nodes[1])].into(),
        bridged: match form() {
            Form::Fast | Form::Bridged => TASKS.into(),
            Form::Lifted => BTreeSet::new(),
        },
    };
    let translated = Server::Translated;
    State {
        revision: StateRevision(0),
        node: nodes[node - 1],
        vxlan_port: VXLAN_PORT,
        members6: Default::default(),
        members: nodes.into_iter().zip(addresses).collect(),
        networks: [(VNI, network.into())].into(),
        virtual_addresses: [
            (HERE, service([here])),
            (THERE, service([there])),
            (BOTH, service([here, there])),
        ]
        .into_iter()
        .collect(),
        ports: [
            (SINK, port(translated.sink(), [there].into())),
            (ECHO, port(translated.echo(), [there].into())),
            (ECHO_BOTH, port(translated.echo(), [here, there].into())),
        ]
        .into_iter()
        .map(|(key, port)| (format!("tcp/{key}").parse().expect("a port"), port))
        .collect(),
        health: Default::default(),
        names: Default::default(),
    }
}

/// What stands behind a virtual address.
pub(super) fn service(backends: impl Into<BTreeSet<Ipv4Addr>>) -> Shared<VirtualAddress> {
    Shared::from(VirtualAddress {
        backends: backends.into(),
        affinity: SessionAffinity::None,
    })
}

/// A published port.
pub(super) fn port(target: u16, backends: BTreeSet<Ipv4Addr>) -> Shared<PublishedPort> {
    Shared::from(PublishedPort {
        target: Port(target),
        backends,
        source: Default::default(),
        locality: Default::default(),
        affinity: SessionAffinity::None,
    })
}

/// An address of the upper half of the subnet: of other services.
pub(super) fn other_service(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 231, 0, 0)) + number)
}

/// An address of the lower half: of tasks on the second node.
fn other_task(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 230, 16, 0)) + number)
}

/// Adds services with so many backends each, all of them tasks of their own on the second node.
pub(super) fn add_services(state: &mut State, services: u32, backends: u32) {
    let network = state.networks.get_mut(&VNI).expect("the overlay");
    let mut all: BTreeMap<Ipv4Addr, Shared<VirtualAddress>> = BTreeMap::new();
    for number in 0..services {
        let tasks = (0..backends).map(|slot| other_task(number * backends + slot));
        let tasks: BTreeSet<Ipv4Addr> = tasks.collect();
        let placed = tasks.iter().map(|task| (*task, NodeIndex(2)));
        network.tasks.extend(placed);
        if form() != Form::Lifted {
            network.bridged.extend(&tasks);
        }
        all.insert(other_service(number), service(tasks));
    }
    state.virtual_addresses.extend(all);
}
