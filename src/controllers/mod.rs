//! Layer 3: the controllers. None imports another; they meet in the store.

pub mod node;
pub mod task;
