//! What came of what was tried: which way is broken, and at which hop. Pure.

use super::plan::{Check, Expected, Member, Plan, Subject};
use crate::api::name::NodeName;
use crate::cli::print;
use crate::dataplane::address::Version;
use crate::dataplane::probe::Outcome;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A check with what came of it.
pub(super) struct Result {
    pub(super) check: Check,
    pub(super) outcome: Outcome,
}

/// All of it.
pub(super) struct Verdict {
    members: Vec<Member>,
    results: Vec<Result>,
    ways: Ways,
    left_out: Vec<String>,
}

/// How the way from one node to another is for addresses of a version, where something of it was tried.
type Ways = BTreeMap<(NodeName, NodeName, Version), Way>;

/// How one way is, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Good,
    /// The nodes reach each other, and there is no task to try more with.
    Reached,
    /// Not tried, or something on the way may drop what was tried.
    Unknown,
    Broken,
}

impl Way {
    fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Reached => "no task",
            Self::Unknown => "-",
            Self::Broken => "BROKEN",
        }
    }
}

impl Result {
    fn is_good(&self) -> bool {
        match &self.check.expected {
            Expected::Answer => self.outcome.is_reached(),
            Expected::Refusal => self.outcome == Outcome::Refused,
            Expected::Addresses(expected) => {
                matches!(&self.outcome, Outcome::Addresses(found) if found == expected)
            }
        }
    }

    /// Whether it says by itself that something is broken: nodes may drop what is not VXLAN between them.
    fn is_broken(&self) -> bool {
        !self.is_good() && !matches!(self.check.subject, Subject::Node(_))
    }

    /// What was seen, in words.
    fn seen(&self) -> String {
        match (&self.outcome, &self.check.expected) {
            (Outcome::Connected, Expected::Refusal) => {
                "somebody answers, and it has no serving task".into()
            }
            (Outcome::Connected, _) => "it answers".into(),
            (Outcome::Refused, _) => "it refuses".into(),
            (Outcome::Silent, _) => "no answer".into(),
            (Outcome::Failed(why), _) => why.clone(),
            (Outcome::Addresses(found), Expected::Addresses(wanted)) => {
                let list = |all: &BTreeSet<std::net::IpAddr>| {
                    let all: Vec<_> = all.iter().map(ToString::to_string).collect();
                    print::or_none(all.join(","))
                };
                format!("it is {}, and should be {}", list(found), list(wanted))
            }
            (Outcome::Addresses(_), _) => "it is a name".into(),
        }
    }
}

impl Verdict {
    /// Of a plan and what came of its checks.
    pub(super) fn of(plan: Plan, outcomes: Vec<Outcome>) -> Self {
        let results = plan.checks.into_iter().zip(outcomes);
        let results = results.map(|(check, outcome)| Result { check, outcome });
        let results: Vec<Result> = results.collect();
        Self {
            members: plan.members,
            ways: ways(&results),
            results,
            left_out: plan.left_out.iter().map(ToString::to_string).collect(),
        }
    }

    /// Whether everything leads where it should, from every node.
    pub(super) fn is_good(&self) -> bool {
        self.broken().next().is_none() && self.members.iter().all(|member| member.trouble.is_none())
    }

    fn broken(&self) -> impl Iterator<Item = &Result> {
        self.results.iter().filter(|result| result.is_broken())
    }

    /// How the way from one node to another is.
    fn between(&self, from: &NodeName, to: &NodeName, version: Version) -> Way {
        let way = self.ways.get(&(from.clone(), to.clone(), version));
        way.copied().unwrap_or(Way::Unknown)
    }

    /// The hop at which a way that should lead somewhere is broken.
    fn hop(&self, result: &Result) -> String {
        let check = &result.check;
        let from = &check.from;
        let network = match &check.network {
            Some(name) => format!(" in network {name}"),
            None => String::new(),
        };
        let version = check.subject.version();
        if let Subject::Task(to, address) = &check.subject {
            return self.pair(from, to, version, &format!("task {address}{network}"));
        }
        let mut beyond = check.through.iter().filter(|to| *to != from);
        if let Some(to) = beyond.find(|to| self.between(from, to, version) == Way::Broken) {
            let way = match version {
                Version::V4 => "the way",
                Version::V6 => "the way of IPv6",
            };
            return format!("{way} from {from} to {to} is broken, on which it has tasks");
        }
        match &check.subject {
            Subject::Name(..) => format!("the resolver of {from}{network}"),
            Subject::Virtual(..) => format!("what {from} does with virtual addresses{network}"),
            Subject::Port(_, key, at) if at == from => format!("what {at} does with port {key}"),
            Subject::Port(_, key, at) => {
                format!("port {key} of {at} as {from} meets it, or a firewall between them")
            }
            Subject::Node(to) | Subject::Task(to, _) => format!("from {from} to {to}"),
        }
    }

