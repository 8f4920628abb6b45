//! On this machine's engine: a service that runs while its cluster moves through every kind of store. Its containers keep
//! their ids and the time at which they started.

use crate::support::docker::lines;
use crate::support::etcd::Etcd;
use crate::support::image;
use crate::support::process::{Process, owner, skep};
use crate::support::wait::until;
use skep::api::node::EngineSpec;
use skep::engine::{Docker, Engine};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// This machine's engine.
const ENGINE: &str = "unix:///var/run/docker.sock";

/// How long the slowest step may take on a busy machine: adopting waits for every node that was just accepted.
const PATIENCE: Duration = Duration::from_secs(120);

const SERVICE: &str = r#"
# stays where it is
apiVersion: skep.dev/v1
kind: Service
metadata: {name: stays}
spec:
  replicas: 2   # two are enough
  template: {container: {image: IMAGE, command: [sleep, "3600"], stopGracePeriod: 1s}}
"#;

/// A control plane that is started and ended on one store after another.
struct Plane {
    dir: TempDir,
    name: String,
    process: Option<Process>,
    endpoint: String,
    cluster: String,
}

impl Plane {
    fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
            name: format!("move-{}", owner()),
            process: None,
            endpoint: String::new(),
            cluster: String::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `skep up` on a directory.
    async fn up(&mut self, directory: &Path) {
        let directory = directory.to_str().unwrap();
        let words = [
            "up",
            "--plain",
            "--data-dir",
            directory,
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
            "--engine",
            ENGINE,
            "--name",
            &self.name,
        ];
        // What was announced by an earlier start is not this one's.
        let config = Path::new(directory).join("config.yaml");
        let _ = std::fs::remove_file(&config);
        self.process = Some(Process::skep("up", &words, self.dir.path()));
        self.endpoint = until(PATIENCE, "skep up says where its store is", async || {
            let text = std::fs::read_to_string(&config).ok()?;
            text.split('"').nth(1).map(str::to_owned)
        })
        .await;
        until(PATIENCE, "its store answers", async || self.get("cluster")).await;
    }

    /// `skep manager` on an etcd.
    fn manager(&mut self, endpoint: &str) {
        let words = [
            "manager",
            "--name",
            &self.name,
            "--metrics-listen",
            "127.0.0.1:0",
            "--endpoints",
            endpoint,
        ];
        self.process = Some(Process::skep("manager", &words, self.dir.path()));
        self.endpoint = endpoint.to_owned();
    }

    async fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        let ended = process.terminate(Duration::from_secs(30)).await;
        assert!(ended.success(), "{ended}: {}", process.tail());
    }

    /// Runs `skep` on the present store.
    fn skep(&self, words: &[&str], input: &str) -> Output {
        let mut command = skep(words);
        command.env("SKEP_ENDPOINTS", &self.endpoint);
        run(command, input)
    }

    fn ok(&self, words: &[&str], input: &str) -> String {
        let output = self.skep(words, input);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("skep {}\n{text}{told}", words.join(" "));
        assert!(output.status.success(), "{words:?}: {output:?}");
        text + &told
    }

    /// Waits until the cluster is in this life, what runs is adopted, and the service has what it asks for.
    async fn settled(&mut self, life: u64, replicas: u32) {
        let what = format!("life {life} has begun and the service has {replicas}");
        let found = until(PATIENCE, &what, async || {
            let record = self.get("cluster")?;
            let is_life = record["incarnation"] == life && record["adoptingSince"].is_null();
            let status = self.get("status/services/default/stays/service")?;
            let ready = &status["replicas"]["ready"];
            (is_life && *ready == replicas).then(|| record["id"].as_str().unwrap().to_owned())
        })
        .await;
        self.cluster = found;
    }

    fn get(&self, key: &str) -> Option<serde_json::Value> {
        let mut etcdctl = Command::new("etcdctl");
        etcdctl.env("ETCDCTL_API", "3");
        etcdctl.args(["--endpoints", &self.endpoint, "get", "--print-value-only"]);
        etcdctl.arg(format!("/skep/{key}"));
        serde_json::from_slice(&run(etcdctl, "").stdout).ok()
    }

    /// The running containers: id and when each started.
    fn containers(&self) -> BTreeSet<String> {
        let label = format!("label=dev.skep.cluster={}", self.cluster);
        let ids = lines(&["ps", "--quiet", "--no-trunc", "--filter", &label]);
        let format = "{{.Id}} {{.State.StartedAt}} {{.RestartCount}}";
        let inspect = ["inspect", "--format", format].into_iter();
        let words: Vec<&str> = inspect.chain(ids.iter().map(String::as_str)).collect();
        lines(&words).into_iter().collect()
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        drop(self.process.take());
        let label = format!("label=dev.skep.cluster={}", self.cluster);
        if self.cluster.is_empty() {
            return;
        }
        for id in lines(&["ps", "--all", "--quiet", "--filter", &label]) {
            lines(&["rm", "--force", &id]);
        }
    }
}

