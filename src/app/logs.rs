//! The log: lines on standard error, or in a file beside a live view.

use super::process::{Ended, FAILED};
use crate::cli::up::Log;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Mutex;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// A log file of this size is put aside at the next start.
const LARGE: u64 = 8 * 1024 * 1024;

/// Writes lines to standard error: those of `SKEP_LOG`, else of `usual` and what is graver.
pub(super) fn start(usual: &str, json: bool) {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
    let colour = !no_colour && io::IsTerminal::is_terminal(&io::stderr());
    let logs = fmt()
        .with_env_filter(filter(usual))
        .with_writer(io::stderr)
        .with_ansi(colour);
    // Fails only if logs have been started already.
    let _ = match json {
        true => logs.json().try_init(),
        false => logs.with_target(false).try_init(),
    };
}

/// Writes everything to a file, and hands warnings to a live view.
pub(super) fn beside_a_view(path: &Path, view: Log) -> Ended {
    let file = appended(path)
        .map_err(|error| (FAILED, format!("cannot write {}: {error}", path.display())))?;
    let written = fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(Mutex::new(file))
        .with_filter(filter("info"));
    let shown = fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_level(false)
        .without_time()
        .with_writer(move || view.clone())
        .with_filter(LevelFilter::WARN);
    // Fails only if logs have been started already.
    let _ = tracing_subscriber::registry()
        .with(written)
        .with(shown)
        .try_init();
    Ok(())
}

fn filter(usual: &str) -> EnvFilter {
    EnvFilter::try_from_env("SKEP_LOG").unwrap_or_else(|_| EnvFilter::new(usual))
}

fn appended(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|file| file.len() > LARGE) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    File::options().create(true).append(true).open(path)
}
