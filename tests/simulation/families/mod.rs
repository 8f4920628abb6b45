//! The families that are exhaustive: each plays a trick at every point of a scenario's reference run where it can be
//! played, and the end is the same.
//!
//! The pattern is Sieve's (Sun et al., OSDI 2022): a controller sees the world through a view and changes it through
//! calls, so a run is a sequence of both, and whatever can go wrong between two of them can be tried at each.

mod deeds;
mod family;
mod jobs;
mod play;
mod points;
mod state;
mod table;

pub(crate) use family::Family;
pub(crate) use table::{families, sample};
