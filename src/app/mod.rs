//! Layer 5: wiring. The doors are arguments: the binary passes etcd, real engines and the machine's clock, tests pass
//! simulated ones.

pub mod arguments;
pub mod manager;
pub mod process;
pub mod state;
pub mod whoami;
