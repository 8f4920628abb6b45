//! What a seed stands for: a fleet, what users do to it, and what goes wrong, each at its time.

use crate::chance::Chance;
use skep::embedded::fault::Fault as StoreFault;
use skep::sim::Fault as EngineFault;
use std::fmt;

/// How a service is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) is_global: bool,
    pub(crate) replicas: u64,
    pub(crate) stop_first: bool,
    pub(crate) parallelism: u64,
    pub(crate) monitor: u64,
    pub(crate) waits: bool,
    pub(crate) version: u64,
}

impl Spec {
    /// The manifest's text.
    pub(crate) fn text(&self) -> String {
        let size = match self.is_global {
            true => "mode: global".into(),
            false => format!("replicas: {}", self.replicas),
        };
        let order = if self.stop_first {
            "stop-first"
        } else {
            "start-first"
        };
        let lost = if self.waits { "wait" } else { "replace" };
        format!(
            "{{{size}, update: {{parallelism: {}, order: {order}, monitor: {}s}}, template: {{onNodeLost: {lost}, container: {{image: \"app:1\", env: {{V: v{}}}}}}}}}",
            self.parallelism, self.monitor, self.version
        )
    }
}

/// Something that a user does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Put(String, Spec),
    BadPut(String),
    Delete(String),
    Recreate(String, Spec),
    AddNode(u64),
    RemoveNode(u64),
    Drain(u64),
    Activate(u64),
    /// Somebody makes a container from an image that carries our labels.
    Impostor(u64),
}

/// Something that goes wrong; seconds say for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A manager is killed; another starts after so long.
    Kill(u64, u64),
    /// A manager is stopped as a process and wakes.
    Pause(u64, u64),
    /// A manager's line to the store is cut.
    CutLine(u64, u64),
    /// A manager's link to a node is cut.
    CutLink(u64, u64, u64),
    StoreDown(u64),
    CutWatches,
    Unknown(StoreFault),
    /// What was sent long ago commits.
    Late,
    Compact,
    /// A backup from so many revisions ago is restored.
    Rewind(u64),
    Wipe,
    EngineDown(u64, u64),
    /// Calls take so many milliseconds, for so many seconds.
    Slow(u64, u64, u64),
    Lie(u64, &'static str, EngineFault, u64),
    Exit(u64, u64),
    Lose(u64, u64),
    Events(u64),
    Mute(u64, u64),
    Reboot(u64),
}

/// One thing at its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Act(Act),
    Trouble(Trouble),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Act(Act::Put(name, spec)) => write!(f, "puts {name}: {}", spec.text()),
            Self::Act(Act::Recreate(name, spec)) => {
                write!(f, "deletes {name} and puts it anew: {}", spec.text())
            }
            Self::Act(act) => write!(f, "{act:?}"),
            Self::Trouble(trouble) => write!(f, "{trouble:?}"),
        }
    }
}

/// A whole run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: u64,
    pub(crate) managers: u64,
    /// The latency of every engine call, in milliseconds.
    pub(crate) latency: u64,
    /// Milliseconds since the begin, and what happens then.
    pub(crate) steps: Vec<(u64, Step)>,
}

/// Which troubles a run knows.
pub(crate) const SCENARIOS: [&str; 6] = ["all", "calm", "managers", "store", "engines", "disaster"];

const NAMES: [&str; 4] = ["web", "web2", "api", "agent"];
const CALLS: [&str; 6] = ["create", "start", "stop", "remove", "inspect", "list"];

