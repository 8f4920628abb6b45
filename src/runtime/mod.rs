//! Layer 2: what every controller runs on.
//!
//! One datum's way: a change reaches the `watcher`, which feeds the [`cache`]; subscribers put keys into their
//! [`queue`]; a [`controller`] plans from the cache ([`plan`], [`view`]) and the executor `apply` writes the plan under
//! the fence of its `leader`ship; [`recorder`] turns notes into events. The door [`clock`] is the only way to time and
//! randomness.

pub mod accept;
pub mod backoff;
pub mod cache;
pub mod clock;
pub mod controller;
pub mod measured;
pub mod plan;
pub mod queue;
pub mod recorder;
pub mod shared;
pub mod view;
