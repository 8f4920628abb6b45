//! A real etcd of a chosen release, on free loopback ports, with its data in a temporary directory.
//!
//! The release comes from `tests/fleet/images/build` (see [`covered`]); what this machine lacks is told as not covered.

use super::certificates::{Authority, Files};
use super::covered;
use super::docker::run;
use super::process::Process;
use super::wait::until;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

/// How long etcd may take until it answers.
const BOOT: Duration = Duration::from_secs(30);

/// How long etcd may take to end in order.
const END: Duration = Duration::from_secs(20);

/// The releases that skep is tested on, by series.
pub(crate) const SERIES: [&str; 2] = ["3.4", "3.5"];

/// The series that this machine has.
///
/// # Panics
/// It has none.
pub(crate) fn series() -> Vec<&'static str> {
    let found: Vec<_> = SERIES
        .into_iter()
        .filter(|name| covered::has_etcd(name))
        .collect();
    assert!(
        !found.is_empty(),
        "no etcd: apt install etcd-server etcd-client"
    );
    found
}

/// An etcd; dropped, it is killed and its data removed.
pub(crate) struct Etcd {
    series: &'static str,
    flags: Vec<String>,
    client: u16,
    peer: u16,
    process: Option<Process>,
    tls: Option<Tls>,
    dir: TempDir,
}

/// The certificates of an etcd with TLS.
struct Tls {
    authority: Authority,
    server: Files,
    client: Files,
}

impl Etcd {
    /// Starts the newest release that this machine has.
    pub(crate) async fn start() -> Self {
        let newest = series().pop().expect("series() gives at least one");
        Self::of(newest, &[]).await
    }

    /// Starts a release, with more flags of etcd's own (`--max-txn-ops=8`).
    pub(crate) async fn of(series: &'static str, flags: &[&str]) -> Self {
        let mut etcd = Self::new(series, flags);
        etcd.run().await;
        etcd
    }

    /// Starts a release that asks for client certificates.
    pub(crate) async fn with_tls(series: &'static str) -> Self {
        let mut etcd = Self::new(series, &[]);
        let authority = Authority::new(&etcd.dir.path().join("tls"));
        etcd.tls = Some(Tls {
            server: authority.sign("server", &["127.0.0.1".into(), "localhost".into()]),
            client: authority.sign("client", &[]),
            authority,
        });
        etcd.run().await;
        etcd
    }

    fn new(series: &'static str, flags: &[&str]) -> Self {
        let (client, peer) = free_ports();
        Self {
            series,
            flags: flags.iter().map(ToString::to_string).collect(),
            client,
            peer,
            process: None,
            tls: None,
            dir: TempDir::new().expect("the machine has a temporary directory"),
        }
    }

    /// `127.0.0.1:PORT`, as `--endpoints` takes it; with TLS `https://127.0.0.1:PORT`.
    pub(crate) fn endpoint(&self) -> String {
        if self.tls.is_some() {
            format!("https://127.0.0.1:{}", self.client)
        } else {
            format!("127.0.0.1:{}", self.client)
        }
    }

    /// Its process id.
    ///
    /// # Panics
    /// It does not run.
    pub(crate) fn id(&self) -> u32 {
        let process = self.process.as_ref();
        process.expect("etcd does not run: call run() first").id()
    }

    /// The client's certificate, where it asks for one.
    pub(crate) fn client_files(&self) -> Option<&Files> {
        self.tls.as_ref().map(|tls| &tls.client)
    }

    /// The authority of its certificates, to sign another client.
    pub(crate) fn authority(&self) -> Option<&Authority> {
        self.tls.as_ref().map(|tls| &tls.authority)
    }

    /// Starts it (again) on the same ports with the data that is there, and waits until it answers.
    pub(crate) async fn run(&mut self) {
        assert!(self.process.is_none(), "etcd runs already");
        let (name, arguments) = ("etcd", self.arguments());
        let mut process = Process::start(name, self.program("etcd"), &arguments, self.dir.path());
        until(BOOT, "etcd answers", async || {
            assert!(process.is_running(), "etcd ended:\n{}", process.tail());
            self.try_ctl(&["endpoint", "health"]).await.ok()
        })
        .await;
        self.process = Some(process);
    }

