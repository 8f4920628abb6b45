//! What a seed stands for: a fleet, what users do to it, and what goes wrong, each at its time.

use crate::chance::Chance;
use crate::suffer::IMAGES;
use crate::trouble::{self, Trouble};
use skep::sim::Fault;
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
    pub(crate) extras: Extras,
}

/// What only some scenarios draw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    /// Which of the images.
    pub(crate) image: usize,
    /// A port of its node that each task takes.
    pub(crate) port: Option<u64>,
    pub(crate) has_health_check: bool,
    /// Whether its tasks join networks, each version others.
    pub(crate) has_networks: bool,
    pub(crate) wish: Wish,
}

/// What a service asks of its nodes beside an engine that answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wish {
    #[default]
    Nothing,
    /// Not to be on this node.
    Not(u64),
    /// At most so many of its tasks on one node.
    Most(u64),
    /// 3 GiB for each task, of the 8 GiB of each engine.
    Memory,
}

impl Extras {
    /// How many tasks have room on these nodes.
    pub(crate) fn room(&self, nodes: &[u64]) -> u64 {
        let on = |node: &u64| match (self.port, self.wish) {
            // A port of a node is there once.
            (Some(_), _) => 1,
            (None, Wish::Not(other)) if *node == other => 0,
            (None, Wish::Most(most)) => most,
            (None, Wish::Memory) => 2,
            (None, Wish::Nothing | Wish::Not(_)) => 1_000,
        };
        nodes.iter().map(on).sum()
    }
}

/// What a manager is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Every controller of this version.
    Whole,
    /// Every controller of a newer version.
    Newer,
    /// The controllers that judge nodes, drive engines and clean up.
    Hands,
    /// The controllers that the hands lack.
    Head,
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
        let extras = &self.extras;
        let image = IMAGES[extras.image];
        let check = match extras.has_health_check {
            true => ", healthcheck: {test: [CMD, check], interval: 1s}",
            false => "",
        };
        let placement = match extras.wish {
            Wish::Not(node) => format!(", placement: {{constraints: [\"node.name != n{node}\"]}}"),
            Wish::Most(most) => format!(", placement: {{maxReplicasPerNode: {most}}}"),
            Wish::Nothing | Wish::Memory => String::new(),
        };
        let memory = match extras.wish {
            Wish::Memory => ", resources: {reservations: {memory: 3GiB}}",
            Wish::Nothing | Wish::Not(_) | Wish::Most(_) => "",
        };
        let networks = match (extras.has_networks, self.version % 3) {
            (false, _) => "",
            (true, 0) => ", networks: [front]",
            (true, 1) => ", networks: [front, back]",
            (true, _) => ", networks: [back]",
        };
        let host = extras
            .port
            .map(|port| format!("{{target: 80, published: {port}, mode: host}}"));
        // All services want the same, so that most are refused for a while.
        let published = match (extras.has_networks, self.version % 4) {
            (false, _) | (true, 0) => None,
            (true, 1) => Some("{target: 81, published: 8081}, {target: 82}"),
            (true, 2) => Some("{target: 81, published: 8081, hostIP: 192.0.2.1}, {target: 82}"),
            (true, _) => Some("{target: 81, published: 8082}, {target: 83}"),
        };
        let ports: Vec<&str> = host.as_deref().into_iter().chain(published).collect();
        let ports = match ports.is_empty() {
            true => String::new(),
            false => format!(", ports: [{}]", ports.join(", ")),
        };
        format!(
            "{{{size}, update: {{parallelism: {}, order: {order}, monitor: {}s}}, template: {{onNodeLost: {lost}{placement}, container: {{image: \"{image}\", env: {{V: v{}}}{check}{memory}}}{networks}}}{ports}}}",
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
    /// Somebody runs a container in the attachable network on a node.
    Attach(u64),
    /// Somebody removes those of a node.
    Detach(u64),
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
    pub(crate) managers: Vec<Kind>,
    /// The latency of every engine call, in milliseconds.
    pub(crate) latency: u64,
    /// Milliseconds since the begin, and what happens then.
    pub(crate) steps: Vec<(u64, Step)>,
}

