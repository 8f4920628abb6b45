//! The real engine: every call of the door, every field of a container, TLS, and what goes wrong.
//!
//! Needs a Docker Engine at `$DOCKER_HOST` or at the default socket, and busybox-static; fails without them. Everything
//! that it makes is called `skeng-*` and removed at the end.

// A panic with its place is what a test's own parts owe, too; clippy knows only functions marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "../support/fields.rs"]
mod cases;
#[path = "../support/image.rs"]
mod image;

mod calls;
mod exec;
mod failures;
mod fields;
mod images;
mod registry;
mod streams;
mod subject;
mod tls;
