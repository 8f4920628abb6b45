//! Links, addresses, neighbours, routes and rules as messages of rtnetlink. Pure. The numbers are those of
//! linux/rtnetlink.h, if_link.h, neighbour.h and fib_rules.h.

use super::message::{Attributes, Message, attribute, flag, text, u16_at, u32_at};
use crate::api::unit::Port;
use crate::dataplane::address::{Mac, Prefix, Version, octets};
use crate::dataplane::kernel::{Action, Link, LinkKind, Place, Rule, Tunnel};
use crate::dataplane::state::Vni;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Message types.
pub(in crate::dataplane) mod kind {
    pub(in crate::dataplane) const NEW_LINK: u16 = 16;
    pub(in crate::dataplane) const DELETE_LINK: u16 = 17;
    pub(in crate::dataplane) const GET_LINK: u16 = 18;
    pub(in crate::dataplane) const NEW_ADDRESS: u16 = 20;
    pub(in crate::dataplane) const DELETE_ADDRESS: u16 = 21;
    pub(in crate::dataplane) const GET_ADDRESS: u16 = 22;
    pub(in crate::dataplane) const NEW_ROUTE: u16 = 24;
    pub(in crate::dataplane) const DELETE_ROUTE: u16 = 25;
    pub(in crate::dataplane) const GET_ROUTE: u16 = 26;
    pub(in crate::dataplane) const NEW_NEIGHBOUR: u16 = 28;
    pub(in crate::dataplane) const DELETE_NEIGHBOUR: u16 = 29;
    pub(in crate::dataplane) const GET_NEIGHBOUR: u16 = 30;
    pub(in crate::dataplane) const NEW_RULE: u16 = 32;
    pub(in crate::dataplane) const DELETE_RULE: u16 = 33;
    pub(in crate::dataplane) const GET_RULE: u16 = 34;
}

const BRIDGE: u8 = 7;

/// IFF_UP.
const UP: u32 = 1;
/// NUD_PERMANENT and NUD_NOARP.
const PERMANENT: u16 = 0x80;
const STATIC: u16 = 0x40;
/// NTF_SELF, NTF_MASTER and NTF_STICKY.
const SELF: u8 = 0x02;
const MASTER: u8 = 0x04;
const STICKY: u8 = 0x40;
/// Who made a route, for those who print it: a number that nobody else has.
const PROTOCOL: u8 = 100;
/// RTPROT_RA: a router advertised it.
const ADVERTISED: u8 = 9;
/// IFA_F_NODAD: nobody is asked whether he has it. Every node has the same address, and none is told of another's.
const UNASKED: u8 = 2;
/// RTNH_F_ONLINK: the next hop is there, whatever addresses say.
const ONLINK: u32 = 4;
/// FIB_RULE_INVERT.
const INVERTED: u32 = 2;

/// The length of each kind's header.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const ENTRY_HEADER: usize = 12;

fn link_header(index: u32, is_up: bool) -> [u8; LINK_HEADER] {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    if is_up {
        header[8..12].copy_from_slice(&UP.to_ne_bytes());
        header[12..16].copy_from_slice(&UP.to_ne_bytes());
    }
    header
}

/// Asks for all links.
pub(in crate::dataplane) fn list_links() -> Message {
    Message::new(kind::GET_LINK, 0, &[0; LINK_HEADER], Attributes::new())
}

