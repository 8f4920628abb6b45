//! Tracked connections as messages of ctnetlink. Pure. The numbers are those of linux/netfilter/nfnetlink_conntrack.h.

use super::message::{Attributes, Message, attribute, be32};
use crate::api::unit::Port;
use crate::dataplane::address::Version;
use crate::dataplane::connections::{Answer, Connection};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// NFNL_SUBSYS_CTNETLINK, as the upper half of message types, with IPCTNL_MSG_CT_GET and IPCTNL_MSG_CT_DELETE.
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;

/// The length of the header.
const HEADER: usize = 4;

fn header(version: Version) -> [u8; HEADER] {
    [version.family(), 0, 0, 0]
}

/// The attributes that name a connection: CTA_TUPLE_ORIG, CTA_ID, CTA_ZONE.
const NAMES: [u16; 3] = [1, 12, 18];

/// IPS_DST_NAT.
const TRANSLATED: u32 = 0x20;

/// Asks for all connections of a version.
pub(in crate::dataplane) fn list(version: Version) -> Message {
    Message::new(GET, 0, &header(version), Attributes::new())
}

/// Forgets a connection.
pub(in crate::dataplane) fn delete(connection: &Connection) -> Message {
    let header = header(Version::of(connection.target));
    let mut message = Message::new(DELETE, 0, &header, Attributes::new());
    message.body.extend(&connection.handle);
    message
}

/// A connection.
pub(in crate::dataplane) fn connection(body: &[u8]) -> Option<Connection> {
    let attributes = body.get(HEADER..)?;
    let (original, reply) = (attribute(attributes, 1)?, attribute(attributes, 2)?);
    let number = |kind| {
        attribute(attributes, kind)
            .and_then(be32)
            .unwrap_or_default()
    };
    let protocol = attribute(original, 2).unwrap_or_default();
    let port = |tuple, kind| {
        let port = attribute(attribute(tuple, 2)?, kind)?.first_chunk()?;
        Some(Port(u16::from_be_bytes(*port)))
    };
    // CTA_IP_V4_SRC and CTA_IP_V4_DST, or two more for IPv6.
    let address = |tuple, kind| {
        let addresses = attribute(tuple, 1)?;
        let version4 = || attribute(addresses, kind)?.first_chunk::<4>();
        let version6 = || attribute(addresses, kind + 2)?.first_chunk::<16>();
        match version4() {
            Some(octets) => Some(IpAddr::from(Ipv4Addr::from(*octets))),
            None => version6().map(|octets| Ipv6Addr::from(*octets).into()),
        }
    };
    let none = Port(0);
    let answer = Answer {
        from: address(reply, 1)?,
        to: address(reply, 2)?,
        from_port: port(reply, 2).unwrap_or(none),
        to_port: port(reply, 3).unwrap_or(none),
    };
    let mut handle = Attributes::new();
    for kind in NAMES {
        if let Some(value) = attribute(attributes, kind) {
            // Only the tuple is a nest.
            let nested = if kind == 1 { 0x8000 } else { 0 };
            handle = handle.bytes(kind | nested, value);
        }
    }
    Some(Connection {
        protocol: *attribute(protocol, 1)?.first()?,
        destination: address(original, 2)?,
        port: port(original, 3).unwrap_or(none),
        target: answer.from,
        is_translated: number(3) & TRANSLATED != 0,
        answer,
        mark: number(8),
        handle: handle.as_slice().to_vec(),
    })
}
