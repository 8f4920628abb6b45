//! What the kernel lists of tables. Pure: the door asks, these functions read.

use super::encode::SUBSYSTEM;
use super::ruleset::{Chain, Element, Family, Hook, INTERVAL, Rule, Set, Shape, VERDICT};
use crate::dataplane::netlink::message::{Attributes, Message, attribute, attributes, be32, text};
use std::collections::BTreeMap;

/// The header of a family's messages.
const HEADER: usize = 4;

/// What can be listed.
#[derive(Clone, Copy, Debug)]
pub(in crate::dataplane) enum Listed {
    Tables = 1,
    Chains = 4,
    Rules = 7,
    Sets = 10,
    Elements = 13,
}

/// Asks for what a family has of something; `within` names the table, and the chain or set.
pub(in crate::dataplane) fn list(family: Family, what: Listed, within: &[&str]) -> Message {
    let names = within.iter().zip(1..);
    let names = names.fold(Attributes::new(), |all, (name, kind)| all.text(kind, name));
    Message::new(
        SUBSYSTEM | what as u16,
        0,
        &[family.number(), 0, 0, 0],
        names,
    )
}

/// The text attribute of a listed item: 1 names its table, or a table itself.
pub(in crate::dataplane) fn name(body: &[u8], kind: u16) -> String {
    attribute(body.get(HEADER..).unwrap_or_default(), kind)
        .map(text)
        .unwrap_or_default()
}

fn number(bytes: &[u8], kind: u16) -> u32 {
    attribute(bytes, kind).and_then(be32).unwrap_or_default()
}

/// A chain's name and the chain without its rules.
pub(in crate::dataplane) fn chain(body: &[u8]) -> (String, Chain) {
    let bytes = body.get(HEADER..).unwrap_or_default();
    let hook = attribute(bytes, 4).map(|hook| Hook {
        kind: attribute(bytes, 7).map(text).unwrap_or_default(),
        point: number(hook, 1),
        priority: number(hook, 2).cast_signed(),
        device: attribute(hook, 3).map(text),
    });
    let rules = Vec::new();
    (name(body, 3), Chain { hook, rules })
}

/// A rule of a chain, as it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct ListedRule {
    /// Its chain.
    pub(in crate::dataplane) chain: String,
    /// By which it is deleted.
    pub(in crate::dataplane) handle: u64,
    /// Its comment, and nothing else of it.
    pub(in crate::dataplane) rule: Rule,
    /// Its expressions.
    pub(in crate::dataplane) body: Vec<u8>,
}

/// A rule.
pub(in crate::dataplane) fn rule(body: &[u8]) -> ListedRule {
    let bytes = body.get(HEADER..).unwrap_or_default();
    let handle = attribute(bytes, 3).and_then(|handle| handle.first_chunk());
    let comment = attribute(bytes, 7).and_then(|data| match data {
        [0, length, rest @ ..] => rest.get(..usize::from(*length)).map(text),
        _ => None,
    });
    ListedRule {
        chain: name(body, 2),
        handle: handle.copied().map(u64::from_be_bytes).unwrap_or_default(),
        rule: Rule {
            tag: comment.unwrap_or_default(),
            body: Vec::new(),
        },
        body: attribute(bytes, 4).unwrap_or_default().to_vec(),
    }
}

/// A set's name and the set without its elements.
pub(in crate::dataplane) fn set(body: &[u8]) -> (String, Set) {
    let bytes = body.get(HEADER..).unwrap_or_default();
    let data_type = number(bytes, 6);
    let shape = Shape {
        flags: number(bytes, 3),
        key_type: number(bytes, 4),
        key_length: number(bytes, 5),
        data_type,
        data_length: match data_type {
            VERDICT => 0,
            _ => number(bytes, 7),
        },
        time_ms: attribute(bytes, 11)
            .and_then(|time| time.first_chunk().copied())
            .map_or(0, u64::from_be_bytes),
        size: attribute(bytes, 9).map_or(0, |shape| number(shape, 1)),
    };
    let elements = BTreeMap::new();
    (name(body, 2), Set { shape, elements })
}

/// An element as the kernel has it: ranges are two.
#[derive(Clone, Debug)]
pub(in crate::dataplane) struct Raw {
    key: Vec<u8>,
    is_end: bool,
    element: Element,
}

/// A set and the elements that were listed of it.
#[cfg(test)]
pub(super) type Listing = (Set, Vec<Raw>);

/// The elements of one message of a list.
pub(in crate::dataplane) fn elements(body: &[u8]) -> Vec<Raw> {
    let bytes = body.get(HEADER..).unwrap_or_default();
    let list = attribute(bytes, 3).unwrap_or_default();
    attributes(list)
        .filter_map(|(_, element)| raw(element))
        .collect()
}

fn raw(bytes: &[u8]) -> Option<Raw> {
    let key = attribute(attribute(bytes, 1)?, 1)?.to_vec();
    let data = attribute(bytes, 2);
    let verdict = data.and_then(|data| attribute(data, 2));
    let element = match (verdict, data.and_then(|data| attribute(data, 1))) {
        (Some(verdict), _) => Element::Goto(attribute(verdict, 2).map(text).unwrap_or_default()),
        (None, Some(data)) => Element::Data(data.to_vec()),
        (None, None) => Element::Member,
    };
    Some(Raw {
        key,
        is_end: number(bytes, 3) & 1 != 0,
        element,
    })
}

/// The elements of a set from all that was listed of it.
pub(in crate::dataplane) fn joined(shape: Shape, mut raw: Vec<Raw>) -> BTreeMap<Vec<u8>, Element> {
    if shape.flags & INTERVAL == 0 {
        return raw.into_iter().map(|raw| (raw.key, raw.element)).collect();
    }
    // Where one range ends and the next begins, the end comes first.
    raw.sort_by(|a, b| (&a.key, !a.is_end).cmp(&(&b.key, !b.is_end)));
    let mut joined = BTreeMap::new();
    let mut open: Option<Vec<u8>> = None;
    for part in raw {
        let start = open.take();
        if part.is_end {
            if let Some(start) = start {
                joined.insert(start, Element::Until(part.key));
            }
        } else {
            if let Some(start) = start {
                joined.insert(start, Element::Until(Vec::new()));
            }
            open = Some(part.key);
        }
    }
    if let Some(start) = open {
        joined.insert(start, Element::Until(Vec::new()));
    }
    joined
}
