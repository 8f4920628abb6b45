//! The addresses that a data plane speaks of: hardware addresses and subnets. Pure.

pub use crate::api::subnet::{Cidr, Cidr6, Dual, NODES6};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address of IPv6 that the node at `node` speaks from in overlays: that of [`NODES6`] with the node's in the last bits.
pub fn node6(node: Ipv4Addr) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(NODES6.address) | u128::from(u32::from(node)))
}

/// A version of the Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Version {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// AF_INET or AF_INET6, which NFPROTO_IPV4 and NFPROTO_IPV6 are too.
    pub(super) const fn family(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// That of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// A subnet of either version, or an address with the length of its subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Prefix {
    /// Of IPv4.
    V4(Cidr),
    /// Of IPv6.
    V6(Cidr6),
}

impl Prefix {
    /// All addresses of a version.
    pub(super) fn everywhere(version: Version) -> Self {
        let length = 0;
        match version {
            Version::V4 => Self::V4(Cidr {
                address: Ipv4Addr::UNSPECIFIED,
                length,
            }),
            Version::V6 => Self::V6(Cidr6 {
                address: Ipv6Addr::UNSPECIFIED,
                length,
            }),
        }
    }

    /// An address with a length.
    pub(super) fn new(address: IpAddr, length: u8) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(Cidr { address, length }),
            IpAddr::V6(address) => Self::V6(Cidr6 { address, length }),
        }
    }

    /// Its version.
    pub(super) fn version(self) -> Version {
        Version::of(self.address())
    }

    /// Its address.
    pub(super) fn address(self) -> IpAddr {
        match self {
            Self::V4(subnet) => subnet.address.into(),
            Self::V6(subnet) => subnet.address.into(),
        }
    }

    /// Its length.
    pub(super) fn length(self) -> u8 {
        match self {
            Self::V4(subnet) => subnet.length,
            Self::V6(subnet) => subnet.length,
        }
    }

    /// Whether both are of one version and share an address.
    pub(super) fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::V4(one), Self::V4(other)) => one.overlaps(other),
            (Self::V6(one), Self::V6(other)) => one.overlaps(other),
            (Self::V4(_), Self::V6(_)) | (Self::V6(_), Self::V4(_)) => false,
        }
    }

    /// Whether it holds an address, of its version.
    pub(super) fn holds(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(subnet), IpAddr::V4(address)) => subnet.holds(address),
            (Self::V6(subnet), IpAddr::V6(address)) => subnet.holds(address),
            (Self::V4(_), IpAddr::V6(_)) | (Self::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl std::str::FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.contains(':') {
            false => text.parse().map(Self::V4),
            true => text.parse().map(Self::V6),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(subnet) => subnet.fmt(f),
            Self::V6(subnet) => subnet.fmt(f),
        }
    }
}

/// The octets of an address, in its order on the wire.
pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// What those of routers begin with.
    pub(super) const OF_ROUTERS: [u8; 2] = [0x0a, 0x64];

    /// What those of containers begin with.
    const OF_CONTAINERS: [u8; 2] = [0x02, 0x42];

    /// The one address of all overlay bridges and VXLAN devices of the node at `node`: a locally administered one that
    /// holds the node's own address, so that whoever sees a frame knows which node routed it.
    pub fn of_router(node: Ipv4Addr) -> Self {
        let [a, b, c, d] = node.octets();
        let [first, second] = Self::OF_ROUTERS;
        Self([first, second, a, b, c, d])
    }

    /// Whether it is one that engines give containers, whatever their addresses.
    pub(super) fn is_of_container(self) -> bool {
        self.0.starts_with(&Self::OF_CONTAINERS)
    }

    /// The one that engines give a container at `address` of a bridge, those before 28 by themselves.
    pub fn of_container(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        let [first, second] = Self::OF_CONTAINERS;
        Self([first, second, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The ranges without overlaps and gaps of nothing between them, in order.
pub(super) fn merge(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_has_one_hardware_address_that_names_its_node() {
        let mac = Mac::of_router(Ipv4Addr::new(172, 31, 0, 11));
        assert_eq!(mac.to_string(), "0a:64:ac:1f:00:0b");
    }

    #[test]
    fn a_container_has_the_hardware_address_that_engines_make_of_its_own() {
        let mac = Mac::of_container(Ipv4Addr::new(10, 100, 1, 21));
        assert_eq!(mac.to_string(), "02:42:0a:64:01:15");
    }

    #[test]
    fn a_node_speaks_from_an_address_of_ipv6_that_holds_its_own() {
        let address = node6(Ipv4Addr::new(172, 31, 0, 11));
        assert_eq!(address.to_string(), "fd73:6b65:7000::ac1f:b");
        assert!(NODES6.is_subnet() && NODES6.holds(address));
    }

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(
            merge(vec![(20, 29), (0, 5), (6, 9), (21, 22), (31, 40)]),
            [(0, 9), (20, 29), (31, 40)]
        );
        assert_eq!(merge(vec![(5, u128::MAX), (7, 8)]), [(5, u128::MAX)]);
    }
}
