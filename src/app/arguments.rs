//! The verbs of this layer: `up`, `down`, `store`, `manager`, `whoami`, `image load`, `agent`.

use super::manager::CONTROLLERS;
use super::single::arguments::{DownArgs, StoreVerb, UpArgs};
use crate::api::subnet::Cidr;
use crate::api::uid::{Uid, is_identifier};
use crate::api::unit::{Bytes, Period};
use crate::cli;
use crate::controllers::network::DEFAULT_POOL;
use crate::store::config::StoreArgs;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The whole command line.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "skep", version, about = "A Kubernetes-style control plane over plain Docker Engines, with etcd as its API", help_template = cli::HELP_TEMPLATE, subcommand_required = true, arg_required_else_help = true)]
pub struct Arguments {
    /// Flags of all verbs.
    #[command(flatten)]
    pub globals: StoreArgs,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// All verbs.
#[derive(Clone, Debug, clap::Subcommand)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one of them in a process"
)]
pub enum Command {
    /// The verbs of the layer below.
    #[command(flatten)]
    Cli(cli::Command),
    /// Runs all of skep on this machine: manager, store, and the local engine as a node
    Up(UpArgs),
    /// Removes what runs by `skep up`
    Down(DownArgs),
    /// The embedded store
    Store(StoreVerb),
    /// Runs the controllers
    Manager(ManagerArgs),
    /// Answers HTTP requests with who it is and who asks: a workload for trying things out
    Whoami(WhoamiArgs),
    /// Puts this program's own image on an engine
    Image(ImageArgs),
    /// Programs the network of the namespace that it runs in, from a state that it is given
    Agent(AgentArgs),
}

/// Flags of `skep agent`.
#[derive(Clone, Debug, clap::Args)]
pub struct AgentArgs {
    /// Where the state comes from: a file with it, read again when it changes; or - for orders on standard input, a line
    /// of JSON each [default: only what the directory remembers]
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Where the last state is kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/skep-agent")]
    pub directory: PathBuf,
    /// How often the kernel is compared with what it should be, beside when it tells of a change
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = period)]
    pub audit: Period,
    /// Take orders at a socket that is made here: whoever may open the file
    #[arg(long, value_name = "SOCKET", conflicts_with_all = ["state", "remove"])]
    pub listen: Option<PathBuf>,
    /// Be standard input and output of an agent that listens at this socket, and nothing else
    #[arg(long, value_name = "SOCKET", conflicts_with_all = ["listen", "state", "remove"])]
    pub attach: Option<PathBuf>,
    /// Which resolvers are asked for names that are not ours
    #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf")]
    pub resolv_conf: PathBuf,
    /// Leave what tasks say to each other on bridges also where the kernel could hand it on from link to link
    #[arg(long)]
    pub on_bridges: bool,
    /// Try what a line of JSON on standard input asks for, say in another what came of it, and end (`skep netcheck` does)
    #[arg(long, conflicts_with_all = ["listen", "attach", "state", "remove"])]
    pub probe: bool,
    /// Take away all that an agent made here, and end
    #[arg(long)]
    pub remove: bool,
}

/// Flags of `skep manager`.
#[derive(Clone, Debug, clap::Args)]
pub struct ManagerArgs {
    /// Name of this manager, as `spec.manager` of nodes says it [default: the host's name]
    #[arg(long, env = "SKEP_MANAGER_NAME", value_parser = manager_name)]
    pub name: Option<String>,
    /// Controllers to run, separated by commas [default: all]
    #[arg(long, value_delimiter = ',', value_parser = CONTROLLERS)]
    pub controllers: Vec<String>,
    /// Where to serve /metrics, /healthz and /readyz: plain HTTP, read-only, so beyond the loopback anyone who gets there
    /// reads the names of services and nodes
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9730")]
    pub metrics_listen: SocketAddr,
    /// Directory of this manager: lets it start again at once after it was killed [default: none]
    #[arg(long, value_name = "DIR", env = "SKEP_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// How long an engine may fail to answer before its tasks are replaced
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = period)]
    pub node_grace: Period,
    /// Where networks without a subnet of IPv4 of their own get one, as a /24; the same for all managers
    #[arg(long, value_name = "SUBNET", default_value_t = DEFAULT_POOL, value_parser = network_pool)]
    pub network_pool: Cidr,
    /// Realise overlay networks, names, virtual addresses and ingress ports: an agent on every node programs its kernel; the
    /// same for all managers
    #[arg(long)]
    pub networks: bool,
    /// Id of the cluster to serve where the store has lost it
    #[arg(long, value_name = "ID", value_parser = cluster_id)]
    pub cluster_id: Option<Uid>,
    /// Leave the compaction of the store to somebody else
    #[arg(long)]
    pub no_compact: bool,
    /// The store's quota, where it does not say it itself (etcd before 3.6)
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub store_quota: Option<Bytes>,
    /// Write logs as JSON lines
    #[arg(long)]
    pub log_json: bool,
}

/// Flags of `skep whoami`.
#[derive(Clone, Debug, clap::Args)]
pub struct WhoamiArgs {
    /// Where to answer
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
}

/// Flags of `skep image`.
#[derive(Clone, Debug, clap::Args)]
pub struct ImageArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: ImageCommand,
}

/// The verbs of `skep image`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ImageCommand {
    /// Packs this program into the image skep:VERSION and loads it into an engine
    Load {
        /// The engine's URL
        #[arg(
            long,
            value_name = "URL",
            default_value = "unix:///var/run/docker.sock"
        )]
        engine: String,
        /// The certificate authority of an engine with TLS
        #[arg(long, value_name = "FILE", requires_all = ["tls_cert", "tls_key"])]
        tls_ca: Option<String>,
        /// Our certificate for an engine with TLS
        #[arg(long, value_name = "FILE")]
        tls_cert: Option<String>,
        /// Its key
        #[arg(long, value_name = "FILE")]
        tls_key: Option<String>,
        /// The directory of the `skep up` whose `skep down --all` removes the image
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
}

/// The name is part of a key, and stands in tables.
pub(super) fn manager_name(text: &str) -> Result<String, String> {
    let is_foreign = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    match text.is_empty() || text.contains(is_foreign) {
        true => Err("a manager's name has no slashes and no spaces".into()),
        false => Ok(text.into()),
    }
}

pub(super) fn period(text: &str) -> Result<Period, String> {
    Period::parse(text)
}

pub(super) fn network_pool(text: &str) -> Result<Cidr, String> {
    let pool: Cidr = text.parse()?;
    match pool.is_subnet() && (8..=24).contains(&pool.length) {
        true => Ok(pool),
        false => Err("expected a subnet of /8 to /24 without bits behind its length".into()),
    }
}

pub(super) fn bytes(text: &str) -> Result<Bytes, String> {
    Bytes::parse(text)
}

pub(super) fn cluster_id(text: &str) -> Result<Uid, String> {
    match is_identifier(text) {
        true => Ok(Uid::from(text)),
        false => Err(
            "a cluster's id has 25 characters: see the label dev.skep.cluster of its containers"
                .into(),
        ),
    }
}
