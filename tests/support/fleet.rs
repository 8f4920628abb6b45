//! A fleet of real Docker Engines of several versions on one private network, as containers of this machine's engine.
//!
//! Invariants:
//! - One fleet at a time in a test program: two cores carry no more. The next test waits for the first one's fleet to go.
//! - Every container and network is called `skep-fleet-RUN...`, carries the label `dev.skep.test=fleet` and who made it
//!   (process id and start time), so that `scripts/clean-tests` removes what a killed run left, and nothing else.
//! - No `--privileged`: a small test machine may not have every capability. Containers on the nodes ask for single ones.

use super::certificates::Authority;
use super::covered;
use super::docker::{docker, lines, try_docker};
use super::node::{INIT, Node};
use super::process;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

/// The flags that let an engine run in a container; see the design notes beside the file.
const FLAGS: &str = include_str!("../fleet/images/node-flags");

/// How many subnets are tried before giving up.
const SUBNETS: u8 = 20;

/// Whether the engines ask for client certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Plain TCP on port 2375.
    Plain,
    /// TLS with client certificates on port 2376.
    Tls,
}

/// Engines that run until the value is dropped.
pub(crate) struct Fleet {
    /// The nodes, `n1` first.
    pub(crate) nodes: Vec<Node>,
    run: String,
    network: String,
    transport: Transport,
    authority: Authority,
    dir: TempDir,
    _one_at_a_time: MutexGuard<'static, ()>,
}

impl Fleet {
    /// Starts `count` engines of as many different versions as this machine has, and waits until each answers.
    pub(crate) async fn mixed(count: usize, transport: Transport) -> Self {
        let versions = covered::engine_versions();
        let chosen: Vec<_> = versions.iter().copied().cycle().take(count).collect();
        Self::start(&chosen, transport).await
    }

