//! The terminal as verbs see it: output, messages, input, and whether a person looks at them.
//!
//! Tests hand in buffers. No colour unless a person looks and `NO_COLOR` is not set.

use super::error::Error;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncRead;

/// Where a verb reads and writes.
#[derive(Clone)]
pub struct Terminal(Arc<Inner>);

struct Inner {
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
    input: Input,
    out_is_terminal: bool,
    err_is_terminal: bool,
    in_is_terminal: bool,
    colour: bool,
}

enum Input {
    Real,
    Text(Vec<u8>),
}

/// What a captured terminal was told.
#[derive(Clone, Default)]
pub struct Captured {
    out: Shared,
    err: Shared,
}

impl Captured {
    /// Standard output so far; emptied by this.
    pub fn take_out(&self) -> String {
        self.out.take()
    }

    /// Standard error so far; emptied by this.
    pub fn take_err(&self) -> String {
        self.err.take()
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Terminal {
    /// The process's own streams. `no_colour`: whether `NO_COLOR` is set and not empty.
    pub fn real(no_colour: bool) -> Self {
        let out_is_terminal = io::stdout().is_terminal();
        Self(Arc::new(Inner {
            out: Mutex::new(Box::new(io::stdout())),
            err: Mutex::new(Box::new(io::stderr())),
            input: Input::Real,
            out_is_terminal,
            err_is_terminal: io::stderr().is_terminal(),
            in_is_terminal: io::stdin().is_terminal(),
            colour: out_is_terminal && !no_colour,
        }))
    }

    /// Buffers in place of the streams; nobody looks.
    pub fn captured(input: &[u8]) -> (Self, Captured) {
        let captured = Captured::default();
        let inner = Inner {
            out: Mutex::new(Box::new(captured.out.clone())),
            err: Mutex::new(Box::new(captured.err.clone())),
            input: Input::Text(input.to_vec()),
            out_is_terminal: false,
            err_is_terminal: false,
            in_is_terminal: false,
            colour: false,
        };
        (Self(Arc::new(inner)), captured)
    }

    /// Writes a line of output.
    pub(super) fn line(&self, text: &str) -> Result<(), Error> {
        self.write(format!("{text}\n").as_bytes())
    }

    /// Writes output as it is.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        put(&self.0.out, bytes).map_err(Error::Output)
    }

    /// Writes a line for the person, beside the output. A broken standard error is no reason to stop.
    pub(super) fn note(&self, text: &str) {
        let _ = self.write_err(format!("{text}\n").as_bytes());
    }

    /// Writes to standard error as it is.
    pub(super) fn write_err(&self, bytes: &[u8]) -> Result<(), Error> {
        put(&self.0.err, bytes).map_err(Error::Output)
    }

    /// Whether output is coloured.
    pub(super) fn has_colour(&self) -> bool {
        self.0.colour
    }

    /// Whether input and output are a terminal, so that raw mode makes sense.
    pub(super) fn is_interactive(&self) -> bool {
        self.0.in_is_terminal && self.0.out_is_terminal
    }

    /// Whether the input is what a person types.
    pub(super) fn has_typed_input(&self) -> bool {
        self.0.in_is_terminal
    }

    /// Standard input.
    pub(super) fn input(&self) -> Box<dyn AsyncRead + Send + Unpin> {
        match &self.0.input {
            Input::Real => Box::new(tokio::io::stdin()),
            Input::Text(bytes) => Box::new(io::Cursor::new(bytes.clone())),
        }
    }

    /// Progress: in place where a person looks, else a line for each change.
    pub(super) fn progress(&self) -> Progress {
        let bar = self.0.err_is_terminal.then(|| {
            let bar = indicatif::ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Progress {
            terminal: self.clone(),
            bar,
            last: String::new(),
        }
    }
}

fn put(stream: &Mutex<Box<dyn Write + Send>>, bytes: &[u8]) -> io::Result<()> {
    let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
    stream.write_all(bytes)?;
    stream.flush()
}

/// How far something is; cleared when dropped.
pub(super) struct Progress {
    terminal: Terminal,
    bar: Option<indicatif::ProgressBar>,
    last: String,
}

impl Progress {
    /// Says where it stands; the same text twice is said once.
    pub(super) fn say(&mut self, text: &str) {
        if self.last == text {
            return;
        }
        self.last = text.to_owned();
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => self.terminal.note(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
