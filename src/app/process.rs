//! The process: the real doors, signals, logs, and one function per verb of this layer.

use super::arguments::{Arguments, Command, ImageCommand, ManagerArgs};
use super::manager::{self, CONTROLLERS, Doors, Options};
use super::state::{Noted, StateDir};
use super::whoami;
use crate::api::node::{EngineSpec, TlsFiles};
use crate::cli;
use crate::controllers::{cluster, node};
use crate::engine::{Connector, DockerConnector, image};
use crate::metrics::server::{Readiness, Refresh, Server};
use crate::metrics::{Metrics, list};
use crate::runtime::clock::SystemClock;
use crate::runtime::gauges;
use crate::runtime::measured::{MeasuredConnector, MeasuredKv};
use crate::runtime::shared::SharedCache;
use crate::store::Kv;
use crate::store::config::{ConfigError, StoreArgs, StoreConfig};
use crate::store::etcd::Etcd;
use futures::FutureExt;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// Exit code: refused or failed.
const FAILED: u8 = 1;
/// Exit code: the command line or the settings make no sense.
const USAGE: u8 = 2;
/// Exit code: the store or an engine cannot be reached.
const UNREACHABLE: u8 = 3;

/// Runs the verb and returns the exit code.
pub async fn run(arguments: Arguments, grammar: clap::Command) -> u8 {
    let globals = arguments.globals;
    match arguments.command {
        Command::Cli(command) => cli::code(cli::Cli { globals, command }, cli_doors(grammar)).await,
        Command::Manager(args) => said(manage(&globals, args).await),
        Command::Whoami(args) => {
            start_logs(false);
            said(
                whoami::run(args.listen, ended())
                    .await
                    .map_err(|error| (FAILED, format!("{}: {error}", args.listen))),
            )
        }
        Command::Image(args) => said(load_image(args.command).await),
    }
}

/// An exit code and what to say.
type Ended = Result<(), (u8, String)>;

fn said(ended: Ended) -> u8 {
    match ended {
        Ok(()) => 0,
        Err((code, message)) => {
            eprintln!("error: {message}");
            code
        }
    }
}

/// Opens etcd.
///
/// # Errors
/// A setting is wrong: what the store itself says comes with the first call.
pub async fn open(config: StoreConfig) -> Result<Arc<dyn Kv>, ConfigError> {
    Ok(Arc::new(Etcd::new(&config)?))
}

fn cli_doors(grammar: clap::Command) -> cli::Doors {
    let environment = environment();
    let no_colour = environment
        .get("NO_COLOR")
        .is_some_and(|text| !text.is_empty());
    cli::Doors {
        store: Box::new(|config| open(config).boxed()),
        connector: Arc::new(DockerConnector),
        clock: Arc::new(SystemClock),
        terminal: cli::Terminal::real(no_colour),
        environment,
        directory: directory(),
        interrupted: ended().boxed(),
        grammar,
    }
}

async fn manage(globals: &StoreArgs, args: ManagerArgs) -> Ended {
    start_logs(args.log_json);
    let config =
        cli::resolve(globals, &environment(), &directory()).map_err(|message| (USAGE, message))?;
    let prefix = config.prefix.clone();
    let metrics = Arc::new(Metrics::new());
    let kv = open(config)
        .await
        .map_err(|error| (USAGE, error.to_string()))?;
    let kv = match &args.state_dir {
        Some(path) => {
            let state = StateDir::open(path).map_err(|error| (FAILED, explain(&error)))?;
            Arc::new(Noted::start(kv, state).await)
        }
        None => kv,
    };
    let listener = tokio::net::TcpListener::bind(args.metrics_listen)
        .await
        .map_err(|error| {
            let hint = "give another address with --metrics-listen";
            (
                FAILED,
                format!(
                    "cannot serve metrics on {}: {error}; {hint}",
                    args.metrics_listen
                ),
            )
        })?;
    let hostname = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let options = Options {
        name: args.name.unwrap_or_else(|| hostname.clone()),
        hostname,
        controllers: match args.controllers.is_empty() {
            true => CONTROLLERS.iter().map(ToString::to_string).collect(),
            false => args.controllers,
        },
        metrics: listener
            .local_addr()
            .ok()
            .map(|address| address.to_string()),
        cluster: cluster::Settings {
            id: args.cluster_id,
            no_compact: args.no_compact,
            quota: args.store_quota.map(|quota| quota.0),
        },
        node: node::Settings {
            grace: args.node_grace.0,
        },
    };
    let (stop, stopped) = watch::channel(false);
    let cache = SharedCache::new(&prefix);
    let server = Server::new(metrics.clone(), readiness(&cache), refresh(&cache));
    let serving = tokio::spawn(server.run(listener, until(stopped.clone())));
    tokio::spawn(async move {
        ended().await;
        // Fails only if the manager has ended already.
        let _ = stop.send(true);
    });
    let engines = Arc::new(DockerConnector);
    let connector = Arc::new(MeasuredConnector::new(engines, metrics.clone()));
    let doors = Doors {
        kv: Arc::new(MeasuredKv::new(kv, metrics.clone())),
        cache,
        connector,
        clock: Arc::new(SystemClock),
        metrics,
    };
    let result = manager::run(options, doors, stopped).await;
    serving.abort();
    result.map_err(|error| (FAILED, error.to_string()))
}

