//! What a node says of a service's health to load balancers outside, as Kubernetes' `healthCheckNodePort` does: whether it
//! leads to tasks on all published ports of the service.

pub mod server;
mod status;

pub use status::{Answer, answers};
