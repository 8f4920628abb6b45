//! The chains of frames on bridges: which of them pass the router, and which stay. Pure.
//!
//! What two tasks say to each other over TCP or UDP stays on the bridges, where both are known to have the hardware
//! addresses by which forwarding entries lead to them. All else is lifted: readdressed to this node's router before the
//! bridge looks at it, so that it enters the node's IP stack. There connection tracking and address translation see both
//! directions, whether bridges call iptables or not; and a task that remembers a router by another address, of a node that
//! moved, loses nothing.
//!
//! *Answers.* A task answers the client of a virtual address as if it had been asked directly; only the client's node
//! can tell, which has translated the question. So the router's packets of translated connections carry a mark to the
//! bridge that they leave through, where the answer's addresses and ports are kept; frames that have them are lifted.
//! An answer that were not would have the client's kernel reset the connection, so they are kept for at least as long as
//! connection tracking keeps a connection. A direct connection that happens to have the same addresses and ports is lifted
//! too, in both directions, and gets another port from connection tracking.
//!
//! A lifted frame is always right, it only costs more: so whatever is not sure is lifted, and a task enters and leaves the
//! set of those whose frames stay without a connection noticing.

use super::expression::*;
use super::parts::*;
use super::ruleset::Rule;
use super::tables::name;
use crate::dataplane::address::{Mac, Version};
use crate::dataplane::constants::ANSWERED_HERE;

/// How long an answer is expected. Connection tracking forgets an established TCP connection that says nothing after five
/// days (nf_conntrack_tcp_timeout_established), one that is closing after two minutes at most, and one of UDP after two
/// (nf_conntrack_udp_timeout_stream).
pub(super) const OPEN_MS: u64 = 5 * 24 * 60 * 60 * 1_000;
pub(super) const CLOSING_MS: u64 = 2 * 60 * 1_000;
const DATAGRAMS_MS: u64 = 5 * 60 * 1_000;

/// How many answers are expected: more than connection tracking follows by default (262,144), with those that are closing.
pub(super) const ANSWERS: u32 = 1_000_000;

const TCP: u8 = 6;
const UDP: u8 = 17;

fn goto(chain: &str) -> Part {
    end(&Verdict::Goto(chain))
}

pub(super) fn is_no_ip() -> Part {
    isnt(meta::PROTOCOL, &[0x08, 0x00])
}

/// ETH_P_IPV6.
const IPV6: [u8; 2] = [0x86, 0xdd];

pub(super) fn is_ipv6() -> Part {
    is(meta::PROTOCOL, &IPV6)
}

/// The names of what there is for each version.
pub(super) struct Names {
    pub(super) networks: &'static str,
    pub(super) bridged: &'static str,
    pub(super) answers: &'static str,
    pub(super) closing: &'static str,
    pub(super) route: &'static str,
    pub(super) remember_tcp: &'static str,
}

pub(super) const fn names(version: Version) -> Names {
    match version {
        Version::V4 => Names {
            networks: name::NETWORKS,
            bridged: name::BRIDGED,
            answers: name::ANSWERS,
            closing: name::CLOSING,
            route: "route",
            remember_tcp: "remember_tcp",
        },
        Version::V6 => Names {
            networks: name::NETWORKS6,
            bridged: name::BRIDGED6,
            answers: name::ANSWERS6,
            closing: name::CLOSING6,
            route: "route6",
            remember_tcp: "remember_tcp6",
        },
    }
}

/// The addresses, protocol and ports of a frame, or of one that goes the other way.
fn connection(version: Version, is_turned: bool) -> Part {
    let ends = [(SOURCE, 0), (DESTINATION, 2)];
    let [(source, from), (destination, to)] = match is_turned {
        false => ends,
        true => [ends[1], ends[0]],
    };
    let second = behind(version, R0);
    let protocol = behind(version, second);
    vec![
        address(version, source, R0),
        address(version, destination, second),
        meta(meta::L4PROTO, protocol),
        payload(Base::Transport, from, 2, protocol + 1),
        payload(Base::Transport, to, 2, protocol + 2),
    ]
}

/// What tasks send, and what comes for them through the tunnel. Where networks carry IPv6, its frames have a chain of their own.
/// With a fast path all that is left for the bridge passes the router, `stays` says.
pub(super) fn lift(router: Mac, has_ipv6: bool, stays: bool) -> Vec<Rule> {
    let first = match has_ipv6 {
        false => Vec::new(),
        true => vec![rule("IPv6", [is_ipv6(), goto(LIFT6)])],
    };
    let no_ip = rule("what is not IPv4", [is_no_ip(), end(&Verdict::Accept)]);
    [first, vec![no_ip], lifted(Version::V4, router, stays)].concat()
}

/// The chain of frames of IPv6.
pub(super) const LIFT6: &str = "lift6";

/// The same of IPv6; who asks for neighbours asks the link.
pub(super) fn lift6(router: Mac, stays: bool) -> Vec<Rule> {
    let discovers = rule(
        "who is where on a link",
        [discovery(), end(&Verdict::Accept)],
    );
    [vec![discovers], lifted(Version::V6, router, stays)].concat()
}

