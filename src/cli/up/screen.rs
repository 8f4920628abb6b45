//! The terminal's other screen, on which a picture is redrawn in place; what was there before comes back at the end.

use super::view::Size;
use crate::cli::error::Error;
use crate::cli::terminal::Terminal;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

/// The size of a terminal that does not say it.
const USUAL: Size = Size {
    width: 80,
    height: 24,
};

/// The other screen; dropped, the terminal is as it was.
pub(super) struct Screen {
    terminal: Terminal,
    /// How the terminal was; none: there was no asking.
    before: Option<Termios>,
}

impl Screen {
    /// Switches to the other screen, without cursor and without showing what is typed.
    ///
    /// # Errors
    /// The terminal takes nothing.
    pub(super) fn open(terminal: &Terminal) -> Result<Self, Error> {
        terminal.write(b"\x1b[?1049h\x1b[?25l")?;
        let before = termios::tcgetattr(std::io::stdin()).ok();
        if let Some(mut quiet) = before.clone() {
            quiet.local_modes.remove(LocalModes::ECHO);
            let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &quiet);
        }
        Ok(Self {
            terminal: terminal.clone(),
            before,
        })
    }

    /// How large it is now.
    pub(super) fn size(&self) -> Size {
        match termios::tcgetwinsize(std::io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Size {
                width: size.ws_col.into(),
                height: size.ws_row.into(),
            },
            Ok(_) | Err(_) => USUAL,
        }
    }

    /// Shows these lines from the top and nothing else.
    ///
    /// # Errors
    /// The terminal takes nothing.
    pub(super) fn show(&self, lines: &[String]) -> Result<(), Error> {
        self.terminal.write(drawn(lines).as_bytes())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
        // A terminal that is gone needs nothing.
        let _ = self.terminal.write(b"\x1b[?25h\x1b[?1049l");
    }
}

/// In one piece, and without clearing first: nothing flickers.
fn drawn(lines: &[String]) -> String {
    let mut text = String::from("\x1b[H");
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            text.push_str("\r\n");
        }
        // What stood behind goes before the line is written: one that is as wide as the screen stays whole.
        text.push_str("\x1b[2K");
        text.push_str(line);
    }
    text + "\x1b[J"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_drawn_in_place_without_scrolling() {
        let text = drawn(&["one".into(), "two".into()]);
        assert_eq!(text, "\x1b[H\x1b[2Kone\r\n\x1b[2Ktwo\x1b[J");
    }
}
