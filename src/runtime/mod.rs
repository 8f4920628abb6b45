//! Layer 2: what every controller runs on.
//!
//! One datum's way: a change reaches the [`watcher`], which feeds the [`cache`]; subscribers put keys into their
//! [`queue`]; a [`controller`] plans from the cache ([`plan`], [`view`]) and the executor [`apply`] writes the plan under
//! its leader's fence; [`changes`] wakes who waits for some keys only; [`term`] watches the key that gives a right; [`recorder`] turns notes into events and [`joins`] says who joins which network, [`published`] which number a port has; [`gauges`] shows the cache to Prometheus. The door [`clock`] is the only way to time and
//! randomness.

pub mod accept;
pub mod allocations;
pub mod apply;
pub mod backoff;
pub mod cache;
pub mod changes;
pub mod clock;
pub mod context;
pub mod controller;
pub mod gauges;
pub mod home;
pub mod joins;
mod lanes;
pub mod measured;
pub mod orders;
pub mod outage;
pub mod pack;
pub mod plan;
pub mod published;
pub mod queue;
pub mod reconciler;
pub mod recorder;
pub mod register;
pub mod runs;
mod said;
pub mod shared;
pub mod term;
pub mod view;
pub mod watcher;

#[cfg(test)]
pub(crate) mod fixture;
