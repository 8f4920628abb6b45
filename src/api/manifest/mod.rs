//! Manifests: from a text or a stored value to objects with their defaults, or to every problem with its place.
//!
//! A document is a full manifest, or in the store the spec alone: a mapping without `apiVersion`, `kind`, `metadata`
//! and `spec` *is* the spec. What skep itself shows (`status`, uid, generation, creationTimestamp) is ignored, so that
//! `skep get -o yaml | skep apply -f -` writes nothing.

mod collect;
#[cfg(test)]
mod tests;

use crate::api::decode::port_lines;
use crate::api::decode::{self, Text};
use crate::api::name::{DEFAULT_NAMESPACE, Kind, ObjectKey, is_node_name, is_object_name};
use crate::api::network::NetworkSpec;
use crate::api::node::NodeSpec;
use crate::api::path::{Path, Segment};
use crate::api::service::{Annotated, ServiceSpec};
use crate::api::unit::Revision;
use crate::api::yaml::{self, Mark, Node, Value};
use crate::api::{default, nearest, validate};
use collect::{decode_all, locate};
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use std::collections::BTreeMap;
use std::fmt;

/// What manifests say in `apiVersion`.
pub const API_VERSION: &str = "skep.dev/v1";

/// The largest value that is accepted: the accepted record has to fit into a transaction (etcd's 1.5 MiB) as well.
pub const MAX_BYTES: usize = 512 << 10;

/// How many characters of a message are kept: it may quote the user's text and ends up in a condition in the store.
const MAX_MESSAGE: usize = 600;

/// An object as its user wants it, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Which object.
    pub key: ObjectKey,
    /// Its labels and annotations.
    pub metadata: Annotated,
    /// The revision that the user's key has to have, if the manifest names one.
    pub resource_version: Option<Revision>,
    /// What is wanted.
    pub spec: Spec,
    /// The document as its user wrote it: what `apply` puts into the store.
    pub text: String,
}

/// What is wanted of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// Of a service.
    Service(Box<ServiceSpec>),
    /// Of a node.
    Node(Box<NodeSpec>),
    /// Of a network.
    Network(Box<NetworkSpec>),
}

impl Spec {
    /// As JSON, the normalised form.
    pub fn to_value(&self) -> serde_json::Value {
        let value = match self {
            Self::Service(spec) => serde_json::to_value(spec),
            Self::Node(spec) => serde_json::to_value(spec),
            Self::Network(spec) => serde_json::to_value(spec),
        };
        value.expect("a spec has only text keys and finite numbers")
    }
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the key of the store.
    pub file: String,
    /// The document within the file, from 1; none: the file has only one.
    pub document: Option<usize>,
    /// The line, from 1; 0: no particular one.
    pub line: usize,
    /// The character within the line, from 1.
    pub column: usize,
    /// The field; empty: none in particular.
    pub path: Path,
    /// What was expected and what was found.
    pub message: String,
}

/// `web.yaml:12:5 (document 2): spec.replicas: expected a whole number, found "three"`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if let Some(document) = self.document {
            write!(f, " (document {document})")?;
        }
        if !self.path.0.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Problem {
    fn new(at: Option<Mark>, path: Path, message: impl Into<String>) -> Self {
        let at = at.unwrap_or_default();
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(end);
            message.push('…');
        }
        Self {
            line: at.line,
            column: at.column,
            path,
            message,
            ..Self::default()
        }
    }
}

/// Reads the documents of a file; each is a full manifest. Documents without content are left out.
pub fn parse_documents(text: &str, file: &str) -> Vec<Result<Manifest, Vec<Problem>>> {
    let documents = yaml::parse(text);
    let several = documents.len() > 1;
    let read = |document: Result<Node, Vec<yaml::Error>>| {
        let node = document.map_err(syntax)?;
        let own = match several {
            true => own_text(text, &node),
            false => text,
        };
        if own.len() > MAX_BYTES {
            return Err(vec![too_large(own.len())]);
        }
        Document::split(&node, own)?.read(None)
    };
    let label = |(index, result): (usize, Result<Manifest, Vec<Problem>>)| {
        result.map_err(|mut problems| {
            for problem in &mut problems {
                problem.file = file.to_owned();
                problem.document = several.then_some(index + 1);
            }
            problems
        })
    };
    documents
        .into_iter()
        .map(read)
        .enumerate()
        .map(label)
        .collect()
}

