//! `skep store copy`: a cluster moves to another store, and not one container restarts.
//!
//! The source is marked first, so that no manager works on it again, then everything is copied and read back, and the
//! target's record, in the cluster's next life, is the last write: managers that are pointed there adopt what runs
//! (rules I2 and S6). Interrupted at any point, the same command goes on.

use super::super::error::Error;
use super::Surroundings;
use super::carried::{Carried, carried};
use super::life;
use super::place::Opened;
use super::record::{self, Record};
use super::target::{Standing, Target};
use crate::api::cluster::{Cluster, Held};
use crate::api::unit::Incarnation;
use crate::runtime::cache::Cache;
use crate::store::config::{Secret, StoreArgs};

/// Arguments of `skep store copy`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The store to copy: http://HOST:PORT,... or the data directory of an embedded store that is stopped
    /// [default: the store that all verbs use]; --cacert, --cert, --key and --user belong to it
    #[arg(long, value_name = "URL|DIR")]
    pub from: Option<String>,
    /// The store to fill: http://HOST:PORT,... or a data directory
    #[arg(long, value_name = "URL|DIR")]
    pub to: String,
    /// Who we are to the target.
    #[command(flatten)]
    pub target: TargetArgs,
    /// End the managers that work on either store: they lose their rights at once; containers go on
    #[arg(long)]
    pub stop_managers: bool,
    /// Replace what is below the prefix in the target, whatever it is
    #[arg(long)]
    pub overwrite: bool,
}

/// Who we are to the target, as --cacert and its like say it of the source. Without any of them those count for a target
/// too, where the source is a directory.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TargetArgs {
    /// Authorities that signed the target's certificate
    #[arg(long, value_name = "FILE")]
    pub to_cacert: Option<String>,
    /// Certificate that identifies us to the target
    #[arg(long, value_name = "FILE")]
    pub to_cert: Option<String>,
    /// Key of that certificate
    #[arg(long, value_name = "FILE")]
    pub to_key: Option<String>,
    /// User of the target, with or without the password
    #[arg(long, value_name = "NAME[:PASSWORD]")]
    pub to_user: Option<Secret>,
    /// Password of that user
    #[arg(long, value_name = "PASSWORD")]
    pub to_password: Option<Secret>,
    /// Prefix of all keys in the target [default: as in the source]
    #[arg(long, value_name = "PREFIX")]
    pub to_prefix: Option<String>,
}

impl TargetArgs {
    /// The same as flags of a store; none: not one is given.
    pub(super) fn store(&self) -> Option<StoreArgs> {
        let args = StoreArgs {
            endpoints: None,
            cacert: self.to_cacert.clone(),
            cert: self.to_cert.clone(),
            key: self.to_key.clone(),
            user: self.to_user.clone(),
            password: self.to_password.clone(),
            prefix: None,
        };
        let is_given = args.cacert.is_some()
            || args.cert.is_some()
            || args.key.is_some()
            || args.user.is_some()
            || args.password.is_some();
        is_given.then_some(args)
    }
}

pub(super) async fn run(around: &Surroundings, args: Args) -> Result<(), Error> {
    let source = around.source(args.from.as_deref()).await?;
    let target = around.target(&args, &source).await?;
    let result = Move {
        around,
        source: &source,
        target: &target,
        args: &args,
    }
    .run()
    .await;
    source.close().await;
    target.close().await;
    result
}

struct Move<'a> {
    around: &'a Surroundings,
    source: &'a Opened,
    target: &'a Opened,
    args: &'a Args,
}