/// Which troubles a run knows.
/// (`rough`: all of them, and more; `wide`: what planted bugs show in; `losses`: all, with a store that is lost in their
/// midst; `networks`: all, with services that join networks; `fleet`: an ordinary hour of many nodes and tasks).
pub(crate) const SCENARIOS: [&str; 11] = [
    "all", "calm", "managers", "store", "engines", "disaster", "rough", "wide", "losses",
    "networks", "fleet",
];

const NAMES: [&str; 4] = ["web", "web2", "api", "agent"];

impl Plan {
    /// What the seed stands for.
    pub(crate) fn draw(seed: u64, scenario: &str) -> Self {
        if scenario == "fleet" {
            return Self::fleet(seed);
        }
        let mut chance = Chance::new(seed);
        let nodes = chance.between(1, 7);
        let managers = chance.between(1, 4);
        let latency = *chance.pick(&[0, 5, 40, 300]);
        let mut plan = Self {
            seed,
            nodes,
            managers: vec![Kind::Whole; usize::try_from(managers).unwrap_or(1)],
            latency,
            steps: Vec::new(),
        };
        let is_rough = scenario == "rough";
        let is_wide = scenario == "wide";
        if is_rough {
            plan.managers = kinds(&mut chance, managers);
        }
        let managers = plan.managers.len() as u64;
        let mut versions = 0;
        let services = chance.between(1, 4);
        for name in NAMES.iter().take(usize::try_from(services).unwrap_or(1)) {
            let mut spec = spec(&mut chance, name, &mut versions, is_rough);
            if is_wide {
                add_wish(&mut spec, &mut chance, name, nodes);
            }
            let at = chance.between(0, 3_000);
            plan.add(at, Step::Act(Act::Put((*name).into(), spec)));
        }
        let mut at = 5_000;
        for _ in 0..chance.between(4, 20) {
            at += *chance.pick(&[10, 100, 900, 5_000, 20_000]);
            at += chance.between(0, 500);
            let is_act = scenario == "calm" || chance.one_in(3);
            let step = match is_act {
                true => {
                    let mut act = act(&mut chance, nodes, services, &mut versions, is_rough);
                    if let (true, Act::Put(name, spec) | Act::Recreate(name, spec)) =
                        (is_wide, &mut act)
                    {
                        add_wish(spec, &mut chance, name, nodes);
                    }
                    Step::Act(act)
                }
                false => match trouble::draw(&mut chance, nodes, managers, scenario) {
                    Some(trouble) => Step::Trouble(trouble),
                    None => continue,
                },
            };
            if is_wide && matches!(step, Step::Act(Act::Put(..))) && chance.one_in(3) {
                plan.add_in_the_middle(&mut chance, at, managers);
            }
            plan.add(at, step);
        }
        if is_wide && chance.one_in(6) {
            at = plan.add_series(&mut chance, &mut versions, at);
        }
        plan.add_disaster(&mut chance, &mut versions, scenario, at);
        match (is_wide, plan.has_disaster()) {
            (true, true) => plan.give_up_ports(),
            (true, false) => plan.add_last(&mut chance, &mut versions, at),
            (false, _) => {}
        }
        if scenario == "networks" {
            plan.add_networks();
        }
        plan.steps.sort_by_key(|(at, _)| *at);
        plan
    }

    /// An ordinary hour of 20 nodes with 200 tasks, every ten minutes something.
    fn fleet(seed: u64) -> Self {
        let spec = |replicas, version| Spec {
            is_global: false,
            replicas,
            stop_first: false,
            parallelism: 10,
            monitor: 0,
            waits: false,
            version,
            extras: Extras::default(),
        };
        let put = |name: &str, spec| Step::Act(Act::Put(name.into(), spec));
        let trouble = Step::Trouble;
        let steps = [
            (0, put("web", spec(120, 1))),
            (1, put("api", spec(80, 2))),
            (600, put("web", spec(120, 3))),
            (1_200, trouble(Trouble::Kill(0, 8))),
            (1_800, trouble(Trouble::Exit(7, 3))),
            (2_400, trouble(Trouble::EngineDown(3, 60))),
            (3_000, put("api", spec(60, 4))),
            (3_600, put("api", spec(80, 4))),
        ];
        Self {
            seed,
            nodes: 20,
            managers: vec![Kind::Whole; 3],
            latency: 5,
            steps: steps
                .into_iter()
                .map(|(at, step)| (at * 1_000, step))
                .collect(),
        }
    }

