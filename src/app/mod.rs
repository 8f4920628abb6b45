//! Layer 5: wiring. The doors are arguments: the binary passes etcd, real engines and the machine's clock, tests pass
//! simulated ones.

mod agent;
mod agent_socket;
pub mod arguments;
mod hosted;
mod logs;
pub mod manager;
mod probe;
pub mod process;
mod single;
pub mod state;
pub mod whoami;
