//! The command line: verbs in process over the in-memory store and simulated engines, and the real binary where no
//! store is needed.

mod binary;
mod change;
mod look;
mod tasks;
mod world;
