//! The addresses that a data plane speaks of: hardware addresses and subnets. Pure.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The one address of all overlay bridges and VXLAN devices of the node at `node`: a locally administered one that
    /// holds the node's own address, so that whoever sees a frame knows which node routed it.
    pub fn of_router(node: Ipv4Addr) -> Self {
        let [a, b, c, d] = node.octets();
        Self([0x0a, 0x64, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An IPv4 address with the length of its subnet, as `10.1.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr {
    /// The address; bits behind the length are allowed where it is a host's.
    pub address: Ipv4Addr,
    /// 0 to 32.
    pub length: u8,
}

impl Cidr {
    /// The subnet's first and last address as numbers.
    pub fn range(self) -> (u32, u32) {
        let hosts = u32::MAX.checked_shr(u32::from(self.length)).unwrap_or(0);
        let first = u32::from(self.address) & !hosts;
        (first, first | hosts)
    }

    /// Whether the subnet holds the address.
    pub fn holds(self, address: Ipv4Addr) -> bool {
        let (first, last) = self.range();
        (first..=last).contains(&u32::from(address))
    }

    /// Whether two subnets share an address.
    pub fn overlaps(self, other: Self) -> bool {
        let ((first, last), (start, end)) = (self.range(), other.range());
        first <= end && start <= last
    }

    /// Whether it is a subnet's own address: no bits behind the length.
    pub fn is_subnet(self) -> bool {
        self.range().0 == u32::from(self.address)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no IPv4 subnet: write 10.1.0.0/16");
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address = address.parse().map_err(|_| wrong())?;
        let length = length.parse().ok().filter(|length| *length <= 32);
        let length = length.ok_or_else(wrong)?;
        Ok(Self { address, length })
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The ranges without overlaps and gaps of nothing between them, in order.
pub(super) fn merge(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::new();
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
    fn subnets_know_what_they_hold() {
        let subnet: Cidr = "10.1.2.0/24".parse().expect("a subnet");
        assert!(subnet.holds(Ipv4Addr::new(10, 1, 2, 255)));
        assert!(!subnet.holds(Ipv4Addr::new(10, 1, 3, 0)));
        let overlaps = |text: &str| subnet.overlaps(text.parse().expect("a subnet"));
        assert!(overlaps("10.1.0.0/16") && overlaps("10.1.2.128/25") && overlaps("0.0.0.0/0"));
        assert!(!overlaps("10.1.3.0/24"));
        assert!(subnet.is_subnet());
        for wrong in ["10.1.2.0", "10.1.2.0/33", "10.1.2/24", "::/0"] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(
            merge(vec![(20, 29), (0, 5), (6, 9), (21, 22), (31, 40)]),
            [(0, 9), (20, 29), (31, 40)]
        );
        assert_eq!(merge(vec![(5, u32::MAX), (7, 8)]), [(5, u32::MAX)]);
    }
}
