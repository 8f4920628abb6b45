//! What etcd answers in the corners of its API, one table for each.

use super::mvcc::*;
use std::time::Duration;

fn bytes(text: &str) -> ValueBytes {
    text.as_bytes().into()
}

fn put(key: &str, value: &str) -> Operation {
    Operation::Put(Put::new(key, value))
}

fn keep_value(key: &str) -> Put {
    Put {
        ignore_value: true,
        ..Put::new(key, "")
    }
}

fn keep_lease(key: &str, value: &str) -> Put {
    Put {
        ignore_lease: true,
        ..Put::new(key, value)
    }
}

fn delete(key: &str, end: &str) -> Operation {
    Operation::Delete(Span::new(key, end))
}

fn read(key: &str) -> Operation {
    Operation::Read(Query::now(Span::new(key, "")))
}

fn read_at(key: &str, revision: i64) -> Operation {
    Operation::Read(Query {
        revision,
        ..Query::now(Span::new(key, ""))
    })
}

fn txn(then: Vec<Operation>, otherwise: Vec<Operation>) -> Transaction {
    Transaction {
        conditions: Vec::new(),
        then,
        otherwise,
    }
}

fn nested(then: Vec<Operation>) -> Operation {
    Operation::Txn(txn(then, Vec::new()))
}

fn run(store: &mut Mvcc, then: Vec<Operation>) -> Result<Done, Error> {
    store.txn(&txn(then, Vec::new()))
}

/// A store in which each word `key=value` was put in a revision of its own, from 2 on.
fn store(words: &str) -> Mvcc {
    let mut store = Mvcc::new();
    for word in words.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap();
        run(&mut store, vec![put(key, value)]).unwrap();
    }
    store
}

fn keys(kvs: &[Stored]) -> String {
    let text = |kv: &Stored| String::from_utf8_lossy(&kv.key).into_owned();
    kvs.iter().map(text).collect::<Vec<_>>().join(" ")
}

