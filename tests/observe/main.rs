//! A manager as those who watch it see it: every metric of the list is fed, Prometheus scrapes it, `/readyz` says why.

#[path = "../support/mod.rs"]
mod support;

mod fed;
mod scraped;
