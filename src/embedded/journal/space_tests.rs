//! A disk that is full, or fails, at every operation.

use super::faulty::{Fault, FaultyDisk, Restart};
use super::support_tests::{SMALL, World, look};
use super::{Error, Options};

const WITH_RESERVE: Options = Options {
    reserve: 4000,
    ..SMALL
};

/// Appends, and does it again where it did not succeed.
fn insist(world: &mut World, sizes: &[usize], context: &str) {
    let Err(error) = world.append(sizes) else {
        return;
    };
    if matches!(error, Error::Doubtful { .. }) {
        assert!(
            matches!(world.append(&[1]), Err(Error::Closed)),
            "{context}"
        );
        world.snapshot().unwrap();
    } else {
        assert!(error.is_retryable(), "{context}: {error}");
    }
    let again = world.append(sizes);
    again.unwrap_or_else(|again| panic!("{context}: {error}, then {again}"));
}

/// Lives through a fault at operation `operation`, and does again what did not succeed. True: the fault never came.
fn live_through(seed: u64, operation: u64, fault: Fault) -> bool {
    let disk = FaultyDisk::new(seed);
    disk.plan(operation, fault);
    let context = format!("seed {seed}, operation {operation}");
    let opened = World::open(&disk, SMALL).or_else(|_| World::open(&disk, SMALL));
    let mut world = opened.unwrap_or_else(|error| panic!("{context}: {error}"));
    for size in [10, 2000, 30, 700, 800, 20, 20, 1500, 10] {
        insist(&mut world, &[size, 5], &context);
        if world.journal.wants_snapshot() {
            if world.snapshot().is_err() {
                insist(&mut world, &[3], &context);
                world.snapshot().unwrap();
            }
            insist(&mut world, &[4], &context);
        }
    }
    let is_over = disk.operations() < operation;
    disk.restart(Restart::PowerLost);
    let (found, report) = look(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert!(found == world.acknowledged, "{context}");
    // The seal of the last group, torn.
    assert!(report.cut.is_none_or(|cut| cut.bytes <= 20), "{context}");
    is_over
}

#[test]
fn a_full_disk_at_any_operation_loses_nothing_and_writes_go_on() {
    for seed in 0..8 {
        let first = (1..).find(|operation| live_through(seed, *operation, Fault::NoSpace));
        assert!(first > Some(30), "{first:?}");
    }
}

#[test]
fn a_failing_device_at_any_operation_loses_nothing_and_writes_go_on() {
    for seed in 0..8 {
        let first = (1..).find(|operation| live_through(seed, *operation, Fault::Failure));
        assert!(first > Some(30), "{first:?}");
    }
}

#[test]
fn what_was_refused_for_want_of_space_never_appears() {
    for how in [
        Restart::Killed,
        Restart::PowerLostAllKept,
        Restart::PowerLost,
    ] {
        for operation in 1..60 {
            let disk = FaultyDisk::new(operation);
            let mut world = World::open(&disk, SMALL).unwrap();
            disk.plan(disk.operations() + operation, Fault::NoSpace);
            let refused =
                (0..20).any(|_| matches!(world.append(&[400]), Err(Error::NoSpace { .. })));
            disk.restart(how);
            let (found, _) = look(&disk).unwrap();
            if refused {
                assert!(
                    found == world.acknowledged,
                    "operation {operation}, {how:?}"
                );
            }
        }
    }
}

/// Fills the disk up to `limit` bytes.
fn fill(world: &mut World, disk: &FaultyDisk, limit: u64) -> Error {
    disk.limit(Some(limit));
    loop {
        if let Err(error) = world.append(&[90]) {
            return error;
        }
    }
}

#[test]
fn a_full_disk_reads_and_takes_writes_again_when_there_is_space() {
    for limit in (3000..9000).step_by(97) {
        let disk = FaultyDisk::new(limit);
        let mut world = World::open(&disk, SMALL).unwrap();
        world.append(&[10]).unwrap();
        let error = fill(&mut world, &disk, limit);
        assert!(matches!(error, Error::NoSpace { .. }), "{error}");
        assert!(
            disk.used() > limit - 700,
            "much is left: {} of {limit}",
            disk.used()
        );
        disk.restart(Restart::PowerLost);
        let mut world = World {
            acknowledged: world.acknowledged,
            ..World::open(&disk, SMALL).expect("a full disk reads")
        };
        assert!(look_again(&disk) == world.acknowledged);
        disk.limit(None);
        world.append(&[90]).unwrap();
        world.snapshot().unwrap();
        disk.restart(Restart::PowerLostNothingKept);
        assert!(look(&disk).unwrap().0 == world.acknowledged);
    }
}

/// What a second disk with the same files holds: the first is locked.
fn look_again(disk: &FaultyDisk) -> Vec<crate::embedded::change::Change> {
    use super::disk::Disk;
    let copy = FaultyDisk::new(0);
    for name in disk.list().unwrap() {
        copy.put(&name, disk.contents(&name).unwrap());
    }
    look(&copy).unwrap().0
}

#[test]
fn on_a_full_disk_the_reserve_takes_what_makes_room() {
    let disk = FaultyDisk::new(5);
    let mut world = World::open(&disk, WITH_RESERVE).unwrap();
    fill(&mut world, &disk, 12_000);
    let group = world.group(&[90]);
    assert!(matches!(
        world.journal.append(&group),
        Err(Error::NoSpace { .. })
    ));
    world.journal.append_from_reserve(&group).unwrap();
    world.acknowledged.extend(group);
    assert!(disk.contents("reserve").is_none());
    // The store has become small: its snapshot fits, and then there is a reserve again.
    let last = world.acknowledged.last().cloned();
    world.journal.snapshot(last.clone().into_iter()).unwrap();
    world.acknowledged = last.into_iter().collect();
    assert_eq!(
        disk.contents("reserve").map(|bytes| bytes.len()),
        Some(4000)
    );
    world.append(&[90]).unwrap();
    disk.restart(Restart::PowerLost);
    assert!(look(&disk).unwrap().0 == world.acknowledged);
}

#[test]
fn a_snapshot_may_use_the_reserve() {
    let disk = FaultyDisk::new(6);
    let mut world = World::open(&disk, WITH_RESERVE).unwrap();
    world.append(&[1000]).unwrap();
    disk.limit(Some(disk.used() + 100));
    world.snapshot().unwrap();
    world.append(&[10]).unwrap();
    disk.restart(Restart::PowerLost);
    assert!(look(&disk).unwrap().0 == world.acknowledged);
}

#[test]
fn a_snapshot_that_does_not_fit_changes_nothing() {
    let disk = FaultyDisk::new(6);
    let mut world = World::open(&disk, SMALL).unwrap();
    world.append(&[3000]).unwrap();
    disk.limit(Some(disk.used() + 1000));
    assert!(matches!(world.snapshot(), Err(Error::NoSpace { .. })));
    world.append(&[10]).unwrap();
    disk.restart(Restart::PowerLost);
    assert!(look(&disk).unwrap().0 == world.acknowledged);
}
