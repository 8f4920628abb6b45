//! Mends a header of HTTP/2 that some clients write wrongly: `:authority`, to which etcdctl 3.4 gives a whole URL in its
//! calls on one endpoint (status, defrag, hashkv) when the endpoint was given as a URL. The transport refuses such a
//! request before anyone sees it; etcd takes it. Pure.
//!
//! Nothing here looks at who was meant, so every value is overwritten, in place and with as many bytes: no frame changes its
//! length. A value that the client does not repeat but refers to (HPACK's dynamic table) is the mended one then. An entry of
//! that table counts as no longer than what the client thinks, so the table forgets no earlier than the client's.

/// What the connection begins with.
const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
/// Types of frames.
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
/// Flags of frames of headers.
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The number of `:authority` in HPACK's static table.
const AUTHORITY: u64 = 1;

/// Follows the bytes that a client sends on one connection.
#[derive(Debug)]
pub(super) struct Mender {
    place: Place,
    fields: Fields,
}

/// Where in the stream of frames the next byte stands.
#[derive(Debug)]
enum Place {
    Preface(usize),
    Header {
        bytes: [u8; FRAME_HEADER],
        have: usize,
    },
    /// Bytes that are of no interest.
    Skip(usize),
    /// The length of the padding, then what else stands before the headers.
    Pad {
        left: usize,
        ends: bool,
        priority: usize,
    },
    Priority {
        skip: usize,
        left: usize,
        pad: usize,
        ends: bool,
    },
    Fields {
        left: usize,
        pad: usize,
        ends: bool,
    },
}

/// Where in a block of header fields the next byte stands.
#[derive(Debug, Default)]
enum Fields {
    /// At the beginning of a field.
    #[default]
    Start,
    /// In a number that says which field it is.
    Index {
        value: u64,
        shift: u32,
        literal: bool,
    },
    /// In a number that says nothing of interest.
    Number,
    /// At the length of a name or value.
    Length { after: Text, mend: bool },
    /// In a long length.
    LongLength {
        value: u64,
        shift: u32,
        after: Text,
        mend: bool,
    },
    /// In a name or value.
    Bytes { left: u64, after: Text, mend: bool },
}

/// What follows a text.
#[derive(Clone, Copy, Debug)]
enum Text {
    Value,
    Nothing,
}

impl Default for Mender {
    fn default() -> Self {
        Self {
            place: Place::Preface(PREFACE),
            fields: Fields::Start,
        }
    }
}

impl Mender {
    /// Mends the next bytes of the connection.
    pub(super) fn mend(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            at += match &mut self.place {
                // Whole stretches are passed over: most of what a client sends is data.
                Place::Preface(left) | Place::Skip(left) => {
                    let passed = (*left).min(bytes.len() - at);
                    *left -= passed;
                    if *left == 0 {
                        self.place = next_frame();
                    }
                    passed
                }
                _ => {
                    self.byte(&mut bytes[at]);
                    1
                }
            };
        }
    }

    fn byte(&mut self, byte: &mut u8) {
        self.place = match std::mem::replace(&mut self.place, Place::Skip(0)) {
            Place::Header { mut bytes, have } => {
                bytes[have] = *byte;
                if have + 1 < FRAME_HEADER {
                    Place::Header {
                        bytes,
                        have: have + 1,
                    }
                } else {
                    frame(&bytes)
                }
            }
            Place::Pad {
                left,
                ends,
                priority,
            } => {
                let pad = usize::from(*byte);
                let left = left.saturating_sub(1 + pad);
                before_fields(priority, left, pad, ends)
            }
            Place::Priority {
                skip,
                left,
                pad,
                ends,
            } => before_fields(skip - 1, left, pad, ends),
            Place::Fields { left, pad, ends } => {
                self.fields = std::mem::take(&mut self.fields).byte(byte);
                if left > 1 {
                    Place::Fields {
                        left: left - 1,
                        pad,
                        ends,
                    }
                } else {
                    if ends {
                        self.fields = Fields::Start;
                    }
                    skip(pad)
                }
            }
            other @ (Place::Preface(_) | Place::Skip(_)) => other,
        };
    }
}

fn next_frame() -> Place {
    Place::Header {
        bytes: [0; FRAME_HEADER],
        have: 0,
    }
}

fn skip(count: usize) -> Place {
    if count == 0 {
        next_frame()
    } else {
        Place::Skip(count)
    }
}

/// What a frame's header announces.
fn frame(header: &[u8; FRAME_HEADER]) -> Place {
    let length =
        usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
    let (kind, flags) = (header[3], header[4]);
    let ends = flags & END_HEADERS != 0;
    match kind {
        _ if length == 0 => next_frame(),
        HEADERS => {
            let priority = if flags & PRIORITY == 0 { 0 } else { 5 };
            let left = length.saturating_sub(priority);
            if flags & PADDED == 0 {
                before_fields(priority, left, 0, ends)
            } else {
                Place::Pad {
                    left,
                    ends,
                    priority,
                }
            }
        }
        CONTINUATION => before_fields(0, length, 0, ends),
        _ => Place::Skip(length),
    }
}

fn before_fields(skip_first: usize, left: usize, pad: usize, ends: bool) -> Place {
    if skip_first > 0 {
        return Place::Priority {
            skip: skip_first,
            left,
            pad,
            ends,
        };
    }
    if left == 0 {
        return skip(pad);
    }
    Place::Fields { left, pad, ends }
}

