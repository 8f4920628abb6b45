//! From the parser's events to the tree of one document.

use super::{Entry, Error, MAX_DEPTH, Mark, Node, Value};
use saphyr_parser::{Event, ScalarStyle, Tag};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// How much aliases and merge keys may add, in values and bytes of text: far above any sensible manifest, far below
/// what hurts.
const EXPANSION_BUDGET: usize = 4 << 20;

/// How many errors of one document are kept: who made more is not helped by the rest.
pub(super) const MAX_ERRORS: usize = 20;

/// Builds one document from events.
#[derive(Default)]
pub(super) struct Builder {
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
    /// Takes the next event with its place.
    pub(super) fn take(
        &mut self,
        event: Event<'_>,
        (start, end): (Mark, usize),
    ) -> Result<(), Error> {
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
    pub(super) fn syntax(&self, at: Mark, info: &str, text: &str) -> Error {
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

    /// All that was wrong before the error that ended the reading, and that.
    pub(super) fn fail(mut self, fatal: Error) -> Vec<Error> {
        self.errors.truncate(MAX_ERRORS);
        self.errors.push(fatal);
        self.errors
    }

    /// The document, none if it has no content.
    pub(super) fn finish(mut self) -> Option<Result<Node, Vec<Error>>> {
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
