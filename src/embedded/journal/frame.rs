//! Headers of files and the frames that follow them: lengths, order and checksums. Pure.
//!
//! A frame is 20 bytes and a payload: its kind, three marking bytes, the payload's length, its number in the whole
//! journal's order, and a CRC32C over all of it and over where it stands (kind and number of the file, offset). Because
//! the place is part of the checksum, a copy of a journal inside of a value is never taken for frames of this one.
//!
//! Numbers are little-endian.

use super::Identity;

/// The version of the format that this code writes and the newest that it reads.
pub const FORMAT: u32 = 1;

/// Bytes of a file's header. Below a sector's 512, so that a crash leaves all of it or nothing.
pub(super) const HEADER: usize = 72;

/// Bytes of a frame before its payload.
pub(super) const FRAME: usize = 20;

const MAGIC: [u8; 8] = *b"skepjrnl";
const MARK: [u8; 3] = [0xa7, 0x5e, 0xc3];

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FileKind {
    /// Groups of changes in the order in which they happened.
    Segment,
    /// The whole store before the segment of the same number.
    Snapshot,
}

impl FileKind {
    fn code(self) -> u32 {
        match self {
            Self::Segment => 1,
            Self::Snapshot => 2,
        }
    }
}

/// A file of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId {
    pub(super) kind: FileKind,
    pub(super) number: u64,
}

/// How a file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: FileId,
    pub(super) identity: Identity,
    /// The last group before this file; 0: none.
    pub(super) sequence: u64,
    /// The store's revision before this file; 0: not known yet.
    pub(super) revision: i64,
    /// How many bytes of the segment before are durable: what follows them there was never acknowledged. Of a snapshot 0.
    pub(super) previous_length: u64,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// They are something else, or damaged.
    Damaged,
    /// A newer version wrote them.
    Newer(u32),
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&self.id.kind.code().to_le_bytes());
        out.extend_from_slice(&self.id.number.to_le_bytes());
        out.extend_from_slice(&self.identity.cluster.to_le_bytes());
        out.extend_from_slice(&self.identity.member.to_le_bytes());
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&self.revision.to_le_bytes());
        out.extend_from_slice(&self.previous_length.to_le_bytes());
        // Four bytes that a later format may use.
        out.extend_from_slice(&[0; 4]);
        let sum = crc32c::crc32c(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out.try_into().expect("the fields are as long as a header")
    }

    /// Reads the header of the file that is called `id`.
    ///
    /// # Errors
    /// It is damaged, another file's, or of a newer format.
    pub(super) fn decode(bytes: &[u8], id: FileId) -> Result<Self, BadHeader> {
        if bytes.len() < HEADER || bytes[..8] != MAGIC {
            return Err(BadHeader::Damaged);
        }
        let format = u32_at(bytes, 8);
        if format > FORMAT {
            return Err(BadHeader::Newer(format));
        }
        let is_whole = crc32c::crc32c(&bytes[..HEADER - 4]) == u32_at(bytes, HEADER - 4);
        let is_it = u32_at(bytes, 12) == id.kind.code() && u64_at(bytes, 16) == id.number;
        if !is_whole || !is_it || format != FORMAT {
            return Err(BadHeader::Damaged);
        }
        Ok(Self {
            id,
            identity: Identity {
                cluster: u64_at(bytes, 24),
                member: u64_at(bytes, 32),
            },
            sequence: u64_at(bytes, 40),
            revision: u64_at(bytes, 48).cast_signed(),
            previous_length: u64_at(bytes, 56),
        })
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Changes that were written and made durable together.
    Group,
    /// The group of the same number is durable.
    Seal,
    /// The end of a snapshot: its number is that of the groups before it.
    End,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Group => 1,
            Self::Seal => 2,
            Self::End => 3,
        }
    }

    fn of(code: u8) -> Option<Self> {
        [Self::Group, Self::Seal, Self::End]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// A frame's fields before the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) length: usize,
    pub(super) sequence: u64,
}

impl Head {
    /// Reads the fields; none: these bytes begin no frame. Whether the checksum is right says [`is_whole`].
    pub(super) fn decode(bytes: &[u8; FRAME]) -> Option<Self> {
        if bytes[1..4] != MARK {
            return None;
        }
        Some(Self {
            kind: Kind::of(bytes[0])?,
            length: u32_at(bytes, 4) as usize,
            sequence: u64_at(bytes, 8),
        })
    }
}

/// The offsets within `bytes` at which a frame may begin.
pub(super) fn candidates(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let marks = bytes.windows(4).enumerate();
    marks.filter_map(|(at, window)| (window[1..] == MARK).then_some(at))
}

/// Whether a frame, fields and payload, is what was written at `offset` of the file.
pub(super) fn is_whole(frame: &[u8], id: FileId, offset: u64) -> bool {
    u32_at(frame, 16) == checksum(frame, id, offset)
}

/// Appends a frame to `out`, whose first byte stands at `base` of the file; `fill` appends its payload.
///
/// # Errors
/// The payload is longer than a frame can say (4 GiB); `out` is as before.
pub(super) fn append(
    out: &mut Vec<u8>,
    base: u64,
    id: FileId,
    (kind, sequence): (Kind, u64),
    fill: impl FnOnce(&mut Vec<u8>),
) -> Result<(), usize> {
    let start = out.len();
    out.push(kind.code());
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    fill(out);
    let length = out.len() - start - FRAME;
    let Ok(said) = u32::try_from(length) else {
        out.truncate(start);
        return Err(length);
    };
    out[start + 4..start + 8].copy_from_slice(&said.to_le_bytes());
    let sum = checksum(&out[start..], id, base + start as u64);
    out[start + 16..start + 20].copy_from_slice(&sum.to_le_bytes());
    Ok(())
}

fn checksum(frame: &[u8], id: FileId, offset: u64) -> u32 {
    let sum = crc32c::crc32c(&id.kind.code().to_le_bytes());
    let sum = crc32c::crc32c_append(sum, &id.number.to_le_bytes());
    let sum = crc32c::crc32c_append(sum, &offset.to_le_bytes());
    let sum = crc32c::crc32c_append(sum, &frame[..16]);
    crc32c::crc32c_append(sum, &frame[FRAME..])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let field = bytes[at..at + 4].try_into();
    u32::from_le_bytes(field.expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let field = bytes[at..at + 8].try_into();
    u64::from_le_bytes(field.expect("eight bytes"))
}