impl Move<'_> {
    async fn run(&self) -> Result<(), Error> {
        let Some(found) = record::read(self.source).await? else {
            return Err(Error::advised(
                format!("there is no cluster in {}", self.source.name),
                "no manager ever worked there: `skep apply -f` brings objects into a new store",
            ));
        };
        if self.is_done(&found.cluster).await? {
            let text = format!("{} is in {} already", self.source.name, self.target.name);
            return self.around.terminal().line(&text);
        }
        let (overwrite, stop) = (self.args.overwrite, self.args.stop_managers);
        let target = Target::look(self.target, &found.cluster, overwrite, stop).await?;
        may_leave(&found.cluster, &target.standing, self)?;
        let rights = record::rights(self.source).await?;
        record::unused(self.source, &rights, stop)?;
        for name in rights.managers.iter() {
            self.around
                .note(&format!("manager {name} on {} ends", self.source.name));
        }
        let mark = life::held(&found.cluster, Held::MovedTo(self.target.name.clone()));
        let marked = record::write(self.source, Some(found.revision), mark, &rights).await?;
        let copied = match record::emptied(self.source, &rights).await {
            Ok(()) => self.copy(&found.cluster, target).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &copied {
            self.take_back(found, marked, error).await;
        }
        copied
    }

    /// Whether an earlier copy came to its end: the source says that it moved there, and there is its later life.
    async fn is_done(&self, source: &Cluster) -> Result<bool, Error> {
        if source.held != Some(Held::MovedTo(self.target.name.clone())) {
            return Ok(false);
        }
        let there = record::read(self.target).await?.map(|found| found.cluster);
        Ok(there.is_some_and(|there| {
            let is_later = there.incarnation > source.incarnation;
            there.id == source.id && there.held.is_none() && is_later
        }))
    }

    async fn copy(&self, cluster: &Cluster, target: Target<'_>) -> Result<(), Error> {
        let listing = crate::store::list(self.source.kv.as_ref(), &self.source.prefix).await?;
        let mut cache = Cache::default();
        cache.replace(&self.source.prefix, &listing.kvs, listing.revision);
        let past = target
            .past(cluster)
            .map_or(Incarnation(0), |it| it.incarnation);
        let past = life::highest(&cache).max(past);
        let carried = carried(&self.source.prefix, listing.kvs);
        let claim = target.claim(cluster, &self.source.name).await?;
        let written = claim.fill(&carried.values, self.around.terminal()).await?;
        let next = life::next(cluster, past, self.around.now());
        claim.finish(next.clone()).await?;
        self.report(&next, &carried, written, &cache)
    }

    /// The mark on the source goes where the target is surely not served.
    async fn take_back(&self, found: Record, marked: Record, error: &Error) {
        let name = &self.source.name;
        let again = format!(
            "{name} stays marked as moved and no manager starts on it: repeat the command, or `skep store release`"
        );
        if matches!(error, Error::Unknown(_)) || found.cluster.held.is_some() {
            self.around.note(&again);
            return;
        }
        let rights = record::Rights::default();
        let back = record::write(self.source, Some(marked.revision), found.cluster, &rights);
        match back.await {
            Ok(_) => self
                .around
                .note(&format!("{name} is as it was: managers may start on it")),
            Err(_) => self.around.note(&again),
        }
    }

    fn report(
        &self,
        next: &Cluster,
        carried: &Carried,
        written: usize,
        cache: &Cache,
    ) -> Result<(), Error> {
        let (from, to) = (&self.source.name, &self.target.name);
        for key in &carried.unleased {
            self.around.note(&format!(
                "{key} went with a lease in {from}; in {to} it stays"
            ));
        }
        let terminal = self.around.terminal();
        terminal.line(&format!(
            "cluster {} moved to {to}: {} keys, {written} of them written now; its life {} begins",
            next.id,
            carried.values.len(),
            next.incarnation
        ))?;
        self.around
            .note(&format!("{from} is its past now: no manager starts on it"));
        self.around.note(&match self.target.is_shared() {
            true => format!("now: skep manager --endpoints {to}{}", names(cache)),
            false => format!("now: skep up --data-dir {to}{}", names(cache)),
        });
        Ok(())
    }
}

/// ` --name NAME` where nodes name the manager whose socket they are.
fn names(cache: &Cache) -> String {
    let owners: std::collections::BTreeSet<&str> = cache
        .nodes
        .values()
        .filter_map(|node| node.spec.manager.as_deref())
        .collect();
    owners
        .iter()
        .map(|name| format!(" --name {name}"))
        .collect()
}

/// Whether the source may be left for this target: one that moved elsewhere already is the past.
fn may_leave(source: &Cluster, target: &Standing, way: &Move<'_>) -> Result<(), Error> {
    match &source.held {
        None => Ok(()),
        Some(Held::MovedTo(_)) if *target == Standing::Begun => Ok(()),
        Some(Held::MovedTo(to)) if *to == way.target.name => Ok(()),
        Some(Held::MovedTo(to)) => Err(Error::advised(
            format!("the cluster in {} moved to {to} before", way.source.name),
            "copy it from there; if that store is lost, `skep store release` makes this one the cluster's again",
        )),
        Some(Held::FilledFrom(from)) => Err(Error::refused(format!(
            "{} is being filled from {from} and not whole: repeat that first",
            way.source.name
        ))),
    }
}
