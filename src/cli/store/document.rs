//! What users wrote as documents of an export: their own text where it is a manifest, else their text within one. Pure.
//!
//! A full manifest that names its object stays byte for byte. The spec alone becomes the `spec` of a manifest, moved to
//! the right, comments and all. What neither fits is written anew from what it says, without its comments. Each document
//! is read back before it is taken: it means the same object and the same spec, or the next way is tried.
//!
//! What belongs to no object stands in comments at the head, one JSON text per line: the cluster's id and incarnation,
//! and what `skep scale` said. So `apply -f` takes the file as well.

use crate::api::cluster::Cluster;
use crate::api::manifest::{self, API_VERSION, Manifest};
use crate::api::name::{ObjectKey, Scoped};
use crate::api::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// How the line of the cluster begins.
const CLUSTER: &str = "# skep.dev/cluster: ";

/// How a line of `skep scale` begins.
const SCALE: &str = "# skep.dev/scale: ";

/// What stands at the head of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The cluster; none: no manager had worked on the store.
    pub(super) cluster: Option<Cluster>,
    /// Values of `scale/<ns>/<name>`.
    pub(super) scales: BTreeMap<Scoped, String>,
}

#[derive(Serialize, Deserialize)]
struct Scale {
    service: String,
    value: String,
}

impl Head {
    /// As lines of comments.
    pub(super) fn write(&self, now: Timestamp) -> String {
        let mut text =
            format!("# Written by `skep store export` on {now}; `skep store import` reads it.\n");
        let json = |value: serde_json::Result<String>| value.expect("the fields are plain");
        if let Some(cluster) = &self.cluster {
            text += &format!("{CLUSTER}{}\n", json(serde_json::to_string(cluster)));
        }
        for (service, value) in &self.scales {
            let scale = Scale {
                service: service.to_string(),
                value: value.clone(),
            };
            text += &format!("{SCALE}{}\n", json(serde_json::to_string(&scale)));
        }
        text
    }

    /// Takes in the lines of a file, and gives the file without them.
    pub(super) fn read<'a>(&mut self, text: &'a str) -> Result<&'a str, String> {
        let (mut rest, mut is_head) = (text, false);
        while let Some((line, after)) = rest.split_once('\n')
            && line.starts_with('#')
        {
            is_head |= self.line(line)?;
            rest = after;
        }
        match is_head {
            // The line between head and first document is not the document's.
            true => Ok(rest.strip_prefix("---\n").unwrap_or(rest)),
            false => Ok(text),
        }
    }

    /// Takes in a line, and says whether it was one of a head.
    fn line(&mut self, line: &str) -> Result<bool, String> {
        if let Some(text) = line.strip_prefix(CLUSTER) {
            let cluster = serde_json::from_str(text);
            self.cluster = Some(cluster.map_err(|error| format!("{line}: {error}"))?);
            return Ok(true);
        }
        let Some(text) = line.strip_prefix(SCALE) else {
            return Ok(false);
        };
        let scale: Scale =
            serde_json::from_str(text).map_err(|error| format!("{line}: {error}"))?;
        let (namespace, name) = scale
            .service
            .split_once('/')
            .ok_or_else(|| format!("{line}: a service is NAMESPACE/NAME"))?;
        self.scales
            .insert(Scoped::new(namespace, name), scale.value);
        Ok(true)
    }
}

/// The document of an object.
///
/// # Errors
/// The value cannot be read as the object: what the parser said.
pub(super) fn document(key: &ObjectKey, value: &[u8]) -> Result<String, String> {
    let wanted = manifest::parse_value(key, value).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        lines.join("; ")
    })?;
    let text = &wanted.text;
    let ways = [
        Some(text.clone()),
        wrapped(key, text),
        named(key, text),
        anew(key, text),
    ];
    let fits = |text: &String| means(text, &wanted);
    let found = ways.into_iter().flatten().find(fits);
    found.ok_or_else(|| "it cannot be written as a manifest that means the same".into())
}

