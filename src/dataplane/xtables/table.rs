//! A table of iptables-legacy as the kernel lists it and takes it back whole (linux/netfilter_ipv4/ip_tables.h), as a list of
//! rules that can be edited. Pure. That of ip6tables-legacy is the same but for what a rule says of addresses
//! (linux/netfilter_ipv6/ip6_tables.h).
//!
//! In the kernel's form chains, jumps and hooks are offsets into one block of entries, so that every insertion moves all that
//! is behind it. Here they are places in the list, and become offsets again when it is written. What matches and targets
//! hold is carried over as it is.

use crate::dataplane::address::Version;
use crate::dataplane::netlink::message::{text, u16_at, u32_at};

/// How many hooks there are: NF_INET_NUMHOOKS.
const HOOKS: usize = 5;
/// The hook of what is forwarded: NF_INET_FORWARD.
pub(super) const FORWARD: usize = 2;
/// What a packet is matched by without extensions: the size of `struct ipt_ip` or `ip6t_ip6`.
pub(super) const fn addresses(version: Version) -> usize {
    match version {
        Version::V4 => 84,
        Version::V6 => 136,
    }
}

/// The size of `struct ipt_entry` or `ip6t_entry`.
pub(super) const fn entry(version: Version) -> usize {
    match version {
        Version::V4 => 112,
        Version::V6 => 168,
    }
}

/// The size of `struct xt_entry_match` and `xt_entry_target` before what they hold.
pub(super) const EXTENSION: usize = 32;
/// The size of `struct xt_standard_target`.
pub(super) const STANDARD: usize = 40;
/// Where the pointer to the room for counters is in `struct ipt_replace`.
pub(in crate::dataplane) const COUNTERS_AT: usize = 88;
/// The size of `struct xt_counters`: packets, bytes.
pub(in crate::dataplane) const COUNTER: usize = 16;
/// The verdict that accepts: -NF_ACCEPT - 1.
pub(super) const ACCEPT: i32 = -2;

/// What the kernel says of a table without listing it (`struct ipt_getinfo`); almost every change of the table changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct Info {
    valid_hooks: u32,
    hooks: [u32; HOOKS],
    underflows: [u32; HOOKS],
    entries: u32,
    /// How many bytes its entries take.
    pub(in crate::dataplane) size: u32,
}

impl Info {
    /// The request for it, with room for the answer.
    pub(in crate::dataplane) fn question() -> Vec<u8> {
        let mut question = filter();
        question.resize(84, 0);
        question
    }

    /// Reads the answer.
    pub(in crate::dataplane) fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| u32_at(bytes, 32 + 4 * at);
        let words = |from: usize| -> Option<[u32; HOOKS]> {
            let words: Option<Vec<u32>> = (from..from + HOOKS).map(word).collect();
            words?.try_into().ok()
        };
        Some(Self {
            valid_hooks: word(0)?,
            hooks: words(1)?,
            underflows: words(6)?,
            entries: word(11)?,
            size: word(12)?,
        })
    }

    /// The request for the entries (`struct ipt_get_entries`), with room for them.
    pub(in crate::dataplane) fn listing(&self) -> Vec<u8> {
        let mut listing = filter();
        listing.extend(self.size.to_ne_bytes());
        listing.resize(ENTRIES_AT + self.size as usize, 0);
        listing
    }

    /// Its hooks with where their chains begin and where their policies are.
    fn hooks(&self) -> impl Iterator<Item = (usize, u32, u32)> {
        (0..HOOKS)
            .filter(|hook| self.valid_hooks & 1 << hook != 0)
            .map(|hook| (hook, self.hooks[hook], self.underflows[hook]))
    }
}

/// The name of the table of filters, in the room that each structure begins with for it (XT_TABLE_MAXNAMELEN).
fn filter() -> Vec<u8> {
    let mut name = b"filter".to_vec();
    name.resize(32, 0);
    name
}

/// Where entries begin in `struct ipt_get_entries`, and counters in `struct xt_counters_info`.
const ENTRIES_AT: usize = 40;

