//! task
pub mod container;
pub mod plan;
pub mod snapshot;
pub mod status;
#[cfg(test)]
mod tests;
pub mod view;
