//! Tests on a fleet of real Docker Engines of several versions.
//!
//! They need root's docker, and make everything else themselves: see `tests/fleet/images/build`.

#[path = "../support/mod.rs"]
mod support;

mod helper;
