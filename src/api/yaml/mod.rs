//! Users' text, YAML or JSON, parsed once into one tree: text, style and place of every value.
//!
//! Errors point into this tree, values are decoded from it (`de.rs`), and edits replace its spans (`edit.rs`).
//!
//! Invariants: a mapping holds each key once (two are an error that names both lines); aliases and merge keys (`<<`)
//! are expanded, within a budget, so that no small text becomes a large tree; nothing nests deeper than
//! [`MAX_DEPTH`]. Deliberately absent: tags other than `!!str`, keys that are no text.

mod build;
#[cfg(test)]
mod tests;

use build::Builder;
use saphyr_parser::{Event, Parser, Span};

/// How deep values may nest: the deepest field of any object is at 8.
pub const MAX_DEPTH: usize = 64;

/// A place in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Bytes before it.
    pub offset: usize,
    /// Its line, from 1.
    pub line: usize,
    /// Its character within the line, from 1.
    pub column: usize,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its first byte.
    pub start: Mark,
    /// The byte behind its last.
    pub end: usize,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One word, number or text.
    Scalar {
        /// Its text without quotes and escapes.
        text: String,
        /// Whether it was written without quotes, so that it may mean a number, a boolean or nothing.
        plain: bool,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// Fields in the order that they were written.
    Mapping(Vec<Entry>),
}

/// One field of a mapping. Merged fields (`<<`) carry the place that they came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The field's name.
    pub key: String,
    /// Where the name stands.
    pub start: Mark,
    /// The byte behind the name and its quotes.
    pub end: usize,
    /// The field's value.
    pub value: Node,
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {message}", .at.line, .at.column)]
pub struct Error {
    /// Where.
    pub at: Mark,
    /// What, for people.
    pub message: String,
}

impl Error {
    /// Never: the same text is wrong tomorrow, too.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

impl Node {
    /// Whether nothing stands here: no text at all, `null` or `~`.
    pub fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar { text, plain } => {
                *plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            Value::Sequence(_) | Value::Mapping(_) => false,
        }
    }

    /// The field `key` of a mapping.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            Value::Scalar { .. } | Value::Sequence(_) => None,
        }
    }

    /// How many values and bytes of text there are below and in this one.
    fn weight(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { text, .. } => text.len(),
            Value::Sequence(items) => items.iter().map(Self::weight).sum(),
            Value::Mapping(entries) => entries.iter().map(|e| e.key.len() + e.value.weight()).sum(),
        }
    }

    /// How deep the values below this one nest.
    fn height(&self) -> usize {
        match &self.value {
            Value::Scalar { .. } => 0,
            Value::Sequence(items) => 1 + items.iter().map(Self::height).max().unwrap_or(0),
            Value::Mapping(entries) => {
                1 + entries.iter().map(|e| e.value.height()).max().unwrap_or(0)
            }
        }
    }
}

/// Parses a text into its documents, leaving out those without any content.
///
/// A document that cannot be read is an error with all that was found; what follows a syntax error is not looked at.
pub fn parse(text: &str) -> Vec<Result<Node, Vec<Error>>> {
    if let Some(error) = unprintable(text) {
        return vec![Err(vec![error])];
    }
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let places = Places::new(text.len() - body.len(), body);
    let mut parser = Parser::new_from_str(body);
    let mut documents = Vec::new();
    let mut builder = Builder::default();
    while let Some(event) = parser.next_event() {
        let outcome = match event {
            Ok((Event::DocumentEnd, _)) => {
                documents.extend(std::mem::take(&mut builder).finish());
                Ok(())
            }
            Ok((event, span)) => builder.take(event, places.span(span)),
            Err(error) => Err(builder.syntax(places.mark(*error.marker()), error.info(), text)),
        };
        if let Err(fatal) = outcome {
            documents.push(Err(builder.fail(fatal)));
            break;
        }
    }
    documents
}

/// The parser takes a NUL for the end of its input, and YAML allows no other control characters either.
fn unprintable(text: &str) -> Option<Error> {
    let wrong = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{85}');
    let offset = text.find(wrong)?;
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let at = Mark {
        offset,
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    };
    let character = text[offset..].chars().next().unwrap_or_default();
    Some(Error {
        at,
        message: format!("the control character {character:?} is not allowed in a manifest"),
    })
}

/// Turns the parser's places, which count characters, into bytes.
struct Places {
    shift: usize,
    /// The byte of each character; none: they are the same.
    bytes: Option<Vec<usize>>,
    end: usize,
}

impl Places {
    fn new(shift: usize, body: &str) -> Self {
        let bytes =
            (!body.is_ascii()).then(|| body.char_indices().map(|(offset, _)| offset).collect());
        Self {
            shift,
            bytes,
            end: body.len(),
        }
    }

    fn mark(&self, marker: saphyr_parser::Marker) -> Mark {
        let index = marker.index();
        let offset = match &self.bytes {
            Some(bytes) => bytes.get(index).copied().unwrap_or(self.end),
            None => index.min(self.end),
        };
        Mark {
            offset: offset + self.shift,
            line: marker.line().max(1),
            column: marker.col() + 1,
        }
    }

    fn span(&self, span: Span) -> (Mark, usize) {
        (self.mark(span.start), self.mark(span.end).offset)
    }
}
