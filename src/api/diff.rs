//! What differs between two objects, field by field: for `apply`, `diff` and events.

use super::path::{Path, Segment};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// One field that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The field.
    pub path: Path,
    /// What it was; none: it was not there.
    pub before: Option<Value>,
    /// What it is; none: it is gone.
    pub after: Option<Value>,
}

/// The fields that differ, in the order of their names; lists are compared item by item.
pub fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let mut found = Vec::new();
    compare(&mut Path::default(), Some(before), Some(after), &mut found);
    found
}

fn compare(
    path: &mut Path,
    before: Option<&Value>,
    after: Option<&Value>,
    found: &mut Vec<Change>,
) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for name in names {
                path.0.push(Segment::Key(name.clone()));
                compare(path, left.get(name), right.get(name), found);
                path.0.pop();
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            for index in 0..left.len().max(right.len()) {
                path.0.push(Segment::Index(index));
                compare(path, left.get(index), right.get(index), found);
                path.0.pop();
            }
        }
        (before, after) => found.push(Change {
            path: path.clone(),
            before: before.cloned(),
            after: after.cloned(),
        }),
    }
}

/// `spec.replicas: 3 -> 5`
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| match value {
            None => "(none)".to_owned(),
            Some(Value::String(text)) if is_word(text) => text.clone(),
            Some(other) => other.to_string(),
        };
        let (before, after) = (shown(&self.before), shown(&self.after));
        write!(f, "{}: {before} -> {after}", self.path)
    }
}

/// Whether a text reads the same without quotes.
fn is_word(text: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || "-_./:@".contains(c);
    !text.is_empty() && text.chars().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_field_that_differs_is_named_once() {
        let check = |before: Value, after: Value, lines: &[&str]| {
            let found: Vec<String> = changes(&before, &after)
                .iter()
                .map(Change::to_string)
                .collect();
            assert_eq!(found, lines);
        };
        check(
            json!({"spec": {"replicas": 3}}),
            json!({"spec": {"replicas": 5}}),
            &["spec.replicas: 3 -> 5"],
        );
        check(
            json!({"a": 1, "b": 2}),
            json!({"b": 2, "c": "x y"}),
            &["a: 1 -> (none)", "c: (none) -> \"x y\""],
        );
        check(
            json!({"ports": [{"target": 80}, {"target": 81}]}),
            json!({"ports": [{"target": 8080}]}),
            &[
                "ports[0].target: 80 -> 8080",
                "ports[1]: {\"target\":81} -> (none)",
            ],
        );
        check(
            json!({"image": "nginx:1"}),
            json!({"image": "nginx:2"}),
            &["image: nginx:1 -> nginx:2"],
        );
        check(json!([1, {"a": null}]), json!([1, {"a": null}]), &[]);
    }
}
