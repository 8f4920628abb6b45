//! Scenarios: whole managers over the in-memory store and simulated engines, in virtual time.
//!
//! Each is named after what it shows; those that prove a rule of `src/rules.md` begin with its name.

mod clusters;
mod containers;
mod crash;
mod kills;
mod life;
mod line;
mod manifests;
mod nodes;
mod store;
mod pulls;
mod told;
mod world;
