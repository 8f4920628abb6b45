//! From the pieces that an engine sends to whole lines. Pure.
//!
//! While lines are followed, the engine is asked for their times: after a break the output is read from the last one
//! that was shown, and what was shown already is left out.

/// One stream of a container, put together line by line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// What came of the line that has no end yet.
    rest: Vec<u8>,
    /// Whether a line has begun.
    is_begun: bool,
    /// Whether the line that has begun was shown before the stream was opened anew.
    is_skipped: bool,
}

/// What is made of the times in front of the lines.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    /// Whether the engine sends them.
    pub(super) are_sent: bool,
    /// Whether they are shown.
    pub(super) are_shown: bool,
    /// The last one that was seen.
    pub(super) last: Option<String>,
    /// Lines up to this one were shown before.
    pub(super) shown_until: Option<String>,
}

impl Lines {
    /// Takes a piece; gives back the lines that are whole, each with its end.
    pub(super) fn take(&mut self, piece: &[u8], stamps: &mut Stamps) -> Vec<Vec<u8>> {
        let mut whole = Vec::new();
        let mut is_first = true;
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            // Engines cut long lines and put a time in front of each piece.
            let may_be_stamped = stamps.are_sent && (is_first || !self.is_begun);
            is_first = false;
            let (stamp, text) = match may_be_stamped {
                true => split(part),
                false => (None, part),
            };
            if !self.is_begun {
                self.begin(stamp, stamps);
            }
            self.rest.extend_from_slice(text);
            if part.ends_with(b"\n") {
                whole.extend(self.end());
            }
        }
        whole
    }

    /// The line that has no end when the stream ends.
    pub(super) fn last(&mut self) -> Option<Vec<u8>> {
        if self.rest.is_empty() {
            return None;
        }
        self.rest.push(b'\n');
        self.end()
    }

    fn begin(&mut self, stamp: Option<&str>, stamps: &mut Stamps) {
        self.is_begun = true;
        let Some(stamp) = stamp else {
            self.is_skipped = false;
            return;
        };
        let until = stamps.shown_until.as_deref();
        self.is_skipped = until.is_some_and(|until| stamp <= until);
        if stamps.are_shown {
            self.rest.extend_from_slice(stamp.as_bytes());
            self.rest.push(b' ');
        }
        stamps.last = Some(stamp.to_owned());
    }

    fn end(&mut self) -> Option<Vec<u8>> {
        self.is_begun = false;
        let line = std::mem::take(&mut self.rest);
        (!self.is_skipped).then_some(line)
    }
}

/// The time in front of a line, as engines write it: RFC 3339 with nine decimals, so that text compares as times do.
fn split(line: &[u8]) -> (Option<&str>, &[u8]) {
    const LENGTH: usize = "2006-01-02T15:04:05.000000000Z".len();
    let looks_right = |stamp: &&[u8]| stamp[4] == b'-' && stamp[10] == b'T' && stamp[19] == b'.';
    let stamp = line
        .get(..LENGTH)
        .filter(looks_right)
        .and_then(|stamp| std::str::from_utf8(stamp).ok());
    match (stamp, line.get(LENGTH)) {
        (Some(stamp), Some(b' ')) => (Some(stamp), &line[LENGTH + 1..]),
        (Some(_) | None, _) => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stamps: &mut Stamps, pieces: &[&str], expected: &[&str]) {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in pieces {
            found.extend(lines.take(piece.as_bytes(), stamps));
        }
        found.extend(lines.last());
        let found: Vec<String> = found
            .into_iter()
            .map(|line| String::from_utf8(line).unwrap())
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn pieces_become_lines() {
        let mut none = Stamps::default();
        check(&mut none, &["a\nb", "c\n", "d"], &["a\n", "bc\n", "d\n"]);
        check(&mut none, &[], &[]);
    }

    #[test]
    fn what_was_shown_is_left_out_after_a_break() {
        const ONE: &str = "2026-01-02T03:04:05.000000001Z";
        const TWO: &str = "2026-01-02T03:04:05.000000002Z";
        let mut stamps = Stamps {
            are_sent: true,
            ..Stamps::default()
        };
        check(&mut stamps, &[&format!("{ONE} one\n")], &["one\n"]);
        assert_eq!(stamps.last.as_deref(), Some(ONE));
        stamps.shown_until = stamps.last.clone();
        let again = format!("{ONE} one\n{TWO} tw");
        let rest = format!("{TWO} o\n");
        check(&mut stamps, &[&again, &rest], &["two\n"]);
        stamps.are_shown = true;
        let line = format!("{TWO} two\n");
        check(&mut stamps, &[&line], &[&line]);
        check(&mut stamps, &["no time\n"], &["no time\n"]);
    }
}
