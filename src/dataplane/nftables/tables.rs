//! Our tables: their chains by hook, their sets and maps. Pure.

use super::bridge;
use super::rules;
use super::ruleset::{Chain, Family, Field, Hook, Rule, Ruleset, Set, Table, TableName};
use crate::dataplane::address::Mac;
use crate::dataplane::constants::TABLE;
use crate::dataplane::state::State;
use std::collections::BTreeMap;

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

/// Both tables with their chains and empty sets.
pub(in crate::dataplane) fn skeleton(state: &State) -> Ruleset {
    Ruleset::from([
        (table(Family::Ip), ip(state)),
        (
            table(Family::Bridge),
            frames(Mac::of_router(state.address())),
        ),
    ])
}

/// The names of sets and maps.
pub(super) mod name {
    pub(in super::super) const NETWORKS: &str = "networks";
    pub(in super::super) use crate::dataplane::constants::BRIDGED;
    pub(in super::super) const ANSWERS: &str = "answers";
    pub(in super::super) const CLOSING: &str = "closing";
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

fn sets() -> BTreeMap<String, Set> {
    use Field::{Address, Hardware, Link, Mark, Port, Protocol};
    let sets = [
        (name::NETWORKS, Set::of_ranges(&[Address])),
        (name::VIRTUAL, Set::of(&[Address])),
        (name::MEMBERS, Set::of(&[Address])),
        (name::LOOPS, Set::of(&[Address, Address])),
        (name::LOCAL_SOURCES, Set::of_ranges(&[Address])),
        (name::INSIDE, Set::of(&[Link, Link])),
        (name::INTERNAL, Set::of(&[Link])),
        (name::GATEWAYS, Set::of(&[Address])),
        (name::ENTRY_MARKS, Set::map(&[Hardware], &[Mark])),
        (name::SERVICES, Set::verdicts(&[Address])),
        (name::SERVICE_SLOTS, Set::map(&[Mark, Address], &[Address])),
        (name::PORTS, Set::verdicts(&[Protocol, Port])),
        (
            name::PORT_SLOTS,
            Set::map(&[Mark, Protocol, Port], &[Address, Port]),
        ),
        (name::PORTS_AT, Set::verdicts(&[Address, Protocol, Port])),
        (
            name::PORT_AT_SLOTS,
            Set::map(&[Mark, Address, Protocol, Port], &[Address, Port]),
        ),
    ];
    sets.into_iter()
        .map(|(name, set)| (name.to_owned(), set))
        .collect()
}

fn ip(state: &State) -> Table {
    let own = state.address();
    let hooked = [
        (
            "pre_raw",
            hook("filter", PREROUTING, -300),
            rules::pre_raw(state),
        ),
        (
            "pre_mangle",
            hook("filter", PREROUTING, -150),
            rules::pre_mangle(),
        ),
        // Docker translates at -100 and 100: ours come first.
        ("pre_nat", hook("nat", PREROUTING, -110), rules::pre_nat()),
        ("out_nat", hook("nat", OUTPUT, -110), rules::out_nat()),
        ("forward", hook("filter", FORWARD, -10), rules::forward()),
        ("output", hook("filter", OUTPUT, 0), rules::output()),
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
            rules::post_filter(),
        ),
    ];
    Table {
        chains: hooked.into_iter().map(chain).collect(),
        sets: sets(),
    }
}

/// An answer: the addresses that a frame has, its protocol and ports.
pub(super) const ANSWER: [Field; 5] = [
    Field::Address,
    Field::Address,
    Field::Protocol,
    Field::Port,
    Field::Port,
];

fn frames(router: Mac) -> Table {
    let hooked = [
        (
            "lift",
            hook("filter", PREROUTING, -300),
            bridge::lift(router),
        ),
        ("remember", hook("filter", OUTPUT, 0), bridge::remember()),
    ];
    let unhooked = [
        (bridge::ROUTE, bridge::route(router)),
        (bridge::REMEMBER_TCP, bridge::remember_tcp()),
    ];
    let unhooked = unhooked.map(|(name, rules)| (name.to_owned(), Chain { hook: None, rules }));
    let answers = Set::dynamic(&ANSWER, bridge::OPEN_MS, bridge::ANSWERS);
    let closing = Set::dynamic(&ANSWER, bridge::CLOSING_MS, bridge::ANSWERS);
    let sets = [
        (name::NETWORKS, Set::of_ranges(&[Field::Address])),
        (name::BRIDGED, Set::of(&[Field::Address])),
        (name::ANSWERS, answers),
        (name::CLOSING, closing),
    ];
    Table {
        chains: hooked.into_iter().map(chain).chain(unhooked).collect(),
        sets: sets.map(|(name, set)| (name.to_owned(), set)).into(),
    }
}

fn hook(kind: &str, point: u32, priority: i32) -> Hook {
    let kind = kind.to_owned();
    Hook {
        kind,
        point,
        priority,
    }
}

fn chain((name, hook, rules): (&str, Hook, Vec<Rule>)) -> (String, Chain) {
    let hook = Some(hook);
    (name.to_owned(), Chain { hook, rules })
}
