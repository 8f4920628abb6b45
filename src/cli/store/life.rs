//! The next life of a cluster's store (rules I2 and S6): one more than the highest incarnation that is known anywhere.
//! Pure.

use crate::api::cluster::{Cluster, Held};
use crate::api::time::Timestamp;
use crate::api::unit::Incarnation;
use crate::runtime::cache::Cache;

/// The highest incarnation that a store's content tells of: its record, and the labels of containers that were seen.
pub(super) fn highest(cache: &Cache) -> Incarnation {
    let found = cache
        .statuses
        .values()
        .filter_map(|status| status.value.found.as_ref());
    let seen = found.flat_map(|found| {
        let label = found.highest.map(|(life, _)| life);
        [Some(found.incarnation), label].into_iter().flatten()
    });
    seen.chain([cache.incarnation()]).max().unwrap_or_default()
}

/// The record with which the next life begins: what runs is adopted before anything is stopped or started.
pub(super) fn next(record: &Cluster, past: Incarnation, now: Timestamp) -> Cluster {
    Cluster {
        id: record.id.clone(),
        incarnation: Incarnation(past.max(record.incarnation).0 + 1),
        format: record.format,
        adopting_since: Some(now),
        held: None,
    }
}

/// The record that keeps managers away.
pub(super) fn held(record: &Cluster, held: Held) -> Cluster {
    Cluster {
        held: Some(held),
        ..record.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cluster::FORMAT;
    use crate::api::uid::Uid;
    use crate::api::unit::Revision;
    use crate::embedded::memory::Memory;

    fn record(incarnation: u64) -> Cluster {
        Cluster {
            id: Uid::from("0000000000000000000000001"),
            incarnation: Incarnation(incarnation),
            format: FORMAT,
            adopting_since: None,
            held: Some(Held::MovedTo("there".into())),
        }
    }

    #[test]
    fn the_next_life_is_after_every_one_that_was_seen() {
        let store = Memory::new();
        let found = |life: u64, label: u64| {
            format!(
                r#"{{"conditions":[],"found":{{"incarnation":{life},"highest":[{label},77],"unclaimed":[],"total":0}}}}"#
            )
        };
        store.put("/skep/cluster", serde_json::to_vec(&record(3)).unwrap());
        store.put("/skep/status/nodes/n1/task", found(2, 5).as_str());
        let mut cache = Cache::default();
        cache.replace("/skep/", &store.dump("/skep/"), Revision(9));
        assert!(cache.broken.is_empty(), "{:?}", cache.broken);
        assert_eq!(highest(&cache), Incarnation(5));
        let next = next(&record(3), highest(&cache), Timestamp(8));
        assert_eq!(next.incarnation, Incarnation(6));
        assert_eq!(next.adopting_since, Some(Timestamp(8)));
        assert_eq!(next.held, None);
    }
}
