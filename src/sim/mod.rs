//! Layer 5: a simulated fleet behind the doors, for tests and the simulator.
//!
//! [`SimEngine`] keeps containers in memory and behaves as an engine does, lies on demand included; [`SimFleet`] hands
//! engines out by URL. Deterministic: the same calls in the same order give the same ids, ports and times.
//!
//! [`world::World`] puts whole managers with their real wiring over them and a store in memory. Each manager has a
//! [`line`] to the store and a [`link`] to each engine, which can fail; a [`world::Hook`] may wrap its doors. Everything
//! goes through the [`court`]: the trace, and [`check::Judge`], who looks at store and engines after every step. Equal
//! worlds to which the same is done have equal traces.
//!
//! What is done to a world, and when, is the business of `tests/simulation`.
//!
//! Deliberately absent: volumes and processes; what a container does is said by the test
//! ([`Behaviour`], [`SimEngine::exit`], [`SimEngine::set_health`]).

mod bounds;
pub mod check;
#[cfg(test)]
mod check_tests;
pub mod clock;
mod container;
pub mod court;
mod engine;
mod fault;
mod fleet;
mod hand;
mod judge;
pub mod line;
pub mod link;
mod mirror;
mod overlays;
pub mod process;
mod records;
mod state;
mod telling;
#[cfg(test)]
mod tests;
mod witness;
pub mod world;

pub use container::Behaviour;
pub use engine::SimEngine;
pub use fault::Fault;
pub use fleet::SimFleet;
pub use state::{Call, Registry};
pub use telling::Telling;
pub use witness::{Happening, Witness};
