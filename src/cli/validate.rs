//! `skep validate`: checks manifests without a store.

use super::error::Error;
use super::files;
use super::kinds::title;
use super::terminal::Terminal;

/// Arguments of `skep validate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Files, directories or - for standard input
    #[arg(short, long = "filename", required = true, value_name = "FILE|DIR|-")]
    pub filename: Vec<String>,
}

pub(super) async fn run(terminal: &Terminal, args: Args) -> Result<(), Error> {
    let read = files::read(&args.filename, terminal).await;
    // The advice to validate is for verbs that write.
    let documents = read.map_err(|error| match error {
        Error::Refused { message, .. } => Error::refused(message),
        error => error,
    })?;
    for document in documents {
        terminal.line(&format!("{} valid", title(document.key())))?;
    }
    Ok(())
}
