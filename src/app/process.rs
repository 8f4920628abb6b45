//! The process: the real doors, signals, logs, and one function per verb of this layer.

use super::arguments::{Arguments, Command, ImageCommand, ManagerArgs};
use super::manager::{CONTROLLERS, Options};
use super::single::arguments::StoreCommand;
use super::single::images::{self, Loaded};
use super::state::{Noted, StateDir};
use super::{agent, hosted, logs, single, whoami};
use crate::api::node::{EngineSpec, TlsFiles};
use crate::cli;
use crate::controllers::{cluster, network, node};
use crate::engine::{Connector, DockerConnector, image};
use crate::runtime::clock::SystemClock;
use crate::runtime::shared::SharedCache;
use crate::store::Kv;
use crate::store::config::{ConfigError, StoreArgs, StoreConfig};
use crate::store::etcd::Etcd;
use futures::FutureExt;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

pub(super) use crate::dataplane::agent::explain;

/// Exit code: refused or failed.
pub(super) const FAILED: u8 = 1;
/// Exit code: the command line or the settings make no sense.
pub(super) const USAGE: u8 = 2;
/// Exit code: the store or an engine cannot be reached.
const UNREACHABLE: u8 = 3;

/// Runs the verb and returns the exit code.
pub async fn run(arguments: Arguments, grammar: clap::Command) -> u8 {
    let globals = arguments.globals;
    match arguments.command {
        Command::Cli(command) => cli::code(cli::Cli { globals, command }, cli_doors(grammar)).await,
        Command::Up(args) => said(single::up(&globals, args).await),
        Command::Down(args) => said(single::down(&globals, args).await),
        Command::Store(verb) => match verb.command {
            StoreCommand::Serve(args) => said(single::serve(args).await),
            StoreCommand::Data(command) => {
                let cli = cli::store::Cli { globals, command };
                cli::store::code(cli, cli_doors(grammar)).await
            }
        },
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
        Command::Agent(args) => {
            start_logs(false);
            said(
                agent::run(args, ended())
                    .await
                    .map_err(|message| (FAILED, message)),
            )
        }
    }
}

/// An exit code and what to say; nothing, if it has been said.
pub(super) type Ended = Result<(), (u8, String)>;

fn said(ended: Ended) -> u8 {
    match ended {
        Ok(()) => 0,
        Err((code, message)) if message.is_empty() => code,
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
    cli::Doors {
        store: Box::new(|config| open(config).boxed()),
        connector: Arc::new(DockerConnector),
        clock: Arc::new(SystemClock),
        terminal: terminal(&environment),
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
    let hostname = hostname();
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
        network: network::Settings {
            pool: args.network_pool,
            addresses: args.networks,
        },
        node: node::Settings {
            grace: args.node_grace.0,
            address: own_address(),
        },
    };
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        ended().await;
        // Fails only if the manager has ended already.
        let _ = stop.send(true);
    });
    let cache = SharedCache::new(&prefix);
    let result = hosted::run(options, kv, cache, Some(listener), stopped).await;
    result.map_err(|error| (FAILED, error.to_string()))
}

/// The address by which this machine reaches others, and is most likely reached: that of its way to anywhere. Nothing is
/// sent to find it.
pub(super) fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address for documentation (RFC 5737): it is nobody's.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
}

async fn load_image(command: ImageCommand) -> Ended {
    let ImageCommand::Load {
        engine: url,
        tls_ca,
        tls_cert,
        tls_key,
        data_dir,
    } = command;
    let tls = match (tls_ca, tls_cert, tls_key) {
        (Some(ca), Some(cert), Some(key)) => Some(TlsFiles { ca, cert, key }),
        _ => None,
    };
    let spec = EngineSpec { url, tls };
    let engine = DockerConnector
        .connect(&spec)
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
    engine.load_program().await.map_err(unreachable)?;
    let id = engine.image(&name).await.map_err(unreachable)?;
    println!("{name}");
    // Without a home nobody can have run `skep up` there.
    match single::path(data_dir.as_deref(), &environment()) {
        Ok(path) => {
            let engine = spec;
            images::note(&path, &Loaded { engine, name, id })
        }
        Err(_) => Ok(()),
    }
}

/// The log of a process that runs for long.
pub(super) fn start_logs(json: bool) {
    logs::start("info", json);
}

/// The log of a verb that ends.
pub(super) fn start_quiet_logs() {
    logs::start("warn", false);
}

/// The person at the process's own streams.
pub(super) fn terminal(environment: &BTreeMap<String, String>) -> cli::Terminal {
    let no_colour = environment.get("NO_COLOR");
    cli::Terminal::real(no_colour.is_some_and(|text| !text.is_empty()))
}

/// The host's name.
pub(super) fn hostname() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

/// The environment's variables; those that are not UTF-8 are left out.
pub(super) fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn directory() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."))
}

/// Returns when the process is asked to end: SIGINT, SIGTERM.
pub(super) fn ended() -> impl Future<Output = ()> + Send + 'static {
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
