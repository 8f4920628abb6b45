//! A store told as changes and played back, and changes taken back, for random lives of a store.

use super::change::Change;
use super::mvcc::*;
use super::replay::Error as Nonsense;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const T0: Duration = Duration::ZERO;

#[derive(Clone, Debug)]
enum Step {
    Put {
        key: u8,
        value: u8,
        lease: i64,
    },
    /// Deletes to the end of the keys and puts in the same revision.
    Replace(u8, u8),
    DeleteRange(u8, u8),
    Compact(u8),
    Grant(i64),
    Revoke(i64),
    Full(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..6, 0u8..4, 0i64..4).prop_map(|(key, value, lease)| Step::Put { key, value, lease }),
        2 => (0u8..6, 0u8..6).prop_map(|(from, put)| Step::Replace(from, put)),
        2 => (0u8..6, 0u8..6).prop_map(|(from, to)| Step::DeleteRange(from, to)),
        1 => (0u8..6).prop_map(Step::Compact),
        2 => (1i64..4).prop_map(Step::Grant),
        1 => (1i64..4).prop_map(Step::Revoke),
        1 => any::<bool>().prop_map(Step::Full),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 0..40)
}

fn key(number: u8) -> String {
    format!("k{number}")
}

/// Runs a step, which may be refused, and gives what to remember of it.
fn run(store: &mut Mvcc, step: &Step) -> Vec<Change> {
    let before = store.revision();
    let mut changes = Vec::new();
    match step {
        Step::Put {
            key: k,
            value,
            lease,
        } => {
            let put = Put {
                lease: *lease,
                ..Put::new(key(*k), [*value])
            };
            let _ = store.put(&put);
        }
        Step::Replace(from, put) => {
            let ops = vec![
                Operation::Put(Put::new("first", "")),
                Operation::Delete(Span::new(key(*from), "\0")),
                Operation::Put(Put::new(key(*put), "new")),
            ];
            let txn = Transaction {
                then: ops,
                ..Transaction::default()
            };
            let _ = store.txn(&txn);
        }
        Step::DeleteRange(from, to) => {
            let span = Span::new(key(*from), key(*to));
            let _ = store.txn(&Transaction::one(Operation::Delete(span)));
        }
        Step::Compact(back) => {
            let revision = store.revision() - i64::from(*back);
            if store.compact(revision).is_ok() {
                changes.push(Change::Compacted { revision });
            }
        }
        Step::Grant(id) => {
            if store.grant(*id, 10 * id, T0).is_ok() {
                changes.extend(store.granted(*id));
            }
        }
        Step::Revoke(id) => return store.revoke(*id).unwrap_or_default(),
        Step::Full(raised) => changes.extend(store.set_full(*raised)),
    }
    if store.revision() > before {
        changes.extend(store.written(store.revision()));
    }
    changes
}

