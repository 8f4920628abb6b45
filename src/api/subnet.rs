//! Subnets of IPv4.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 address with the length of its subnet, as `10.1.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    /// The address; bits behind the length are allowed where it is a host's.
    pub address: Ipv4Addr,
    /// 0 to 32.
    pub length: u8,
}

impl Cidr {
    /// One address.
    pub fn of(address: Ipv4Addr) -> Self {
        let length = 32;
        Self { address, length }
    }

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

    /// The router's address of an overlay with this subnet: the first behind the subnet's own.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.range().0.saturating_add(1))
    }

    /// The first and the last address for tasks and services as numbers: neither the subnet's own, nor the gateway, nor
    /// the one for all. The first is above the last where there is none.
    pub fn hosts(self) -> (u32, u32) {
        let (first, last) = self.range();
        (first.saturating_add(2), last.saturating_sub(1))
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_gateway_and_the_ends_are_for_no_task() {
        let hosts = |text: &str| {
            let subnet: Cidr = text.parse().expect("a subnet");
            let (first, last) = subnet.hosts();
            let text = |number| Ipv4Addr::from(number).to_string();
            (subnet.gateway().to_string(), text(first), text(last))
        };
        let expected =
            |gateway: &str, first: &str, last: &str| (gateway.into(), first.into(), last.into());
        assert_eq!(
            hosts("10.1.2.0/24"),
            expected("10.1.2.1", "10.1.2.2", "10.1.2.254")
        );
        assert_eq!(
            hosts("10.1.2.0/30"),
            expected("10.1.2.1", "10.1.2.2", "10.1.2.2")
        );
    }
}
