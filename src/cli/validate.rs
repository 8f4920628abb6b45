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
    for document in files::read(&args.filename, terminal).await? {
        terminal.line(&format!("{} valid", title(document.key())))?;
    }
    Ok(())
}
