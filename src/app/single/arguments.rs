//! Flags of `skep up`, `skep down` and `skep store`.

use crate::api::subnet::Cidr;
use crate::api::uid::Uid;
use crate::api::unit::{Bytes, Period};
use crate::app::arguments::{bytes, cluster_id, manager_name, network_pool, period};
use crate::cli;
use crate::controllers::network::DEFAULT_POOL;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The embedded store.
#[derive(Clone, Debug, clap::Args)]
pub struct EmbeddedArgs {
    /// Directory of all state [default: $SKEP_DATA_DIR, $XDG_DATA_HOME/skep, ~/.local/share/skep]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the store answers as etcd does [default: where it was last, else 127.0.0.1:2379 or the next free port];
    /// beyond the loopback only with TLS
    #[arg(long, value_name = "ADDRESS", env = "SKEP_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Bytes that the store takes before it refuses to grow
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = bytes)]
    pub quota: Bytes,
    /// Open a damaged store with what stands before the damage; the rest is set aside and lost to it
    #[arg(long)]
    pub salvage: bool,
    /// The authority that signed the certificates of the store's clients
    #[arg(long, value_name = "FILE", requires_all = ["tls_cert", "tls_key"])]
    pub tls_ca: Option<PathBuf>,
    /// The store's certificate
    #[arg(long, value_name = "FILE", requires_all = ["tls_ca", "tls_key"])]
    pub tls_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "FILE", requires_all = ["tls_ca", "tls_cert"])]
    pub tls_key: Option<PathBuf>,
}

/// Flags of `skep up`.
#[derive(Clone, Debug, clap::Args)]
pub struct UpArgs {
    /// The store.
    #[command(flatten)]
    pub store: EmbeddedArgs,
    /// The engine of the node `local`, which is added at the first start [default: the socket in DOCKER_HOST, else
    /// unix:///var/run/docker.sock]
    #[arg(long, value_name = "URL", env = "SKEP_ENGINE")]
    pub engine: Option<String>,
    /// Name of the manager, as `spec.manager` of nodes says it [default: as at the first start; then the host's name]
    #[arg(long, env = "SKEP_MANAGER_NAME", value_parser = manager_name)]
    pub name: Option<String>,
    /// Where to serve /metrics, /healthz and /readyz [default: 127.0.0.1:9730 or the next free port]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_listen: Option<SocketAddr>,
    /// How long an engine may fail to answer before its tasks are replaced
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = period)]
    pub node_grace: Period,
    /// Realise overlay networks, names, virtual addresses and ingress ports: an agent on every node programs its kernel
    #[arg(long)]
    pub networks: bool,
    /// Where networks without a subnet of IPv4 of their own get one, as a /24
    #[arg(long, value_name = "SUBNET", default_value_t = DEFAULT_POOL, value_parser = network_pool)]
    pub network_pool: Cidr,
    /// Id of the cluster to serve where the store has lost it
    #[arg(long, value_name = "ID", value_parser = cluster_id)]
    pub cluster_id: Option<Uid>,
    /// Print lines as in a pipe, also on a terminal
    #[arg(long)]
    pub plain: bool,
    /// Write logs as JSON lines
    #[arg(long)]
    pub log_json: bool,
}

/// Flags of `skep down`.
#[derive(Clone, Debug, clap::Args)]
pub struct DownArgs {
    /// Remove the images that `skep image load` put on engines, and the data directory as well
    #[arg(long)]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// The directory of `skep up` [default: $SKEP_DATA_DIR, $XDG_DATA_HOME/skep, ~/.local/share/skep]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How long containers may take to end
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = period)]
    pub timeout: Period,
}

/// The verbs of `skep store`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum StoreCommand {
    /// Runs the embedded store alone, without a manager
    Serve(ServeArgs),
    /// The verbs of the layer below.
    #[command(flatten)]
    Data(cli::store::Command),
}

/// Flags of `skep store`.
#[derive(Clone, Debug, clap::Args)]
pub struct StoreVerb {
    /// What to do.
    #[command(subcommand)]
    pub command: StoreCommand,
}

/// Flags of `skep store serve`.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// The store.
    #[command(flatten)]
    pub store: EmbeddedArgs,
    /// Write logs as JSON lines
    #[arg(long)]
    pub log_json: bool,
}
