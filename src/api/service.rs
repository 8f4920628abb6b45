//! Service: a replicated or global set of tasks made from one template.

use super::container::{Container, FileReference};
use super::decode;
use super::unit::{Period, Port};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is wanted of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// How many tasks there are.
    #[serde(default)]
    pub mode: Mode,
    /// The number of tasks of a replicated service; left out: what `scale/<ns>/<name>` says, at first 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// What its tasks are made from.
    pub template: Template,
    /// How a changed template is rolled out.
    #[serde(default)]
    pub update: Update,
    /// How a failed roll-out is taken back.
    #[serde(default)]
    pub rollback: Rollback,
    /// Ports that clients reach it by.
    #[serde(
        default,
        deserialize_with = "decode::ports",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub ports: Vec<ServicePort>,
    /// A TCP port that says over HTTP on every node whether the node leads to tasks on all published ports, for load balancers
    /// outside: 200, else 503.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_port: Option<Port>,
    /// How its name resolves.
    #[serde(default)]
    pub endpoint_mode: EndpointMode,
    /// Whether a client stays with one task.
    #[serde(default)]
    pub session_affinity: SessionAffinity,
}

/// How many tasks a service has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A number of them, anywhere.
    #[default]
    Replicated,
    /// One on each eligible node.
    Global,
    /// A number of them, each to completion (reserved: refused for now).
    ReplicatedJob,
    /// One on each eligible node, to completion (reserved: refused for now).
    GlobalJob,
}

/// What the tasks of a service are made from.
///
/// A change of `container`, `init`, `sidecars`, `networks`, `secrets`, `configs` or `forceUpdate` replaces tasks; a
/// change of `restart`, `placement` or `onNodeLost` does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    /// The container; as a string, its image.
    #[serde(deserialize_with = "decode::container")]
    pub container: Container,
    /// Overlay networks; left out: the namespace's own `default`; empty: none.
    #[serde(
        default,
        deserialize_with = "decode::attachments",
        skip_serializing_if = "Option::is_none"
    )]
    pub networks: Option<Vec<Attachment>>,
    /// Secrets (reserved: refused for now).
    #[serde(
        default,
        deserialize_with = "decode::file_references",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub secrets: Vec<FileReference>,
    /// Configs (reserved: refused for now).
    #[serde(
        default,
        deserialize_with = "decode::file_references",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub configs: Vec<FileReference>,
    /// When and how a task that ended is replaced.
    #[serde(default)]
    pub restart: Restart,
    /// Where tasks may run.
    #[serde(default)]
    pub placement: Placement,
    /// What becomes of tasks whose node is lost.
    #[serde(default)]
    pub on_node_lost: OnNodeLost,
    /// A change replaces all tasks.
    #[serde(default, skip_serializing_if = "decode::is_default")]
    pub force_update: u64,
}

/// Membership of a task in an overlay network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attachment {
    /// The network, in the service's namespace.
    pub name: String,
    /// Further names of the task there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

/// When and how a task that ended is replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Restart {
    /// After which ends.
    pub condition: RestartCondition,
    /// Wait before the first replacement; doubles with each failure in a row.
    pub delay: Period,
    /// The longest wait.
    pub max_delay: Period,
    /// Replacements in a row (or within `window`) before it is given up; 0: never given up.
    pub max_attempts: u32,
    /// The time in which `maxAttempts` counts; 0: for ever.
    pub window: Period,
}

/// After which ends a task is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartCondition {
    /// None.
    None,
    /// A failure.
    OnFailure,
    /// Any.
    #[default]
    Any,
}

/// Where tasks may run and where they would rather.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Placement {
    /// Expressions such as `node.labels.disk == ssd`; all have to hold (see `api/constraint.rs`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<String>,
    /// Labels whose values the tasks spread over, the first before the second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preferences: Vec<Preference>,
    /// How to choose among nodes that are equal so far.
    pub strategy: Strategy,
    /// The most tasks of the service on one node; 0: no limit.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub max_replicas_per_node: u32,
}