/// Whether a text is one manifest that means the same.
fn means(text: &str, wanted: &Manifest) -> bool {
    // As one of several: the text has to end where the next one begins.
    let beside = format!("---\n{}---\n{}", ended(text), ended(text));
    let read = manifest::parse_documents(&beside, "export");
    let same = |found: &Result<Manifest, _>| match found {
        Ok(found) => {
            found.key == wanted.key
                && found.metadata == wanted.metadata
                && found.spec == wanted.spec
                && found.text == ended(text)
        }
        Err(_) => false,
    };
    read.len() == 2 && read.iter().all(same)
}

/// The text with a line feed at its end.
pub(super) fn ended(text: &str) -> String {
    match text.ends_with('\n') {
        true => text.to_owned(),
        false => format!("{text}\n"),
    }
}

/// The spec alone, within a manifest.
fn wrapped(key: &ObjectKey, text: &str) -> Option<String> {
    let mut whole = format!(
        "apiVersion: {API_VERSION}\nkind: {}\nmetadata:\n",
        key.kind.as_str()
    );
    whole += &names(key, "  ");
    whole += "spec:\n";
    for line in text.lines() {
        match line.is_empty() {
            true => whole.push('\n'),
            false => whole += &format!("  {line}\n"),
        }
    }
    Some(whole)
}

/// A manifest that leaves its name to the key: the name goes in, under a `metadata` of its own or the one that is there.
fn named(key: &ObjectKey, text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let Some(at) = lines.iter().position(|line| line.starts_with("metadata:")) else {
        let first = lines.iter().position(|line| line.starts_with("kind:"))?;
        let own = format!("metadata:\n{}", names(key, "  "));
        return Some(inserted(&lines, first + 1, &own));
    };
    let below = lines.get(at + 1)?;
    let indent: String = below.chars().take_while(|c| *c == ' ').collect();
    let is_block = lines[at].trim_end() == "metadata:" && !indent.is_empty();
    is_block.then(|| inserted(&lines, at + 1, &names(key, &indent)))
}

fn inserted(lines: &[&str], at: usize, own: &str) -> String {
    let (before, after) = lines.split_at(at);
    let text =
        |lines: &[&str]| -> String { lines.iter().map(|line| format!("{line}\n")).collect() };
    format!("{}{own}{}", text(before), text(after))
}

fn names(key: &ObjectKey, indent: &str) -> String {
    let name = format!("{indent}name: {}\n", json!(key.name));
    match key.kind.is_namespaced() {
        true => format!("{name}{indent}namespace: {}\n", json!(key.namespace)),
        false => name,
    }
}

