//! An engine's answers about containers and itself, decoded by small structs that let everything unknown pass.

use super::door::{Container, ContainerState, EngineEvent, Identity};
use crate::api::service::Protocol;
use crate::api::task::{Health, HostPort};
use crate::api::time::Timestamp;
use crate::api::uid::ContainerId;
use crate::api::unit::Port;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Go's zero time, by which engines say "never".
const NEVER: &str = "0001-01-01";

/// `null` as the default: Go writes it for empty maps and lists.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspect {
    id: String,
    name: String,
    config: Config,
    state: State,
    #[serde(default, deserialize_with = "nullable")]
    network_settings: NetworkSettings,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default, deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    #[serde(default)]
    exit_code: i64,
    #[serde(default, rename = "OOMKilled")]
    oom_killed: bool,
    #[serde(default)]
    error: String,
    #[serde(default)]
    started_at: String,
    #[serde(default)]
    finished_at: String,
    #[serde(default)]
    health: Option<HealthState>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthState {
    #[serde(default)]
    status: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkSettings {
    #[serde(deserialize_with = "nullable")]
    ports: BTreeMap<String, Option<Vec<OpenPort>>>,
    #[serde(deserialize_with = "nullable")]
    networks: BTreeMap<String, Endpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OpenPort {
    #[serde(default)]
    host_ip: String,
    #[serde(default)]
    host_port: String,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(default, rename = "IPAddress")]
    v4: String,
    #[serde(default, rename = "GlobalIPv6Address")]
    v6: String,
    #[serde(default, rename = "MacAddress")]
    hardware: String,
}

/// Decodes the answer of `GET /containers/<id>/json`.
pub(super) fn container(answer: Value) -> Result<Container, serde_json::Error> {
    let inspect: Inspect = serde_json::from_value(answer)?;
    let state = state(&inspect.state.status);
    let has_ended = matches!(
        state,
        ContainerState::Exited | ContainerState::Dead | ContainerState::Removing
    );
    Ok(Container {
        id: ContainerId::from(inspect.id),
        name: inspect.name.trim_start_matches('/').to_owned(),
        labels: inspect.config.labels.into(),
        state,
        started_at: time(&inspect.state.started_at),
        finished_at: time(&inspect.state.finished_at).filter(|_| has_ended),
        exit_code: inspect.state.exit_code,
        oom_killed: inspect.state.oom_killed,
        error: inspect.state.error,
        health: inspect.state.health.and_then(|h| health(&h.status)),
        networks: Arc::new(inspect.network_settings.networks.keys().cloned().collect()),
        addresses: addresses(&inspect.network_settings.networks),
        hardware: Arc::new(hardware(&inspect.network_settings.networks)),
        ports: ports(&inspect.network_settings.ports),
    })
}

fn state(status: &str) -> ContainerState {
    match status {
        "created" => ContainerState::Created,
        "exited" => ContainerState::Exited,
        "removing" => ContainerState::Removing,
        "dead" => ContainerState::Dead,
        // `running`, `paused`, `restarting`, and what later engines may add: not to be taken for gone.
        _ => ContainerState::Running,
    }
}

fn time(text: &str) -> Option<Timestamp> {
    match text.is_empty() || text.starts_with(NEVER) {
        true => None,
        false => Timestamp::parse(text),
    }
}

fn health(status: &str) -> Option<Health> {
    match status {
        "starting" => Some(Health::Starting),
        "healthy" => Some(Health::Healthy),
        "unhealthy" => Some(Health::Unhealthy),
        _ => None,
    }
}

fn addresses(networks: &BTreeMap<String, Endpoint>) -> Vec<IpAddr> {
    networks
        .values()
        .flat_map(|endpoint| [&endpoint.v4, &endpoint.v6])
        .filter_map(|address| address.parse().ok())
        .collect()
}

fn hardware(networks: &BTreeMap<String, Endpoint>) -> BTreeMap<IpAddr, String> {
    let of = |endpoint: &Endpoint| Some((endpoint.v4.parse().ok()?, endpoint.hardware.clone()));
    networks.values().filter_map(of).collect()
}

/// Open ports; one that is open on all addresses of both families is one port.
fn ports(ports: &BTreeMap<String, Option<Vec<OpenPort>>>) -> Vec<HostPort> {
    let found: BTreeSet<_> = ports
        .iter()
        .flat_map(|(key, open)| open.iter().flatten().map(move |open| (key, open)))
        .filter_map(|(key, open)| host_port(key, open))
        .collect();
    found.into_iter().collect()
}

fn host_port(key: &str, open: &OpenPort) -> Option<HostPort> {
    let (target, protocol) = key.split_once('/')?;
    let protocol = Protocol::parse(protocol)?;
    let host_ip: Option<IpAddr> = open.host_ip.parse().ok();
    Some(HostPort {
        published: Port(open.host_port.parse().ok()?),
        protocol,
        host_ip: host_ip.filter(|ip| !ip.is_unspecified()),
        target: Port(target.parse().ok()?),
    })
}

/// What `/info` says, as far as it matters.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Info {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(rename = "OSType", default)]
    os_type: String,
    #[serde(default)]
    architecture: String,
    #[serde(rename = "NCPU", default)]
    cpus: u64,
    #[serde(rename = "MemTotal", default)]
    memory: u64,
    #[serde(default, deserialize_with = "nullable")]
    labels: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    plugins: BTreeMap<String, Option<Vec<String>>>,
}

