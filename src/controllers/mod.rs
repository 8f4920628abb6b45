//! Layer 3: the controllers, independent of each other.

pub mod task;
