//! The MVCC against tables and against a naive model that keeps a whole copy of the keys for each revision.

use super::mvcc::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const T0: Duration = Duration::ZERO;

fn put(key: &str, value: &str) -> Operation {
    put_leased(key, value, 0)
}

fn put_leased(key: &str, value: &str, lease: i64) -> Operation {
    Operation::Put(Put {
        lease,
        ..Put::new(key, value)
    })
}

fn delete(key: &str, end: &str) -> Operation {
    Operation::Delete(Span::new(key, end))
}

fn run(store: &mut Mvcc, then: Vec<Operation>) -> Result<Done, Error> {
    store.txn(&Transaction {
        then,
        ..Transaction::default()
    })
}

/// `key=value` of all keys at a revision; 0: now.
fn all(store: &Mvcc, revision: i64) -> Result<String, Error> {
    let found = store.range(&Query {
        revision,
        ..Query::now(Span::all())
    })?;
    let text = |kv: &Stored| {
        let key = String::from_utf8_lossy(&kv.key).into_owned();
        format!("{key}={}", String::from_utf8_lossy(&kv.value))
    };
    Ok(found.kvs.iter().map(text).collect::<Vec<_>>().join(" "))
}

/// `+key` and `-key` with the revision, from `start` on.
fn changes(store: &Mvcc, start: i64) -> Result<String, Error> {
    let mut words = Vec::new();
    for (revision, events) in store.events_since(&Span::all(), start)? {
        for event in events {
            let sign = match &event {
                Event::Put(_) => '+',
                Event::Delete(..) => '-',
            };
            let key = String::from_utf8_lossy(event.key()).into_owned();
            words.push(format!("{sign}{key}@{revision}"));
        }
    }
    Ok(words.join(" "))
}

#[test]
fn a_key_counts_its_writes_and_begins_anew_after_a_delete() {
    let mut store = Mvcc::new();
    let numbers = |store: &Mvcc| {
        let found = store.range(&Query::now(Span::new("a", ""))).unwrap();
        let kv = &found.kvs[0];
        (kv.create_revision, kv.mod_revision, kv.version)
    };
    run(&mut store, vec![put("a", "1")]).unwrap();
    assert_eq!(numbers(&store), (2, 2, 1));
    run(&mut store, vec![put("a", "1")]).unwrap();
    assert_eq!(numbers(&store), (2, 3, 2));
    run(&mut store, vec![delete("a", "")]).unwrap();
    assert_eq!(all(&store, 0).unwrap(), "");
    run(&mut store, vec![put("a", "2")]).unwrap();
    assert_eq!(numbers(&store), (5, 5, 1));
}

#[test]
fn only_a_transaction_that_changes_something_takes_a_revision() {
    let mut store = Mvcc::new();
    let done = run(
        &mut store,
        vec![delete("a", ""), put("b", "1"), put("c", "1")],
    )
    .unwrap();
    assert_eq!(done.revision, 2);
    let done = run(&mut store, vec![delete("x", "y")]).unwrap();
    assert_eq!((done.revision, store.revision()), (2, 2));
    assert_eq!(changes(&store, 1).unwrap(), "+b@2 +c@2");
}

#[test]
fn old_revisions_read_as_they_were_until_they_are_compacted() {
    let mut store = Mvcc::new();
    run(&mut store, vec![put("a", "1")]).unwrap(); // 2
    run(&mut store, vec![put("b", "1")]).unwrap(); // 3
    run(&mut store, vec![delete("a", "")]).unwrap(); // 4
    run(&mut store, vec![put("b", "2")]).unwrap(); // 5
    for (revision, wanted) in [
        (2, "a=1"),
        (3, "a=1 b=1"),
        (4, "b=1"),
        (5, "b=2"),
        (0, "b=2"),
    ] {
        assert_eq!(all(&store, revision).unwrap(), wanted, "at {revision}");
    }
    let future = Error::Future {
        asked: 6,
        newest: 5,
    };
    assert_eq!(all(&store, 6).unwrap_err(), future);

    store.compact(4).unwrap();
    assert_eq!(all(&store, 4).unwrap(), "b=1");
    let compacted = Error::Compacted {
        asked: 3,
        oldest: 4,
    };
    assert_eq!(all(&store, 3).unwrap_err(), compacted);
    assert_eq!(changes(&store, 3).unwrap_err(), compacted);
    assert_eq!(
        changes(&store, 4).unwrap(),
        "+b@5",
        "the delete at 4 is lost, as in etcd"
    );
    let again = Error::Compacted {
        asked: 4,
        oldest: 4,
    };
    assert_eq!(store.compact(4).unwrap_err(), again);
    assert_eq!(store.compact(6).unwrap_err(), future);
    assert_eq!(
        changes(&store, 99).unwrap(),
        "",
        "a future start is no error"
    );
}

