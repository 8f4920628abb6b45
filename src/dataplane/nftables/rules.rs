//! The static chains of a node: the packet's way, in order. Pure.
//!
//! # Overlay, virtual addresses, published ports
//!
//! *Lift.* What does not stay on the bridges comes here: `bridge.rs`.
//!
//! *Entry.* A packet for a published port enters at node X, which sends it to a task, its source untouched. The task's
//! node Y sees X's router as the sender of the frame and remembers X in the connection's mark; the answer goes to the
//! task's gateway, Y, which sends it back to X by a routing table of X's own, and X restores the port. Connections through
//! different entry nodes live in zones of their own: the same client port through two of them must not clash.
//!
//! *IPv6* goes the same way, in a table of its own that is there while a network carries it. A node has no address of IPv6 by
//! which others know it: where it hides somebody, it is behind the one that `address::node6` makes of its address of IPv4,
//! which no link has and no packet outside of overlays.
//!
//! The mark is `0x64FFNNNN`: 0x64 says that it is ours, N is the entry node's index (0: this node), and F
//! [`OWN_SOURCE`] or nothing.

use super::expression::*;
use super::parts::*;
use super::ruleset::Rule;
use super::tables::name;
use crate::dataplane::address::Version;
use crate::dataplane::constants::{ANSWERED_HERE, GROUP, MARK, MARK_MASK, NODE_MASK, OWN_SOURCE};
use crate::dataplane::state::State;
use std::net::{IpAddr, Ipv6Addr};

/// Each entry node has its zone.
fn zoned(version: Version) -> Rule {
    let zone = vec![ct_set_original(ct::ZONE, R0)];
    rule(
        "each entry node has its zone",
        [
            from_overlay(),
            field_not_in(version, SOURCE, name::NETWORKS),
            entry_mark(),
            zone,
        ],
    )
}

/// Of IPv6, which has no loopback that routes lead to, and no VXLAN.
pub(super) fn pre_raw6() -> Vec<Rule> {
    vec![
        rule(
            "who is where on a link",
            [discovery(), end(&Verdict::Accept)],
        ),
        zoned(Version::V6),
    ]
}

pub(super) fn pre_raw(state: &State) -> Vec<Rule> {
    let port = vec![
        payload(Base::Transport, 2, 2, R0),
        compare(Operator::Equal, R0, &state.vxlan_port.0.to_be_bytes()),
    ];
    vec![
        zoned(Version::V4),
        rule(
            "of overlays only the loopback is guarded",
            [
                from_overlay(),
                field_masked(Operator::Unequal, Version::V4, DESTINATION, LOOPBACK),
                end(&Verdict::Accept),
            ],
        ),
        // ARPHRD_LOOPBACK.
        rule(
            "the node itself",
            [
                is(meta::IIFTYPE, &772_u16.to_ne_bytes()),
                end(&Verdict::Accept),
            ],
        ),
        rule(
            "route_localnet opens the loopback to nobody else",
            [
                field_masked(Operator::Equal, Version::V4, DESTINATION, LOOPBACK),
                end(&Verdict::Drop),
            ],
        ),
        rule(
            "only members send VXLAN",
            [
                is(meta::L4PROTO, &[17]),
                port,
                field_not_in(Version::V4, SOURCE, name::MEMBERS),
                end(&Verdict::Drop),
            ],
        ),
    ]
}

pub(super) fn pre_mangle(version: Version) -> Vec<Rule> {
    let reply = vec![ct(ct::DIRECTION, R0), compare(Operator::Equal, R0, &[1])];
    let route = vec![ct(ct::MARK, R0), meta_set(meta::MARK, R0)];
    vec![
        rule(
            "answers go back through the entry node",
            [
                ct_mark(Operator::Equal, MARK_MASK, MARK),
                ct_mark(Operator::Unequal, NODE_MASK, 0),
                reply,
                field_not_in(version, DESTINATION, name::NETWORKS),
                route,
                end(&Verdict::Accept),
            ],
        ),
        rule(
            "remember the entry node",
            [
                ct_bits(ct::STATE, NEW),
                from_overlay(),
                field_not_in(version, SOURCE, name::NETWORKS),
                entry_mark(),
                vec![ct_set(ct::MARK, R0)],
            ],
        ),
    ]
}

