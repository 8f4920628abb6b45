//! Power is lost, or the process killed, at every operation on the disk.

use super::faulty::{Fault, FaultyDisk, Restart};
use super::support_tests::{SMALL, World, look};
use super::{Error, Options};
use crate::embedded::change::Change;
use proptest::prelude::*;

const RESTARTS: [Restart; 4] = [
    Restart::Killed,
    Restart::PowerLostNothingKept,
    Restart::PowerLostAllKept,
    Restart::PowerLost,
];

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<usize>),
    Snapshot,
    /// The process ends in order and starts again.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![4 => 0..200usize, 1 => 600..2500usize];
    prop_oneof![
        6 => prop::collection::vec(size, 1..4).prop_map(Step::Append),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Reopen),
    ]
}

/// What a life has left behind when it was ended.
#[derive(Default)]
struct Left {
    acknowledged: Vec<Change>,
    /// The group that was under way.
    pending: Vec<Change>,
    /// Whether everything was done.
    is_done: bool,
}

/// Lives until the steps are done or the disk stops.
fn live(disk: &FaultyDisk, steps: &[Step], options: Options) -> Left {
    let mut left = Left::default();
    let Ok(mut world) = World::open(disk, options) else {
        return left;
    };
    for step in steps {
        left.acknowledged.clone_from(&world.acknowledged);
        left.pending.clear();
        let done = match step {
            Step::Append(sizes) => {
                left.pending = world.group(sizes);
                world.append(sizes)
            }
            Step::Snapshot => world.snapshot(),
            Step::Reopen => {
                drop(world);
                match World::open(disk, options) {
                    Ok(again) => {
                        world = again;
                        assert!(world.acknowledged == left.acknowledged);
                        assert!(world.report.is_clean(), "{:?}", world.report);
                        Ok(())
                    }
                    Err(_) => return left,
                }
            }
        };
        if done.is_err() {
            return left;
        }
    }
    left.acknowledged.clone_from(&world.acknowledged);
    left.pending.clear();
    left.is_done = true;
    left
}

