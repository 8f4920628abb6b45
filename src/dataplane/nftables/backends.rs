//! The chains that choose a backend, one for each number of backends. Pure.

use super::expression::*;
use super::parts::{DESTINATION, Part, SOURCE, address, behind, mark, rule};
use super::ruleset::{Chain, Rule};
use super::tables::name;
use crate::dataplane::address::Version;
use crate::dataplane::constants::MARK;

/// How a chain of backends chooses: by chance, or by the client's address.
fn choose(version: Version, count: u32, by_client: bool) -> Part {
    match by_client {
        false => vec![random(count, R0)],
        true => {
            let length = 4 * (behind(version, R0) - R0);
            vec![address(version, SOURCE, R0), hash(R0, length, count, R0)]
        }
    }
}

/// The chain for services with so many backends.
pub(super) fn service(version: Version, count: u32, by_client: bool) -> Chain {
    let slot = vec![
        address(version, DESTINATION, R1),
        look_up(name::SERVICE_SLOTS, R0, R0),
        dnat(version, R0, None),
    ];
    unhooked(rule(
        "one of the backends",
        [choose(version, count, by_client), slot],
    ))
}

/// The chain for ports of all addresses with so many backends.
pub(super) fn port(version: Version, count: u32, by_client: bool, flags: u32) -> Chain {
    let slot = vec![
        meta(meta::L4PROTO, R1),
        payload(Base::Transport, 2, 2, R2),
        look_up(name::PORT_SLOTS, R0, R0),
        dnat(version, R0, Some(behind(version, R0))),
    ];
    unhooked(rule(
        "one of the backends",
        [mark(MARK | flags), choose(version, count, by_client), slot],
    ))
}

/// The chain for ports of one address with so many backends.
pub(super) fn port_at(version: Version, count: u32, by_client: bool, flags: u32) -> Chain {
    let slot = vec![
        address(version, DESTINATION, R1),
        meta(meta::L4PROTO, behind(version, R1)),
        payload(Base::Transport, 2, 2, behind(version, R1) + 1),
        look_up(name::PORT_AT_SLOTS, R0, R0),
        dnat(version, R0, Some(behind(version, R0))),
    ];
    unhooked(rule(
        "one of the backends",
        [mark(MARK | flags), choose(version, count, by_client), slot],
    ))
}

fn unhooked(rule: Rule) -> Chain {
    let rules = vec![rule];
    Chain { hook: None, rules }
}
