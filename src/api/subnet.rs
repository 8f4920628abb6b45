//! Subnets of IPv4 and IPv6, and how the two of one network go together.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address of either version, as a number.
pub trait Address: Copy + Ord + fmt::Display + FromStr {
    /// How many bits it has.
    const BITS: u8;
    /// What is said of a text that is no subnet.
    const EXPECTED: &'static str;
    /// Its number.
    fn number(self) -> u128;
    /// The address with this number, of which the lower [`Self::BITS`] count.
    fn of_number(number: u128) -> Self;
}

impl Address for Ipv4Addr {
    const BITS: u8 = 32;
    const EXPECTED: &'static str = "is no IPv4 subnet: write 10.1.0.0/16";

    fn number(self) -> u128 {
        u32::from(self).into()
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower 32 bits are the address"
    )]
    fn of_number(number: u128) -> Self {
        (number as u32).into()
    }
}

impl Address for Ipv6Addr {
    const BITS: u8 = 128;
    const EXPECTED: &'static str = "is no IPv6 subnet: write fd00:1:2:3::/64";

    fn number(self) -> u128 {
        self.into()
    }

    fn of_number(number: u128) -> Self {
        number.into()
    }
}

/// An address with the length of its subnet, as `10.1.0.0/16` or `fd00:1:2:3::/64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet<A> {
    /// The address; bits behind the length are allowed where it is a host's.
    pub address: A,
    /// 0 to the bits of an address.
    pub length: u8,
}

/// A subnet of IPv4.
pub type Cidr = Subnet<Ipv4Addr>;

/// A subnet of IPv6.
pub type Cidr6 = Subnet<Ipv6Addr>;

/// The subnet of IPv6 that holds an address of each node's own, from which it speaks in overlays: no network can have it.
pub const NODES6: Cidr6 = Cidr6 {
    address: Ipv6Addr::new(0xfd73, 0x6b65, 0x7000, 0, 0, 0, 0, 0),
    length: 48,
};

impl<A: Address> Subnet<A> {
    /// One address.
    pub fn of(address: A) -> Self {
        let length = A::BITS;
        Self { address, length }
    }

    /// The subnet's first and last address as numbers.
    fn numbers(self) -> (u128, u128) {
        let whole = u128::MAX >> (128 - u32::from(A::BITS));
        let hosts = whole.checked_shr(self.length.into()).unwrap_or(0);
        let first = self.address.number() & !hosts;
        (first, first | hosts)
    }

    /// The subnet's first and last address.
    pub fn ends(self) -> (A, A) {
        let (first, last) = self.numbers();
        (A::of_number(first), A::of_number(last))
    }

    /// Whether the subnet holds the address.
    pub fn holds(self, address: A) -> bool {
        let (first, last) = self.ends();
        (first..=last).contains(&address)
    }

    /// Whether two subnets share an address.
    pub fn overlaps(self, other: Self) -> bool {
        let ((first, last), (start, end)) = (self.ends(), other.ends());
        first <= end && start <= last
    }

    /// Whether it is a subnet's own address: no bits behind the length.
    pub fn is_subnet(self) -> bool {
        self.ends().0 == self.address
    }
}

impl Cidr {
    /// The subnet's first and last address as numbers.
    pub fn range(self) -> (u32, u32) {
        let (first, last) = self.ends();
        (first.into(), last.into())
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
}

/// The two subnets of a network that carries both versions.
///
/// Whoever has an address of IPv4 in it has the one of IPv6 that is as far behind the beginning of its subnet: `10.1.0.21` of
/// `10.1.0.0/24` goes with `fd00:1:2:3::15` of `fd00:1:2:3::/64`. So one claim gives out both, and nobody has one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dual {
    /// That of IPv4.
    pub subnet: Cidr,
    /// That of IPv6.
    pub subnet6: Cidr6,
}

