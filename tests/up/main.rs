//! `skep up` and `skep down` with this machine's engine: nothing that runs restarts, whatever becomes of `skep up`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

#[path = "../support/mod.rs"]
mod support;

use rustix::process::{Pid, Signal, kill_process};
use skep::api::node::EngineSpec;
use skep::engine::{Docker, Engine};
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use support::docker::{docker, lines, try_docker};
use support::image;
use support::process::{Process, owner, skep};
use support::wait::until;
use tempfile::TempDir;

/// How long the slowest step may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const ENGINE: &str = "unix:///var/run/docker.sock";

const WEB: &str = "
apiVersion: skep.dev/v1
kind: Service
metadata: {name: web}
spec:
  template:
    container: {image: IMAGE, command: [sleep, '3600'], stopGracePeriod: 1s}
";

/// A data directory of its own on this machine's engine.
struct Machine {
    folder: TempDir,
}

impl Machine {
    async fn new() -> Self {
        let spec = EngineSpec {
            url: ENGINE.into(),
            tls: None,
        };
        let engine = Docker::new(&spec).unwrap();
        if let Err(error) = engine.ping().await {
            panic!("this test needs a Docker Engine at {ENGINE}: {error}");
        }
        image::load(&engine).await;
        Self {
            folder: TempDir::new().unwrap(),
        }
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// The program's variables, for whatever runs it.
    fn own(&self, mut command: Command) -> Command {
        command
            .env("SKEP_DATA_DIR", self.data())
            .env_remove("DOCKER_HOST")
            .env("TERM", "xterm")
            .current_dir("/");
        command
    }

    fn run(&self, words: &[&str], input: &str) -> Output {
        let mut command = self.own(skep(words));
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

    fn ok(&self, words: &[&str], input: &str) -> String {
        let output = self.run(words, input);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn start(&self, name: &str) -> Process {
        let words = [
            "up",
            "--listen",
            "127.0.0.1:0",
            "--metrics-listen",
            "127.0.0.1:0",
        ];
        Process::spawn(name, self.own(skep(&words)), self.folder.path())
    }

    /// Starts `skep up` and waits until its node is ready.
    async fn up(&self, name: &str) -> Process {
        let mut up = self.start(name);
        until(PATIENCE, "the node is ready", async || {
            assert!(up.is_running(), "{}", up.output());
            up.output().contains("node local ready").then_some(())
        })
        .await;
        up
    }

    fn apply_web(&self) {
        let manifest = WEB.replace("IMAGE", image::BUSYBOX);
        self.ok(&["apply", "-f", "-", "--wait"], &manifest);
    }

    /// The containers of this cluster: id and start.
    async fn containers(&self) -> Vec<String> {
        let Ok(text) = std::fs::read_to_string(self.folder.path().join("cluster")) else {
            return Vec::new();
        };
        let label = format!("label=dev.skep.cluster={text}");
        let mut found = Vec::new();
        for id in lines(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &label]) {
            let format = "{{.State.StartedAt}} {{.State.Running}}";
            // One that is being removed may be gone since the list.
            match try_docker(&["inspect", "--format", format, &id]).await {
                Ok(started) => found.push(format!("{id} {started}")),
                Err(error) => assert!(error.contains("No such object"), "{error}"),
            }
        }
        found
    }

    /// Notes the cluster's id, for `containers` and the clean-up.
    fn note_cluster(&self) {
        let status = self.ok(&["status"], "");
        let id = status
            .lines()
            .find_map(|line| line.trim().strip_prefix("id "))
            .unwrap();
        let id = id.split_whitespace().next().unwrap();
        std::fs::write(self.folder.path().join("cluster"), id).unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Ok(id) = std::fs::read_to_string(self.folder.path().join("cluster")) {
            let label = format!("label=dev.skep.cluster={id}");
            for container in lines(&["ps", "--all", "--quiet", "--filter", &label]) {
                lines(&["rm", "--force", &container]);
            }
        }
    }
}

fn interrupt(process: u32) {
    let pid = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

#[tokio::test]
async fn containers_outlive_skep_up_and_the_next_start_takes_them_over() {
    let machine = Machine::new().await;
    let mut up = machine.up("up").await;
    machine.apply_web();
    machine.note_cluster();
    let before = machine.containers().await;
    assert_eq!(before.len(), 1, "{before:?}");
    assert!(before[0].ends_with("true"), "{before:?}");

    up.kill();
    assert_eq!(machine.containers().await, before, "killed");
    let up = machine.up("second").await;
    machine.ok(&["wait", "service", "web", "--for=condition=Ready"], "");
    assert_eq!(machine.containers().await, before, "started again");

    // Ctrl-C.
    let mut up = up;
    interrupt(up.id());
    let ended = until(PATIENCE, "it ends", async || up.ended()).await;
    assert!(ended.success(), "{ended}: {}", up.output());
    assert!(
        up.output().contains("1 container goes on"),
        "{}",
        up.output()
    );
    assert_eq!(machine.containers().await, before, "interrupted");

    // It works on: a container that dies is replaced by the third one.
    let _up = machine.up("third").await;
    assert_eq!(machine.containers().await, before, "started a third time");
    let id = before[0].split(' ').next().unwrap();
    docker(&["rm", "--force", id]).await;
    until(PATIENCE, "another container runs", async || {
        let now = machine.containers().await;
        now.iter()
            .any(|text| !text.contains(id) && text.ends_with("true"))
            .then_some(())
    })
    .await;

    let down = machine.ok(&["down", "--yes"], "");
    assert!(down.contains("service default/web removed"), "{down}");
    assert!(down.contains("skep up ended"), "{down}");
    assert_eq!(machine.containers().await, Vec::<String>::new());
}

#[tokio::test]
async fn down_brings_up_what_it_needs_and_touches_nothing_of_others() {
    let machine = Machine::new().await;
    let mut up = machine.up("up").await;
    machine.apply_web();
    machine.note_cluster();
    let ours = machine.containers().await;
    // Somebody else on this machine may use an image of this name.
    let name = concat!("skep:", env!("CARGO_PKG_VERSION"));
    let was_there = try_docker(&["image", "inspect", "--format", "{{.Id}}", name]).await;
    assert_eq!(machine.ok(&["image", "load"], "").trim(), name);
    assert!(up.terminate(PATIENCE).await.success());

    // A copy of ours keeps the labels: labels alone do not make it ours.
    let id = ours[0].split(' ').next().unwrap();
    let copy = format!("skep-test/copy:{}", owner());
    docker(&["commit", id, &copy]).await;
    let stranger = docker(&["run", "--detach", &copy]).await;

    let down = machine.ok(&["down", "--all", "--yes", "--timeout", "1m"], "");
    let left = machine.containers().await;
    docker(&["rm", "--force", &stranger]).await;
    docker(&["rmi", &copy]).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].starts_with(&stranger), "{left:?}: {down}");
    for part in [
        "container",
        "service default/web removed",
        "image skep:",
        "directory",
    ] {
        assert!(down.contains(part), "{part}: {down}");
    }
    assert!(!machine.data().exists(), "{down}");
    assert!(
        try_docker(&["image", "inspect", name]).await.is_err(),
        "{down}"
    );
    if let Ok(id) = was_there
        && try_docker(&["tag", &id, name]).await.is_err()
    {
        // It was the very image that this test loaded and removed.
        machine.ok(&["image", "load"], "");
    }
    let again = machine.ok(&["down"], "");
    assert!(again.starts_with("nothing is up"), "{again}");
}

/// `script` gives it a terminal.
#[tokio::test]
async fn on_a_terminal_there_is_a_live_view_and_the_terminal_is_given_back() {
    let machine = Machine::new().await;
    let program = env!("CARGO_BIN_EXE_skep");
    let words = format!(
        "stty rows 24 cols 90; '{program}' up --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0; \
         echo code $?; stty -a | tr ' ' '\\n' | grep -x echo"
    );
    let mut script = Command::new("script");
    script.args(["--quiet", "--flush", "--command", &words, "/dev/null"]);
    let mut view = Process::spawn("view", machine.own(script), machine.folder.path());
    let shown = |view: &Process| {
        let output = view.output();
        let last = output.rsplit("\x1b[H").next().unwrap_or_default();
        last.to_owned()
    };
    until(PATIENCE, "the node is shown", async || {
        let frame = shown(&view);
        let is_ready = frame
            .lines()
            .any(|line| line.contains("local") && line.contains("ready"));
        is_ready.then_some(())
    })
    .await;
    machine.apply_web();
    machine.note_cluster();
    until(PATIENCE, "the service is shown", async || {
        let frame = shown(&view);
        frame
            .lines()
            .any(|line| line.contains("web") && line.contains("ready"))
            .then_some(())
    })
    .await;
    let lock = std::fs::read_to_string(machine.data().join("lock")).unwrap();
    interrupt(lock.trim().parse().unwrap());
    until(PATIENCE, "it ends", async || view.ended()).await;
    let output = view.output();
    assert!(
        output.contains("\x1b[?1049h"),
        "the other screen: {output:?}"
    );
    let (_, after) = output
        .rsplit_once("\x1b[?1049l")
        .expect("the first screen comes back");
    for part in ["1 container goes on", "code 0", "echo"] {
        assert!(after.contains(part), "{part}: {after:?}");
    }
    let log = std::fs::read_to_string(machine.data().join("up.log")).unwrap();
    assert!(log.contains("manager started"), "{log}");
    machine.ok(&["down", "--yes"], "");
    assert_eq!(machine.containers().await, Vec::<String>::new());
}
