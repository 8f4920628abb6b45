//! Our tables: their chains by hook, their sets and maps. Pure.

use super::bridge;
use super::fast_path;
use super::rules;
use super::ruleset::{Chain, Family, Field, Hook, Rule, Ruleset, Set, Table, TableName};
use crate::dataplane::address::{Mac, Version, node6};
use crate::dataplane::constants::TABLE;
use crate::dataplane::fast_path::FastPaths;
use crate::dataplane::state::State;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// NF_INET_*: where packets are looked at.
const PREROUTING: u32 = 0;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;

/// The table of a family.
pub(super) fn table(family: Family) -> TableName {
    let name = TABLE.to_owned();
    TableName { family, name }
}

/// Our tables with their chains and sets, which are empty but for the links of fast paths: those of IPv6 only where a network
/// carries it, that of links only where the kernel has fast paths.
pub(super) fn skeleton(state: &State, paths: Option<&FastPaths>) -> Ruleset {
    let has_ipv6 = state.carries_ipv6();
    let router = Mac::of_router(state.address());
    let both = [
        (table(Family::Ip), packets(state, Version::V4)),
        (
            table(Family::Bridge),
            frames(router, has_ipv6, paths.is_none()),
        ),
    ];
    let other = has_ipv6.then(|| (table(Family::Ip6), packets(state, Version::V6)));
    let links = paths.map(|paths| (table(Family::Netdev), fast_path::table(paths, has_ipv6)));
    both.into_iter().chain(other).chain(links).collect()
}

/// The names of sets and maps.
pub(super) mod name {
    pub(in super::super) const NETWORKS: &str = "networks";
    pub(in super::super) use crate::dataplane::constants::BRIDGED;
    pub(in super::super) const ANSWERS: &str = "answers";
    pub(in super::super) const CLOSING: &str = "closing";
    pub(in super::super) const NETWORKS6: &str = "networks6";
    pub(in super::super) const BRIDGED6: &str = "bridged6";
    pub(in super::super) const ANSWERS6: &str = "answers6";
    pub(in super::super) const CLOSING6: &str = "closing6";
    pub(in super::super) const VIRTUAL: &str = "virtual";
    pub(in super::super) const MEMBERS: &str = "members";
    pub(in super::super) const LOOPS: &str = "loops";
    pub(in super::super) const LOCAL_SOURCES: &str = "local_sources";
    pub(in super::super) const INSIDE: &str = "inside";
    pub(in super::super) const INTERNAL: &str = "internal";
    pub(in super::super) const ENTRY_MARKS: &str = "entry_marks";
    pub(in super::super) const GATEWAYS: &str = "gateways";
    pub(in super::super) const SERVICES: &str = "services";
    pub(in super::super) const SERVICE_SLOTS: &str = "service_slots";
    pub(in super::super) const PORTS: &str = "ports";
    pub(in super::super) const PORT_SLOTS: &str = "port_slots";
    pub(in super::super) const PORTS_AT: &str = "ports_at";
    pub(in super::super) const PORT_AT_SLOTS: &str = "port_at_slots";
}

/// The sets and maps of a version's packets, empty.
pub(super) fn sets(version: Version) -> BTreeMap<String, Set> {
    use Field::{Hardware, Link, Mark, Port, Protocol};
    let address = Field::Address(version);
    let sets = [
        (name::NETWORKS, Set::of_ranges(&[address])),
        (name::VIRTUAL, Set::of(&[address])),
        (name::MEMBERS, Set::of(&[address])),
        (name::LOOPS, Set::of(&[address, address])),
        (name::LOCAL_SOURCES, Set::of_ranges(&[address])),
        (name::INSIDE, Set::of(&[Link, Link])),
        (name::INTERNAL, Set::of(&[Link])),
        (name::GATEWAYS, Set::of(&[address])),
        (name::ENTRY_MARKS, Set::map(&[Hardware], &[Mark])),
        (name::SERVICES, Set::verdicts(&[address])),
        (name::SERVICE_SLOTS, Set::map(&[Mark, address], &[address])),
        (name::PORTS, Set::verdicts(&[Protocol, Port])),
        (
            name::PORT_SLOTS,
            Set::map(&[Mark, Protocol, Port], &[address, Port]),
        ),
        (name::PORTS_AT, Set::verdicts(&[address, Protocol, Port])),
        (
            name::PORT_AT_SLOTS,
            Set::map(&[Mark, address, Protocol, Port], &[address, Port]),
        ),
    ];
    sets.into_iter()
        .map(|(name, set)| (name.to_owned(), set))
        .collect()
}

