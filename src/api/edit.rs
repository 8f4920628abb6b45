//! Edits one field of a text by its place, keeping comments, layout and style.
//!
//! `skep scale` and `skep node drain` change what a user wrote, so they replace or insert one scalar and nothing else.
//! The edited text is parsed again and has to be exactly the intended object; else the edit fails and nothing is to be
//! written. Deliberately absent: removing fields, inserting below a list.

use super::de::{self, Plain};
use super::yaml::{self, Entry, Mark, Node, Value};
use serde_json::{Map, Value as Json};

/// Why a text could not be edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not one readable document.
    #[error("the text cannot be edited: {0}")]
    Unreadable(String),
    /// The field cannot be set without touching more than it.
    #[error(
        "`{field}` cannot be set in this text without changing more than it: edit the text by hand"
    )]
    Entangled {
        /// The field.
        field: String,
    },
}

impl Error {
    /// Whether the same edit may succeed later: no, the text has to change first.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// Sets the field `field` of the spec of a manifest, or of a spec that stands alone, to a scalar.
///
/// `value` is written as it is; in JSON, and where it would read as something else, text gets quotes.
///
/// # Errors
/// The text is no single document, or the field's value is shared through an alias, or is a list or mapping.
pub fn set_spec_field(text: &str, field: &str, value: &Json) -> Result<String, Error> {
    let root = document(text)?;
    let whole = ["apiVersion", "kind", "metadata", "spec"];
    match whole.iter().any(|part| root.entry(part).is_some()) {
        true => set(text, &["spec", field], value),
        false => set(text, &[field], value),
    }
}

/// Sets the scalar at a path of fields.
///
/// # Errors
/// As for [`set_spec_field`].
pub fn set(text: &str, path: &[&str], value: &Json) -> Result<String, Error> {
    let root = document(text)?;
    let mut intended = meaning(&root);
    let entangled = || Error::Entangled {
        field: path.join("."),
    };
    assign(&mut intended, path, value).ok_or_else(entangled)?;
    let fits = |edited: &String| document(edited).is_ok_and(|root| meaning(&root) == intended);
    candidates(text, &root, path, value)
        .into_iter()
        .find(fits)
        .ok_or_else(entangled)
}

fn document(text: &str) -> Result<Node, Error> {
    let mut documents = yaml::parse(text);
    match (documents.pop(), documents.len()) {
        (Some(Ok(root)), 0) => Ok(root),
        (Some(Err(errors)), 0) => {
            let first = errors.first().map(ToString::to_string);
            Err(Error::Unreadable(first.unwrap_or_default()))
        }
        (None, _) => Err(Error::Unreadable("it is empty".to_owned())),
        (Some(_), _) => Err(Error::Unreadable("it holds several documents".to_owned())),
    }
}

/// What a tree means, without places and styles. Numbers keep their text (`1.10` is not `1.1` to a text field).
fn meaning(node: &Node) -> Json {
    match &node.value {
        Value::Scalar { text, plain } => match de::resolve(text, *plain) {
            Plain::Null => Json::Null,
            Plain::Bool(value) => Json::Bool(value),
            Plain::Unsigned(_) | Plain::Signed(_) | Plain::Float(_) => {
                Json::Array(vec![Json::Null, Json::String(text.clone())])
            }
            Plain::Text(text) => Json::String(text.to_owned()),
        },
        Value::Sequence(items) => {
            // The marker keeps lists apart from numbers.
            let items = items.iter().map(meaning);
            Json::Array(std::iter::once(Json::Bool(true)).chain(items).collect())
        }
        Value::Mapping(entries) => {
            let field = |entry: &Entry| (entry.key.clone(), meaning(&entry.value));
            Json::Object(entries.iter().map(field).collect())
        }
    }
}

fn assign(object: &mut Json, path: &[&str], value: &Json) -> Option<()> {
    let (name, rest) = path.split_first()?;
    if object.is_null() {
        *object = Json::Object(Map::new());
    }
    let field = object.as_object_mut()?.entry(*name).or_insert(Json::Null);
    if !rest.is_empty() {
        return assign(field, rest, value);
    }
    let is_list = field.as_array().is_some_and(|items| items[0] != Json::Null);
    if field.is_object() || is_list {
        return None;
    }
    *field = match value {
        Json::Number(number) => Json::Array(vec![Json::Null, Json::String(number.to_string())]),
        other => other.clone(),
    };
    Some(())
}

/// Texts that may be what is intended, the one that people would write first.
fn candidates(text: &str, root: &Node, path: &[&str], value: &Json) -> Vec<String> {
    let (mut node, mut rest) = (root, path);
    let mut entry: Option<&Entry> = None;
    while let Some((name, below)) = rest.split_first() {
        let Some(next) = node.entry(name) else { break };
        (node, rest, entry) = (&next.value, below, Some(next));
    }
    match &node.value {
        _ if rest.is_empty() => replacements(text, node, entry, value),
        Value::Scalar { .. } => {
            let Some(entry) = entry else {
                return Vec::new();
            };
            let quotes = is_quoted(text, entry);
            let nested = format!("{{{}}}", field(rest, value, quotes));
            replace_value(text, node, entry, &nested)
        }
        Value::Mapping(entries) => insertions(text, node, entries, rest, value),
        Value::Sequence(_) => Vec::new(),
    }
}

/// The scalar in place of what stands there.
fn replacements(text: &str, node: &Node, entry: Option<&Entry>, value: &Json) -> Vec<String> {
    let Some(entry) = entry else {
        return Vec::new();
    };
    let was_quoted = text[node.start.offset..].starts_with(['"', '\'']);
    let new = scalar(value, is_quoted(text, entry) || was_quoted);
    replace_value(text, node, entry, &new)
}

/// The new value in place of the old, or behind a name that has none (`replicas:`).
fn replace_value(text: &str, node: &Node, entry: &Entry, new: &str) -> Vec<String> {
    if node.start.offset < node.end {
        return vec![splice(text, node.start.offset, node.end, new)];
    }
    match text[entry.end..].find(':') {
        Some(colon) => {
            let at = entry.end + colon + 1;
            vec![splice(text, at, at, &format!(" {new}"))]
        }
        None => Vec::new(),
    }
}

/// The field, new in a mapping.
fn insertions(
    text: &str,
    node: &Node,
    entries: &[Entry],
    path: &[&str],
    value: &Json,
) -> Vec<String> {
    let flow = text[node.start.offset..].starts_with('{');
    let Some(first) = entries.first() else {
        let in_json = text.starts_with('{') && text.contains('"');
        let at = node.start.offset + 1;
        return vec![insert(text, at, &field(path, value, in_json))];
    };
    let new = field(path, value, is_quoted(text, first));
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let (before, own_line) = line_before(text, first.start);
    if flow {
        let gap = match own_line {
            true => format!(",{newline}{before}"),
            false => ", ".to_owned(),
        };
        return vec![insert(text, first.start.offset, &format!("{new}{gap}"))];
    }
    let indent = " ".repeat(first.start.column - 1);
    let at_first = insert(text, first.start.offset, &format!("{new}{newline}{indent}"));
    let end = end_of_line(text, last_end(text, node));
    let gap = if end > 0 && text[..end].ends_with('\n') {
        ""
    } else {
        newline
    };
    let closing = if gap.is_empty() { newline } else { "" };
    let at_last = insert(text, end, &format!("{gap}{indent}{new}{closing}"));
    // A comment above the first field speaks of that field: nothing is put between the two.
    match commented(text, first.start) {
        true => vec![at_last, at_first],
        false => vec![at_first, at_last],
    }
}

/// What stands before a place on its line, and whether that is only space.
fn line_before(text: &str, at: Mark) -> (&str, bool) {
    let start = text[..at.offset]
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    let before = &text[start..at.offset];
    (before, start > 0 && before.trim().is_empty())
}

fn commented(text: &str, at: Mark) -> bool {
    let start = text[..at.offset].rfind('\n').unwrap_or(0);
    let above = text[..start].lines().next_back().unwrap_or_default();
    above.trim_start().starts_with('#')
}

/// The byte behind a value's last character. A block is said to end only where the next thing begins.
fn last_end(text: &str, node: &Node) -> usize {
    let is_flow = text[node.start.offset..].starts_with(['[', '{']);
    match &node.value {
        _ if is_flow => node.end,
        Value::Scalar { .. } => node.end,
        Value::Sequence(items) => {
            let ends = items.iter().map(|item| last_end(text, item));
            ends.max().unwrap_or(node.end)
        }
        Value::Mapping(entries) => {
            let ends = entries
                .iter()
                .map(|entry| last_end(text, &entry.value).max(entry.end));
            ends.max().unwrap_or(node.end)
        }
    }
}

fn end_of_line(text: &str, at: usize) -> usize {
    if text[..at].ends_with('\n') {
        return at;
    }
    let line = text[at..]
        .find('\n')
        .map_or(text.len(), |newline| at + newline);
    line - usize::from(text[..line].ends_with('\r'))
}

fn is_quoted(text: &str, entry: &Entry) -> bool {
    text[entry.start.offset..].starts_with('"')
}

/// `a: {b: value}` for a path of two.
fn field(path: &[&str], value: &Json, quotes: bool) -> String {
    let Some((name, rest)) = path.split_first() else {
        return scalar(value, quotes);
    };
    let below = match rest.is_empty() {
        true => scalar(value, quotes),
        false => format!("{{{}}}", field(rest, value, quotes)),
    };
    match quotes {
        true => format!("\"{name}\": {below}"),
        false => format!("{name}: {below}"),
    }
}

fn scalar(value: &Json, quotes: bool) -> String {
    let is_word = |text: &str| {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && de::resolve(text, true) == Plain::Text(text)
            && de::source_text(text, true).is_ok()
    };
    match value {
        Json::String(text) if !quotes && is_word(text) => text.clone(),
        other => other.to_string(),
    }
}

fn insert(text: &str, at: usize, new: &str) -> String {
    splice(text, at, at, new)
}

fn splice(text: &str, start: usize, end: usize, new: &str) -> String {
    format!("{}{new}{}", &text[..start], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn check(before: &str, field: &str, value: Json, after: &str) {
        assert_eq!(
            set_spec_field(before, field, &value).as_deref(),
            Ok(after),
            "{before}"
        );
    }

    fn scaled(before: &str, after: &str) {
        check(before, "replicas", json!(5), after);
    }

    #[test]
    fn a_value_is_replaced_in_its_place() {
        scaled(
            "# web\nreplicas: 3   # three\ntemplate: {container: i}\n",
            "# web\nreplicas: 5   # three\ntemplate: {container: i}\n",
        );
        scaled(
            "{replicas: 3, template: {container: i}}",
            "{replicas: 5, template: {container: i}}",
        );
        scaled(
            "{\"replicas\":3,\"template\":{}}",
            "{\"replicas\":5,\"template\":{}}",
        );
        scaled(
            "kind: Service\nspec:\n  # how many\n  replicas: 3\n",
            "kind: Service\nspec:\n  # how many\n  replicas: 5\n",
        );
        scaled("replicas:\ntemplate: {}\n", "replicas: 5\ntemplate: {}\n");
        scaled(
            "replicas: # open\ntemplate: {}\n",
            "replicas: 5 # open\ntemplate: {}\n",
        );
        scaled("replicas: null\n", "replicas: 5\n");
        scaled("größe: ä\nreplicas: 3\n", "größe: ä\nreplicas: 5\n");
        scaled("a: b\r\nreplicas: 3\r\n", "a: b\r\nreplicas: 5\r\n");
        check(
            "{engine: x, availability: active}",
            "availability",
            json!("drain"),
            "{engine: x, availability: drain}",
        );
        check(
            "{\"availability\": \"active\"}",
            "availability",
            json!("drain"),
            "{\"availability\": \"drain\"}",
        );
        check(
            "availability: 'active'",
            "availability",
            json!("drain"),
            "availability: \"drain\"",
        );
    }

    #[test]
    fn a_missing_value_is_inserted() {
        scaled(
            "template:\n  container: i\n",
            "replicas: 5\ntemplate:\n  container: i\n",
        );
        scaled(
            "template: {container: i}",
            "replicas: 5\ntemplate: {container: i}",
        );
        scaled(
            "{template: {container: i}}",
            "{replicas: 5, template: {container: i}}",
        );
        scaled(
            "{\n  \"template\": {\"container\": \"i\"}\n}\n",
            "{\n  \"replicas\": 5,\n  \"template\": {\"container\": \"i\"}\n}\n",
        );
        scaled(
            "kind: Service\nspec:\n  template:\n    container: i\nmetadata: {}\n",
            "kind: Service\nspec:\n  replicas: 5\n  template:\n    container: i\nmetadata: {}\n",
        );
        scaled(
            "kind: Service\nspec: {template: {}}\n",
            "kind: Service\nspec: {replicas: 5, template: {}}\n",
        );
        scaled(
            "kind: Service\nspec:\n  # the image\n  template:\n    container: i # so\n  # the end\n",
            "kind: Service\nspec:\n  # the image\n  template:\n    container: i # so\n  replicas: 5\n  # the end\n",
        );
        scaled(
            "# header\ntemplate: {container: i}",
            "# header\ntemplate: {container: i}\nreplicas: 5",
        );
        scaled(
            "# header\r\ntemplate:\r\n  container: i\r\n",
            "# header\r\ntemplate:\r\n  container: i\r\nreplicas: 5\r\n",
        );
        scaled(
            "kind: Service\nspec:\n",
            "kind: Service\nspec: {replicas: 5}\n",
        );
        scaled("{}", "{replicas: 5}");
    }

    #[test]
    fn what_would_change_more_is_refused() {
        let check = |text: &str| {
            assert!(
                set_spec_field(text, "replicas", &json!(5)).is_err(),
                "{text}"
            )
        };
        check("a: &three 3\nreplicas: *three\n");
        check("replicas: {a: 1}");
        check("replicas: [1]");
        check("replicas: 3\n---\nreplicas: 4\n");
        check("replicas: [");
        check("");
        check("[]");
        check("kind: Service\nspec: &s {x: 1}\nother: *s\n");
    }

    prop_compose! {
        fn manifests()(
            before in "(# [a-z ]{0,8}\n|\n)?",
            key in "[a-d]{1,3}",
            value in "[a-z]{1,4}|'[a-z ]{0,4}'|\"[a-z ]{0,4}\"|\\{x: 1, y: \\[2\\]\\}|\n  x: 1 # c\n  y:\n  - 2\n  - z: 3|\\|\n  literal\n  text\n",
            comment in "( # [a-z]{0,5})?",
            replicas in proptest::option::of(0u32..100),
        ) -> String {
            let comment = if value.ends_with('\n') { "" } else { &comment };
            let mut text = format!("{before}{key}: {value}{comment}\n");
            if let Some(replicas) = replicas {
                text += &format!("replicas: {replicas} # n\n");
            }
            text
        }
    }

    proptest! {
        #[test]
        fn an_edit_keeps_everything_else(text in manifests(), replicas in 0u32..1000) {
            let edited = set_spec_field(&text, "replicas", &json!(replicas));
            let edited = edited.map_err(|error| TestCaseError::fail(format!("{text:?}: {error}")))?;
            let root = document(&edited).expect("readable");
            let found = meaning(&root.entry("replicas").expect("set").value);
            prop_assert_eq!(found, json!([null, replicas.to_string()]));
            let others = |text: &str| -> Vec<String> {
                text.lines().filter(|line| !line.starts_with("replicas:")).map(str::to_owned).collect()
            };
            prop_assert_eq!(others(&edited), others(&text), "{}", edited);
        }

        #[test]
        fn any_text_is_edited_or_refused(text in "[-?:,\\[\\]{}#&*!|>'\"%@ \\n\\tab1ä~<.]{0,40}") {
            let _ = set_spec_field(&text, "a", &json!("drain"));
        }
    }
}
