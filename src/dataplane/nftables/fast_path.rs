//! The fast path: what two tasks say to each other goes from the link that takes a frame in straight to the link that it leaves
//! through. Pure.
//!
//! A frame that stays on a bridge passes its hooks, and where bridges call iptables also connection tracking and every rule of
//! others that is meant for routed packets. Chains of single links (the family `netdev`) see it before the bridge does and can
//! hand it on themselves, by a map from hardware addresses to links. They have sets of their own, as no table sees another's.
//!
//! Each overlay has maps and a chain: a frame leaves through a link of the overlay that it came from, or not at all by
//! this way. What came from another node never goes to one. Whatever is not sure goes on to the bridge as if there were no fast path, and passes the router there: what is
//! no IP, for everybody, for the router, in parts, of a task of another hardware address, to one whose port is not known
//! (yet), and answers to what was translated here.
//!
//! Those are kept as they are for bridges (see `bridge.rs`), but by what leaves through the links themselves, in the sets
//! that are asked here: where bridges call iptables, what they translate for a task of the same overlay never
//! leaves through the bridge's own link.
//!
//! Takes `fwd` and hooks for what leaves a link, which work as they should since Linux 6.11; elsewhere frames stay on bridges.

use super::bridge::{self, names};
use super::elements::link;
use super::expression::*;
use super::parts::*;
use super::ruleset::{Chain, Element, Family, Field, Hook, Rule, Ruleset, Set, Table, TableName};
use super::tables::staying;
use crate::dataplane::address::{Mac, Version};
use crate::dataplane::constants::TABLE;
use crate::dataplane::fast_path::{FastPath, FastPaths};
use crate::dataplane::state::Vni;
use std::collections::BTreeSet;

/// NF_NETDEV_INGRESS and NF_NETDEV_EGRESS.
pub(in crate::dataplane) const INGRESS: u32 = 0;
pub(in crate::dataplane) const EGRESS: u32 = 1;

/// Behind what others have at their usual places, firewalls say.
const PRIORITY: i32 = 10;

const REMEMBER: &str = "remember";

/// The maps of an overlay: to tasks of this node, and of others.
fn here(vni: Vni) -> String {
    format!("here_{}", vni.0)
}

fn away(vni: Vni) -> String {
    format!("away_{}", vni.0)
}

/// The chains of an overlay.
fn frames(vni: Vni, version: Version) -> String {
    match version {
        Version::V4 => format!("frames_{}", vni.0),
        Version::V6 => format!("frames6_{}", vni.0),
    }
}

/// The chain of what comes in from a link.
fn into(link: &str) -> String {
    format!("in_{link}")
}

/// The chain of what goes out to a link.
fn out_of(link: &str) -> String {
    format!("out_{link}")
}

/// Whether a chain is one of what comes in from a link.
pub(in crate::dataplane) fn is_ingress(chain: &Chain) -> bool {
    let hook = chain.hook.as_ref();
    hook.is_some_and(|hook| hook.device.is_some() && hook.point == INGRESS)
}

/// The chains, by their names, of what comes in from links of which nobody has noted yet what went out to them.
pub(in crate::dataplane) fn unnoted(found: &Table, wanted: &Table) -> BTreeSet<String> {
    let ingress = wanted.chains.values().filter(|chain| is_ingress(chain));
    let links = ingress.filter_map(|chain| chain.hook.as_ref()?.device.as_deref());
    let has = |chain: &str| found.chains.contains_key(chain);
    let is_new = |link: &&str| !has(&into(link)) && !has(&out_of(link));
    links.filter(is_new).map(into).collect()
}

/// The table, but for the addresses of tasks.
pub(super) fn table(paths: &FastPaths, has_ipv6: bool) -> Table {
    let mut table = Table::default();
    let versions = Version::ALL.into_iter();
    let versions = versions.filter(|version| *version == Version::V4 || has_ipv6);
    for version in versions {
        let sets = staying(version);
        let sets = sets.map(|(name, set)| (name.to_owned(), set));
        table.sets.extend(sets);
        let rules = bridge::remember_tcp(version);
        put(&mut table, names(version).remember_tcp, None, rules);
    }
    put(&mut table, REMEMBER, None, bridge::remember(has_ipv6));
    if has_ipv6 {
        let rules = bridge::remembered(Version::V6);
        put(&mut table, bridge::REMEMBER6, None, rules);
    }
    for (vni, path) in paths {
        overlay(&mut table, *vni, path, has_ipv6);
    }
    table
}