impl Dual {
    /// Whether the subnet of IPv6 has at least as many addresses as that of IPv4.
    pub fn fits(self) -> bool {
        u32::from(self.subnet6.length) + 32 <= 128 + u32::from(self.subnet.length)
    }

    /// The address of IPv6 that goes with one of IPv4; none: that is of another network.
    pub fn version6(self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        let offset = address.number().checked_sub(self.subnet.numbers().0)?;
        let found = Ipv6Addr::of_number(self.subnet6.numbers().0 + offset);
        (self.subnet.holds(address) && self.subnet6.holds(found)).then_some(found)
    }

    /// The address of IPv4 that goes with one of IPv6; none: nobody can have it.
    pub fn version4(self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        let offset = address.number().checked_sub(self.subnet6.numbers().0)?;
        let number = u32::try_from(offset).ok()?;
        let found = self.subnet.range().0.checked_add(number)?.into();
        self.subnet.holds(found).then_some(found)
    }

    /// The part of the subnet of IPv6 that goes with a part of that of IPv4.
    pub fn part(self, of: Cidr) -> Option<Cidr6> {
        let address = self.version6(of.ends().0)?;
        let length = 128 - (32 - of.length);
        Some(Cidr6 { address, length })
    }
}

impl<A: Address> fmt::Display for Subnet<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl<A: Address> FromStr for Subnet<A> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` {}", A::EXPECTED);
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address = address.parse().map_err(|_| wrong())?;
        let length = length.parse().ok().filter(|length| *length <= A::BITS);
        let length = length.ok_or_else(wrong)?;
        Ok(Self { address, length })
    }
}

impl<A: Address> Serialize for Subnet<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, A: Address> Deserialize<'de> for Subnet<A> {
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
        let subnet: Cidr6 = "fd00:1::/64".parse().expect("a subnet");
        let overlaps = |text: &str| subnet.overlaps(text.parse().expect("a subnet"));
        assert!(overlaps("fd00:1::8000:0:0:0/65") && overlaps("::/0"));
        assert!(!overlaps("fd00:1:0:1::/64"));
        for wrong in ["fd00::", "fd00::/129", "10.1.2.0/24"] {
            assert!(wrong.parse::<Cidr6>().is_err(), "{wrong}");
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

    #[test]
    fn who_has_an_address_of_one_version_has_one_of_the_other() {
        let dual = |subnet: &str, subnet6: &str| Dual {
            subnet: subnet.parse().expect("a subnet"),
            subnet6: subnet6.parse().expect("a subnet"),
        };
        let network = dual("10.1.0.0/24", "fd00:1:2:3::/64");
        for (one, other) in [
            ("10.1.0.1", "fd00:1:2:3::1"),
            ("10.1.0.255", "fd00:1:2:3::ff"),
        ] {
            let (one, other) = (one.parse().expect("one"), other.parse().expect("other"));
            assert_eq!(network.version6(one), Some(other));
            assert_eq!(network.version4(other), Some(one));
        }
        assert_eq!(network.version6(Ipv4Addr::new(10, 1, 1, 0)), None);
        for outside in ["fd00:1:2:3::100", "fd00:1:2:2:ffff::", "fd00:1:2:3:1::"] {
            let outside = outside.parse().expect("an address");
            assert_eq!(network.version4(outside), None, "{outside}");
        }
        let part = network.part("10.1.0.64/28".parse().expect("a part"));
        assert_eq!(
            part.map(|part| part.to_string()).as_deref(),
            Some("fd00:1:2:3::40/124")
        );
        for (subnet, subnet6, fits) in [
            ("10.1.0.0/24", "fd00::/120", true),
            ("10.1.0.0/24", "fd00::/121", false),
            ("10.0.0.0/8", "fd00::/104", true),
            ("10.0.0.0/8", "fd00::/105", false),
        ] {
            assert_eq!(dual(subnet, subnet6).fits(), fits, "{subnet} {subnet6}");
        }
    }
}
