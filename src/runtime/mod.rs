//! Layer 2: what every controller runs on.

pub mod accept;
pub mod cache;
pub mod clock;
pub mod controller;
pub mod plan;
pub mod view;

#[cfg(test)]
pub(crate) mod fixture;
