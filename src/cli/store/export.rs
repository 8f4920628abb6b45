//! `skep store export`: what users wrote, as YAML for people and git.
//!
//! One file of many documents, or a directory with a file for each object, in which git shows what changed.

use super::super::error::Error;
use super::super::kinds::title;
use super::super::print::count;
use super::Surroundings;
use super::document::{self, Head};
use super::place::Opened;
use crate::api::name::{Kind, ObjectKey};
use crate::runtime::cache::Cache;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file of a directory that holds the head.
const HEAD: &str = "cluster.yaml";

/// Arguments of `skep store export`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The store: http://HOST:PORT,... or the data directory of an embedded store that is stopped [default: the store
    /// that all verbs use]
    #[arg(long, value_name = "URL|DIR")]
    pub from: Option<String>,
    /// Where to: a file, or a directory (one that is there, or a name that ends in /) [default: standard output]
    #[arg(short, long, value_name = "FILE|DIR")]
    pub output: Option<PathBuf>,
}

/// What is exported.
#[derive(Debug, Default)]
struct Export {
    head: Head,
    documents: BTreeMap<(u8, ObjectKey), String>,
    /// What cannot be exported, with the reason.
    left: Vec<String>,
}

pub(super) async fn run(around: &Surroundings, args: Args) -> Result<(), Error> {
    let opened = around.source(args.from.as_deref()).await?;
    let export = read(&opened).await;
    opened.close().await;
    let export = export?;
    match &args.output {
        None => around.terminal().write(one(around, &export).as_bytes())?,
        Some(path) => {
            let path = around.at(path);
            let is_directory = path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
            match is_directory {
                true => many(around, &export, &path)?,
                false => save(&path, &one(around, &export))?,
            }
            let objects = count(export.documents.len(), "object");
            around.note(&format!("{objects} written to {}", path.display()));
        }
    }
    for problem in &export.left {
        around.note(&format!("not exported: {problem}"));
    }
    match export.left.is_empty() {
        true => Ok(()),
        false => Err(Error::refused(format!(
            "{} cannot be written as a manifest",
            count(export.left.len(), "object")
        ))),
    }
}

async fn read(opened: &Opened) -> Result<Export, Error> {
    let listing = crate::store::list(opened.kv.as_ref(), &opened.prefix).await?;
    let mut cache = Cache::default();
    cache.replace(&opened.prefix, &listing.kvs, listing.revision);
    let mut export = Export::default();
    let record = cache
        .cluster
        .as_ref()
        .map(|record| record.value.as_ref().clone());
    export.head.cluster = record.map(|record| crate::api::cluster::Cluster {
        incarnation: super::life::highest(&cache),
        adopting_since: None,
        held: None,
        ..record
    });
    for (service, stored) in &cache.scales {
        let value = String::from_utf8_lossy(&stored.value).into_owned();
        export.head.scales.insert(service.clone(), value);
    }
    for (key, stored) in &cache.users {
        match document::document(key, &stored.value) {
            Ok(text) => {
                export
                    .documents
                    .insert((order(key.kind), key.clone()), text);
            }
            Err(why) => export.left.push(format!("{}: {why}", title(key))),
        }
    }
    Ok(export)
}

/// Nodes come first: what is applied in this order has a place from the beginning.
fn order(kind: Kind) -> u8 {
    match kind {
        Kind::Node => 0,
        Kind::Network => 1,
        Kind::Service => 2,
    }
}

fn one(around: &Surroundings, export: &Export) -> String {
    let mut text = export.head.write(around.now());
    for document in export.documents.values() {
        text += "---\n";
        text += &document::ended(document);
    }
    text
}

fn many(around: &Surroundings, export: &Export, folder: &Path) -> Result<(), Error> {
    let name = |key: &ObjectKey| folder.join(format!("{key}.yaml"));
    save(&folder.join(HEAD), &export.head.write(around.now()))?;
    for ((_, key), text) in &export.documents {
        save(&name(key), text)?;
    }
    let kinds = [Kind::Node, Kind::Network, Kind::Service];
    let mut there = Vec::new();
    for kind in kinds {
        below(&folder.join(kind.plural()), &mut there);
    }
    let written: std::collections::BTreeSet<PathBuf> =
        export.documents.keys().map(|(_, key)| name(key)).collect();
    for path in there.iter().filter(|path| !written.contains(*path)) {
        around.note(&format!(
            "{} is of no object in the store: remove it, or an import brings it back",
            path.display()
        ));
    }
    Ok(())
}

/// The YAML files in a directory and below it.
fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        match path.is_dir() {
            true => below(&path, found),
            false if path.extension().is_some_and(|ending| ending == "yaml") => found.push(path),
            false => {}
        }
    }
}

fn save(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| Error::refused(format!("cannot write {}: {error}", path.display())))
}
