//! `skep api-resources`: the kinds with their short names, their writers and their keys.

use super::error::Error;
use super::kinds;
use super::print;
use super::terminal::Terminal;

pub(super) fn run(terminal: &Terminal) -> Result<(), Error> {
    let rows: Vec<Vec<String>> = kinds::ALL
        .iter()
        .map(|kind| {
            let short = kind.words.get(2).copied().unwrap_or("");
            [kind.words[0], short, kind.writer, kind.key]
                .map(str::to_owned)
                .to_vec()
        })
        .collect();
    terminal.line(&print::table(
        &["NAME", "SHORT", "WRITTEN BY", "KEY"],
        &rows,
    ))
}
