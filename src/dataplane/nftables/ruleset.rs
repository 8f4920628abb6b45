//! Tables with their chains, rules, sets and maps. Pure.

use crate::dataplane::address::Version;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The families that we have tables in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Frames on bridges.
    Bridge,
    /// Frames as single links take them in and give them out.
    Netdev,
}

impl Family {
    /// All of them.
    pub(in crate::dataplane) const ALL: [Self; 4] =
        [Self::Ip, Self::Ip6, Self::Bridge, Self::Netdev];

    /// That of a version's packets.
    pub(in crate::dataplane) fn of(version: Version) -> Self {
        match version {
            Version::V4 => Self::Ip,
            Version::V6 => Self::Ip6,
        }
    }

    /// NFPROTO_*.
    pub(in crate::dataplane) fn number(self) -> u8 {
        match self {
            Self::Ip => 2,
            Self::Ip6 => 10,
            Self::Bridge => 7,
            Self::Netdev => 5,
        }
    }
}

/// A table's family and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    /// The family.
    pub family: Family,
    /// Its name within it.
    pub name: String,
}

/// All tables of ours.
pub type Ruleset = BTreeMap<TableName, Table>;

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Chains by name.
    pub chains: BTreeMap<String, Chain>,
    /// Sets and maps by name.
    pub sets: BTreeMap<String, Set>,
}

/// A chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Where packets enter it; `None`: by a verdict of another chain.
    pub hook: Option<Hook>,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// Where packets enter a chain. The policy is to accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// `filter` or `nat`.
    pub kind: String,
    /// NF_INET_*; of a link NF_NETDEV_*.
    pub point: u32,
    /// Chains of one hook go by it, lowest first.
    pub priority: i32,
    /// The link whose frames enter; only where the family is that of links.
    pub device: Option<String>,
}

/// A rule. Two rules are the same if their tags are.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it is for, and a hash of its body.
    pub tag: String,
    /// Its expressions as the kernel reads them; empty where it was listed.
    pub body: Vec<u8>,
}

impl Rule {
    /// A rule with its tag.
    pub(super) fn new(text: &str, body: Vec<u8>) -> Self {
        let hash = Sha256::digest(&body);
        let tag = format!(
            "{text} #{:02x}{:02x}{:02x}{:02x}",
            hash[0], hash[1], hash[2], hash[3]
        );
        Self { tag, body }
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.tag == other.tag
    }
}

impl Eq for Rule {}

/// A set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// What it holds.
    pub shape: Shape,
    /// What is in it, by key.
    pub elements: BTreeMap<Vec<u8>, Element>,
}

/// Beside a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// Nothing: it is a set.
    Member,
    /// The address behind the last of a range that begins at the key; empty: it reaches to the end.
    Until(Vec<u8>),
    /// A map's value.
    Data(Vec<u8>),
    /// A verdict map's chain.
    Goto(String),
}

/// What a set or map holds, in the kernel's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// NFT_SET_*.
    pub flags: u32,
    /// The types of the key's fields, for those who print it.
    pub key_type: u32,
    /// The key's bytes.
    pub key_length: u32,
    /// The types of the value's fields, [`VERDICT`], or 0.
    pub data_type: u32,
    /// The value's bytes; 0 for verdicts.
    pub data_length: u32,
    /// How long an element stays that says nothing else, in milliseconds; 0: for ever.
    pub time_ms: u64,
    /// How many elements there may be; 0: any number.
    pub size: u32,
}

impl Shape {
    /// Whether packets put the elements, which are nobody else's business then.
    pub(in crate::dataplane) fn is_dynamic(self) -> bool {
        self.flags & DYNAMIC == DYNAMIC
    }
}

/// NFT_SET_INTERVAL and NFT_SET_MAP.
pub(super) const INTERVAL: u32 = 0x4;
pub(super) const MAP: u32 = 0x8;

/// NFT_SET_TIMEOUT and NFT_SET_EVAL.
pub(super) const DYNAMIC: u32 = 0x10 | 0x20;

/// NFT_DATA_VERDICT.
pub(super) const VERDICT: u32 = 0xffff_ff00;

/// The types of marks and of links' names, in nft's list.
pub(super) const MARK_TYPE: u32 = 19;
pub(super) const LINK_TYPE: u32 = 41;

/// The type of links' numbers there.
pub(super) const INDEX_TYPE: u32 = 20;

/// A part of a key or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// An address.
    Address(Version),
    /// A hardware address.
    Hardware,
    /// A packet mark, or any other number of the machine's order: a slot.
    Mark,
    /// An IP protocol.
    Protocol,
    /// A port.
    Port,
    /// A link's name.
    Link,
    /// A link's number.
    Index,
}

impl Field {
    /// Its number in nft's list of types, which only listings use.
    fn number(self) -> u32 {
        match self {
            Self::Address(Version::V4) => 7,
            Self::Address(Version::V6) => 8,
            Self::Hardware => 9,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Mark => MARK_TYPE,
            Self::Link => LINK_TYPE,
            Self::Index => INDEX_TYPE,
        }
    }

    fn length(self) -> u32 {
        match self {
            Self::Protocol => 1,
            Self::Port => 2,
            Self::Address(Version::V4) | Self::Mark | Self::Index => 4,
            Self::Hardware => 6,
            Self::Address(Version::V6) | Self::Link => 16,
        }
    }
}

/// The types and the length of fields one behind another: a field of several is padded to 4 bytes.
fn concatenated(fields: &[Field]) -> (u32, u32) {
    let kind = |sum: u32, field: &Field| sum << 6 | field.number();
    let length = match fields {
        [one] => one.length(),
        many => many
            .iter()
            .map(|field| field.length().next_multiple_of(4))
            .sum(),
    };
    (fields.iter().fold(0, kind), length)
}

impl Set {
    /// An empty set.
    pub(super) fn of(key: &[Field]) -> Self {
        Self::shaped(key, 0, (0, 0))
    }

    /// An empty set of ranges.
    pub(super) fn of_ranges(key: &[Field]) -> Self {
        Self::shaped(key, INTERVAL, (0, 0))
    }

    /// An empty map.
    pub(super) fn map(key: &[Field], value: &[Field]) -> Self {
        Self::shaped(key, MAP, concatenated(value))
    }

    /// An empty map to chains.
    pub(super) fn verdicts(key: &[Field]) -> Self {
        Self::shaped(key, MAP, (VERDICT, 0))
    }

    /// An empty set that packets fill.
    pub(super) fn dynamic(key: &[Field], time_ms: u64, size: u32) -> Self {
        let mut set = Self::shaped(key, DYNAMIC, (0, 0));
        set.shape.time_ms = time_ms;
        set.shape.size = size;
        set
    }

    fn shaped(key: &[Field], flags: u32, (data_type, data_length): (u32, u32)) -> Self {
        let (key_type, key_length) = concatenated(key);
        let shape = Shape {
            flags,
            key_type,
            key_length,
            data_type,
            data_length,
            time_ms: 0,
            size: 0,
        };
        Self {
            shape,
            elements: BTreeMap::new(),
        }
    }
}