/// A label whose values tasks spread over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Preference {
    /// `node.labels.<name>` or `engine.labels.<name>`.
    pub spread: String,
}

/// How the scheduler chooses among eligible nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The one with the fewest tasks of the service, then of all.
    #[default]
    Spread,
    /// The fullest that fits.
    Binpack,
    /// Any.
    Random,
}

/// What becomes of tasks whose node is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNodeLost {
    /// They are replaced elsewhere.
    #[default]
    Replace,
    /// They wait for their node: two containers of a slot never run.
    Wait,
}

/// How a changed template is rolled out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Update {
    /// Tasks replaced at once; left out: 1; 0: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u32>,
    /// Wait between two.
    pub delay: Period,
    /// What comes first; left out: `start-first` where nothing prevents it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// How long a new task has to stay well; left out: max(5s, startPeriod + retries x interval).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Period>,
    /// The share of failures, 0 to 1, that is tolerated.
    #[serde(deserialize_with = "decode::share")]
    pub max_failure_ratio: f64,
    /// What to do above it.
    pub failure_action: FailureAction,
}

/// How a failed roll-out is taken back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rollback {
    /// Tasks replaced at once; 0: all.
    pub parallelism: u32,
    /// Wait between two.
    #[serde(skip_serializing_if = "decode::is_default")]
    pub delay: Period,
    /// What comes first; left out: `stop-first`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// As for updates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Period>,
    /// As for updates.
    #[serde(
        deserialize_with = "decode::share",
        skip_serializing_if = "decode::is_default"
    )]
    pub max_failure_ratio: f64,
}

/// Which of a pair comes first when a task is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The new task serves before the old one stops.
    StartFirst,
    /// The old task has stopped before the new one starts.
    StopFirst,
}

/// What becomes of a roll-out with too many failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureAction {
    /// It halts.
    #[default]
    Pause,
    /// It goes on.
    Continue,
    /// It is taken back.
    Rollback,
}

/// A port that clients reach a service by; as a string `[host:][published:]target[/protocol]`.
///
/// Its numbers are `P`: one port each, or as people write them, [ranges](super::port_range).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServicePort<P = Port> {
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The port inside the container.
    pub target: P,
    /// The port that clients use; left out: a free one is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<P>,
    /// The protocol.
    #[serde(default)]
    pub protocol: Protocol,
    /// Where it is open.
    #[serde(default)]
    pub mode: PortMode,
    /// The only address of the node that it is open on; left out: all.
    #[serde(default, rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<std::net::IpAddr>,
    /// Whether the task sees the client's address.
    #[serde(default)]
    pub source: Source,
    /// Which tasks answer a client of a node.
    #[serde(default)]
    pub locality: Locality,
}

/// A transport protocol.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// `tcp`, `udp` or `sctp`, as engines write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// The one that is written so; none is.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Tcp, Self::Udp, Self::Sctp];
        all.into_iter().find(|protocol| protocol.as_str() == word)
    }
}

/// Where a published port is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortMode {
    /// On every node.
    #[default]
    Ingress,
    /// On the task's node.
    Host,
}

/// Whether a task sees its client's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// It does.
    #[default]
    Preserve,
    /// It sees a node's.
    Masquerade,
}

/// Which tasks answer a client of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Locality {
    /// Any.
    #[default]
    Any,
    /// The node's own where there are some.
    PreferLocal,
    /// The node's own only.
    Local,
}

/// How a service's name resolves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointMode {
    /// To one virtual address.
    #[default]
    Vip,
    /// To the tasks' addresses.
    Dnsrr,
}

/// Whether a client stays with one task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionAffinity {
    /// It does not.
    #[default]
    #[serde(rename = "none")]
    None,
    /// By its address.
    #[serde(rename = "clientIP")]
    ClientIp,
}

/// Labels and annotations that people give an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Annotated {
    /// For selecting.
    #[serde(
        deserialize_with = "decode::text_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// For people and tools.
    #[serde(
        deserialize_with = "decode::text_map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
}
