//! Network: an overlay network of a namespace (parsed, validated and stored; realised later).

use super::decode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is wanted of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkSpec {
    /// Only `overlay`.
    pub driver: String,
    /// Its subnets in CIDR notation; empty: one from the pool.
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
    /// Whether it carries IPv6 too.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub ipv6: bool,
    /// Options of the driver.
    #[serde(
        deserialize_with = "decode::text_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub options: BTreeMap<String, String>,
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
