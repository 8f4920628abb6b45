//! A real etcd, a real manager, this machine's engine and the program as people run it: the README's walk-through with
//! etcdctl as it stands, and what needs a terminal and containers that really run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

#[path = "support/mod.rs"]
mod support;

use rustix::process::{Pid, Signal, kill_process};
use skep::api::node::EngineSpec;
use skep::engine::{Docker, Engine};
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use support::docker::{docker, lines};
use support::etcd::Etcd;
use support::process::{Process, skep};
use support::wait::until;
use support::{image, process};
use tempfile::TempDir;

/// The engine of this machine; the README's walk-through is one of one machine.
const ENGINE: &str = "unix:///var/run/docker.sock";

/// How long the slowest step may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The image that the walk-through names.
const DEMO: &str = "skep:demo";

/// An etcd and a manager with this machine's engine as its node.
struct Cluster {
    etcd: Etcd,
    manager: Process,
    dir: TempDir,
    id: String,
}

impl Cluster {
    async fn start() -> Self {
        let etcd = Etcd::start().await;
        let dir = TempDir::new().unwrap();
        let name = format!("walk-{}", process::owner());
        let arguments = [
            "manager",
            "--name",
            &name,
            "--metrics-listen",
            "127.0.0.1:0",
            "--endpoints",
            &etcd.endpoint(),
        ];
        let manager = Process::skep("manager", &arguments, dir.path());
        let mut cluster = Self {
            etcd,
            manager,
            dir,
            id: String::new(),
        };
        let record = until(PATIENCE, "the cluster has its id", async || {
            let found = cluster
                .etcd
                .ctl(&["get", "--print-value-only", "/skep/cluster"])
                .await;
            serde_json::from_str::<serde_json::Value>(&found).ok()
        })
        .await;
        cluster.id = record["id"].as_str().unwrap().to_owned();
        let words = ["node", "add", "here", "--engine", ENGINE, "--wait"];
        let added = cluster.skep(&words, "");
        assert!(added.status.success(), "{added:?}");
        cluster
    }

    /// A command that finds this cluster.
    fn command(&self, mut command: Command) -> Command {
        command.env("ETCDCTL_ENDPOINTS", self.etcd.endpoint());
        command.env("SKEP_ENDPOINTS", self.etcd.endpoint());
        command.current_dir(self.dir.path());
        command
    }

    /// Runs `skep` with a text on standard input.
    fn skep(&self, words: &[&str], input: &str) -> Output {
        let mut command = self.command(skep(words));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }

    /// This cluster's containers.
    fn containers(&self) -> Vec<String> {
        let label = format!("label=dev.skep.cluster={}", self.id);
        lines(&["ps", "--all", "--quiet", "--filter", &label])
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.manager.kill();
        for container in self.containers() {
            lines(&["rm", "--force", &container]);
        }
    }
}

async fn engine() -> Docker {
    let spec = EngineSpec {
        url: ENGINE.into(),
        tls: None,
    };
    let engine = Docker::new(&spec).unwrap();
    if let Err(error) = engine.ping().await {
        panic!("this test needs a Docker Engine at {ENGINE}: {error}");
    }
    engine
}

/// The commands between the README's markers.
fn walk_through() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (_, rest) = readme
        .split_once("<!-- walk-through:begin -->")
        .expect("README.md marks where the walk-through begins");
    let (block, _) = rest
        .split_once("<!-- walk-through:end -->")
        .expect("README.md marks where the walk-through ends");
    let block = block.trim();
    let commands = block
        .strip_prefix("```sh\n")
        .and_then(|block| block.strip_suffix("```"));
    commands
        .expect("the walk-through is one block of sh")
        .to_owned()
}

#[tokio::test]
async fn the_readmes_walk_through_holds_as_it_stands() {
    let engine = engine().await;
    let program = std::fs::read(env!("CARGO_BIN_EXE_skep")).unwrap();
    let mut packed = skep::engine::image::skep(program, "demo", std::env::consts::ARCH);
    packed.name = DEMO.into();
    let was_there = engine.image(DEMO).await.is_ok();
    if !was_there {
        engine.load(packed.tar()).await.unwrap();
    }

    let cluster = Cluster::start().await;
    let mut bash = Command::new("bash");
    // Each command has to succeed; `timeout` ends one that waits in vain.
    bash.args(["-euo", "pipefail", "-c", &walk_through()]);
    let bash = tokio::process::Command::from(cluster.command(bash))
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(3 * PATIENCE, bash).await;
    let seen = cluster.skep(&["describe", "service", "hello"], "");
    let output = match output {
        Ok(output) => output.expect("bash runs"),
        Err(_) => panic!("the walk-through waits in vain:\n{seen:?}"),
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{}:\n{text}{complaints}\n{seen:?}",
        output.status
    );
    for part in [
        "/skep/accepted/services/default/hello",
        "/skep/tasks/default/hello/",
        "/skep/bindings/here/",
    ] {
        assert!(
            text.contains(part),
            "the walk-through does not show {part}:\n{text}"
        );
    }
    until(PATIENCE, "no container of it is left", async || {
        cluster.containers().is_empty().then_some(())
    })
    .await;
    drop(cluster);
    if !was_there {
        docker(&["rmi", DEMO]).await;
    }
}