    fn add(&mut self, at: u64, step: Step) {
        self.steps.push((at, step));
    }

    fn add_networks(&mut self) {
        for (_, step) in &mut self.steps {
            if let Step::Act(Act::Put(_, spec) | Act::Recreate(_, spec)) = step {
                spec.extras.has_networks = true;
            }
        }
        let end = self.steps.iter().map(|(at, _)| *at).max();
        // Of their own, so that all else is as the seed has it without them.
        let mut chance = Chance::new(!self.seed);
        for _ in 0..chance.between(0, 8) {
            let at = chance.between(4_000, end.unwrap_or(0) + 10_000);
            let node = chance.between(1, self.nodes + 1);
            let act = match chance.one_in(3) {
                true => Act::Detach(node),
                false => Act::Attach(node),
            };
            self.add(at, Step::Act(act));
        }
    }

    /// Whether services join networks.
    pub(crate) fn has_networks(&self) -> bool {
        self.steps.iter().any(|(_, step)| match step {
            Step::Act(Act::Put(_, spec)) => spec.extras.has_networks,
            _ => false,
        })
    }

    /// What an earlier life of the store left keeps its ports until a person acts.
    fn give_up_ports(&mut self) {
        for (_, step) in &mut self.steps {
            if let Step::Act(Act::Put(_, spec) | Act::Recreate(_, spec)) = step {
                spec.extras.port = None;
            }
        }
    }

    /// While a change is carried out whoever does it is killed, or an engine says nothing of what it did.
    fn add_in_the_middle(&mut self, chance: &mut Chance, begin: u64, managers: u64) {
        let at = begin + chance.between(1, 4 * self.latency + 20);
        let trouble = match chance.one_in(2) {
            true => Trouble::Kill(chance.between(0, managers), 8),
            false => {
                let node = chance.between(1, self.nodes + 1);
                Trouble::Lie(node, "inspect", Fault::TimeoutBefore, 2)
            }
        };
        self.add(at, Step::Trouble(trouble));
    }

    /// More versions of one service, one after the other, than history keeps; gives when the last one comes.
    fn add_series(&mut self, chance: &mut Chance, versions: &mut u64, end: u64) -> u64 {
        let mut at = end;
        for _ in 0..8 {
            at += 30_000;
            let spec = Spec {
                replicas: 1,
                monitor: 0,
                ..spec(chance, "web", versions, false)
            };
            self.add(at, Step::Act(Act::Put("web".into(), spec)));
        }
        at
    }

    /// What shows only in a fleet of several nodes, as the last thing: one that is drained, or one that is lost while each
    /// of the others has as many tasks of a service as it may have.
    fn add_last(&mut self, chance: &mut Chance, versions: &mut u64, end: u64) {
        let moves =
            |(_, step): &(u64, Step)| matches!(step, Step::Act(Act::Drain(_) | Act::RemoveNode(_)));
        if self.nodes < 2 || !chance.one_in(2) {
            return;
        }
        let node = chance.between(2, self.nodes + 1);
        if self.steps.iter().any(moves) {
            self.add(end + 2_000, Step::Act(Act::Drain(node)));
            return;
        }
        let crowd = Spec {
            replicas: self.nodes,
            stop_first: true,
            waits: false,
            monitor: 0,
            extras: Extras {
                wish: Wish::Most(1),
                ..Extras::default()
            },
            ..spec(chance, "crowd", versions, false)
        };
        self.add(1_000, Step::Act(Act::Put("crowd".into(), crowd)));
        self.add(end + 2_000, Step::Trouble(Trouble::EngineDown(node, 40)));
    }

