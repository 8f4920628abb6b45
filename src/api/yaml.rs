//! Users' text, YAML or JSON, parsed once into one tree: text, style and place of every value.
//!
//! Errors point into this tree, values are decoded from it (`de.rs`), and edits replace its spans (`edit.rs`).
//!
//! Invariants: a mapping holds each key once (two are an error that names both lines); aliases and merge keys (`<<`)
//! are expanded, within a budget, so that no small text becomes a large tree; nothing nests deeper than
//! [`MAX_DEPTH`]. Deliberately absent: tags other than `!!str`, keys that are no text.

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// How deep values may nest: the deepest field of any object is at 8.
pub const MAX_DEPTH: usize = 64;

/// How much aliases and merge keys may add, in values and bytes of text: far above any sensible manifest, far below
/// what hurts.
const EXPANSION_BUDGET: usize = 4 << 20;

/// How many errors of one document are kept: who made more is not helped by the rest.
const MAX_ERRORS: usize = 20;

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
            builder.errors.truncate(MAX_ERRORS);
            builder.errors.push(fatal);
            documents.push(Err(builder.errors));
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

/// Builds one document from events.
#[derive(Default)]
struct Builder {
    open: Vec<Frame>,
    root: Option<Node>,
    anchors: BTreeMap<usize, Node>,
    expanded: usize,
    errors: Vec<Error>,
}

/// A list or mapping that has not ended.
struct Frame {
    start: Mark,
    anchor: usize,
    kind: Collection,
}

enum Collection {
    Sequence(Vec<Node>),
    Mapping(Fields),
}

/// The fields of a mapping that has not ended.
#[derive(Default)]
struct Fields {
    entries: Vec<Entry>,
    /// The line of each key: a search through `entries` would take quadratic time.
    lines: BTreeMap<String, usize>,
    /// The key whose value comes next.
    pending: Option<Entry>,
    /// What `<<` brought.
    merged: Vec<Entry>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, (start, end): (Mark, usize)) -> Result<(), Error> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !self.forces_text(tag, start);
                let text = text.into_owned();
                let node = Node {
                    start,
                    end,
                    value: Value::Scalar { text, plain },
                };
                self.put(node, anchor)
            }
            Event::Alias(anchor) => {
                let node = self.alias(anchor, start)?;
                self.put(node, 0)
            }
            Event::SequenceStart(anchor, tag) => {
                self.forces_text(tag, start);
                self.open(start, anchor, Collection::Sequence(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.forces_text(tag, start);
                self.open(start, anchor, Collection::Mapping(Fields::default()))
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(end),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    /// Whether a tag says that a scalar is text; other tags are refused.
    fn forces_text(&mut self, tag: Option<Cow<'_, Tag>>, at: Mark) -> bool {
        let Some(tag) = tag else { return false };
        let is_text = tag.is_yaml_core_schema() && tag.suffix == "str";
        if !is_text {
            let name = match tag.is_yaml_core_schema() {
                true => format!("!!{}", tag.suffix),
                false => format!("!{}", tag.suffix),
            };
            let message = format!("the tag `{name}` is not supported: write the value alone");
            self.errors.push(Error { at, message });
        }
        is_text
    }

    /// What the parser could not read. Where the text ends too early, the place to look at is the open bracket.
    fn syntax(&self, at: Mark, info: &str, text: &str) -> Error {
        let ended = at.offset >= text.trim_end().len();
        let open = self.open.last().filter(|_| ended).and_then(|frame| {
            let bracket = text[frame.start.offset..].chars().next()?;
            matches!(bracket, '[' | '{').then_some((frame.start, bracket))
        });
        match open {
            Some((at, bracket)) => Error {
                at,
                message: format!("this is no YAML: `{bracket}` is not closed"),
            },
            None => Error {
                at,
                message: format!("this is no YAML: {info}"),
            },
        }
    }

    fn open(&mut self, start: Mark, anchor: usize, kind: Collection) -> Result<(), Error> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(start));
        }
        self.open.push(Frame {
            start,
            anchor,
            kind,
        });
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), Error> {
        let Some(frame) = self.open.pop() else {
            return Ok(());
        };
        let value = match frame.kind {
            Collection::Sequence(items) => Value::Sequence(items),
            Collection::Mapping(fields) => Value::Mapping(fields.finish()),
        };
        let node = Node {
            start: frame.start,
            end,
            value,
        };
        self.put(node, frame.anchor)
    }

    fn alias(&mut self, anchor: usize, at: Mark) -> Result<Node, Error> {
        let Some(node) = self.anchors.get(&anchor) else {
            let message = "this alias is part of what it stands for".to_owned();
            return Err(Error { at, message });
        };
        if self.open.len() + node.height() > MAX_DEPTH {
            return Err(too_deep(at));
        }
        self.expanded += node.weight();
        if self.expanded > EXPANSION_BUDGET {
            let message = "aliases make this document too large: write out less of it".to_owned();
            return Err(Error { at, message });
        }
        Ok(node.clone())
    }

    /// Puts a complete value where the document has got to.
    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Error> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|frame| &mut frame.kind) {
            None => self.root = Some(node),
            Some(Collection::Sequence(items)) => items.push(node),
            Some(Collection::Mapping(fields)) => fields.put(node, &mut self.errors),
        }
        Ok(())
    }

    fn finish(mut self) -> Option<Result<Node, Vec<Error>>> {
        self.errors.truncate(MAX_ERRORS);
        if !self.errors.is_empty() {
            return Some(Err(self.errors));
        }
        let root = self.root?;
        // The parser puts the place of a document without content at its marker, or behind it.
        let empty = matches!(&root.value, Value::Scalar { text, plain: true } if text.is_empty() || text == "~");
        (!empty).then_some(Ok(root))
    }
}

