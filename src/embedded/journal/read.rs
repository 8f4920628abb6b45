//! Reads a file's header and frames, with one buffer however large the file is.

use super::codec::Reason;
use super::disk::File;
use super::frame::{self, FRAME, FileId, HEADER, Head, Kind};
use std::io;

/// How much is read at once, at least.
const AHEAD: usize = 256 * 1024;

/// The part of a file that was read last.
struct Window<'a> {
    file: &'a dyn File,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// `length` bytes from `offset`; fewer at the end of the file.
    fn get(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let left = self.length.saturating_sub(offset);
        let length = usize::try_from(left).map_or(length, |left| length.min(left));
        let is_held =
            offset >= self.start && offset + length as u64 <= self.start + self.bytes.len() as u64;
        if !is_held {
            let ahead = usize::try_from(left).map_or(AHEAD, |left| AHEAD.min(left));
            self.bytes.resize(length.max(ahead), 0);
            let count = self.file.read_at(offset, &mut self.bytes)?;
            self.bytes.truncate(count);
            self.start = offset;
            if count < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..from + length])
    }

    /// Where the last byte stands that is not zero, and one more; `from` where there is none after it.
    fn end_of_content(&mut self, from: u64) -> io::Result<u64> {
        let (mut at, mut end) = (from, from);
        while at < self.length {
            let bytes = self.get(at, AHEAD)?;
            let read = bytes.len() as u64;
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                end = at + last as u64 + 1;
            }
            at += read;
        }
        Ok(end)
    }
}

/// The frames of a file, one after another.
pub(super) struct Frames<'a> {
    window: Window<'a>,
    id: FileId,
    at: u64,
}

/// What stands next in a file.
pub(super) enum Next<'a> {
    /// A frame that is as it was written.
    Frame { head: Head, payload: &'a [u8] },
    /// Nothing, or only the zeros that space is prepared with.
    End,
    /// Something else.
    Bad(Reason),
}

impl<'a> Frames<'a> {
    /// Reads from behind the header.
    pub(super) fn new(file: &'a dyn File, id: FileId) -> io::Result<Self> {
        let window = Window {
            length: file.length()?,
            file,
            start: 0,
            bytes: Vec::new(),
        };
        Ok(Self {
            window,
            id,
            at: HEADER as u64,
        })
    }

    /// Where the next frame stands.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// How many bytes from `offset` on there are before nothing but zeros follows.
    pub(super) fn content_after(&mut self, offset: u64) -> io::Result<u64> {
        Ok(self.window.end_of_content(offset)? - offset)
    }

    /// Whether the file holds nothing but zeros, or nothing at all.
    pub(super) fn is_blank(&mut self) -> io::Result<bool> {
        let begins_blank = self.header()?.iter().all(|byte| *byte == 0);
        Ok(begins_blank && self.content_after(0)? == 0)
    }

    /// The header's bytes, as far as there are any.
    pub(super) fn header(&mut self) -> io::Result<&[u8]> {
        self.window.get(0, HEADER)
    }

    /// Reads the next frame and goes on behind it, where there is one.
    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        let at = self.at;
        let fields = self.window.get(at, FRAME)?;
        if fields.iter().all(|byte| *byte == 0) && self.window.end_of_content(at)? == at {
            return Ok(Next::End);
        }
        let whole = match self.measure(at)? {
            Ok((head, length)) => (head, length),
            Err(reason) => return Ok(Next::Bad(reason)),
        };
        let (head, length) = whole;
        let frame = self.window.get(at, length)?;
        if !frame::is_whole(frame, self.id, at) {
            return Ok(Next::Bad("the checksum of a record is wrong"));
        }
        self.at = at + length as u64;
        Ok(Next::Frame {
            head,
            payload: &frame[FRAME..],
        })
    }

    /// The fields of the frame at `at` and its whole length, if one may stand there.
    fn measure(&mut self, at: u64) -> io::Result<Result<(Head, usize), Reason>> {
        let left = self.window.length.saturating_sub(at);
        let Ok(fields) = <&[u8; FRAME]>::try_from(self.window.get(at, FRAME)?) else {
            return Ok(Err("the file ends within a record"));
        };
        let Some(head) = Head::decode(fields) else {
            return Ok(Err("no record begins there"));
        };
        let length = FRAME + head.length;
        if length as u64 > left {
            return Ok(Err("the file ends within a record"));
        }
        Ok(Ok((head, length)))
    }

    /// Whether something beyond `from` proves that more than group `last` was durable.
    ///
    /// A group is written only when the one before it is durable, and a seal when its own is.
    pub(super) fn proves_more_than(&mut self, last: u64, from: u64) -> io::Result<bool> {
        let mut base = from;
        while base < self.window.length {
            let bytes = self.window.get(base, AHEAD)?;
            let step = bytes.len().saturating_sub(3).max(1) as u64;
            let places: Vec<usize> = frame::candidates(bytes).collect();
            for place in places {
                let at = base + place as u64;
                let Ok((head, length)) = self.measure(at)? else {
                    continue;
                };
                let proven = match head.kind {
                    Kind::Seal => head.sequence,
                    Kind::Group => head.sequence.saturating_sub(1),
                    Kind::End => 0,
                };
                if proven > last && frame::is_whole(self.window.get(at, length)?, self.id, at) {
                    return Ok(true);
                }
            }
            base += step;
        }
        Ok(false)
    }
}
