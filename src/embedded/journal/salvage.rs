//! Salvage: keeps what stands before damage, and sets aside the rest. Only where a person asked for it.

use super::aside;
use super::codec::Reason;
use super::disk::{Disk, File};
use super::error::Error;
use super::frame::{self, FileId, FileKind, HEADER, Kind};
use super::inventory::Inventory;
use super::names;
use super::read::{Frames, Next};
use super::recover::{Recovery, segment};
use super::report::Salvaged;
use std::io;

/// Sets aside the damaged file and those after it. `recovery` ends before the damage afterwards.
///
/// The damaged segment itself stays, as the next one says up to where it counts.
///
/// # Errors
/// The disk failed, or nothing stands before the damage.
pub(super) fn salvage(
    recovery: &mut Recovery<'_>,
    inventory: &Inventory,
    id: FileId,
    offset: u64,
    reason: Reason,
) -> Result<(), Error> {
    let is_segment = id.kind == FileKind::Segment;
    let has_none_before = is_segment && recovery.tail.0 == 0;
    let nothing_is_left = recovery.identity.is_none()
        || (!is_segment && offset == 0)
        || (has_none_before && inventory.snapshot.is_none());
    if nothing_is_left {
        let file = names::name(id);
        return Err(Error::Corrupt {
            file,
            offset,
            reason,
        });
    }
    let failed = |source| Error::of("salvage", names::name(id), source);
    let set_aside = set_aside(recovery.disk, inventory, id, offset).map_err(failed)?;
    if !is_segment {
        end_snapshot(recovery.disk, id, offset).map_err(failed)?;
    }
    if !is_segment || has_none_before {
        recovery.tail = (id.number - 1, 0);
    }
    recovery.report.salvaged = Some(Salvaged {
        file: names::name(id),
        offset,
        reason,
        set_aside,
    });
    Ok(())
}

/// Copies the damaged file and renames those after it, the last one first, so that a crash leaves no gap.
fn set_aside(
    disk: &dyn Disk,
    inventory: &Inventory,
    id: FileId,
    offset: u64,
) -> io::Result<Vec<String>> {
    let mut set_aside = Vec::new();
    let is_copied = id.kind == FileKind::Snapshot || offset >= HEADER as u64;
    let from = if id.kind == FileKind::Segment && is_copied {
        id.number + 1
    } else {
        id.number
    };
    for number in inventory.segments.range(from..).rev() {
        let name = names::damaged(segment(*number), &inventory.names);
        disk.rename(&names::name(segment(*number)), &name)?;
        disk.sync_directory()?;
        set_aside.push(name);
    }
    if is_copied {
        let name = names::damaged(id, &inventory.names);
        let bytes = disk.open(&names::name(id))?.length()?;
        aside::copy(disk, &names::name(id), 0, bytes, &name)?;
        set_aside.push(name);
    }
    Ok(set_aside)
}

/// Ends a snapshot at `offset`: what stands before it is whole from now on.
fn end_snapshot(disk: &dyn Disk, id: FileId, offset: u64) -> io::Result<()> {
    let mut file = disk.open(&names::name(id))?;
    let (groups, is_ended) = before(&*file, id, offset)?;
    file.set_length(offset)?;
    if !is_ended {
        let mut end = Vec::new();
        frame::append(&mut end, offset, id, (Kind::End, groups), |_| {})
            .expect("the end of a snapshot has no payload");
        file.write_at(offset, &end)?;
    }
    file.sync()
}

/// How many groups stand before `offset` of a snapshot, and whether its end does.
fn before(file: &dyn File, id: FileId, offset: u64) -> io::Result<(u64, bool)> {
    let mut frames = Frames::new(file, id)?;
    let (mut groups, mut is_ended) = (0, false);
    while frames.at() < offset {
        match frames.next()? {
            Next::Frame { head, .. } if head.kind == Kind::Group => groups += 1,
            Next::Frame { .. } => is_ended = true,
            Next::End | Next::Bad(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    Ok((groups, is_ended))
}
