//! Tests on a fleet of real Docker Engines of several versions, with a real etcd and `skep manager` as processes.
//!
//! They need root's docker, and make everything else themselves: see `tests/fleet/images/build`. One fleet runs at a
//! time; a test goes through many scenarios on its fleet and prints a line for each that passed.

#[path = "../support/mod.rs"]
mod support;

mod attachable;
mod fields;
mod helper;
mod history;
mod ingress;
mod ipv6;
mod kernel;
mod managers;
mod misuse;
mod network_clashes;
mod network_legacy;
mod network_troubles;
mod networks;
mod nodes;
mod see;
mod single;
mod store;
mod tls;
mod underlay;
mod workloads;
mod world;