fn to_service(version: Version) -> Rule {
    let chosen = vec![
        address(version, DESTINATION, R0),
        look_up(name::SERVICES, R0, 0),
    ];
    rule("virtual addresses", [chosen])
}

/// The node's own addresses but those of gateways and link-local ones, where names are asked for; and of IPv6 the loopback,
/// from which the kernel routes nothing to other links.
fn node_address(version: Version) -> Part {
    let mut parts = is_local(DESTINATION).to_vec();
    parts.extend(field_not_in(version, DESTINATION, name::NETWORKS));
    let link_local = match version {
        Version::V4 => LINK_LOCAL,
        Version::V6 => LINK_LOCAL6,
    };
    parts.extend(field_masked(
        Operator::Unequal,
        version,
        DESTINATION,
        link_local,
    ));
    if version == Version::V6 {
        let loopback = Ipv6Addr::LOCALHOST.octets();
        parts.push(address(version, DESTINATION, R0));
        parts.push(compare(Operator::Unequal, R0, &loopback));
    }
    parts
}

fn to_port(version: Version) -> [Rule; 2] {
    let protocol = behind(version, R0);
    let at = vec![
        address(version, DESTINATION, R0),
        meta(meta::L4PROTO, protocol),
        payload(Base::Transport, 2, 2, protocol + 1),
        look_up(name::PORTS_AT, R0, 0),
    ];
    let any = vec![
        meta(meta::L4PROTO, R0),
        payload(Base::Transport, 2, 2, R1),
        look_up(name::PORTS, R0, 0),
    ];
    [
        rule("ports of one address", [node_address(version), at]),
        rule("ports of all addresses", [node_address(version), any]),
    ]
}

pub(super) fn pre_nat(version: Version) -> Vec<Rule> {
    let ports = to_port(version);
    [to_service(version)].into_iter().chain(ports).collect()
}

/// What the node itself asks.
pub(super) fn out_nat(version: Version) -> Vec<Rule> {
    pre_nat(version)
}

pub(super) fn forward(version: Version) -> Vec<Rule> {
    let unmarked = || ct_mark(Operator::Equal, u32::MAX, 0);
    let flagged = vec![
        ct(ct::MARK, R0),
        bitwise(R0, &(!OWN_SOURCE).to_ne_bytes(), &OWN_SOURCE.to_ne_bytes()),
        ct_set(ct::MARK, R0),
    ];
    let asked_another = vec![
        ct_original(ct::destination(version), R0),
        is_not_in(name::VIRTUAL, R0),
    ];
    let from_internal = vec![meta(meta::IIFNAME, R0), is_in(name::INTERNAL, R0)];
    vec![
        rule(
            "what is established",
            [ct_bits(ct::STATE, GOING), end(&Verdict::Accept)],
        ),
        rule(
            "a service without tasks refuses TCP",
            [
                field_in(version, DESTINATION, name::VIRTUAL),
                is_tcp(),
                vec![reset()],
            ],
        ),
        rule(
            "a service without tasks refuses",
            [
                field_in(version, DESTINATION, name::VIRTUAL),
                vec![unreachable(version)],
            ],
        ),
        rule(
            "within an overlay: the mark that Docker's chain lets pass",
            [inside(is_in), unmarked(), mark(MARK)],
        ),
        rule("within an overlay", [inside(is_in), end(&Verdict::Accept)]),
        rule(
            "containers of other networks: the answer must come back here",
            [
                to_overlay(),
                ct_mark(Operator::Equal, MARK_MASK | NODE_MASK, MARK),
                ct_bits(ct::STATUS, TRANSLATED),
                field_in(version, SOURCE, name::LOCAL_SOURCES),
                flagged,
            ],
        ),
        rule(
            "published ports",
            [
                to_overlay(),
                ct_mark(Operator::Equal, MARK_MASK, MARK),
                end(&Verdict::Accept),
            ],
        ),
        rule(
            "ports that the engine published",
            [
                to_overlay(),
                ct_bits(ct::STATUS, TRANSLATED),
                asked_another,
                end(&Verdict::Accept),
            ],
        ),
        rule("networks are isolated", [to_overlay(), end(&Verdict::Drop)]),
        rule(
            "internal networks have no way out",
            [from_internal, end(&Verdict::Drop)],
        ),
    ]
}

