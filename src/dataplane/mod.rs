//! Layer 3: the data plane of a node: what its kernel does with the packets of tasks.
//!
//! Overlays between nodes, virtual addresses of services, and ports that every node answers on. An [`agent`] on each node is
//! given the node's [`state`], looks at the [`kernel`], and does what the [`plan`] says through the door [`host::Host`].
//! Nobody learns from packets who is where: every entry is computed and put. Only behind which of a node's own ports a task is
//! is seen by the bridge, as engines do not say it.
//!
//! | # | The datum | Where |
//! |---|---|---|
//! | 1 | what should be: a state, or a change of one | `state.rs`, `delta.rs` (computed in `controllers/network/state.rs`) |
//! | 2 | the kernel that it means | `wanted.rs`, `fast_path.rs`, `nftables/elements.rs`, `nftables/rules.rs`, `nftables/bridge.rs`, `nftables/fast_path.rs`; of backends alone `backends.rs` |
//! | 3 | the kernel that is there | `host/linux.rs`, `netlink/`, `nftables/decode.rs` |
//! | 4 | operations from one to the other | `plan.rs`, `nftables/diff.rs` |
//! | 5 | messages to the kernel | `netlink/route.rs`, `nftables/encode.rs` |
//! | 6 | what is programmed, mended, refused | `agent/` |
//! | 7 | what tasks ask by name | `dns/` |
//! | 8 | whether it leads where it should | `probe.rs` (`skep netcheck`) |
//! | 9 | what load balancers outside ask | `health/` |
//!
//! Pure are all files but `agent/`, `host/`, `netlink/socket.rs`, `dns/forward.rs`, `dns/server.rs` and `health/server.rs`.
//!
//! # How packets go
//!
//! *Router.* Each node is a router for its overlays, with one hardware address for all of them that holds the node's own
//! address. A frame of a task is lifted into the node's IP stack, which sends it on to the local task or, in VXLAN, to the
//! router of the task's node: with one forwarding entry for each other node, and address translation that works whether
//! bridges call iptables or not. The price is a pass through two IP stacks between nodes.
//!
//! *Bridges.* What two tasks say to each other over TCP and UDP needs no translation, so it stays on the bridges, with a
//! forwarding entry for each task: where both containers were seen with the hardware address that follows from their own
//! ([`state::Network::bridged`]). Others, whose engine or user gave them another, are lifted. `nftables/bridge.rs` says what
//! else is, and how answers to virtual addresses are told from what only looks like them.
//!
//! *Fast path.* Where the kernel can, such frames do not reach the bridge either: the link that takes one in hands it to the link
//! that it leaves through, by a map of hardware addresses (`fast_path.rs`, `nftables/fast_path.rs`). They are spared the bridge
//! and, where bridges call iptables, connection tracking and all rules of others for routed packets. All else goes on to the
//! bridge, and passes the router there.
//!
//! *Virtual addresses* are nobody's: the VXLAN device answers for them with the node's router, and maps of nf_tables choose
//! a task. *Published ports* keep the client's address; `nftables/rules.rs` says how answers find their way back.
//!
//! *IPv6.* A network may carry it beside IPv4. Who has an address there has the one of the other version that goes with it
//! ([`address::Dual`]), so a state says everything once, and tables, neighbours and ways of IPv6 are those of IPv4 with the
//! other addresses. VXLAN itself stays between the nodes' addresses of IPv4.
//!
//! # Invariants
//!
//! - Networks are isolated before the first link of one exists, and a way is there before anybody is sent on it.
//! - Entries are replaced, never added beside each other; a plan for what is there already is empty.
//! - Only what is ours by name or number is touched; of Docker's tables, one rule in the chain that is there for it, and the
//!   engine's own jump to that chain where it is out of order.
//! - What was made can be taken away without a trace, and settings of the namespace are put back.
//!
//! The managers' half, who starts agents and tells them states, is `controllers/task/agent`.
//!
//! Deliberately absent, for now: encryption, nodes that reach each other over IPv6 alone, and translation in tasks' own
//! namespaces, which would spare virtual addresses a pass through an IP stack.

pub mod address;
pub mod agent;
mod backends;
mod checks;
pub mod connections;
mod constants;
pub mod delta;
#[cfg(test)]
mod delta_tests;
pub mod dns;
mod fast_path;
pub mod health;
pub mod host;
pub mod kernel;
mod netlink;
pub mod nftables;
mod occupied;
#[cfg(test)]
mod occupied_tests;
pub mod plan;
pub mod probe;
mod settings;
pub mod shared;
pub mod state;
#[cfg(test)]
pub(crate) mod state_tests;
pub mod wanted;
pub mod xtables;