impl Fields {
    /// Takes a key, or the value of the last key.
    fn put(&mut self, node: Node, errors: &mut Vec<Error>) {
        let Some(entry) = self.pending.take() else {
            self.pending = Some(key(node, errors));
            return;
        };
        if entry.is_merge() {
            match sources(node) {
                Some(more) => self.merged.extend(more),
                None => errors.push(Error {
                    at: entry.start,
                    message: "`<<` merges a mapping or a list of mappings".to_owned(),
                }),
            }
        } else if let Some(first) = self.lines.get(&entry.key) {
            errors.push(twice_error(&entry, *first));
        } else {
            self.lines.insert(entry.key.clone(), entry.start.line);
            self.entries.push(Entry {
                value: node,
                ..entry
            });
        }
    }

    /// Its own fields, then those merged that it does not have; of several sources the first wins.
    fn finish(mut self) -> Vec<Entry> {
        for entry in self.merged {
            if !self.lines.contains_key(&entry.key) {
                self.lines.insert(entry.key.clone(), entry.start.line);
                self.entries.push(entry);
            }
        }
        self.entries
    }
}

impl Entry {
    fn is_merge(&self) -> bool {
        // The key's own node is kept in `value` until the value comes.
        self.key == "<<" && matches!(self.value.value, Value::Scalar { plain: true, .. })
    }
}

fn key(node: Node, errors: &mut Vec<Error>) -> Entry {
    let key = match &node.value {
        Value::Scalar { text, .. } => text.clone(),
        Value::Sequence(_) | Value::Mapping(_) => {
            errors.push(Error {
                at: node.start,
                message: "a field's name has to be text".to_owned(),
            });
            String::new()
        }
    };
    Entry {
        key,
        start: node.start,
        end: node.end,
        value: node,
    }
}

/// The fields that `<<` brings.
fn sources(node: Node) -> Option<Vec<Entry>> {
    match node.value {
        Value::Mapping(entries) => Some(entries),
        Value::Sequence(items) => {
            let mut all = Vec::new();
            for item in items {
                match item.value {
                    Value::Mapping(entries) => all.extend(entries),
                    Value::Scalar { .. } | Value::Sequence(_) => return None,
                }
            }
            Some(all)
        }
        Value::Scalar { .. } => None,
    }
}

fn twice_error(second: &Entry, first: usize) -> Error {
    Error {
        at: second.start,
        message: format!(
            "`{}` stands here a second time, first in line {}",
            second.key, first
        ),
    }
}

