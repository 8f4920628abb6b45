//! Layer 0, pure: the objects, their keys, and how users' text becomes them.
//!
//! Manifests look like Kubernetes, the vocabulary inside is Docker's. What a user wrote is parsed once into one tree
//! (`yaml/`: text, style, span), decoded from it (`de.rs`, shorthands in `decode.rs`), checked (`validate/`), and completed
//! with the defaults of one table (`default.rs`); `manifest/` does these in turn. What controllers write is JSON of the same types.
//!
//! Invariants: no type here holds a clock, a connection or randomness; what is printed reads back to the same value.

pub mod accepted;
pub mod allocation;
pub mod cluster;
pub mod constraint;
pub mod container;
pub mod de;
pub mod decode;
pub mod default;
pub mod diff;
pub mod edit;
pub mod feature;
pub mod hash;
pub mod key;
pub mod manifest;
pub mod name;
pub mod nearest;
pub mod network;
pub mod node;
pub mod path;
pub mod port_range;
pub mod published;
pub mod service;
pub mod shell;
pub mod shorthand;
pub mod status;
pub mod subnet;
pub mod task;
pub mod text;
pub mod time;
pub mod uid;
pub mod unit;
pub mod validate;
pub mod yaml;
pub mod yaml_text;