#[test]
fn conditions_see_a_missing_key_as_zeros_and_its_value_as_nothing() {
    let mut store = Mvcc::new();
    run(&mut store, vec![put("a", "m")]).unwrap();
    let mut holds = |key: &str, target: Target, relation: Relation| {
        let condition = Condition {
            span: Span::new(key, ""),
            target,
            relation,
        };
        let txn = Transaction {
            conditions: vec![condition],
            ..Transaction::default()
        };
        store.txn(&txn).unwrap().succeeded
    };
    use Relation::{Equal, Greater, Less, NotEqual};
    assert!(holds("x", Target::Create(0), Equal));
    assert!(holds("x", Target::Version(1), Less));
    assert!(!holds("x", Target::Value([].into()), Equal));
    assert!(!holds("x", Target::Value((*b"m").into()), NotEqual));
    assert!(holds("a", Target::Create(2), Equal));
    assert!(holds("a", Target::Mod(1), Greater));
    assert!(holds("a", Target::Value((*b"n").into()), Less));
    assert!(holds("a", Target::Lease(0), Equal));
}

#[test]
fn what_is_refused_has_changed_nothing() {
    let mut store = Mvcc::new();
    let many: Vec<_> = (0..129).map(|n| put(&format!("k{n}"), "")).collect();
    let future = Operation::Read(Query {
        revision: 2,
        ..Query::now(Span::new("a", ""))
    });
    let cases = [
        (
            vec![put("a", "1"), put("b", ""), put("a", "2")],
            Error::DuplicateKey,
        ),
        (vec![put("b", "1"), delete("a", "c")], Error::DuplicateKey),
        (
            vec![put("a", "1"), put_leased("b", "", 7)],
            Error::LeaseMissing(7),
        ),
        (vec![put("", "1")], Error::EmptyKey),
        (
            many,
            Error::TooManyOperations {
                count: 129,
                most: 128,
            },
        ),
        (
            vec![put("a", "1"), future],
            Error::Future {
                asked: 2,
                newest: 1,
            },
        ),
    ];
    for (ops, error) in cases {
        assert_eq!(run(&mut store, ops).unwrap_err(), error);
        assert_eq!(
            (store.revision(), all(&store, 0).unwrap().as_str()),
            (1, "")
        );
    }
    let open = vec![delete("a", "\0"), put("b", "1"), delete("a", "z")];
    assert_eq!(run(&mut store, open).unwrap_err(), Error::DuplicateKey);
    let open = vec![put("c", "1"), delete("a", "\0"), put("b", "1")];
    run(&mut store, open).unwrap();
    assert_eq!(all(&store, 0).unwrap(), "b=1");
    assert_eq!(changes(&store, 2).unwrap(), "+c@2 -c@2 +b@2");
}

#[test]
fn leases_delete_their_keys_in_one_revision() {
    let mut store = Mvcc::new();
    let at = Duration::from_secs;
    assert_eq!(
        store.grant(0, 0, at(0)).unwrap(),
        (1, 2),
        "the least TTL is 2 s"
    );
    let (id, ttl) = store.grant(0, 5, at(0)).unwrap();
    assert_eq!((id, ttl), (2, 5));
    run(
        &mut store,
        vec![put_leased("b", "", id), put_leased("a", "", id)],
    )
    .unwrap();
    run(&mut store, vec![put_leased("c", "", id)]).unwrap();
    run(&mut store, vec![put("c", "free")]).unwrap();
    store.expire(at(4));
    assert_eq!(
        store.renew(1, at(4)),
        None,
        "the first one is gone, without a revision"
    );
    assert_eq!(store.renew(id, at(4)), Some(5));
    assert_eq!(store.next_expiry(), Some(at(9)));
    store.expire(at(9));
    assert_eq!(changes(&store, 5).unwrap(), "-a@5 -b@5");
    assert_eq!(all(&store, 0).unwrap(), "c=free");
    assert_eq!(store.revoke(id), Err(Error::LeaseMissing(id)));
    assert_eq!(
        store.grant(0, 5, at(9)).unwrap().0,
        3,
        "no id is given twice"
    );
}

#[test]
fn a_restored_backup_issues_revisions_again_and_renews_leases() {
    let mut store = Mvcc::new();
    let at = Duration::from_secs;
    let (id, _) = store.grant(0, 5, at(0)).unwrap();
    run(&mut store, vec![put_leased("a", "1", id)]).unwrap(); // 2
    run(&mut store, vec![put("b", "1")]).unwrap(); // 3
    let (late, _) = store.grant(0, 5, at(0)).unwrap();
    store.expire(at(5)); // 4: a
    let mut old = store.restored_at(2, at(6)).unwrap();
    assert_eq!((old.revision(), all(&old, 0).unwrap().as_str()), (2, "a=1"));
    assert_eq!(
        old.lease_ids(),
        vec![id],
        "{late} was granted after the backup"
    );
    run(&mut old, vec![put("z", "1")]).unwrap();
    assert_eq!(changes(&old, 1).unwrap(), "+a@2 +z@3");
    old.expire(at(8));
    assert_eq!(all(&old, 0).unwrap(), "z=1");
}

