//! The agent on a kernel in memory: whatever it finds and wherever it is cut off, it ends at the same kernel.

use super::*;
use crate::api::service::{Locality, SessionAffinity, Source};
use crate::api::unit::Port;
use crate::dataplane::address::{Cidr, Mac, Prefix, Version};
use crate::dataplane::connections::{Answer, Connection};
use crate::dataplane::host::Memory;
use crate::dataplane::kernel::{Listener, Other, Tunnel, bridge_name, tunnel_name};
use crate::dataplane::nftables::diff::{Change as Tables, Step};
use crate::dataplane::nftables::guest;
use crate::dataplane::nftables::ruleset::Family;
use crate::dataplane::plan::{KINDS, Operation};
use crate::dataplane::settings::settings_of;
use crate::dataplane::shared::Shared;
use crate::dataplane::state::{
    Change, HealthPort, Network, NodeIndex, PublishedKey, PublishedPort, VXLAN_PORT, VirtualAddress,
};
use crate::dataplane::state::{Delta, Vni};
use crate::dataplane::state_tests::{dual_example, example};
use crate::dataplane::xtables::Standing;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// A kernel as an engine leaves it.
pub(super) fn engine() -> Memory {
    let mut host = Memory::default();
    for path in settings_of(&host.kernel) {
        host.kernel.settings.insert(path, "7".into());
    }
    for version in Version::ALL {
        let chain = (version, guest::Chain::DockerUser);
        host.kernel.guests.insert(chain, guest::Found::default());
    }
    host.kernel.others.insert(Other {
        link: "docker0".into(),
        is_bridge: true,
        subnet: "172.17.0.1/16".parse().expect("a subnet"),
        mtu: 1_500,
    });
    host
}

fn agent(host: Memory) -> Agent<Memory> {
    Agent::new(host, None).expect("it remembers nothing")
}

/// An agent that has programmed a state.
pub(super) fn programmed(host: Memory, state: &State) -> Agent<Memory> {
    let mut agent = agent(host);
    agent.follow(Order::State(Box::new(state.clone())));
    assert_eq!(agent.report().trouble, None);
    assert_eq!(agent.report().programmed, Some(state.revision));
    agent
}

#[test]
fn an_agent_that_is_told_to_leaves_and_may_be_told_a_state_again() {
    let before = engine();
    let state = example();
    let mut agent = programmed(before.clone(), &state);
    agent.follow(Order::Remove);
    assert!(agent.report().removed);
    assert_eq!(agent.report().programmed, None);
    assert_eq!(agent.host().kernel, before.kernel);
    agent.audit();
    assert_eq!(agent.host().kernel, before.kernel, "it has nothing to do");
    agent.follow(Order::State(Box::new(state.clone())));
    assert!(!agent.report().removed);
    assert_eq!(agent.report().programmed, Some(state.revision));
}

pub(super) fn operations(host: &Memory, state: &State) -> Vec<Operation> {
    plan(
        &host.kernel,
        &wanted(state, &host.kernel, &BTreeMap::new()).kernel,
    )
}

/// Any state that makes sense: up to three nodes, two networks, services and ports over whatever tasks there are.
pub(super) fn states() -> impl Strategy<Value = State> {
    let tasks = proptest::collection::btree_map(2_u8..40, 1_u16..4, 0..8);
    let networks = proptest::collection::btree_map(0_u8..3, (tasks, any::<bool>()), 0..3);
    let choices = proptest::collection::vec((any::<u16>(), any::<u16>(), 0_u8..6), 0..8);
    (networks, choices, 1_u16..4).prop_map(|(networks, choices, node)| {
        let mut state = State {
            revision: StateRevision(1),
            node: NodeIndex(node),
            vxlan_port: VXLAN_PORT,
            members6: Shared::default(),
            members: (1..4)
                .map(|index| (NodeIndex(index), member(index)))
                .collect(),
            networks: BTreeMap::new(),
            virtual_addresses: Shared::default(),
            ports: Shared::default(),
            health: Default::default(),
            names: Default::default(),
        };
        for (third, (tasks, internal)) in networks {
            let vni = Vni(4_000 + u32::from(third));
            state
                .networks
                .insert(vni, network(third, tasks, internal).into());
        }
        for (number, pick, how) in choices {
            choose(&mut state, number, pick, how);
        }
        state
    })
}

