//! nf_tables: the rules of a node, as data and over netlink. No `nft` or `iptables` program is needed. All pure: the door
//! exchanges the messages.
//!
//! | File | |
//! |---|---|
//! | `ruleset.rs` | tables, chains, rules, sets, maps |
//! | `expression.rs` | what a rule is made of, as the kernel reads it |
//! | `rules.rs` | the static chains of ours: the packet's way, in order; `parts.rs` has what they say again and again |
//! | `bridge.rs` | the chains of frames: what passes the router, and what stays on bridges |
//! | `fast_path.rs` | the chains of single links: what goes past the bridge |
//! | `tables.rs` | the tables with their hooks, sets and maps |
//! | `backends.rs` | the chains that choose a backend |
//! | `answers.rs` | the answers that are expected of connections from before |
//! | `elements.rs` | what the sets and maps hold for a state |
//! | `diff.rs`, `apply.rs`, `late.rs` | from one ruleset to another; what a change makes of a table; what of it has to wait |
//! | `encode.rs`, `decode.rs` | changes as one atomic batch; what the kernel lists |
//! | `guest.rs` | our one rule in Docker's own chain, and the jump there |
//!
//! Invariants:
//! - Only elements change while services come and go: a chain per *number* of backends, never one per service.
//! - A rule carries its text and a hash of its body as its comment. The kernel has no way to change a rule in place, so
//!   equal comments in equal order are equal chains, and nothing of what the kernel lists need be interpreted.
//! - Everything of one change is one batch: the kernel does all of it or nothing.

pub(super) mod answers;
pub(super) mod apply;
mod backends;
mod bridge;
pub(super) mod decode;
pub(super) mod diff;
pub(super) mod elements;
pub(super) mod encode;
mod expression;
pub(super) mod fast_path;
pub(super) mod guest;
pub(super) mod late;
mod parts;
mod rules;
pub mod ruleset;
mod tables;
#[cfg(test)]
mod tests;
