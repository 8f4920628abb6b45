//! `skep store import`: a new store gets what users wrote, and the cluster's id in its next life, so that managers adopt
//! what runs by namespace, name, slot and template hash (rule C3).

use super::super::error::Error;
use super::super::files;
use super::super::print::count;
use super::super::text::Document;
use super::Surroundings;
use super::document::Head;
use super::life;
use super::place::Opened;
use super::target::Target;
use crate::api::cluster::Cluster;
use crate::api::key::Key;
use std::collections::BTreeMap;

/// Arguments of `skep store import`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The export: files, directories (with what is below them) or - for standard input
    #[arg(short, long = "filename", required = true, value_name = "FILE|DIR|-")]
    pub filename: Vec<String>,
    /// The store to fill: http://HOST:PORT,... or the data directory of an embedded store that is stopped
    /// [default: the store that all verbs use]
    #[arg(long, value_name = "URL|DIR")]
    pub to: Option<String>,
    /// End the managers that work on the store
    #[arg(long)]
    pub stop_managers: bool,
    /// Replace what is below the prefix in the store, whatever it is
    #[arg(long)]
    pub overwrite: bool,
}

pub(super) async fn run(around: &Surroundings, args: Args) -> Result<(), Error> {
    let (head, documents) = read(around, &args).await?;
    let Some(cluster) = head.cluster.clone() else {
        return Err(Error::advised(
            "the files name no cluster (a line `# skep.dev/cluster: ...`), so nothing that runs could be adopted",
            "`skep apply -f` writes objects to a store; an import needs all of what `skep store export` wrote",
        ));
    };
    let opened = around.store(args.to.as_deref(), false).await?;
    let result = fill(around, &args, &opened, cluster, values(&head, &documents)).await;
    opened.close().await;
    result
}

async fn read(around: &Surroundings, args: &Args) -> Result<(Head, Vec<Document>), Error> {
    let mut head = Head::default();
    let mut texts = Vec::new();
    let at = |name: &String| match name.as_str() {
        "-" => name.clone(),
        name => around.at(name.as_ref()).display().to_string(),
    };
    let names: Vec<String> = args.filename.iter().map(at).collect();
    for (file, text) in files::texts(&names, around.terminal()).await? {
        let rest = head
            .read(&text)
            .map_err(|why| Error::refused(format!("{file}: {why}")))?;
        texts.push((file, rest.to_owned()));
    }
    let documents = files::parse(&texts, &args.filename)?;
    Ok((head, documents))
}

/// What users wrote, by key without the prefix.
fn values(head: &Head, documents: &[Document]) -> BTreeMap<String, Vec<u8>> {
    let objects = documents.iter().map(|document| {
        let key = Key::User(document.key().clone());
        (key.to_string(), document.manifest.text.clone().into_bytes())
    });
    let scales = head.scales.iter().map(|(service, value)| {
        let key = Key::Scale(service.clone());
        (key.to_string(), value.clone().into_bytes())
    });
    objects.chain(scales).collect()
}

async fn fill(
    around: &Surroundings,
    args: &Args,
    opened: &Opened,
    cluster: Cluster,
    values: BTreeMap<String, Vec<u8>>,
) -> Result<(), Error> {
    let target = Target::look(opened, &cluster, args.overwrite, args.stop_managers).await;
    let target = target.map_err(|error| match error {
        Error::Refused { message, hint } => Error::Refused {
            message,
            hint: format!("{hint}; `skep apply -f` brings objects into a cluster that lives"),
        },
        other => other,
    })?;
    let past = target.past(&cluster).map(|found| found.incarnation);
    let next = life::next(&cluster, past.unwrap_or_default(), around.now());
    let claim = target.claim(&cluster, "an export").await?;
    claim.fill(&values, around.terminal()).await?;
    claim.finish(next.clone()).await?;
    around.terminal().line(&format!(
        "{} in {}: life {} of cluster {} begins",
        count(values.len(), "key"),
        opened.name,
        next.incarnation,
        next.id
    ))?;
    around.note(&match opened.is_shared() {
        true => format!("now: skep manager --endpoints {}", opened.name),
        false => format!("now: skep up --data-dir {}", opened.name),
    });
    Ok(())
}