fn too_deep(at: Mark) -> Error {
    Error {
        at,
        message: format!("values nest deeper than {MAX_DEPTH}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> Node {
        let mut documents = parse(text);
        assert_eq!(documents.len(), 1, "{text}");
        documents.remove(0).expect(text)
    }

    fn refused(text: &str) -> String {
        match parse(text).pop() {
            Some(Err(errors)) => errors[0].to_string(),
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    /// Each plain or quoted scalar's span holds exactly its source.
    fn check_spans(text: &str, node: &Node) {
        match &node.value {
            Value::Scalar { text: value, plain } if *plain => {
                assert_eq!(&text[node.start.offset..node.end], value);
            }
            Value::Scalar { .. } => {
                let source = &text[node.start.offset..node.end];
                assert!(
                    source.starts_with(['"', '\'']) && source.ends_with(['"', '\'']),
                    "{source}"
                );
            }
            Value::Sequence(items) => items.iter().for_each(|item| check_spans(text, item)),
            Value::Mapping(entries) => {
                for entry in entries {
                    let source = text[entry.start.offset..entry.end].trim_matches('"');
                    assert_eq!(source, entry.key);
                    check_spans(text, &entry.value);
                }
            }
        }
    }

    #[test]
    fn every_value_knows_its_place() {
        for text in [
            "replicas: 3 # three\ntemplate:\n  container: nginx\n",
            "{replicas: 3, template: {container: \"nginx:1.27\"}, ports: [8080:80]}",
            "{\n\t\"replicas\": 3,\n\t\"a\": [1, 2]\n}\n",
            "größe: 'ä ö'\nnächste: ü\nliste:\n- eins\n- zwei\n",
            "a: 1\r\nb:\r\n  c: \"x\"\r\n  d: 5   \r\n",
            "\u{feff}a: b\nc: 4",
            "---\na: 1\n...\n",
        ] {
            check_spans(text, &one(text));
        }
        let node = one("a: 1\nb:\n  c: x\n");
        let b = node.entry("b").expect("b");
        let c = b.value.entry("c").expect("c");
        assert_eq!((c.start.line, c.start.column), (3, 3));
        assert_eq!((c.value.start.line, c.value.start.column), (3, 6));
    }

    #[test]
    fn what_is_ambiguous_or_broken_is_refused_with_its_place() {
        assert_eq!(
            refused("a: 1\nb: 2\na: 3\n"),
            "line 3, column 1: `a` stands here a second time, first in line 1"
        );
        assert!(
            refused("garbage: [").starts_with("line 1, column"),
            "{}",
            refused("garbage: [")
        );
        assert!(refused("a: !!binary xyz").contains("the tag `!!binary` is not supported"));
        assert!(refused("a: !mine xyz").contains("the tag `!mine` is not supported"));
        let many = parse(&"a: 1\n".repeat(1000)).pop().and_then(Result::err);
        assert_eq!(many.map(|errors| errors.len()), Some(MAX_ERRORS));
        assert!(refused("a: \0\nb: 1").contains("control character"));
        assert!(refused("[a]: 1").contains("has to be text"));
        assert!(refused("a: &a [*a]").contains("part of what it stands for"));
        assert!(refused("<<: 5").contains("merges a mapping"));
        assert!(refused(&"[".repeat(80)).contains("nest deeper"));
        assert!(refused(&"- ".repeat(80)).contains("nest deeper"));
        // The parser itself gives up on these, before memory or the stack does.
        assert!(!refused(&"[".repeat(100_000)).is_empty());
        assert!(!refused(&"- ".repeat(100_000)).is_empty());
        assert!(refused("a: *nobody").contains("anchor"));
    }

    #[test]
    fn aliases_and_merges_stand_for_their_values() {
        let node = one("a: &x {p: 1, q: 2}\nb: *x\nc: {<<: *x, q: 3}\n");
        let text = |path: [&str; 2]| {
            let value = &node.entry(path[0]).expect("entry").value;
            match &value.entry(path[1]).expect("field").value.value {
                Value::Scalar { text, .. } => text.clone(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(text(["b", "q"]), "2");
        assert_eq!(text(["c", "q"]), "3");
        assert_eq!(text(["c", "p"]), "1");
    }

    #[test]
    fn a_billion_laughs_are_not_laughed() {
        let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        for level in 1..12 {
            let last = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", vec![last; 9].join(", "));
        }
        assert!(refused(&text).contains("too large"));
    }

    #[test]
    fn documents_without_content_are_left_out() {
        assert_eq!(parse("").len(), 0);
        assert_eq!(parse("# only a comment\n").len(), 0);
        assert_eq!(parse("---\na: 1\n---\n---\nb: 2\n").len(), 2);
        let broken = parse("a: 1\n---\nb: [\n");
        assert!(broken[0].is_ok() && broken[1].is_err());
        let first_broken = parse("a: 1\na: 1\n---\nb: 2\n");
        assert!(first_broken[0].is_err() && first_broken[1].is_ok());
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in "\\PC{0,60}") {
            parse(&text);
        }

        #[test]
        fn any_soup_of_syntax_parses_or_is_refused(text in "[-?:,\\[\\]{}#&*!|>'\"%@ \\n\\tab1ä~<.]{0,60}") {
            for node in parse(&text).into_iter().flatten() {
                prop_assert!(node.end <= text.len() && text.is_char_boundary(node.start.offset));
            }
        }
    }
}
