//! Changes of rulesets as one atomic batch of messages. Pure. The numbers are those of linux/netfilter/nf_tables.h.

use super::diff::{Change, Step};
use super::expression::{Verdict, value, verdict_value};
use super::ruleset::{
    Element, Hook, INDEX_TYPE, LINK_TYPE, MARK_TYPE, Rule, Shape, TableName, VERDICT,
};
use crate::dataplane::netlink::message::{Attributes, Message, flag};
use std::collections::BTreeMap;

/// NFNL_SUBSYS_NFTABLES, as the upper half of message types.
pub(in crate::dataplane) const SUBSYSTEM: u16 = 10 << 8;

/// The message that makes a table.
pub(in crate::dataplane) const NEW_TABLE: u16 = kind::NEW_TABLE;

/// Message types.
pub(super) mod kind {
    pub(in super::super) const NEW_TABLE: u16 = 0;
    pub(in super::super) const DELETE_TABLE: u16 = 2;
    pub(in super::super) const NEW_CHAIN: u16 = 3;
    pub(in super::super) const DELETE_CHAIN: u16 = 5;
    pub(in super::super) const NEW_RULE: u16 = 6;
    pub(in super::super) const DELETE_RULE: u16 = 8;
    pub(in super::super) const NEW_SET: u16 = 9;
    pub(in super::super) const DELETE_SET: u16 = 11;
    pub(in super::super) const NEW_ELEMENT: u16 = 12;
    pub(in super::super) const DELETE_ELEMENT: u16 = 14;
}

/// NFNL_MSG_BATCH_BEGIN and NFNL_MSG_BATCH_END.
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;

/// The elements of one message: an attribute is at most 64 KiB long.
const ELEMENTS: usize = 60_000;

/// The changes as one batch: the kernel does all or nothing.
pub(in crate::dataplane) fn batch(changes: &[Change]) -> Vec<Message> {
    // The subsystem stands in the header of the brackets, in the network's order.
    let bracket = |kind| Message::new(kind, 0, &[0, 0, 0, 10], Attributes::new());
    let mut messages = vec![bracket(BEGIN)];
    for change in changes {
        encode(change, &mut messages);
    }
    messages.push(bracket(END));
    messages
}

fn encode(Change { table, step }: &Change, out: &mut Vec<Message>) {
    let name = Attributes::new().text(1, &table.name);
    let chain = |chain: &str| Attributes::new().text(1, &table.name).text(2, chain);
    let mut put = |kind, flags, attributes| out.push(message(table, kind, flags, attributes));
    match step {
        Step::AddTable => put(kind::NEW_TABLE, flag::CREATE, name.be32(2, 0)),
        Step::DeleteTable => put(kind::DELETE_TABLE, 0, name),
        Step::AddChain(chain, hook) => {
            put(
                kind::NEW_CHAIN,
                flag::CREATE,
                new_chain(name.text(3, chain), hook.as_ref()),
            );
        }
        Step::DeleteChain(chain) => put(kind::DELETE_CHAIN, 0, name.text(3, chain)),
        Step::EmptyChain(name) => put(kind::DELETE_RULE, 0, chain(name)),
        Step::AppendRule(name, rule) => {
            put(
                kind::NEW_RULE,
                flag::CREATE | flag::APPEND,
                new_rule(chain(name), rule),
            );
        }
        Step::PrependRule(name, rule) => {
            put(kind::NEW_RULE, flag::CREATE, new_rule(chain(name), rule))
        }
        Step::DeleteRule(name, handle) => {
            put(
                kind::DELETE_RULE,
                0,
                chain(name).bytes(3, &handle.to_be_bytes()),
            );
        }
        Step::AddSet(set, shape) => put(
            kind::NEW_SET,
            flag::CREATE,
            new_set(name.text(2, set), set, *shape),
        ),
        Step::DeleteSet(set) => put(kind::DELETE_SET, 0, name.text(2, set)),
        Step::AddElements(set, shape, elements) => {
            for list in lists(*shape, elements, true) {
                put(kind::NEW_ELEMENT, flag::CREATE, chain(set).nest(3, list));
            }
        }
        Step::DeleteElements(set, shape, elements) => {
            for list in lists(*shape, elements, false) {
                put(kind::DELETE_ELEMENT, 0, chain(set).nest(3, list));
            }
        }
    }
}

