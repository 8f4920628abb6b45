//! The live view: a picture and the size of the terminal in, lines out. Pure.
//!
//! Invariants: never more lines than the terminal has, nor wider ones; what does not fit is counted. Colour adds to words
//! and never stands for one.

use super::picture::{Picture, Place};
use crate::api::cluster::Severity;
use crate::api::time::Timestamp;
use crate::cli::print::{age, count, one_line, period};

/// Spaces between two columns.
const GAP: usize = 3;

/// Lines that no block takes: the title, the last line, and an empty one before it.
const FRAME: usize = 3;

/// The terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: usize,
}

/// How a cell is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tone {
    #[default]
    Plain,
    Strong,
    Faint,
    Good,
    Busy,
    Bad,
}

#[derive(Clone, Debug, Default)]
struct Cell {
    text: String,
    tone: Tone,
}

/// A table with its header.
struct Block {
    header: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
    /// Which rows stay when not all fit.
    keep: Keep,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// Those that are not well come first.
    Troubled,
    /// The last ones.
    Last,
}

/// The lines of the screen, from the top.
pub(super) fn frame(
    picture: &Picture,
    place: &Place,
    now: Timestamp,
    size: Size,
    is_coloured: bool,
) -> Vec<String> {
    let blocks = [
        nodes(picture),
        services(picture),
        events(picture, now),
        warnings(picture),
    ];
    let rooms = rooms(&blocks, size.height.saturating_sub(FRAME));
    let mut lines = vec![title(place, now)];
    for (block, room) in blocks.into_iter().zip(rooms) {
        if room > 0 {
            lines.push(Vec::new());
            lines.extend(block.lines(room));
        }
    }
    lines.push(Vec::new());
    lines.push(vec![cell(
        "Ctrl-C stops skep and leaves the containers running; `skep down` removes them",
        Tone::Faint,
    )]);
    let kept = lines.len().min(size.height);
    let shown = lines.into_iter().take(kept);
    shown
        .map(|line| painted(&line, size.width, is_coloured))
        .collect()
}

fn title(place: &Place, now: Timestamp) -> Vec<Cell> {
    vec![
        cell("skep up", Tone::Strong),
        cell(
            format!(
                "   store {}   data {}   for {}",
                place.store,
                place.data,
                period(now.since(place.since))
            ),
            Tone::Plain,
        ),
    ]
}

fn nodes(picture: &Picture) -> Block {
    let rows = picture.nodes.iter().map(|(name, node)| {
        vec![
            cell(name, Tone::Plain),
            cell(&node.status, tone(&node.status)),
            cell(node.tasks.to_string(), Tone::Plain),
            cell(&node.engine, Tone::Plain),
            cell(&node.message, Tone::Plain),
        ]
    });
    block(
        ["NODE", "STATUS", "TASKS", "ENGINE", ""],
        rows.collect(),
        Keep::Troubled,
    )
}

fn services(picture: &Picture) -> Block {
    let rows = picture.services.iter().map(|(name, service)| {
        vec![
            cell(name, Tone::Plain),
            cell(service.wanted.to_string(), Tone::Plain),
            cell(service.running.to_string(), Tone::Plain),
            cell(service.ready.to_string(), Tone::Plain),
            cell(&service.status, tone(&service.status)),
            cell(&service.message, Tone::Plain),
        ]
    });
    let mut block = block(
        ["SERVICE", "WANTED", "RUNNING", "READY", "STATUS", ""],
        rows.collect(),
        Keep::Troubled,
    );
    if block.rows.is_empty() {
        block.rows = vec![vec![cell("none yet: skep apply -f FILE", Tone::Faint)]];
    }
    block
}

fn events(picture: &Picture, now: Timestamp) -> Block {
    let rows = picture.events.iter().map(|event| {
        let tone = match event.severity {
            Severity::Normal => Tone::Plain,
            Severity::Warning => Tone::Busy,
        };
        vec![
            cell(age(now, event.last), Tone::Faint),
            cell(&event.object, Tone::Plain),
            cell(&event.reason, tone),
            cell(&event.message, Tone::Plain),
        ]
    });
    block(
        ["EVENT", "OBJECT", "REASON", ""],
        rows.collect(),
        Keep::Last,
    )
}

