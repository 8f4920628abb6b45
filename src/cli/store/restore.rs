//! `skep store restore`: a backup in the place of an embedded store.
//!
//! First it says what would change, then it asks, then it makes the new store beside the old one and changes their names;
//! the old one stays. The new one begins the cluster's next life, without the rights of processes that are gone.

use super::super::error::Error;
use super::super::settings;
use super::Surroundings;
use super::carried::is_right;
use super::compare;
use super::life;
use super::place::{Home, Opened, open, unopened};
use crate::api::cluster::Cluster;
use crate::api::key::Key;
use crate::api::unit::Incarnation;
use crate::embedded::backup::Backup;
use crate::embedded::local::Local;
use crate::embedded::store::{Options, Store};
use crate::runtime::cache::Cache;
use crate::store::{self, Kv, Op, Txn};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Operations in one transaction (rule S7).
const AT_ONCE: usize = store::BATCH_OPERATIONS;

/// Arguments of `skep store restore`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Directory of the embedded store [default: $SKEP_DATA_DIR, $XDG_DATA_HOME/skep, ~/.local/share/skep]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Say what would change and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// What is in the place of which the backup comes.
enum Present {
    /// No store.
    Nothing,
    /// A store.
    Known(Box<Cache>),
    /// One that cannot be read.
    Damaged(String),
}

pub(super) async fn run(around: &Surroundings, args: Args) -> Result<(), Error> {
    let file = around.at(&args.file);
    let bytes = fs::read(&file)
        .map_err(|error| Error::refused(format!("cannot read {}: {error}", file.display())))?;
    let backup = Backup::from_bytes(&bytes)
        .map_err(|error| Error::refused(format!("{}: {error}", file.display())))?;
    drop(bytes);
    let prefix = around.prefix()?;
    let content = content(&backup, &prefix).await?;
    let path = around.data_dir(args.data_dir.as_deref())?;
    let home = Home::of(&path)?;
    let lock = match home.lock() {
        Ok(lock) => lock,
        Err(taken) => {
            // What runs can be looked at, and has to be stopped before anything is touched.
            let present = running(around, &path).await?;
            tell(around, &present, &content)?;
            return Err(taken);
        }
    };
    let present = present(&home, &prefix).await?;
    tell(around, &present, &content)?;
    if args.dry_run {
        return Ok(());
    }
    let question = format!("Put the backup in the place of {}?", home.store.display());
    around.confirm(&question, args.yes).await?;
    let kept = replace(around, &home, &backup, &prefix, &present).await?;
    drop(lock);
    let name = home.name();
    let line = format!("{name} holds the backup of revision {}", backup.revision);
    around.terminal().line(&line)?;
    if let Some(kept) = kept {
        around.note(&format!("what was there is in {}", kept.display()));
    }
    around.note("the next `skep up` adopts what runs");
    Ok(())
}

/// What the backup holds.
async fn content(backup: &Backup, prefix: &str) -> Result<Cache, Error> {
    let store = Store::of_backup(backup)
        .map_err(|error| Error::refused(format!("the backup makes no store: {error}")))?;
    cache(&Local::new(store), prefix).await
}

async fn cache(kv: &dyn Kv, prefix: &str) -> Result<Cache, Error> {
    let listing = store::list(kv, prefix).await?;
    let mut cache = Cache::default();
    cache.replace(prefix, &listing.kvs, listing.revision);
    Ok(cache)
}

/// What is in the directory, which is ours.
async fn present(home: &Home, prefix: &str) -> Result<Present, Error> {
    if !home.has_store() {
        return Ok(Present::Nothing);
    }
    match open(&home.store).await {
        Err(error) => Ok(Present::Damaged(error.chain())),
        Ok(store) => {
            let found = cache(&Local::new(store.clone()), prefix).await;
            store.stop().await;
            Ok(Present::Known(Box::new(found?)))
        }
    }
}

/// What the store that runs on the directory holds.
async fn running(around: &Surroundings, path: &Path) -> Result<Present, Error> {
    let config = settings::of_directory(&around.globals, &around.environment, path);
    let opened: Opened = around.running(config.map_err(Error::refused)?).await?;
    Ok(Present::Known(Box::new(
        cache(opened.kv.as_ref(), &opened.prefix).await?,
    )))
}

/// Names what would change.
fn tell(around: &Surroundings, present: &Present, content: &Cache) -> Result<(), Error> {
    let nothing = Cache::default();
    let present = match present {
        Present::Known(present) => present,
        Present::Nothing => &nothing,
        Present::Damaged(why) => {
            around.note(&format!(
                "the store that is there cannot be read, so what it loses cannot be named: {why}"
            ));
            &nothing
        }
    };
    let lines = compare::compare(present, content);
    let text = match lines.is_empty() {
        true => "objects and tasks are the same in both".to_owned(),
        false => lines.join("\n"),
    };
    around.terminal().line(&text)
}

/// Makes the new store and changes names; gives where the old one is.
async fn replace(
    around: &Surroundings,
    home: &Home,
    backup: &Backup,
    prefix: &str,
    present: &Present,
) -> Result<Option<PathBuf>, Error> {
    let beside = |ending: &str| {
        let mut name = home.store.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let new = beside(".restoring");
    let stamp = around.now().to_string().replace([':', '.'], "-");
    let old = beside(&format!(".before-{stamp}"));
    let failed = |error: io::Error| Error::refused(format!("{}: {error}", home.store.display()));
    // An earlier attempt that was interrupted.
    match fs::remove_dir_all(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let store =
        Store::restore(&new, backup, Options::default()).map_err(|error| unopened(&error))?;
    let begun = begin(around, &Local::new(store.clone()), prefix, present).await;
    store.stop().await;
    begun?;
    let is_there = home.store.is_dir();
    if is_there {
        fs::rename(&home.store, &old).map_err(failed)?;
    }
    fs::rename(&new, &home.store).map_err(failed)?;
    let parent = home.store.parent().unwrap_or(&home.store);
    fs::File::open(parent)
        .and_then(|parent| parent.sync_all())
        .map_err(failed)?;
    Ok(is_there.then_some(old))
}

/// The next life of the cluster, and no rights of processes that are gone.
async fn begin(
    around: &Surroundings,
    kv: &Local,
    prefix: &str,
    present: &Present,
) -> Result<(), Error> {
    let listing = store::list(kv, prefix).await?;
    let content = cache(kv, prefix).await?;
    let mut ops = Vec::new();
    for stored in listing.kvs {
        let tail = stored.key.strip_prefix(prefix).and_then(Key::parse);
        if tail.is_some_and(|key| is_right(&key)) {
            ops.push(Op::Delete { key: stored.key });
        }
    }
    if let Some(next) = next(around, &content, present) {
        ops.push(Op::Put {
            key: Key::Cluster.full(prefix),
            value: serde_json::to_vec(&next).expect("the record's fields are plain"),
            lease: None,
        });
    }
    for ops in ops.chunks(AT_ONCE) {
        let txn = Txn {
            then: ops.to_vec(),
            ..Txn::default()
        };
        if let store::Outcome::Unknown { error } = kv.txn(&txn).await? {
            return Err(Error::Unknown(error));
        }
    }
    Ok(())
}

fn next(around: &Surroundings, content: &Cache, present: &Present) -> Option<Cluster> {
    let record = content.cluster.as_ref()?;
    let known = match present {
        Present::Known(present) => life::highest(present),
        Present::Nothing | Present::Damaged(_) => Incarnation::default(),
    };
    let past = life::highest(content).max(known);
    Some(life::next(record, past, around.now()))
}