impl Fields {
    /// Where the byte after this one stands. Overwrites it if it belongs to an authority.
    fn byte(self, byte: &mut u8) -> Self {
        match self {
            Self::Start => start(*byte),
            Self::Index {
                value,
                shift,
                literal,
            } => {
                let value = value.saturating_add(more(*byte, shift));
                if *byte & 0x80 != 0 {
                    Self::Index {
                        value,
                        shift: shift + 7,
                        literal,
                    }
                } else if literal {
                    literal_field(value)
                } else {
                    Self::Start
                }
            }
            Self::Number if *byte & 0x80 != 0 => Self::Number,
            Self::Number => Self::Start,
            Self::Length { after, mend } => {
                let value = u64::from(*byte & 0x7f);
                if mend {
                    // The bytes that follow are plain, not in Huffman's code.
                    *byte &= 0x7f;
                }
                if value == 0x7f {
                    Self::LongLength {
                        value,
                        shift: 0,
                        after,
                        mend,
                    }
                } else {
                    text(value, after, mend)
                }
            }
            Self::LongLength {
                value,
                shift,
                after,
                mend,
            } => {
                let value = value.saturating_add(more(*byte, shift));
                if *byte & 0x80 != 0 {
                    Self::LongLength {
                        value,
                        shift: shift + 7,
                        after,
                        mend,
                    }
                } else {
                    text(value, after, mend)
                }
            }
            Self::Bytes { left, after, mend } => {
                if mend {
                    *byte = b'a';
                }
                text(left - 1, after, mend)
            }
        }
    }
}

/// A field's first byte: which kind it is, and the beginning of a number.
fn start(byte: u8) -> Fields {
    let (mask, literal) = match byte {
        0x80.. => (0x7f, false),
        0x40..0x80 => (0x3f, true),
        0x20..0x40 if byte & 0x1f == 0x1f => return Fields::Number,
        0x20..0x40 => return Fields::Start,
        _ => (0x0f, true),
    };
    let value = u64::from(byte & mask);
    if byte & mask == mask {
        Fields::Index {
            value,
            shift: 0,
            literal,
        }
    } else if literal {
        literal_field(value)
    } else {
        Fields::Start
    }
}

/// A field with its value, under a name of the table, or (0) with its name too.
fn literal_field(name: u64) -> Fields {
    if name == 0 {
        Fields::Length {
            after: Text::Value,
            mend: false,
        }
    } else {
        Fields::Length {
            after: Text::Nothing,
            mend: name == AUTHORITY,
        }
    }
}

fn text(left: u64, after: Text, mend: bool) -> Fields {
    match after {
        _ if left > 0 => Fields::Bytes { left, after, mend },
        Text::Value => Fields::Length {
            after: Text::Nothing,
            mend: false,
        },
        Text::Nothing => Fields::Start,
    }
}

/// The next seven bits of a number.
fn more(byte: u8, shift: u32) -> u64 {
    u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len();
        let mut frame = vec![
            0,
            (length >> 8) as u8,
            length as u8,
            kind,
            flags,
            0,
            0,
            0,
            1,
        ];
        frame.extend_from_slice(payload);
        frame
    }

    /// Mends a connection of these frames, in pieces of every size.
    fn check(frames: &[Vec<u8>], wanted: &[Vec<u8>]) {
        let whole = |frames: &[Vec<u8>]| [vec![b'P'; PREFACE], frames.concat()].concat();
        for size in 1..40 {
            let mut bytes = whole(frames);
            let mut mender = Mender::default();
            for piece in bytes.chunks_mut(size) {
                mender.mend(piece);
            }
            assert_eq!(bytes, whole(wanted), "in pieces of {size}");
        }
    }

    #[test]
    fn only_the_authority_is_overwritten() {
        let fields = |authority: &[u8]| {
            let mut block = vec![0x83, 0x86, 0x44, 4];
            block.extend_from_slice(b"/a/b");
            block.extend_from_slice(authority);
            // A name and a value, a long index, a new size of the table, one that is never to be indexed.
            block.extend_from_slice(&[0x40, 2, b'x', b'y', 1, b'z', 0xff, 0x10, 0x3f, 0xe1, 0x1f]);
            block.extend_from_slice(&[0x1f, 0x01, 3, b'a', b'b', b'c']);
            block
        };
        let data = frame(0, 0, &[0x41; 70]);
        let given = fields(&[0x41, 0x85, 1, 2, 3, 4, 5]);
        let mended = fields(&[0x41, 0x05, b'a', b'a', b'a', b'a', b'a']);
        check(
            &[
                frame(4, 0, &[0; 6]),
                frame(HEADERS, END_HEADERS, &given),
                data.clone(),
            ],
            &[
                frame(4, 0, &[0; 6]),
                frame(HEADERS, END_HEADERS, &mended),
                data.clone(),
            ],
        );
        // With padding and priority, and spread over two frames.
        let wrapped = |block: &[u8]| {
            let first = [&[3, 9, 9, 9, 9, 9], &block[..10], &[0; 3]].concat();
            let flags = PADDED | PRIORITY;
            [
                frame(HEADERS, flags, &first),
                frame(CONTINUATION, END_HEADERS, &block[10..]),
            ]
            .concat()
        };
        check(&[wrapped(&given), data.clone()], &[wrapped(&mended), data]);
    }

    #[test]
    fn a_long_authority_is_overwritten_too() {
        let long = |first: u8, byte: u8| {
            let mut block = vec![0x01, first, 73];
            block.extend_from_slice(&[byte; 200]);
            frame(HEADERS, END_HEADERS, &block)
        };
        check(&[long(0x7f, b'/')], &[long(0x7f, b'a')]);
        check(&[long(0xff, b'/')], &[long(0x7f, b'a')]);
    }
}
