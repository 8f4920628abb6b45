//! Layer 3: the controllers, independent of each other.

pub mod cluster;
pub mod network;
pub mod reaper;
pub mod task;
