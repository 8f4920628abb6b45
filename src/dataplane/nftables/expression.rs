//! Expressions: the instructions that a rule is made of. Pure.
//!
//! Each function gives one expression as the kernel reads it; the numbers are those of linux/netfilter/nf_tables.h. There
//! are sixteen registers of 4 bytes; what is longer takes those that follow too.

use crate::dataplane::address::Version;
use crate::dataplane::netlink::message::Attributes;

/// Registers of 4 bytes, NFT_REG32_00 and up.
pub(super) const R0: u32 = 8;
pub(super) const R1: u32 = 9;
pub(super) const R2: u32 = 10;
pub(super) const R4: u32 = 12;

/// Keys of `meta`.
pub(super) mod meta {
    pub(in super::super) const PROTOCOL: u32 = 1;
    pub(in super::super) const MARK: u32 = 3;
    pub(in super::super) const IIFNAME: u32 = 6;
    pub(in super::super) const OIFNAME: u32 = 7;
    pub(in super::super) const IIFTYPE: u32 = 8;
    pub(in super::super) const L4PROTO: u32 = 16;
    pub(in super::super) const PKTTYPE: u32 = 19;
    pub(in super::super) const IIFGROUP: u32 = 21;
    pub(in super::super) const OIFGROUP: u32 = 22;
}

/// Keys of `ct`.
pub(super) mod ct {
    pub(in super::super) const STATE: u32 = 0;
    pub(in super::super) const DIRECTION: u32 = 1;
    pub(in super::super) const STATUS: u32 = 2;
    pub(in super::super) const MARK: u32 = 3;
    pub(in super::super) const ZONE: u32 = 17;

    /// NFT_CT_DST_IP and NFT_CT_DST_IP6.
    pub(in super::super) const fn destination(version: super::Version) -> u32 {
        match version {
            super::Version::V4 => 20,
            super::Version::V6 => 22,
        }
    }
}

/// Where a payload begins.
#[derive(Clone, Copy)]
pub(super) enum Base {
    Link = 0,
    Network = 1,
    Transport = 2,
}

/// How two values compare.
#[derive(Clone, Copy)]
pub(super) enum Operator {
    Equal = 0,
    Unequal = 1,
    AtMost = 3,
    AtLeast = 5,
}

/// What becomes of a packet.
pub(super) enum Verdict<'a> {
    Drop,
    Accept,
    Goto(&'a str),
    Jump(&'a str),
}

/// An expression.
pub(super) type Expression = Attributes;

/// The body of a rule: its expressions as a list.
pub(super) fn body(expressions: impl IntoIterator<Item = Expression>) -> Vec<u8> {
    let list = expressions
        .into_iter()
        .fold(Attributes::new(), |list, expression| {
            list.nest(1, expression)
        });
    list.as_slice().to_vec()
}

fn named(name: &str, data: Attributes) -> Expression {
    Attributes::new().text(1, name).nest(2, data)
}

/// A value as the kernel reads it.
pub(super) fn value(bytes: &[u8]) -> Attributes {
    Attributes::new().bytes(1, bytes)
}

/// A verdict as the kernel reads it.
pub(super) fn verdict_value(verdict: &Verdict<'_>) -> Attributes {
    // NF_DROP, NF_ACCEPT, NFT_GOTO, NFT_JUMP.
    let inner = match verdict {
        Verdict::Drop => Attributes::new().be32(1, 0),
        Verdict::Accept => Attributes::new().be32(1, 1),
        Verdict::Goto(chain) => Attributes::new()
            .be32(1, (-4_i32).cast_unsigned())
            .text(2, chain),
        Verdict::Jump(chain) => Attributes::new()
            .be32(1, (-3_i32).cast_unsigned())
            .text(2, chain),
    };
    Attributes::new().nest(2, inner)
}

pub(super) fn meta(key: u32, register: u32) -> Expression {
    named("meta", Attributes::new().be32(1, register).be32(2, key))
}

pub(super) fn meta_set(key: u32, register: u32) -> Expression {
    named("meta", Attributes::new().be32(2, key).be32(3, register))
}

pub(super) fn ct(key: u32, register: u32) -> Expression {
    named("ct", Attributes::new().be32(1, register).be32(2, key))
}

/// Of the connection as its first packet was (IP_CT_DIR_ORIGINAL).
pub(super) fn ct_original(key: u32, register: u32) -> Expression {
    named(
        "ct",
        Attributes::new().be32(1, register).be32(2, key).u8(3, 0),
    )
}

pub(super) fn ct_set(key: u32, register: u32) -> Expression {
    named("ct", Attributes::new().be32(2, key).be32(4, register))
}

/// For the first direction only.
pub(super) fn ct_set_original(key: u32, register: u32) -> Expression {
    named(
        "ct",
        Attributes::new().be32(2, key).u8(3, 0).be32(4, register),
    )
}

pub(super) fn payload(base: Base, offset: u32, length: u32, register: u32) -> Expression {
    let place = Attributes::new().be32(1, register).be32(2, base as u32);
    named("payload", place.be32(3, offset).be32(4, length))
}

/// Without a checksum to mend.
pub(super) fn payload_set(base: Base, offset: u32, length: u32, register: u32) -> Expression {
    let place = Attributes::new()
        .be32(2, base as u32)
        .be32(3, offset)
        .be32(4, length);
    named(
        "payload",
        place.be32(5, register).be32(6, 0).be32(7, 0).be32(8, 0),
    )
}

pub(super) fn compare(operator: Operator, register: u32, bytes: &[u8]) -> Expression {
    let sides = Attributes::new().be32(1, register).be32(2, operator as u32);
    named("cmp", sides.nest(3, value(bytes)))
}

/// `register & mask ^ flip`, in place.
pub(super) fn bitwise(register: u32, mask: &[u8], flip: &[u8]) -> Expression {
    let length = u32::try_from(mask.len()).expect("a mask fits into registers");
    let place = Attributes::new()
        .be32(1, register)
        .be32(2, register)
        .be32(3, length);
    named("bitwise", place.nest(4, value(mask)).nest(5, value(flip)))
}

/// Goes on if the register's value is in the set.
pub(super) fn is_in(set: &str, register: u32) -> Expression {
    named("lookup", Attributes::new().text(1, set).be32(2, register))
}

/// Goes on if it is not (NFT_LOOKUP_F_INV).
pub(super) fn is_not_in(set: &str, register: u32) -> Expression {
    named(
        "lookup",
        Attributes::new().text(1, set).be32(2, register).be32(5, 1),
    )
}

/// Puts what a map has for a key into a register, or does what a verdict map says (register 0); goes on to the next rule
/// if it has nothing.
pub(super) fn look_up(map: &str, key: u32, target: u32) -> Expression {
    named(
        "lookup",
        Attributes::new().text(1, map).be32(2, key).be32(3, target),
    )
}

/// Puts the key into a dynamic set, or keeps it there for as long again: for the set's own time, or for so many
/// milliseconds (NFT_DYNSET_OP_UPDATE).
pub(super) fn keep(set: &str, key: u32, time_ms: Option<u64>) -> Expression {
    let data = Attributes::new().text(1, set).be32(3, 1).be32(4, key);
    let data = time_ms
        .into_iter()
        .fold(data, |data, time| data.bytes(6, &time.to_be_bytes()));
    named("dynset", data)
}

/// Hands the frame to the link whose number a register holds, and is done with it.
pub(super) fn forward(register: u32) -> Expression {
    named("fwd", Attributes::new().be32(1, register))
}

pub(super) fn load(register: u32, bytes: &[u8]) -> Expression {
    named(
        "immediate",
        Attributes::new().be32(1, register).nest(2, value(bytes)),
    )
}

pub(super) fn verdict(verdict: &Verdict<'_>) -> Expression {
    named(
        "immediate",
        Attributes::new().be32(1, 0).nest(2, verdict_value(verdict)),
    )
}

/// A random number below `modulus`.
pub(super) fn random(modulus: u32, register: u32) -> Expression {
    named(
        "numgen",
        Attributes::new()
            .be32(1, register)
            .be32(2, modulus)
            .be32(3, 1),
    )
}

/// A number below `modulus` by a hash of so many bytes. The seed is the same on all nodes and for ever.
pub(super) fn hash(source: u32, length: u32, modulus: u32, register: u32) -> Expression {
    let place = Attributes::new()
        .be32(1, source)
        .be32(2, register)
        .be32(3, length);
    named("hash", place.be32(4, modulus).be32(5, 1))
}

/// Of which address of a packet the kernel is asked.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Source = 1,
    Destination = 2,
}

