//! What goes wrong, and how often.

use crate::chance::Chance;
use skep::embedded::fault::Fault as StoreFault;
use skep::sim::Fault as EngineFault;
use skep::sim::Telling;
use skep::sim::line::Hearing;
use std::time::Duration;

/// Something that goes wrong. Of managers the first number is their place, of engines their node; the last one says for
/// how many seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A manager is killed; another starts after so long.
    Kill(u64, u64),
    /// A manager is stopped as a process and wakes.
    Pause(u64, u64),
    /// A manager's line to the store is cut.
    CutLine(u64, u64),
    /// What a manager sends to the store and hears from it is stuck on the way.
    Stall(u64, u64),
    /// What a manager sends to the store arrives, and nothing comes back.
    Deaf(u64, u64),
    /// What a manager sends to the store takes so many milliseconds.
    SlowLine(u64, u64, u64),
    /// A manager hears of changes late, twice, or in parts.
    Hear(u64, Hearing, u64),
    /// A manager's link to a node is cut.
    CutLink(u64, u64, u64),
    /// All of a manager's links are cut at once.
    CutUplink(u64, u64),
    /// A manager's line is cut, and the store forgets what it missed.
    Forget(u64, u64),
    /// What a manager sends to a node arrives, and nothing comes back.
    LoseAnswers(u64, u64, u64),
    /// A manager's wall clock goes wrong by so many seconds.
    Clock(u64, i64, u64),
    StoreDown(u64),
    /// Nothing can be put.
    StoreFull(u64),
    /// Transactions of more than so many operations are refused.
    StoreNarrow(u64, u64),
    CutWatches,
    Unknown(StoreFault),
    /// What was sent long ago commits.
    Late,
    Compact,
    /// A backup from so many revisions ago is restored.
    Rewind(u64),
    Wipe,
    EngineDown(u64, u64),
    /// Calls take so many milliseconds.
    Slow(u64, u64, u64),
    /// A start takes so many milliseconds.
    SlowStart(u64, u64, u64),
    Lie(u64, &'static str, EngineFault, u64),
    Exit(u64, u64),
    Lose(u64, u64),
    Events(u64),
    /// Its events come badly, or not at all.
    Tell(u64, Telling, u64),
    Reboot(u64),
    /// Whatever starts there ends at once.
    CrashLoop(u64, u64),
    /// It cannot start anything, and says so.
    RefuseStart(u64, u64),
    /// Nothing can be made or pulled.
    DiskFull(u64, u64),
    /// Images cannot be pulled.
    NoRegistry(u64, u64),
    /// A pull takes so many milliseconds.
    SlowPull(u64, u64, u64),
    /// Whatever has a health check is unhealthy.
    Sick(u64, u64),
    /// A node's wall clock goes wrong by so many seconds.
    NodeClock(u64, i64, u64),
    /// Another machine answers at its address.
    Swap(u64, u64),
}

const CALLS: [&str; 6] = ["create", "start", "stop", "remove", "inspect", "list"];

/// One of the troubles that a scenario knows; none: it knows none.
pub(crate) fn draw(
    chance: &mut Chance,
    nodes: u64,
    managers: u64,
    scenario: &str,
) -> Option<Trouble> {
    match scenario {
        "managers" => Some(of_managers(chance, nodes, managers)),
        "store" => Some(of_store(chance)),
        "engines" => Some(of_engines(chance, nodes)),
        "all" | "networks" => Some(any(chance, nodes, managers)),
        "rough" => Some(match chance.between(0, 3) {
            0 => any(chance, nodes, managers),
            1 => rough_managers(chance, nodes, managers),
            _ => rough_engines(chance, nodes),
        }),
        "wide" => Some(match chance.one_in(4) {
            true => wide(chance, nodes, managers),
            false => any(chance, nodes, managers),
        }),
        "losses" => Some(match chance.between(0, 8) {
            0 => lost(chance),
            1 => Trouble::StoreNarrow(chance.between(2, 12), chance.between(5, 40)),
            2 => {
                let node = chance.between(1, nodes + 1);
                Trouble::SlowStart(node, chance.between(500, 9_000), chance.between(5, 60))
            }
            _ => any(chance, nodes, managers),
        }),
        _ => None,
    }
}

/// The store is wiped, or an older backup of it is restored.
pub(crate) fn lost(chance: &mut Chance) -> Trouble {
    match chance.one_in(3) {
        true => Trouble::Wipe,
        false => Trouble::Rewind(chance.between(1, 120)),
    }
}

/// What the rules ask for that nothing else brings about.
fn wide(chance: &mut Chance, nodes: u64, managers: u64) -> Trouble {
    let manager = chance.between(0, managers);
    match chance.between(0, 5) {
        0 => Trouble::CutUplink(manager, chance.between(15, 60)),
        1 => Trouble::Forget(manager, chance.between(2, 30)),
        2 | 3 => {
            let lag = Duration::from_millis(chance.between(20, 2_000));
            let hearing = Hearing {
                lag,
                ..Hearing::default()
            };
            Trouble::Hear(manager, hearing, chance.between(5, 60))
        }
        _ => Trouble::Swap(chance.between(1, nodes + 1), chance.between(2, 40)),
    }
}