/// Ready once the cache is filled, and while it follows the store and the cluster has its record.
fn readiness(cache: &Arc<SharedCache>) -> Readiness {
    let readiness = Readiness::new();
    readiness.waits("store", "not read yet");
    let (cache, told) = (cache.clone(), readiness.clone());
    tokio::spawn(async move {
        let mut progress = cache.follow();
        while progress.changed().await.is_ok() {
            progress.mark_unchanged();
            match cache.trouble() {
                None => told.ready("store"),
                Some(why) => told.waits("store", format!("{why}; what runs goes on")),
            }
            match cache.read(|cache| cache.cluster.is_some()) {
                true => told.ready("cluster"),
                false => told.waits(
                    "cluster",
                    "it has no record yet; a manager that runs the controller `cluster` writes it",
                ),
            }
        }
    });
    readiness
}

/// Brings the gauges up to date when they are read.
fn refresh(cache: &Arc<SharedCache>) -> Refresh {
    let cache = cache.clone();
    Arc::new(move |metrics| {
        let progress = cache.progress();
        metrics.set(
            &list::STORE_CONNECTED,
            &[],
            f64::from(u8::from(progress.is_connected)),
        );
        metrics.set(&list::CACHE_REVISION, &[], progress.revision.0 as f64);
        cache.read(|cache| gauges::refresh(metrics, cache));
    })
}

/// An error with its causes.
fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

async fn until(mut stop: watch::Receiver<bool>) {
    // An error means that nobody can ask for the end any more: that is the end.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn load_image(command: ImageCommand) -> Ended {
    let ImageCommand::Load {
        engine: url,
        tls_ca,
        tls_cert,
        tls_key,
    } = command;
    let tls = match (tls_ca, tls_cert, tls_key) {
        (Some(ca), Some(cert), Some(key)) => Some(TlsFiles { ca, cert, key }),
        _ => None,
    };
    let engine = DockerConnector
        .connect(&EngineSpec { url, tls })
        .await
        .map_err(|error| (FAILED, error.to_string()))?;
    let unreachable = |error: crate::engine::Error| {
        (
            if error.is_retryable() {
                UNREACHABLE
            } else {
                FAILED
            },
            error.to_string(),
        )
    };
    let name = image::name(env!("CARGO_PKG_VERSION"));
    let program = std::env::current_exe()
        .and_then(std::fs::read)
        .map_err(|error| (FAILED, format!("cannot read this program: {error}")))?;
    let packed = image::skep(program, env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    engine.load(packed.tar()).await.map_err(unreachable)?;
    println!("{name}");
    Ok(())
}

fn start_logs(json: bool) {
    let filter = EnvFilter::try_from_env("SKEP_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
    let colour = !no_colour && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour);
    // Fails only if logs have been started already.
    let _ = match json {
        true => logs.json().try_init(),
        false => logs.with_target(false).try_init(),
    };
}

fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn directory() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."))
}

/// Returns when the process is asked to end: SIGINT, SIGTERM.
fn ended() -> impl Future<Output = ()> + Send + 'static {
    let mut interrupt =
        signal(SignalKind::interrupt()).expect("the runtime was built with signals");
    let mut terminate =
        signal(SignalKind::terminate()).expect("the runtime was built with signals");
    async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}