/// Goes on if the address is one of this node's own (RTN_LOCAL).
pub(super) fn is_local(side: Side) -> [Expression; 2] {
    let fib = Attributes::new()
        .be32(1, R0)
        .be32(2, 3)
        .be32(3, side as u32);
    [
        named("fib", fib),
        compare(Operator::Equal, R0, &2_u32.to_ne_bytes()),
    ]
}

/// A new source address from a register.
pub(super) fn snat(version: Version, address: u32) -> Expression {
    named("nat", translate(0, version, address))
}

/// What is translated, and to the address in which register.
fn translate(side: u32, version: Version, address: u32) -> Attributes {
    let family = version.family().into();
    Attributes::new()
        .be32(1, side)
        .be32(2, family)
        .be32(3, address)
}

/// A new destination address from a register, and port.
pub(super) fn dnat(version: Version, address: u32, port: Option<u32>) -> Expression {
    let nat = translate(1, version, address);
    named(
        "nat",
        port.into_iter().fold(nat, |nat, port| nat.be32(5, port)),
    )
}

pub(super) fn masquerade() -> Expression {
    named("masq", Attributes::new())
}

/// Refuses with a TCP reset.
pub(super) fn reset() -> Expression {
    named("reject", Attributes::new().be32(1, 1).u8(2, 0))
}

/// Refuses with ICMP: port unreachable.
pub(super) fn unreachable(version: Version) -> Expression {
    let code = match version {
        Version::V4 => 3,
        Version::V6 => 4,
    };
    named("reject", Attributes::new().be32(1, 0).u8(2, code))
}

/// The match `connmark` of iptables, revision 1, in its own form.
pub(super) fn connmark(mark: u32, mask: u32) -> Expression {
    let mut info = Vec::new();
    info.extend(mark.to_ne_bytes());
    info.extend(mask.to_ne_bytes());
    // Not inverted, and what pads it to 8 bytes.
    info.extend([0; 8]);
    named(
        "match",
        Attributes::new()
            .text(1, "connmark")
            .be32(2, 1)
            .bytes(3, &info),
    )
}

/// Counts bytes and packets, as each rule of iptables does.
pub(super) fn counter() -> Expression {
    named(
        "counter",
        Attributes::new().bytes(1, &[0; 8]).bytes(2, &[0; 8]),
    )
}
