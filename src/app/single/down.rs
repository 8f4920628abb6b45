//! `skep down`: removes what runs, through the `skep up` that has the directory, else with a control plane of its own for
//! as long as that takes.
//!
//! As with compose, a `skep up` in another terminal ends with it.

use super::super::process::{
    Ended, FAILED, USAGE, ended, environment, hostname, open, own_address, start_quiet_logs,
    terminal,
};
use super::arguments::DownArgs;
use super::home::{self, Denied, Home};
use super::plane::{self, Plane, Settings};
use super::{images, own_store, stop};
use crate::cli::{self, Session};
use crate::controllers::{cluster, network, node};
use crate::embedded::local::Local;
use crate::embedded::store::Store;
use crate::engine::DockerConnector;
use crate::runtime::clock::SystemClock;
use crate::store::Kv;
use crate::store::config::StoreArgs;
use std::path::Path;
use std::sync::Arc;

/// What has to go may take room for its going.
const NO_QUOTA: u64 = i64::MAX as u64;

/// Exit code: interrupted.
const INTERRUPTED: u8 = 130;

/// Removes the services of a data directory's cluster with their containers; with `--all` also the directory and images.
pub(in crate::app) async fn down(globals: &StoreArgs, args: DownArgs) -> Ended {
    let prefix = own_store(globals, "down")?;
    start_quiet_logs();
    let path = home::path(args.data_dir.as_deref(), &environment())?;
    if !path.is_dir() {
        println!("nothing is up in {}", path.display());
        return Ok(());
    }
    let also = match args.all {
        true => format!(
            ", the store and all else in {}, and loaded images",
            path.display()
        ),
        false => String::new(),
    };
    let request = cli::down::Request {
        yes: args.yes,
        also,
        timeout: args.timeout.0,
    };
    let home = match Home::take(&path) {
        Ok(home) => {
            alone(&home, &prefix, &request).await?;
            home
        }
        Err(Denied::Taken(holder)) => {
            through(globals, &path, &request).await?;
            let home = stop::stop(&path, holder)
                .await
                .map_err(|why| (FAILED, why))?;
            println!("skep up ended");
            home
        }
        Err(Denied::Failed(why)) => return Err((FAILED, why)),
    };
    match args.all {
        true => everything(home).await,
        false => Ok(()),
    }
}

/// The images and the directory.
async fn everything(home: Home) -> Ended {
    for line in images::remove(home.path(), &DockerConnector).await {
        println!("{line}");
    }
    let place = home.path().display().to_string();
    match home.remove() {
        Ok(true) => println!("directory {place} removed"),
        Ok(false) => println!("what skep kept in {place} removed; the rest there is not skep's"),
        Err(error) => return Err((FAILED, format!("cannot remove {place}: {error}"))),
    }
    Ok(())
}

/// With a control plane in this process.
async fn alone(home: &Home, prefix: &str, request: &cli::down::Request) -> Ended {
    if !home.store().is_dir() {
        return Ok(());
    }
    let store = plane::open(home, NO_QUOTA, false).await?;
    // One that was full takes writes again.
    let unlocked = store.set_full(false).await;
    unlocked.map_err(|error| (FAILED, error.to_string()))?;
    let code = with_store(home, &store, prefix, request).await;
    store.stop().await;
    coded(code?)
}

async fn with_store(
    home: &Home,
    store: &Store,
    prefix: &str,
    request: &cli::down::Request,
) -> Result<u8, (u8, String)> {
    let look = session(Arc::new(Local::new(store.clone())), prefix);
    if let Err(code) = confirmed(&look, request).await {
        return Ok(code);
    }
    let settings = Settings {
        name: home.remembered.manager.clone().unwrap_or_else(hostname),
        prefix: prefix.to_owned(),
        metrics: None,
        cluster: cluster::Settings::default(),
        network: network::Settings {
            addresses: cli::down::has_agents(&look).await,
            ..network::Settings::default()
        },
        node: node::Settings {
            address: own_address(),
            ..node::Settings::default()
        },
    };
    let mut plane = Plane::start(home, store, settings).await?;
    let code = tokio::select! {
        code = removed(&look, request) => Ok(code),
        why = plane.ended() => Err((FAILED, why)),
    };
    plane.stop().await;
    code
}

/// Through the store of the process that has the directory.
async fn through(globals: &StoreArgs, path: &Path, request: &cli::down::Request) -> Ended {
    let failed = |why: String| (FAILED, why);
    let config = cli::of_directory(globals, &environment(), path).map_err(failed)?;
    let prefix = config.prefix.clone();
    let kv = open(config)
        .await
        .map_err(|error| (USAGE, error.to_string()))?;
    let look = session(kv, &prefix);
    if !cli::down::is_managed(&look).await {
        let why = format!(
            "no manager runs on the store of {} to clean up: end the process that has it, and run this again",
            path.display()
        );
        return Err((FAILED, why));
    }
    if let Err(code) = confirmed(&look, request).await {
        return coded(code);
    }
    coded(removed(&look, request).await)
}

fn session(kv: Arc<dyn Kv>, prefix: &str) -> Session {
    let connector = Arc::new(DockerConnector);
    let terminal = terminal(&environment());
    Session::new(kv, prefix, connector, Arc::new(SystemClock), terminal)
}

async fn confirmed(session: &Session, request: &cli::down::Request) -> Result<(), u8> {
    tokio::select! {
        biased;
        () = ended() => Err(INTERRUPTED),
        answer = cli::down::confirm(session, request) => answer,
    }
}

async fn removed(session: &Session, request: &cli::down::Request) -> u8 {
    tokio::select! {
        biased;
        () = ended() => INTERRUPTED,
        code = cli::down::run(session, request) => code,
    }
}

/// What went wrong has been said.
fn coded(code: u8) -> Ended {
    match code {
        0 => Ok(()),
        code => Err((code, String::new())),
    }
}