/// What the chains of both versions have.
fn lifted(version: Version, router: Mac, stays: bool) -> Vec<Rule> {
    let to_many = vec![
        payload(Base::Link, 0, 1, R0),
        bitwise(R0, &[1], &[0]),
        compare(Operator::Unequal, R0, &[0]),
    ];
    let to_router = vec![
        payload(Base::Link, 0, 6, R0),
        compare(Operator::Equal, R0, &router.0),
    ];
    let route = || goto(names(version).route);
    let first = vec![
        rule("for everybody", [to_many, end(&Verdict::Accept)]),
        rule("for the router", [to_router, end(&Verdict::Accept)]),
    ];
    let rest = match stays {
        false => vec![rule("all else", [route()])],
        true => {
            let bridged = names(version).bridged;
            let elsewhere = field_not_in(version, DESTINATION, bridged);
            let elsewhere = rule("to elsewhere", [elsewhere, route()]);
            [vec![elsewhere], doubtful(version, route)].concat()
        }
    };
    [first, rest].concat()
}

/// What has to pass the router whatever it is addressed to; `away` leads it there. Of IPv6 that is also what has another header
/// before that of TCP or UDP, parts of packets too.
pub(super) fn doubtful(version: Version, away: impl Fn() -> Part) -> Vec<Rule> {
    let names = names(version);
    let protocol = match version {
        Version::V4 => meta(meta::L4PROTO, R0),
        Version::V6 => payload(Base::Network, 6, 1, R0),
    };
    let others = vec![
        protocol,
        compare(Operator::Unequal, R0, &[TCP]),
        compare(Operator::Unequal, R0, &[UDP]),
    ];
    // More of it follows, or this is no first part.
    let part = vec![
        payload(Base::Network, 6, 2, R0),
        bitwise(R0, &[0x3f, 0xff], &[0, 0]),
        compare(Operator::Unequal, R0, &[0, 0]),
    ];
    let part = match version {
        Version::V4 => Some(rule("fragments", [part, away()])),
        Version::V6 => None,
    };
    let expected = vec![is_in(names.answers, R0)];
    let before = [
        rule(
            "from elsewhere than a task of a known hardware address",
            [field_not_in(version, SOURCE, names.bridged), away()],
        ),
        rule("neither TCP nor UDP", [others, away()]),
    ];
    let after = [
        rule(
            "answers to what was translated here",
            [connection(version, false), expected.clone(), away()],
        ),
        rule(
            "what would be answered by the same",
            [connection(version, true), expected, away()],
        ),
    ];
    before.into_iter().chain(part).chain(after).collect()
}

/// The chain of what is lifted. With a fast path the bridge has no set of the tasks whose frames stay there.
pub(super) fn route(version: Version, router: Mac, stays: bool) -> Vec<Rule> {
    let names = names(version);
    let readdressed = || {
        // PACKET_HOST.
        let host = vec![load(R0, &[0]), meta_set(meta::PKTTYPE, R0)];
        let readdress = vec![load(R0, &router.0), payload_set(Base::Link, 0, 6, R0)];
        let accept = end(&Verdict::Accept);
        [host, readdress, accept].concat()
    };
    // Frames of all bridges of the node come by, not of ours only: these are known by whom they are for, or by who sent them.
    let is_for_task = match stays {
        true => field_in(version, DESTINATION, names.bridged),
        false => [
            vec![
                payload(Base::Link, 6, 2, R0),
                compare(Operator::Equal, R0, &Mac::OF_ROUTERS),
            ],
            field_in(version, DESTINATION, names.networks),
        ]
        .concat(),
    };
    vec![
        rule(
            "what tasks send passes the router",
            [field_in(version, SOURCE, names.networks), readdressed()],
        ),
        rule(
            "what other routers send for a task passes this one",
            [is_for_task, readdressed()],
        ),
    ]
}

/// What the router sends out goes on here if it was translated within overlays on this node.
pub(super) fn answered_here() -> Vec<Rule> {
    let others = vec![
        meta(meta::MARK, R0),
        compare(Operator::Unequal, R0, &ANSWERED_HERE.to_ne_bytes()),
    ];
    let clear = vec![load(R0, &[0; 4]), meta_set(meta::MARK, R0)];
    vec![
        rule(
            "what is answered elsewhere",
            [others, end(&Verdict::Accept)],
        ),
        rule("the mark ends here", [clear]),
    ]
}

/// The answers to what is translated here are kept.
pub(super) fn remember(has_ipv6: bool) -> Vec<Rule> {
    let other = match has_ipv6 {
        false => Vec::new(),
        true => vec![rule("IPv6", [is_ipv6(), goto(REMEMBER6)])],
    };
    [other, remembered(Version::V4)].concat()
}

/// The chain of IPv6.
pub(super) const REMEMBER6: &str = "remember6";

/// What keeps those of a version.
pub(super) fn remembered(version: Version) -> Vec<Rule> {
    let names = names(version);
    let kept = vec![keep(names.answers, R0, Some(DATAGRAMS_MS))];
    vec![
        rule("TCP", [is_tcp(), goto(names.remember_tcp)]),
        rule(
            "UDP",
            [is(meta::L4PROTO, &[UDP]), connection(version, true), kept],
        ),
    ]
}

/// The chain of TCP connections that were translated here.
pub(super) fn remember_tcp(version: Version) -> Vec<Rule> {
    let names = names(version);
    // FIN or RST.
    let ends = vec![
        payload(Base::Transport, 13, 1, R0),
        bitwise(R0, &[0x05], &[0]),
        compare(Operator::Unequal, R0, &[0]),
    ];
    let closes = vec![keep(names.closing, R0, None)];
    let shortly = vec![
        is_in(names.closing, R0),
        keep(names.answers, R0, Some(CLOSING_MS)),
    ];
    let long = vec![keep(names.answers, R0, None)];
    let connection = || connection(version, true);
    vec![
        rule("its end begins", [ends, connection(), closes]),
        rule(
            "for as long as an end takes",
            [connection(), shortly, end(&Verdict::Accept)],
        ),
        rule("for as long as it lives", [connection(), long]),
    ]
}
