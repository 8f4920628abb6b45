//! What users wrote, as verbs need it: documents with their bytes, their meaning, and edits. Pure.
//!
//! The one place of the command line that knows how `api` parses. A document's bytes are kept as they are, comments
//! included; a file of several documents is cut at the lines that begin with `---`, which YAML allows nowhere else.

use crate::api::diff::{self, Change};
use crate::api::manifest::{self, Manifest};
use crate::api::name::ObjectKey;
use crate::api::service::Annotated;
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
    /// The object.
    pub(super) manifest: Manifest,
    /// Its text, byte for byte.
    pub(super) text: String,
}

impl Document {
    /// The object's key.
    pub(super) fn key(&self) -> &ObjectKey {
        &self.manifest.key
    }

    /// What it means.
    pub(super) fn meaning(&self) -> Meaning {
        Meaning::of(self.manifest.clone())
    }
}

/// Reads a file; problems are lines for people, with file, line and field.
pub(super) fn documents(text: &str, file: &str) -> (Vec<Document>, Vec<String>) {
    let parsed = manifest::parse_documents(text, file);
    let pieces = cut(text, parsed.len());
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    for (index, result) in parsed.into_iter().enumerate() {
        match (result, pieces.get(index)) {
            (Ok(manifest), Some(piece)) => match check(&manifest, piece, file) {
                Ok(()) => documents.push(Document {
                    manifest,
                    text: (*piece).to_owned(),
                }),
                Err(problem) => problems.push(problem),
            },
            (Ok(manifest), None) => problems.push(format!(
                "{file}: document {} ({}) cannot be cut out of the file: put it into its own file",
                index + 1,
                manifest.key
            )),
            (Err(found), _) => problems.extend(found.iter().map(ToString::to_string)),
        }
    }
    (documents, problems)
}

/// A piece is stored only if it means what the whole file says.
fn check(manifest: &Manifest, piece: &str, file: &str) -> Result<(), String> {
    if piece.len() > LARGEST {
        return Err(format!(
            "{file}: {} has {} bytes; a value may have {LARGEST}",
            manifest.key,
            piece.len()
        ));
    }
    match meaning(&manifest.key, piece.as_bytes()) {
        Ok(meaning) if meaning == Meaning::of(manifest.clone()) => Ok(()),
        Ok(_) | Err(_) => Err(format!(
            "{file}: {} means something else on its own: put it into its own file",
            manifest.key
        )),
    }
}

/// The text of each document with content. A file of one document is kept whole.
fn cut(text: &str, documents: usize) -> Vec<&str> {
    if documents <= 1 {
        return vec![text];
    }
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if is_separator(line) {
            pieces.push(&text[start..at]);
            start = at + "---".len();
        }
        at += line.len();
    }
    pieces.push(&text[start..]);
    pieces
        .into_iter()
        .map(|piece| piece.trim_start_matches([' ', '\t']))
        .map(|piece| piece.strip_prefix("\r\n").or_else(|| piece.strip_prefix('\n')).unwrap_or(piece))
        .filter(|piece| has_content(piece))
        .collect()
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn has_content(piece: &str) -> bool {
    piece
        .lines()
        .map(str::trim)
        .any(|line| !line.is_empty() && !line.starts_with(['#', '%']) && line != "...")
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