fn member(index: u16) -> Ipv4Addr {
    Ipv4Addr::new(172, 31, 0, u8::try_from(10 + index).expect("few nodes"))
}

fn network(third: u8, tasks: BTreeMap<u8, u16>, internal: bool) -> Network {
    let address = |last| Ipv4Addr::new(10, 100, third, last);
    let nodes: BTreeSet<_> = tasks.values().copied().map(NodeIndex).collect();
    let known = tasks.keys().filter(|last| !last.is_multiple_of(3));
    let bridged = known.map(|last| address(*last)).collect();
    let subnet = Cidr {
        address: address(0),
        length: 24,
    };
    // Every second one carries both versions.
    let subnet6 = format!("fd00:{third}::/64").parse().expect("a subnet");
    Network {
        subnet,
        gateway: address(1),
        subnet6: third.is_multiple_of(2).then_some(subnet6),
        addresses6: BTreeMap::new(),
        mtu: 1_450,
        internal,
        nodes,
        tasks: tasks
            .into_iter()
            .map(|(last, node)| (address(last), NodeIndex(node)))
            .collect(),
        bridged,
    }
}

/// Some of the tasks stand behind something.
fn choose(state: &mut State, number: u16, pick: u16, how: u8) {
    let tasks: Vec<Ipv4Addr> = state
        .networks
        .values()
        .flat_map(|network| network.tasks.keys())
        .copied()
        .collect();
    let backends: BTreeSet<_> = (0..16)
        .zip(&tasks)
        .filter(|(bit, _)| pick >> bit & 1 == 1)
        .map(|(_, task)| *task)
        .collect();
    let affinity = if how.is_multiple_of(2) {
        SessionAffinity::None
    } else {
        SessionAffinity::ClientIp
    };
    if how < 3 {
        let Some(network) = state.networks.values().next() else {
            return;
        };
        let [a, b, c, _] = network.gateway.octets();
        let last = u8::try_from(200 + number % 40).expect("below 240");
        let service = VirtualAddress { backends, affinity };
        state
            .virtual_addresses
            .insert(Ipv4Addr::new(a, b, c, last), service.into());
        return;
    }
    let address = (how == 5).then_some(member(1));
    let text = match address {
        Some(address) => format!("udp/{address}:{}", number.max(1)),
        None => format!("tcp/{}", number.max(1)),
    };
    let key: PublishedKey = text.parse().expect("a port");
    let port = PublishedPort {
        target: Port(80),
        backends,
        source: if how == 4 {
            Source::Masquerade
        } else {
            Source::Preserve
        },
        locality: [Locality::Any, Locality::PreferLocal, Locality::Local][usize::from(number % 3)],
        affinity,
    };
    state.ports.insert(key, port.into());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_reached_needs_nothing(first in states(), second in states()) {
        prop_assert_eq!(first.check(), Ok(()));
        let mut agent = programmed(engine(), &first);
        prop_assert_eq!(operations(agent.host(), &first), []);
        agent.follow(Order::State(Box::new(second.clone())));
        prop_assert_eq!(&agent.report().trouble, &None);
        prop_assert_eq!(operations(agent.host(), &second), []);
        // By way of another state or straight: the same kernel.
        let straight = programmed(engine(), &second).host().kernel.clone();
        prop_assert_eq!(&agent.host().kernel, &straight);
    }

    #[test]
    fn a_crash_between_any_two_operations_changes_nothing(first in states(), second in states(), at in 0_usize..40) {
        let mut agent = programmed(engine(), &first);
        agent.host().budget = Some(at);
        agent.follow(Order::State(Box::new(second.clone())));
        let mut host = agent.host().clone();
        host.budget = None;
        // What its directory remembers.
        let originals = agent.originals.clone();
        let mut next = Agent { originals, ..self::agent(host) };
        next.follow(Order::State(Box::new(second.clone())));
        prop_assert_eq!(&next.report().trouble, &None);
        let straight = programmed(engine(), &second).host().kernel.clone();
        prop_assert_eq!(&next.host().kernel, &straight);
    }

    #[test]
    fn removal_leaves_what_was_found(state in states()) {
        let mut agent = programmed(engine(), &state);
        agent.remove().expect("nothing is in the way");
        prop_assert_eq!(&agent.host().kernel, &engine().kernel);
    }
}

