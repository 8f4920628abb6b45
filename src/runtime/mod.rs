//! Layer 2: what every controller runs on.

pub mod cache;
pub mod clock;
pub mod controller;
pub mod pack;
pub mod plan;
pub mod view;
