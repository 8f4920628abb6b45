//! skep: a Kubernetes-style control plane over plain Docker Engines.

pub mod api;
pub mod cli;
pub mod controllers;
pub mod embedded;
pub mod engine;
pub mod runtime;
pub mod sim;
pub mod store;
