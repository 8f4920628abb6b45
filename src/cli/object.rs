//! Objects as they are shown in full: the user's spec, status merged, and what controllers gave them. Pure.

use super::text::{self, Meaning};
use crate::api::accepted::Accepted;
use crate::api::name::{Kind, ObjectKey};
use crate::api::service::Annotated;
use crate::api::status::{Condition, Status};
use crate::api::unit::Revision;
use crate::runtime::cache::Cache;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Every object of a kind that users wrote or controllers still hold, by key.
pub(super) fn keys(cache: &Cache, kind: Kind) -> BTreeSet<ObjectKey> {
    let written = cache.users.keys().filter(|key| key.kind == kind).cloned();
    let accepted: Vec<ObjectKey> = match kind {
        Kind::Service => cache.services.keys().map(ObjectKey::service).collect(),
        Kind::Network => cache.networks.keys().map(ObjectKey::network).collect(),
        Kind::Node => cache.nodes.keys().map(ObjectKey::node).collect(),
    };
    written.chain(accepted).collect()
}

/// An accepted record without its spec's type.
pub(super) struct Record {
    /// What controllers gave it and the user's labels.
    pub(super) head: Accepted<()>,
    /// Its spec.
    pub(super) spec: Value,
}

/// The accepted record of an object.
pub(super) fn record(cache: &Cache, key: &ObjectKey) -> Option<Record> {
    match key.kind {
        Kind::Service => cache.services.get(&key.scoped()).map(|a| untyped(&a.value)),
        Kind::Network => cache.networks.get(&key.scoped()).map(|a| untyped(&a.value)),
        Kind::Node => cache.nodes.get(&key.node_name()).map(|a| untyped(&a.value)),
    }
}

fn untyped<S: Serialize>(accepted: &Accepted<S>) -> Record {
    Record {
        head: Accepted {
            uid: accepted.uid.clone(),
            generation: accepted.generation,
            metadata: accepted.metadata.clone(),
            spec: (),
            create_revision: accepted.create_revision,
            mod_revision: accepted.mod_revision,
            incarnation: accepted.incarnation,
            created_at: accepted.created_at,
            deleted_at: accepted.deleted_at,
        },
        spec: serde_json::to_value(&accepted.spec).unwrap_or(Value::Null),
    }
}

/// What the user's value means, if it is there and can be read.
pub(super) fn meaning(cache: &Cache, key: &ObjectKey) -> Option<Meaning> {
    let user = cache.users.get(key)?;
    text::meaning(key, &user.value).ok()
}

/// Labels and annotations: the user's, else those in force.
pub(super) fn annotated(cache: &Cache, key: &ObjectKey) -> Annotated {
    meaning(cache, key)
        .map(|meaning| meaning.metadata)
        .or_else(|| record(cache, key).map(|record| record.head.metadata))
        .unwrap_or_default()
}

/// What all controllers say of an object; a status of another uid does not exist.
pub(super) fn statuses<'a>(cache: &'a Cache, key: &'a ObjectKey) -> Vec<(&'a str, &'a Status)> {
    let uid = record(cache, key).map(|record| record.head.uid);
    cache
        .statuses_of(key)
        .map(|(controller, status)| (controller, status.value.as_ref()))
        .filter(|(_, status)| status.uid.is_none() || status.uid == uid)
        .collect()
}

/// The conditions that all controllers report.
pub(super) fn conditions<'a>(cache: &'a Cache, key: &'a ObjectKey) -> Vec<&'a Condition> {
    statuses(cache, key)
        .into_iter()
        .flat_map(|(_, status)| &status.conditions)
        .collect()
}

/// One condition of an object.
pub(super) fn condition<'a>(
    cache: &'a Cache,
    key: &'a ObjectKey,
    kind: &str,
) -> Option<&'a Condition> {
    conditions(cache, key)
        .into_iter()
        .find(|condition| condition.kind == kind)
}

/// The revision of the user's value.
pub(super) fn user_revision(cache: &Cache, key: &ObjectKey) -> Option<Revision> {
    cache.users.get(key).map(|user| user.mod_revision)
}

/// The whole object in the form of a manifest: `apply` of it writes nothing.
pub(super) fn manifest(cache: &Cache, key: &ObjectKey) -> Value {
    let record = record(cache, key);
    let meaning = meaning(cache, key);
    let mut object = Map::new();
    object.insert("apiVersion".into(), json!("skep.dev/v1"));
    object.insert("kind".into(), json!(key.kind.as_str()));
    object.insert("metadata".into(), metadata(cache, key, record.as_ref()));
    let spec = meaning
        .map(|meaning| meaning.spec_json())
        .or_else(|| record.map(|record| record.spec));
    if let Some(spec) = spec {
        object.insert("spec".into(), spec);
    }
    let status = merged(cache, key);
    if !status.is_empty() {
        object.insert("status".into(), Value::Object(status));
    }
    Value::Object(object)
}

fn metadata(cache: &Cache, key: &ObjectKey, record: Option<&Record>) -> Value {
    let annotated = annotated(cache, key);
    let mut metadata = Map::new();
    metadata.insert("name".into(), json!(key.name));
    if key.kind.is_namespaced() {
        metadata.insert("namespace".into(), json!(key.namespace));
    }
    if !annotated.labels.is_empty() {
        metadata.insert("labels".into(), json!(annotated.labels));
    }
    if !annotated.annotations.is_empty() {
        metadata.insert("annotations".into(), json!(annotated.annotations));
    }
    if let Some(record) = record {
        metadata.insert("uid".into(), json!(record.head.uid));
        metadata.insert("generation".into(), json!(record.head.generation));
        metadata.insert("creationTimestamp".into(), json!(record.head.created_at));
        if let Some(time) = record.head.deleted_at {
            metadata.insert("deletionTimestamp".into(), json!(time));
        }
    }
    if let Some(revision) = user_revision(cache, key) {
        metadata.insert("resourceVersion".into(), json!(revision.to_string()));
    }
    Value::Object(metadata)
}

/// The statuses of all controllers in one: conditions together, everything else has one writer.
fn merged(cache: &Cache, key: &ObjectKey) -> Map<String, Value> {
    let mut merged = Map::new();
    let mut conditions = Vec::new();
    for (_, status) in statuses(cache, key) {
        let Ok(Value::Object(fields)) = serde_json::to_value(status) else {
            continue;
        };
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("uid", _) => {}
                ("conditions", Value::Array(list)) => conditions.extend(list),
                // Each controller says what it has observed: the oldest is what all have.
                ("observedGeneration", value) => {
                    let least = merged.get("observedGeneration").and_then(Value::as_u64);
                    if least.is_none_or(|least| value.as_u64().is_some_and(|own| own < least)) {
                        merged.insert(name, value);
                    }
                }
                (_, value) => {
                    merged.insert(name, value);
                }
            }
        }
    }
    if !conditions.is_empty() {
        merged.insert("conditions".into(), Value::Array(conditions));
    }
    merged
}
