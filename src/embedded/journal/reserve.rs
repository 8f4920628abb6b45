//! Space that is kept for a full disk: a file that is given up so that deletions, compactions and a snapshot still fit.

use super::disk::Disk;
use super::names::RESERVE;
use std::io;

/// Takes the space again, if it is not held. On a disk that is full it is not, and that is no error.
pub(super) fn take(disk: &dyn Disk, bytes: u64) {
    if bytes == 0 {
        return;
    }
    let held = disk.open(RESERVE).and_then(|file| file.length());
    if held.is_ok_and(|held| held >= bytes) {
        return;
    }
    let _ = disk.remove(RESERVE);
    let taken = disk
        .create(RESERVE)
        .and_then(|mut file| file.allocate(bytes));
    if taken.is_err() {
        let _ = disk.remove(RESERVE);
    }
}

/// Gives the space up; whether there was any.
pub(super) fn release(disk: &dyn Disk) -> io::Result<bool> {
    match disk.remove(RESERVE) {
        Ok(()) => {
            // File systems with a journal of their own give blocks back only when that is written.
            disk.sync_directory()?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
