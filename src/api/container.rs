//! The container of a task: Docker's whole vocabulary, under Docker's own names in camel case.
//!
//! Every field maps to one field of the Engine API (the table is in `controllers/task/container.rs`). A field that
//! was left out means the engine's or the image's own default, unless `api/default.rs` names one.

use super::decode;
use super::unit::{Bytes, NanoCpus, Period};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How to run one container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Container {
    /// The image's name, with tag or digest.
    pub image: String,
    /// The entrypoint; a string is split as a shell would. Empty: the image's.
    #[serde(
        deserialize_with = "decode::words",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub command: Vec<String>,
    /// The arguments (Docker's CMD); a string is split as a shell would. Empty: the image's.
    #[serde(
        deserialize_with = "decode::words",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub args: Vec<String>,
    /// Environment variables, as a map or as a list of `NAME=value`.
    #[serde(
        deserialize_with = "decode::environment",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub env: BTreeMap<String, String>,
    /// The directory that the process starts in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// `user`, `user:group` or their numbers.
    #[serde(
        deserialize_with = "decode::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub user: Option<String>,
    /// Further groups of the process.
    #[serde(
        deserialize_with = "decode::texts",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub groups: Vec<String>,
    /// The host name inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The domain name inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// Whether a tiny init forwards signals and reaps processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// Whether the process gets a terminal.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub tty: bool,
    /// Whether standard input stays open.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub stdin: bool,
    /// Whether the root file system is read only.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub read_only: bool,
    /// The signal that asks the process to stop (`SIGTERM`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// How long the process may take to stop before it is killed; filled in at acceptance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_grace_period: Option<Period>,
    /// Capabilities to add.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_drop: Vec<String>,
    /// Whether the container may do what root on the node may.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub privileged: bool,
    /// Options such as `no-new-privileges` or `seccomp=unconfined`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_opt: Vec<String>,
    /// Kernel parameters of the container's namespaces.
    #[serde(
        deserialize_with = "decode::text_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub sysctls: BTreeMap<String, String>,
    /// Limits per process.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ulimits: Vec<Ulimit>,
    /// Size of `/dev/shm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<Bytes>,
    /// How readily the kernel kills the process when memory runs out, -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// The isolation technology (Windows engines): `default`, `process`, `hyperv`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<String>,
    /// Devices of the node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// Devices by capability (GPUs).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_requests: Vec<DeviceRequest>,
    /// Rules of the device cgroup (`c 42:* rmw`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_cgroup_rules: Vec<String>,
    /// Process namespace: `host` or `container:<id>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid_mode: Option<String>,
    /// IPC namespace: `none`, `private`, `shareable`, `host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipc_mode: Option<String>,
    /// Host name namespace: `host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uts_mode: Option<String>,
    /// User namespace: `host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userns_mode: Option<String>,
    /// Cgroup namespace: `host` or `private`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroupns_mode: Option<String>,
    /// The cgroup under which the container's is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup_parent: Option<String>,
    /// The OCI runtime by the name that the engine knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Name servers.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub dns: Dns,
    /// Lines of `/etc/hosts` as `name:address`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<String>,
    /// The MAC address on the first network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// Labels of the container; `dev.skep.*` is refused.
    #[serde(
        deserialize_with = "decode::text_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the container (Engine API 1.43 and up).
    #[serde(
        deserialize_with = "decode::text_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// Where the output goes; left out: the engine's default driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logging: Option<Logging>,
    /// When the image is pulled.
    pub pull_policy: PullPolicy,
    /// Mounts; as a string `source:target[:ro]`.
    #[serde(
        deserialize_with = "decode::mounts",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub mounts: Vec<Mount>,
    /// Paths for tmpfs mounts without options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<String>,
    /// How the engine finds out whether the process is well; left out: as the image says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// What the container needs and may use.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub resources: Resources,
    /// Secrets to hand in (not provided yet: refused at validation).
    #[serde(
        deserialize_with = "decode::file_references",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub secrets: Vec<FileReference>,
    /// Configs to hand in (not provided yet: refused at validation).
    #[serde(
        deserialize_with = "decode::file_references",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub configs: Vec<FileReference>,
}

/// A limit of one resource per process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ulimit {
    /// `nofile`, `nproc`, `memlock` ...
    pub name: String,
    /// The limit that the process starts with; -1 is none.
    pub soft: i64,
    /// How far it may raise it; -1 is none.
    pub hard: i64,
}

