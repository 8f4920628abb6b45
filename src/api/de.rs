//! Decoding the tree of a text: a serde deserializer whose errors say which field, where, and what was expected.
//!
//! Scalars follow YAML 1.2's core schema, with two refusals: an integer with a leading zero (octal to some), and
//! anything but text where text is wanted, unless the field takes a number's own text ([`TEXT`]). Nothing (`null`) where
//! a list or a mapping is wanted is an empty one.

use super::nearest::{is_later, suggestion};
use super::path::{Path, Segment};
use super::yaml::{Entry, Mark, Node, Value};
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Unexpected, Visitor};
use std::fmt;

/// The name of a newtype that asks for a scalar's source text: `1.10` stays `1.10`; booleans are refused.
pub const TEXT: &str = "skep::text";

/// Why a tree is not the wanted object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Error {
    /// The field.
    pub path: Path,
    /// Where it stands; none until the place is known.
    pub at: Option<Mark>,
    /// What was expected and what was found.
    pub message: String,
    /// The field that is missing, if that is what is wrong.
    pub missing: Option<&'static str>,
}

impl Error {
    /// Never: the same text is wrong tomorrow, too.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

/// Decodes a tree.
///
/// # Errors
/// The first field that is unknown, missing or of another kind than expected.
pub fn from_node<'de, T: Deserialize<'de>>(node: &'de Node) -> Result<T, Error> {
    T::deserialize(node).map_err(|error| error.at(node.start))
}

/// Reads a scalar as YAML 1.2 does.
pub fn resolve(text: &str, plain: bool) -> Plain<'_> {
    if !plain {
        return Plain::Text(text);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Plain::Null,
        "true" | "True" | "TRUE" => Plain::Bool(true),
        "false" | "False" | "FALSE" => Plain::Bool(false),
        _ => number(text).unwrap_or(Plain::Text(text)),
    }
}

/// What a scalar means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plain<'a> {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number, not negative.
    Unsigned(u64),
    /// A negative whole number.
    Signed(i64),
    /// Another number.
    Float(f64),
    /// Text.
    Text(&'a str),
}

fn number(text: &str) -> Option<Plain<'static>> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(hex) = text.strip_prefix("0x") {
        return radix(hex, 16);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return radix(octal, 8);
    }
    let whole = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.is_empty();
    if whole && digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    if whole {
        let unsigned = text
            .strip_prefix('+')
            .unwrap_or(text)
            .parse()
            .map(Plain::Unsigned);
        let signed = || text.parse().map(Plain::Signed);
        let float = || text.parse().map(Plain::Float);
        return unsigned
            .ok()
            .or_else(|| signed().ok())
            .or_else(|| float().ok());
    }
    let float = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().any(|b| b.is_ascii_digit())
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    float.then(|| text.parse().ok().map(Plain::Float)).flatten()
}

fn radix(digits: &str, radix: u32) -> Option<Plain<'static>> {
    let plain = digits.bytes().all(|b| b.is_ascii_alphanumeric());
    plain
        .then(|| u64::from_str_radix(digits, radix).ok().map(Plain::Unsigned))
        .flatten()
}

/// The text of a scalar in a field that takes text of any look.
///
/// # Errors
/// The scalar is an unquoted boolean, also in the spelling of older YAML, or nothing.
pub fn source_text(text: &str, plain: bool) -> Result<&str, String> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        _ if !plain => Ok(text),
        "true" | "false" | "yes" | "no" | "on" | "off" => Err(format!(
            "unquoted `{text}` is a boolean to some readers and text to others: write \"{text}\""
        )),
        "" | "~" | "null" => Err("expected text, found nothing: write \"\" for empty text".into()),
        _ => Ok(text),
    }
}

impl Error {
    fn new(message: String) -> Self {
        Self {
            path: Path::default(),
            at: None,
            message,
            missing: None,
        }
    }

    fn at(mut self, mark: Mark) -> Self {
        self.at.get_or_insert(mark);
        self
    }

    fn below(mut self, segment: Segment) -> Self {
        self.path.0.insert(0, segment);
        self
    }
}

/// What serde's visitors expect, in words for people.
fn people(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "i32" | "i64" | "nonzero u32" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "string" => "text",
        "a sequence" | "sequence" => "a list",
        "a map" | "map" => "a mapping",
        other if other.starts_with("struct ") => "a mapping",
        other => other,
    }
}

