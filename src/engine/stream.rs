//! Streams inside answers: JSON lines (events, loads) and frames of a container's output.
//!
//! Decoded here and not by bollard: there one unknown event type ends the event stream, and a read of a terminal's output
//! that begins with byte 0, 1 or 2 is taken for a frame's header.

use super::constants::{LONGEST_FRAME, LONGEST_LINE};
use super::door::{LogLine, LogStream};
use super::failure::Site;
use super::{Error, transport::BoxError};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use std::collections::VecDeque;

/// Pieces of an answer as they come in.
pub(super) type Chunks = BoxStream<'static, Result<Bytes, BoxError>>;

/// The bytes of a body.
pub(super) fn chunks(body: Incoming) -> Chunks {
    let data = body.into_data_stream();
    data.map_err(|error| Box::new(error) as BoxError).boxed()
}

/// Takes whole items from a growing buffer.
trait Decoder: Send + 'static {
    type Item: Send;

    /// The next item; none: more bytes are needed.
    fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Self::Item>, Error>;

    /// What is left when the stream ends.
    fn last(&mut self, buffer: Vec<u8>) -> Option<Self::Item>;
}

/// Runs a decoder over chunks; ends at the first error.
fn decode<D: Decoder>(
    chunks: Chunks,
    decoder: D,
    owner: Owner,
) -> BoxStream<'static, Result<D::Item, Error>> {
    struct Run<D: Decoder> {
        chunks: Option<Chunks>,
        decoder: D,
        buffer: Vec<u8>,
        ready: VecDeque<D::Item>,
        owner: Owner,
    }

    impl<D: Decoder> Run<D> {
        /// Takes in one chunk; its whole items are ready afterwards.
        async fn read(&mut self) -> Result<(), Error> {
            let Some(chunks) = &mut self.chunks else {
                return Ok(());
            };
            match chunks.next().await {
                Some(Ok(chunk)) => {
                    self.buffer.extend_from_slice(&chunk);
                    while let Some(item) = self.decoder.next(&mut self.buffer)? {
                        self.ready.push_back(item);
                    }
                }
                Some(Err(error)) => return Err(self.owner.site().failed(error.as_ref())),
                None => {
                    self.chunks = None;
                    let rest = std::mem::take(&mut self.buffer);
                    self.ready.extend(self.decoder.last(rest));
                }
            }
            Ok(())
        }
    }

    let run = Run {
        chunks: Some(chunks),
        decoder,
        buffer: Vec::new(),
        ready: VecDeque::new(),
        owner,
    };
    stream::unfold(run, |mut run| async {
        loop {
            if let Some(item) = run.ready.pop_front() {
                return Some((Ok(item), run));
            }
            run.chunks.as_ref()?;
            if let Err(error) = run.read().await {
                run.chunks = None;
                run.ready.clear();
                return Some((Err(error), run));
            }
        }
    })
    .boxed()
}

/// The engine's own time in an answer's `Date`, in seconds since the epoch.
pub(super) fn date(headers: &hyper::HeaderMap) -> Option<i64> {
    let text = headers.get(hyper::header::DATE)?.to_str().ok()?;
    // RFC 2822 says `+0000` where HTTP says `GMT`.
    let time = jiff::fmt::rfc2822::parse(&text.replace("GMT", "+0000")).ok()?;
    Some(time.timestamp().as_second())
}

/// Whose stream it is, for errors long after the call returned.
#[derive(Clone)]
pub(super) struct Owner {
    pub(super) address: String,
    pub(super) call: &'static str,
}

impl Owner {
    pub(super) fn site(&self) -> Site<'_> {
        Site {
            address: &self.address,
            call: self.call,
        }
    }
}

/// One JSON document per line.
pub(super) fn json_lines(
    chunks: Chunks,
    owner: Owner,
) -> BoxStream<'static, Result<serde_json::Value, Error>> {
    let decoder = Lines {
        owner: owner.clone(),
        searched: 0,
    };
    decode(chunks, decoder, owner)
}

struct Lines {
    owner: Owner,
    /// How far the buffer holds no end of line.
    searched: usize,
}

impl Decoder for Lines {
    type Item = serde_json::Value;

    fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Self::Item>, Error> {
        loop {
            let found = buffer[self.searched..].iter().position(|b| *b == b'\n');
            let Some(position) = found.map(|position| position + self.searched) else {
                self.searched = buffer.len();
                return match buffer.len() > LONGEST_LINE {
                    true => Err(self.owner.site().broken("a line of its stream is too long")),
                    false => Ok(None),
                };
            };
            self.searched = 0;
            let line: Vec<u8> = buffer.drain(..=position).collect();
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return serde_json::from_slice(&line).map(Some).map_err(|error| {
                let text = format!("a line of its stream is not JSON: {error}");
                self.owner.site().broken(text)
            });
        }
    }