/// Everything acknowledged is there, in order; of the rest all of one group or nothing; the report says what was cut.
fn check(disk: &FaultyDisk, left: &Left, context: &str) -> Vec<Change> {
    let (found, report) = look(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    let with_pending = [&left.acknowledged[..], &left.pending[..]].concat();
    assert!(
        found == left.acknowledged || found == with_pending,
        "{context}: {} acknowledged, {} pending, {} found",
        left.acknowledged.len(),
        left.pending.len(),
        found.len()
    );
    assert!(report.salvaged.is_none(), "{context}");
    if let Some(cut) = report.cut {
        let file = disk.contents(&cut.file.replace("memory/", "")).unwrap();
        let tail = &file[cut.offset as usize..][..cut.bytes as usize];
        let copy = cut.saved_as.expect("there is space").replace("memory/", "");
        assert_eq!(disk.contents(&copy).unwrap(), tail, "{context}");
        assert!(
            file[(cut.offset + cut.bytes) as usize..]
                .iter()
                .all(|byte| *byte == 0)
        );
        // Nothing but the write under way, or the seal of the last one, can be torn.
        assert!(cut.bytes > 0, "{context}");
    }
    found
}

/// Ends the life at operation `operation`, restarts as `how`, and looks; then loses power once more, and goes on.
fn end_at(seed: u64, steps: &[Step], operation: u64, how: Restart) -> bool {
    let disk = FaultyDisk::new(seed);
    disk.plan(operation, Fault::Stop);
    let left = live(&disk, steps, SMALL);
    disk.restart(how);
    let context = format!("operation {operation}, {how:?}");
    let found = check(&disk, &left, &context);
    // What was shown once stays, also when nothing more was written and the power goes at once.
    disk.restart(Restart::PowerLostNothingKept);
    let (again, _) = look(&disk).unwrap_or_else(|error| panic!("{context}, again: {error}"));
    assert!(again == found, "{context}");
    go_on(&disk, &context);
    left.is_done
}

/// The journal takes changes and snapshots as if nothing had happened.
fn go_on(disk: &FaultyDisk, context: &str) {
    let mut world = World::open(disk, SMALL).unwrap();
    world.append(&[10]).unwrap();
    world.append(&[900, 20]).unwrap();
    disk.restart(Restart::PowerLostNothingKept);
    let (found, report) = look(disk).unwrap();
    assert!(found == world.acknowledged, "{context}");
    assert!(report.is_clean(), "{context}: {report:?}");
    let mut world = World::open(disk, SMALL).unwrap();
    world.snapshot().unwrap();
    world.append(&[30]).unwrap();
    disk.restart(Restart::PowerLostNothingKept);
    let (found, _) = look(disk).unwrap();
    assert!(found == world.acknowledged, "{context}");
}

/// Ends a life at each of its operations in each way.
fn end_everywhere(seed: u64, steps: &[Step]) {
    for how in RESTARTS {
        let mut operation = 1;
        while !end_at(seed.wrapping_add(operation), steps, operation, how) {
            operation += 1;
        }
    }
}

fn busy() -> Vec<Step> {
    vec![
        Step::Append(vec![10]),
        Step::Append(vec![100, 2000, 0]),
        Step::Append(vec![10, 10]),
        Step::Reopen,
        Step::Append(vec![1600]),
        Step::Append(vec![30]),
        Step::Snapshot,
        Step::Append(vec![40]),
        Step::Snapshot,
        Step::Snapshot,
        Step::Reopen,
        Step::Append(vec![600, 600]),
        Step::Append(vec![50]),
    ]
}

#[test]
fn a_busy_life_may_end_at_every_operation() {
    for seed in 0..2 {
        end_everywhere(seed * 1000, &busy());
    }
}

#[test]
fn the_start_after_an_end_may_be_ended_too() {
    for how in RESTARTS {
        for operation in (1..60).step_by(7) {
            for second in 1.. {
                let seed = operation * 100 + second;
                let disk = FaultyDisk::new(seed);
                disk.plan(operation, Fault::Stop);
                let left = live(&disk, &busy(), SMALL);
                disk.restart(how);
                let before = disk.operations();
                disk.plan(before + second, Fault::Stop);
                let is_done = live(&disk, &[], SMALL).is_done;
                disk.restart(Restart::PowerLost);
                check(
                    &disk,
                    &left,
                    &format!("{how:?} at {operation}, then at {second}"),
                );
                if is_done {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_sync_that_fails_leaves_open_what_is_there_and_nothing_else() {
    for seed in 0..10 {
        for operation in 1..60 {
            let disk = FaultyDisk::new(seed);
            disk.plan(operation, Fault::Failure);
            let left = live(&disk, &busy(), SMALL);
            // Killed first: what could not be synced can still be read, and may be shown by the next life.
            disk.restart(Restart::Killed);
            let context = format!("seed {seed}, failure at {operation}");
            let found = check(&disk, &left, &context);
            disk.restart(Restart::PowerLostNothingKept);
            let (again, _) = look(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(again == found, "{context}");
        }
    }
}

#[test]
fn a_failed_disk_takes_nothing_until_a_snapshot_and_then_the_doubtful_group_is_gone() {
    for seed in 0..50 {
        let disk = FaultyDisk::new(seed);
        let mut world = World::open(&disk, SMALL).unwrap();
        world.append(&[10]).unwrap();
        // The write, then its sync.
        disk.plan(disk.operations() + 2, Fault::Failure);
        assert!(matches!(world.append(&[700]), Err(Error::Doubtful { .. })));
        assert!(matches!(world.append(&[20]), Err(Error::Closed)));
        assert!(world.journal.is_closed());
        world.snapshot().unwrap();
        world.append(&[30]).unwrap();
        for how in [Restart::Killed, Restart::PowerLost] {
            disk.restart(how);
            let (found, report) = look(&disk).unwrap();
            assert!(found == world.acknowledged);
            assert!(report.is_clean());
        }
    }
}

#[test]
fn a_doubtful_group_is_gone_as_soon_as_the_journal_goes_on_elsewhere() {
    for seed in 0..50 {
        let disk = FaultyDisk::new(seed);
        let mut world = World::open(&disk, SMALL).unwrap();
        world.append(&[10]).unwrap();
        disk.plan(disk.operations() + 2, Fault::Failure);
        assert!(world.append(&[20]).is_err());
        // A snapshot that never becomes whole: its segment is there all the same.
        drop(world.journal.begin_snapshot().unwrap());
        disk.restart(Restart::PowerLost);
        assert_eq!(look(&disk).unwrap().0, world.acknowledged);
    }
}

#[test]
fn a_snapshot_begun_before_a_failure_does_not_open_a_closed_journal() {
    let disk = FaultyDisk::new(1);
    let mut world = World::open(&disk, SMALL).unwrap();
    world.append(&[10]).unwrap();
    let begun = world.journal.begin_snapshot().unwrap();
    let written = begun.write(world.acknowledged.clone().into_iter()).unwrap();
    disk.plan(disk.operations() + 2, Fault::Failure);
    assert!(world.append(&[20]).is_err());
    world.journal.finish_snapshot(&written).unwrap();
    assert!(matches!(world.append(&[20]), Err(Error::Closed)));
    world.snapshot().unwrap();
    world.append(&[20]).unwrap();
    disk.restart(Restart::PowerLost);
    assert_eq!(look(&disk).unwrap().0, world.acknowledged);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_life_may_end_at_every_operation(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..12),
    ) {
        end_everywhere(seed, &steps);
    }
}
