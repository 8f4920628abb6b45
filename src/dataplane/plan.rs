//! The operations that make of one kernel another. Pure.
//!
//! # Order
//!
//! 1. The chains, if there are none yet: they isolate networks before there is one, and remember what is translated before
//!    any frame passes the router by.
//! 2. Links, addresses, settings, then where frames and answers go: before anybody is sent there.
//! 3. The elements of sets and maps, all in one batch: new connections go by them from here on. Backends that nobody is led to any
//!    more follow in another.
//! 4. What nobody is sent to any more goes.
//!
//! A state that was reached needs no operation, and a plan that was cut off anywhere is finished by the next: nothing is
//! remembered, everything is looked at.

use super::address::{Mac, Prefix, Version};
use super::constants::BRIDGED;
use super::kernel::{Forwarding, Kernel, Link, LinkKind, Route, Rule};
use super::nftables::diff::{Change, Step, diff, is_other_shape};
use super::nftables::fast_path::{self, is_ingress};
use super::nftables::guest;
use super::nftables::late::part;
use super::nftables::ruleset::{Family, Ruleset, Set, Table, TableName};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// One thing to do; the kernel does it whole or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Changes of nf_tables, all or none.
    Tables(Vec<Change>),
    /// The answers to what was translated within these subnets before this are remembered, too, in a family's table.
    Remember(Family, Vec<Prefix>),
    /// A link is made, and becomes all that it should be.
    AddLink(String, Link),
    /// What can be changed of a link becomes what it should be.
    SetLink(String, Link),
    /// A link goes, and all that belongs to it.
    DeleteLink(String),
    /// An address comes.
    AddAddress(String, Prefix),
    /// An address goes.
    DeleteAddress(String, Prefix),
    /// Frames for an address go somewhere, whatever was before.
    PutForwarding(Forwarding, Option<Ipv4Addr>),
    /// They no longer do.
    DeleteForwarding(Forwarding),
    /// A neighbour is at a hardware address, whatever was before.
    PutNeighbour(String, IpAddr, Mac),
    /// It is not.
    DeleteNeighbour(String, IpAddr),
    /// A route leads somewhere, whatever was before.
    PutRoute(u32, Prefix, Route),
    /// It goes.
    DeleteRoute(u32, Prefix, Route),
    /// A rule of policy routing comes.
    AddRule(Rule),
    /// It goes.
    DeleteRule(Rule),
    /// A setting gets a value.
    Set(String, String),
    /// Our rule is as it should be in Docker's chain of iptables-legacy, or gone from it.
    Legacy(Version, bool),
    /// Frames may leave a port that they came from: br_netfilter sends back there what a task sends to itself.
    SetHairpin(String),
}

impl Operation {
    /// The kind of thing that it is about, as drift is counted by.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tables(_) | Self::Remember(..) => "nftables",
            Self::AddLink(..) | Self::SetLink(..) | Self::DeleteLink(_) => "link",
            Self::AddAddress(..) | Self::DeleteAddress(..) => "address",
            Self::PutForwarding(..) | Self::DeleteForwarding(_) => "forwarding",
            Self::PutNeighbour(..) | Self::DeleteNeighbour(..) => "neighbour",
            Self::PutRoute(..) | Self::DeleteRoute(..) => "route",
            Self::AddRule(_) | Self::DeleteRule(_) => "rule",
            Self::Set(..) => "setting",
            Self::Legacy(..) => "iptables",
            Self::SetHairpin(_) => "port",
        }
    }
}

impl Operation {
    /// Whether it is about an entry of something that is there and stays: the kernel's word that it is done is all that there
    /// is to know.
    pub fn is_entry(&self) -> bool {
        match self {
            Self::Tables(_)
            | Self::PutForwarding(..)
            | Self::DeleteForwarding(_)
            | Self::PutNeighbour(..)
            | Self::DeleteNeighbour(..) => true,
            Self::Remember(..)
            | Self::AddLink(..)
            | Self::SetLink(..)
            | Self::DeleteLink(_)
            | Self::AddAddress(..)
            | Self::DeleteAddress(..)
            | Self::PutRoute(..)
            | Self::DeleteRoute(..)
            | Self::AddRule(_)
            | Self::DeleteRule(_)
            | Self::Set(..)
            | Self::Legacy(..)
            | Self::SetHairpin(_) => false,
        }
    }
}

/// The kinds that [`Operation::kind`] tells apart.
pub const KINDS: [&str; 10] = [
    "nftables",
    "link",
    "address",
    "forwarding",
    "neighbour",
    "route",
    "rule",
    "setting",
    "iptables",
    "port",
];