impl Info {
    /// The identity, with what `/version` and the negotiation add.
    pub(super) fn identity(self, version: String, api_version: String) -> Identity {
        let mut plugins: Vec<String> = self
            .plugins
            .into_iter()
            .flat_map(|(kind, names)| {
                let kind = kind.to_ascii_lowercase();
                let names = names.unwrap_or_default().into_iter();
                names.map(move |name| format!("{kind}/{name}"))
            })
            .collect();
        plugins.sort();
        let labels = self
            .labels
            .into_iter()
            .map(|label| match label.split_once('=') {
                Some((key, value)) => (key.to_owned(), value.to_owned()),
                None => (label, String::new()),
            });
        Identity {
            id: self.id,
            hostname: self.name,
            version,
            api_version,
            os: self.os_type,
            arch: self.architecture,
            cpus: self.cpus,
            memory: self.memory,
            labels: labels.collect(),
            plugins,
        }
    }
}

/// Decodes a line of the event stream; none: not about a container or a container's networks, or without the fields that
/// events have.
pub(super) fn event(line: Value) -> Option<EngineEvent> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Line {
        r#type: String,
        action: String,
        actor: Actor,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Actor {
        #[serde(rename = "ID")]
        id: String,
        #[serde(default, deserialize_with = "nullable")]
        attributes: BTreeMap<String, String>,
    }
    let line: Line = serde_json::from_value(line).ok()?;
    let mut attributes = line.actor.attributes;
    let (container, name) = match &*line.r#type {
        "container" => {
            let name = attributes.get("name").cloned();
            (line.actor.id, name.unwrap_or_default())
        }
        "network" => {
            let container = attributes.get("container").cloned()?;
            attributes = [(EngineEvent::NETWORK.into(), line.actor.id)].into();
            (container, String::new())
        }
        _ => return None,
    };
    Some(EngineEvent {
        container: ContainerId::from(container),
        name,
        action: line.action,
        attributes: attributes.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(state: Value) -> Value {
        json!({
            "Id": "abc", "Name": "/web.1.x", "Unknown": {"later": [1]},
            "Config": {"Labels": {"a": "b"}, "Tty": false},
            "State": state,
            "NetworkSettings": {
                "Ports": {
                    "80/tcp": [
                        {"HostIp": "0.0.0.0", "HostPort": "32768"}, {"HostIp": "::", "HostPort": "32768"},
                    ],
                    "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "5353"}],
                    "443/tcp": null,
                },
                "Networks": {"bridge": {
                    "IPAddress": "172.17.0.2", "GlobalIPv6Address": "", "MacAddress": "02:42:ac:11:00:02",
                }},
            },
        })
    }

    #[test]
    fn a_running_container_is_read_with_its_ports() {
        let state = json!({
            "Status": "running", "StartedAt": "2026-01-02T03:04:05.123456789Z",
            "FinishedAt": "0001-01-01T00:00:00Z", "Health": {"Status": "healthy", "Log": null},
        });
        let read = container(answer(state)).unwrap();
        assert_eq!(read.name, "web.1.x");
        assert_eq!(read.state, ContainerState::Running);
        assert_eq!(
            read.started_at.unwrap().to_string(),
            "2026-01-02T03:04:05.123Z"
        );
        assert_eq!(read.finished_at, None);
        assert_eq!(read.health, Some(Health::Healthy));
        let address = "172.17.0.2".parse::<IpAddr>().unwrap();
        assert_eq!(read.addresses, [address]);
        assert_eq!(read.hardware[&address], "02:42:ac:11:00:02");
        let ports: Vec<_> = read
            .ports
            .iter()
            .map(|p| (p.published.0, p.host_ip))
            .collect();
        let local = "127.0.0.1".parse().ok();
        assert_eq!(ports, [(5353, local), (32768, None)]);
    }

    #[test]
    fn a_container_that_never_started_has_no_start_time() {
        let zero = "0001-01-01T00:00:00Z";
        let state =
            json!({"Status": "created", "StartedAt": zero, "FinishedAt": zero, "ExitCode": 128});
        let read = container(answer(state)).unwrap();
        assert_eq!((read.started_at, read.finished_at), (None, None));
        assert_eq!(read.state, ContainerState::Created);
    }

    #[test]
    fn empty_maps_may_be_null() {
        let read = container(json!({
            "Id": "x", "Name": "/x", "Config": {"Labels": null}, "State": {"Status": "exited"},
            "NetworkSettings": {"Ports": null, "Networks": null},
        }));
        assert!(read.unwrap().labels.is_empty());
    }

    #[test]
    fn events_of_other_types_are_skipped() {
        let line = |kind| json!({"Type": kind, "Action": "start", "Actor": {"ID": "x"}});
        assert!(event(line("container")).is_some());
        assert!(event(line("node-that-comes-later")).is_none());
        assert!(event(json!({"status": "old form"})).is_none());
        let made = json!({"Type": "network", "Action": "create", "Actor": {"ID": "x"}});
        assert!(event(made).is_none());
    }

    #[test]
    fn an_event_of_a_network_names_both_and_has_no_labels() {
        let line = json!({
            "Type": "network", "Action": "connect",
            "Actor": {"ID": "net", "Attributes": {"container": "c1", "name": "front", "type": "bridge"}},
        });
        let event = event(line).unwrap();
        assert_eq!(
            (event.container.as_str(), &*event.action),
            ("c1", "connect")
        );
        assert_eq!(event.attributes[EngineEvent::NETWORK], "net");
        assert_eq!(event.attributes.len(), 1);
    }

    #[test]
    fn identity_reads_labels_and_plugins() {
        let info: Info = serde_json::from_value(json!({
            "ID": "A:B", "Name": "n1", "OSType": "linux", "Architecture": "x86_64", "NCPU": 2, "MemTotal": 5,
            "Labels": ["zone=a", "bare"],
            "Plugins": {"Volume": ["local"], "Network": ["overlay", "bridge"], "Authorization": null},
        }))
        .unwrap();
        let identity = info.identity("20.10.24".into(), "1.41".into());
        assert_eq!(identity.labels["zone"], "a");
        assert_eq!(identity.labels["bare"], "");
        assert_eq!(
            identity.plugins,
            ["network/bridge", "network/overlay", "volume/local"]
        );
    }
}
