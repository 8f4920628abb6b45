//! Network: an overlay network of a namespace, of IPv4 alone or of both versions.

use super::decode;
use super::subnet::{Address, Cidr, Cidr6, Subnet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is wanted of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkSpec {
    /// Only `overlay`.
    pub driver: String,
    /// Its subnets in CIDR notation, at most one of each version. Without one of IPv4 it gets one from the pool; one of IPv6
    /// has it carry IPv6.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subnets: Vec<String>,
    /// Largest packet; 0: found from the underlay.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub mtu: u32,
    /// Without a way out.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub internal: bool,
    /// Whether containers that are no tasks may join.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub attachable: bool,
    /// Whether traffic between nodes is encrypted.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub encrypted: bool,
    /// Whether it carries IPv6 too; see [`NetworkSpec::carries_ipv6`].
    #[serde(skip_serializing_if = "decode::is_default")]
    pub ipv6: bool,
    /// Options of the driver.
    #[serde(
        deserialize_with = "decode::text_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub options: BTreeMap<String, String>,
}

impl NetworkSpec {
    /// Whether it carries IPv6 too: by its own word, or because it names a subnet of IPv6.
    pub fn carries_ipv6(&self) -> bool {
        self.ipv6 || self.subnet6().is_some()
    }

    /// The subnet of IPv4 that it names; none: one from the pool.
    pub fn subnet(&self) -> Option<Cidr> {
        self.named()
    }

    /// The subnet of IPv6 that it names; none: one that follows from its uid, if it carries IPv6.
    pub fn subnet6(&self) -> Option<Cidr6> {
        self.named()
    }

    fn named<A: Address>(&self) -> Option<Subnet<A>> {
        self.subnets.iter().find_map(|text| text.parse().ok())
    }
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self {
            driver: "overlay".into(),
            subnets: Vec::new(),
            mtu: 0,
            internal: false,
            attachable: false,
            encrypted: false,
            ipv6: false,
            options: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_of_ipv6_means_that_it_carries_ipv6() {
        let spec = |ipv6: bool, subnets: &[&str]| NetworkSpec {
            ipv6,
            subnets: subnets.iter().map(|text| (*text).to_owned()).collect(),
            ..NetworkSpec::default()
        };
        assert!(!spec(false, &["10.1.0.0/16"]).carries_ipv6());
        assert!(spec(true, &["10.1.0.0/16"]).carries_ipv6());
        let both = spec(false, &["fd00:1::/64", "10.1.0.0/16"]);
        assert!(both.carries_ipv6());
        let named = (both.subnet(), both.subnet6());
        let expected = ("10.1.0.0/16".parse().ok(), "fd00:1::/64".parse().ok());
        assert_eq!(named, expected);
    }
}