fn warnings(picture: &Picture) -> Block {
    let rows = picture.warnings.iter();
    let rows = rows.map(|text| vec![cell(text, Tone::Busy)]);
    block(["WARNINGS OF SKEP"], rows.collect(), Keep::Last)
}

/// The tone of a word that says how something stands.
fn tone(status: &str) -> Tone {
    match status {
        "ready" | "accepted" => Tone::Good,
        "down" | "not accepted" | "paused" => Tone::Bad,
        _ => Tone::Busy,
    }
}

fn cell(text: impl Into<String>, tone: Tone) -> Cell {
    Cell {
        text: one_line(&text.into()),
        tone,
    }
}

fn block<const N: usize>(header: [&str; N], rows: Vec<Vec<Cell>>, keep: Keep) -> Block {
    Block {
        header: header.map(|text| cell(text, Tone::Strong)).into(),
        rows,
        keep,
    }
}

/// How many rows each block may show; 0: it is left out with its header.
///
/// Blocks give rows while they have more than two, the longest first; where that is not enough the last blocks go.
fn rooms(blocks: &[Block], height: usize) -> Vec<usize> {
    const LEAST: usize = 2;
    // A header and an empty line for each.
    let cost = |rooms: &[usize]| -> usize {
        let shown = rooms.iter().filter(|room| **room > 0);
        shown.map(|room| room + 2).sum()
    };
    let mut rooms: Vec<usize> = blocks.iter().map(|block| block.rows.len()).collect();
    while cost(&rooms) > height {
        let longest = rooms.iter_mut().filter(|room| **room > LEAST).max();
        match longest {
            Some(room) => *room -= 1,
            None => match rooms.iter_mut().rfind(|room| **room > 0) {
                Some(room) => *room = 0,
                None => break,
            },
        }
    }
    rooms
}

impl Block {
    /// The header and at most `room` rows.
    fn lines(self, room: usize) -> Vec<Vec<Cell>> {
        let (rows, left) = self.shown(room);
        let all = || std::iter::once(&self.header).chain(&rows);
        let columns = self.header.len();
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = all().filter(|row| row.len() == columns);
                let widths = cells.map(|row| row[column].text.chars().count());
                widths.max().unwrap_or(0)
            })
            .collect();
        let mut lines: Vec<Vec<Cell>> = all().map(|row| padded(row, &widths)).collect();
        if left > 0 {
            lines.push(vec![cell(format!("and {left} more"), Tone::Faint)]);
        }
        lines
    }

    /// The rows that fit, and how many do not.
    fn shown(&self, room: usize) -> (Vec<Vec<Cell>>, usize) {
        let all = self.rows.len();
        if all <= room {
            return (self.rows.clone(), 0);
        }
        if self.keep == Keep::Last {
            return (self.rows[all - room..].to_vec(), 0);
        }
        let is_well = |row: &&Vec<Cell>| row.iter().any(|cell| cell.tone == Tone::Good);
        let mut rows: Vec<&Vec<Cell>> = self.rows.iter().collect();
        rows.sort_by_key(is_well);
        // The last line counts those that are left out.
        let kept = room - 1;
        (
            rows[..kept].iter().map(|row| (*row).clone()).collect(),
            all - kept,
        )
    }
}

/// The cells of a row at their columns.
fn padded(row: &[Cell], widths: &[usize]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (index, cell) in row.iter().enumerate() {
        cells.push(cell.clone());
        let wide = widths.get(index).copied().unwrap_or(0);
        let missing = wide.saturating_sub(cell.text.chars().count());
        cells.push(Cell {
            text: " ".repeat(missing + GAP),
            tone: Tone::Plain,
        });
    }
    cells
}

/// A line of at most `width` characters.
fn painted(cells: &[Cell], width: usize, is_coloured: bool) -> String {
    let whole: usize = cells.iter().map(|cell| cell.text.chars().count()).sum();
    let text: String = cells.iter().map(|cell| cell.text.as_str()).collect();
    let used = match whole > width {
        true => width,
        false => text.trim_end().chars().count(),
    };
    let mut line = String::new();
    let mut left = used;
    for cell in cells {
        let part: String = cell.text.chars().take(left).collect();
        left -= part.chars().count();
        line.push_str(&coloured(&part, cell.tone, is_coloured));
    }
    line
}

fn coloured(text: &str, tone: Tone, is_coloured: bool) -> String {
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Strong => 1,
        Tone::Faint => 2,
        Tone::Good => 32,
        Tone::Busy => 33,
        Tone::Bad => 31,
    };
    match is_coloured && !text.is_empty() {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    }
}

