//! The task controller: Task -> container on an engine.

pub mod container;