const TALK: &str = r#"
apiVersion: skep.dev/v1
kind: Service
metadata: {name: talk}
spec:
  template:
    container:
      image: IMAGE
      command: [sh, -c, "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.2; done"]
      stopGracePeriod: 1s
    restart: {delay: 100ms}
"#;

#[tokio::test]
async fn exec_and_logs_on_containers_that_run() {
    let engine = engine().await;
    image::load(&engine).await;
    let cluster = Cluster::start().await;
    let manifest = TALK.replace("IMAGE", image::BUSYBOX);
    let applied = cluster.skep(&["apply", "-f", "-", "--wait"], &manifest);
    assert!(applied.status.success(), "{applied:?}");

    exec(&cluster);
    exec_on_a_terminal(&cluster);
    follow(&cluster).await;

    let gone = cluster.skep(&["delete", "service", "talk", "--wait"], "");
    assert!(gone.status.success(), "{gone:?}");
    assert_eq!(cluster.containers(), Vec::<String>::new());
}

/// Input, output and exit codes without a terminal.
fn exec(cluster: &Cluster) {
    let echoed = cluster.skep(&["exec", "-i", "talk", "--", "cat"], "to and fro\n");
    assert_eq!(
        String::from_utf8_lossy(&echoed.stdout),
        "to and fro\n",
        "{echoed:?}"
    );
    assert_eq!(echoed.status.code(), Some(0));
    let script = "echo well; echo badly >&2; exit 7";
    let failed = cluster.skep(&["exec", "talk.1", "--", "sh", "-c", script], "");
    assert_eq!(failed.status.code(), Some(7), "{failed:?}");
    assert_eq!(failed.stdout, b"well\n");
    assert_eq!(failed.stderr, b"badly\n");
    let environment = [
        "exec",
        "-e",
        "A=b",
        "-w",
        "/tmp",
        "talk",
        "--",
        "sh",
        "-c",
        "echo $A $PWD",
    ];
    assert_eq!(cluster.skep(&environment, "").stdout, b"b /tmp\n");
    let missing = cluster.skep(&["exec", "talk", "--", "nonsense"], "");
    // Engines differ in whether a command that is not there is one that cannot be run.
    assert!(
        matches!(missing.status.code(), Some(126 | 127)),
        "{missing:?}"
    );
    let no_terminal = cluster.skep(&["exec", "-it", "talk", "--", "sh"], "");
    assert_eq!(no_terminal.status.code(), Some(125), "{no_terminal:?}");
}

/// `script` gives the command a terminal: its size arrives inside, and it is as before afterwards.
fn exec_on_a_terminal(cluster: &Cluster) {
    let skep = env!("CARGO_BIN_EXE_skep");
    let words = format!(
        "stty rows 33 cols 77; '{skep}' exec -it talk -- sh -c 'sleep 0.5; tty; stty size; exit 5'; \
         echo code $?; stty -a | tr ' ' '\\n' | grep icanon"
    );
    let mut script = Command::new("script");
    script.args(["--quiet", "--command", &words, "/dev/null"]);
    let output = cluster.command(script).stdin(Stdio::null()).output();
    let output = output.expect("script(1) of bsdutils is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let seen: Vec<&str> = text.lines().map(str::trim).collect();
    assert!(
        seen.iter().any(|line| line.contains("/dev/")),
        "a terminal inside: {text}"
    );
    for part in ["33 77", "code 5", "icanon"] {
        assert!(seen.contains(&part), "{part}: {text}");
    }
}

/// A task that dies, the one in its place, and an end by Ctrl-C.
async fn follow(cluster: &Cluster) {
    let command = cluster.command(skep(&["logs", "-f", "talk"]));
    let mut logs = Process::spawn("logs", command, cluster.dir.path());
    let count = |logs: &Process, text: &str| {
        let output = logs.output();
        output.lines().filter(|line| line.ends_with(text)).count()
    };
    until(PATIENCE, "the first task's lines are shown", async || {
        (count(&logs, "| line 3") == 1).then_some(())
    })
    .await;
    let running = cluster.containers();
    assert_eq!(running.len(), 1, "{running:?}");
    docker(&["rm", "--force", &running[0]]).await;
    until(PATIENCE, "the replacement's lines are shown", async || {
        (count(&logs, "| line 5") == 2).then_some(())
    })
    .await;
    let output = logs.output();
    for line in output.lines() {
        assert!(line.starts_with("talk.1@here | line "), "{output}");
    }
    assert_eq!(count(&logs, "| line 1"), 2, "each line once: {output}");
    assert!(!output.contains('\x1b'), "no colours in a file");

    let id = Pid::from_raw(i32::try_from(logs.id()).unwrap()).unwrap();
    kill_process(id, Signal::INT).unwrap();
    let ended = until(PATIENCE, "it ends", async || logs.ended()).await;
    assert_eq!(ended.code(), Some(130));
}
