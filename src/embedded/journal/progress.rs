//! How revisions go on from change to change. Pure.

use crate::embedded::change::Change;

/// The revision after `change` of a journal, where it was `last` (0: not known yet).
///
/// # Errors
/// The change does not follow on: gives the revision that was found. Written revisions rise by one.
pub(super) fn follow(last: i64, change: &Change) -> Result<i64, i64> {
    match change {
        Change::Written { revision, .. } if last != 0 && *revision != last + 1 => Err(*revision),
        _ => Ok(raised(last, change)),
    }
}

/// The revision after `change` of a snapshot, which has gaps where history was forgotten.
pub(super) fn raised(last: i64, change: &Change) -> i64 {
    match change {
        Change::Written { revision, .. } | Change::Compacted { revision } => last.max(*revision),
        // These happen at a revision and make none; a snapshot does not tell those that are over.
        Change::Granted { .. } | Change::Ended { .. } | Change::Full { .. } => last,
    }
}
