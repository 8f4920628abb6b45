//! `skep version`.

use super::error::Error;
use super::terminal::Terminal;
use crate::api::cluster::FORMAT;

pub(super) fn run(terminal: &Terminal) -> Result<(), Error> {
    let version = env!("CARGO_PKG_VERSION");
    terminal.line(&format!("skep {version} (store format {FORMAT})"))
}