fn found(unexpected: &Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(value) => value.to_string(),
        Unexpected::Signed(value) => value.to_string(),
        Unexpected::Float(value) => value.to_string(),
        Unexpected::Str(text) => format!("{text:?}"),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

/// The range that a number left.
fn range(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" => "a whole number, not negative",
        "i32" => "a whole number from -2147483648 to 2147483647",
        other => people(other),
    }
}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        match message.to_string().as_str() {
            // The standard library's words for an address.
            "invalid IP address syntax" => Self::new("expected an IP address".to_owned()),
            other => Self::new(other.to_owned()),
        }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = expected.to_string();
        let hint = match (&unexpected, people(&expected)) {
            (
                Unexpected::Bool(_)
                | Unexpected::Unsigned(_)
                | Unexpected::Signed(_)
                | Unexpected::Float(_),
                "text",
            ) => format!(": write \"{}\"", found(&unexpected)),
            (Unexpected::Str(text), "a whole number" | "a number" | "true or false")
                if !matches!(resolve(text, true), Plain::Text(_)) =>
            {
                ": write it without quotes".to_owned()
            }
            _ => String::new(),
        };
        let expected = people(&expected);
        Self::new(format!(
            "expected {expected}, found {}{hint}",
            found(&unexpected)
        ))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = expected.to_string();
        let expected = range(&expected);
        Self::new(format!("expected {expected}, found {}", found(&unexpected)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        match is_later(field, expected) {
            true => Self::new("not provided yet: leave it out, a later version knows it".into()),
            false => Self::new(format!("unknown field: {}", suggestion(field, expected))),
        }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!(
            "expected one of {}, found {variant:?}",
            expected.join(", ")
        ))
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            missing: Some(field),
            ..Self::new(format!("`{field}` is missing"))
        }
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Scalar { text, plain } => match resolve(text, *plain) {
                Plain::Null => visitor.visit_unit(),
                Plain::Bool(value) => visitor.visit_bool(value),
                Plain::Unsigned(value) => visitor.visit_u64(value),
                Plain::Signed(value) => visitor.visit_i64(value),
                Plain::Float(value) => visitor.visit_f64(value),
                Plain::Text(text) => visitor.visit_borrowed_str(text),
            },
            Value::Sequence(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            Value::Mapping(entries) => visitor.visit_map(Fields::new(entries)),
        }
        .map_err(|error: Error| error.at(self.start))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.is_null() {
            true => visitor.visit_none(),
            false => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.value {
            Value::Scalar { text, plain } if name == TEXT => {
                visitor.visit_borrowed_str(source_text(text, *plain).map_err(Error::new)?)
            }
            Value::Scalar { .. } | Value::Sequence(_) | Value::Mapping(_) => {
                visitor.visit_newtype_struct(self)
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => {
                visitor.visit_enum(text.as_str().into_deserializer())
            }
            Value::Scalar { .. } => Err(one_of(variants, "nothing")),
            Value::Sequence(_) => Err(one_of(variants, "a list")),
            Value::Mapping(_) => Err(one_of(variants, "a mapping")),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.is_null() {
            true => visitor.visit_seq(Items([].iter().enumerate())),
            false => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.is_null() {
            true => visitor.visit_map(Fields::new(&[])),
            false => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.value {
            // Derived structs would take a list for their fields in order, which no manifest means.
            Value::Sequence(_) => Err(de::Error::invalid_type(Unexpected::Seq, &"a mapping")),
            Value::Scalar { .. } | Value::Mapping(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct identifier
    }
}

fn one_of(variants: &[&str], found: &str) -> Error {
    Error::new(format!(
        "expected one of {}, found {found}",
        variants.join(", ")
    ))
}

/// The items of a list.
struct Items<'de>(std::iter::Enumerate<std::slice::Iter<'de, Node>>);

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some((index, node)) = self.0.next() else {
            return Ok(None);
        };
        let place = |error: Error| error.at(node.start).below(Segment::Index(index));
        seed.deserialize(node).map(Some).map_err(place)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// The fields of a mapping.
struct Fields<'de> {
    entries: std::slice::Iter<'de, Entry>,
    current: Option<&'de Entry>,
}

impl<'de> Fields<'de> {
    fn new(entries: &'de [Entry]) -> Self {
        Self {
            entries: entries.iter(),
            current: None,
        }
    }
}

impl<'de> de::MapAccess<'de> for Fields<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some(entry) = self.entries.next() else {
            return Ok(None);
        };
        self.current = Some(entry);
        let key = de::value::BorrowedStrDeserializer::<Error>::new(&entry.key);
        let place = |error: Error| error.at(entry.start).below(Segment::Key(entry.key.clone()));
        seed.deserialize(key).map(Some).map_err(place)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some(entry) = self.current.take() else {
            return Err(Error::new("a value was read before its key".to_owned()));
        };
        // Where nothing stands, the field's name is the place to look at.
        let mark = match entry.value.is_null() {
            true => entry.start,
            false => entry.value.start,
        };
        let place = |error: Error| error.at(mark).below(Segment::Key(entry.key.clone()));
        seed.deserialize(&entry.value).map_err(place)
    }
}
