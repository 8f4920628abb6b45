//! What an agent is told and what it says, a line of JSON each. Pure.

use crate::api::unit::{Incarnation, Term};
use crate::dataplane::connections::Tracked;
use crate::dataplane::dns::counts::NamesReport;
use crate::dataplane::state::{Delta, PublishedKey, State, StateRevision, Vni};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

/// What the agent is told, a line of JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// All that should be.
    State(Box<State>),
    /// What changes.
    Delta(Delta),
    /// Nothing any more: all that is ours is taken away, and what was found is put back.
    Remove,
}

/// By which right orders are given: the first line of who gives them. Nobody is heard any more who began earlier than
/// another (rule K2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    /// The life of the store.
    pub incarnation: Incarnation,
    /// The term of who gives them, within it.
    pub term: Term,
}

/// What the agent answers, a line of JSON each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The state that the kernel shows; `None`: there is none yet.
    pub programmed: Option<StateRevision>,
    /// Networks that clash with what the node has, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub refused: BTreeMap<Vni, String>,
    /// The largest packet, in bytes, of the link that has the node's address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub underlay_mtu: Option<u32>,
    /// The node's own addresses of IPv6, while a network carries it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub addresses6: BTreeSet<Ipv6Addr>,
    /// Ports that programs of the node listen on, as far as they are published, or may be given to who leaves his out.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub occupied: BTreeSet<PublishedKey>,
    /// Ports that should tell of health and cannot: somebody else listens there.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub health_closed: BTreeSet<PublishedKey>,
    /// What others changed and the agent mended, by kind, since it started.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub drift: BTreeMap<String, u64>,
    /// What it could not do last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trouble: Option<String>,
    /// Whether it needs the whole state: a change did not fit.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub needs_state: bool,
    /// Whether all that was ours has been taken away.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub removed: bool,
    /// How many connections the kernel tracks.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connections: Option<Tracked>,
    /// What was asked by name, and where names are not served.
    #[serde(skip_serializing_if = "NamesReport::is_empty", default)]
    pub names: NamesReport,
}
