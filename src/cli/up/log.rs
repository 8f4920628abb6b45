//! Log lines that a live view shows, in place of a standard error that would write across it.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many lines are kept.
const KEPT: usize = 20;

/// The last lines that were written; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<String>,
    /// What has no end yet.
    open: String,
}

impl Log {
    /// The lines, the latest last.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lock().lines.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Lines are whole after a panic, too.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.open).trim().to_owned();
        // The same again and again is one line.
        if line.is_empty() || self.lines.back() == Some(&line) {
            return;
        }
        self.lines.push_back(line);
        if self.lines.len() > KEPT {
            self.lines.pop_front();
        }
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.lock();
        for part in String::from_utf8_lossy(bytes).split_inclusive('\n') {
            state.open.push_str(part);
            if part.ends_with('\n') {
                state.end_line();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_stay_and_a_repeated_one_is_there_once() {
        let mut log = Log::default();
        for number in 0..30 {
            for _ in 0..2 {
                writeln!(log, "line {number}").unwrap();
            }
        }
        let lines = log.lines();
        assert_eq!(lines.len(), KEPT);
        assert_eq!(lines.last().map(String::as_str), Some("line 29"));
    }
}
