//! `skep store release`: a store that `copy` has left is the cluster's again, in its next life.

use super::super::error::Error;
use super::Surroundings;
use super::life;
use super::place::Opened;
use super::record::{self, Rights};
use crate::api::cluster::Held;
use crate::runtime::cache::Cache;

/// Arguments of `skep store release`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The data directory of an embedded store that is stopped [default: the store that all verbs use]
    #[arg(long, value_name = "URL|DIR")]
    pub from: Option<String>,
    /// The target is lost, or nobody serves it: two stores of one cluster would fight over its containers
    #[arg(long)]
    pub yes: bool,
}

pub(super) async fn run(around: &Surroundings, args: Args) -> Result<(), Error> {
    let opened = around.source(args.from.as_deref()).await?;
    let result = release(around, &args, &opened).await;
    opened.close().await;
    result
}

async fn release(around: &Surroundings, args: &Args, opened: &Opened) -> Result<(), Error> {
    let name = &opened.name;
    let found = record::read(opened).await?;
    let Some((found, held)) = found.and_then(|found| {
        let held = found.cluster.held.clone()?;
        Some((found, held))
    }) else {
        return Err(Error::refused(format!(
            "{name} is not left: managers may serve it"
        )));
    };
    let to = match held {
        Held::MovedTo(to) => to,
        Held::FilledFrom(from) => {
            return Err(Error::refused(format!(
                "{name} is being filled from {from} and not whole: repeat that command"
            )));
        }
    };
    let question = format!(
        "The cluster moved to {to}. What happened there since is not in {name}, and nobody may serve {to} any more. Go on?"
    );
    around.confirm(&question, args.yes).await?;
    let listing = crate::store::list(opened.kv.as_ref(), &opened.prefix).await?;
    let mut cache = Cache::default();
    cache.replace(&opened.prefix, &listing.kvs, listing.revision);
    let next = life::next(&found.cluster, life::highest(&cache), around.now());
    let rights = Rights::default();
    record::write(opened, Some(found.revision), next.clone(), &rights).await?;
    around.terminal().line(&format!(
        "{name} is the cluster's again: its life {} begins",
        next.incarnation
    ))
}
