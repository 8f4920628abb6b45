//! The numbers and names by which what is ours in a kernel is known. Pure.

/// The name of our tables of nf_tables.
pub(super) const TABLE: &str = "skep";

/// The set of the tasks whose frames stay on bridges.
pub(super) const BRIDGED: &str = "bridged";

/// The group of our overlay bridges, by which rules know them. Any number that nobody else would take: what belongs to
/// the group is isolated.
pub(super) const GROUP: u32 = 6_400;

/// The part of packet and connection marks that says that they are ours.
pub(super) const MARK: u32 = 0x6400_0000;

/// Where it stands.
pub(super) const MARK_MASK: u32 = 0xff00_0000;

/// Where the entry node's index stands.
pub(super) const NODE_MASK: u32 = 0xffff;

/// The task sees this node instead of the client: the answer would not come back here otherwise, or the user wants it.
pub(super) const OWN_SOURCE: u32 = 0x0001_0000;

/// What a packet carries from the routing of one that was translated within overlays to the bridge that it leaves through: its
/// answer has to come back here. Connections never have it.
pub(super) const ANSWERED_HERE: u32 = MARK | 0x0002_0000;

/// What the name of an overlay's bridge begins with; its number follows.
pub(super) const BRIDGE_PREFIX: &str = "skep";

/// What the name of an overlay's VXLAN device begins with; its number follows.
pub(super) const TUNNEL_PREFIX: &str = "skepx";

/// The priority of the rule that leads what has no mark of ours past our rules.
pub(super) const RULE_PAST: u32 = 6_300;

/// The priority of the rules that lead answers to their entry nodes.
pub(super) const RULE_ENTRY: u32 = 6_301;

/// The priority of the rule behind ours, at which others go on.
pub(super) const RULE_BEHIND: u32 = 6_399;
