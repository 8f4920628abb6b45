//! YAML out: what `-o yaml` prints, in block style, reading back to the same value here and in other readers of YAML.
//!
//! A writer of our own because the library's leaves `no` and `on` without quotes, which manifests refuse: what skep
//! prints must be fit to be applied.

use super::de::{Plain, resolve, source_text};
use serde_json::Value;

/// The value as one YAML document, ending in a line feed. Fields come in the order of the map: sorted.
pub fn write(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => object(fields, 0, false, &mut text),
        Value::Array(items) if !items.is_empty() => array(items, 0, &mut text),
        plain => {
            text.push_str(&scalar(plain));
            text.push('\n');
        }
    }
    text
}

/// `inline`: the first field stands on the line that was begun, behind `- `.
fn object(fields: &serde_json::Map<String, Value>, depth: usize, inline: bool, text: &mut String) {
    for (index, (name, field)) in fields.iter().enumerate() {
        if index > 0 || !inline {
            indent(depth, text);
        }
        text.push_str(&string(name));
        text.push(':');
        match field {
            Value::Object(fields) if !fields.is_empty() => {
                text.push('\n');
                object(fields, depth + 1, false, text);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                array(items, depth, text);
            }
            plain => {
                text.push(' ');
                text.push_str(&scalar(plain));
                text.push('\n');
            }
        }
    }
}

fn array(items: &[Value], depth: usize, text: &mut String) {
    for item in items {
        indent(depth, text);
        text.push_str("- ");
        match item {
            Value::Object(fields) if !fields.is_empty() => object(fields, depth + 1, true, text),
            // A list in a list is rare (deviceRequests): on one line, as JSON, which is YAML too.
            plain => {
                text.push_str(&scalar(plain));
                text.push('\n');
            }
        }
    }
}

fn indent(depth: usize, text: &mut String) {
    text.extend(std::iter::repeat_n("  ", depth));
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        other => other.to_string(),
    }
}

/// The text as it is where it is plainly text, else in JSON's quotes.
fn string(text: &str) -> String {
    let first = |c: char| c.is_ascii_alphanumeric() || c == '/' || c == '_' || c == '.';
    let inner = |c: char| c.is_ascii_alphanumeric() || "/_.-+@=".contains(c);
    let middle = |pair: (char, Option<char>)| match pair {
        // A space or a colon within words; `: ` and ` #` would end the text.
        (' ', Some(next)) => next.is_ascii_alphanumeric(),
        (':', Some(next)) => !next.is_whitespace(),
        (c, _) => inner(c),
    };
    let next = text.chars().skip(1).map(Some).chain([None]);
    let plain = text.starts_with(first)
        && text.chars().zip(next).all(middle)
        && resolve(text, true) == Plain::Text(text)
        && source_text(text, true).is_ok()
        && !is_number_elsewhere(text);
    match plain {
        true => text.to_owned(),
        false => quoted(text),
    }
}

/// Whether older readers take the text for a number (`22:22`, `0400`, `1_000`), a date or a boolean.
fn is_number_elsewhere(text: &str) -> bool {
    matches!(text, "y" | "Y" | "n" | "N")
        || text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && text
                .chars()
                .all(|c| c.is_ascii_hexdigit() || ":._-+xo".contains(c))
}

/// JSON's quotes, with the characters escaped that YAML does not allow.
fn quoted(text: &str) -> String {
    let json = Value::String(text.to_owned()).to_string();
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                escaped += &format!("\\u{:04x}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_print_as_people_write_them() {
        let value = json!({
            "kind": "Service",
            "spec": {
                "env": {"A": "no", "B": "1.10", "C": "two words", "D": "a: b", "E": ""},
                "image": "nginx:1.27", "ports": [{"published": 8080, "target": 80}, "22:22"],
                "lists": [["a"], []], "none": {},
            },
        });
        let text = "kind: Service\nspec:\n  env:\n    A: \"no\"\n    B: \"1.10\"\n    C: two words\n    D: \"a: b\"\n    E: \"\"\n  image: nginx:1.27\n  lists:\n  - [\"a\"]\n  - []\n  none: {}\n  ports:\n  - published: 8080\n    target: 80\n  - \"22:22\"\n";
        assert_eq!(write(&value), text);
        let back: Value = serde_yaml::from_str(text).expect("YAML");
        assert_eq!(back, value);
    }
}