/// What is said when the view ends.
pub(super) fn farewell(running: usize) -> String {
    match running {
        0 => "skep stopped; no container runs".into(),
        _ => format!(
            "skep stopped; {} on: `skep up` takes over what runs, `skep down` removes it",
            match running {
                1 => "1 container goes".into(),
                _ => format!("{} go", count(running, "container")),
            }
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::up::fixture::{self, NOW, place};

    fn plain(picture: &Picture, width: usize, height: usize) -> Vec<String> {
        frame(picture, &place(), NOW, Size { width, height }, false)
    }

    #[test]
    fn the_whole_picture_as_people_see_it() {
        let shown = plain(&fixture::picture(), 100, 24).join("\n");
        let expected = "\
skep up   store 127.0.0.1:2379   data /data/skep   for 2m30s

NODE    STATUS   TASKS   ENGINE
local   ready    4       28.5.2
n2      down     0                cannot connect to the engine at tcp://n2:2376

SERVICE    WANTED   RUNNING   READY   STATUS
shop/api   2        1         0       waiting   no suitable node: 1 of 2 lacks resources
web        3        3         3       ready

EVENT   OBJECT                 REASON
2m      services/default/web   Created    3 tasks for revision 1
12s     nodes/n2               NodeDown   cannot connect

Ctrl-C stops skep and leaves the containers running; `skep down` removes them";
        assert_eq!(shown, expected);
    }

    #[test]
    fn before_there_is_anything_it_says_what_to_do() {
        let shown = plain(&Picture::default(), 80, 24);
        assert!(
            shown
                .iter()
                .any(|line| line == "none yet: skep apply -f FILE"),
            "{shown:?}"
        );
        assert!(
            !shown.iter().any(|line| line.starts_with("NODE")),
            "{shown:?}"
        );
    }

    #[test]
    fn it_never_outgrows_the_terminal() {
        let mut picture = fixture::picture();
        for number in 0..60 {
            let service = fixture::service(1, 1, 1, "ready", "");
            picture.services.insert(format!("s{number}"), service);
        }
        picture.warnings = vec!["a warning that is long".repeat(20)];
        for (width, height) in [(80, 24), (40, 10), (20, 5), (10, 3), (1, 1)] {
            let shown = plain(&picture, width, height);
            assert!(shown.len() <= height, "{height}: {shown:#?}");
            let widest = shown.iter().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width), "{width}: {shown:#?}");
        }
        let shown = plain(&picture, 80, 24);
        assert!(
            shown.iter().any(|line| line.starts_with("shop/api")),
            "what is not well stays: {shown:#?}"
        );
        assert!(
            shown
                .iter()
                .any(|line| line.starts_with("and ") && line.ends_with(" more")),
            "what is left out is counted: {shown:#?}"
        );
        assert!(
            shown.iter().any(|line| line.contains("NodeDown")),
            "the latest event stays: {shown:#?}"
        );
    }

    #[test]
    fn colours_change_no_character() {
        let size = Size {
            width: 60,
            height: 24,
        };
        let coloured = frame(&fixture::picture(), &place(), NOW, size, true).join("\n");
        assert!(coloured.contains("\x1b[32mready\x1b[0m"), "{coloured:?}");
        assert!(coloured.contains("\x1b[31mdown\x1b[0m"), "{coloured:?}");
        let mut stripped = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once("\x1b[") {
            stripped.push_str(before);
            rest = after.split_once('m').map_or("", |(_, rest)| rest);
        }
        stripped.push_str(rest);
        assert_eq!(stripped, plain(&fixture::picture(), 60, 24).join("\n"));
    }

    #[test]
    fn control_characters_of_others_do_not_reach_the_terminal() {
        let mut picture = fixture::picture();
        picture.events[0].message = "evil \x1b[2J\r\n text".into();
        let shown = plain(&picture, 100, 24).join("\n");
        assert!(
            !shown.contains('\x1b') && !shown.contains('\r'),
            "{shown:?}"
        );
    }

    #[test]
    fn the_end_says_what_goes_on() {
        assert_eq!(farewell(0), "skep stopped; no container runs");
        assert!(farewell(1).contains("1 container goes on"));
        assert!(farewell(3).contains("3 containers go on"));
    }
}
