//! Tables of what is refused.
