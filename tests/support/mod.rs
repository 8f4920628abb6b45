//! What the tests share: real engines, a real etcd, processes, images made on the spot.
//!
//! Each test program includes this folder with `#[path = "../support/mod.rs"] mod support;` and uses its part of it.
//!
//! Invariants:
//! - Everything that is started ends with the value that stands for it, also when a test panics.
//! - What an earlier run left behind (it was killed) is removed at the next start; what a run that is still alive
//!   made is left alone.
//! - Something that is missing fails the test with a message that says what to install. Only an engine version or etcd
//!   release that this machine cannot reach or boot is passed over, and then told as `not covered` (see [`covered`]).
#![allow(dead_code, reason = "no test program uses all of it")]

pub(crate) mod certificates;
pub(crate) mod covered;
pub(crate) mod docker;
pub(crate) mod etcd;
pub(crate) mod fields;
pub(crate) mod fleet;
pub(crate) mod frozen;
pub(crate) mod image;
pub(crate) mod node;
pub(crate) mod process;
pub(crate) mod stores;
pub(crate) mod vxlan;
pub(crate) mod wait;
