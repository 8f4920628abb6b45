//! How things look: tables, ages, colours, documents. Pure.

use crate::api::time::Timestamp;
use crate::api::unit::Bytes;
use crate::api::yaml_text;
use comfy_table::{Table, presets};
use serde_json::Value;
use std::time::Duration;

/// Spaces between two columns, as kubectl has them.
const GAP: u16 = 3;

/// A table without borders: `header` in capitals, then the rows.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if !header.is_empty() {
        table.set_header(header.to_vec());
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| one_line(cell)).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    table.trim_fmt()
}

/// The widths of a table, for rows that follow it one by one.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns(Vec<usize>);

impl Columns {
    /// Those of a table that was shown.
    pub(super) fn of(header: &[&str], rows: &[Vec<String>]) -> Self {
        let mut columns = Self::default();
        columns.widen(header.iter().map(|cell| cell.chars().count()));
        for row in rows {
            columns.widen(row.iter().map(|cell| cell.chars().count()));
        }
        columns
    }

    /// One more row; what does not fit makes its column wider from here on.
    pub(super) fn row(&mut self, cells: &[String]) -> String {
        let cells: Vec<String> = cells.iter().map(|cell| one_line(cell)).collect();
        self.widen(cells.iter().map(|cell| cell.chars().count()));
        let padded = cells.iter().zip(&self.0);
        let padded = padded.map(|(cell, width)| format!("{cell:width$}"));
        let gap = " ".repeat(usize::from(GAP));
        padded.collect::<Vec<_>>().join(&gap).trim_end().to_owned()
    }

    fn widen(&mut self, widths: impl Iterator<Item = usize>) {
        for (index, width) in widths.enumerate() {
            match self.0.get_mut(index) {
                Some(known) => *known = width.max(*known),
                None => self.0.push(width),
            }
        }
    }
}

/// Text without line breaks and control characters, so that it stays in its cell.
pub(super) fn one_line(text: &str) -> String {
    let cleaned: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    cleaned.trim_end().to_owned()
}

/// A size in the unit that people read best: `23.5GiB`.
pub(super) fn size(bytes: Bytes) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut tenths = u128::from(bytes.0) * 10;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    match tenths % 10 {
        0 => format!("{}{}", tenths / 10, UNITS[unit]),
        rest => format!("{}.{rest}{}", tenths / 10, UNITS[unit]),
    }
}

/// `<none>` in place of nothing.
pub(super) fn or_none(text: impl Into<String>) -> String {
    let text = text.into();
    match text.is_empty() {
        true => "<none>".into(),
        false => text,
    }
}

/// How long ago, in kubectl's few characters: `45s`, `5m`, `3h`, `2d`, `3y`.
pub(super) fn age(now: Timestamp, then: Timestamp) -> String {
    period(now.since(then))
}

/// A length of time in few characters.
pub(super) fn period(length: Duration) -> String {
    let seconds = length.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |big: u64, unit: &str, rest: u64, small: &str| match rest {
        0 => format!("{big}{unit}"),
        rest => format!("{big}{unit}{rest}{small}"),
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if hours < 3 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, "d", hours % 24, "h"),
        () if days < 730 => format!("{days}d"),
        () => two(days / 365, "y", days % 365, "d"),
    }
}

/// The first 12 characters of an id, as docker shows them.
pub(super) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// A value as YAML that `apply` reads back: what another reader takes for a boolean or a number is quoted.
pub(super) fn yaml(value: &Value) -> String {
    yaml_text::write(value)
}

/// A value as JSON for people.
pub(super) fn json(value: &Value) -> String {
    serde_json::to_string_pretty(value)
        .unwrap_or_else(|error| format!("{{\"error\": \"{error}\"}}"))
}

/// Colours that read well on dark and light ground, one per task.
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// A prefix in its colour: the same name has the same colour in every run.
pub(super) fn coloured_prefix(name: &str, is_coloured: bool) -> String {
    if !is_coloured {
        return name.to_owned();
    }
    // FNV-1a: small, stable, and spreads neighbours such as web.1 and web.2.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let index = usize::try_from(hash % COLOURS.len() as u64).unwrap_or(0);
    format!("\x1b[{}m{name}\x1b[0m", COLOURS[index])
}

/// Lines moved to the right.
pub(super) fn indent(text: &str, by: usize) -> String {
    text.lines()
        .map(|line| format!("{:by$}{line}", ""))
        .map(|line| line.trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// `1 node`, `3 nodes`.
pub(super) fn count(number: usize, word: &str) -> String {
    match number {
        1 => format!("1 {word}"),
        _ => format!("{number} {word}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (600, "10m"),
            (3 * 3_600, "3h"),
            (3 * 3_600 + 60, "3h1m"),
            (20 * 3_600, "20h"),
            (3 * 86_400 + 7_200, "3d2h"),
            (100 * 86_400, "100d"),
            (800 * 86_400, "2y70d"),
        ] {
            assert_eq!(period(Duration::from_secs(seconds)), text);
        }
        assert_eq!(
            age(Timestamp(0), Timestamp(5_000)),
            "0s",
            "a clock that is behind"
        );
    }

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (64 << 20, "64MiB"),
            (24_684_096 << 10, "23.5GiB"),
            (8 << 30, "8GiB"),
        ] {
            assert_eq!(size(Bytes(bytes)), text);
        }
    }

    #[test]
    fn rows_keep_the_columns_of_their_table() {
        let row = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mut columns = Columns::of(&["NAME", "READY"], &[row("a-long-name 3/3")]);
        assert_eq!(columns.row(&row("web 1/3")), "web           1/3");
        assert_eq!(
            columns.row(&row("web 100/300 (gone)")),
            "web           100/300   (gone)"
        );
    }

    #[test]
    fn tables_have_no_borders_and_stay_in_line() {
        let rows = vec![
            vec!["web".into(), "3/3".into()],
            vec!["a-long-name".into(), "line\nbreak".into()],
        ];
        let text = table(&["NAME", "READY"], &rows);
        assert_eq!(
            text,
            "NAME          READY\nweb           3/3\na-long-name   line break"
        );
        assert_eq!(table(&["NAME"], &[]), "");
    }

    #[test]
    fn a_prefix_keeps_its_colour() {
        assert_eq!(coloured_prefix("web.1", false), "web.1");
        let first = coloured_prefix("web.1", true);
        assert!(
            first.starts_with("\x1b[") && first.ends_with("\x1b[0m"),
            "{first:?}"
        );
        assert_eq!(first, coloured_prefix("web.1", true));
    }
}
