//! `-f FILE|DIR|-`: reads manifests.

use super::error::Error;
use super::terminal::Terminal;
use super::text::{self, Document};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;

/// What is read as a manifest in a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Reads all documents. Nothing is left out: a problem in one file is a problem of the whole command.
pub(super) async fn read(names: &[String], terminal: &Terminal) -> Result<Vec<Document>, Error> {
    parse(&texts(names, terminal).await?, names)
}

/// Reads the documents of files' texts.
pub(super) fn parse(texts: &[(String, String)], names: &[String]) -> Result<Vec<Document>, Error> {
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    for (file, text) in texts {
        let (found, wrong) = text::documents(text, file);
        documents.extend(found.into_iter().map(|document| (file.clone(), document)));
        problems.extend(wrong);
    }
    let mut seen = BTreeMap::new();
    for (file, document) in &documents {
        if let Some(first) = seen.insert(document.key().clone(), file) {
            let key = document.key();
            problems.push(format!(
                "{file}: {key} is already in {first}: an object may be given once"
            ));
        }
    }
    if !problems.is_empty() {
        return Err(Error::advised(
            problems.join("\n"),
            "nothing was written; `skep validate -f` checks without a store",
        ));
    }
    if documents.is_empty() {
        return Err(Error::refused(format!(
            "no manifest in {}",
            names.join(", ")
        )));
    }
    Ok(documents
        .into_iter()
        .map(|(_, document)| document)
        .collect())
}

/// The files' texts, each with its name.
pub(super) async fn texts(
    names: &[String],
    terminal: &Terminal,
) -> Result<Vec<(String, String)>, Error> {
    let mut texts = Vec::new();
    for name in names {
        if name == "-" {
            let mut text = String::new();
            let read = terminal.input().read_to_string(&mut text).await;
            read.map_err(|error| Error::refused(format!("standard input: {error}")))?;
            texts.push(("-".into(), text));
            continue;
        }
        for path in paths(Path::new(name))? {
            let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
            texts.push((path.display().to_string(), text));
        }
    }
    Ok(texts)
}

/// A file itself; of a directory the manifests in it and below it, by name.
fn paths(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut entries = std::fs::read_dir(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(path, &error))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let mut found = Vec::new();
    for entry in entries {
        let below = entry.path();
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        let is_manifest = below
            .extension()
            .is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known));
        if below.is_dir() && !is_hidden {
            found.extend(paths(&below)?);
        } else if is_manifest && !is_hidden {
            found.push(below);
        }
    }
    Ok(found)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::refused(format!("{}: {error}", path.display()))
}
