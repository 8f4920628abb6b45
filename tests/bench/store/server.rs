//! One of the servers that are compared: a process with its data in the directory of temporary files, so that both write to the same disk.

use crate::support::etcd::Etcd;
use crate::support::process::Process;
use crate::support::wait::until;
use etcd_client::Client;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// How long a server may take until it answers.
const BOOT: Duration = Duration::from_secs(30);

/// Which one.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Embedded,
    Etcd,
}

/// A running server.
pub(super) struct Server {
    address: String,
    id: u32,
    pub(super) version: String,
    // Ended by being dropped.
    _running: Running,
}

#[allow(dead_code, reason = "held, and ended by being dropped")]
enum Running {
    Embedded(Process, TempDir),
    Etcd(Box<Etcd>),
}

impl Server {
    /// Starts one with nothing in it.
    pub(super) async fn start(kind: Kind) -> Self {
        let (address, id, running) = match kind {
            Kind::Embedded => embedded(),
            Kind::Etcd => {
                let etcd = Etcd::start().await;
                (etcd.endpoint(), etcd.id(), Running::Etcd(Box::new(etcd)))
            }
        };
        let version = until(BOOT, "the server answers", async || {
            let mut client = Client::connect([&address], None).await.ok()?;
            let status = client.status().await.ok()?;
            Some(status.version().to_owned())
        })
        .await;
        Self {
            address,
            id,
            version,
            _running: running,
        }
    }

    /// A client with a connection of its own.
    pub(super) async fn client(&self) -> Client {
        let connected = Client::connect([&self.address], None).await;
        connected.expect("a server that has answered takes a connection")
    }

    /// Resident memory of the process.
    #[allow(clippy::cast_precision_loss, reason = "kilobytes of a process")]
    pub(super) fn resident_mib(&self) -> f64 {
        let path = format!("/proc/{}/status", self.id);
        let text = std::fs::read_to_string(path).expect("the server runs");
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next());
        let kib: u64 = kib
            .and_then(|word| word.parse().ok())
            .expect("a process has a size");
        kib as f64 / 1024.0
    }
}

fn embedded() -> (String, u32, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    let dir = TempDir::new().expect("the machine has a temporary directory");
    let data = dir.path().join("data");
    let arguments = serve(&address, &data);
    let process = Process::skep("embedded", &arguments, dir.path());
    (address, process.id(), Running::Embedded(process, dir))
}

fn serve(address: &str, data: &Path) -> [String; 6] {
    let data = data.to_str().expect("a temporary path is text").into();
    [
        "store".into(),
        "serve".into(),
        "--listen".into(),
        address.into(),
        "--data-dir".into(),
        data,
    ]
}
