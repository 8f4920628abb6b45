//! Messages as text: their debugging output, with bytes as letters and long ones cut.

use std::fmt::Debug;

/// Longer runs of bytes are cut in the middle.
const MOST_BYTES: usize = 40;

/// A message on one line.
pub(crate) fn line(message: &impl Debug) -> String {
    letters(&format!("{message:?}"))
}

/// Puts `"ab"` for `[97, 98]`.
fn letters(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('[') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let list = rest
            .find(']')
            .and_then(|end| Some((end, bytes(&rest[1..end])?)));
        match list {
            Some((end, bytes)) => {
                out.push_str(&quoted(&bytes));
                rest = &rest[end + 1..];
            }
            None => {
                out.push('[');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

fn bytes(list: &str) -> Option<Vec<u8>> {
    if list.is_empty() {
        return None;
    }
    list.split(", ").map(|word| word.parse().ok()).collect()
}

fn quoted(bytes: &[u8]) -> String {
    if bytes.len() <= MOST_BYTES {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    format!(
        "\"{}..\" ({} bytes)",
        bytes[..8].escape_ascii(),
        bytes.len()
    )
}
