//! A [`Change`] as bytes and back. Pure.
//!
//! One byte says which change it is; numbers are varints (seven bits a byte, least first), keys and values stand behind
//! their lengths. A change carries no length or checksum of its own: the frame around it does ([`super::frame`]).
//! What a byte means never changes: another meaning is another tag, and another [`super::frame::FORMAT`].

use super::super::change::Change;
use super::super::request::{Event, Stored};

const WRITTEN: u8 = 1;
const COMPACTED: u8 = 2;
const GRANTED: u8 = 3;
const ENDED: u8 = 4;
const FULL: u8 = 5;
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// Why bytes are no changes.
pub(in crate::embedded) type Reason = &'static str;

/// Appends `change` to `out`.
pub(in crate::embedded) fn encode(change: &Change, out: &mut Vec<u8>) {
    match change {
        Change::Written { revision, events } => {
            out.push(WRITTEN);
            number(*revision, out);
            unsigned(events.len() as u64, out);
            for event in events.iter() {
                encode_event(event, out);
            }
        }
        Change::Compacted { revision } => {
            out.push(COMPACTED);
            number(*revision, out);
        }
        Change::Granted { id, ttl, revision } => {
            out.push(GRANTED);
            number(*id, out);
            number(*ttl, out);
            number(*revision, out);
        }
        Change::Ended { id, ttl, revision } => {
            out.push(ENDED);
            number(*id, out);
            number(*ttl, out);
            number(*revision, out);
        }
        Change::Full { raised } => {
            out.push(FULL);
            out.push(u8::from(*raised));
        }
    }
}

fn encode_event(event: &Event, out: &mut Vec<u8>) {
    match event {
        Event::Put(stored) => {
            out.push(PUT);
            bytes(stored.key.as_ref(), out);
            bytes(stored.value.as_ref(), out);
            number(stored.create_revision, out);
            number(stored.mod_revision, out);
            number(stored.version, out);
            number(stored.lease, out);
        }
        Event::Delete(key, revision) => {
            out.push(DELETE);
            bytes(key.as_ref(), out);
            number(*revision, out);
        }
    }
}

/// Negative numbers are rare (a lease's id may be one) and take ten bytes.
fn number(value: i64, out: &mut Vec<u8>) {
    unsigned(value.cast_unsigned(), out);
}

fn unsigned(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes(value: &[u8], out: &mut Vec<u8>) {
    unsigned(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Reads all changes of a frame's payload.
///
/// # Errors
/// The bytes are no changes, or end within one.
pub(in crate::embedded) fn decode_all(mut input: &[u8]) -> Result<Vec<Change>, Reason> {
    let mut changes = Vec::new();
    while !input.is_empty() {
        changes.push(decode(&mut input)?);
    }
    Ok(changes)
}

fn decode(input: &mut &[u8]) -> Result<Change, Reason> {
    match byte(input)? {
        WRITTEN => {
            let revision = take_number(input)?;
            let count = take_length(input)?;
            let events = (0..count).map(|_| decode_event(input));
            Ok(Change::Written {
                revision,
                events: events.collect::<Result<_, _>>()?,
            })
        }
        COMPACTED => Ok(Change::Compacted {
            revision: take_number(input)?,
        }),
        GRANTED => Ok(Change::Granted {
            id: take_number(input)?,
            ttl: take_number(input)?,
            revision: take_number(input)?,
        }),
        ENDED => Ok(Change::Ended {
            id: take_number(input)?,
            ttl: take_number(input)?,
            revision: take_number(input)?,
        }),
        FULL => match byte(input)? {
            0 => Ok(Change::Full { raised: false }),
            1 => Ok(Change::Full { raised: true }),
            _ => Err("an alarm is neither raised nor taken back"),
        },
        _ => Err("it holds a kind of change that this version does not know"),
    }
}

fn decode_event(input: &mut &[u8]) -> Result<Event, Reason> {
    match byte(input)? {
        PUT => Ok(Event::Put(Stored {
            key: take_bytes(input)?.into(),
            value: take_bytes(input)?.into(),
            create_revision: take_number(input)?,
            mod_revision: take_number(input)?,
            version: take_number(input)?,
            lease: take_number(input)?,
        })),
        DELETE => {
            let key = take_bytes(input)?.into();
            Ok(Event::Delete(key, take_number(input)?))
        }
        _ => Err("it holds a kind of event that this version does not know"),
    }
}

fn byte(input: &mut &[u8]) -> Result<u8, Reason> {
    let (first, rest) = input.split_first().ok_or("a change ends too early")?;
    *input = rest;
    Ok(*first)
}

fn take_number(input: &mut &[u8]) -> Result<i64, Reason> {
    take_unsigned(input).map(u64::cast_signed)
}

fn take_unsigned(input: &mut &[u8]) -> Result<u64, Reason> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let next = byte(input)?;
        let bits = u64::from(next & 0x7f);
        if bits << shift >> shift != bits {
            return Err("a number has more than 64 bits");
        }
        value |= bits << shift;
        if next & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number has more than 64 bits")
}

/// A length or a count: of what follows, so never more than there are bytes.
fn take_length(input: &mut &[u8]) -> Result<usize, Reason> {
    let length = usize::try_from(take_unsigned(input)?).ok();
    length
        .filter(|length| *length <= input.len())
        .ok_or("a length goes beyond the record")
}

fn take_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Reason> {
    let length = take_length(input)?;
    let (taken, rest) = input.split_at(length);
    *input = rest;
    Ok(taken)
}
