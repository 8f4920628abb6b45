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
use crate::dataplane::address::Mac;
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

fn is_no_ip() -> Part {
    isnt(meta::PROTOCOL, &[0x08, 0x00])
}

/// The addresses, protocol and ports of a frame, or of one that goes the other way.
fn connection(is_turned: bool) -> Part {
    let ends = [(SOURCE, 0), (DESTINATION, 2)];
    let [(source, from), (destination, to)] = match is_turned {
        false => ends,
        true => [ends[1], ends[0]],
    };
    vec![
        payload(Base::Network, source, 4, R0),
        payload(Base::Network, destination, 4, R1),
        meta(meta::L4PROTO, R2),
        payload(Base::Transport, from, 2, R3),
        payload(Base::Transport, to, 2, R4),
    ]
}

/// What tasks send, and what comes for them through the tunnel.
pub(super) fn lift(router: Mac) -> Vec<Rule> {
    let to_many = vec![
        payload(Base::Link, 0, 1, R0),
        bitwise(R0, &[1], &[0]),
        compare(Operator::Unequal, R0, &[0]),
    ];
    let to_router = vec![
        payload(Base::Link, 0, 6, R0),
        compare(Operator::Equal, R0, &router.0),
    ];
    let others = vec![
        meta(meta::L4PROTO, R0),
        compare(Operator::Unequal, R0, &[TCP]),
        compare(Operator::Unequal, R0, &[UDP]),
    ];
    // More of it follows, or this is no first part.
    let part = vec![
        payload(Base::Network, 6, 2, R0),
        bitwise(R0, &[0x3f, 0xff], &[0, 0]),
        compare(Operator::Unequal, R0, &[0, 0]),
    ];
    let expected = vec![is_in(name::ANSWERS, R0)];
    vec![
        rule("what is not IPv4", [is_no_ip(), end(&Verdict::Accept)]),
        rule("for everybody", [to_many, end(&Verdict::Accept)]),
        rule("for the router", [to_router, end(&Verdict::Accept)]),
        rule(
            "from elsewhere than a task of a known hardware address",
            [field_not_in(SOURCE, name::BRIDGED), goto(ROUTE)],
        ),
        rule(
            "to elsewhere",
            [field_not_in(DESTINATION, name::BRIDGED), goto(ROUTE)],
        ),
        rule("neither TCP nor UDP", [others, goto(ROUTE)]),
        rule("fragments", [part, goto(ROUTE)]),
        rule(
            "answers to what was translated here",
            [connection(false), expected.clone(), goto(ROUTE)],
        ),
        rule(
            "what would be answered by the same",
            [connection(true), expected, goto(ROUTE)],
        ),
    ]
}

/// The chain of what is lifted.
pub(super) const ROUTE: &str = "route";

pub(super) fn route(router: Mac) -> Vec<Rule> {
    let readdressed = || {
        // PACKET_HOST.
        let host = vec![load(R0, &[0]), meta_set(meta::PKTTYPE, R0)];
        let readdress = vec![load(R0, &router.0), payload_set(Base::Link, 0, 6, R0)];
        let accept = end(&Verdict::Accept);
        [host, readdress, accept].concat()
    };
    vec![
        rule(
            "what tasks send passes the router",
            [field_in(SOURCE, name::NETWORKS), readdressed()],
        ),
        rule(
            "what other routers send for a task passes this one",
            [field_in(DESTINATION, name::BRIDGED), readdressed()],
        ),
    ]
}

/// What the router sends out.
pub(super) fn remember() -> Vec<Rule> {
    let others = vec![
        meta(meta::MARK, R0),
        compare(Operator::Unequal, R0, &ANSWERED_HERE.to_ne_bytes()),
    ];
    let clear = vec![load(R0, &[0; 4]), meta_set(meta::MARK, R0)];
    let kept = vec![keep(name::ANSWERS, R0, Some(DATAGRAMS_MS))];
    vec![
        rule(
            "what is answered elsewhere",
            [others, end(&Verdict::Accept)],
        ),
        rule("the mark ends here", [clear]),
        rule("TCP", [is_tcp(), goto(REMEMBER_TCP)]),
        rule("UDP", [is(meta::L4PROTO, &[UDP]), connection(true), kept]),
    ]
}

/// The chain of TCP connections that were translated here.
pub(super) const REMEMBER_TCP: &str = "remember_tcp";

pub(super) fn remember_tcp() -> Vec<Rule> {
    // FIN or RST.
    let ends = vec![
        payload(Base::Transport, 13, 1, R0),
        bitwise(R0, &[0x05], &[0]),
        compare(Operator::Unequal, R0, &[0]),
    ];
    let closes = vec![keep(name::CLOSING, R0, None)];
    let shortly = vec![
        is_in(name::CLOSING, R0),
        keep(name::ANSWERS, R0, Some(CLOSING_MS)),
    ];
    let long = vec![keep(name::ANSWERS, R0, None)];
    vec![
        rule("its end begins", [ends, connection(true), closes]),
        rule(
            "for as long as an end takes",
            [connection(true), shortly, end(&Verdict::Accept)],
        ),
        rule("for as long as it lives", [connection(true), long]),
    ]
}