fn any(chance: &mut Chance, nodes: u64, managers: u64) -> Trouble {
    match chance.between(0, 3) {
        0 => of_managers(chance, nodes, managers),
        1 => of_store(chance),
        _ => of_engines(chance, nodes),
    }
}

fn of_managers(chance: &mut Chance, nodes: u64, managers: u64) -> Trouble {
    let manager = chance.between(0, managers);
    match chance.between(0, 4) {
        0 => Trouble::Kill(manager, *chance.pick(&[0, 1, 8, 40])),
        1 => Trouble::Pause(manager, chance.between(1, 30)),
        2 => Trouble::CutLine(manager, chance.between(1, 30)),
        _ => Trouble::CutLink(manager, chance.between(1, nodes + 1), chance.between(1, 60)),
    }
}

fn of_store(chance: &mut Chance) -> Trouble {
    match chance.between(0, 8) {
        0 => Trouble::StoreDown(chance.between(1, 40)),
        1 | 2 => Trouble::CutWatches,
        3 => Trouble::Compact,
        4 => Trouble::Late,
        _ => Trouble::Unknown(*chance.pick(&[
            StoreFault::Committed,
            StoreFault::Lost,
            StoreFault::Late,
        ])),
    }
}

fn of_engines(chance: &mut Chance, nodes: u64) -> Trouble {
    let node = chance.between(1, nodes + 1);
    match chance.between(0, 10) {
        0 => Trouble::EngineDown(node, chance.between(1, 90)),
        1 => Trouble::Slow(node, chance.between(200, 3_000), chance.between(1, 30)),
        2 => Trouble::Exit(node, chance.between(0, 8)),
        3 => Trouble::Lose(node, chance.between(0, 8)),
        4 => Trouble::Events(node),
        5 => Trouble::Tell(node, Telling::Nothing, chance.between(1, 40)),
        6 => Trouble::Reboot(node),
        _ => lie(chance, node),
    }
}

fn lie(chance: &mut Chance, node: u64) -> Trouble {
    let times = chance.between(1, 4);
    let fault = match chance.between(0, 7) {
        0 => EngineFault::TimeoutBefore,
        1 => EngineFault::TimeoutAfter,
        2 => EngineFault::BrokenAfter,
        3 => EngineFault::Unreachable,
        4 => refusal(500, "simulated: something went wrong"),
        5 => {
            let conflict = refusal(409, "simulated: the name is in use");
            return Trouble::Lie(node, "create", conflict, 1);
        }
        _ => return Trouble::Lie(node, "list", EngineFault::HideNewest, times),
    };
    let call: &'static str = CALLS[usize::try_from(chance.between(0, 6)).unwrap_or(0)];
    Trouble::Lie(node, call, fault, times)
}

fn refusal(status: u16, message: &str) -> EngineFault {
    EngineFault::Refuse {
        status,
        message: message.into(),
    }
}

/// Lines that are stuck, one way or late, a store that is full, and clocks that are set.
fn rough_managers(chance: &mut Chance, nodes: u64, managers: u64) -> Trouble {
    let manager = chance.between(0, managers);
    let seconds = chance.between(1, 40);
    match chance.between(0, 8) {
        0 => Trouble::Stall(manager, seconds),
        1 => Trouble::Deaf(manager, seconds),
        2 => Trouble::SlowLine(manager, chance.between(50, 2_500), seconds),
        3 | 4 => Trouble::Hear(manager, hearing(chance), seconds),
        5 => Trouble::LoseAnswers(manager, chance.between(1, nodes + 1), seconds),
        6 => Trouble::StoreFull(seconds),
        _ => Trouble::Clock(manager, off(chance), seconds),
    }
}

fn hearing(chance: &mut Chance) -> Hearing {
    Hearing {
        lag: Duration::from_millis(*chance.pick(&[0, 200, 3_000, 20_000])),
        twice: chance.one_in(2),
        split: chance.one_in(2),
    }
}

/// By how many seconds a clock goes wrong: a step, an hour (summer time set by hand), a battery that died.
fn off(chance: &mut Chance) -> i64 {
    *chance.pick(&[5, -5, 3_600, -3_600, 86_400 * 400, -86_400 * 400])
}

/// Disks, registries, programs and their health, and events that come badly.
fn rough_engines(chance: &mut Chance, nodes: u64) -> Trouble {
    let node = chance.between(1, nodes + 1);
    let seconds = chance.between(1, 60);
    match chance.between(0, 9) {
        0 => Trouble::CrashLoop(node, seconds),
        1 => Trouble::RefuseStart(node, seconds),
        2 => Trouble::DiskFull(node, seconds),
        3 => Trouble::NoRegistry(node, seconds),
        4 => Trouble::SlowPull(node, chance.between(500, 30_000), seconds),
        5 => Trouble::Sick(node, seconds),
        6 => Trouble::NodeClock(node, off(chance), seconds),
        7 => {
            let call = *chance.pick(&["start", "stop", "remove"]);
            let gone = refusal(404, "simulated: no such container");
            Trouble::Lie(node, call, gone, 1)
        }
        _ => {
            let telling = [Telling::Twice, Telling::Swapped, Telling::EverySecond];
            Trouble::Tell(node, *chance.pick(&telling), seconds)
        }
    }
}
