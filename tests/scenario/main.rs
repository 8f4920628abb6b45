//! Scenarios: whole managers over the in-memory store and simulated engines, in virtual time.
//!
//! Each is named after what it shows; those that prove a rule of `src/rules.md` begin with its name.

mod clusters;
mod containers;
mod crash;
mod kills;
mod life;
mod line;
mod log;
mod manifests;
mod networks;
mod nodes;
mod pulls;
mod store;
mod told;
mod world;
