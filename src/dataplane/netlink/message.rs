//! Messages and attributes of netlink. Pure.
//!
//! Numbers are in the machine's order unless a name says `be`; everything is padded to 4 bytes.

/// The header of a message: length, type, flags, sequence, port.
pub(in crate::dataplane) const HEADER: usize = 16;

/// The header of an attribute: length and type.
const ATTRIBUTE: usize = 4;

/// NLM_F_*, from linux/netlink.h.
pub(in crate::dataplane) mod flag {
    pub(in crate::dataplane) const REQUEST: u16 = 0x1;
    pub(in crate::dataplane) const ACK: u16 = 0x4;
    pub(in crate::dataplane) const DUMP: u16 = 0x300;
    pub(in crate::dataplane) const REPLACE: u16 = 0x100;
    pub(in crate::dataplane) const EXCL: u16 = 0x200;
    pub(in crate::dataplane) const CREATE: u16 = 0x400;
    pub(in crate::dataplane) const APPEND: u16 = 0x800;
}

/// NLA_F_NESTED: strict parts of the kernel want it said.
const NESTED: u16 = 0x8000;

/// A message without its sequence number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dataplane) struct Message {
    /// What it asks for.
    pub(in crate::dataplane) kind: u16,
    /// NLM_F_*.
    pub(in crate::dataplane) flags: u16,
    /// The family's header and attributes.
    pub(in crate::dataplane) body: Vec<u8>,
}

impl Message {
    /// A message that begins with a family's own header.
    pub(in crate::dataplane) fn new(
        kind: u16,
        flags: u16,
        header: &[u8],
        attributes: Attributes,
    ) -> Self {
        let mut body = header.to_vec();
        pad(&mut body);
        body.extend(attributes.bytes);
        Self { kind, flags, body }
    }

    /// Its bytes, appended.
    pub(in crate::dataplane) fn write(&self, sequence: u32, out: &mut Vec<u8>) {
        let length = HEADER + self.body.len();
        let length = u32::try_from(length).expect("a message is far below 4 GiB");
        out.extend(length.to_ne_bytes());
        out.extend(self.kind.to_ne_bytes());
        out.extend((self.flags | flag::REQUEST).to_ne_bytes());
        out.extend(sequence.to_ne_bytes());
        out.extend(0_u32.to_ne_bytes());
        out.extend(&self.body);
        pad(out);
    }
}

/// A message that came.
#[derive(Clone, Copy, Debug)]
pub(in crate::dataplane) struct Received<'a> {
    pub(in crate::dataplane) kind: u16,
    pub(in crate::dataplane) flags: u16,
    pub(in crate::dataplane) sequence: u32,
    pub(in crate::dataplane) body: &'a [u8],
}

/// The messages of a datagram; what is cut off at its end is left out.
pub(in crate::dataplane) fn received(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let message = bytes.get(..length).filter(|_| length >= HEADER)?;
        bytes = bytes.get(padded(length)..).unwrap_or_default();
        Some(Received {
            kind: u16_at(message, 4)?,
            flags: u16_at(message, 6)?,
            sequence: u32_at(message, 8)?,
            body: &message[HEADER..],
        })
    })
}

/// Attributes to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::dataplane) struct Attributes {
    bytes: Vec<u8>,
}

impl Attributes {
    /// None yet.
    pub(in crate::dataplane) fn new() -> Self {
        Self::default()
    }

    /// Bytes as they are.
    pub(in crate::dataplane) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(ATTRIBUTE + value.len());
        let length = length.expect("who nests keeps below 64 KiB");
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        pad(&mut self.bytes);
        self
    }

    pub(in crate::dataplane) fn u8(self, kind: u16, value: u8) -> Self {
        self.bytes(kind, &[value])
    }

    pub(in crate::dataplane) fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    pub(in crate::dataplane) fn be16(self, kind: u16, value: u16) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(in crate::dataplane) fn be32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Text with the zero behind it that the kernel wants.
    pub(in crate::dataplane) fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    pub(in crate::dataplane) fn nest(self, kind: u16, inner: Self) -> Self {
        self.bytes(kind | NESTED, &inner.bytes)
    }

    /// How many bytes they take.
    pub(in crate::dataplane) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// As they go out.
    pub(in crate::dataplane) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }
}

/// The attributes of a message or of another attribute, without the flags in their types.
pub(in crate::dataplane) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let value = bytes.get(ATTRIBUTE..length)?;
        let kind = u16_at(bytes, 2)? & 0x3fff;
        bytes = bytes.get(padded(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The attribute of one type.
pub(in crate::dataplane) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

/// Text up to its zero.
pub(in crate::dataplane) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

pub(in crate::dataplane) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

pub(in crate::dataplane) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

/// A number in the network's order.
pub(in crate::dataplane) fn be32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk()?))
}

/// The length with what pads it.
fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(padded(bytes.len()), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let inner = Attributes::new().be16(7, 4789).u8(8, 1);
        let all = Attributes::new().text(1, "skep7").nest(2, inner).u32(3, 9);
        let mut bytes = Vec::new();
        let message = Message::new(16, flag::ACK, &[1, 2], all);
        message.write(5, &mut bytes);
        message.write(6, &mut bytes);
        let both: Vec<_> = received(&bytes).collect();
        assert_eq!(both.len(), 2);
        assert_eq!((both[1].kind, both[1].sequence), (16, 6));
        let body = &both[0].body[4..];
        assert_eq!(text(attribute(body, 1).expect("text")), "skep7");
        assert_eq!(u32_at(attribute(body, 3).expect("a number"), 0), Some(9));
        let inner: Vec<_> = attributes(attribute(body, 2).expect("a nest")).collect();
        assert_eq!(inner, [(7, &[0x12, 0xb5][..]), (8, &[1][..])]);
    }

    #[test]
    fn garbage_ends_the_reading() {
        assert_eq!(attributes(&[3, 0, 1, 0, 9]).count(), 0);
        assert_eq!(attributes(&[200, 0, 1, 0, 9]).count(), 0);
        assert_eq!(received(&[0; 15]).count(), 0);
        assert_eq!(received(&[0; 32]).count(), 0);
    }
}