    /// Starts one engine of each of these versions, which have to be among [`covered::engine_versions`].
    pub(crate) async fn start(versions: &[&'static str], transport: Transport) -> Self {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
        let one_at_a_time = ONE_AT_A_TIME.lock().await;
        clean();

        let dir = TempDir::new().expect("the machine has a temporary directory");
        let run = format!("skep-fleet-{}-{}", std::process::id(), serial());
        let authority = Authority::new(&dir.path().join("tls"));
        let mut fleet = Self {
            nodes: Vec::new(),
            network: run.clone(),
            run,
            transport,
            authority,
            dir,
            _one_at_a_time: one_at_a_time,
        };
        let subnet = fleet.make_network().await;
        for (number, version) in (1u8..).zip(versions) {
            fleet.add(number, subnet, version).await;
        }
        for node in &fleet.nodes {
            let version = node.ready().await;
            eprintln!("{} at {}: Engine {version}", node.name, node.address);
        }
        fleet
    }

    /// The node with this number, from 1.
    pub(crate) fn node(&self, number: usize) -> &Node {
        &self.nodes[number - 1]
    }

    /// Loads an image tar into every engine.
    pub(crate) async fn load(&self, tar: &Path) {
        futures::future::join_all(self.nodes.iter().map(|node| node.load(tar))).await;
    }

    /// The fleet's own directory, for logs, images and stores of the test; it goes with the fleet.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The authority whose client certificates the engines take.
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Makes the private network in a free subnet, and gives back the subnet's first three numbers.
    async fn make_network(&self) -> [u8; 3] {
        let start = u8::try_from(std::process::id() % 250).expect("it is below 250");
        let mut last = String::new();
        for step in 0..SUBNETS {
            let subnet = [10, 213 + step, start];
            let text = format!("{}.{}.{}.0/24", subnet[0], subnet[1], subnet[2]);
            let owner = owner();
            let made = try_docker(&[
                "network",
                "create",
                "--subnet",
                &text,
                "--label",
                "dev.skep.test=fleet",
                "--label",
                &owner,
                &self.network,
            ])
            .await;
            match made {
                Ok(_) => return subnet,
                Err(error) => last = error,
            }
        }
        panic!("no subnet is free for the fleet's network; the last refusal: {last}");
    }

    /// Runs one node's container, without waiting for its engine.
    async fn add(&mut self, number: u8, subnet: [u8; 3], version: &'static str) {
        let name = format!("n{number}");
        let container = format!("{}-{name}", self.run);
        let address = Ipv4Addr::new(subnet[0], subnet[1], subnet[2], 10 + number);

        let mut command: Vec<String> =
            ["run", "--detach", "--name", &container, "--hostname", &name]
                .map(String::from)
                .into();
        command.extend(FLAGS.lines().map(String::from));
        command.extend(["--label", "dev.skep.test=fleet", "--label"].map(String::from));
        command.push(owner());
        command.push(format!("--network={}", self.network));
        command.push(format!("--ip={address}"));
        command.push(format!("--volume={}:/tls:ro", self.tls_dir().display()));
        command.push(format!("skep-node:{version}"));
        command.extend(["/bin/sh", "-c", INIT, "node"].map(String::from));
        command.extend(self.engine(&name, &container, address));

        let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        // Known before it is made, so that `drop` removes it in any case.
        self.nodes.push(Node {
            tls: (self.transport == Transport::Tls).then(|| self.authority.sign("client", &[])),
            name,
            container,
            network: self.network.clone(),
            version,
            address,
        });
        docker(&arguments).await;
    }

    /// The engine's command line.
    fn engine(&self, name: &str, container: &str, address: Ipv4Addr) -> Vec<String> {
        let mut command: Vec<String> = ["dockerd", "--host", "unix:///var/run/docker.sock"]
            .map(String::from)
            .into();
        command.push(format!("--label=node={name}"));
        // Containers of the node get their cgroups here, beside the node's own: pausing a node freezes its engine only.
        command.push(format!("--cgroup-parent=/{container}"));
        match self.transport {
            // Said in so many words, or newer engines wait 15 s before they serve without TLS.
            Transport::Plain => {
                command.extend(["--tls=false", "--host=tcp://0.0.0.0:2375"].map(String::from))
            }
            Transport::Tls => {
                self.authority.sign(name, &[address.to_string()]);
                command.extend(["--tlsverify", "--host=tcp://0.0.0.0:2376"].map(String::from));
                command.push("--tlscacert=/tls/ca.pem".into());
                command.push(format!("--tlscert=/tls/{name}.pem"));
                command.push(format!("--tlskey=/tls/{name}-key.pem"));
            }
        }
        command
    }

    fn tls_dir(&self) -> PathBuf {
        self.dir.path().join("tls")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for node in &self.nodes {
            if std::thread::panicking() {
                let log = lines(&["logs", "--tail", "15", &node.container]).join("\n");
                eprintln!("--- {} ({}) ---\n{log}", node.name, node.version);
            }
            lines(&["rm", "--force", "--volumes", &node.container]);
            remove_cgroups(&node.container);
        }
        lines(&["network", "rm", &self.network]);
    }
}

/// Removes what earlier runs left that were killed.
fn clean() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/clean-tests");
    let status = Command::new(&script).status();
    let status = status.unwrap_or_else(|error| panic!("cannot run {script:?}: {error}"));
    assert!(status.success(), "{script:?} failed; see above");
}

/// The label that names this process, so that a later run knows whether it still lives.
fn owner() -> String {
    format!("dev.skep.test.owner={}", process::owner())
}

/// A number for each fleet of this process.
fn serial() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Removes the empty cgroups that a node's containers leave behind in each hierarchy, as far as we may.
fn remove_cgroups(name: &str) {
    let _ = Command::new("find")
        .args(["/sys/fs/cgroup", "-mindepth", "1", "-depth", "-type", "d"])
        .args(["-path", &format!("*/{name}*"), "-exec", "rmdir", "{}", ";"])
        .stderr(std::process::Stdio::null())
        .status();
}
