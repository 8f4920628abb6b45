//! The journal on a real directory, its codec, its sizes, and snapshots beside appends.

use super::codec::{decode_all, encode};
use super::faulty::{FaultyDisk, Restart};
use super::real::RealDisk;
use super::support_tests::{IDENTITY, SMALL, World, look, written};
use super::{Error, Journal, Opened, Options};
use crate::embedded::change::Change;
use crate::embedded::request::{Event, Stored};
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

fn event() -> impl Strategy<Value = Event> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let numbers = (any::<i64>(), any::<i64>(), any::<i64>(), any::<i64>());
    let put = (bytes(), bytes(), numbers).prop_map(|(key, value, numbers)| {
        let (create_revision, mod_revision, version, lease) = numbers;
        Event::Put(Stored {
            key: key.into(),
            value: value.into(),
            create_revision,
            mod_revision,
            version,
            lease,
        })
    });
    let delete = (bytes(), any::<i64>()).prop_map(|(key, at)| Event::Delete(key.into(), at));
    prop_oneof![put, delete]
}

fn change() -> impl Strategy<Value = Change> {
    let events = prop::collection::vec(event(), 0..4);
    let granted = (any::<i64>(), any::<i64>(), any::<i64>());
    let ended = (any::<i64>(), any::<i64>(), any::<i64>());
    prop_oneof![
        (any::<i64>(), events).prop_map(|(revision, events)| Change::Written {
            revision,
            events: events.into(),
        }),
        any::<i64>().prop_map(|revision| Change::Compacted { revision }),
        granted.prop_map(|(id, ttl, revision)| Change::Granted { id, ttl, revision }),
        ended.prop_map(|(id, ttl, revision)| Change::Ended { id, ttl, revision }),
        any::<bool>().prop_map(|raised| Change::Full { raised }),
    ]
}

fn encoded(changes: &[Change]) -> Vec<u8> {
    let mut out = Vec::new();
    for change in changes {
        encode(change, &mut out);
    }
    out
}

