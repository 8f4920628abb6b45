//! Decoding a tree so that every problem in it is told at once, each with its place.

use super::{Path, Problem, Segment};
use crate::api::yaml::{Mark, Node, Value};
use crate::api::{de, nearest};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// How many problems of one document are looked for.
const MAX_PROBLEMS: usize = 20;

/// Where a field stands: its value, or as much of the way to it as was written.
pub(super) fn locate(node: &Node, path: &Path) -> Mark {
    let (mut node, mut at) = (node, node.start);
    for segment in &path.0 {
        let next = match (segment, &node.value) {
            (Segment::Key(key), Value::Mapping(_)) => node.entry(key).map(|entry| {
                let mark = if entry.value.is_null() {
                    entry.start
                } else {
                    entry.value.start
                };
                (&entry.value, mark)
            }),
            (Segment::Index(index), Value::Sequence(items)) => {
                items.get(*index).map(|item| (item, item.start))
            }
            _ => None,
        };
        match next {
            Some(next) => (node, at) = next,
            None => break,
        }
    }
    at
}

/// Decodes a tree and finds all that is wrong with it: a field that is refused is taken out and the rest tried again.
pub(super) fn decode_all<T: DeserializeOwned>(
    node: &Node,
    base: &Path,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let mut error = match de::from_node(node) {
        Ok(value) => return Some(value),
        Err(error) => error,
    };
    let mut rest = node.clone();
    let mut taken: BTreeSet<Path> = BTreeSet::new();
    for _ in 0..MAX_PROBLEMS {
        let path = as_written(&error.path, &taken);
        if error
            .missing
            .is_some_and(|field| is_no_news(&path, field, &taken))
        {
            break;
        }
        let message = std::mem::take(&mut error.message);
        problems.push(Problem::new(error.at, base.join(&path), message));
        if !take_out(&mut rest, &error.path.0) {
            break;
        }
        taken.insert(path);
        match de::from_node::<T>(&rest) {
            Ok(_) => break,
            Err(next) => error = next,
        }
    }
    None
}

/// Whether the field is missing only because it was taken out, perhaps under a slip of its name.
fn is_no_news(parent: &Path, field: &str, taken: &BTreeSet<Path>) -> bool {
    taken.iter().any(|path| match path.0.split_last() {
        Some((Segment::Key(key), above)) => {
            above == parent.0 && nearest::nearest(key, &[field]).is_some()
        }
        Some((Segment::Index(_), _)) | None => false,
    })
}

/// The path in the text of a path in what is left of it: items before it may have been taken out.
fn as_written(path: &Path, taken: &BTreeSet<Path>) -> Path {
    let mut written = Path::default();
    for segment in &path.0 {
        written = match segment {
            Segment::Key(key) => written.key(key),
            Segment::Index(index) => {
                // The index-th of the items that are left.
                let left = |item: &usize| !taken.contains(&written.index(*item));
                written.index((0..).filter(left).nth(*index).unwrap_or(*index))
            }
        };
    }
    written
}

/// Removes a field or an item; false if there is none.
fn take_out(node: &mut Node, path: &[Segment]) -> bool {
    let Some((segment, rest)) = path.split_first() else {
        return false;
    };
    match (segment, &mut node.value) {
        (Segment::Key(key), Value::Mapping(entries)) => {
            let Some(index) = entries.iter().position(|entry| entry.key == *key) else {
                return false;
            };
            if rest.is_empty() {
                entries.remove(index);
                return true;
            }
            take_out(&mut entries[index].value, rest)
        }
        (Segment::Index(index), Value::Sequence(items)) if *index < items.len() => {
            if rest.is_empty() {
                items.remove(*index);
                return true;
            }
            take_out(&mut items[*index], rest)
        }
        _ => false,
    }
}
