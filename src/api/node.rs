//! Node: a Docker Engine of the fleet.

use super::decode;
use super::unit::{Bytes, NanoCpus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What is wanted of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeSpec {
    /// How its engine is reached.
    #[serde(deserialize_with = "decode::engine")]
    pub engine: EngineSpec,
    /// Only for `unix://`: the manager whose socket it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
    /// What `node.role` compares with.
    #[serde(default)]
    pub role: Role,
    /// Whether it takes and keeps tasks.
    #[serde(default)]
    pub availability: Availability,
    /// Its address for other nodes; left out: found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Kept from tasks.
    #[serde(default, skip_serializing_if = "decode::is_default")]
    pub reserved: Reserved,
    /// Countable resources that tasks may reserve, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub generic: BTreeMap<String, u64>,
}

/// How an engine is reached; as a string, its URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EngineSpec {
    /// `unix:///path`, `tcp://host:port`.
    pub url: String,
    /// For `tcp://`: speak TLS with these files of the manager's machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFiles>,
}

/// PEM files on the machines of managers; keys never stand in the store (rule K1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsFiles {
    /// The authority that signed the engine's certificate.
    pub ca: String,
    /// The client's certificate.
    pub cert: String,
    /// The client's key.
    pub key: String,
}

/// The part that a node plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs tasks.
    #[default]
    Worker,
    /// Runs managers too.
    Manager,
}

impl Role {
    /// The word in constraints.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Manager => "manager",
        }
    }
}

/// Whether a node takes and keeps tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Availability {
    /// Takes and keeps.
    #[default]
    Active,
    /// Keeps what it has.
    Pause,
    /// Gives up what it has.
    Drain,
}

impl Availability {
    /// The word in manifests and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pause => "pause",
            Self::Drain => "drain",
        }
    }
}

/// Resources kept from tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Reserved {
    /// Processor time.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub cpus: NanoCpus,
    /// Memory.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub memory: Bytes,
}
