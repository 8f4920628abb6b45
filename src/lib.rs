//! skep: a Kubernetes-style control plane over plain Docker Engines.

pub mod api;
pub mod embedded;
pub mod engine;
pub mod runtime;
pub mod store;