    fn last(&mut self, buffer: Vec<u8>) -> Option<Self::Item> {
        serde_json::from_slice(&buffer).ok()
    }
}

/// A container's output without a terminal: frames of 8 bytes header (stream, 0, 0, 0, length) and payload.
pub(super) fn frames(chunks: Chunks, owner: Owner) -> LogStream {
    decode(chunks, Frames(owner.clone()), owner)
}

struct Frames(Owner);

impl Decoder for Frames {
    type Item = LogLine;

    fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Option<LogLine>, Error> {
        let [stream, _, _, _, a, b, c, d, ..] = buffer[..] else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if stream > 3 || length > LONGEST_FRAME {
            return Err(self.0.site().broken("its output is not in frames"));
        }
        if buffer.len() < 8 + length {
            return Ok(None);
        }
        let bytes: Vec<u8> = buffer.drain(..8 + length).skip(8).collect();
        // Stream 3 carries an error of the engine itself.
        match stream {
            3 => Err(self
                .0
                .site()
                .refused(500, String::from_utf8_lossy(&bytes).into_owned())),
            stream => Ok(Some(LogLine {
                is_stderr: stream == 2,
                bytes,
            })),
        }
    }

    fn last(&mut self, _: Vec<u8>) -> Option<LogLine> {
        None
    }
}

/// A terminal's output: bytes as they come, nothing held back and nothing interpreted.
pub(super) fn raw(chunks: Chunks, owner: Owner) -> LogStream {
    decode(chunks, Raw, owner)
}

struct Raw;

impl Decoder for Raw {
    type Item = LogLine;

    fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Option<LogLine>, Error> {
        Ok((!buffer.is_empty()).then(|| LogLine {
            is_stderr: false,
            bytes: std::mem::take(buffer),
        }))
    }

    fn last(&mut self, _: Vec<u8>) -> Option<LogLine> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            address: "unix:///x".into(),
            call: "logs",
        }
    }

    /// The bytes in pieces of every size give the same items.
    fn in_pieces(bytes: &[u8], size: usize) -> Chunks {
        let pieces: Vec<_> = bytes
            .chunks(size)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        stream::iter(pieces).boxed()
    }

    #[tokio::test]
    async fn frames_come_out_whole_however_they_are_cut() {
        let bytes = b"\x01\0\0\0\0\0\0\x03ab\n\x02\0\0\0\0\0\0\x02\x01\x02\x01\0\0\0\0\0\0\0";
        for size in 1..=bytes.len() {
            let lines: Vec<_> = frames(in_pieces(bytes, size), owner())
                .map(|line| line.map(|line| (line.is_stderr, line.bytes)))
                .try_collect()
                .await
                .unwrap();
            let expected = [
                (false, b"ab\n".to_vec()),
                (true, vec![1, 2]),
                (false, vec![]),
            ];
            assert_eq!(lines, expected, "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn lines_come_out_whole_and_the_last_needs_no_end() {
        let bytes = b"{\"a\":1}\n\n{\"b\":\"x\\n\"}\r\n{\"c\":3}";
        for size in 1..=bytes.len() {
            let lines: Vec<_> = json_lines(in_pieces(bytes, size), owner())
                .try_collect()
                .await
                .unwrap();
            assert_eq!(lines.len(), 3, "pieces of {size}");
            assert_eq!(lines[1]["b"], "x\n");
        }
    }

    #[test]
    fn reads_the_date_of_an_answer() {
        let mut headers = hyper::HeaderMap::new();
        let value = hyper::header::HeaderValue::from_static("Thu, 01 Jan 1970 00:01:05 GMT");
        headers.insert(hyper::header::DATE, value);
        assert_eq!(date(&headers), Some(65));
    }

    #[tokio::test]
    async fn what_is_not_in_frames_is_an_error_and_then_the_end() {
        let got: Vec<_> = frames(in_pieces(b"plain text", 4), owner()).collect().await;
        assert!(matches!(got[..], [Err(Error::Broken { .. })]), "{got:?}");
    }

    #[tokio::test]
    async fn an_error_of_the_engine_inside_the_output_is_told() {
        let bytes = b"\x03\0\0\0\0\0\0\x04oops";
        let got: Vec<_> = frames(in_pieces(bytes, 3), owner()).collect().await;
        assert!(got[0].as_ref().unwrap_err().to_string().contains("oops"));
    }
}
