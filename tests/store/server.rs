//! A real etcd on free ports of the loopback interface, with its data in a directory that goes with it.

use crate::support::eventually;
use skep::store::Kv;
use skep::store::config::StoreConfig;
use skep::store::etcd::Etcd;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The programs to test with.
pub(crate) fn programs() -> Vec<String> {
    let given = std::env::var("SKEP_TEST_ETCD").unwrap_or_else(|_| "etcd".into());
    let programs: Vec<String> = given
        .split(':')
        .filter(|program| !program.is_empty())
        .map(str::to_owned)
        .collect();
    assert!(!programs.is_empty(), "SKEP_TEST_ETCD names no program");
    for program in &programs {
        let version = Command::new(program).arg("--version").output();
        let version = version.unwrap_or_else(|error| {
            panic!("cannot run `{program}`: {error}. Debian's package etcd-server brings it")
        });
        let text = String::from_utf8_lossy(&version.stdout).into_owned();
        println!("{program}: {}", text.lines().next().unwrap_or_default());
    }
    programs
}

pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    _data: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts a server without encryption and waits until it answers.
    pub(crate) async fn start(program: &str) -> Self {
        Self::start_with(program, &[]).await
    }

    pub(crate) async fn start_with(program: &str, arguments: &[&str]) -> Self {
        let server = Self::spawn(program, "http", arguments);
        server.answers(&server.config()).await;
        server
    }

    /// Starts a server and does not wait.
    pub(crate) fn spawn(program: &str, scheme: &str, arguments: &[&str]) -> Self {
        let data = TempDir::new().unwrap();
        let (client, peer) = (free_address(), free_address());
        let url = format!("{scheme}://{client}");
        let peer = format!("http://{peer}");
        let log = std::fs::File::create(data.path().join("log")).unwrap();
        let child = Command::new(program)
            .args(["--name", "t", "--data-dir"])
            .arg(data.path().join("data"))
            .args([
                "--listen-client-urls",
                &url,
                "--advertise-client-urls",
                &url,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("t={peer}")])
            .args(arguments)
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        Self {
            child,
            address: client,
            _data: data,
        }
    }

    pub(crate) async fn answers(&self, config: &StoreConfig) {
        let kv = Etcd::new(config).unwrap();
        eventually("etcd answers", async || kv.status().await.is_ok()).await;
    }

    pub(crate) fn config(&self) -> StoreConfig {
        StoreConfig::plain(&self.address)
    }

    pub(crate) fn client(&self) -> Etcd {
        Etcd::new(&self.config()).unwrap()
    }

    /// Stops the process in its tracks: connections stay, nobody answers.
    pub(crate) fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

/// An address that nobody uses just now.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