/// The table of a version's packets.
fn packets(state: &State, version: Version) -> Table {
    let own = match version {
        Version::V4 => IpAddr::V4(state.address()),
        Version::V6 => IpAddr::V6(node6(state.address())),
    };
    let raw = match version {
        Version::V4 => rules::pre_raw(state),
        Version::V6 => rules::pre_raw6(),
    };
    let hooked = [
        ("pre_raw", hook("filter", PREROUTING, -300), raw),
        (
            "pre_mangle",
            hook("filter", PREROUTING, -150),
            rules::pre_mangle(version),
        ),
        // Docker translates at -100 and 100: ours come first.
        (
            "pre_nat",
            hook("nat", PREROUTING, -110),
            rules::pre_nat(version),
        ),
        (
            "out_nat",
            hook("nat", OUTPUT, -110),
            rules::out_nat(version),
        ),
        (
            "forward",
            hook("filter", FORWARD, -10),
            rules::forward(version),
        ),
        ("output", hook("filter", OUTPUT, 0), rules::output(version)),
        (
            "post_mangle",
            hook("filter", POSTROUTING, -150),
            rules::post_mangle(),
        ),
        (
            "post_nat",
            hook("nat", POSTROUTING, 90),
            rules::post_nat(own),
        ),
        (
            "post_filter",
            hook("filter", POSTROUTING, 200),
            rules::post_filter(version),
        ),
    ];
    Table {
        chains: hooked.into_iter().map(chain).collect(),
        sets: sets(version),
    }
}

/// An answer: the addresses that a frame has, its protocol and ports.
pub(super) const fn answer(version: Version) -> [Field; 5] {
    let address = Field::Address(version);
    [address, address, Field::Protocol, Field::Port, Field::Port]
}

/// The sets by which is told what does not pass the router.
pub(super) fn staying(version: Version) -> [(&'static str, Set); 3] {
    let (names, answer) = (bridge::names(version), answer(version));
    let expected = Set::dynamic(&answer, bridge::OPEN_MS, bridge::ANSWERS);
    let ending = Set::dynamic(&answer, bridge::CLOSING_MS, bridge::ANSWERS);
    [
        (names.bridged, Set::of(&[Field::Address(version)])),
        (names.answers, expected),
        (names.closing, ending),
    ]
}

/// The table of frames on bridges; `stays`: some of them do.
fn frames(router: Mac, has_ipv6: bool, stays: bool) -> Table {
    let versions = || {
        let all = Version::ALL.into_iter();
        all.filter(move |version| *version == Version::V4 || has_ipv6)
    };
    let lift = (
        "lift",
        hook("filter", PREROUTING, -300),
        bridge::lift(router, has_ipv6, stays),
    );
    let remember = || [bridge::answered_here(), bridge::remember(has_ipv6)].concat();
    let remember = stays.then(|| ("remember", hook("filter", OUTPUT, 0), remember()));
    let hooked = [lift].into_iter().chain(remember);
    let of_ipv6 = [
        Some((bridge::LIFT6, bridge::lift6(router, stays))),
        stays.then(|| (bridge::REMEMBER6, bridge::remembered(Version::V6))),
    ];
    let of_ipv6 = of_ipv6.into_iter().flatten().filter(|_| has_ipv6);
    let unhooked = versions().flat_map(|version| {
        let names = bridge::names(version);
        let kept = stays.then(|| (names.remember_tcp, bridge::remember_tcp(version)));
        let route = (names.route, bridge::route(version, router, stays));
        [Some(route), kept].into_iter().flatten()
    });
    let unhooked = unhooked
        .chain(of_ipv6)
        .map(|(name, rules)| (name.to_owned(), Chain { hook: None, rules }));
    let sets = versions().flat_map(|version| {
        let networks = Set::of_ranges(&[Field::Address(version)]);
        let kept = staying(version).into_iter().filter(move |_| stays);
        kept.chain([(bridge::names(version).networks, networks)])
    });
    Table {
        chains: hooked.map(chain).chain(unhooked).collect(),
        sets: sets.map(|(name, set)| (name.to_owned(), set)).collect(),
    }
}

fn hook(kind: &str, point: u32, priority: i32) -> Hook {
    let kind = kind.to_owned();
    Hook {
        kind,
        point,
        priority,
        device: None,
    }
}

fn chain((name, hook, rules): (&str, Hook, Vec<Rule>)) -> (String, Chain) {
    let hook = Some(hook);
    (name.to_owned(), Chain { hook, rules })
}