/// The operations that make `wanted` of `found`; none: it is so.
pub fn plan(found: &Kernel, wanted: &Kernel) -> Vec<Operation> {
    let mut operations = Vec::new();
    let unnoted = unnoted(&found.tables, &wanted.tables);
    let mut found = Cow::Borrowed(found);
    if lacks_sets(&found.tables, &wanted.tables) {
        let first = with_new_parts(&found.tables, &wanted.tables);
        tables(diff(&found.tables, &first), &mut operations);
        found.to_mut().tables = first;
    }
    links(&mut found, wanted, &mut operations);
    let is_made = |operation: &Operation| matches!(operation, Operation::AddLink(..));
    if wanted.has_fast_path && operations.iter().any(is_made) {
        // Fast paths go by the numbers of links, which the kernel gives: the next pass knows them, and does the rest in one go.
        return operations;
    }
    let add = &mut operations;
    // Those of single links first: what a router says to this node is not lost when it becomes one itself, and a link that
    // should have an address of IPv6 takes one.
    let of_all = |(path, _): &(&String, &String)| path.contains("/all/");
    let mut settings: Vec<_> = changed(&found.settings, &wanted.settings).collect();
    settings.sort_by_key(of_all);
    for (path, value) in settings {
        add.push(Operation::Set(path.clone(), value.clone()));
    }
    for (link, address) in wanted.addresses.difference(&found.addresses) {
        add.push(Operation::AddAddress(link.clone(), *address));
    }
    for (key, target) in changed(&found.forwarding, &wanted.forwarding) {
        add.push(Operation::PutForwarding(key.clone(), *target));
    }
    for ((link, address), mac) in changed(&found.neighbours, &wanted.neighbours) {
        add.push(Operation::PutNeighbour(link.clone(), *address, *mac));
    }
    for ((table, to), route) in changed(&found.routes, &wanted.routes) {
        add.push(Operation::PutRoute(*table, *to, route.clone()));
    }
    for rule in wanted.rules.difference(&found.rules) {
        add.push(Operation::AddRule(*rule));
    }
    for (port, _) in found.hairpins.iter().filter(|(_, is_on)| !**is_on) {
        if wanted.hairpins.contains_key(port) {
            add.push(Operation::SetHairpin(port.clone()));
        }
    }
    guests(&found, wanted, add);
    let asked = newly_asked(&found.tables, &wanted.tables);
    let is_unnoted = |table: &TableName, chain: &str| {
        let chains = unnoted.get(table);
        chains.is_some_and(|chains| chains.contains(chain))
    };
    let passes = |Change { table, step }: &Change| match step {
        // Those of both versions.
        Step::AddElements(set, ..) => set.starts_with(BRIDGED) && asked.contains(&table),
        Step::AddChain(chain, _) | Step::AppendRule(chain, _) => is_unnoted(table, chain),
        _ => false,
    };
    let (changes, late) = part(diff(&found.tables, &wanted.tables));
    let (passing, others) = changes.into_iter().partition(passes);
    // From here on the router notes what it translates; nobody's frames pass it by yet.
    tables(others, add);
    let families = asked.iter().map(|table| table.family);
    let families = families.chain(unnoted.keys().map(|table| table.family));
    for family in families.collect::<BTreeSet<Family>>() {
        let subnets = wanted.addresses.iter().map(|(_, subnet)| *subnet);
        add.push(Operation::Remember(family, subnets.collect()));
    }
    tables(passing, add);
    tables(late, add);
    removals(&found, wanted, add);
    operations
}

fn tables(changes: Vec<Change>, operations: &mut Vec<Operation>) {
    if !changes.is_empty() {
        operations.push(Operation::Tables(changes));
    }
}

/// Whether there are tables or sets that are not there: only elements and the chains of backends come and go later.
fn lacks_sets(found: &Ruleset, wanted: &Ruleset) -> bool {
    wanted.iter().any(|(name, table)| {
        let present = found.get(name);
        let lacks = |set| present.is_none_or(|present| !present.sets.contains_key(set));
        table.sets.keys().any(lacks)
    })
}

/// What is found, with the sets, still empty, and the chains that it lacks.
fn with_new_parts(found: &Ruleset, wanted: &Ruleset) -> Ruleset {
    let mut ruleset = found.clone();
    for (name, table) in wanted {
        let present = ruleset.entry(name.clone()).or_default();
        for (name, set) in &table.sets {
            let (shape, elements) = (set.shape, BTreeMap::new());
            let empty = || Set { shape, elements };
            present.sets.entry(name.clone()).or_insert_with(empty);
        }
        // What frames come in by is made once all that went out is remembered.
        let chains = table.chains.iter();
        for (name, chain) in chains.filter(|(_, chain)| !is_ingress(chain)) {
            present
                .chains
                .entry(name.clone())
                .or_insert_with(|| chain.clone());
        }
    }
    ruleset
}

/// The chains by which tables begin to take in frames of which nobody has noted what went out.
fn unnoted(found: &Ruleset, wanted: &Ruleset) -> BTreeMap<TableName, BTreeSet<String>> {
    let none = Table::default();
    let chains = wanted.iter().map(|(name, table)| {
        let present = found.get(name).unwrap_or(&none);
        (name.clone(), fast_path::unnoted(present, table))
    });
    chains.filter(|(_, chains)| !chains.is_empty()).collect()
}

