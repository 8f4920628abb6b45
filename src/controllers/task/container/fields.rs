//! A JSON object written as text, field by field: no tree is built to be read once and dropped. Only what is there is
//! written. Names of fields are ours or were made by the caller; of two with one name the caller writes one.

use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Display;

/// An object that is being written.
pub(super) struct Fields {
    text: Vec<u8>,
}

/// Most bodies are shorter.
const USUAL: usize = 2_048;

impl Fields {
    /// An object without fields.
    pub(super) fn new() -> Self {
        let mut text = Vec::with_capacity(USUAL);
        text.push(b'{');
        Self { text }
    }

    /// A field with this value; none: it is left out.
    pub(super) fn set(&mut self, field: &str, value: Option<impl Serialize>) {
        if let Some(value) = value {
            self.name(field);
            self.write(&value);
        }
    }

    /// A field with what `value` shows, as text.
    pub(super) fn show(&mut self, field: &str, value: &dyn Display) {
        self.set(field, Some(format_args!("{value}")));
    }

    /// A field with a list of what `item` makes of each; none: it is left out.
    pub(super) fn list<T>(&mut self, field: &str, items: &[T], item: impl Fn(&T) -> Value) {
        let list = || items.iter().map(item).collect::<Vec<_>>();
        self.set(field, (!items.is_empty()).then(list));
    }

    /// A field with these names and values; none: it is left out.
    pub(super) fn map(&mut self, field: &str, values: &BTreeMap<String, String>) {
        self.set(field, (!values.is_empty()).then_some(values));
    }

    /// A field with the words `name=value`.
    pub(super) fn words(&mut self, field: &str, words: &[(&str, &dyn Display)]) {
        self.name(field);
        self.text.push(b'[');
        for (place, (name, value)) in words.iter().enumerate() {
            if place > 0 {
                self.text.push(b',');
            }
            self.write(&format_args!("{name}={value}"));
        }
        self.text.push(b']');
    }

    /// A field with an object that `fill` writes.
    pub(super) fn object(&mut self, field: &str, fill: impl FnOnce(&mut Self)) {
        self.name(field);
        self.text.push(b'{');
        fill(self);
        self.text.push(b'}');
    }

    /// The text.
    pub(super) fn end(mut self) -> String {
        self.text.push(b'}');
        String::from_utf8(self.text).expect("JSON is text")
    }

    fn name(&mut self, field: &str) {
        if self.text.last() != Some(&b'{') {
            self.text.push(b',');
        }
        self.write(field);
        self.text.push(b':');
    }

    fn write(&mut self, value: &(impl Serialize + ?Sized)) {
        let written = serde_json::to_writer(&mut self.text, value);
        written.expect("values have string keys and no failing serialisers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut fields = Fields::new();
        fields.object("Empty", |_| {});
        fields.set("Left", None::<u8>);
        fields.words("Env", &[("A", &"{"), ("B", &"\"x\"\n")]);
        fields.object("Labels", |labels| {
            labels.show("a.b", &7);
            labels.set("c\"d", Some("{"));
        });
        fields.set("Tty", Some(true));
        let text = fields.end();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "Empty": {}, "Env": ["A={", "B=\"x\"\n"], "Labels": {"a.b": "7", "c\"d": "{"}, "Tty": true,
        });
        assert_eq!(read, expected, "{text}");
    }
}
