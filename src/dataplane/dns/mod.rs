//! Names of services and tasks: what a node's agent answers on port 53 of each overlay's gateway address.
//!
//! | # | The datum | Where |
//! |---|---|---|
//! | 1 | what names there are, with the state of a node | `names.rs` (computed in `controllers/network/names.rs`) |
//! | 2 | the same by name and by address | `book.rs` |
//! | 3 | a message and its question | `message.rs` |
//! | 4 | what is answered to whom | `answer.rs` |
//! | 5 | what the node's own resolvers are asked | `resolvers.rs`, `forward.rs` |
//! | 6 | sockets, limits, counts | `server.rs`, `counts.rs` |
//!
//! Pure are all files but `forward.rs` and `server.rs`.
//!
//! # Names
//!
//! `web` and `web.<namespace>` lead to the virtual address of a service, or with `endpointMode: dnsrr` to its tasks;
//! `tasks.web` to all of them, `<slot>.web` (`1.web`, of a global service `<node>.web`) and the container's name to one; aliases as
//! the service does; a container of others in an attachable network by its name, as long as nothing of ours is called so, and
//! its short id. All with the namespace behind them, too. Addresses lead back to names (PTR), and
//! `_<port's name>._<protocol>.web` to ports (SRV).
//!
//! In networks that carry IPv6 each of these addresses has one of IPv6 beside it, which is told to who asks for it (AAAA, and PTR
//! below `ip6.arpa`): the one that goes with it, or what the network says otherwise. The book has addresses of IPv4 alone. Both are
//! always of the same network, and where that carries no IPv6 a name has no such address.
//!
//! # Invariants
//!
//! - Only tasks that serve are named. Who asks from an address of an overlay sees what is on the networks of the task that has
//!   it, and nothing else of ours; who asks from anywhere else is refused.
//! - What is ours is answered from the state in force, with a time to live of seconds; that a name does not exist is never
//!   kept by anybody (such answers carry no SOA record).
//! - Everything else goes to the resolvers of the node, as it was asked, and comes back as it was answered. Who is on internal
//!   networks only is told that such names do not exist.
//! - Whatever arrives, nothing panics, waits for ever or grows without bounds: beyond [`server`]'s limits is told SERVFAIL.
//!
//! The engine's embedded resolver stands in front in containers, and answers for what it knows itself: containers of its
//! own engine, and aliases that it was given. So containers are never called as services are, and no aliases are given to it.
//!
//! What the agent needs for it: NET_BIND_SERVICE, as ports below 1024 are the host's, and the host's `/etc/resolv.conf`.
//!
//! Deliberately absent: a cache, sockets on the gateways' addresses of IPv6 (whoever is on an overlay has an address of IPv4 to ask
//! from), and answers to the node's own programs.

pub mod answer;
pub mod book;
pub mod container;
pub mod counts;
mod forward;
pub mod message;
pub mod names;
pub mod resolvers;
pub mod server;
#[cfg(test)]
mod tests;
