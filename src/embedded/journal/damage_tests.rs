//! What was acknowledged and is damaged is an error, never a smaller store.

use super::faulty::{Fault, FaultyDisk, Restart};
use super::frame::HEADER;
use super::support_tests::{IDENTITY, SMALL, World, look};
use super::{Error, Identity, Journal, Options};
use crate::embedded::change::Change;
use std::sync::Arc;

const SALVAGE: Options = Options {
    salvage: true,
    ..SMALL
};

/// The offset at which the segment or snapshot holds nothing more that counts.
fn end_of_content(contents: &[u8]) -> usize {
    contents
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1)
}

/// A disk with a snapshot and three segments, and what it holds.
fn some_disk() -> (FaultyDisk, Vec<Change>) {
    let disk = FaultyDisk::new(7);
    let mut world = World::open(&disk, SMALL).unwrap();
    world.append(&[20, 30]).unwrap();
    world.snapshot().unwrap();
    for size in [10, 900, 700, 40, 20, 60, 800, 800, 5, 6] {
        world.append(&[size]).unwrap();
    }
    disk.restart(Restart::Killed);
    assert_eq!(
        files(&disk),
        [
            "segment-000000000002",
            "segment-000000000003",
            "segment-000000000004",
            "snapshot-000000000002"
        ]
    );
    (disk, world.acknowledged)
}

fn files(disk: &FaultyDisk) -> Vec<String> {
    use super::disk::Disk;
    disk.list().unwrap()
}

/// A disk of its own with the same files.
fn copy_of(disk: &FaultyDisk) -> FaultyDisk {
    let copy = FaultyDisk::new(1);
    for name in files(disk) {
        copy.put(&name, disk.contents(&name).unwrap());
    }
    copy
}