#[test]
fn networks_are_isolated_before_they_exist_and_ways_exist_before_anybody_is_sent() {
    let state = example();
    let host = engine();
    let coming = operations(&host, &state);
    let Some(Operation::Tables(skeleton)) = coming.first() else {
        panic!("{coming:?}");
    };
    assert!(
        skeleton
            .iter()
            .any(|change| matches!(&change.step, Step::AppendRule(chain, _) if chain == "forward"))
    );
    let has_elements = |operation: &Operation| match operation {
        Operation::Tables(changes) => changes
            .iter()
            .any(|change| matches!(change.step, Step::AddElements(..))),
        _ => false,
    };
    let sent = coming
        .iter()
        .position(has_elements)
        .expect("somebody is sent");
    let kinds = |operations: &[Operation]| {
        operations
            .iter()
            .map(Operation::kind)
            .collect::<BTreeSet<_>>()
    };
    let ways = [
        "address",
        "forwarding",
        "link",
        "neighbour",
        "nftables",
        "route",
        "rule",
        "setting",
    ];
    assert_eq!(kinds(&coming[..sent]), BTreeSet::from(ways));
    assert_eq!(coming.len(), sent + 1);
    // And the other way round when a task goes.
    let mut agent = programmed(host, &state);
    let mut next = state.clone();
    let gone = Ipv4Addr::new(10, 100, 1, 21);
    for network in next.networks.values_mut() {
        network.tasks.remove(&gone);
    }
    for service in next.virtual_addresses.values_mut() {
        service.backends.remove(&gone);
    }
    for port in next.ports.values_mut() {
        port.backends.remove(&gone);
    }
    let going = operations(agent.host(), &next);
    assert_eq!(kinds(&going[..2]), BTreeSet::from(["nftables"]));
    assert_eq!(kinds(&going[2..]), BTreeSet::from(["neighbour"]));
}

#[test]
fn frames_stay_on_bridges_once_ways_are_there_and_answers_are_remembered() {
    let state = example();
    let mut agent = programmed(engine(), &state);
    let mut next = state.clone();
    for network in next.networks.values_mut() {
        network.bridged = network.tasks.keys().copied().collect();
    }
    let coming = operations(agent.host(), &next);
    let kinds: Vec<&str> = coming.iter().map(Operation::kind).collect();
    let [
        ways @ ..,
        Operation::Remember(Family::Bridge, within),
        Operation::Tables(changes),
    ] = &coming[..]
    else {
        panic!("{coming:?}");
    };
    assert_eq!(ways.len(), 4, "{kinds:?}");
    assert_eq!(
        kinds[..4],
        ["forwarding", "forwarding", "neighbour", "neighbour"]
    );
    assert_eq!(within.len(), 1);
    let is_small = |change: &Tables| matches!(&change.step, Step::AddElements(set, _, elements) if set == "bridged" && elements.len() == 2);
    assert!(changes.len() == 1 && is_small(&changes[0]), "{changes:?}");
    // Back again the frames are lifted first.
    agent.follow(Order::State(Box::new(next.clone())));
    let going = operations(agent.host(), &state);
    let kinds: Vec<&str> = going.iter().map(Operation::kind).collect();
    assert_eq!(
        kinds,
        [
            "neighbour",
            "neighbour",
            "nftables",
            "forwarding",
            "forwarding"
        ]
    );
}

