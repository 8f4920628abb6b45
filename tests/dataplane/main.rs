//! The data plane on real kernels: nodes are network namespaces on one wire, tasks are namespaces behind their overlays'
//! bridges, and `skep agent` programs each node.
//!
//! Needs root, `ip`, `iptables`, `iptables-legacy`, `nft` and `unshare`; fails without them. A namespace lives as long as a process of this
//! program, so nothing is left behind, however the program ends.

// A panic with its place is what a test's own parts owe, too; clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "../support/frozen.rs"]
#[allow(dead_code, reason = "agents are killed, not frozen")]
mod frozen;
#[path = "../support/process.rs"]
#[allow(dead_code, reason = "agents need a part of it")]
mod process;
#[path = "../support/vxlan.rs"]
mod vxlan;
#[path = "../support/wait.rs"]
#[allow(dead_code, reason = "the agent's parts wait by themselves")]
mod wait;

mod bridged;
mod cluster;
mod legacy;
mod listing;
mod matrix;
mod names;
mod namespace;
mod traffic;
mod trouble;