/// A rule, the head of a chain, or the end of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    version: Version,
    /// As the kernel has it; where it jumps to is wrong in here.
    pub(super) bytes: Vec<u8>,
    /// The place of the entry that it jumps to.
    pub(super) jump: Option<usize>,
    /// Its place when it was listed; none: it is new.
    listed: Option<usize>,
}

impl Entry {
    /// Reads the one that `bytes` begin with.
    fn parse(version: Version, bytes: &[u8], listed: usize) -> Option<Self> {
        let size = usize::from(u16_at(bytes, addresses(version) + 6)?);
        let found = Self {
            version,
            bytes: bytes.get(..size)?.to_vec(),
            jump: None,
            listed: Some(listed),
        };
        let target = found.target_at();
        let is_whole = target >= entry(version) && found.bytes.len() >= target + EXTENSION;
        is_whole.then_some(found)
    }

    /// A new one.
    pub(super) fn new(version: Version, bytes: Vec<u8>) -> Self {
        Self {
            version,
            bytes,
            jump: None,
            listed: None,
        }
    }

    fn target_at(&self) -> usize {
        u16_at(&self.bytes, addresses(self.version) + 4)
            .unwrap_or_default()
            .into()
    }

    /// Its addresses, interfaces and protocol.
    pub(super) fn addresses(&self) -> &[u8] {
        &self.bytes[..addresses(self.version)]
    }

    /// Its matches, one behind another.
    pub(super) fn matches(&self) -> &[u8] {
        &self.bytes[entry(self.version)..self.target_at()]
    }

    /// Its target.
    fn target(&self) -> &[u8] {
        &self.bytes[self.target_at()..]
    }

    /// What it does with a packet if that needs no extension: negative, or the offset of where to go on.
    pub(super) fn verdict(&self) -> Option<i32> {
        let target = self.target();
        let verdict = u32_at(target, EXTENSION)?;
        extension(target).is_empty().then_some(verdict as i32)
    }

    /// The name of the chain that it is the head of.
    fn head(&self) -> Option<String> {
        let target = self.target();
        (extension(target) == "ERROR").then(|| text(&target[EXTENSION..]))
    }

    fn offset(&self) -> Option<u32> {
        self.verdict().and_then(|verdict| verdict.try_into().ok())
    }
}