fn with(disk: &FaultyDisk, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> FaultyDisk {
    let copy = copy_of(disk);
    let mut contents = disk.contents(name).unwrap();
    change(&mut contents);
    copy.put(name, contents);
    copy
}

fn without(disk: &FaultyDisk, name: &str) -> FaultyDisk {
    use super::disk::Disk;
    let copy = copy_of(disk);
    copy.remove(name).unwrap();
    copy
}

#[test]
fn any_byte_that_is_changed_is_noticed() {
    let (disk, all) = some_disk();
    let names = files(&disk);
    let last = "segment-000000000004";
    for name in &names {
        let contents = disk.contents(name).unwrap();
        let end = end_of_content(&contents);
        for at in 0..contents.len() {
            let mask = 1 << (at % 8);
            let damaged = with(&disk, name, |contents| contents[at] ^= mask);
            // The 20 bytes of a seal that was not synced, and the zeros after it.
            let is_behind = at >= end - 20 && name.starts_with("segment");
            match look(&damaged) {
                Err(Error::Corrupt { file, offset, .. }) => {
                    assert!(file.ends_with(name) || at < HEADER, "{file} for {name}");
                    assert!(offset <= at as u64, "{name} at {at}: {offset}");
                }
                Err(Error::Newer { .. }) => assert!((8..12).contains(&at), "{name} at {at}"),
                Err(error) => panic!("{name} at {at}: {error}"),
                Ok((found, report)) => {
                    assert!(is_behind, "{name} at {at} was not noticed");
                    assert!(found == all, "{name} at {at}");
                    // In an earlier segment nothing stands there that anyone wrote for good.
                    assert_eq!(report.is_clean(), name != last, "{name} at {at}");
                }
            }
        }
    }
}

#[test]
fn the_error_says_where_and_what_to_do() {
    let (disk, _) = some_disk();
    let damaged = with(&disk, "segment-000000000003", |contents| {
        contents[HEADER + 30] ^= 1
    });
    let error = look(&damaged).unwrap_err();
    assert_eq!(
        error.to_string(),
        "memory/segment-000000000003 is damaged at byte 72: the checksum of a record is wrong. Changes that were \
         acknowledged are lost: restore a backup, or open it once with --salvage, which keeps what stands before the damage \
         and sets the rest aside"
    );
    assert!(!error.is_retryable());
}

#[test]
fn a_file_that_is_gone_or_cut_short_is_noticed() {
    let (disk, all) = some_disk();
    for name in files(&disk) {
        let length = disk.contents(&name).unwrap().len();
        let end = end_of_content(&disk.contents(&name).unwrap());
        for kept in (0..length).step_by(3) {
            let cut = with(&disk, &name, |contents| contents.truncate(kept));
            match look(&cut) {
                Err(Error::Corrupt { .. }) => {}
                Err(error) => panic!("{name} cut at {kept}: {error}"),
                // A copy that lacks the end of the last segment cannot be told from a crash, but is never taken in silence
                // unless it ends between two writes.
                Ok((found, report)) if name == "segment-000000000004" => {
                    assert!(all.starts_with(&found));
                    let is_whole = found == all;
                    let context =
                        format!("cut at {kept} of {end}: {} of {}", found.len(), all.len());
                    assert!(
                        is_whole || !report.is_clean() || ends_between(&disk, kept),
                        "{context}"
                    );
                }
                Ok((found, _)) => assert!(found == all && kept >= end - 20, "{name} cut at {kept}"),
            }
        }
        if name != "segment-000000000004" {
            assert!(
                matches!(look(&without(&disk, &name)), Err(Error::Corrupt { .. })),
                "{name}"
            );
        }
    }
}

#[test]
fn a_journal_that_is_gone_as_a_whole_is_not_begun_anew_in_silence() {
    let options = Options {
        reserve: 10,
        ..SMALL
    };
    let disk = FaultyDisk::new(4);
    drop(World::open(&disk, options).unwrap());
    let name = "segment-000000000001";
    for gone in [
        without(&disk, name),
        with(&disk, name, |contents| contents.clear()),
        with(&disk, name, |contents| contents.fill(0)),
    ] {
        let error = World::open(&gone, options).err().unwrap();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
    // A crash in the midst of the first start leaves no more than this.
    assert!(look(&FaultyDisk::new(5)).is_ok());
}

/// Whether a frame of the last segment, or its header, ends at `offset`.
fn ends_between(disk: &FaultyDisk, offset: usize) -> bool {
    let name = "segment-000000000004";
    let id = super::names::parse(name).unwrap();
    let file = super::disk::Disk::open(disk, name).unwrap();
    let mut frames = super::read::Frames::new(&*file, id).unwrap();
    while frames.at() < offset as u64 {
        assert!(matches!(
            frames.next().unwrap(),
            super::read::Next::Frame { .. }
        ));
    }
    offset == 0 || frames.at() == offset as u64
}

#[test]
fn a_file_in_anothers_place_is_noticed() {
    let (disk, _) = some_disk();
    let third = disk.contents("segment-000000000003").unwrap();
    let swapped = with(&disk, "segment-000000000002", |contents| *contents = third);
    assert!(matches!(look(&swapped), Err(Error::Corrupt { .. })));

    let other = FaultyDisk::new(3);
    let identity = || Identity {
        cluster: 9,
        ..IDENTITY
    };
    let opened = Journal::open(Arc::new(other.clone()), SMALL, identity, &mut |_| Ok(()));
    let mut journal = opened.unwrap().journal;
    for _ in 0..3 {
        drop(journal.begin_snapshot().unwrap());
        journal.append(&[Change::Full { raised: true }]).unwrap();
    }
    let foreign = other.contents("segment-000000000003").unwrap();
    let mixed = with(&disk, "segment-000000000003", |contents| {
        *contents = foreign
    });
    assert!(matches!(look(&mixed), Err(Error::Foreign { .. })));
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let (disk, _) = some_disk();
    let newer = with(&disk, "segment-000000000004", |contents| contents[8] = 2);
    let error = look(&newer).unwrap_err();
    assert_eq!(
        error.to_string(),
        "memory/segment-000000000004 has format 2 and this version reads up to 1: use the version that wrote it, or a \
         newer one"
    );
}

#[test]
fn what_the_store_refuses_stops_the_start() {
    let (disk, _) = some_disk();
    let mut left = 5;
    let mut replay = |_| {
        left -= 1;
        if left == 0 {
            Err("no such lease".into())
        } else {
            Ok(())
        }
    };
    let opened = Journal::open(Arc::new(disk), SMALL, || IDENTITY, &mut replay);
    assert!(matches!(opened.err(), Some(Error::Refused { .. })));
}

#[test]
fn a_journal_inside_of_a_value_is_not_taken_for_records() {
    let (inner, _) = some_disk();
    let text = inner.contents("segment-000000000004").unwrap();
    for seed in 0..20 {
        let disk = FaultyDisk::new(seed);
        let mut world = World::open(&disk, SMALL).unwrap();
        world.append(&[1]).unwrap();
        disk.plan(disk.operations() + 2, Fault::Stop);
        let mut group = world.group(&[1]);
        let Change::Written { events, .. } = &mut group[0] else {
            panic!("a write");
        };
        let mut event = events[0].clone();
        if let crate::embedded::request::Event::Put(stored) = &mut event {
            stored.value = text.repeat(3).into();
        }
        *events = [event].into();
        assert!(world.journal.append(&group).is_err());
        disk.restart(Restart::PowerLost);
        let (found, _) = look(&disk).unwrap();
        assert!(found.starts_with(&world.acknowledged));
    }
}

#[test]
fn salvage_keeps_what_stands_before_and_sets_the_rest_aside() {
    let (disk, all) = some_disk();
    for name in files(&disk) {
        let contents = disk.contents(&name).unwrap();
        for at in (HEADER..end_of_content(&contents) - 20).step_by(7) {
            let damaged = with(&disk, &name, |contents| contents[at] ^= 0x40);
            let broken = damaged.contents(&name).unwrap();
            let mut world = World::open(&damaged, SALVAGE).unwrap();
            let salvaged = world.report.salvaged.clone().expect("it was damaged");
            assert!(salvaged.file.ends_with(&name));
            assert!(all.starts_with(&world.acknowledged), "{name} at {at}");
            assert!(world.acknowledged.len() < all.len());
            assert!(salvaged.set_aside.iter().any(|copy| {
                damaged
                    .contents(copy.trim_start_matches("memory/"))
                    .unwrap()
                    == broken
            }));
            let next = world.next_revision();
            world.append(&[5]).unwrap();
            world.snapshot().unwrap();
            world.append(&[6]).unwrap();
            damaged.restart(Restart::PowerLostNothingKept);
            let (found, report) = look(&damaged).unwrap();
            assert!(found == world.acknowledged, "{name} at {at} from {next}");
            assert!(report.is_clean());
        }
    }
}

#[test]
fn salvage_of_a_missing_file_or_a_header_keeps_what_stands_before() {
    let (disk, all) = some_disk();
    for damaged in [
        without(&disk, "segment-000000000003"),
        with(&disk, "segment-000000000003", |contents| contents[20] ^= 1),
        without(&disk, "segment-000000000002"),
    ] {
        let mut world = World::open(&damaged, SALVAGE).unwrap();
        assert!(!world.report.is_clean());
        assert!(all.starts_with(&world.acknowledged) && !world.acknowledged.is_empty());
        world.append(&[5]).unwrap();
        damaged.restart(Restart::PowerLostNothingKept);
        assert!(look(&damaged).unwrap().0 == world.acknowledged);
    }
    let nothing_before = with(&disk, "snapshot-000000000002", |contents| contents[20] ^= 1);
    assert!(matches!(
        World::open(&nothing_before, SALVAGE).err(),
        Some(Error::Corrupt { .. })
    ));
}