impl Plan {
    /// What the seed stands for.
    pub(crate) fn draw(seed: u64, scenario: &str) -> Self {
        let mut chance = Chance::new(seed);
        let nodes = chance.between(1, 7);
        let managers = chance.between(1, 4);
        let latency = *chance.pick(&[0, 5, 40, 300]);
        let mut plan = Self {
            seed,
            nodes,
            managers,
            latency,
            steps: Vec::new(),
        };
        let mut versions = 0;
        let services = chance.between(1, 4);
        for name in NAMES.iter().take(usize::try_from(services).unwrap_or(1)) {
            let spec = spec(&mut chance, name, &mut versions);
            let at = chance.between(0, 3_000);
            plan.add(at, Step::Act(Act::Put((*name).into(), spec)));
        }
        let mut at = 5_000;
        for _ in 0..chance.between(4, 20) {
            at += *chance.pick(&[10, 100, 900, 5_000, 20_000]);
            at += chance.between(0, 500);
            let is_act = scenario == "calm" || chance.one_in(3);
            let step = match is_act {
                true => Step::Act(act(&mut chance, nodes, services, &mut versions)),
                false => match trouble(&mut chance, nodes, managers, scenario) {
                    Some(trouble) => Step::Trouble(trouble),
                    None => continue,
                },
            };
            plan.add(at, step);
        }
        plan.add_disaster(&mut chance, scenario, at);
        plan.steps.sort_by_key(|(at, _)| *at);
        plan
    }

    fn add(&mut self, at: u64, step: Step) {
        self.steps.push((at, step));
    }

    /// The store is lost or set back: once, in peace, as other troubles of managers would make it a new cluster.
    fn add_disaster(&mut self, chance: &mut Chance, scenario: &str, end: u64) {
        if scenario != "disaster" && !(scenario == "all" && chance.one_in(6)) {
            return;
        }
        let disaster = match chance.one_in(3) {
            true => Trouble::Wipe,
            false => Trouble::Rewind(chance.between(1, 120)),
        };
        self.add(end + 90_000, Step::Trouble(disaster));
    }

    pub(crate) fn faults(&self) -> usize {
        let is_trouble = |(_, step): &&(u64, Step)| matches!(step, Step::Trouble(_));
        self.steps.iter().filter(is_trouble).count()
    }

    pub(crate) fn has_disaster(&self) -> bool {
        self.steps.iter().any(|(_, step)| {
            matches!(
                step,
                Step::Trouble(Trouble::Wipe) | Step::Trouble(Trouble::Rewind(_))
            )
        })
    }
}

fn spec(chance: &mut Chance, name: &str, versions: &mut u64) -> Spec {
    *versions += 1;
    Spec {
        is_global: name == "agent",
        replicas: chance.between(0, 7),
        stop_first: chance.one_in(2),
        parallelism: chance.between(0, 3),
        monitor: *chance.pick(&[0, 0, 2]),
        waits: chance.one_in(4),
        version: *versions,
    }
}

fn act(chance: &mut Chance, nodes: u64, services: u64, versions: &mut u64) -> Act {
    let name = NAMES[usize::try_from(chance.between(0, services)).unwrap_or(0)];
    // Node n1 stays, so that there is always a place.
    let node = chance.between(2, nodes + 2);
    match chance.between(0, 11) {
        0..=4 => Act::Put(name.into(), spec(chance, name, versions)),
        5 => Act::BadPut(name.into()),
        6 => Act::Delete(name.into()),
        7 => Act::Recreate(name.into(), spec(chance, name, versions)),
        8 => match node > nodes {
            true => Act::AddNode(node),
            false => Act::RemoveNode(node),
        },
        9 => match chance.one_in(2) {
            true => Act::Drain(node.min(nodes)),
            false => Act::Activate(node.min(nodes)),
        },
        _ => Act::Impostor(chance.between(1, nodes + 1)),
    }
}

fn trouble(chance: &mut Chance, nodes: u64, managers: u64, scenario: &str) -> Option<Trouble> {
    match scenario {
        "managers" => Some(of_managers(chance, nodes, managers)),
        "store" => Some(of_store(chance)),
        "engines" => Some(of_engines(chance, nodes)),
        "all" => Some(match chance.between(0, 3) {
            0 => of_managers(chance, nodes, managers),
            1 => of_store(chance),
            _ => of_engines(chance, nodes),
        }),
        _ => None,
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
        5 => Trouble::Mute(node, chance.between(1, 40)),
        6 => Trouble::Reboot(node),
        _ => lie(chance, node),
    }
}

fn lie(chance: &mut Chance, node: u64) -> Trouble {
    let times = chance.between(1, 4);
    let refusal = |status, message: &str| EngineFault::Refuse {
        status,
        message: message.into(),
    };
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