fn played(changes: impl IntoIterator<Item = Change>) -> Mvcc {
    let mut store = Mvcc::new();
    for change in changes {
        let text = format!("{change:?}");
        let played = store.replay(change, T0);
        played.unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    store
}

/// Every answer that tells two stores apart: keys at each revision, events, leases with their keys, the alarm.
fn answers(store: &Mvcc) -> Vec<String> {
    let mut told = vec![format!(
        "{} {} {}",
        store.revision(),
        store.compacted(),
        store.is_full()
    )];
    told.push(format!("{:?}", store.hash(0)));
    for revision in 0..=store.revision() + 1 {
        let found = store.range(&Query {
            revision,
            ..Query::now(Span::all())
        });
        told.push(format!("{revision}: {found:?}"));
        told.push(format!("{:?}", store.events_at(revision)));
        told.push(format!("{:?}", store.events_since(&Span::all(), revision)));
    }
    for id in store.lease_ids() {
        let (terms, keys) = (store.time_left(id, T0), store.lease_keys(id));
        told.push(format!("{terms:?} {keys:?} {:?}", store.granted(id)));
    }
    told
}

proptest! {
    #[test]
    fn a_snapshot_and_the_changes_one_by_one_both_give_the_same_store(steps in steps()) {
        let mut store = Mvcc::new();
        let changes: Vec<_> = steps.iter().flat_map(|step| run(&mut store, step)).collect();
        prop_assert_eq!(answers(&played(changes)), answers(&store));
        let again = played(store.changes());
        prop_assert_eq!(answers(&again), answers(&store));
        let (told, told_again): (Vec<_>, Vec<_>) = (store.changes().collect(), again.changes().collect());
        prop_assert_eq!(told, told_again);
    }

    #[test]
    fn a_store_that_was_played_back_goes_on_as_the_first_does(before in steps(), after in steps()) {
        let mut store = Mvcc::new();
        for step in &before {
            run(&mut store, step);
        }
        let mut again = played(store.changes());
        for step in &after {
            prop_assert_eq!(run(&mut store, step), run(&mut again, step));
        }
        prop_assert_eq!(answers(&again), answers(&store));
    }

    #[test]
    fn what_is_taken_back_has_never_happened(before in steps(), after in steps()) {
        let mut store = Mvcc::new();
        for step in &before {
            run(&mut store, step);
        }
        let wanted = answers(&store);
        let is_kept = |step: &&Step| !matches!(step, Step::Compact(_));
        let changes: Vec<_> = after.iter().filter(is_kept).flat_map(|step| run(&mut store, step)).collect();
        store.undo(&changes, T0).unwrap();
        prop_assert_eq!(answers(&store), wanted);
    }

    #[test]
    fn a_compaction_changes_no_read_at_or_above_it(steps in steps(), back in 0i64..10) {
        let mut store = Mvcc::new();
        for step in &steps {
            run(&mut store, step);
        }
        let revision = (store.revision() - back).max(1);
        let reads = |store: &Mvcc| -> Vec<_> {
            let at = |revision| store.range(&Query { revision, ..Query::now(Span::all()) });
            (revision..=store.revision()).map(at).collect()
        };
        let events = |store: &Mvcc| store.events_since(&Span::all(), revision + 1);
        let (wanted, later) = (reads(&store), events(&store));
        if store.compact(revision).is_ok() {
            prop_assert_eq!(reads(&store), wanted);
            prop_assert_eq!(events(&store), later);
        }
    }
}

fn written(revision: i64, events: Vec<Event>) -> Change {
    Change::Written {
        revision,
        events: events.into(),
    }
}

fn stored(revision: i64, version: i64) -> Stored {
    Stored {
        key: Arc::from(*b"a"),
        value: Arc::from([]),
        create_revision: 2,
        mod_revision: revision,
        version,
        lease: 0,
    }
}

#[test]
fn nonsense_is_refused_and_changes_nothing() {
    let mut store = played([written(2, vec![Event::Put(stored(2, 1))])]);
    store.grant(1, 10, T0).unwrap();
    let lease = Put {
        lease: 1,
        ..Put::new("l", "")
    };
    store.put(&lease).unwrap(); // 3
    let wanted = answers(&store);
    let gone = |name: &str, revision| Event::Delete(name.as_bytes().into(), revision);
    let ended = |id| Change::Ended {
        id,
        ttl: 10,
        revision: 1,
    };
    let granted = |id, ttl| Change::Granted {
        id,
        ttl,
        revision: 3,
    };
    let put = |revision, version| Event::Put(stored(revision, version));
    let cases = [
        (
            written(5, vec![put(5, 2)]),
            "revision 5 does not follow on revision 3",
        ),
        (
            written(3, vec![put(3, 2)]),
            "revision 3 does not follow on revision 3",
        ),
        (written(4, vec![]), "revision 4 cannot be: it has no events"),
        (
            written(4, vec![put(5, 2)]),
            "revision 4 cannot be: an event names another revision",
        ),
        (
            written(4, vec![put(4, 2), gone("l", 4), put(4, 4)]),
            "revision 4 cannot be: a key does not go on from what it was",
        ),
        (
            written(4, vec![gone("x", 4)]),
            "revision 4 cannot be: a key is deleted that is not there",
        ),
        (
            written(4, vec![gone("", 4)]),
            "revision 4 cannot be: a key is empty",
        ),
        (
            Change::Compacted { revision: 4 },
            "a compaction at revision 4 does not fit",
        ),
        (granted(1, 10), "lease 1 cannot have been granted"),
        (granted(2, i64::MAX), "lease 2 cannot have been granted"),
        (ended(1), "lease 1 cannot have ended"),
        (ended(2), "lease 2 cannot have ended"),
    ];
    for (change, text) in cases {
        let error: Nonsense = store.replay(change, T0).unwrap_err();
        assert_eq!(error.to_string(), text);
        assert_eq!(answers(&store), wanted, "{text}");
    }
}

#[test]
fn only_the_newest_changes_are_taken_back() {
    let mut store = Mvcc::new();
    for value in ["1", "2"] {
        store.put(&Put::new("a", value)).unwrap();
    }
    let (older, newest) = (store.written(2).unwrap(), store.written(3).unwrap());
    assert!(store.undo(&[older], T0).is_err());
    store.compact(3).unwrap();
    assert!(
        store.undo(&[newest], T0).is_err(),
        "a compaction has swallowed it"
    );
}
