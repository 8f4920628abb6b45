//! The hash of what a store holds: equal contents give equal hashes, on any machine. Pure. Of skep's own making: etcd's is
//! over its file's pages.

use crate::embedded::change::Change;
use crate::embedded::mvcc::{Error, Event, Mvcc, Query, Span};
use sha2::{Digest, Sha256};

/// The hash of keys and history up to a revision.
///
/// # Errors
/// The revision is compacted or in the future.
pub(super) fn hash(mvcc: &Mvcc, revision: i64) -> Result<u32, Error> {
    // Asks whether the revision can be read.
    mvcc.range(&Query {
        revision,
        count_only: true,
        ..Query::now(Span::One([0].into()))
    })?;
    let mut hash = Sha256::new();
    for change in mvcc.changes() {
        if let Change::Written {
            revision: written,
            events,
        } = change
            && written <= revision
        {
            hash.update(written.to_le_bytes());
            events.iter().for_each(|event| add(&mut hash, event));
        }
    }
    let digest = hash.finalize();
    Ok(u32::from_le_bytes([
        digest[0], digest[1], digest[2], digest[3],
    ]))
}

fn add(hash: &mut Sha256, event: &Event) {
    let mut text = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    text(event.key());
    let Some(stored) = event.stored() else {
        hash.update([0]);
        return;
    };
    text(&stored.value);
    for number in [
        stored.create_revision,
        stored.mod_revision,
        stored.version,
        stored.lease,
    ] {
        hash.update(number.to_le_bytes());
    }
}