/// A device of the node, made visible inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Path on the node.
    pub source: String,
    /// Path inside; left out: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Any of `r`, `w`, `m`; left out: `rwm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<String>,
}

/// Devices asked for by what they can do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeviceRequest {
    /// The driver, such as `nvidia`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// How many; -1 is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    /// Exactly these.
    #[serde(
        deserialize_with = "decode::texts",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ids: Vec<String>,
    /// An OR list of AND lists of capabilities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Vec<String>>,
    /// Options for the driver.
    #[serde(
        deserialize_with = "decode::text_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub options: BTreeMap<String, String>,
}

/// Name servers inside the container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Dns {
    /// Addresses of the servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
    /// Search domains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Resolver options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// Where the container's output goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Logging {
    /// The log driver, such as `json-file` or `journald`.
    pub driver: String,
    /// Its options.
    #[serde(
        default,
        deserialize_with = "decode::text_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub options: BTreeMap<String, String>,
}

/// When an image is pulled before its container is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// Each time.
    Always,
    /// Where the engine does not have it.
    #[default]
    Missing,
    /// Never: the engine has to have it.
    Never,
}

/// A file system made visible inside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    /// What is mounted.
    #[serde(rename = "type")]
    pub kind: MountKind,
    /// A path of the node (bind) or a volume's name; empty: an anonymous volume, or tmpfs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The path inside.
    pub target: String,
    /// Whether writing is refused.
    #[serde(default, skip_serializing_if = "decode::is_default")]
    pub read_only: bool,
    /// Options of a bind mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<BindOptions>,
    /// Options of a volume mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeOptions>,
    /// Options of a tmpfs mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmpfs: Option<TmpfsOptions>,
}

/// What a mount shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A path of the node.
    Bind,
    /// A volume of the engine.
    #[default]
    Volume,
    /// Memory.
    Tmpfs,
}

/// Options of a bind mount.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BindOptions {
    /// `private`, `rprivate`, `shared`, `rshared`, `slave`, `rslave`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation: Option<String>,
    /// Whether mounts below the source stay outside.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub non_recursive: bool,
}

/// Options of a volume mount.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VolumeOptions {
    /// Whether an empty volume stays empty instead of taking the image's files.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub no_copy: bool,
    /// Labels of a volume that is made.
    #[serde(
        deserialize_with = "decode::text_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// The driver of a volume that is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The driver's options.
    #[serde(
        deserialize_with = "decode::text_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub options: BTreeMap<String, String>,
    /// A path within the volume (Engine API 1.45 and up).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
}

/// Options of a tmpfs mount.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TmpfsOptions {
    /// Its size; left out: half the node's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// Its mode, octal, as a string (`"1777"`).
    #[serde(
        deserialize_with = "decode::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub mode: Option<String>,
}

/// How the engine finds out whether the process is well.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Healthcheck {
    /// Whether the image's own check is switched off.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub disable: bool,
    /// `[CMD, ...]`, `[CMD-SHELL, line]`, or a string, which is a shell line.
    #[serde(
        deserialize_with = "decode::health_test",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub test: Vec<String>,
    /// Time between checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Period>,
    /// How long one check may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Period>,
    /// Failures in a row that mean unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Time after the start in which failures do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<Period>,
    /// Time between checks during the start period (Engine API 1.44 and up).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<Period>,
}

/// What a container needs and may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Resources {
    /// What the scheduler keeps for it.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub reservations: Reservations,
    /// What the engine holds it to.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub limits: Limits,
}

/// What the scheduler keeps for a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Reservations {
    /// Processor time.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub cpus: NanoCpus,
    /// Memory.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub memory: Bytes,
    /// Countable resources that nodes declare, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub generic: BTreeMap<String, u64>,
}

/// What the engine holds a container to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Processor time; zero: no limit.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub cpus: NanoCpus,
    /// Memory; zero: no limit.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub memory: Bytes,
    /// Memory and swap together; left out: the engine's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<Bytes>,
    /// Number of processes; left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// The processors that it may use (`0-2,5`).
    #[serde(
        deserialize_with = "decode::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub cpuset: Option<String>,
    /// Weight of its disk traffic, 10 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blkio_weight: Option<u16>,
}

/// A secret or config, shown inside as a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileReference {
    /// The name of the secret or config.
    pub source: String,
    /// The path inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The file's mode, octal, as a string.
    #[serde(
        default,
        deserialize_with = "decode::optional_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub mode: Option<String>,
}