    /// The store is lost or set back: once, in peace, as other troubles of managers would make it a new cluster.
    fn add_disaster(&mut self, chance: &mut Chance, versions: &mut u64, scenario: &str, end: u64) {
        let may_come = ["all", "wide", "networks"].contains(&scenario);
        if scenario != "disaster" && !(may_come && chance.one_in(6)) {
            return;
        }
        let mut disaster = trouble::lost(chance);
        if scenario == "wide" {
            let node = chance.between(1, self.nodes + 1);
            let (at, seconds) = match &mut disaster {
                // A little: what a change has asked of a node that was away is still to be done when it is back.
                Trouble::Rewind(many) if *many % 2 == 0 => {
                    *many = *many / 10 + 1;
                    (85_900, 9)
                }
                // A node that cannot be looked at: what runs is being adopted for longer.
                _ => (89_000, 45),
            };
            self.add(end + at, Step::Trouble(Trouble::EngineDown(node, seconds)));
            // What the store goes back to may lie in the midst of a change.
            let change = Spec {
                replicas: chance.between(3, 8),
                ..spec(chance, "web", versions, false)
            };
            self.add(end + 86_000, Step::Act(Act::Put("web".into(), change)));
        }
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

/// Managers of two versions, or of some controllers each.
fn kinds(chance: &mut Chance, managers: u64) -> Vec<Kind> {
    if chance.one_in(5) {
        return vec![Kind::Head, Kind::Hands, Kind::Head, Kind::Hands];
    }
    let mut kind = |_| match chance.one_in(3) {
        true => Kind::Newer,
        false => Kind::Whole,
    };
    (0..managers).map(&mut kind).collect()
}

fn spec(chance: &mut Chance, name: &str, versions: &mut u64, is_rough: bool) -> Spec {
    *versions += 1;
    let mut spec = Spec {
        is_global: name == "agent",
        replicas: chance.between(0, 7),
        stop_first: chance.one_in(2),
        parallelism: chance.between(0, 3),
        monitor: *chance.pick(&[0, 0, 2]),
        waits: chance.one_in(4),
        version: *versions,
        extras: Extras::default(),
    };
    if is_rough {
        spec.extras = extras(chance, name);
        // The new one cannot start while the old one has its port.
        spec.stop_first |= spec.extras.port.is_some();
    }
    spec
}

fn extras(chance: &mut Chance, name: &str) -> Extras {
    let place = NAMES.iter().position(|known| *known == name);
    Extras {
        image: usize::from(chance.one_in(3)),
        port: chance
            .one_in(3)
            .then_some(8_000 + place.unwrap_or(0) as u64),
        has_networks: false,
        has_health_check: chance.one_in(3),
        wish: Wish::Nothing,
    }
}

/// Wishes that cannot keep a change from going on: where tasks are few per node, the old ones make room first, and no more
/// are wanted than one node takes.
fn add_wish(spec: &mut Spec, chance: &mut Chance, name: &str, nodes: u64) {
    let kind = chance.between(0, 4);
    let extras = &mut spec.extras;
    match (name, kind) {
        ("agent", _) | (_, 0) => {}
        // n1 always stays.
        (_, 1) => extras.wish = Wish::Not(chance.between(2, nodes + 2)),
        // Each name its own.
        (name, 2) => extras.port = Some(8_000 + name.bytes().map(u64::from).sum::<u64>()),
        ("web2", _) => extras.wish = Wish::Memory,
        _ => extras.wish = Wish::Most(chance.between(1, 3)),
    }
    // A single node has room for all, as others come and go: a change waits for what has no place.
    let room = extras.room(&[1]);
    spec.stop_first |= room < 10;
    spec.replicas = spec.replicas.min(room);
}

fn act(chance: &mut Chance, nodes: u64, services: u64, versions: &mut u64, is_rough: bool) -> Act {
    let name = NAMES[usize::try_from(chance.between(0, services)).unwrap_or(0)];
    // Node n1 stays, so that there is always a place.
    let node = chance.between(2, nodes + 2);
    match chance.between(0, 11) {
        0..=4 => Act::Put(name.into(), spec(chance, name, versions, is_rough)),
        5 => Act::BadPut(name.into()),
        6 => Act::Delete(name.into()),
        7 => Act::Recreate(name.into(), spec(chance, name, versions, is_rough)),
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