/// Reads the value of a user's key: one document, a full manifest or the spec alone.
///
/// # Errors
/// Every problem that was found, with the key for its file.
pub fn parse_value(key: &ObjectKey, value: &[u8]) -> Result<Manifest, Vec<Problem>> {
    let label = |mut problems: Vec<Problem>| {
        for problem in &mut problems {
            problem.file = key.to_string();
        }
        problems
    };
    document(value)
        .and_then(|(node, text)| Document::split(&node, text)?.read(Some(key)))
        .map_err(label)
}

/// The part of a file between the `---` around a document. At the beginning of a line they are nothing else, not even
/// in a block of text.
fn own_text<'a>(text: &'a str, node: &Node) -> &'a str {
    let (mut start, mut offset) = (0, 0);
    for line in text.split_inclusive('\n') {
        let is_marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.starts_with(char::is_whitespace) || rest.is_empty());
        if is_marker && offset > node.start.offset {
            return &text[start..offset];
        }
        if is_marker {
            let alone = line[3..].trim().is_empty();
            start = offset + if alone { line.len() } else { 3 };
        }
        offset += line.len();
    }
    &text[start..]
}

fn document(value: &[u8]) -> Result<(Node, &str), Vec<Problem>> {
    let alone = |message: String| vec![Problem::new(None, Path::default(), message)];
    if value.len() > MAX_BYTES {
        return Err(vec![too_large(value.len())]);
    }
    let text = std::str::from_utf8(value).map_err(|error| {
        alone(format!(
            "the value is no UTF-8 text: byte {} is wrong",
            error.valid_up_to() + 1
        ))
    })?;
    let mut documents = yaml::parse(text);
    match (documents.pop(), documents.len()) {
        (None, _) => Err(alone("the value is empty".to_owned())),
        (Some(document), 0) => Ok((document.map_err(syntax)?, text)),
        (Some(_), more) => Err(alone(format!(
            "the value holds {} documents, a key holds one: put each under its own key",
            more + 1
        ))),
    }
}

fn too_large(length: usize) -> Problem {
    let message = format!("{length} bytes are more than the {MAX_BYTES} that a manifest may have");
    Problem::new(None, Path::default(), message)
}

fn syntax(errors: Vec<yaml::Error>) -> Vec<Problem> {
    errors
        .into_iter()
        .map(|error| Problem::new(Some(error.at), Path::default(), error.message))
        .collect()
}

/// `metadata` of a manifest.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Metadata {
    #[serde(deserialize_with = "decode::optional_text")]
    name: Option<String>,
    #[serde(deserialize_with = "decode::optional_text")]
    namespace: Option<String>,
    #[serde(deserialize_with = "decode::text_map")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "decode::text_map")]
    annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "revision")]
    resource_version: Option<Revision>,
    #[serde(rename = "uid")]
    _uid: IgnoredAny,
    #[serde(rename = "generation")]
    _generation: IgnoredAny,
    #[serde(rename = "creationTimestamp")]
    _creation_timestamp: IgnoredAny,
    #[serde(rename = "deletionTimestamp")]
    _deletion_timestamp: IgnoredAny,
}

fn revision<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Revision>, D::Error> {
    let Some(Text(text)) = Option::deserialize(d)? else {
        return Ok(None);
    };
    let wrong = |_| serde::de::Error::custom(format!("expected a revision, found {text:?}"));
    text.parse()
        .map(|number| Some(Revision(number)))
        .map_err(wrong)
}

/// The parts of one document.
struct Document<'a> {
    text: &'a str,
    root: &'a Node,
    api_version: Option<&'a Node>,
    kind: Option<&'a Node>,
    metadata: Option<&'a Node>,
    /// The spec, and whether it is all of the document.
    spec: Option<&'a Node>,
    is_spec_alone: bool,
}

const PARTS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