/// A message about a table's family.
pub(in crate::dataplane) fn message(
    table: &TableName,
    kind: u16,
    flags: u16,
    attributes: Attributes,
) -> Message {
    Message::new(
        SUBSYSTEM | kind,
        flags,
        &[table.family.number(), 0, 0, 0],
        attributes,
    )
}

fn new_chain(chain: Attributes, hook: Option<&Hook>) -> Attributes {
    let Some(hook) = hook else { return chain };
    let place = Attributes::new()
        .be32(1, hook.point)
        .be32(2, hook.priority.cast_unsigned());
    let place = hook
        .device
        .iter()
        .fold(place, |place, device| place.text(3, device));
    // The policy: NF_ACCEPT.
    chain.nest(4, place).be32(5, 1).text(7, &hook.kind)
}

fn new_rule(chain: Attributes, rule: &Rule) -> Attributes {
    // NLA_F_NESTED by hand: the body is a list already.
    let whole = chain.bytes(4 | 0x8000, &rule.body);
    match rule.tag.is_empty() {
        true => whole,
        false => whole.bytes(7, &comment(&rule.tag)),
    }
}

/// A comment as nft keeps it: type (NFTNL_UDATA_RULE_COMMENT), length, text with a zero.
fn comment(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).expect("tags are short");
    [&[0, length], text.as_bytes(), &[0]].concat()
}

/// The order of keys and of values, for those who print them: NFTNL_UDATA_SET_KEYBYTEORDER and
/// NFTNL_UDATA_SET_DATABYTEORDER, 1 for the machine's (marks, links' names and numbers), 2 for the network's.
fn order(shape: Shape) -> Vec<u8> {
    let of = |kind: u32| match kind {
        MARK_TYPE | LINK_TYPE | INDEX_TYPE => 1_u32,
        _ => 2,
    };
    let (key, data) = (of(shape.key_type), of(shape.data_type));
    [
        &[0, 4],
        &key.to_ne_bytes()[..],
        &[1, 4],
        &data.to_ne_bytes(),
    ]
    .concat()
}

fn new_set(set: Attributes, name: &str, shape: Shape) -> Attributes {
    let set = set
        .be32(3, shape.flags)
        .be32(4, shape.key_type)
        .be32(5, shape.key_length);
    let set = match shape.data_type {
        0 => set,
        VERDICT => set.be32(6, VERDICT),
        kind => set.be32(6, kind).be32(7, shape.data_length),
    };
    let set = match shape.time_ms {
        0 => set,
        time => set.bytes(11, &time.to_be_bytes()),
    };
    let set = match shape.size {
        0 => set,
        size => set.nest(9, Attributes::new().be32(1, size)),
    };
    // The number by which messages of the same batch could call it: any that is not taken.
    let id = name.bytes().fold(1_u32, |id, byte| {
        id.wrapping_mul(31).wrapping_add(byte.into())
    });
    set.be32(10, id).bytes(13, &order(shape))
}

/// Elements in lists that fit into one attribute each. To delete, a key is enough.
fn lists(shape: Shape, elements: &BTreeMap<Vec<u8>, Element>, whole: bool) -> Vec<Attributes> {
    let mut lists = vec![Attributes::new()];
    let mut add = |element: Attributes| {
        let last = lists.last_mut().expect("there is always one");
        if last.len() + element.len() > ELEMENTS {
            lists.push(Attributes::new().nest(1, element));
        } else {
            *last = std::mem::take(last).nest(1, element);
        }
    };
    for (key, element) in elements {
        let key = Attributes::new().nest(1, value(key));
        match element {
            Element::Member => add(key),
            Element::Until(end) => {
                add(key);
                // NFT_SET_ELEM_INTERVAL_END.
                if !end.is_empty() {
                    add(Attributes::new().nest(1, value(end)).be32(3, 1));
                }
            }
            Element::Data(_) | Element::Goto(_) if !whole => add(key),
            Element::Data(data) => add(key.nest(2, value(data))),
            Element::Goto(chain) => add(key.nest(2, verdict_value(&Verdict::Goto(chain)))),
        }
    }
    debug_assert!(shape.key_length > 0, "a key has bytes");
    lists
}
