//! What goes along when a cluster moves to another store. Pure.
//!
//! | Keys | |
//! |---|---|
//! | what users wrote, accepted records, statuses, revisions, tasks, bindings | go along: they are the cluster |
//! | keys that this version does not know | go along: somebody put them below the prefix |
//! | `cluster` | is written anew, last, with the next incarnation |
//! | `election/`, `managers/`, `shards/` | stay: rights of processes, on leases of the old store; without a lease they would keep every manager out for ever |
//! | events (beside the prefix) | stay: they are history, on leases of an hour |
//!
//! What goes along goes without its lease: a service that ended because a copy lost track of its lease would be a
//! container stopped by a copy. Such keys are told of.

use crate::api::key::Key;
use crate::store::KeyValue;
use std::collections::BTreeMap;

/// What goes along, by key without the prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// Values by key.
    pub(super) values: BTreeMap<String, Vec<u8>>,
    /// Keys that went with a lease and from now on do not.
    pub(super) unleased: Vec<String>,
}

/// Chooses from all that lies below `prefix`.
pub(super) fn carried(prefix: &str, kvs: Vec<KeyValue>) -> Carried {
    let mut carried = Carried::default();
    for kv in kvs {
        let Some(key) = kv.key.strip_prefix(prefix) else {
            continue;
        };
        if !goes(key) {
            continue;
        }
        if kv.lease.0 != 0 {
            carried.unleased.push(key.to_owned());
        }
        carried.values.insert(key.to_owned(), kv.value);
    }
    carried
}

/// Whether a key goes along as it is.
fn goes(key: &str) -> bool {
    match Key::parse(key) {
        Some(Key::Cluster) => false,
        Some(other) => !is_right(&other),
        None => true,
    }
}

/// Whether a key is a process's right to act, or says that it lives.
pub(super) fn is_right(key: &Key) -> bool {
    match key {
        Key::Election(..) | Key::Manager(_) | Key::Shard(_) => true,
        Key::User(_)
        | Key::Scale(_)
        | Key::Accepted(_)
        | Key::Status(..)
        | Key::Revision(..)
        | Key::Task(..)
        | Key::Binding(..)
        | Key::TaskStatus(..)
        | Key::Allocation(_)
        | Key::Cluster => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::unit::{LeaseId, Revision};

    fn check(key: &str, lease: i64, expected: (bool, bool)) {
        let kv = KeyValue {
            key: format!("/skep/{key}"),
            value: b"x".to_vec(),
            create_revision: Revision(1),
            mod_revision: Revision(1),
            version: 1,
            lease: LeaseId(lease),
        };
        let found = carried("/skep/", vec![kv]);
        let is_told = found.unleased.iter().any(|told| told == key);
        assert_eq!((found.values.contains_key(key), is_told), expected, "{key}");
    }

    #[test]
    fn what_is_the_cluster_goes_and_what_is_a_process_stays() {
        for key in [
            "services/default/web",
            "scale/default/web",
            "nodes/n1",
            "accepted/services/default/web",
            "status/services/default/web/service",
            "status/tasks/n1/0000000000000000000000abc",
            "revisions/0000000000000000000000abc/0000000012",
            "tasks/default/web/0000000000000000000000abc",
            "bindings/n1/0000000000000000000000abc",
            "allocations/vni/4096",
            "something/else",
        ] {
            check(key, 0, (true, false));
        }
        for key in [
            "cluster",
            "election/service/00000000000004d2",
            "managers/m1",
            "shards/000",
        ] {
            check(key, 7, (false, false));
        }
    }

    #[test]
    fn what_went_with_a_lease_goes_without_and_is_told_of() {
        check("services/default/web", 7, (true, true));
    }
}
