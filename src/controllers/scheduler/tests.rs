//! Placements (written below).
