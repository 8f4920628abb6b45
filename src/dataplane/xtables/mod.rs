//! iptables-legacy, and ip6tables-legacy: our one rule in Docker's chain, where an engine has its rules there. No `iptables` program is needed. Pure: the
//! door exchanges tables with the kernel.
//!
//! nf_tables shows nothing of it, and it has no way to change a rule: the kernel lists a table whole and takes another one for
//! it ([`table`]). It tells of no change either, so the door asks every second whether there was one. Where both flavours have the
//! chain, our rule is in both.
//!
//! What is done is the same as in `nftables/guest.rs`, which says why: what has our mark passes first of all in DOCKER-USER, and
//! the engine's jump to that chain stands before those to its own. The rule is written as iptables would, so `iptables-legacy -C`
//! and `-D` know it, and one that somebody put by hand is ours.

mod table;
#[cfg(test)]
mod tests;

pub(super) use table::{COUNTERS_AT, Info, Table};

use super::address::Version;
use super::constants::{MARK, MARK_MASK};
use super::nftables::guest::DOCKER_USER;
use table::{ACCEPT, EXTENSION, Entry, FORWARD, STANDARD, addresses, entry, extension};

/// The match of connection marks, the mark and the mask that it looks for, and that it is not inverted: `struct
/// xt_connmark_mtinfo1`, with what pads it.
const CONNMARK: &str = "connmark";
const REVISION: u8 = 1;
const INFO: usize = 16;

/// How our rule stands in a table that has the chain for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is none.
    Missing,
    /// There is one, but it is not the first, not the only one, or the jump to its chain is out of order.
    Displaced,
    /// It is as it should be.
    InPlace,
}

impl Standing {
    /// Whether it is as it should be where it should be there, or gone.
    pub(super) fn is_right(self, is_wanted: bool) -> bool {
        match self {
            Self::Missing => !is_wanted,
            Self::Displaced => false,
            Self::InPlace => is_wanted,
        }
    }
}

/// How our rule stands; nothing: the engine's chain is not there.
pub(super) fn find(table: &Table) -> Option<Standing> {
    let chain = table.chain(DOCKER_USER)?;
    let ours: Vec<usize> = chain.clone().filter(|at| is_ours(table, *at)).collect();
    Some(match ours.as_slice() {
        [] => Standing::Missing,
        [only] if *only == chain.start && is_in_order(table) => Standing::InPlace,
        _ => Standing::Displaced,
    })
}

/// Makes our rule the first of the chain and the only one of ours, and puts the jump in order; or takes the rule away. The table
/// has the chain.
pub(super) fn mend(table: &mut Table, is_wanted: bool) {
    let Some(chain) = table.chain(DOCKER_USER) else {
        return;
    };
    for place in chain
        .clone()
        .rev()
        .filter(|at| !is_wanted || *at != chain.start)
    {
        if is_ours(table, place) {
            table.remove(place);
        }
    }
    if !is_wanted {
        return;
    }
    if chain.is_empty() || !is_ours(table, chain.start) {
        table.insert(chain.start, rule(table.version()));
    }
    if is_in_order(table) {
        return;
    }
    // It goes where the engine itself puts it whenever a network is made.
    let Some(forward) = table.hook(FORWARD) else {
        return;
    };
    let mut jump = None;
    for place in forward.clone().rev() {
        if plain_jump(table, place).as_deref() == Some(DOCKER_USER) {
            jump = Some(table.remove(place));
        }
    }
    if let Some(mut jump) = jump {
        // Those that went stood before the chain or behind it.
        jump.jump = table.chain(DOCKER_USER).map(|chain| chain.start);
        table.insert(forward.start, jump);
    }
}

/// Whether the jump to DOCKER-USER stands before those to Docker's own chains. An administrator's rules may stand before it, and who
/// has taken it away wants it so.
fn is_in_order(table: &Table) -> bool {
    let jumps = table.hook(FORWARD).unwrap_or_default();
    let jumps = jumps.filter_map(|place| plain_jump(table, place));
    let mut dockers = jumps.filter(|to| to.starts_with("DOCKER"));
    dockers.next().is_none_or(|first| first == DOCKER_USER) || dockers.all(|to| to != DOCKER_USER)
}

/// The chain that all packets jump to by a rule.
fn plain_jump(table: &Table, place: usize) -> Option<String> {
    let entry = table.entry(place);
    let is_plain = entry.matches().is_empty() && entry.addresses().iter().all(|byte| *byte == 0);
    table.target_of(place).filter(|_| is_plain)
}

/// Whether a rule is ours, whoever put it: what pads it may hold anything.
fn is_ours(table: &Table, place: usize) -> bool {
    let entry = table.entry(place);
    let matches = entry.matches();
    entry.addresses().iter().all(|byte| *byte == 0)
        && matches.len() == EXTENSION + INFO
        && extension(matches) == CONNMARK
        && matches[EXTENSION - 1] == REVISION
        && matches[EXTENSION..].starts_with(&looked_for())
        && entry.verdict() == Some(ACCEPT)
}

fn looked_for() -> Vec<u8> {
    [&MARK.to_ne_bytes()[..], &MARK_MASK.to_ne_bytes(), &[0]].concat()
}

/// Our rule, as iptables makes it.
fn rule(version: Version) -> Entry {
    let (addresses, entry) = (addresses(version), entry(version));
    let target = entry + EXTENSION + INFO;
    let mut bytes = vec![0; target + STANDARD];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let size = |size: usize| (size as u16).to_ne_bytes();
    put(addresses + 4, &size(target));
    put(addresses + 6, &size(target + STANDARD));
    put(entry, &size(EXTENSION + INFO));
    put(entry + 2, CONNMARK.as_bytes());
    put(entry + EXTENSION - 1, &[REVISION]);
    put(entry + EXTENSION, &looked_for());
    put(target, &size(STANDARD));
    put(target + EXTENSION, &ACCEPT.to_ne_bytes());
    Entry::new(version, bytes)
}
