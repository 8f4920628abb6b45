//! Layer 3: the controllers. None imports another; they meet in the store.

pub mod cluster;
pub mod network;
pub mod node;
pub mod reaper;
pub mod scheduler;
pub mod service;
pub mod task;

#[cfg(test)]
pub(crate) mod fixture;
