//! Parts of rules: what a packet is, and what becomes of it. Pure.

use super::expression::*;
use super::ruleset::Rule;
use super::tables::name;
use crate::dataplane::address::{Version, octets};
use crate::dataplane::constants::GROUP;
use std::net::IpAddr;

pub(super) const SOURCE: Side = Side::Source;
pub(super) const DESTINATION: Side = Side::Destination;

/// ICMP of a version.
pub(super) const fn icmp(version: Version) -> u8 {
    match version {
        Version::V4 => 1,
        Version::V6 => 58,
    }
}

/// How many bytes an address has.
const fn length(version: Version) -> u32 {
    match version {
        Version::V4 => 4,
        Version::V6 => 16,
    }
}

/// The register behind one that holds an address.
pub(super) const fn behind(version: Version, register: u32) -> u32 {
    register + length(version) / 4
}

/// An address of a packet, by its place in the header.
pub(super) fn address(version: Version, side: Side, register: u32) -> Expression {
    let offset = match (version, side) {
        (Version::V4, Side::Source) => 12,
        (Version::V4, Side::Destination) => 16,
        (Version::V6, Side::Source) => 8,
        (Version::V6, Side::Destination) => 24,
    };
    payload(Base::Network, offset, length(version), register)
}

/// Parts of a rule.
pub(super) type Part = Vec<Expression>;

pub(super) fn rule<const N: usize>(text: &str, parts: [Part; N]) -> Rule {
    Rule::new(text, body(parts.into_iter().flatten()))
}

pub(super) fn is(key: u32, bytes: &[u8]) -> Part {
    vec![meta(key, R0), compare(Operator::Equal, R0, bytes)]
}

pub(super) fn isnt(key: u32, bytes: &[u8]) -> Part {
    vec![meta(key, R0), compare(Operator::Unequal, R0, bytes)]
}

/// Came from an overlay.
pub(super) fn from_overlay() -> Part {
    is(meta::IIFGROUP, &GROUP.to_ne_bytes())
}

/// Goes to an overlay.
pub(super) fn to_overlay() -> Part {
    is(meta::OIFGROUP, &GROUP.to_ne_bytes())
}

pub(super) fn field_in(version: Version, side: Side, set: &str) -> Part {
    vec![address(version, side, R0), is_in(set, R0)]
}

pub(super) fn field_not_in(version: Version, side: Side, set: &str) -> Part {
    vec![address(version, side, R0), is_not_in(set, R0)]
}

/// The address lies in a subnet, or does not.
pub(super) fn field_masked(
    operator: Operator,
    version: Version,
    side: Side,
    (mask, value): (&[u8], &[u8]),
) -> Part {
    vec![
        address(version, side, R0),
        bitwise(R0, mask, &vec![0; mask.len()]),
        compare(operator, R0, value),
    ]
}

pub(super) fn ct_mark(operator: Operator, mask: u32, value: u32) -> Part {
    vec![
        ct(ct::MARK, R0),
        bitwise(R0, &mask.to_ne_bytes(), &[0; 4]),
        compare(operator, R0, &value.to_ne_bytes()),
    ]
}

/// Any of the bits is set.
pub(super) fn ct_bits(key: u32, bits: u32) -> Part {
    vec![
        ct(key, R0),
        bitwise(R0, &bits.to_ne_bytes(), &[0; 4]),
        compare(Operator::Unequal, R0, &[0; 4]),
    ]
}

/// The bits of `ct state`: established or related, and new.
pub(super) const GOING: u32 = 2 | 4;
pub(super) const NEW: u32 = 8;

/// IPS_DST_NAT of `ct status`: its destination was translated.
pub(super) const TRANSLATED: u32 = 0x20;

/// IPS_SRC_NAT: its source was.
pub(super) const HIDDEN: u32 = 0x10;

pub(super) fn end(what: &Verdict<'_>) -> Part {
    vec![verdict(what)]
}

/// Its source becomes this node's address.
pub(super) fn from_here(own: IpAddr) -> Part {
    vec![load(R0, &octets(own)), snat(Version::of(own), R0)]
}

/// Sets the connection's mark.
pub(super) fn mark(value: u32) -> Part {
    vec![load(R0, &value.to_ne_bytes()), ct_set(ct::MARK, R0)]
}

/// Masks and subnets: the loopback's, and those of single links.
pub(super) const LOOPBACK: (&[u8], &[u8]) = (&[255, 0, 0, 0], &[127, 0, 0, 0]);
pub(super) const LINK_LOCAL: (&[u8], &[u8]) = (&[255, 255, 0, 0], &[169, 254, 0, 0]);
pub(super) const LINK_LOCAL6: (&[u8], &[u8]) = (
    &[0xff, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
);

/// Neighbours and routers of IPv6 that look for each other, and redirects (RFC 4861: types 133 to 137).
pub(super) fn discovery() -> Part {
    vec![
        meta(meta::L4PROTO, R0),
        compare(Operator::Equal, R0, &[icmp(Version::V6)]),
        payload(Base::Transport, 0, 1, R0),
        compare(Operator::AtLeast, R0, &[133]),
        compare(Operator::AtMost, R0, &[137]),
    ]
}

/// The mark of the entry node, by the hardware address that the frame came from.
pub(super) fn entry_mark() -> Part {
    vec![
        payload(Base::Link, 6, 6, R0),
        look_up(name::ENTRY_MARKS, R0, R0),
    ]
}

// A zone is read from the first two bytes of a register: of a mark, the node's index. Nobody runs engines on machines
// where those would be the upper ones.
const _: () = assert!(
    cfg!(target_endian = "little"),
    "zones are the lower half of marks"
);

pub(super) fn is_tcp() -> Part {
    is(meta::L4PROTO, &[6])
}

/// Both links are of one overlay, or are not.
pub(super) fn inside(lookup: fn(&str, u32) -> Expression) -> Part {
    vec![
        meta(meta::IIFNAME, R0),
        meta(meta::OIFNAME, R4),
        lookup(name::INSIDE, R0),
    ]
}