/// What the value says, without its comments.
fn anew(key: &ObjectKey, text: &str) -> Option<String> {
    let value: serde_json::Value = serde_yaml::from_str(text).ok()?;
    let is_manifest = value.get("apiVersion").is_some() || value.get("spec").is_some();
    let mut whole = match is_manifest {
        true => value,
        false => json!({"spec": value}),
    };
    let fields = whole.as_object_mut()?;
    fields.insert("apiVersion".into(), json!(API_VERSION));
    fields.insert("kind".into(), json!(key.kind.as_str()));
    let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
    let metadata = metadata.as_object_mut()?;
    metadata.insert("name".into(), json!(key.name));
    if key.kind.is_namespaced() {
        metadata.insert("namespace".into(), json!(key.namespace));
    }
    Some(crate::api::yaml_text::write(&whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cluster::FORMAT;
    use crate::api::name::Kind;
    use crate::api::uid::Uid;
    use crate::api::unit::Incarnation;

    fn web() -> ObjectKey {
        ObjectKey::service(&Scoped::new("shop", "web"))
    }

    fn check(value: &str, expected: &str) {
        let written = document(&web(), value.as_bytes()).unwrap();
        assert_eq!(written, expected);
    }

    #[test]
    fn a_manifest_stays_byte_for_byte() {
        let full = "# the front\napiVersion: skep.dev/v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec:\n  replicas: 2 # two\n  template: {container: a:1}";
        check(full, full);
    }

    #[test]
    fn the_spec_alone_becomes_a_manifest_and_keeps_its_comments() {
        check(
            "# quick\nreplicas: 2 # two\ntemplate:\n  container:\n    image: a:1\n    args:\n    - |\n      one\n\n      two\n",
            "apiVersion: skep.dev/v1\nkind: Service\nmetadata:\n  name: \"web\"\n  namespace: \"shop\"\nspec:\n  # quick\n  replicas: 2 # two\n  template:\n    container:\n      image: a:1\n      args:\n      - |\n        one\n\n        two\n",
        );
        check(
            "{replicas: 2, template: {container: 'a:1'}}",
            "apiVersion: skep.dev/v1\nkind: Service\nmetadata:\n  name: \"web\"\n  namespace: \"shop\"\nspec:\n  {replicas: 2, template: {container: 'a:1'}}\n",
        );
    }

    #[test]
    fn a_manifest_without_its_name_gets_it() {
        check(
            "apiVersion: skep.dev/v1\nkind: Service\nspec: {template: {container: a:1}} # all\n",
            "apiVersion: skep.dev/v1\nkind: Service\nmetadata:\n  name: \"web\"\n  namespace: \"shop\"\nspec: {template: {container: a:1}} # all\n",
        );
        check(
            "apiVersion: skep.dev/v1\nkind: Service\nmetadata:\n    labels: {a: b}\nspec: {template: {container: a:1}}\n",
            "apiVersion: skep.dev/v1\nkind: Service\nmetadata:\n    name: \"web\"\n    namespace: \"shop\"\n    labels: {a: b}\nspec: {template: {container: a:1}}\n",
        );
        let flow = "apiVersion: skep.dev/v1\nkind: Service\nmetadata: {labels: {a: b}}\nspec: {template: {container: a:1}}\n";
        let anew = document(&web(), flow.as_bytes()).unwrap();
        let read = manifest::parse_documents(&anew, "x").remove(0).unwrap();
        assert_eq!(read.key, web());
        assert_eq!(read.metadata.labels.get("a").map(String::as_str), Some("b"));
    }

    #[test]
    fn every_value_means_the_same_as_a_document_whatever_its_form() {
        for value in [
            "---\nreplicas: 2\ntemplate: {container: a:1}\n",
            "{\"replicas\": 2, \"template\": {\"container\": \"a:1\"}}",
            "replicas: 2\r\ntemplate: {container: a:1}\r\n",
            "template: {container: {image: a:1, env: {A: \"x\n  y\"}}}",
        ] {
            let before = manifest::parse_value(&web(), value.as_bytes()).unwrap();
            let text = document(&web(), value.as_bytes()).unwrap();
            let after = manifest::parse_documents(&text, "x").remove(0).unwrap();
            assert_eq!((after.key, after.spec), (web(), before.spec), "{text}");
        }
        let node = ObjectKey {
            kind: Kind::Node,
            namespace: String::new(),
            name: "n1".into(),
        };
        let text = document(&node, b"{engine: 'tcp://n1:2375'}").unwrap();
        assert!(!text.contains("namespace"), "{text}");
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let error = document(&web(), b"replicas: many").unwrap_err();
        assert!(error.contains("replicas"), "{error}");
    }

    #[test]
    fn the_head_is_read_as_it_was_written_and_is_no_part_of_the_first_document() {
        let mut head = Head {
            cluster: Some(Cluster {
                id: Uid::from("0000000000000000000000001"),
                incarnation: Incarnation(4),
                format: FORMAT,
                adopting_since: None,
                held: None,
            }),
            scales: BTreeMap::new(),
        };
        let scale = (
            Scoped::new("shop", "web"),
            "{replicas: 3} # three\n".to_owned(),
        );
        head.scales.extend([scale]);
        let text = format!("{}---\n# mine\nkind: Service\n", head.write(Timestamp(0)));
        let mut read = Head::default();
        assert_eq!(read.read(&text), Ok("# mine\nkind: Service\n"));
        assert_eq!(read, head);
        // A file beside it that begins with its user's comment.
        assert_eq!(read.read("# mine\nkind: x\n"), Ok("# mine\nkind: x\n"));
        let mut none = Head::default();
        assert_eq!(none.read("# mine\nkind: x\n"), Ok("# mine\nkind: x\n"));
        assert!(Head::default().read("# skep.dev/cluster: {}\n").is_err());
    }
}