/// The tables that begin to have frames not pass the router; of one that is made anew nothing is remembered.
fn newly_asked<'a>(found: &Ruleset, wanted: &'a Ruleset) -> Vec<&'a TableName> {
    let bridged = |ruleset: &Ruleset, name: &TableName| {
        let set = ruleset.get(name).and_then(|table| table.sets.get(BRIDGED));
        set.is_some_and(|set| !set.elements.is_empty())
    };
    let stays = |name: &TableName| match (found.get(name), wanted.get(name)) {
        (Some(found), Some(wanted)) => !is_other_shape(found, wanted),
        _ => false,
    };
    let names = wanted.keys();
    let new = names.filter(|name| bridged(wanted, name) && !(bridged(found, name) && stays(name)));
    new.collect()
}

/// What is not the same, or not there.
fn changed<'a, K: Ord, V: PartialEq>(
    found: &'a BTreeMap<K, V>,
    wanted: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    wanted
        .iter()
        .filter(|(key, value)| found.get(*key) != Some(*value))
}

fn links(found: &mut Cow<'_, Kernel>, wanted: &Kernel, operations: &mut Vec<Operation>) {
    for (name, link) in &wanted.links {
        match found.links.get(name).cloned() {
            Some(present) if present == *link => {}
            Some(present) if present.kind == link.kind => {
                operations.push(Operation::SetLink(name.clone(), link.clone()));
                if present.mac != link.mac || !present.is_up {
                    // The kernel drops even permanent neighbours with the address, and routes with the switch.
                    let found = found.to_mut();
                    found.neighbours.retain(|(of, _), _| of != name);
                    found.routes.retain(|_, route| route.link != *name);
                }
                if present.bridge != link.bridge {
                    let place = super::kernel::Place::Bridge;
                    let forwarding = &mut found.to_mut().forwarding;
                    forwarding.retain(|key, _| key.link != *name || key.place != place);
                }
            }
            Some(_) => {
                operations.push(Operation::DeleteLink(name.clone()));
                replace(found.to_mut(), name, link, operations);
            }
            None => replace(found.to_mut(), name, link, operations),
        }
    }
}

fn replace(found: &mut Kernel, name: &str, link: &Link, operations: &mut Vec<Operation>) {
    found.forget(name);
    operations.push(Operation::AddLink(name.to_owned(), link.clone()));
    if link.kind != LinkKind::Bridge {
        return;
    }
    // Its ports lost it: they join again, and what their entries in its table said is gone.
    let lost =
        |(_, port): &(&String, &Link)| port.bridge.is_none() && port.kind != LinkKind::Bridge;
    let lost: Vec<String> = found
        .links
        .iter()
        .filter(lost)
        .map(|(name, _)| name.clone())
        .collect();
    for port in lost {
        found
            .forwarding
            .retain(|key, _| key.link != port || key.place != super::kernel::Place::Bridge);
    }
}

/// Our rule in Docker's chains, if there is anything else of ours.
fn guests(found: &Kernel, wanted: &Kernel, operations: &mut Vec<Operation>) {
    let has_table = |version: Version| {
        let mut tables = wanted.tables.keys();
        tables.any(|table| table.family == Family::of(version))
    };
    for ((version, chain), present) in &found.guests {
        let changes = guest::mend(*version, *chain, present, has_table(*version));
        if !changes.is_empty() {
            operations.push(Operation::Tables(changes));
        }
    }
    for (version, standing) in &found.legacy {
        let is_wanted = has_table(*version);
        if !standing.is_right(is_wanted) {
            operations.push(Operation::Legacy(*version, is_wanted));
        }
    }
}

/// What is not wanted any more, what leads to something before that.
fn removals(found: &Kernel, wanted: &Kernel, operations: &mut Vec<Operation>) {
    let stays = |link: &str| wanted.links.contains_key(link);
    for rule in found.rules.difference(&wanted.rules) {
        operations.push(Operation::DeleteRule(*rule));
    }
    for ((table, to), route) in &found.routes {
        // What belongs to a link goes with it.
        if !wanted.routes.contains_key(&(*table, *to)) && stays(&route.link) {
            operations.push(Operation::DeleteRoute(*table, *to, route.clone()));
        }
    }
    for (link, address) in found.neighbours.keys() {
        if !wanted.neighbours.contains_key(&(link.clone(), *address)) && stays(link) {
            operations.push(Operation::DeleteNeighbour(link.clone(), *address));
        }
    }
    let is_port = |link: &str| wanted.hairpins.contains_key(link);
    for key in found.forwarding.keys() {
        let goes = !wanted.forwarding.contains_key(key);
        if goes && (stays(&key.link) || is_port(&key.link)) {
            operations.push(Operation::DeleteForwarding(key.clone()));
        }
    }
    for (link, address) in found.addresses.difference(&wanted.addresses) {
        if stays(link) {
            operations.push(Operation::DeleteAddress(link.clone(), *address));
        }
    }
    // Tunnels before the bridges that they are ports of.
    for link in found.links.keys().rev().filter(|link| !stays(link)) {
        operations.push(Operation::DeleteLink(link.clone()));
    }
}