    /// Ends it in order (SIGTERM).
    pub(crate) async fn stop(&mut self) {
        self.running().terminate(END).await;
        self.process = None;
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.running().kill();
        self.process = None;
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub(crate) fn freeze(&mut self) {
        self.running().freeze();
    }

    /// Ends [`Etcd::freeze`].
    pub(crate) fn thaw(&mut self) {
        self.running().thaw();
    }

    /// Kills it and forgets all data: the next [`Etcd::run`] is an empty store at the same endpoint.
    pub(crate) fn wipe(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
        remove(&self.data());
    }

    /// Saves a snapshot as `NAME.db` in its directory.
    pub(crate) async fn snapshot(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(format!("{name}.db"));
        let text = path.to_str().expect("a temporary path is text");
        self.ctl(&["snapshot", "save", text]).await;
        path
    }

    /// Kills it, puts a snapshot in the place of its data, as an administrator would, and runs it again.
    pub(crate) async fn restore(&mut self, snapshot: &Path) {
        self.wipe();
        // From 3.6 on etcdutl restores; until then etcdctl does it too.
        let utility = self.program("etcdutl");
        let program = if utility.exists() {
            utility
        } else {
            self.program("etcdctl")
        };
        let mut command = Command::new(program);
        command.env("ETCDCTL_API", "3");
        command.args(["snapshot", "restore"]).arg(snapshot);
        command.arg("--data-dir").arg(self.data());
        run(command).await.unwrap_or_else(|error| panic!("{error}"));
        self.run().await;
    }

    /// Runs `etcdctl ARGS` against it and gives back what it printed.
    ///
    /// # Panics
    /// It failed; the message holds what it said.
    pub(crate) async fn ctl(&self, arguments: &[&str]) -> String {
        self.try_ctl(arguments)
            .await
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Puts a file's bytes as a value, as `etcdctl put KEY <FILE` does: a command line takes no more than 128 KiB.
    pub(crate) async fn put_file(&self, key: &str, file: &Path) {
        let mut command = Command::new("sh");
        let script = r#"file=$1; shift; exec "$@" <"$file""#;
        command.args(["-c", script, "sh"]).arg(file);
        command.arg(self.program("etcdctl"));
        command.env("ETCDCTL_API", "3");
        command.args(["--endpoints", &self.endpoint(), "put", key]);
        run(command).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Like [`Etcd::ctl`], with the failure as a value.
    pub(crate) async fn try_ctl(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(self.program("etcdctl"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ETCDCTL_")) {
            command.env_remove(name);
        }
        command.env("ETCDCTL_API", "3");
        command.args(["--endpoints", &self.endpoint(), "--command-timeout", "5s"]);
        if let Some(tls) = &self.tls {
            command.arg("--cacert").arg(&tls.client.ca);
            command.arg("--cert").arg(&tls.client.cert);
            command.arg("--key").arg(&tls.client.key);
        }
        command.args(arguments);
        run(command).await
    }

    /// The value of one key; none: there is no such key.
    pub(crate) async fn get(&self, key: &str) -> Option<String> {
        let value = self.ctl(&["get", "--print-value-only", key]).await;
        (!value.is_empty()).then_some(value)
    }

    /// The keys under a prefix, in order.
    pub(crate) async fn keys(&self, prefix: &str) -> Vec<String> {
        let keys = self.ctl(&["get", "--prefix", "--keys-only", prefix]).await;
        keys.lines()
            .filter(|line| !line.is_empty())
            .map(String::from)
            .collect()
    }

    /// The last lines that it printed.
    pub(crate) fn tail(&self) -> String {
        self.process.as_ref().map(Process::tail).unwrap_or_default()
    }

    fn running(&mut self) -> &mut Process {
        self.process
            .as_mut()
            .expect("etcd does not run: call run() first")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn program(&self, name: &str) -> PathBuf {
        program(self.series, name)
    }

    fn arguments(&self) -> Vec<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let client = format!("{scheme}://127.0.0.1:{}", self.client);
        let peer = format!("http://127.0.0.1:{}", self.peer);
        let mut arguments = vec![
            format!("--data-dir={}", self.data().display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            // The name and peer that a restored snapshot expects by default, whatever the port is.
            "--name=default".into(),
            "--logger=zap".into(),
            "--log-outputs=stderr".into(),
        ];
        if let Some(tls) = &self.tls {
            arguments.push("--client-cert-auth".into());
            arguments.push(format!("--trusted-ca-file={}", tls.server.ca.display()));
            arguments.push(format!("--cert-file={}", tls.server.cert.display()));
            arguments.push(format!("--key-file={}", tls.server.key.display()));
        }
        arguments.extend(self.flags.iter().cloned());
        arguments
    }
}

/// A program of a release: `etcd`, `etcdctl`.
pub(crate) fn program(series: &str, name: &str) -> PathBuf {
    cache().join(format!("etcd-{series}")).join(name)
}

/// Where the releases are kept; the same rule as in `tests/fleet/images/lib.sh`.
fn cache() -> PathBuf {
    let home = || std::env::var("HOME").expect("HOME says where the cache is");
    std::env::var("SKEP_TEST_CACHE").map_or_else(
        |_| Path::new(&home()).join(".cache/skep-test"),
        PathBuf::from,
    )
}

/// Two free ports of the loopback: held at the same time, so that they differ.
fn free_ports() -> (u16, u16) {
    let bind = || TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let (first, second) = (bind(), bind());
    let port = |listener: &TcpListener| {
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        address.port()
    };
    (port(&first), port(&second))
}

/// Removes a folder, if it is there.
fn remove(dir: &Path) {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            panic!("cannot remove {dir:?}: {error}")
        }
        _ => {}
    }
}