impl<'a> Document<'a> {
    fn split(root: &'a Node, text: &'a str) -> Result<Self, Vec<Problem>> {
        let Value::Mapping(entries) = &root.value else {
            let message = "expected a manifest, a mapping with apiVersion, kind, metadata and spec";
            return Err(vec![Problem::new(
                Some(root.start),
                Path::default(),
                message,
            )]);
        };
        let part = |name: &str| root.entry(name).map(|entry| &entry.value);
        let mut document = Self {
            text,
            root,
            api_version: part("apiVersion"),
            kind: part("kind"),
            metadata: part("metadata"),
            spec: part("spec"),
            is_spec_alone: false,
        };
        if PARTS[..4].iter().all(|name| part(name).is_none()) {
            document.spec = Some(root);
            document.is_spec_alone = true;
            return Ok(document);
        }
        let unknown = |entry: &&yaml::Entry| !PARTS.contains(&entry.key.as_str());
        let problems: Vec<Problem> = entries
            .iter()
            .filter(unknown)
            .map(|entry| {
                let hint = nearest::suggestion(&entry.key, &PARTS[..4]);
                let path = Path::default().key(&entry.key);
                Problem::new(Some(entry.start), path, format!("unknown field: {hint}"))
            })
            .collect();
        match problems.is_empty() {
            true => Ok(document),
            false => Err(problems),
        }
    }

    /// Reads the object; `wanted` is its key in the store, none where the manifest alone says which object it is.
    fn read(&self, wanted: Option<&ObjectKey>) -> Result<Manifest, Vec<Problem>> {
        let mut problems = Vec::new();
        if wanted.is_none() && self.is_spec_alone {
            let message = "`apiVersion`, `kind` and `metadata.name` are missing: only a value in the store, whose key says it, may be the spec alone";
            let problem = Problem::new(Some(self.root.start), Path::default(), message);
            return Err(vec![problem]);
        }
        self.check_version(wanted.is_none(), &mut problems);
        let kind = self.kind(wanted.map(|key| key.kind), &mut problems);
        let metadata = match self.metadata {
            Some(node) => decode_all::<Metadata>(node, &Path::of("metadata"), &mut problems),
            None => Some(Metadata::default()),
        };
        let key = kind
            .zip(metadata.as_ref())
            .and_then(|(kind, metadata)| match wanted {
                Some(key) => self.agree(key, metadata, &mut problems),
                None => self.key(kind, metadata, &mut problems),
            });
        let spec = kind.and_then(|kind| self.spec(kind, &mut problems));
        match (key, metadata, spec) {
            (Some(key), Some(metadata), Some(spec)) if problems.is_empty() => Ok(Manifest {
                key,
                resource_version: metadata.resource_version,
                metadata: Annotated {
                    labels: metadata.labels,
                    annotations: metadata.annotations,
                },
                spec,
                text: self.text.to_owned(),
            }),
            _ => Err(problems),
        }
    }

    fn check_version(&self, needed: bool, problems: &mut Vec<Problem>) {
        let path = Path::of("apiVersion");
        match (self.api_version, self.api_version.and_then(text)) {
            (_, Some(API_VERSION)) => {}
            (Some(node), found) => {
                let found =
                    found.map_or_else(|| "something else".into(), |text| format!("{text:?}"));
                let message = format!("expected {API_VERSION}, found {found}");
                problems.push(Problem::new(Some(node.start), path, message));
            }
            (None, _) if needed => {
                let message = format!("is missing: write `apiVersion: {API_VERSION}`");
                problems.push(Problem::new(Some(self.root.start), path, message));
            }
            (None, _) => {}
        }
    }