fn run(mut command: Command, input: &str) -> Output {
    use std::io::Write;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that does not read its input may be gone.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

async fn engine() {
    let spec = EngineSpec {
        url: ENGINE.into(),
        tls: None,
    };
    let engine = Docker::new(&spec).unwrap();
    if let Err(error) = engine.ping().await {
        panic!("this test needs a Docker Engine at {ENGINE}: {error}");
    }
    image::load(&engine).await;
}

#[tokio::test]
async fn not_one_container_restarts_on_the_way_through_all_stores() {
    engine().await;
    let etcd = Etcd::start().await;
    let etcd_at = format!("http://{}", etcd.endpoint());
    let mut plane = Plane::new();
    let home = plane.path("home");
    let home_at = home.to_str().unwrap().to_owned();
    plane.up(&home).await;
    let manifest = SERVICE.replace("IMAGE", image::BUSYBOX);
    plane.ok(&["apply", "-f", "-", "--wait"], &manifest);
    plane.settled(1, 2).await;
    let first = plane.containers();
    assert_eq!(first.len(), 2, "{first:?}");

    to_etcd(&mut plane, &home_at, &etcd_at, &first).await;
    let three = back(&mut plane, &home, &etcd_at, &first).await;
    restored(&mut plane, &home, &three).await;
    imported(&mut plane, &three).await;
    plane.stop().await;
}

/// From the directory of a `skep up` that was stopped to a real etcd.
async fn to_etcd(plane: &mut Plane, home: &str, etcd: &str, first: &BTreeSet<String>) {
    let running = plane.endpoint.clone();
    let words = ["store", "copy", "--from", &running, "--to", etcd];
    let refused = plane.skep(&words, "");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains(&plane.name), "{told}");
    plane.stop().await;
    plane.ok(&["store", "copy", "--from", home, "--to", etcd], "");
    plane.manager(etcd);
    plane.settled(2, 2).await;
    assert_eq!(plane.containers(), *first);
}

/// The etcd serves the service; then back to the directory, with a manager that is ended by the copy.
async fn back(
    plane: &mut Plane,
    home: &Path,
    etcd: &str,
    first: &BTreeSet<String>,
) -> BTreeSet<String> {
    plane.ok(&["scale", "stays", "3"], "");
    plane.settled(2, 3).await;
    let three = plane.containers();
    assert!(three.len() == 3 && three.is_superset(first), "{three:?}");
    let at = home.to_str().unwrap();
    let words = [
        "store",
        "copy",
        "--from",
        etcd,
        "--to",
        at,
        "--stop-managers",
    ];
    plane.ok(&words, "");
    let mut manager = plane.process.take().unwrap();
    let ended = until(PATIENCE, "the manager ends", async || manager.ended()).await;
    assert!(
        !ended.success() && manager.output().contains("moved to"),
        "{}",
        manager.tail()
    );
    plane.up(home).await;
    plane.settled(3, 3).await;
    assert_eq!(plane.containers(), three);
    three
}

/// A backup while it runs, a change, and back to the backup.
async fn restored(plane: &mut Plane, home: &Path, three: &BTreeSet<String>) {
    let file = plane.path("backup");
    let file = file.to_str().unwrap();
    plane.ok(&["store", "backup", file], "");
    plane.ok(&["scale", "stays", "4"], "");
    plane.settled(3, 4).await;
    let four = plane.containers();
    assert!(four.len() == 4 && four.is_superset(three), "{four:?}");
    let at = home.to_str().unwrap();
    let restore = ["store", "restore", file, "--data-dir", at, "--yes"];
    let refused = plane.skep(&restore, "");
    assert_eq!(refused.status.code(), Some(1), "it runs: {refused:?}");
    let told = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(
        told.contains("spec.replicas") && told.contains("- task stays.4"),
        "{told}"
    );
    plane.stop().await;
    let told = plane.ok(&restore, "");
    assert!(told.contains("- task stays.4"), "{told}");
    plane.up(home).await;
    plane.settled(4, 3).await;
    assert_eq!(
        plane.containers(),
        four,
        "the fourth runs on and is reported"
    );
}

/// What users wrote, and nothing else, in a new directory: records are made anew from the labels of what runs.
async fn imported(plane: &mut Plane, three: &BTreeSet<String>) {
    let before = plane.containers();
    let file = plane.path("export.yaml");
    let file = file.to_str().unwrap();
    plane.ok(&["store", "export", "-o", file], "");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(
        text.contains("# stays where it is") && text.contains("# two are enough"),
        "{text}"
    );
    plane.stop().await;
    let new = plane.path("new");
    let at = new.to_str().unwrap().to_owned();
    plane.ok(&["store", "import", "-f", file, "--to", &at], "");
    plane.up(&new).await;
    plane.settled(5, 3).await;
    let after = plane.containers();
    assert_eq!(after, before);
    assert!(after.is_superset(three));
}
