//! The accepted record: the spec in force (safety rule I1).
//!
//! The user's key holds what the user wrote, perhaps garbage, perhaps nothing. The controller that owns the kind is its
//! only reader and writes this; everybody else reads only this. It outlives the user's key as the tombstone: it leaves
//! when clean-up is confirmed.

use super::network::NetworkSpec;
use super::node::NodeSpec;
use super::service::{Annotated, ServiceSpec};
use super::time::Timestamp;
use super::uid::Uid;
use super::unit::{Generation, Incarnation, Revision};
use serde::{Deserialize, Serialize};

/// An accepted object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted<S> {
    /// Random, given once; a delete and re-creation in one incarnation of the store gives another.
    pub uid: Uid,
    /// Rises by one when `spec` changes.
    pub generation: Generation,
    /// The user's labels and annotations.
    #[serde(default)]
    pub metadata: Annotated,
    /// The normalised spec, defaults filled in.
    pub spec: S,
    /// The user key's create revision when it was last read.
    pub create_revision: Revision,
    /// The user key's mod revision when it was last read. Not rewritten for a put that changes nothing.
    pub mod_revision: Revision,
    /// The store's life in which those revisions count.
    pub incarnation: Incarnation,
    /// When the object was first accepted.
    pub created_at: Timestamp,
    /// When the user's key was found gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

/// An accepted service.
pub type AcceptedService = Accepted<ServiceSpec>;
/// An accepted node.
pub type AcceptedNode = Accepted<NodeSpec>;
/// An accepted network.
pub type AcceptedNetwork = Accepted<NetworkSpec>;
