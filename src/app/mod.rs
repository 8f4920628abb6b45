//! Layer 5: the processes that the binary can be.

pub mod whoami;