/// The name of the extension that these bytes begin with, a match or a target.
pub(super) fn extension(bytes: &[u8]) -> String {
    text(bytes.get(2..EXTENSION - 1).unwrap_or_default())
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct Table {
    version: Version,
    info: Info,
    entries: Vec<Entry>,
    /// The hooks with the places where their chains begin and where their policies are.
    hooks: Vec<(usize, usize, usize)>,
}

impl Table {
    /// Reads what the kernel answered to [`Info::listing`]; nothing: it is not as it should be.
    pub(in crate::dataplane) fn parse(
        version: Version,
        info: Info,
        listing: &[u8],
    ) -> Option<Self> {
        let mut rest = listing.get(ENTRIES_AT..ENTRIES_AT + info.size as usize)?;
        let (mut entries, mut offsets) = (Vec::new(), Vec::new());
        let mut offset = 0;
        while !rest.is_empty() {
            let entry = Entry::parse(version, rest, entries.len())?;
            offsets.push(offset);
            offset += u32::try_from(entry.bytes.len()).ok()?;
            rest = &rest[entry.bytes.len()..];
            entries.push(entry);
        }
        let place = |offset: u32| offsets.binary_search(&offset).ok();
        for entry in &mut entries {
            if let Some(offset) = entry.offset() {
                entry.jump = Some(place(offset)?);
            }
        }
        let hooks = info
            .hooks()
            .map(|(hook, first, policy)| Some((hook, place(first)?, place(policy)?)));
        let hooks: Option<_> = hooks.collect();
        let hooks = hooks.filter(|_| entries.len() == info.entries as usize)?;
        Some(Self {
            version,
            info,
            entries,
            hooks,
        })
    }

    /// Whose packets it is for.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// The entry at a place.
    pub(super) fn entry(&self, place: usize) -> &Entry {
        &self.entries[place]
    }

    /// The places of the rules of a chain of somebody's, without its end.
    pub(super) fn chain(&self, name: &str) -> Option<std::ops::Range<usize>> {
        let is_head = |entry: &Entry| entry.head().as_deref() == Some(name);
        let first = self.entries.iter().position(is_head)? + 1;
        let behind = &self.entries[first..];
        // The next head, or the end of the table, which looks like one.
        let length = behind.iter().position(|entry| entry.head().is_some())?;
        Some(first..first + length.checked_sub(1)?)
    }

    /// The places of the rules of a hook's chain, without its policy.
    pub(super) fn hook(&self, hook: usize) -> Option<std::ops::Range<usize>> {
        let mut hooks = self.hooks.iter();
        let (_, first, policy) = hooks.find(|(number, ..)| *number == hook)?;
        Some(*first..*policy)
    }

    /// The name of the chain that a rule jumps to.
    pub(super) fn target_of(&self, place: usize) -> Option<String> {
        let head = self.entries[place].jump?.checked_sub(1)?;
        self.entries[head].head()
    }

    /// Puts an entry before the one at a place, into the same chain. What jumped there goes through the new one.
    pub(super) fn insert(&mut self, place: usize, mut entry: Entry) {
        let behind = |other: &mut usize| *other += usize::from(*other > place);
        entry.jump.iter_mut().chain(self.jumps()).for_each(behind);
        for (_, first, policy) in &mut self.hooks {
            behind(first);
            // Policies are never the first of what a hook jumps to, but may stand where the new one comes.
            *policy += usize::from(*policy >= place);
        }
        self.entries.insert(place, entry);
    }

    /// Takes the rule at a place out. What jumped there goes to the next one.
    pub(super) fn remove(&mut self, place: usize) -> Entry {
        let behind = |other: &mut usize| *other -= usize::from(*other > place);
        self.jumps().for_each(behind);
        for (_, first, policy) in &mut self.hooks {
            behind(first);
            behind(policy);
        }
        self.entries.remove(place)
    }

    fn jumps(&mut self) -> impl Iterator<Item = &mut usize> {
        self.entries.iter_mut().filter_map(|one| one.jump.as_mut())
    }

    /// What puts it in place of the one that was listed (`struct ipt_replace`). At [`COUNTERS_AT`] the address of
    /// [`Table::room`] is still to be put.
    pub(in crate::dataplane) fn replacement(&self) -> Vec<u8> {
        let mut offsets = Vec::new();
        let mut size = 0_u32;
        for entry in &self.entries {
            offsets.push(size);
            size += entry.bytes.len() as u32;
        }
        // What is not valid stays as it was listed.
        let (mut hooks, mut underflows) = (self.info.hooks, self.info.underflows);
        for (hook, first, policy) in &self.hooks {
            hooks[*hook] = offsets[*first];
            underflows[*hook] = offsets[*policy];
        }
        let mut bytes = filter();
        let head = [self.info.valid_hooks, self.entries.len() as u32, size];
        let words = head.iter().chain(&hooks).chain(&underflows);
        for word in words.chain(&[self.info.entries]) {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.resize(COUNTERS_AT + 8, 0);
        for entry in &self.entries {
            let start = bytes.len();
            bytes.extend(&entry.bytes);
            if let Some(place) = entry.jump {
                let at = start + entry.target_at() + EXTENSION;
                bytes[at..at + 4].copy_from_slice(&offsets[place].to_ne_bytes());
            }
        }
        bytes
    }

    /// Room for the counters of the table that is replaced.
    pub(in crate::dataplane) fn room(&self) -> Vec<u8> {
        vec![0; self.info.entries as usize * COUNTER]
    }

    /// What gives the rules of the new table what they had counted in the one before (`struct xt_counters_info`).
    pub(in crate::dataplane) fn carried(&self, counted: &[u8]) -> Vec<u8> {
        let mut bytes = filter();
        bytes.extend((self.entries.len() as u32).to_ne_bytes());
        bytes.resize(ENTRIES_AT, 0);
        for entry in &self.entries {
            let from = entry.listed.map(|place| place * COUNTER);
            let before = from.and_then(|from| counted.get(from..from + COUNTER));
            bytes.extend(before.unwrap_or(&[0; COUNTER]));
        }
        bytes
    }
}
