//! `skep apply`: puts manifests, byte for byte, in one guarded transaction.
//!
//! What means the same as what is stored is not written at all. Edits by others since the listing are a conflict.

use super::converge;
use super::error::Error;
use super::files;
use super::kinds::title;
use super::object;
use super::print;
use super::session::Session;
use super::text::{self, Document};
use super::write::{self, CHUNK, Guarded};
use crate::api::key::Key;
use crate::api::name::ObjectKey;
use crate::api::unit::{Period, Revision};
use crate::runtime::cache::Cache;
use serde_json::{Value, json};

/// Arguments of `skep apply`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Files, directories (with what is below them) or - for standard input
    #[arg(short, long = "filename", required = true, value_name = "FILE|DIR|-")]
    pub filename: Vec<String>,
    /// Say what would happen and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Wait until everything is as asked for
    #[arg(long)]
    pub wait: bool,
    /// How long to wait
    #[arg(long, default_value = "5m", value_parser = super::period)]
    pub timeout: Period,
    /// What to print of each object
    #[arg(short, long, value_enum)]
    pub output: Option<Output>,
}

/// What `apply` prints of each object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Its name.
    Name,
    /// All of it as JSON.
    Json,
    /// All of it as YAML.
    Yaml,
}

/// What becomes of one document.
struct Decision {
    key: ObjectKey,
    /// `created`, `configured (...)`, `unchanged`.
    word: String,
    /// None: nothing to write.
    write: Option<Guarded>,
}

pub(super) async fn run(session: &Session, args: Args) -> Result<(), Error> {
    let documents = files::read(&args.filename, &session.terminal).await?;
    let cache = session.snapshot().await?;
    let decisions = documents
        .iter()
        .map(|document| decide(session, &cache, document))
        .collect::<Result<Vec<_>, _>>()?;
    let revision = match args.dry_run {
        true => cache.revision,
        false => put(session, &decisions, cache.revision).await?,
    };
    report(session, &args, &documents, &decisions).await?;
    if args.wait && !args.dry_run {
        let keys = decisions.into_iter().map(|decision| decision.key).collect();
        converge::wait(session, keys, revision, args.timeout.0).await?;
    }
    Ok(())
}

fn decide(session: &Session, cache: &Cache, document: &Document) -> Result<Decision, Error> {
    let key = document.key().clone();
    let stored = cache.users.get(&key);
    let read = stored.map(|stored| stored.mod_revision);
    check_version(document, read)?;
    let before = stored.map(|stored| text::meaning(&key, &stored.value));
    let word = match &before {
        None => "created".to_owned(),
        Some(Err(_)) => "configured (the stored value could not be read)".to_owned(),
        Some(Ok(before)) => match text::changes(before, &document.meaning()).as_slice() {
            [] => "unchanged".to_owned(),
            changes => format!("configured ({})", text::summary(changes)),
        },
    };
    let write = (word != "unchanged").then(|| Guarded {
        key: session.key(&Key::User(key.clone())),
        value: Some(document.manifest.text.clone().into_bytes()),
        read,
    });
    Ok(Decision { key, word, write })
}

/// `metadata.resourceVersion` is a precondition.
fn check_version(document: &Document, read: Option<Revision>) -> Result<(), Error> {
    let Some(wanted) = document.manifest.resource_version else {
        return Ok(());
    };
    if read == Some(wanted) {
        return Ok(());
    }
    let now = read.map_or("gone".into(), |revision| format!("at {revision}"));
    Err(Error::advised(
        format!(
            "conflict: the manifest of {} is for resourceVersion {wanted}, the object is {now}",
            title(document.key())
        ),
        "get it again, or leave metadata.resourceVersion out to overwrite it",
    ))
}

/// Writes what has to be written; says the last revision.
async fn put(session: &Session, decisions: &[Decision], read: Revision) -> Result<Revision, Error> {
    let writes: Vec<Guarded> = decisions.iter().filter_map(|d| d.write.clone()).collect();
    let chunks: Vec<&[Guarded]> = writes.chunks(CHUNK).collect();
    let mut revision = read;
    for (index, chunk) in chunks.iter().enumerate() {
        revision = match write::commit(session, chunk).await {
            Ok(revision) => revision,
            Err(error) => {
                if index > 0 {
                    let done = index * CHUNK;
                    session
                        .terminal
                        .note(&format!("the first {done} objects are written"));
                }
                return Err(error);
            }
        };
        if chunks.len() > 1 {
            let (number, all) = (index + 1, chunks.len());
            let objects = print::count(chunk.len(), "object");
            session
                .terminal
                .note(&format!("transaction {number} of {all}: {objects} written"));
        }
    }
    Ok(revision)
}

async fn report(
    session: &Session,
    args: &Args,
    documents: &[Document],
    decisions: &[Decision],
) -> Result<(), Error> {
    let note = if args.dry_run { " (dry run)" } else { "" };
    let Some(output) = args.output else {
        return decisions.iter().try_for_each(|decision| {
            let line = format!("{} {}{note}", title(&decision.key), decision.word);
            session.terminal.line(&line)
        });
    };
    if output == Output::Name {
        return decisions
            .iter()
            .try_for_each(|decision| session.terminal.line(&decision.key.to_string()));
    }
    let items: Vec<Value> = match args.dry_run {
        true => documents.iter().map(Document::json).collect(),
        false => {
            let cache = session.snapshot().await?;
            let keys = decisions.iter().map(|decision| &decision.key);
            keys.map(|key| object::manifest(&cache, key)).collect()
        }
    };
    if output == Output::Yaml {
        let texts: Vec<String> = items.iter().map(print::yaml).collect();
        return session.terminal.write(texts.join("---\n").as_bytes());
    }
    let whole = match <[Value; 1]>::try_from(items) {
        Ok([item]) => item,
        Err(items) => json!({"apiVersion": "skep.dev/v1", "kind": "List", "items": items}),
    };
    session.terminal.line(&print::json(&whole))
}
