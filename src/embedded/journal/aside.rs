//! Copies of what the journal no longer reads, kept beside it for people.

use super::disk::Disk;
use std::io;

/// Copied at once.
const PIECE: u64 = 256 * 1024;

/// Copies `bytes` bytes from `offset` of a file into a new file `to`, durably; one that is there is replaced.
pub(super) fn copy(
    disk: &dyn Disk,
    from: &str,
    offset: u64,
    bytes: u64,
    to: &str,
) -> io::Result<()> {
    let copied = try_copy(disk, from, offset, bytes, to);
    if copied.is_err() {
        // Half a copy would be taken for a whole one.
        let _ = disk.remove(to);
    }
    copied
}

fn try_copy(disk: &dyn Disk, from: &str, offset: u64, bytes: u64, to: &str) -> io::Result<()> {
    if disk.list()?.iter().any(|name| name == to) {
        disk.remove(to)?;
    }
    let source = disk.open(from)?;
    let mut target = disk.create(to)?;
    let mut done = 0;
    while done < bytes {
        let mut piece = vec![0; PIECE.min(bytes - done) as usize];
        let count = source.read_at(offset + done, &mut piece)?;
        if count == 0 {
            break;
        }
        target.write_at(done, &piece[..count])?;
        done += count as u64;
    }
    target.sync()?;
    disk.sync_directory()
}
