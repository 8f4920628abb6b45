//! One machine, one process: `skep up`, `skep down` and `skep store serve`.
//!
//! `up` is a manager, the embedded store and this machine's engine as the node `local`. The manager reaches the store
//! straight; etcdctl and the other verbs reach it over gRPC. Ended in any way, containers go on and the next start takes
//! them over: the manager keeps its name (rule I4) and ends its old leases at once (rule N5), the store keeps everything.
//!
//! Invariants:
//! - One process uses a data directory.
//! - The store is never reachable from other machines without TLS and certificates of clients.
//! - The port is taken before the store is opened, and told to other verbs before anything runs.
//!
//! Deliberately absent: a process in the background. Whoever wants one has systemd, or a shell.

pub(super) mod arguments;
mod door;
mod down;
mod home;
pub(super) mod images;
mod listen;
mod local;
mod plane;
mod serve;
mod stop;

pub(super) use down::down;
pub(super) use home::path;
pub(super) use serve::serve;

use super::hosted::until;
use super::logs;
use super::process::{
    Ended, FAILED, USAGE, ended, environment, hostname, own_address, start_logs, terminal,
};
use crate::cli::{Session, up as look};
use crate::controllers::{cluster, network, node};
use crate::embedded::local::Local;
use crate::embedded::store::Store;
use crate::engine::DockerConnector;
use crate::runtime::clock::{Clock, SystemClock};
use crate::store::config::StoreArgs;
use arguments::UpArgs;
use door::Door;
use listen::Wish;
use plane::{Plane, Settings};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Where metrics are unless that is taken: a manager's usual port.
const METRICS: ([u8; 4], u16) = ([127, 0, 0, 1], 9730);

/// What the server's last answers get when the process ends.
const STOPPING: Duration = Duration::from_secs(5);

/// Runs the control plane of this machine until it is told to end.
pub(super) async fn up(globals: &StoreArgs, args: UpArgs) -> Ended {
    let prefix = own_store(globals, "up")?;
    let environment = environment();
    let mut home = door::home(args.store.data_dir.as_deref(), &environment)?;
    let door = Door::open(&args.store, &mut home).await?;
    let metrics = metrics(&args).await?;
    let name = args.name.clone().or(home.remembered.manager.take());
    let name = name.unwrap_or_else(hostname);
    home.remembered.manager = Some(name.clone());
    home.remember()?;
    home.announce(&door.endpoint())?;

    let terminal = terminal(&environment);
    let log = look::Log::default();
    let is_live = !args.plain && look::is_live(&terminal, &environment);
    match is_live {
        true => logs::beside_a_view(&home.path().join("up.log"), log.clone())?,
        false => start_logs(args.log_json),
    }
    let store = plane::open(&home, args.store.quota.0, args.store.salvage).await?;
    let local = Local::new(store.clone());
    let engine = local::engine(args.engine.clone(), &environment);
    local::add(&local, &prefix, &engine, &name, &mut home).await?;
    let place = look::Place {
        store: door.endpoint(),
        data: home.path().display().to_string(),
        since: SystemClock.now().wall,
    };
    let plane = Plane::start(&home, &store, settings(&args, name, &prefix, metrics)).await?;
    let (connector, clock) = (Arc::new(DockerConnector), Arc::new(SystemClock));
    let session = Session::new(plane.kv.clone(), &prefix, connector, clock, terminal);
    let shown = look::Shown {
        place,
        cache: plane.cache.clone(),
        log,
        is_live,
    };
    run(plane, store, door, session, shown).await
}

/// Serves and shows until the process is told to end, then stops everything in order.
async fn run(
    mut plane: Plane,
    store: Store,
    door: Door,
    session: Session,
    shown: look::Shown,
) -> Ended {
    let cache = plane.cache.clone();
    if !shown.is_live {
        look::begin(&session, &shown.place);
    }
    let view = tokio::spawn(look::show(session.clone(), shown, plane.stopped()));
    let mut serving = tokio::spawn(door.serve(store.clone(), until(plane.stopped())));
    let outcome = tokio::select! {
        biased;
        () = ended() => Ok(()),
        why = plane.ended() => Err((FAILED, why)),
        served = &mut serving => Err((FAILED, door::why(served))),
    };
    // Whoever asks twice does not want to wait: containers go on, leases end by themselves.
    tokio::spawn(async {
        ended().await;
        std::process::exit(130);
    });
    plane.stop().await;
    // The view gives the terminal back before anything is said.
    let _ = view.await;
    if !serving.is_finished() {
        let _ = tokio::time::timeout(STOPPING, serving).await;
    }
    store.stop().await;
    look::farewell(&session, &cache);
    outcome
}

fn settings(args: &UpArgs, name: String, prefix: &str, metrics: TcpListener) -> Settings {
    Settings {
        name,
        prefix: prefix.to_owned(),
        metrics: Some(metrics),
        cluster: cluster::Settings {
            id: args.cluster_id.clone(),
            ..cluster::Settings::default()
        },
        network: network::Settings {
            pool: args.network_pool,
            addresses: args.networks,
        },
        node: node::Settings {
            grace: args.node_grace.0,
            address: own_address(),
        },
    }
}

/// The prefix of keys; an error where a flag names another store, which this verb would not use.
fn own_store(globals: &StoreArgs, verb: &str) -> Result<String, (u8, String)> {
    if globals.endpoints.is_some() {
        let why = format!(
            "`skep {verb}` has a store of its own, so --endpoints means nothing to it; `skep manager` runs on another store"
        );
        return Err((USAGE, why));
    }
    let own = StoreArgs {
        prefix: globals.prefix.clone(),
        ..StoreArgs::default()
    };
    let environment = environment();
    let config = own.resolve(|name| {
        let is_prefix = name.ends_with("_PREFIX");
        is_prefix.then(|| environment.get(name).cloned()).flatten()
    });
    config
        .map(|config| config.prefix)
        .map_err(|error| (USAGE, error.to_string()))
}

async fn metrics(args: &UpArgs) -> Result<TcpListener, (u8, String)> {
    let wish = Wish::new(args.metrics_listen, METRICS.into());
    let bound = wish.bind(
        async |address| TcpListener::bind(address).await,
        listen::is_taken,
    );
    bound.await.map_err(|error| {
        let why = format!(
            "cannot serve metrics on {}: {error}; give another address with --metrics-listen",
            wish.first()
        );
        (FAILED, why)
    })
}