fn overlay(table: &mut Table, vni: Vni, path: &FastPath, has_ipv6: bool) {
    for (name, ways) in [(here(vni), &path.here), (away(vni), &path.away)] {
        let mut map = Set::map(&[Field::Hardware], &[Field::Index]);
        let way = |(mac, link): (&Mac, &u32)| {
            let link = link.to_ne_bytes().to_vec();
            (mac.0.to_vec(), Element::Data(link))
        };
        map.elements.extend(ways.iter().map(way));
        table.sets.insert(name, map);
    }
    let tunnel = &path.tunnel;
    let rules = pass(vni, tunnel, has_ipv6);
    put(table, &frames(vni, Version::V4), None, rules);
    if has_ipv6 {
        put(table, &frames(vni, Version::V6), None, pass6(vni, tunnel));
    }
    for link in &path.links {
        let comes = vec![rule("of its overlay", [goto(&frames(vni, Version::V4))])];
        put(table, &into(link), Some(hook(INGRESS, link)), comes);
    }
    for link in &path.exits {
        let kept = rule("its answers come back here", [goto(REMEMBER)]);
        let leaves = [bridge::answered_here(), vec![kept]].concat();
        put(table, &out_of(link), Some(hook(EGRESS, link)), leaves);
    }
}

fn put(table: &mut Table, name: &str, hook: Option<Hook>, rules: Vec<Rule>) {
    table.chains.insert(name.to_owned(), Chain { hook, rules });
}

fn hook(point: u32, link: &str) -> Hook {
    Hook {
        kind: "filter".to_owned(),
        point,
        priority: PRIORITY,
        device: Some(link.to_owned()),
    }
}

fn goto(chain: &str) -> Part {
    end(&Verdict::Goto(chain))
}

fn to_the_bridge() -> Part {
    end(&Verdict::Accept)
}

/// What comes in from a task or through the tunnel.
fn pass(vni: Vni, tunnel: &str, has_ipv6: bool) -> Vec<Rule> {
    let first = match has_ipv6 {
        false => Vec::new(),
        true => vec![rule(
            "IPv6",
            [bridge::is_ipv6(), goto(&frames(vni, Version::V6))],
        )],
    };
    let no_ip = rule("what is not IPv4", [bridge::is_no_ip(), to_the_bridge()]);
    let doubtful = bridge::doubtful(Version::V4, to_the_bridge);
    [first, vec![no_ip], doubtful, hand_on(vni, tunnel)].concat()
}

fn pass6(vni: Vni, tunnel: &str) -> Vec<Rule> {
    let doubtful = bridge::doubtful(Version::V6, to_the_bridge);
    [doubtful, hand_on(vni, tunnel)].concat()
}

/// What no map has goes on to the bridge.
fn hand_on(vni: Vni, tunnel: &str) -> Vec<Rule> {
    let way = |map: &str| {
        let address = payload(Base::Link, 0, 6, R0);
        vec![address, look_up(map, R0, R0), forward(R0)]
    };
    // Two nodes that each take the other for a task's would send its frames to and fro for ever.
    let came = is(meta::IIFNAME, &link(tunnel));
    vec![
        rule("to the port of a task of this node", [way(&here(vni))]),
        rule(
            "what came from another node goes to none",
            [came, to_the_bridge()],
        ),
        rule("to another node", [way(&away(vni))]),
    ]
}

/// One of everything, on the link that every namespace has, under a name of its own: what a kernel takes that has fast paths.
pub(in crate::dataplane) fn sample() -> Ruleset {
    let path = FastPath {
        links: ["lo".to_owned()].into(),
        exits: ["lo".to_owned()].into(),
        here: [(Mac([2, 0, 0, 0, 0, 1]), 1)].into(),
        ..FastPath::default()
    };
    let name = TableName {
        family: Family::Netdev,
        name: format!("{TABLE}-sample"),
    };
    [(name, table(&[(Vni(1), path)].into(), false))].into()
}