    fn kind(&self, wanted: Option<Kind>, problems: &mut Vec<Problem>) -> Option<Kind> {
        let names: Vec<&str> = Kind::ALL.into_iter().map(Kind::as_str).collect();
        let message = match (self.kind, self.kind.and_then(text), wanted) {
            (None, _, Some(kind)) => return Some(kind),
            (None, _, None) => format!("is missing: write one of {}", names.join(", ")),
            (Some(_), None, _) => format!("expected one of {}", names.join(", ")),
            (Some(_), Some(word), wanted) => {
                let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == word);
                match (found, wanted) {
                    (None, _) => {
                        format!(
                            "there is no kind {word:?}: {}",
                            nearest::suggestion(word, &names)
                        )
                    }
                    (Some(kind), Some(wanted)) if kind != wanted => {
                        format!("the manifest is a {kind}, its key is for a {wanted}")
                    }
                    (Some(kind), _) => return Some(kind),
                }
            }
        };
        let at = self.kind.unwrap_or(self.root).start;
        problems.push(Problem::new(Some(at), Path::of("kind"), message));
        None
    }

    /// The object that a manifest on its own names.
    fn key(
        &self,
        kind: Kind,
        metadata: &Metadata,
        problems: &mut Vec<Problem>,
    ) -> Option<ObjectKey> {
        let before = problems.len();
        let Some(name) = &metadata.name else {
            let path = Path::of("metadata.name");
            problems.push(self.problem(path, "is missing"));
            return None;
        };
        if let Err(message) = check_name(kind, name) {
            problems.push(self.problem(Path::of("metadata.name"), message));
        }
        let namespace = match (&metadata.namespace, kind.is_namespaced()) {
            (None, true) => DEFAULT_NAMESPACE.to_owned(),
            (Some(namespace), true) => {
                if !is_object_name(namespace) {
                    let message = object_name_rule(namespace);
                    problems.push(self.problem(Path::of("metadata.namespace"), message));
                }
                namespace.clone()
            }
            (Some(_), false) => {
                let message = format!("a {kind} lives in no namespace: leave this out");
                problems.push(self.problem(Path::of("metadata.namespace"), message));
                String::new()
            }
            (None, false) => String::new(),
        };
        (problems.len() == before).then(|| ObjectKey {
            kind,
            namespace,
            name: name.clone(),
        })
    }

    /// The object of the key, with which the manifest has to agree.
    fn agree(
        &self,
        key: &ObjectKey,
        metadata: &Metadata,
        problems: &mut Vec<Problem>,
    ) -> Option<ObjectKey> {
        let before = problems.len();
        let checks = [
            ("metadata.name", &metadata.name, &key.name),
            ("metadata.namespace", &metadata.namespace, &key.namespace),
        ];
        for (path, said, wanted) in checks {
            if let Some(said) = said.as_ref().filter(|said| *said != wanted) {
                let message = match wanted.is_empty() {
                    true => format!("a {} lives in no namespace: leave this out", key.kind),
                    false => format!("says {said:?}, its key says {wanted:?}"),
                };
                problems.push(self.problem(Path::of(path), message));
            }
        }
        let mut names = vec![check_name(key.kind, &key.name)];
        if key.kind.is_namespaced() && !is_object_name(&key.namespace) {
            names.push(Err(object_name_rule(&key.namespace)));
        }
        for message in names.into_iter().filter_map(Result::err) {
            problems.push(Problem::new(None, Path::default(), message));
        }
        (problems.len() == before).then(|| key.clone())
    }

    fn problem(&self, path: Path, message: impl Into<String>) -> Problem {
        Problem::new(Some(locate(self.root, &path)), path, message)
    }

    fn spec(&self, kind: Kind, problems: &mut Vec<Problem>) -> Option<Spec> {
        let base = match self.is_spec_alone {
            true => Path::default(),
            false => Path::of("spec"),
        };
        let Some(node) = self.spec else {
            if kind == Kind::Network {
                return Some(Spec::Network(Box::default()));
            }
            problems.push(Problem::new(Some(self.root.start), base, "is missing"));
            return None;
        };
        let (spec, refused) = match kind {
            Kind::Service => {
                let mut spec: ServiceSpec = decode_all(node, &base, problems)?;
                let lines = port_lines(node.entry("ports").map(|entry| &entry.value));
                let refused = validate::service(&spec, &lines);
                default::fill(&mut spec);
                (Spec::Service(Box::new(spec)), refused)
            }
            Kind::Node => {
                let spec: NodeSpec = decode_all(node, &base, problems)?;
                let refused = validate::node(&spec);
                (Spec::Node(Box::new(spec)), refused)
            }
            Kind::Network => {
                let spec: NetworkSpec = decode_all(node, &base, problems)?;
                let refused = validate::network(&spec);
                (Spec::Network(Box::new(spec)), refused)
            }
        };
        problems.extend(refused.into_iter().map(|refusal| {
            let at = locate(node, &refusal.path);
            Problem::new(Some(at), base.join(&refusal.path), refusal.message)
        }));
        Some(spec)
    }
}

fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text),
        Value::Sequence(_) | Value::Mapping(_) => None,
    }
}

fn check_name(kind: Kind, name: &str) -> Result<(), String> {
    match kind {
        Kind::Node if is_node_name(name) => Ok(()),
        Kind::Node => Err(format!("`{name}` is no DNS name")),
        Kind::Service | Kind::Network if is_object_name(name) => Ok(()),
        Kind::Service | Kind::Network => Err(object_name_rule(name)),
    }
}

fn object_name_rule(name: &str) -> String {
    format!(
        "`{name}` is no name: up to 63 letters, digits, - and _, beginning and ending with a letter or digit"
    )
}