#[test]
fn one_backend_is_one_batch_of_elements() {
    let state = example();
    let mut agent = programmed(engine(), &state);
    let mut next = state.clone();
    for service in next.virtual_addresses.values_mut() {
        service.backends.remove(&Ipv4Addr::new(10, 100, 1, 21));
    }
    let operations = operations(agent.host(), &next);
    let [Operation::Tables(changes), Operation::Tables(late)] = &operations[..] else {
        panic!("{operations:?}");
    };
    // Who was told of two backends a moment ago still finds both.
    let is_slot = |step: &Step| matches!(step, Step::DeleteElements(set, _, elements) if set == "service_slots" && elements.len() == 1);
    assert!(late.iter().all(|change| is_slot(&change.step)), "{late:?}");
    assert!(!changes.iter().any(|change| is_slot(&change.step)));
    // From two backends to one: another chain, and one slot less.
    for change in changes {
        let is_small = match &change.step {
            Step::AddElements(set, _, elements) => set == "services" && elements.len() == 1,
            Step::DeleteElements(set, _, elements) => {
                set.starts_with("service") && elements.len() == 1
            }
            Step::AddChain(name, None) | Step::AppendRule(name, _) => name == "service_1",
            Step::EmptyChain(name) | Step::DeleteChain(name) => name == "service_2",
            _ => false,
        };
        assert!(is_small, "{change:?}");
    }
    assert!(agent.audit_is_quiet());
}

impl Agent<Memory> {
    fn audit_is_quiet(&mut self) -> bool {
        let before = self.host.kernel.clone();
        self.audit();
        self.report.drift.is_empty() && self.host.kernel == before
    }
}

#[test]
fn a_port_on_which_a_program_listens_is_the_programs_until_it_ends() {
    let mut state = example();
    let key = *state.ports.keys().next().expect("a published port");
    let health = HealthPort {
        service: "default/web".into(),
        ports: [key].into(),
    };
    state.health.insert(Port(30_007), health);
    let mut agent = programmed(engine(), &state);
    let open = agent.host().kernel.tables.clone();
    let listener = |port: u16, address: Option<Ipv4Addr>| Listener {
        protocol: key.protocol,
        port: Port(port),
        address: address.map(Into::into),
    };
    let gateway = state.networks.values().next().map(|one| one.gateway);
    let program = listener(key.port.0, None);
    agent.host().kernel.listeners = [
        program,
        listener(22, None),
        listener(30_005, Some(Ipv4Addr::LOCALHOST)),
        // The agent's own: for names, and to tell of health.
        listener(30_006, gateway),
        listener(30_007, None),
    ]
    .into();
    agent.audit();
    let occupied: Vec<String> = agent
        .report()
        .occupied
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(occupied, ["tcp/8080", "tcp/30005"]);
    let shown = format!("{:?}", agent.host().kernel.tables);
    assert_ne!(agent.host().kernel.tables, open, "{shown}");
    let mut without = state.clone();
    without.ports.remove(&key);
    let expected = programmed(engine(), &without).host().kernel.tables.clone();
    assert_eq!(
        agent.host().kernel.tables,
        expected,
        "as if it were not published"
    );
    agent.host().kernel.listeners.remove(&program);
    agent.audit();
    assert_eq!(agent.host().kernel.tables, open);
    assert_eq!(
        agent.report().drift,
        BTreeMap::new(),
        "nobody changed the kernel"
    );
}

#[test]
fn it_says_what_the_link_with_its_nodes_address_carries() {
    let state = example();
    let mut host = engine();
    assert_eq!(programmed(host.clone(), &state).report().underlay_mtu, None);
    host.kernel.others.insert(Other {
        link: "eth0".into(),
        is_bridge: false,
        subnet: Prefix::new(state.address().into(), 24),
        mtu: 9_000,
    });
    assert_eq!(programmed(host, &state).report().underlay_mtu, Some(9_000));
}

