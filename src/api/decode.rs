//! Shorthands.
use super::container::{Container, FileReference, Mount};
use super::node::EngineSpec;
use super::service::{Attachment, ServicePort, Template};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Whether a value is its type's default (left out when written).
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
macro_rules! plain { ($($n:ident -> $t:ty),*) => { $(
    /// placeholder
    pub(super) fn $n<'de, D: Deserializer<'de>>(d: D) -> Result<$t, D::Error> { <$t>::deserialize(d) }
)* } }
plain!(words -> Vec<String>, texts -> Vec<String>, environment -> BTreeMap<String,String>, text_map -> BTreeMap<String,String>, optional_text -> Option<String>, mounts -> Vec<Mount>, health_test -> Vec<String>, template -> Template, container -> Container, ports -> Vec<ServicePort>, attachments -> Option<Vec<Attachment>>, file_references -> Vec<FileReference>, engine -> EngineSpec);