/// Asks for all of a kind, of one version.
pub(in crate::dataplane) fn list(kind: u16, version: Version) -> Message {
    let family = version.family();
    let header: &[u8] = match kind {
        kind::GET_ADDRESS => &[family, 0, 0, 0, 0, 0, 0, 0],
        _ => &[family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    };
    Message::new(kind, 0, header, Attributes::new())
}

/// Asks for the entries of bridges and VXLAN devices.
pub(in crate::dataplane) fn list_forwarding() -> Message {
    let header = [BRIDGE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    Message::new(kind::GET_NEIGHBOUR, 0, &header, Attributes::new())
}

/// Makes a link, switched off and in no bridge.
pub(in crate::dataplane) fn add_link(name: &str, link: &Link) -> Message {
    let info = match &link.kind {
        LinkKind::Bridge => Attributes::new().text(1, "bridge"),
        LinkKind::Tunnel(tunnel) => Attributes::new().text(1, "vxlan").nest(2, vxlan(tunnel)),
        LinkKind::Foreign(kind) => Attributes::new().text(1, kind),
    };
    let attributes = Attributes::new()
        .text(3, name)
        .bytes(1, &link.mac.0)
        .nest(18, info);
    let flags = flag::CREATE | flag::EXCL;
    Message::new(kind::NEW_LINK, flags, &link_header(0, false), attributes)
}

fn vxlan(tunnel: &Tunnel) -> Attributes {
    let device = Attributes::new()
        .u32(1, tunnel.vni.0)
        .bytes(4, &tunnel.local.octets());
    let device = device
        .u8(7, tunnel.learns.into())
        .u8(11, tunnel.is_proxy.into());
    device.be16(15, tunnel.port.0)
}

/// Changes what can be changed of a link; `bridge` is the index of the bridge that it is a port of, 0 for none.
pub(in crate::dataplane) fn set_link(index: u32, link: &Link, bridge: u32) -> Message {
    let attributes = Attributes::new()
        .bytes(1, &link.mac.0)
        .u32(27, link.group)
        .u32(10, bridge);
    let attributes = link
        .mtu
        .into_iter()
        .fold(attributes, |all, mtu| all.u32(4, mtu));
    Message::new(
        kind::NEW_LINK,
        0,
        &link_header(index, link.is_up),
        attributes,
    )
}

/// Changes one switch of a port of a bridge: [`HAIRPIN`] or [`LEARNING`].
pub(in crate::dataplane) fn set_port(index: u32, switch: u16, is_on: bool) -> Message {
    let data = Attributes::new().u8(switch, is_on.into());
    let info = Attributes::new().text(4, "bridge").nest(5, data);
    Message::new(
        kind::NEW_LINK,
        0,
        &link_header(index, false),
        Attributes::new().nest(18, info),
    )
}

/// IFLA_BRPORT_MODE and IFLA_BRPORT_LEARNING.
pub(in crate::dataplane) const HAIRPIN: u16 = 4;
pub(in crate::dataplane) const LEARNING: u16 = 8;

pub(in crate::dataplane) fn delete_link(index: u32) -> Message {
    Message::new(
        kind::DELETE_LINK,
        0,
        &link_header(index, false),
        Attributes::new(),
    )
}

/// A link as it was listed.
#[derive(Clone, Debug)]
pub(in crate::dataplane) struct Listed {
    pub(in crate::dataplane) index: u32,
    pub(in crate::dataplane) name: String,
    /// The index of the bridge or whatever else it belongs to; 0: none.
    pub(in crate::dataplane) parent: u32,
    /// Its largest packet, whatever it is.
    pub(in crate::dataplane) mtu: u32,
    /// Without the name of its bridge.
    pub(in crate::dataplane) link: Link,
    /// Whether its bridge lets frames out where they came in; `None`: it is no port of a bridge.
    pub(in crate::dataplane) hairpin: Option<bool>,
}

pub(in crate::dataplane) fn link(body: &[u8]) -> Option<Listed> {
    let attributes = body.get(LINK_HEADER..)?;
    let number = |kind| {
        attribute(attributes, kind)
            .and_then(|value| u32_at(value, 0))
            .unwrap_or(0)
    };
    let info = attribute(attributes, 18).unwrap_or_default();
    let what = attribute(info, 1).map(text).unwrap_or_default();
    let port = attribute(info, 4).filter(|kind| text(kind) == "bridge");
    let port = port.and_then(|_| attribute(info, 5));
    let switch = |kind| {
        port.and_then(|port| attribute(port, kind))
            .map(|value| value.first() == Some(&1))
    };
    let kind = match what.as_str() {
        "bridge" => LinkKind::Bridge,
        "vxlan" => LinkKind::Tunnel(tunnel(attribute(info, 2).unwrap_or_default())),
        _ => LinkKind::Foreign(what),
    };
    let mtu = matches!(kind, LinkKind::Tunnel(_)).then(|| number(4));
    let mac = attribute(attributes, 1).and_then(|mac| mac.first_chunk());
    Some(Listed {
        index: u32_at(body, 4)?,
        name: attribute(attributes, 3).map(text)?,
        parent: number(10),
        mtu: number(4),
        hairpin: switch(HAIRPIN),
        link: Link {
            kind,
            mac: Mac(mac.copied().unwrap_or_default()),
            mtu,
            group: number(27),
            bridge: None,
            is_learned_from: switch(LEARNING).unwrap_or(true),
            is_up: u32_at(body, 8)? & UP != 0,
        },
    })
}

fn tunnel(data: &[u8]) -> Tunnel {
    let byte = |kind| attribute(data, kind).is_some_and(|value| value.first() == Some(&1));
    let port = attribute(data, 15).and_then(|port| port.first_chunk());
    Tunnel {
        vni: Vni(attribute(data, 1)
            .and_then(|vni| u32_at(vni, 0))
            .unwrap_or(0)),
        local: attribute(data, 4)
            .and_then(|octets| octets.first_chunk::<4>())
            .map_or(Ipv4Addr::UNSPECIFIED, |octets| (*octets).into()),
        port: Port(port.copied().map(u16::from_be_bytes).unwrap_or_default()),
        learns: byte(7),
        is_proxy: byte(11),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        16 => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// All zeros, in a message that says nothing of an address.
fn unspecified(body: &[u8]) -> IpAddr {
    let is_ipv6 = body.first() == Some(&Version::V6.family());
    let version = if is_ipv6 { Version::V6 } else { Version::V4 };
    Prefix::everywhere(version).address()
}

/// Whether an address means something on its own link alone, where each link has one of IPv6.
fn is_of_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
    }
}

/// Adds or removes an address of a link.
pub(in crate::dataplane) fn set_address(index: u32, subnet: Prefix, is_there: bool) -> Message {
    let flags = match subnet {
        Prefix::V4(_) => 0,
        Prefix::V6(_) => UNASKED,
    };
    let family = subnet.version().family();
    let mut header = [family, subnet.length(), flags, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let octets = octets(subnet.address());
    let attributes = Attributes::new().bytes(2, &octets).bytes(1, &octets);
    match is_there {
        true => Message::new(
            kind::NEW_ADDRESS,
            flag::CREATE | flag::EXCL,
            &header,
            attributes,
        ),
        false => Message::new(kind::DELETE_ADDRESS, 0, &header, attributes),
    }
}

/// The link's index and the address with its subnet; nothing of those of single links.
pub(in crate::dataplane) fn listed_address(body: &[u8]) -> Option<(u32, Prefix)> {
    let attributes = body.get(ADDRESS_HEADER..)?;
    // IFA_LOCAL, which differs from IFA_ADDRESS on links between two points.
    let found = attribute(attributes, 2).or_else(|| attribute(attributes, 1))?;
    let subnet = Prefix::new(address(found)?, *body.get(1)?);
    (!is_of_link(subnet.address())).then_some((u32_at(body, 4)?, subnet))
}

fn entry(family: u8, index: u32, state: u16, flags: u8) -> [u8; ENTRY_HEADER] {
    let mut header = [0; ENTRY_HEADER];
    header[0] = family;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..10].copy_from_slice(&state.to_ne_bytes());
    header[10] = flags;
    header
}

pub(in crate::dataplane) fn put_neighbour(index: u32, of: IpAddr, mac: Mac) -> Message {
    let attributes = Attributes::new().bytes(1, &octets(of)).bytes(2, &mac.0);
    let family = Version::of(of).family();
    let flags = flag::CREATE | flag::REPLACE;
    Message::new(
        kind::NEW_NEIGHBOUR,
        flags,
        &entry(family, index, PERMANENT, 0),
        attributes,
    )
}

pub(in crate::dataplane) fn delete_neighbour(index: u32, of: IpAddr) -> Message {
    let attributes = Attributes::new().bytes(1, &octets(of));
    let family = Version::of(of).family();
    Message::new(
        kind::DELETE_NEIGHBOUR,
        0,
        &entry(family, index, 0, 0),
        attributes,
    )
}

/// A permanent neighbour: its link's index, address, hardware address.
pub(in crate::dataplane) fn neighbour(body: &[u8]) -> Option<(u32, IpAddr, Mac)> {
    let attributes = body.get(ENTRY_HEADER..)?;
    let is_known = Version::ALL
        .iter()
        .any(|version| version.family() == body[0]);
    if !is_known || u16_at(body, 8)? & PERMANENT == 0 {
        return None;
    }
    let mac = attribute(attributes, 2)?.first_chunk()?;
    let of = address(attribute(attributes, 1)?)?;
    // The kernel's own, of groups.
    (!of.is_multicast()).then_some((u32_at(body, 4)?, of, Mac(*mac)))
}

/// `is_fixed`: who sends from the address through another port does not take it along.
pub(in crate::dataplane) fn put_forwarding(
    index: u32,
    mac: Mac,
    target: Option<Ipv4Addr>,
    is_fixed: bool,
) -> Message {
    let attributes = Attributes::new().bytes(2, &mac.0);
    let (state, flags, attributes) = match target {
        Some(target) => (
            PERMANENT | STATIC,
            SELF,
            attributes.bytes(1, &target.octets()),
        ),
        None if is_fixed => (STATIC, MASTER | STICKY, attributes),
        None => (STATIC, MASTER, attributes),
    };
    let put = flag::CREATE | flag::REPLACE;
    Message::new(
        kind::NEW_NEIGHBOUR,
        put,
        &entry(BRIDGE, index, state, flags),
        attributes,
    )
}

pub(in crate::dataplane) fn delete_forwarding(index: u32, mac: Mac, place: Place) -> Message {
    let flags = match place {
        Place::Tunnel => SELF,
        Place::Bridge => MASTER,
    };
    let attributes = Attributes::new().bytes(2, &mac.0);
    Message::new(
        kind::DELETE_NEIGHBOUR,
        0,
        &entry(BRIDGE, index, 0, flags),
        attributes,
    )
}

/// An entry that somebody put: its link's index, its key without the link, where it leads.
pub(in crate::dataplane) fn forwarding(body: &[u8]) -> Option<(u32, Mac, Place, Option<Ipv4Addr>)> {
    let attributes = body.get(ENTRY_HEADER..)?;
    let (index, state) = (u32_at(body, 4)?, u16_at(body, 8)?);
    let mac = Mac(*attribute(attributes, 2)?.first_chunk()?);
    // NDA_MASTER: the bridge's.
    if attribute(attributes, 9).is_some() {
        // A port's own address is permanent; what was learned is neither.
        let is_put = state & STATIC != 0 && state & PERMANENT == 0;
        return is_put.then_some((index, mac, Place::Bridge, None));
    }
    match attribute(attributes, 1).and_then(address)? {
        IpAddr::V4(target) => Some((index, mac, Place::Tunnel, Some(target))),
        IpAddr::V6(_) => None,
    }
}

/// Behind which port a bridge knows a hardware address that is not the port's own: the port's index, the address, the
/// bridge's index.
pub(in crate::dataplane) fn station(body: &[u8]) -> Option<(u32, Mac, u32)> {
    let attributes = body.get(ENTRY_HEADER..)?;
    let (index, state) = (u32_at(body, 4)?, u16_at(body, 8)?);
    let mac = Mac(*attribute(attributes, 2)?.first_chunk()?);
    // NDA_MASTER.
    let bridge = u32_at(attribute(attributes, 9)?, 0)?;
    (state & PERMANENT == 0).then_some((index, mac, bridge))
}

fn route_header(to: Prefix, table: u32, flags: u32) -> ([u8; 12], Attributes) {
    // RT_TABLE_UNSPEC: the attribute says it. RT_SCOPE_UNIVERSE, RTN_UNICAST.
    let family = to.version().family();
    let mut header = [family, to.length(), 0, 0, 0, PROTOCOL, 0, 1, 0, 0, 0, 0];
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    (header, Attributes::new().u32(15, table))
}

/// Puts or deletes a route through a link.
pub(in crate::dataplane) fn set_route(
    table: u32,
    to: Prefix,
    (gateway, index): (IpAddr, u32),
    is_there: bool,
) -> Message {
    let (header, attributes) = route_header(to, table, ONLINK);
    let attributes = match to.length() {
        0 => attributes,
        _ => attributes.bytes(1, &octets(to.address())),
    };
    let attributes = attributes.bytes(5, &octets(gateway)).u32(4, index);
    match is_there {
        true => Message::new(
            kind::NEW_ROUTE,
            flag::CREATE | flag::REPLACE,
            &header,
            attributes,
        ),
        false => Message::new(kind::DELETE_ROUTE, 0, &header, attributes),
    }
}

/// A route: its table, where to, the next hop, its link's index.
pub(in crate::dataplane) fn route(body: &[u8]) -> Option<(u32, Prefix, IpAddr, u32)> {
    let attributes = body.get(ENTRY_HEADER..)?;
    let number = |kind| attribute(attributes, kind).and_then(|value| u32_at(value, 0));
    let none = || unspecified(body);
    let to = attribute(attributes, 1).and_then(address);
    let to = Prefix::new(to.unwrap_or_else(none), *body.get(1)?);
    let gateway = attribute(attributes, 5).and_then(address);
    Some((
        number(15)?,
        to,
        gateway.unwrap_or_else(none),
        number(4).unwrap_or(0),
    ))
}

/// A route of the main table that somebody put there: where to, and its link's index; 0: it has several links or none.
pub(in crate::dataplane) fn way(body: &[u8]) -> Option<(Prefix, u32)> {
    // RT_TABLE_MAIN; RTN_UNICAST, RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT; RTPROT_KERNEL comes with an address.
    const MAIN: u32 = 254;
    const KINDS: [u8; 4] = [1, 6, 7, 8];
    const OF_ADDRESS: u8 = 2;
    let (table, to, _, index) = route(body)?;
    let is_put = KINDS.contains(body.get(7)?) && *body.get(5)? != OF_ADDRESS;
    let is_one = table == MAIN && is_put && to.length() > 0 && !is_of_link(to.address());
    is_one.then_some((to, index))
}

/// The link of a route that a router advertised.
pub(in crate::dataplane) fn advertised(body: &[u8]) -> Option<u32> {
    let (_, _, _, index) = route(body)?;
    (*body.get(5)? == ADVERTISED).then_some(index)
}

/// Adds or removes a rule of policy routing.
pub(in crate::dataplane) fn set_rule(rule: &Rule, is_there: bool) -> Message {
    let attributes = Attributes::new().u32(6, rule.priority);
    let attributes = match rule.mark {
        Some((mark, mask)) => attributes.u32(10, mark).u32(16, mask),
        None => attributes,
    };
    // FR_ACT_TO_TBL, FR_ACT_GOTO, FR_ACT_NOP.
    let (action, attributes) = match rule.action {
        Action::Table(table) => (1, attributes.u32(15, table)),
        Action::Goto(priority) => (2, attributes.u32(4, priority)),
        Action::Nothing => (3, attributes),
    };
    let family = rule.version.family();
    let mut header = [family, 0, 0, 0, 0, 0, 0, action, 0, 0, 0, 0];
    if rule.is_inverted {
        header[8..12].copy_from_slice(&INVERTED.to_ne_bytes());
    }
    match is_there {
        true => Message::new(
            kind::NEW_RULE,
            flag::CREATE | flag::EXCL,
            &header,
            attributes,
        ),
        false => Message::new(kind::DELETE_RULE, 0, &header, attributes),
    }
}

/// A rule of policy routing; `None`: one that does what ours never do.
pub(in crate::dataplane) fn rule(body: &[u8]) -> Option<Rule> {
    let attributes = body.get(ENTRY_HEADER..)?;
    let number = |kind| attribute(attributes, kind).and_then(|value| u32_at(value, 0));
    let action = match body[7] {
        1 => Action::Table(number(15)?),
        2 => Action::Goto(number(4)?),
        3 => Action::Nothing,
        _ => return None,
    };
    let mark = number(10).zip(number(16));
    let mut versions = Version::ALL.into_iter();
    Some(Rule {
        version: versions.find(|version| version.family() == body[0])?,
        priority: number(6).unwrap_or(0),
        mark: mark.filter(|(_, mask)| *mask != 0),
        is_inverted: u32_at(body, 8)? & INVERTED != 0,
        action,
    })
}
