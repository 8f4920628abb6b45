//! Layer 5: a simulated fleet behind the doors, for tests and the simulator.
//!
//! [`SimEngine`] keeps containers in memory and behaves as an engine does, lies on demand included; [`SimFleet`] hands
//! engines out by URL. Deterministic: the same calls in the same order give the same ids, ports and times.
//!
//! [`check::Judge`] watches a whole simulated run: store and engines, after every step.
//!
//! Deliberately absent: networks, volumes and processes; what a container does is said by the test
//! ([`Behaviour`], [`SimEngine::exit`], [`SimEngine::set_health`]).

pub mod check;
#[cfg(test)]
mod check_tests;
pub mod clock;
mod container;
mod engine;
mod fault;
mod fleet;
mod hand;
mod records;
mod state;
#[cfg(test)]
mod tests;
mod witness;

pub use container::Behaviour;
pub use engine::SimEngine;
pub use fault::Fault;
pub use fleet::SimFleet;
pub use state::{Call, Registry};
pub use witness::{Happening, Witness};
