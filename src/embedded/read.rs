//! Reading keys: the revision, the bounds, the order and the limit, as etcd applies them one after the other. Pure.

use super::answer::{Found, Stored, ValueBytes};
use super::history::History;
use super::request::{Query, SortOrder, SortTarget};
use std::cmp::Ordering;

/// Reads what a query asks for; its revision was checked.
pub(super) fn read(history: &History, query: &Query) -> Found {
    let revision = if query.revision > 0 {
        query.revision
    } else {
        i64::MAX
    };
    let mut found = Found::default();
    let fetched = if query.count_only { 0 } else { fetched(query) };
    for kv in history.span(&query.span, revision) {
        found.count += 1;
        if found.kvs.len() < fetched {
            found.kvs.push(kv.clone());
        }
    }
    if !query.created.is_open() || !query.modified.is_open() {
        found.kvs.retain(|kv| {
            query.created.contains(kv.create_revision) && query.modified.contains(kv.mod_revision)
        });
    }
    sort(&mut found.kvs, query);
    let limit = usize::try_from(query.limit).unwrap_or(0);
    if limit > 0 && found.kvs.len() > limit {
        found.kvs.truncate(limit);
        found.more = true;
    }
    if query.keys_only {
        let nothing = ValueBytes::from([]);
        for kv in &mut found.kvs {
            kv.value.clone_from(&nothing);
        }
    }
    found
}

/// How many keys are taken before bounds and order: all where those matter, else one more than the limit, to see whether
/// it cut. A target without an order does not count as one, as in etcd: it sorts what the limit left, and that one more.
fn fetched(query: &Query) -> usize {
    let all = query.order != SortOrder::Unspecified
        || !query.created.is_open()
        || !query.modified.is_open();
    match usize::try_from(query.limit) {
        Ok(limit @ 1..) if !all => limit.saturating_add(1),
        _ => usize::MAX,
    }
}

fn sort(kvs: &mut [Stored], query: &Query) {
    let by = |a: &Stored, b: &Stored| match query.target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    };
    let directed: fn(Ordering) -> Ordering = match (query.order, query.target) {
        // They come in this order.
        (SortOrder::Unspecified | SortOrder::Ascend, SortTarget::Key) => return,
        (SortOrder::Unspecified | SortOrder::Ascend, _) => |order| order,
        (SortOrder::Descend, _) => Ordering::reverse,
    };
    // Stable: equal ones stay in ascending order of keys.
    kvs.sort_by(|a, b| directed(by(a, b)));
}
