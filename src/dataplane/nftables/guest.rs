//! Our one rule in a chain of Docker's: what has our mark passes; and the jump to that chain, in its place. Pure.
//!
//! Engines up to 28, and 29 with iptables, have the chain DOCKER-USER for it, before their own rules that would drop what
//! comes to a task from anywhere but its bridge. iptables made that chain, so the rule is in iptables' own form: a native
//! expression there makes iptables call the whole chain incompatible, and engines then move the jump to it. Engine 29 with
//! nftables has a table of its own, where a native rule stands first.
//!
//! Engines put the jump to DOCKER-USER before those to their own chains. After a restart beside running containers (live-restore)
//! 20.10 and 26 have it behind one of them, which drops what goes from one bridge to another: it is moved to the place where the engine
//! itself puts it whenever a network is made, and stays there when all that is ours goes.
//!
//! Engines have the same chains for IPv6, where they care for it: from 27 on, and earlier where `ip6tables` is switched on.
//!
//! What an engine has in iptables-legacy, nf_tables does not show: `xtables` does the same there.

use super::decode::ListedRule;
use super::diff::{Change, Step};
use super::expression::*;
use super::ruleset::{Family, Rule, TableName};
use crate::dataplane::address::Version;
use crate::dataplane::constants::{MARK, MARK_MASK};
use crate::dataplane::netlink::message::{attribute, attributes, text};

/// The chain that is there for rules of others.
pub(in crate::dataplane) const DOCKER_USER: &str = "DOCKER-USER";

/// A chain of Docker's, or one that leads there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chain {
    /// DOCKER-USER of iptables.
    DockerUser,
    /// FORWARD of iptables, with the jump to DOCKER-USER.
    Forward,
    /// `filter-FORWARD` of Engine 29's own table.
    DockerBridges,
}

impl Chain {
    /// All of them.
    pub(in crate::dataplane) const ALL: [Self; 3] =
        [Self::DockerUser, Self::Forward, Self::DockerBridges];

    /// Its table's name.
    pub(in crate::dataplane) fn table(self) -> &'static str {
        match self {
            Self::DockerUser | Self::Forward => "filter",
            Self::DockerBridges => "docker-bridges",
        }
    }

    /// Its name.
    pub(in crate::dataplane) fn name(self) -> &'static str {
        match self {
            Self::DockerUser => DOCKER_USER,
            Self::Forward => "FORWARD",
            Self::DockerBridges => "filter-FORWARD",
        }
    }

    /// Our rule, or the engine's jump as iptables makes it.
    fn rule(self) -> Rule {
        let accept = verdict(&Verdict::Accept);
        match self {
            // iptables shows no comment that is not a match of its own.
            Self::DockerUser => Rule {
                tag: String::new(),
                body: body([connmark(MARK, MARK_MASK), counter(), accept]),
            },
            Self::Forward => Rule {
                tag: String::new(),
                body: body([counter(), verdict(&Verdict::Jump(DOCKER_USER))]),
            },
            Self::DockerBridges => {
                let ours = [
                    ct(ct::MARK, R0),
                    bitwise(R0, &MARK_MASK.to_ne_bytes(), &[0; 4]),
                    compare(Operator::Equal, R0, &MARK.to_ne_bytes()),
                    accept,
                ];
                Rule::new("skep", body(ours))
            }
        }
    }

    /// Whether a listed rule is ours.
    fn is_ours(self, listed: &ListedRule) -> bool {
        match self {
            Self::DockerUser => attributes(&listed.body).any(|(_, one)| is_connmark(one)),
            Self::Forward => jump(listed).is_some_and(|to| to == DOCKER_USER),
            Self::DockerBridges => listed.rule == self.rule(),
        }
    }
}

/// The chain that a rule of one expression and a counter jumps to.
fn jump(listed: &ListedRule) -> Option<String> {
    let inner = |bytes, kind| attribute(bytes, kind).unwrap_or_default();
    let mut names = attributes(&listed.body).map(|(_, one)| text(inner(one, 1)));
    if !names.all(|name| name == "counter" || name == "immediate") {
        return None;
    }
    let targets = attributes(&listed.body).filter_map(|(_, one)| {
        let verdict = inner(inner(inner(one, 2), 2), 2);
        (text(inner(one, 1)) == "immediate").then(|| text(inner(verdict, 2)))
    });
    targets.last().filter(|target| !target.is_empty())
}

/// Whether a listed expression is iptables' match of our mark.
fn is_connmark(expression: &[u8]) -> bool {
    let inner = |bytes, kind| attribute(bytes, kind).unwrap_or_default();
    let data = inner(expression, 2);
    // The mark, the mask, and that it is not inverted; what pads them may hold anything.
    let info = [&MARK.to_ne_bytes()[..], &MARK_MASK.to_ne_bytes(), &[0]].concat();
    text(inner(expression, 1)) == "match"
        && text(inner(data, 1)) == "connmark"
        && inner(data, 3).starts_with(&info)
}

/// What was found of a chain that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The rule that is in its place, by its handle: ours as the first of all, or the jump before those to Docker's own chains.
    pub first: Option<u64>,
    /// Such rules elsewhere.
    pub others: Vec<u64>,
}

/// What there is of ours in a chain of which these are the rules.
pub(in crate::dataplane) fn find(chain: Chain, rules: &[ListedRule]) -> Found {
    // An administrator's own rules may stand before the jump.
    let matters = |rule: &&ListedRule| match chain {
        Chain::DockerUser | Chain::DockerBridges => true,
        Chain::Forward => jump(rule).is_some_and(|to| to.starts_with("DOCKER")),
    };
    let ours = |rule: &&ListedRule| chain.is_ours(rule);
    let first = rules.iter().find(matters).filter(ours);
    let first = first.map(|rule| rule.handle);
    let handles = rules.iter().filter(ours).map(|rule| rule.handle);
    Found {
        first,
        others: handles.filter(|handle| Some(*handle) != first).collect(),
    }
}

/// The changes that make our rule the first of the chain and the only one of ours, or take all away. A jump is moved, and
/// neither made nor taken away.
pub(in crate::dataplane) fn mend(
    version: Version,
    chain: Chain,
    found: &Found,
    is_wanted: bool,
) -> Vec<Change> {
    let is_jump = chain == Chain::Forward;
    if is_jump && (!is_wanted || found.first.is_some() || found.others.is_empty()) {
        return Vec::new();
    }
    let gone = found
        .first
        .iter()
        .filter(|_| !is_wanted)
        .chain(&found.others);
    let name = || chain.name().to_owned();
    let mut steps: Vec<Step> = gone
        .map(|handle| Step::DeleteRule(name(), *handle))
        .collect();
    if is_wanted && found.first.is_none() {
        steps.push(Step::PrependRule(name(), chain.rule()));
    }
    let table = TableName {
        family: Family::of(version),
        name: chain.table().to_owned(),
    };
    let change = |step| Change {
        table: table.clone(),
        step,
    };
    steps.into_iter().map(change).collect()
}
