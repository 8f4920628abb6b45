//! A whole store over a journal: what it tells is what comes back, whatever it has forgotten.

use super::faulty::{FaultyDisk, Restart};
use super::support_tests::{IDENTITY, SMALL};
use super::{Journal, Options};
use crate::embedded::change::Change;
use crate::embedded::mvcc::{Mvcc, Operation, Put, Span, Transaction};
use std::sync::Arc;
use std::time::Duration;

fn open(disk: &FaultyDisk, options: Options) -> (Journal, Mvcc) {
    let mut store = Mvcc::new();
    let mut replay = |change| Ok(store.replay(change, Duration::ZERO)?);
    let opened = Journal::open(Arc::new(disk.clone()), options, || IDENTITY, &mut replay);
    (opened.unwrap().journal, store)
}

/// The store as the power's loss leaves it is the one that was there.
fn check(disk: &FaultyDisk, store: &Mvcc) -> (Journal, Mvcc) {
    disk.restart(Restart::PowerLostNothingKept);
    let (journal, found) = open(disk, SMALL);
    assert_eq!(found.revision(), store.revision());
    assert!(found.changes().eq(store.changes()));
    (journal, found)
}

#[test]
fn a_store_that_only_had_a_lease_has_snapshots() {
    let disk = FaultyDisk::new(1);
    let (mut journal, mut store) = open(&disk, SMALL);
    store.grant(7, 60, Duration::ZERO).unwrap();
    journal.append(&[store.granted(7).unwrap()]).unwrap();
    journal.snapshot(store.changes()).unwrap();
    let (mut journal, mut store) = check(&disk, &store);
    assert_eq!(store.lease_ids(), [7]);
    journal.append(&store.revoke(7).unwrap()).unwrap();
    journal.snapshot(store.changes()).unwrap();
    check(&disk, &store);
}

#[test]
fn a_store_that_has_forgotten_everything_keeps_its_revision() {
    let disk = FaultyDisk::new(1);
    let (mut journal, mut store) = open(&disk, SMALL);
    for number in 0..20u8 {
        store.put(&Put::new([b'k', number], [number])).unwrap();
        let written = store.written(store.revision()).unwrap();
        journal.append(&[written]).unwrap();
    }
    let (mut journal, mut store) = {
        drop(journal);
        check(&disk, &store)
    };
    let everything = Operation::Delete(Span::all());
    store
        .txn(&Transaction {
            then: vec![everything],
            ..Transaction::default()
        })
        .unwrap();
    let revision = store.revision();
    let deleted = store.written(revision).unwrap();
    store.compact(revision).unwrap();
    journal
        .append(&[deleted, Change::Compacted { revision }])
        .unwrap();
    let (mut journal, mut store) = check(&disk, &store);
    journal.snapshot(store.changes()).unwrap();
    store.put(&Put::new(*b"k", *b"v")).unwrap();
    journal
        .append(&[store.written(revision + 1).unwrap()])
        .unwrap();
    check(&disk, &store);
}