#[test]
fn what_others_change_is_mended_and_counted() {
    let state = dual_example();
    let pristine = programmed(engine(), &state).host().kernel.clone();
    let (bridge, tunnel) = (bridge_name(Vni(4097)), tunnel_name(Vni(4097)));
    type Hand<'a> = (&'a str, Box<dyn Fn(&mut Kernel) + 'a>);
    let by_hand: [Hand<'_>; 9] = [
        ("link", Box::new(|kernel| kernel.forget(&bridge))),
        ("link", Box::new(|kernel| kernel.forget(&tunnel))),
        (
            "link",
            Box::new(|kernel| {
                kernel.links.get_mut(&bridge).expect("it is there").mac = Mac([2; 6])
            }),
        ),
        ("neighbour", Box::new(|kernel| kernel.neighbours.clear())),
        ("forwarding", Box::new(|kernel| kernel.forwarding.clear())),
        ("rule", Box::new(|kernel| kernel.rules.clear())),
        ("nftables", Box::new(|kernel| kernel.tables.clear())),
        ("setting", Box::new(|kernel| kernel.settings.clear())),
        (
            "nftables",
            Box::new(|kernel| {
                let lost = guest::Found {
                    first: None,
                    others: vec![9],
                };
                let chain = (Version::V4, guest::Chain::DockerUser);
                kernel.guests.insert(chain, lost);
            }),
        ),
    ];
    for (kind, change) in by_hand {
        let mut agent = programmed(engine(), &state);
        change(&mut agent.host().kernel);
        agent.audit();
        assert_eq!(agent.report().trouble, None, "{kind}");
        assert!(
            agent.report().drift.contains_key(kind),
            "{kind}: {:?}",
            agent.report()
        );
        assert!(
            agent
                .report()
                .drift
                .keys()
                .all(|kind| KINDS.contains(&kind.as_str()))
        );
        assert_eq!(agent.host().kernel, pristine, "{kind}");
    }
}

#[test]
fn a_network_that_clashes_is_refused_and_the_rest_goes_on() {
    let mut state = example();
    let mut other = state.networks[&Vni(4097)].clone();
    other.subnet = "172.17.9.0/24".parse().expect("a subnet");
    other.gateway = Ipv4Addr::new(172, 17, 9, 1);
    other.tasks = BTreeMap::from([(Ipv4Addr::new(172, 17, 9, 2), NodeIndex(2))]);
    state.networks.insert(Vni(5), other);
    let of_both = state.ports.values_mut().next().expect("a port");
    of_both.backends.insert(Ipv4Addr::new(172, 17, 9, 2));
    let mut agent = programmed(engine(), &state);
    assert_eq!(
        agent.report().refused[&Vni(5)],
        "172.17.9.0/24 overlaps 172.17.0.1/16 of docker0"
    );
    let without = programmed(engine(), &example()).host().kernel.clone();
    assert_eq!(agent.host().kernel, without);
    // One that is there already stays.
    let mut agent = programmed(engine(), &example());
    agent.host().kernel.others.insert(Other {
        link: "lo".into(),
        is_bridge: false,
        subnet: "10.100.1.77/32".parse().expect("an address"),
        mtu: 65_536,
    });
    agent.audit();
    let said = agent.report();
    assert_eq!(said.programmed, Some(StateRevision(7)));
    assert_eq!((&said.refused, &said.trouble), (&BTreeMap::new(), &None));
}

#[test]
fn a_network_whose_subnet_the_node_routes_elsewhere_is_refused_until_it_does_not() {
    let state = example();
    let vni = Vni(4097);
    let routed = |to: &str, link: &str| {
        let mut host = engine();
        let to = to.parse().expect("a subnet");
        host.kernel.ways.insert((to, link.to_owned()));
        let mut agent = agent(host);
        agent.follow(Order::State(Box::new(state.clone())));
        assert_eq!(agent.report().programmed, Some(state.revision));
        agent
    };
    let refused = |agent: &Agent<Memory>| agent.report().refused.get(&vni).cloned();
    let mut through = routed("10.100.1.128/25", "eth0");
    assert_eq!(
        refused(&through).as_deref(),
        Some("10.100.1.0/24 overlaps 10.100.1.128/25, to which the node has a route through eth0")
    );
    let nowhere = routed("10.100.1.0/24", "");
    assert_eq!(
        refused(&nowhere).as_deref(),
        Some("10.100.1.0/24 overlaps 10.100.1.0/24, to which the node has a route")
    );
    // What leads to more than the network gives way to it.
    assert_eq!(refused(&routed("10.0.0.0/8", "eth0")), None);
    through.host().kernel.ways.clear();
    through.audit();
    assert_eq!(refused(&through), None);
    assert_eq!(through.report().drift, BTreeMap::new(), "it is news");
    let pristine = programmed(engine(), &state).host().kernel.clone();
    assert_eq!(through.host().kernel, pristine);
}

