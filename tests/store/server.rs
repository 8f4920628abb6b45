//! A real etcd on free ports of the loopback interface, with its data in a directory that goes with it.

use crate::support::eventually;
use skep::store::Kv;
use skep::store::config::StoreConfig;
use skep::store::etcd::Etcd;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
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
    child: Mutex<Child>,
    pub(crate) address: String,
    data: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _ = child.kill();
        let _ = child.wait();
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
            child: Mutex::new(child),
            address: client,
            data,
        }
    }

    pub(crate) async fn answers(&self, config: &StoreConfig) {
        let kv = Etcd::new(config).unwrap();
        eventually("etcd answers", async || {
            if let Some(status) = self.child.lock().unwrap().try_wait().unwrap() {
                let log = std::fs::read_to_string(self.data.path().join("log")).unwrap();
                panic!("etcd ended with {status}:\n{log}");
            }
            kv.status().await.is_ok()
        })
        .await;
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
        let pid = self.child.lock().unwrap().id();
        crate::frozen::wait(pid, "etcd");
    }

    pub(crate) fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child.lock().unwrap());
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

/// An address that nobody uses just now, and that this process gives out once.
///
/// Not one that the kernel picks: it picks the same again, for an outgoing connection or another test, before etcd is up.
pub(crate) fn free_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    /// Below the ports of outgoing connections, which begin at 32768.
    const PORTS: std::ops::Range<u32> = 20_000..32_000;
    let count = PORTS.end - PORTS.start;
    let offset = std::process::id().wrapping_mul(97);
    for _ in 0..count {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + offset.wrapping_add(n) % count;
        let address = format!("127.0.0.1:{port}");
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
    panic!("no port in {PORTS:?} is free");
}
