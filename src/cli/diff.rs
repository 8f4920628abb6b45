//! `skep diff`: what `apply` would change. Exit code 0: nothing, 1: something, above: an error.

use super::error::Error;
use super::files;
use super::kinds::title;
use super::session::Session;
use super::text;

/// Arguments of `skep diff`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Files, directories or - for standard input
    #[arg(short, long = "filename", required = true, value_name = "FILE|DIR|-")]
    pub filename: Vec<String>,
}

pub(super) async fn run(session: &Session, args: Args) -> Result<(), Error> {
    match compare(session, args).await {
        Ok(0) => Ok(()),
        Ok(_) => Err(Error::Said(1)),
        // Exit code 1 is taken: it means that there are changes.
        Err(error) if error.exit_code() == 1 => {
            session.terminal.note(&format!("error: {}", error.chain()));
            Err(Error::Said(2))
        }
        Err(error) => Err(error),
    }
}

/// Prints the differences; says how many objects differ.
async fn compare(session: &Session, args: Args) -> Result<usize, Error> {
    let documents = files::read(&args.filename, &session.terminal).await?;
    let cache = session.snapshot().await?;
    let mut differ = 0;
    for document in documents {
        let key = document.key();
        let name = title(key);
        let lines = match cache
            .users
            .get(key)
            .map(|stored| text::meaning(key, &stored.value))
        {
            None => vec![format!("{name} would be created")],
            Some(Err(_)) => vec![format!("{name}: the stored value could not be read")],
            Some(Ok(before)) => text::changes(&before, &document.meaning())
                .iter()
                .map(|change| format!("{name} {change}"))
                .collect(),
        };
        differ += usize::from(!lines.is_empty());
        lines
            .iter()
            .try_for_each(|line| session.terminal.line(line))?;
    }
    Ok(differ)
}