/// A VXLAN device of somebody else.
fn rival(host: &mut Memory, vni: Vni, port: Port) {
    let tunnel = Tunnel {
        vni,
        local: member(1),
        port,
        learns: true,
        is_proxy: false,
    };
    host.kernel.rivals.insert("flannel.1".into(), tunnel);
}

#[test]
fn a_network_whose_number_another_device_has_is_refused_until_it_goes() {
    let state = example();
    let vni = Vni(4097);
    let why = "the VXLAN device flannel.1 has its number 4097 and port 4789";
    let mut host = engine();
    rival(&mut host, vni, VXLAN_PORT);
    let mut new = programmed(host, &state);
    assert_eq!(new.report().refused[&vni], why);
    assert!(!new.host().kernel.links.contains_key(&bridge_name(vni)));
    new.host().kernel.rivals.clear();
    new.audit();
    let pristine = programmed(engine(), &state).host().kernel.clone();
    assert_eq!(new.host().kernel, pristine);

    // One that is there loses its way to other nodes, and nothing else.
    let mut there = programmed(engine(), &state);
    there.host().kernel.forget(&tunnel_name(vni));
    rival(there.host(), vni, VXLAN_PORT);
    there.audit();
    assert_eq!(there.report().refused[&vni], why);
    assert_eq!(there.report().trouble, None);
    assert!(there.host().kernel.links.contains_key(&bridge_name(vni)));
    there.host().kernel.rivals.clear();
    there.audit();
    assert_eq!(there.report().refused.get(&vni), None);
    assert_eq!(there.host().kernel, pristine);

    // Another number or another port is in nobody's way.
    for (other, port) in [(Vni(4098), VXLAN_PORT), (vni, Port(8_472))] {
        let mut host = engine();
        rival(&mut host, other, port);
        assert_eq!(programmed(host, &state).report().refused, BTreeMap::new());
    }
}

#[test]
fn our_rule_is_kept_in_iptables_legacy_where_that_has_the_chain_and_goes_with_the_rest() {
    let state = dual_example();
    let of = |standing| BTreeMap::from(Version::ALL.map(|version| (version, standing)));
    let host = |legacy| {
        let mut host = engine();
        host.kernel.legacy = legacy;
        host
    };
    for found in [Standing::Missing, Standing::Displaced, Standing::InPlace] {
        let mut agent = programmed(host(of(found)), &state);
        assert_eq!(agent.host().kernel.legacy, of(Standing::InPlace));
        assert!(agent.report().drift.is_empty(), "{found:?}");
        agent.host().kernel.legacy = of(Standing::Displaced);
        agent.audit();
        assert_eq!(agent.host().kernel.legacy, of(Standing::InPlace));
        assert_eq!(agent.report().drift, [("iptables".into(), 2)].into());
        agent.follow(Order::Remove);
        let gone = host(of(Standing::Missing));
        assert_eq!(agent.host().kernel, gone.kernel, "{found:?}");
    }
    let mut agent = programmed(host(BTreeMap::new()), &state);
    assert_eq!(agent.host().kernel.legacy, BTreeMap::new());
}

#[test]
fn connections_to_tasks_that_are_no_more_are_cut() {
    let state = example();
    let connection =
        |destination: [u8; 4], target: [u8; 4], is_translated, protocol, port| Connection {
            protocol,
            destination: destination.into(),
            port: Port(port),
            target: target.into(),
            is_translated,
            answer: Answer {
                from: target.into(),
                to: [10, 100, 1, 11].into(),
                from_port: Port(port),
                to_port: Port(40_000),
            },
            mark: 0,
            handle: vec![target[3], protocol],
        };
    let (service, gone, there) = ([10, 100, 1, 200], [10, 100, 1, 12], [10, 100, 1, 21]);
    let dead = connection(service, gone, true, 6, 80);
    let alive = connection(service, there, true, 6, 80);
    let others = connection([203, 0, 113, 1], [172, 17, 0, 2], true, 6, 80);
    // Before the port was published; after it was; one that only passes.
    let mut early = connection([172, 31, 0, 11], [172, 31, 0, 11], false, 17, 53);
    let late = connection([172, 31, 0, 11], there, true, 17, 53);
    let passing = connection([198, 51, 100, 1], [198, 51, 100, 1], false, 17, 53);
    let mut host = engine();
    host.tracked = vec![
        dead,
        alive.clone(),
        others.clone(),
        early.clone(),
        late.clone(),
        passing.clone(),
    ];
    assert_eq!(
        programmed(host, &state).host().tracked,
        [alive, others, late, passing]
    );
    // TCP starts anew by itself.
    early.protocol = 6;
    let mut host = engine();
    host.tracked = vec![early.clone()];
    assert_eq!(programmed(host, &state).host().tracked, [early]);
}