/// The naive model: every revision with all its keys.
#[derive(Debug, Default)]
struct Model {
    versions: Vec<BTreeMap<String, String>>,
}

#[derive(Clone, Debug)]
enum Step {
    Txn(Vec<(u8, Option<u8>)>),
    DeleteRange(u8, u8),
    Compact(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let op = (0u8..6, proptest::option::of(0u8..4));
    prop_oneof![
        6 => proptest::collection::vec(op, 0..5).prop_map(Step::Txn),
        2 => (0u8..6, 0u8..6).prop_map(|(a, b)| Step::DeleteRange(a, b)),
        1 => (0u8..12).prop_map(Step::Compact),
    ]
}

fn key(number: u8) -> String {
    format!("k{number}")
}

impl Model {
    fn apply(&mut self, step: &Step) {
        let mut keys = self.versions.last().cloned().unwrap_or_default();
        let mut written = false;
        match step {
            Step::Txn(ops) => {
                for (number, value) in ops {
                    written |= match value {
                        Some(value) => {
                            keys.insert(key(*number), value.to_string());
                            true
                        }
                        None => keys.remove(&key(*number)).is_some(),
                    };
                }
            }
            Step::DeleteRange(from, to) => {
                let before = keys.len();
                keys.retain(|name, _| *name < key(*from) || *name >= key(*to));
                written = keys.len() != before;
            }
            Step::Compact(_) => {}
        }
        if written {
            self.versions.push(keys);
        }
    }

    fn at(&self, revision: i64) -> String {
        let index = usize::try_from(revision - 1).unwrap();
        let words: Vec<String> = self.versions[index]
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        words.join(" ")
    }
}

/// Takes out what etcd refuses: a key that is written twice.
fn once_each(step: Step) -> Step {
    let Step::Txn(ops) = step else { return step };
    let mut seen = std::collections::BTreeSet::new();
    Step::Txn(ops.into_iter().filter(|op| seen.insert(op.0)).collect())
}

fn operations(step: &Step) -> Vec<Operation> {
    match step {
        Step::Txn(ops) => ops
            .iter()
            .map(|(number, value)| match value {
                Some(value) => put(&key(*number), &value.to_string()),
                None => delete(&key(*number), ""),
            })
            .collect(),
        Step::DeleteRange(from, to) => vec![delete(&key(*from), &key(*to))],
        Step::Compact(_) => Vec::new(),
    }
}

/// Plays the changes from `start` on, on top of what was there before them.
fn replay(store: &Mvcc, model: &Model, start: i64) -> String {
    let index = usize::try_from(start - 2).unwrap();
    let mut keys = model.versions[index].clone();
    for (_, events) in store.events_since(&Span::all(), start).unwrap() {
        for event in events {
            let name = String::from_utf8(event.key().to_vec()).unwrap();
            match event {
                Event::Put(kv) => {
                    keys.insert(name, String::from_utf8_lossy(&kv.value).into_owned());
                }
                Event::Delete(..) => {
                    assert!(keys.remove(&name).is_some(), "{name} was not there");
                }
            }
        }
    }
    let words: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
    words.join(" ")
}

proptest! {
    #[test]
    fn agrees_with_the_naive_model_at_every_revision(steps in proptest::collection::vec(step(), 0..40)) {
        let mut store = Mvcc::new();
        let mut model = Model { versions: vec![BTreeMap::new()] };
        let mut oldest = 0;
        for step in steps.into_iter().map(once_each) {
            if let Step::Compact(back) = step {
                let revision = store.revision() - i64::from(back);
                if revision > 0 && store.compact(revision).is_ok() {
                    oldest = revision;
                }
                continue;
            }
            model.apply(&step);
            run(&mut store, operations(&step)).unwrap();
            prop_assert_eq!(store.revision(), i64::try_from(model.versions.len()).unwrap());
        }
        for revision in 1..=store.revision() {
            if revision < oldest {
                prop_assert!(all(&store, revision).is_err());
                continue;
            }
            prop_assert_eq!(all(&store, revision).unwrap(), model.at(revision));
            if revision > oldest && revision >= 2 {
                prop_assert_eq!(replay(&store, &model, revision), model.at(store.revision()));
            }
            let restored = store.restored_at(revision, T0).unwrap();
            prop_assert_eq!(all(&restored, 0).unwrap(), model.at(revision));
        }
    }
}