    fn pair(&self, from: &NodeName, to: &NodeName, version: Version, what: &str) -> String {
        let member = self.members.iter().find(|member| member.name == *to);
        let trouble = member.and_then(|member| member.trouble.as_ref());
        if let Some(why) = trouble {
            return format!("the data plane of {to}: {why}");
        }
        if from == to {
            return format!("the bridge of {from}, or the {what} itself");
        }
        let address = member.and_then(|member| member.address);
        let address = address.map_or_else(String::new, |address| format!(" at {address}"));
        if version == Version::V6 && self.between(from, to, Version::V4) == Way::Good {
            return format!(
                "{from} reaches tasks on {to}{address} over IPv4, and over IPv6 it is lost: rules of IPv6 on either of them, or IPv6 is switched off"
            );
        }
        let under = self
            .results
            .iter()
            .find(|one| one.check.from == *from && one.check.subject == Subject::Node(to.clone()));
        match under.map(Result::is_good) {
            Some(true) => format!(
                "{from} reaches {to}{address}, and VXLAN between them is lost (UDP 4789, either way): a firewall, or {to}'s own rules"
            ),
            Some(false) | None => format!(
                "{from} does not reach {to}{address} at all: the network between the nodes, or a firewall"
            ),
        }
    }

    /// For people: who reaches whom, then what each node reaches, then what is broken and where.
    pub(super) fn text(&self) -> String {
        let names: Vec<&NodeName> = self.members.iter().map(|member| &member.name).collect();
        let with = |first: &[&'static str]| {
            let columns = names.iter().map(|name| name.as_str());
            first.iter().copied().chain(columns).collect::<Vec<_>>()
        };
        let mut parts = vec![match self.is_dual() {
            true => print::table(&with(&["FROM", "VERSION"]), &self.matrix(&names)),
            false => print::table(&with(&["FROM"]), &self.matrix(&names)),
        }];
        let header = with(&["SERVICE", "WHAT"]);
        parts.push(print::table(&header, &self.services(&names)));
        parts.push(self.troubles());
        parts.push(self.summary());
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n")
    }

    /// Whether something was tried over IPv6: a network carries it.
    fn is_dual(&self) -> bool {
        let mut results = self.results.iter();
        results.any(|one| one.check.subject.version() == Version::V6)
    }

    /// Who reaches whom, of each version that is tried.
    fn matrix(&self, names: &[&NodeName]) -> Vec<Vec<String>> {
        let row = |from: &Member, version: Option<Version>| {
            let ways = names.iter().map(|to| match &from.trouble {
                Some(_) => Way::Unknown,
                None => self.between(&from.name, to, version.unwrap_or(Version::V4)),
            });
            let ways = ways.map(|way| way.as_str().to_owned());
            let version = version.map(|version| match version {
                Version::V4 => "IPv4".to_owned(),
                Version::V6 => "IPv6".to_owned(),
            });
            let first = [from.name.to_string()].into_iter().chain(version);
            first.chain(ways).collect()
        };
        let versions: &[Option<Version>] = match self.is_dual() {
            true => &[Some(Version::V4), Some(Version::V6)],
            false => &[None],
        };
        let members = self.members.iter();
        let rows = members.flat_map(|from| versions.iter().map(move |version| (from, *version)));
        rows.map(|(from, version)| row(from, version)).collect()
    }