#[test]
fn a_change_of_entries_needs_no_look_and_the_next_audit_has_one() {
    let state = example();
    let mut agent = programmed(engine(), &state);
    let gone = Ipv4Addr::new(10, 100, 1, 21);
    let lost = (tunnel_name(Vni(4097)), gone.into());
    // Somebody else was there meanwhile.
    agent.host().kernel.neighbours.remove(&lost);
    let looks = agent.host().looks;
    let mut next = state.clone();
    next.revision = StateRevision(8);
    for service in next.virtual_addresses.values_mut() {
        service.backends.remove(&gone);
    }
    agent.follow(Order::State(Box::new(next.clone())));
    assert_eq!(agent.host().looks, looks);
    assert_eq!(agent.report().programmed, Some(StateRevision(8)));
    agent.audit();
    assert!(agent.host().looks > looks);
    assert_eq!(
        agent.report().drift,
        BTreeMap::from([("neighbour".to_owned(), 1)])
    );
    let pristine = programmed(engine(), &next).host().kernel.clone();
    assert_eq!(agent.host().kernel, pristine);
    // What the kernel refuses is looked at.
    agent.host().kernel.tables.clear();
    next.revision = StateRevision(9);
    next.virtual_addresses.clear();
    agent.follow(Order::State(Box::new(next.clone())));
    assert_eq!(agent.report().trouble, None);
    assert_eq!(agent.report().programmed, Some(StateRevision(9)));
    let pristine = programmed(engine(), &next).host().kernel.clone();
    assert_eq!(agent.host().kernel, pristine);
    // A task that goes takes its connections along.
    let dead = Connection {
        protocol: 6,
        destination: gone.into(),
        port: Port(80),
        target: gone.into(),
        is_translated: true,
        answer: Answer {
            from: gone.into(),
            to: [10, 100, 1, 11].into(),
            from_port: Port(80),
            to_port: Port(40_000),
        },
        mark: 0,
        handle: Vec::new(),
    };
    agent.host().tracked.push(dead);
    let looks = agent.host().looks;
    for network in next.networks.values_mut() {
        network.tasks.remove(&gone);
    }
    for port in next.ports.values_mut() {
        port.backends.remove(&gone);
    }
    agent.follow(Order::State(Box::new(next)));
    assert_eq!(agent.host().looks, looks);
    assert_eq!(agent.host().tracked, []);
}

#[test]
fn a_change_that_does_not_fit_asks_for_the_whole_state() {
    let state = example();
    let mut agent = programmed(engine(), &state);
    let delta = |from, to| Delta {
        from: StateRevision(from),
        to: StateRevision(to),
        changes: vec![Change::Task(
            Vni(4097),
            Ipv4Addr::new(10, 100, 1, 30),
            Some(NodeIndex(2)),
        )],
    };
    agent.follow(Order::Delta(delta(7, 8)));
    assert_eq!(agent.report().programmed, Some(StateRevision(8)));
    agent.follow(Order::Delta(delta(7, 8)));
    assert!(agent.report().needs_state);
    assert_eq!(agent.report().programmed, Some(StateRevision(8)));
    agent.follow(Order::State(Box::new(state)));
    assert!(!agent.report().needs_state);
    assert_eq!(agent.report().programmed, Some(StateRevision(7)));
    assert_eq!(agent.report().trouble, None);
}