proptest! {
    #[test]
    fn changes_are_read_as_they_were_written(changes in prop::collection::vec(change(), 0..6)) {
        prop_assert_eq!(decode_all(&encoded(&changes)), Ok(changes));
    }

    #[test]
    fn a_change_that_is_cut_short_is_none(change in change(), at in any::<prop::sample::Index>()) {
        let bytes = encoded(&[change]);
        let kept = at.index(bytes.len());
        if kept > 0 {
            prop_assert!(decode_all(&bytes[..kept]).is_err());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(changes) = decode_all(&bytes) {
            prop_assert_eq!(decode_all(&encoded(&changes)), Ok(changes));
        }
    }
}

#[test]
fn the_bytes_of_a_change_stay_what_they_are() {
    let stored = Stored {
        key: b"k".to_vec().into(),
        value: b"v".to_vec().into(),
        create_revision: 2,
        mod_revision: 300,
        version: 4,
        lease: 5,
    };
    let events = [Event::Put(stored), Event::Delete(b"d".to_vec().into(), 300)];
    let changes = [
        Change::Written {
            revision: 300,
            events: events.into(),
        },
        Change::Compacted { revision: 7 },
        Change::Granted {
            id: 8,
            ttl: 9,
            revision: 10,
        },
        Change::Ended {
            id: -1,
            ttl: 11,
            revision: 12,
        },
        Change::Full { raised: true },
    ];
    let written: &[&[u8]] = &[
        &[1, 0xac, 2, 2],
        &[1, 1, b'k', 1, b'v', 2, 0xac, 2, 4, 5],
        &[2, 1, b'd', 0xac, 2],
        &[2, 7],
        &[3, 8, 9, 10],
        &[4, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 11, 12],
        &[5, 1],
    ];
    assert_eq!(encoded(&changes), written.concat());
}

/// Opens a journal in a real directory; gives what it plays back.
fn open(path: &Path) -> Result<(Opened, Vec<Change>), Error> {
    let disk = RealDisk::open(path).unwrap();
    let mut found = Vec::new();
    let mut replay = |change| {
        found.push(change);
        Ok(())
    };
    let opened = Journal::open(Arc::new(disk), Options::default(), || IDENTITY, &mut replay)?;
    Ok((opened, found))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_real_directory_keeps_everything_for_its_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("a/b");
    let (mut opened, found) = open(&path).unwrap();
    assert!(found.is_empty() && opened.report.is_clean());
    let mut all = vec![written(2, 10), written(3, 100_000)];
    opened.journal.append(&all).unwrap();
    opened.journal.snapshot(all.iter().cloned()).unwrap();
    all.push(written(4, 2_000_000));
    opened.journal.append(&all[2..]).unwrap();
    drop(opened);
    let (mut opened, found) = open(&path).unwrap();
    assert!(found == all && opened.report.is_clean());
    assert_eq!(opened.journal.identity(), IDENTITY);
    opened.journal.append(&[written(5, 1)]).unwrap();
    assert_eq!(mode(&path), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(mode(&entry.path()), 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    let segments = ["segment-000000000002", "segment-000000000003"];
    assert_eq!(
        names,
        [
            &["lock", "reserve"][..],
            &segments,
            &["snapshot-000000000002"]
        ]
        .concat()
    );
}

#[test]
fn a_torn_tail_of_a_real_file_is_reported_and_copied_aside() {
    let directory = tempfile::tempdir().unwrap();
    let (mut opened, _) = open(directory.path()).unwrap();
    let all = [written(2, 10), written(3, 10)];
    opened.journal.append(&all[..1]).unwrap();
    let size = opened.journal.size();
    opened.journal.append(&all[1..]).unwrap();
    drop(opened);
    let path = directory.path().join("segment-000000000001");
    let mut contents = fs::read(&path).unwrap();
    // As if the power had gone while the second group was written: its seal is not there, and its end is not either.
    let end = size as usize + 40;
    contents[end..].fill(0);
    fs::write(&path, &contents).unwrap();
    let (opened, found) = open(directory.path()).unwrap();
    assert!(found == all[..1]);
    let cut = opened.report.cut.expect("something was cut");
    // The seal of the first group, 20 bytes, is whole.
    assert_eq!((cut.offset, cut.bytes), (size + 20, 20));
    let copy = cut.saved_as.clone().unwrap();
    assert_eq!(fs::read(&copy).unwrap(), &contents[size as usize + 20..end]);
    assert_eq!(
        cut.to_string(),
        format!(
            "20 bytes of a write that was not acknowledged were cut off {} at byte {} (the checksum of a record is \
             wrong); a copy is {copy}",
            path.display(),
            size + 20
        )
    );
}

#[test]
fn a_second_process_is_told_who_has_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (first, _) = open(directory.path()).unwrap();
    let error = open(directory.path()).err().expect("it is locked");
    assert_eq!(
        error.to_string(),
        format!(
            "{} is in use by process {}: stop it, or choose another directory",
            directory.path().display(),
            std::process::id()
        )
    );
    assert!(error.is_retryable());
    drop(first);
    open(directory.path()).unwrap();
}

#[test]
fn changes_appended_while_a_snapshot_is_written_come_after_it() {
    let disk = FaultyDisk::new(1);
    let mut world = World::open(&disk, SMALL).unwrap();
    world.append(&[10]).unwrap();
    let (begun, then) = (
        world.journal.begin_snapshot().unwrap(),
        world.acknowledged.clone(),
    );
    world.append(&[20]).unwrap();
    let written = std::thread::spawn(move || begun.write(then.into_iter()));
    world.append(&[2000]).unwrap();
    let written = written.join().unwrap().unwrap();
    world.append(&[30]).unwrap();
    world.journal.finish_snapshot(&written).unwrap();
    world.append(&[40]).unwrap();
    assert!(disk.contents("segment-000000000001").is_none());
    disk.restart(Restart::PowerLostNothingKept);
    assert!(look(&disk).unwrap().0 == world.acknowledged);
}

#[test]
fn a_snapshot_of_another_moment_is_refused() {
    let disk = FaultyDisk::new(1);
    let mut world = World::open(&disk, SMALL).unwrap();
    world.append(&[10]).unwrap();
    world.append(&[10]).unwrap();
    let older = world.acknowledged[..1].to_vec();
    let refused = world.journal.snapshot(older.into_iter());
    assert!(matches!(
        refused,
        Err(Error::OutOfOrder { last: 3, found: 2 })
    ));
    world.append(&[10]).unwrap();
    disk.restart(Restart::PowerLostNothingKept);
    assert!(look(&disk).unwrap().0 == world.acknowledged);
}

#[test]
fn an_empty_journal_takes_the_snapshot_of_any_store() {
    let disk = FaultyDisk::new(1);
    let mut world = World::open(&disk, SMALL).unwrap();
    // History was forgotten: revisions have gaps.
    world.acknowledged = vec![
        written(40, 3),
        written(70, 3),
        Change::Compacted { revision: 70 },
        written(71, 5),
    ];
    world.snapshot().unwrap();
    assert_eq!(world.journal.revision(), 71);
    world.append(&[10]).unwrap();
    disk.restart(Restart::PowerLostNothingKept);
    assert!(look(&disk).unwrap().0 == world.acknowledged);
}

#[test]
fn a_revision_that_does_not_follow_is_refused_before_it_is_written() {
    let disk = FaultyDisk::new(1);
    let mut world = World::open(&disk, SMALL).unwrap();
    world.append(&[10]).unwrap();
    for revision in [2, 4] {
        let refused = world.journal.append(&[written(revision, 1)]);
        assert!(matches!(refused, Err(Error::OutOfOrder { last: 2, .. })));
    }
    world.append(&[10]).unwrap();
    drop(world.journal);
    assert!(look(&disk).unwrap().0 == world.acknowledged);
}

#[test]
fn a_snapshot_is_wanted_when_the_log_outgrows_it_or_has_many_segments() {
    let disk = FaultyDisk::new(1);
    let mut world = World::open(&disk, SMALL).unwrap();
    world.append(&[3000]).unwrap();
    assert!(!world.journal.wants_snapshot());
    world.append(&[6000]).unwrap();
    assert!(world.journal.wants_snapshot());
    world.snapshot().unwrap();
    let size = world.journal.size();
    assert!((9000..9500).contains(&size), "{size}");
    // As much as the snapshot has, though that is more than the least.
    world.append(&[6000]).unwrap();
    assert!(!world.journal.wants_snapshot());
    world.append(&[3000]).unwrap();
    assert!(world.journal.wants_snapshot());
    world.snapshot().unwrap();
    for _ in 0..32 {
        assert!(!world.journal.wants_snapshot());
        drop(world.journal);
        world = World::open(&disk, SMALL).unwrap();
        world.append(&[0]).unwrap();
    }
    assert!(world.journal.wants_snapshot());
}

#[test]
fn a_start_without_a_write_makes_no_segment() {
    let disk = FaultyDisk::new(1);
    for _ in 0..5 {
        drop(World::open(&disk, SMALL).unwrap());
    }
    use super::disk::Disk;
    assert_eq!(disk.list().unwrap(), ["segment-000000000001"]);
}