fn all(store: &Mvcc) -> String {
    let found = store.range(&Query::now(Span::all())).unwrap();
    let text = |kv: &Stored| {
        let key = String::from_utf8_lossy(&kv.key).into_owned();
        format!("{key}={}", String::from_utf8_lossy(&kv.value))
    };
    found.kvs.iter().map(text).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_range_is_sorted_by_any_target_and_equal_ones_stay_in_order() {
    // Versions: a 2, b 1, c 1, d 1. Changed: b 3, c 4, d 5, a 6. Created: a 2, b 3, c 4, d 5.
    let store = store("a=z b=y c=x d=x a=z");
    let check = |target, order, wanted: &str| {
        let query = Query {
            target,
            order,
            ..Query::now(Span::all())
        };
        let found = store.range(&query).unwrap();
        assert_eq!(keys(&found.kvs), wanted, "{target:?} {order:?}");
    };
    use SortOrder::{Ascend, Descend, Unspecified};
    use SortTarget::{Create, Key, Mod, Value, Version};
    check(Key, Unspecified, "a b c d");
    check(Key, Descend, "d c b a");
    check(Version, Ascend, "b c d a");
    check(Version, Unspecified, "b c d a");
    check(Version, Descend, "a b c d");
    check(Create, Descend, "d c b a");
    check(Mod, Ascend, "b c d a");
    check(Value, Ascend, "c d b a");
    check(Value, Descend, "a b c d");
}

#[test]
fn limits_cut_after_bounds_and_order_and_the_count_knows_neither() {
    let store = store("a=1 b=1 c=1 d=1 a=2"); // a is changed last, at 6
    let check = |query: Query, wanted: &str, more: bool| {
        let found = store.range(&query).unwrap();
        assert_eq!((keys(&found.kvs).as_str(), found.more), (wanted, more));
        assert_eq!(found.count, 4);
        query
    };
    let all = Query::now(Span::all());
    let limited = |limit| Query {
        limit,
        ..all.clone()
    };
    check(limited(2), "a b", true);
    check(limited(4), "a b c d", false);
    check(limited(-1), "a b c d", false);
    check(
        Query {
            order: SortOrder::Descend,
            ..limited(1)
        },
        "d",
        true,
    );
    // Without an order the limit takes one key more than it gives, and those are sorted: a and b.
    check(
        Query {
            target: SortTarget::Mod,
            ..limited(1)
        },
        "b",
        true,
    );
    let changed = |least, most| Query {
        modified: Window { least, most },
        ..limited(1)
    };
    check(changed(4, 5), "c", true);
    check(changed(6, 0), "a", false);
    check(changed(0, 3), "b", false);
    check(changed(0, -1), "", false);
    check(
        Query {
            created: Window { least: 5, most: 5 },
            ..all.clone()
        },
        "d",
        false,
    );
    let counted = check(
        Query {
            count_only: true,
            ..limited(1)
        },
        "",
        false,
    );
    assert_eq!(store.range(&counted).unwrap().count, 4);
}

#[test]
fn keys_alone_are_sorted_by_the_values_that_are_left_out() {
    let store = store("a=2 b=1");
    let query = Query {
        target: SortTarget::Value,
        order: SortOrder::Ascend,
        keys_only: true,
        ..Query::now(Span::all())
    };
    let found = store.range(&query).unwrap();
    assert_eq!(keys(&found.kvs), "b a");
    assert!(found.kvs.iter().all(|kv| kv.value.is_empty()));
}

#[test]
fn a_condition_on_a_span_binds_every_key_of_it_and_a_missing_one_without_any() {
    let mut store = store("a=m b=m c=n");
    let mut holds = |key: &str, end: &str, target: Target, relation: Relation| {
        let condition = Condition {
            span: Span::new(key, end),
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
    assert!(holds("a", "c", Target::Value(bytes("m")), Equal));
    assert!(!holds("a", "\0", Target::Value(bytes("m")), Equal));
    assert!(holds("a", "\0", Target::Create(1), Greater));
    assert!(holds("x", "z", Target::Create(0), Equal));
    assert!(holds("z", "a", Target::Version(1), Less), "an empty span");
    assert!(!holds("x", "z", Target::Value(bytes("m")), NotEqual));
}

#[test]
fn all_conditions_are_judged_before_anything_runs() {
    let mut store = Mvcc::new();
    let inner = Transaction {
        conditions: vec![Condition {
            span: Span::new("a", ""),
            target: Target::Create(0),
            relation: Relation::Equal,
        }],
        then: vec![put("b", "missing")],
        otherwise: vec![put("b", "there")],
    };
    let done = run(
        &mut store,
        vec![put("a", "1"), Operation::Txn(inner), read("b")],
    );
    let done = done.unwrap();
    assert_eq!(all(&store), "a=1 b=missing");
    assert_eq!(done.revision, 2);
    let Answer::Txn(inner) = &done.answers[1] else {
        panic!("{done:?}")
    };
    assert_eq!((inner.succeeded, inner.revision), (true, 0));
}

#[test]
fn inner_answers_tell_the_old_revision_until_the_first_write() {
    let mut store = store("a=1");
    let ops = vec![
        read("a"),
        delete("x", ""),
        nested(vec![read("a"), put("b", "1")]),
        read("b"),
        delete("x", ""),
    ];
    let mut told = Vec::new();
    fn tell(answers: &[Answer], told: &mut Vec<i64>) {
        for answer in answers {
            match answer {
                Answer::Put { revision, .. }
                | Answer::Deleted { revision, .. }
                | Answer::Read { revision, .. } => told.push(*revision),
                Answer::Txn(done) => tell(&done.answers, told),
            }
        }
    }
    tell(&run(&mut store, ops).unwrap().answers, &mut told);
    assert_eq!(told, [2, 2, 2, 3, 3, 3]);
}

#[test]
fn no_key_is_written_twice_in_one_transaction() {
    let check = |then: Vec<Operation>, is_accepted: bool| {
        let mut store = store("a=0 b=0");
        let text = format!("{then:?}");
        let done = run(&mut store, then);
        assert_eq!(done.is_ok(), is_accepted, "{text}");
        if let Err(error) = done {
            assert_eq!(error, Error::DuplicateKey);
        }
    };
    check(vec![put("a", ""), put("a", "")], false);
    check(vec![put("a", ""), nested(vec![put("a", "")])], false);
    check(vec![nested(vec![put("a", "")]), put("a", "")], false);
    check(
        vec![nested(vec![put("a", "")]), nested(vec![put("a", "")])],
        false,
    );
    check(vec![delete("a", "c"), nested(vec![put("b", "")])], false);
    check(vec![nested(vec![delete("a", "c")]), put("b", "")], false);
    check(
        vec![nested(vec![delete("a", "")]), nested(vec![put("a", "")])],
        false,
    );
    check(
        vec![nested(vec![put("a", "")]), nested(vec![delete("a", "")])],
        true,
    );
    check(vec![delete("a", "c"), delete("a", "b")], true);
    check(vec![delete("a", "\0"), put("b", "")], true);
    check(vec![delete("z", "a"), put("b", "")], true);
    let either = Operation::Txn(txn(vec![put("a", "")], vec![put("a", "")]));
    check(vec![either.clone()], true);
    check(vec![either, put("a", "")], false);
}

#[test]
fn a_nested_transaction_has_room_for_what_the_outer_one_leaves() {
    let puts = |count: usize, name: &str| -> Vec<Operation> {
        (0..count).map(|n| put(&format!("{name}{n}"), "")).collect()
    };
    let outer = |inner: usize| {
        let mut then = puts(100, "o");
        then.push(nested(puts(inner, "i")));
        run(&mut Mvcc::new(), then)
    };
    assert!(outer(27).is_ok());
    let most = Error::TooManyOperations {
        count: 28,
        most: 27,
    };
    assert_eq!(outer(28).unwrap_err(), most);
    assert!(run(&mut Mvcc::new(), puts(128, "k")).is_ok());
}

#[test]
fn what_is_kept_has_to_be_there_and_is_not_given() {
    let mut store = store("a=1");
    store.grant(7, 10, Duration::ZERO).unwrap();
    let leased = Put {
        lease: 7,
        ..Put::new("a", "1")
    };
    store.put(&leased).unwrap();
    store.put(&keep_lease("a", "2")).unwrap();
    assert_eq!(store.lease_keys(7).unwrap(), [bytes("a")]);
    store.put(&keep_value("a")).unwrap();
    assert_eq!(all(&store), "a=2");
    assert!(
        store.lease_keys(7).unwrap().is_empty(),
        "a put without a lease lets go"
    );

    let with_value = Put {
        value: bytes("x"),
        ..keep_value("a")
    };
    let with_lease = Put {
        lease: 7,
        ..keep_lease("a", "x")
    };
    let missing_both = Put {
        lease: 9,
        ..keep_value("z")
    };
    let cases = [
        (with_value, Error::ValueProvided, Error::ValueProvided),
        (with_lease, Error::LeaseProvided, Error::LeaseProvided),
        (keep_value("z"), Error::KeyMissing, Error::KeyMissing),
        (keep_lease("z", "1"), Error::KeyMissing, Error::KeyMissing),
        // Alone it looks for the lease first, in a transaction for the key.
        (missing_both, Error::LeaseMissing(9), Error::KeyMissing),
    ];
    let before = store.revision();
    for (put, alone, within) in cases {
        assert_eq!(store.put(&put).unwrap_err(), alone);
        let inner = nested(vec![Operation::Put(put)]);
        assert_eq!(run(&mut store, vec![inner]).unwrap_err(), within);
    }
    let gone = vec![delete("a", "\0"), Operation::Put(keep_value("a"))];
    assert_eq!(run(&mut store, gone).unwrap_err(), Error::KeyMissing);
    assert_eq!((store.revision(), all(&store).as_str()), (before, "a=2"));
}

#[test]
fn malformed_operations_are_refused_in_branches_that_are_not_taken_too() {
    let cases = [
        (Operation::Empty, Error::KeyMissing),
        (put("", "1"), Error::EmptyKey),
        (delete("", "z"), Error::EmptyKey),
        (read(""), Error::EmptyKey),
        (nested(vec![read("")]), Error::EmptyKey),
        (nested(vec![Operation::Empty]), Error::KeyMissing),
    ];
    for (operation, error) in cases {
        let txn = txn(Vec::new(), vec![operation]);
        assert_eq!(Mvcc::new().txn(&txn).unwrap_err(), error);
    }
    let condition = Condition {
        span: Span::new("", "z"),
        target: Target::Mod(0),
        relation: Relation::Equal,
    };
    let txn = Transaction {
        conditions: vec![condition],
        ..Transaction::default()
    };
    assert_eq!(Mvcc::new().txn(&txn).unwrap_err(), Error::EmptyKey);
}

#[test]
fn compactions_go_forward_and_the_first_may_be_at_zero() {
    let mut store = store("a=1 a=2 a=3");
    let refused = |store: &mut Mvcc, revision| store.compact(revision).unwrap_err().etcd_text();
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!(refused(&mut store, -1), compacted);
    assert!(run(&mut store, vec![read_at("a", -1)]).is_ok());
    store.compact(0).unwrap();
    assert_eq!(refused(&mut store, 0), compacted);
    store.compact(3).unwrap();
    assert_eq!(refused(&mut store, 3), compacted);
    let future = "etcdserver: mvcc: required revision is a future revision";
    assert_eq!(refused(&mut store, 5), future);
    for (revision, wanted) in [(2, compacted), (-1, compacted), (5, future)] {
        let read = nested(vec![read_at("a", revision)]);
        let error = run(&mut store, vec![put("b", ""), read]).unwrap_err();
        assert_eq!(error.etcd_text(), wanted, "in a transaction at {revision}");
    }
    let now = Query {
        revision: -1,
        ..Query::now(Span::all())
    };
    assert_eq!(store.range(&now).unwrap().count, 1, "alone, -1 is now");
}

#[test]
fn a_compaction_leaves_of_its_own_revision_what_lives_at_its_end() {
    let mut store = store("a=1 b=1");
    let ops = vec![put("c", "1"), delete("a", "\0"), put("b", "2")];
    run(&mut store, ops).unwrap(); // 4: +c -a -b -c +b
    assert_eq!(store.events_at(4).unwrap().len(), 5);
    assert_eq!(store.at(b"a", 3).unwrap().version, 1);
    store.compact(4).unwrap();
    let left = store.events_at(4).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(&**left[0].key(), b"b");
    assert_eq!(store.events_at(3), None);
    assert_eq!(store.at(b"a", 3), None, "its revision is compacted");
    assert_eq!(store.at(b"b", 4).unwrap().create_revision, 4);
}

#[test]
fn leases_are_listed_by_their_end_with_their_keys_in_order() {
    let mut store = Mvcc::new();
    let at = Duration::from_secs;
    for (id, ttl) in [(5, 30), (6, 10), (7, -3), (8, 0)] {
        store.grant(id, ttl, at(0)).unwrap();
    }
    assert_eq!(store.lease_ids(), [7, 8, 6, 5]);
    assert_eq!(store.time_left(7, at(1)), Some((2, at(1))));
    store.renew(7, at(20)).unwrap();
    assert_eq!(store.lease_ids(), [8, 6, 7, 5]);
    assert_eq!(store.next_expiry(), Some(at(2)));
    assert_eq!(store.time_left(0, at(0)), None);
    assert_eq!(store.grant(5, 10, at(0)), Err(Error::LeaseExists(5)));
    let long = 9_000_000_001;
    assert_eq!(store.grant(5, long, at(0)), Err(Error::LeaseTooLong(long)));
    assert_eq!(store.grant(9, long - 1, at(0)), Ok((9, long - 1)));
    for key in ["b", "a"] {
        let put = Put {
            lease: 5,
            ..Put::new(key, "")
        };
        store.put(&put).unwrap();
    }
    assert_eq!(store.lease_keys(5).unwrap(), [bytes("a"), bytes("b")]);
    run(&mut store, vec![delete("a", "")]).unwrap();
    assert_eq!(store.lease_keys(5).unwrap(), [bytes("b")]);
    assert_eq!(store.lease_keys(99), None);
}

#[test]
fn a_full_store_reads_and_deletes() {
    let mut store = store("a=1 b=1");
    assert!(store.set_full(true).is_some());
    assert!(store.set_full(true).is_none());
    let untaken = txn(Vec::new(), vec![nested(vec![put("c", "")])]);
    assert_eq!(store.txn(&untaken).unwrap_err(), Error::Full);
    assert_eq!(store.put(&Put::new("c", "")).unwrap_err(), Error::Full);
    assert_eq!(store.grant(1, 10, Duration::ZERO), Err(Error::Full));
    run(&mut store, vec![delete("a", ""), read("b")]).unwrap();
    store.set_full(false);
    run(&mut store, vec![put("c", "1")]).unwrap();
    assert_eq!(all(&store), "b=1 c=1");
}

#[test]
fn the_hash_tells_stores_apart_and_follows_the_revision() {
    let mut one = store("a=1 b=1");
    let before = one.hash(0).unwrap();
    assert_eq!(before, store("a=1 b=1").hash(0).unwrap());
    assert_ne!(before, store("a=1 b=2").hash(0).unwrap());
    run(&mut one, vec![put("a", "2")]).unwrap();
    assert_ne!(one.hash(0).unwrap(), before);
    assert_eq!(one.hash(3).unwrap(), before);
    one.compact(3).unwrap();
    assert!(matches!(one.hash(3), Err(Error::Compacted { .. })));
    assert!(matches!(one.hash(5), Err(Error::Future { .. })));
    assert!(one.hash(4).is_ok());
}
