//! Log lines that a live view shows, in place of a standard error that would write across it.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many lines are kept.
const KEPT: usize = 20;

/// The last lines that were written; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<VecDeque<String>>>);

impl Log {
    /// The lines, the latest last.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        // Lines are whole after a panic, too.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Log {
    /// Takes one whole entry, as loggers write it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).trim().to_owned();
        let mut lines = self.lock();
        // The same again and again is one line.
        if lines.back() != Some(&text) {
            lines.push_back(text);
        }
        while lines.len() > KEPT {
            lines.pop_front();
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
