//! What users wrote, as verbs need it: documents with their bytes, their meaning, and edits. Pure.
//!
//! The one place of the command line that knows how `api` parses. A document's bytes are kept as they are, comments
//! included.

use crate::api::diff::{self, Change};
use crate::api::edit;
use crate::api::manifest::{self, Manifest};
use crate::api::name::ObjectKey;
use crate::api::node::Availability;
use crate::api::service::Annotated;
use crate::runtime::cache::Cache;
use serde_json::{Value, json};

/// A value above this is refused: the accepted record has to fit below etcd's 1.5 MiB as well.
pub(super) const LARGEST: usize = manifest::MAX_BYTES;

/// What a value means.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Meaning {
    /// Labels and annotations.
    pub(super) metadata: Annotated,
    /// The spec with its defaults.
    pub(super) spec: manifest::Spec,
}

impl Meaning {
    fn of(manifest: Manifest) -> Self {
        Self {
            metadata: manifest.metadata,
            spec: manifest.spec,
        }
    }

    /// The spec as JSON.
    pub(super) fn spec_json(&self) -> Value {
        self.spec.to_value()
    }

    /// What a user says of an object, as JSON: labels, annotations and spec.
    pub(super) fn json(&self) -> Value {
        json!({"metadata": self.metadata, "spec": self.spec_json()})
    }
}

/// One document of a file.
#[derive(Clone, Debug)]
pub(super) struct Document {
    /// The object, with its text.
    pub(super) manifest: Manifest,
}

impl Document {
    /// The object's key.
    pub(super) fn key(&self) -> &ObjectKey {
        &self.manifest.key
    }

    /// The object as a manifest, with its defaults.
    pub(super) fn json(&self) -> Value {
        let key = self.key();
        let mut metadata = json!({"name": key.name});
        if key.kind.is_namespaced() {
            metadata["namespace"] = json!(key.namespace);
        }
        let own = &self.manifest.metadata;
        for (field, texts) in [("labels", &own.labels), ("annotations", &own.annotations)] {
            if !texts.is_empty() {
                metadata[field] = json!(texts);
            }
        }
        json!({
            "apiVersion": manifest::API_VERSION, "kind": key.kind.as_str(), "metadata": metadata,
            "spec": self.manifest.spec.to_value(),
        })
    }

    /// What it means.
    pub(super) fn meaning(&self) -> Meaning {
        Meaning::of(self.manifest.clone())
    }
}

/// Reads a file; problems are lines for people, with file, line and field.
pub(super) fn documents(text: &str, file: &str) -> (Vec<Document>, Vec<String>) {
    let Some(items) = list(text) else {
        return alone(text, file);
    };
    let mut all = (Vec::new(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        let text = serde_json::to_string_pretty(item).unwrap_or_default();
        let (documents, problems) = alone(&text, &format!("{file}: items[{index}]"));
        all.0.extend(documents);
        all.1.extend(problems);
    }
    all
}

/// The items of a `List`, as `get -o json` prints several objects; none: the file is something else.
fn list(text: &str) -> Option<Vec<Value>> {
    if !text.contains("List") {
        return None;
    }
    // Fails where there are several documents: those are no List.
    let mut whole: Value = serde_yaml::from_str(text).ok()?;
    if whole.get("kind")? != "List" {
        return None;
    }
    serde_json::from_value(whole.get_mut("items")?.take()).ok()
}

fn alone(text: &str, file: &str) -> (Vec<Document>, Vec<String>) {
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    for result in manifest::parse_documents(text, file) {
        match result {
            Ok(manifest) if manifest.text.len() > LARGEST => problems.push(format!(
                "{file}: {} has {} bytes; a value may have {LARGEST}",
                manifest.key,
                manifest.text.len()
            )),
            Ok(manifest) => documents.push(Document { manifest }),
            Err(found) => problems.extend(found.iter().map(ToString::to_string)),
        }
    }
    (documents, problems)
}

/// Checks a value that a command made of its flags: problems name the field alone.
pub(super) fn placeless(key: &ObjectKey, value: &str) -> Result<(), String> {
    let problems = match manifest::parse_value(key, value.as_bytes()) {
        Ok(_) => return Ok(()),
        Err(problems) => problems,
    };
    let lines = problems
        .into_iter()
        .map(|problem| match problem.path.0.is_empty() {
            true => problem.message,
            false => format!("{}: {}", problem.path, problem.message),
        });
    Err(lines.collect::<Vec<_>>().join("\n"))
}

/// What a stored value means.
pub(super) fn meaning(key: &ObjectKey, value: &[u8]) -> Result<Meaning, String> {
    manifest::parse_value(key, value)
        .map(Meaning::of)
        .map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            lines.join("\n")
        })
}

/// The replicas that the scale key of a service says, as the service controller reads it: `3` or `{replicas: 3}`.
pub(super) fn scaled(cache: &Cache, key: &ObjectKey) -> Option<u32> {
    let stored = cache.scales.get(&key.scoped())?;
    let value: Value = serde_yaml::from_slice(&stored.value).ok()?;
    let number = value.get("replicas").unwrap_or(&value);
    number
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
}

/// The fields in which two meanings differ.
pub(super) fn changes(before: &Meaning, after: &Meaning) -> Vec<Change> {
    diff::changes(&before.json(), &after.json())
}

/// The changes in one line, the first few of them.
pub(super) fn summary(changes: &[Change]) -> String {
    const SHOWN: usize = 4;
    let mut parts: Vec<String> = changes.iter().take(SHOWN).map(shortened).collect();
    if changes.len() > SHOWN {
        parts.push(format!("and {} more", changes.len() - SHOWN));
    }
    parts.join(", ")
}

fn shortened(change: &Change) -> String {
    const LONGEST: usize = 120;
    let text = change.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// The user's text with another number of replicas, everything else as it is.
pub(super) fn with_replicas(value: &[u8], replicas: u32) -> Result<Vec<u8>, String> {
    edited(value, "replicas", &json!(replicas))
}

/// The user's text with another availability, everything else as it is.
pub(super) fn with_availability(value: &[u8], wanted: Availability) -> Result<Vec<u8>, String> {
    edited(value, "availability", &json!(wanted.as_str()))
}

fn edited(value: &[u8], field: &str, to: &Value) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(value).map_err(|error| error.to_string())?;
    edit::set_spec_field(text, field, to)
        .map(String::into_bytes)
        .map_err(|error| error.to_string())
}
