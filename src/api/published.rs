//! What a published port is known by: in the ledger below `allocations/ports/`, and in the data plane of each node.

use super::port_range::{Shown, before_port};
use super::service::Protocol;
use super::unit::Port;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The numbers that are chosen from where one is left out: Swarm's and Kubernetes' own are about here, and what kernels give
/// to connections begins behind (`ip_local_port_range`, 32768).
pub const CHOSEN: RangeInclusive<u16> = 30_000..=32_767;

/// What a published port is found by: the protocol, the port, and the one address if it is not open on all. As text
/// `tcp/8080`, `udp/192.0.2.1:53` or `tcp/[2001:db8::1]:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishedKey {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port.
    pub port: Port,
    /// The only address of nodes that it is open on; `None`: all.
    pub address: Option<IpAddr>,
}

impl PublishedKey {
    /// Whether both would be open at one place: the same port, and one address that both have.
    pub fn meets(&self, other: &Self) -> bool {
        (self.protocol, self.port) == (other.protocol, other.port)
            && addresses_meet(self.address, other.address)
    }

    /// Whether it and a port of mode host would be open at one place, where they have one number.
    pub fn meets_host(&self, host: Option<IpAddr>) -> bool {
        addresses_meet(self.address, host)
    }

    /// How it is shown: `8080/tcp`, `192.0.2.1:53/udp`.
    pub fn to_show(&self) -> Shown {
        Shown {
            before: before_port(self.address),
            published: Some(self.port),
            target: None,
            behind: format!("/{}", self.protocol.as_str()),
        }
    }

    /// All keys with its protocol and port, whatever their addresses: the ends of the range that they make.
    pub fn anywhere(&self) -> RangeInclusive<Self> {
        let with = |address| Self { address, ..*self };
        let last = Ipv6Addr::from(u128::MAX);
        with(None)..=with(Some(last.into()))
    }

    /// The protocol that is written so, if its ports are published.
    pub fn protocol(word: &str) -> Option<Protocol> {
        Protocol::parse(word).filter(|protocol| *protocol != Protocol::Sctp)
    }
}

/// Whether two ports would be open on one address: none, or the unspecified one, is all of them.
pub fn addresses_meet(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    let one = one.filter(|address| !address.is_unspecified());
    let other = other.filter(|address| !address.is_unspecified());
    one.zip(other).is_none_or(|(one, other)| one == other)
}

impl fmt::Display for PublishedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.protocol.as_str();
        match self.address {
            Some(address) => write!(f, "{protocol}/{}", SocketAddr::new(address, self.port.0)),
            None => write!(f, "{protocol}/{}", self.port),
        }
    }
}

impl FromStr for PublishedKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no published port: write tcp/8080 or udp/192.0.2.1:53");
        let (protocol, rest) = text.split_once('/').ok_or_else(wrong)?;
        let protocol = Self::protocol(protocol).ok_or_else(wrong)?;
        let (address, port) = match rest.contains(':') {
            true => {
                let at: SocketAddr = rest.parse().map_err(|_| wrong())?;
                (Some(at.ip()), Some(at.port()))
            }
            false => (None, rest.parse().ok()),
        };
        let port = port.filter(|port| *port != 0).map(Port);
        Ok(Self {
            protocol,
            address,
            port: port.ok_or_else(wrong)?,
        })
    }
}

impl Serialize for PublishedKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublishedKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_open_on_all_addresses_meets_everybody_and_one_address_only_itself() {
        let meets = |key: &str, host: &str| {
            let key: PublishedKey = key.parse().expect("a key");
            key.meets_host((!host.is_empty()).then(|| host.parse().expect("an address")))
        };
        for (key, host, expected) in [
            ("tcp/8080", "", true),
            ("tcp/8080", "::1", true),
            ("tcp/192.0.2.1:8080", "", true),
            ("tcp/192.0.2.1:8080", "::", true),
            ("tcp/192.0.2.1:8080", "192.0.2.1", true),
            ("tcp/192.0.2.1:8080", "192.0.2.2", false),
            ("tcp/192.0.2.1:8080", "::1", false),
            ("tcp/[2001:db8::1]:8080", "::", true),
            ("tcp/[2001:db8::1]:8080", "0.0.0.0", true),
            ("tcp/[2001:db8::1]:8080", "2001:db8::1", true),
            ("tcp/[2001:db8::1]:8080", "192.0.2.1", false),
        ] {
            assert_eq!(meets(key, host), expected, "{key} {host}");
        }
    }
}
