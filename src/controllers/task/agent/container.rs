//! The agent's container: its name, its labels, the body of its create call, and what is to be done about what stands
//! under its name. Pure.
//!
//! It has the node's network namespace and what programming it takes: NET_ADMIN, the port of DNS (NET_BIND_SERVICE), the
//! kernel's settings below `/proc/sys` (which engines make read-only, AppArmor's default profile forbids, and SELinux labels
//! keep from containers), and nothing else: no other capability (iptables-legacy asks for NET_ADMIN only), no engine's socket, a read-only root. Its state is in a volume, so that another version goes on
//! with it; its socket is in memory, where only commands in the container reach it.
//!
//! Its labels are other ones than those of tasks: who looks for tasks' containers, to adopt or to remove them, does not see it.

use crate::api::uid::{ContainerId, Uid};
use crate::engine::image;
use crate::engine::{Container, ContainerState};
use serde_json::{Value, json};

/// The container's name, the same on each node: it is the claim on the node's data plane (rule I3).
pub const NAME: &str = "skep-agent";
/// The volume with its state.
pub const VOLUME: &str = "skep-agent";
/// Label: the cluster whose agent it is.
pub const AGENT: &str = "dev.skep.agent";
/// Label: the version of what runs in it.
const VERSION: &str = "dev.skep.agent.version";
/// Label: how it was made; whoever makes it another way makes it anew.
const SHAPE: &str = "dev.skep.agent.shape";
/// Counts the ways in which it was made: one more whenever [`body`] changes, or what agents are told (an agent refuses a state
/// with fields that it does not know).
const THIS_SHAPE: &str = "6";
/// Where its volume is.
const DIRECTORY: &str = "/var/lib/skep-agent";
/// Where it listens.
const SOCKET: &str = "/run/skep-agent.sock";

/// The image of this version.
pub fn image() -> String {
    image::name(env!("CARGO_PKG_VERSION"))
}

/// The body of `POST /containers/create`.
pub fn body(cluster: &Uid) -> Value {
    // Without `/proc/sys`, which is the rest of what engines list here.
    let read_only = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sysrq-trigger"];
    json!({
        "Image": image(),
        "Cmd": ["agent", "--directory", DIRECTORY, "--listen", SOCKET],
        "Labels": {
            (AGENT): cluster,
            (VERSION): env!("CARGO_PKG_VERSION"),
            (SHAPE): THIS_SHAPE,
        },
        "HostConfig": {
            "NetworkMode": "host",
            // Rule C7: after a reboot it restores before anybody says anything.
            "RestartPolicy": {"Name": "always"},
            "CapDrop": ["ALL"],
            "CapAdd": ["NET_ADMIN", "NET_BIND_SERVICE"],
            "SecurityOpt": ["no-new-privileges", "apparmor=unconfined", "label=disable"],
            "ReadonlyRootfs": true,
            "ReadonlyPaths": read_only,
            "Mounts": [{"Type": "volume", "Source": VOLUME, "Target": DIRECTORY}],
            "Tmpfs": {"/run": "mode=0700,size=64k"},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}},
        },
    })
}

/// The command that speaks with it.
pub fn attach() -> Vec<String> {
    ["/skep", "agent", "--attach", SOCKET]
        .map(String::from)
        .into()
}

/// What is to be done about the container under the agent's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// There is none: make one.
    Create,
    /// It never ran: start it.
    Start(ContainerId),
    /// It ended and was not started again: another one takes its place.
    Replace(ContainerId),
    /// It is of another version: one of this takes its place, once the engine has its image.
    Upgrade(ContainerId),
    /// It runs.
    Attach(ContainerId),
    /// It is not ours.
    Leave(String),
}

/// Decides. `seen` stands under the agent's name.
pub fn next(seen: Option<&Container>, cluster: &Uid) -> Next {
    let Some(seen) = seen else {
        return Next::Create;
    };
    match seen.labels.get(AGENT) {
        Some(owner) if owner == cluster.as_str() => {}
        Some(owner) => {
            return Next::Leave(format!(
                "its data plane is cluster {owner}'s: a node belongs to one cluster's networks"
            ));
        }
        None => {
            return Next::Leave(format!(
                "a container that is not ours is called {NAME}: rename or remove it"
            ));
        }
    }
    let label = |name: &str| seen.labels.get(name).map(String::as_str);
    let is_this =
        label(VERSION) == Some(env!("CARGO_PKG_VERSION")) && label(SHAPE) == Some(THIS_SHAPE);
    match (seen.state, seen.started_at) {
        (ContainerState::Running, _) if is_this => Next::Attach(seen.id.clone()),
        (ContainerState::Created, None) if is_this && seen.error.is_empty() => {
            Next::Start(seen.id.clone())
        }
        _ if !is_this => Next::Upgrade(seen.id.clone()),
        (
            ContainerState::Created
            | ContainerState::Running
            | ContainerState::Exited
            | ContainerState::Removing
            | ContainerState::Dead,
            _,
        ) => Next::Replace(seen.id.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn seen(state: ContainerState, labels: &[(&str, &str)]) -> Container {
        let labels = labels.iter();
        let labels: BTreeMap<_, _> = labels
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect();
        Container {
            id: "c1".into(),
            name: NAME.into(),
            labels: labels.into(),
            state,
            started_at: None,
            finished_at: None,
            exit_code: 0,
            oom_killed: false,
            error: String::new(),
            health: None,
            networks: Default::default(),
            addresses: Vec::new(),
            hardware: Default::default(),
            ports: Vec::new(),
        }
    }

    #[test]
    fn what_stands_under_its_name_is_used_replaced_or_left_alone() {
        let cluster = Uid::from("c");
        let version = env!("CARGO_PKG_VERSION");
        let ours = [(AGENT, "c"), (VERSION, version), (SHAPE, THIS_SHAPE)];
        let older = [(AGENT, "c"), (VERSION, "0.0.0"), (SHAPE, THIS_SHAPE)];
        let decide = |state, labels: &[_]| next(Some(&seen(state, labels)), &cluster);
        assert_eq!(next(None, &cluster), Next::Create);
        let (running, created) = (ContainerState::Running, ContainerState::Created);
        assert_eq!(decide(running, &ours), Next::Attach("c1".into()));
        assert_eq!(decide(created, &ours), Next::Start("c1".into()));
        let ended = ContainerState::Exited;
        assert_eq!(decide(ended, &ours), Next::Replace("c1".into()));
        assert_eq!(decide(running, &older), Next::Upgrade("c1".into()));
        assert_eq!(decide(ended, &older), Next::Upgrade("c1".into()));
        for labels in [&[][..], &[(AGENT, "other")]] {
            let left = decide(running, labels);
            assert!(matches!(left, Next::Leave(_)), "{labels:?}: {left:?}");
        }
    }

    #[test]
    fn it_has_two_capabilities_and_no_socket_of_an_engine() {
        let body = body(&Uid::from("c"));
        assert_eq!(
            body["HostConfig"]["CapAdd"],
            json!(["NET_ADMIN", "NET_BIND_SERVICE"])
        );
        assert_eq!(body["HostConfig"]["CapDrop"], json!(["ALL"]));
        assert!(!body.to_string().contains("docker.sock"));
        // Tasks' containers are looked for by this label.
        assert_eq!(
            body["Labels"].get(super::super::super::container::CLUSTER),
            None
        );
    }
}
