//! Layer 3: the controllers. They are independent: none imports another; what they share stands in `runtime` or `api`.

pub mod scheduler;
pub mod service;

#[cfg(test)]
pub(crate) mod fixture;
