//! Netlink: how the kernel is asked and told. `message.rs` (pure) writes and reads messages and their attributes,
//! `socket.rs` exchanges them.
//!
//! Written by hand because nf_tables needs it anyway, and one way for everything is less than two.

pub(super) mod conntrack;
pub(super) mod message;
pub(super) mod route;
pub(super) mod socket;

pub(super) use socket::Error;