pub(super) fn output(version: Version) -> Vec<Rule> {
    // Redirect.
    let kind = match version {
        Version::V4 => 5,
        Version::V6 => 137,
    };
    let redirect = vec![
        payload(Base::Transport, 0, 1, R0),
        compare(Operator::Equal, R0, &[kind]),
    ];
    vec![
        rule(
            "a bridge that is routed back out of is no wrong way",
            [
                to_overlay(),
                is(meta::L4PROTO, &[icmp(version)]),
                redirect,
                end(&Verdict::Drop),
            ],
        ),
        rule(
            "a service without tasks refuses the node TCP",
            [
                field_in(version, DESTINATION, name::VIRTUAL),
                is_tcp(),
                vec![reset()],
            ],
        ),
        rule(
            "a service without tasks refuses the node",
            [
                field_in(version, DESTINATION, name::VIRTUAL),
                vec![unreachable(version)],
            ],
        ),
    ]
}

pub(super) fn post_mangle() -> Vec<Rule> {
    let ours = vec![
        meta(meta::MARK, R0),
        bitwise(R0, &MARK_MASK.to_ne_bytes(), &[0; 4]),
        compare(Operator::Equal, R0, &MARK.to_ne_bytes()),
    ];
    let clear = vec![load(R0, &[0; 4]), meta_set(meta::MARK, R0)];
    vec![rule(
        "VXLAN would take the mark for its outer packet's",
        [ours, clear],
    )]
}

pub(super) fn post_nat(own: IpAddr) -> Vec<Rule> {
    let version = Version::of(own);
    let translated = || ct_bits(ct::STATUS, TRANSLATED);
    let published = || {
        let mut parts = to_overlay();
        parts.extend(ct_mark(Operator::Equal, MARK_MASK | NODE_MASK, MARK));
        parts.extend(translated());
        parts
    };
    let itself = vec![
        address(version, SOURCE, R0),
        address(version, DESTINATION, behind(version, R0)),
        is_in(name::LOOPS, R0),
        masquerade(),
    ];
    let flagged = ct_mark(Operator::Equal, MARK_MASK | OWN_SOURCE, MARK | OWN_SOURCE);
    let local = is_local(SOURCE).to_vec();
    vec![
        rule(
            "a task that reaches itself by its service",
            [translated(), itself],
        ),
        rule(
            "the answer must come back here",
            [published(), flagged, from_here(own)],
        ),
        rule(
            "this node as its own client",
            [published(), local, from_here(own)],
        ),
        rule(
            "another node as client",
            [
                published(),
                field_in(version, SOURCE, name::MEMBERS),
                from_here(own),
            ],
        ),
        rule(
            "every node has the gateway's address: it is no source",
            [
                to_overlay(),
                field_in(version, SOURCE, name::GATEWAYS),
                from_here(own),
            ],
        ),
        rule(
            "the way out",
            [
                isnt(meta::OIFGROUP, &GROUP.to_ne_bytes()),
                field_in(version, SOURCE, name::NETWORKS),
                field_not_in(version, DESTINATION, name::NETWORKS),
                vec![masquerade()],
            ],
        ),
    ]
}

/// Behind all translation.
pub(super) fn post_filter(version: Version) -> Vec<Rule> {
    let question = vec![ct(ct::DIRECTION, R0), compare(Operator::Equal, R0, &[0])];
    let marked = vec![
        load(R0, &ANSWERED_HERE.to_ne_bytes()),
        meta_set(meta::MARK, R0),
    ];
    vec![rule(
        "what was translated within overlays is answered here",
        [
            to_overlay(),
            ct_bits(ct::STATUS, TRANSLATED | HIDDEN),
            question,
            field_in(version, SOURCE, name::NETWORKS),
            marked,
        ],
    )]
}
