//! What the files of a journal are called. Pure.

use super::frame::{FileId, FileKind};

/// The space that is kept for a full disk.
pub(super) const RESERVE: &str = "reserve";

/// How unfinished files end.
const UNFINISHED: &str = ".tmp";

/// What a file is called; numbers have a fixed width, so that a listing is in order.
pub(super) fn name(id: FileId) -> String {
    match id.kind {
        FileKind::Segment => format!("segment-{:012}", id.number),
        FileKind::Snapshot => format!("snapshot-{:012}", id.number),
    }
}

/// What a snapshot is called until it is whole.
pub(super) fn unfinished(id: FileId) -> String {
    name(id) + UNFINISHED
}

/// Whether a file was left unfinished.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.strip_suffix(UNFINISHED)
        .is_some_and(|rest| parse(rest).is_some())
}

/// Which file is called so; none: it is not of the journal.
pub(super) fn parse(called: &str) -> Option<FileId> {
    let (kind, number) = called.split_once('-')?;
    let kind = match kind {
        "segment" => FileKind::Segment,
        "snapshot" => FileKind::Snapshot,
        _ => return None,
    };
    let number = number.parse().ok()?;
    let id = FileId { kind, number };
    (name(id) == called).then_some(id)
}

/// What the copy of a torn tail is called.
pub(super) fn torn(id: FileId, offset: u64) -> String {
    format!("torn-{}-at-{offset}", name(id))
}

/// What the copy of a damaged file is called: the first such name that is not taken.
pub(super) fn damaged(id: FileId, taken: &[String]) -> String {
    let plain = format!("damaged-{}", name(id));
    let numbered = (2u64..).map(|count| format!("{plain}.{count}"));
    std::iter::once(plain.clone())
        .chain(numbered)
        .find(|candidate| !taken.contains(candidate))
        .unwrap_or(plain)
}
