//! skep: a Kubernetes-style control plane over plain Docker Engines.

pub mod api;
pub mod engine;
pub mod metrics;
pub mod runtime;
pub mod store;