    /// What each node reaches of each service.
    fn services(&self, names: &[&NodeName]) -> Vec<Vec<String>> {
        let mut rows: BTreeMap<(String, String), BTreeMap<&NodeName, Way>> = BTreeMap::new();
        for result in &self.results {
            let place = match &result.check.network {
                Some(network) => format!(" in {}", network.name),
                None => String::new(),
            };
            let (service, what) = match &result.check.subject {
                Subject::Virtual(service, address) => (service, format!("{address}{place}")),
                Subject::Name(service, Version::V4) => (service, format!("name{place}")),
                Subject::Name(service, Version::V6) => (service, format!("name, IPv6{place}")),
                Subject::Port(service, key, _) => (service, format!("port {key}")),
                Subject::Node(_) | Subject::Task(..) => continue,
            };
            let way = if result.is_good() {
                Way::Good
            } else {
                Way::Broken
            };
            let cells = rows.entry((service.clone(), what)).or_default();
            let cell = cells.entry(&result.check.from).or_insert(way);
            *cell = (*cell).max(way);
        }
        let row = |((service, what), cells): ((String, String), BTreeMap<&NodeName, Way>)| {
            let ways = names.iter().map(|name| cells.get(*name).copied());
            let ways = ways.map(|way| way.unwrap_or(Way::Unknown).as_str().to_owned());
            [service, what].into_iter().chain(ways).collect()
        };
        rows.into_iter().map(row).collect()
    }

    /// What is broken, a line each.
    fn troubles(&self) -> String {
        let members = self.members.iter().filter_map(|member| {
            let why = member.trouble.as_ref()?;
            Some(format!(
                "{}: nothing could be tried from it: {why}",
                member.name
            ))
        });
        let broken = self.broken().map(|result| {
            let what = title(&result.check);
            format!(
                "{}: {what}: {}. Broken: {}",
                result.check.from,
                result.seen(),
                self.hop(result)
            )
        });
        members.chain(broken).collect::<Vec<_>>().join("\n")
    }

    fn summary(&self) -> String {
        let all = print::count(self.results.len(), "check");
        let nodes = self
            .members
            .iter()
            .filter(|member| member.trouble.is_none());
        let from = print::count(nodes.count(), "node");
        let broken = self.broken().count();
        let mut text = match broken {
            0 => format!("{all} from {from}: nothing is broken"),
            _ => format!("{all} from {from}: {broken} broken"),
        };
        if !self.left_out.is_empty() {
            text += &format!("; not tried: {}", self.left_out.join(", "));
        }
        text
    }

    /// For programs.
    pub(super) fn value(&self) -> Value {
        let members = self.members.iter().map(|member| {
            json!({"name": member.name, "address": member.address, "trouble": member.trouble})
        });
        let checks = self.results.iter().map(|result| {
            let check = &result.check;
            json!({
                "from": check.from,
                "what": title(check),
                "network": check.network.as_ref().map(ToString::to_string),
                "probe": check.probe,
                "outcome": result.outcome,
                "broken": result.is_broken(),
                "hop": result.is_broken().then(|| self.hop(result)),
            })
        });
        json!({
            "apiVersion": "skep.dev/v1",
            "kind": "NetCheck",
            "good": self.is_good(),
            "nodes": members.collect::<Vec<_>>(),
            "checks": checks.collect::<Vec<_>>(),
            "notTried": self.left_out,
        })
    }
}

/// What a check is about, in words.
fn title(check: &Check) -> String {
    match &check.subject {
        Subject::Node(to) => format!("node {to}"),
        Subject::Task(to, address) => format!("task {address} on {to}"),
        Subject::Virtual(service, address) => format!("{service} at {address}"),
        Subject::Name(service, Version::V4) => format!("name {service}"),
        Subject::Name(service, Version::V6) => format!("name {service} over IPv6"),
        Subject::Port(service, key, at) => format!("{service} at port {key} of {at}"),
    }
}

/// How the ways between nodes are: what tasks on them say, the worst of it; without one, what the nodes themselves say.
fn ways(results: &[Result]) -> Ways {
    let (mut ways, mut by_nodes) = (Ways::new(), Ways::new());
    for result in results {
        let from = &result.check.from;
        match &result.check.subject {
            Subject::Task(to, _) => {
                let key = (from.clone(), to.clone(), result.check.subject.version());
                let way = ways.entry(key).or_insert(Way::Good);
                if !result.is_good() {
                    *way = Way::Broken;
                }
            }
            Subject::Node(to) if result.is_good() => {
                for version in [Version::V4, Version::V6] {
                    by_nodes.insert((from.clone(), to.clone(), version), Way::Reached);
                }
            }
            Subject::Node(_) | Subject::Virtual(..) | Subject::Name(..) | Subject::Port(..) => {}
        }
    }
    by_nodes.append(&mut ways);
    by_nodes
}
