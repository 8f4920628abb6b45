//! One node of a test fleet: a Docker Engine in a container of this machine's engine.

use super::certificates::Files;
use super::docker::{docker, run, try_docker};
use super::wait::until;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use tokio::process::Command;

/// How long an engine may take until it answers; a cold one on two busy cores took 10 s.
const BOOT: Duration = Duration::from_secs(90);

/// What runs as the node's first process: the engine, again and again, as an init system would keep it.
pub(crate) const INIT: &str = r#"
trap 'kill "$engine"; wait "$engine"; exit 0' TERM
while :; do
    rm -f /run/docker.pid
    "$@" &
    engine=$!
    echo "$engine" >/run/engine
    wait "$engine"
    sleep 0.2
done"#;

/// A node. It belongs to its fleet, which removes it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its short name in the fleet, its hostname too: `n1`, `n2` ...
    pub(crate) name: String,
    /// Its container on this machine's engine.
    pub(crate) container: String,
    /// The network that joins the fleet.
    pub(crate) network: String,
    /// Which engine: one of [`super::covered::VERSIONS`].
    pub(crate) version: &'static str,
    /// Its address, the same after every restart.
    pub(crate) address: Ipv4Addr,
    /// The client's certificate, where the engine asks for one.
    pub(crate) tls: Option<Files>,
}

impl Node {
    /// Its engine, as a node's manifest names it.
    pub(crate) fn url(&self) -> String {
        let port = if self.tls.is_some() { 2376 } else { 2375 };
        format!("tcp://{}:{port}", self.address)
    }

    /// Runs `docker ARGS` against this node's engine.
    ///
    /// # Panics
    /// It failed; the message holds what it said.
    pub(crate) async fn docker(&self, arguments: &[&str]) -> String {
        self.try_docker(arguments)
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Like [`Node::docker`], with the failure as a value.
    pub(crate) async fn try_docker(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("docker");
        for name in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY"] {
            command.env_remove(name);
        }
        command.args(["--host", &self.url()]);
        if let Some(files) = &self.tls {
            command.arg("--tlsverify");
            command.arg("--tlscacert").arg(&files.ca);
            command.arg("--tlscert").arg(&files.cert);
            command.arg("--tlskey").arg(&files.key);
        }
        command.args(arguments);
        run(command).await
    }

    /// Waits until its engine answers; its version as it says it.
    pub(crate) async fn ready(&self) -> String {
        let what = format!("the engine of {} ({}) answers", self.name, self.version);
        until(BOOT, &what, async || self.engine_version().await).await
    }

    /// The version that the engine says, if it answers within 2 seconds.
    pub(crate) async fn engine_version(&self) -> Option<String> {
        let ask = self.try_docker(&["version", "--format", "{{.Server.Version}}"]);
        let answer = tokio::time::timeout(Duration::from_secs(2), ask).await;
        answer.ok()?.ok()
    }

    /// Loads an image tar.
    pub(crate) async fn load(&self, tar: &Path) {
        let tar = tar.to_str().expect("a temporary path is text");
        self.docker(&["load", "--quiet", "--input", tar]).await;
    }

    /// Runs a shell command on the node itself, beside its engine.
    pub(crate) async fn exec(&self, command: &str) -> String {
        docker(&["exec", &self.container, "/bin/sh", "-c", command]).await
    }

    /// Shuts the node down in order: the engine stops its containers.
    pub(crate) async fn stop(&self) {
        docker(&["stop", "--time", "30", &self.container]).await;
    }

    /// Pulls the plug: engine and containers die at once.
    pub(crate) async fn kill(&self) {
        docker(&["kill", &self.container]).await;
    }

    /// Boots the node again after [`Node::stop`] or [`Node::kill`], and waits for its engine.
    pub(crate) async fn start(&self) {
        docker(&["start", &self.container]).await;
        self.ready().await;
    }

    /// Freezes the engine: it accepts connections and does not answer. Its containers go on.
    pub(crate) async fn pause(&self) {
        docker(&["pause", &self.container]).await;
    }

    /// Ends [`Node::pause`].
    pub(crate) async fn unpause(&self) {
        docker(&["unpause", &self.container]).await;
    }

    /// Kills the engine's process; the node starts it again at once.
    pub(crate) async fn kill_engine(&self) {
        self.exec("kill -9 $(cat /run/engine)").await;
    }

    /// Unplugs the node's network: its address is gone, engine and containers go on.
    pub(crate) async fn disconnect(&self) {
        docker(&["network", "disconnect", &self.network, &self.container]).await;
    }

    /// Plugs the network in again, with the same address.
    pub(crate) async fn connect(&self) {
        let address = self.address.to_string();
        docker(&[
            "network",
            "connect",
            "--ip",
            &address,
            &self.network,
            &self.container,
        ])
        .await;
    }

    /// The last lines that the engine printed, for messages.
    pub(crate) async fn log(&self) -> String {
        try_docker(&["logs", "--tail", "40", &self.container])
            .await
            .unwrap_or_else(|error| error)
    }
}
