//! `skep up`, `skep down` and `skep store serve` as programs, where no engine is needed.

use crate::support::process::{Process, skep};
use crate::support::wait::until;
use crate::world::WEB;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// How long the slowest step may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// An engine that nobody has.
const NO_ENGINE: [&str; 2] = ["--engine", "unix:///nonexistent.sock"];

/// A directory for the state of one `skep up`, and the program with it.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = skep(words);
        command
            .env("SKEP_DATA_DIR", self.data())
            .env_remove("DOCKER_HOST")
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Starts `skep up` on any free port and waits until its store answers.
    async fn up(&self, name: &str, more: &[&str]) -> Process {
        let words: Vec<&str> = ["up", "--metrics-listen", "127.0.0.1:0"]
            .into_iter()
            .chain(NO_ENGINE)
            .chain(more.iter().copied())
            .collect();
        let mut up = Process::spawn(name, self.command(&words), self.folder.path());
        until(PATIENCE, "skep up answers", async || {
            assert!(up.is_running(), "{}", up.output());
            (up.output().contains("skep up, store")).then_some(())
        })
        .await;
        up
    }

    fn endpoint(&self) -> String {
        let config = std::fs::read_to_string(self.data().join("config.yaml")).unwrap();
        config.split('"').nth(1).unwrap().to_owned()
    }

    fn remember_port(&self, port: u16) {
        std::fs::create_dir_all(self.data()).unwrap();
        let text = format!("{{\"listen\": \"127.0.0.1:{port}\"}}");
        std::fs::write(self.data().join("up.json"), text).unwrap();
    }
}

fn text(output: &Output) -> String {
    let all = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

fn check(output: &Output, code: i32, part: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
    assert!(text(output).contains(part), "{part}: {}", text(output));
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn beyond_the_loopback_only_with_certificates() {
    let machine = Machine::new();
    for verb in [&["up"][..], &["store", "serve"]] {
        let refused = machine.run(&[verb, &["--listen", "0.0.0.0:0"]].concat());
        for part in ["--tls-cert", "--tls-key", "--tls-ca"] {
            check(&refused, 2, part);
        }
    }
    let half = [
        "up",
        "--listen",
        "0.0.0.0:0",
        "--tls-cert",
        "/nonexistent.pem",
    ];
    check(&machine.run(&half), 2, "--tls-key");
    assert!(!machine.data().join("store").exists(), "nothing was begun");
}

#[test]
fn a_store_of_its_own_is_said_where_another_is_asked_for() {
    let machine = Machine::new();
    check(
        &machine.run(&["up", "--endpoints", "a:1"]),
        2,
        "skep manager",
    );
    check(
        &machine.run(&["down", "--endpoints", "a:1"]),
        2,
        "--endpoints",
    );
}

#[test]
fn without_a_home_a_directory_has_to_be_named() {
    let mut command = skep(&["up"]);
    let command = command.env_remove("HOME").env_remove("XDG_DATA_HOME");
    check(&command.output().unwrap(), 2, "--data-dir");
}

#[tokio::test]
async fn a_taken_port_gives_the_next_one_which_is_remembered_and_found() {
    let machine = Machine::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().port();
    machine.remember_port(taken);
    let mut up = machine.up("up", &[]).await;
    let endpoint = machine.endpoint();
    assert_ne!(endpoint, format!("127.0.0.1:{taken}"));
    assert!(up.output().contains("is taken"), "{}", up.output());
    check(&machine.run(&["get", "nodes"]), 0, "local");
    let ended = up.terminate(PATIENCE).await;
    assert!(ended.success(), "{ended}");

    // Remembered also while nothing runs: another store must not be taken for this one.
    let away = machine.run(&["get", "nodes"]);
    check(&away, 3, "config.yaml");
    check(&away, 3, &endpoint);
    drop(other);
    let _again = machine.up("again", &[]).await;
    assert_eq!(machine.endpoint(), endpoint);
    // A port that a person names is that one or none.
    let third = Machine::new();
    let named = third.run(&["up", "--listen", &endpoint]);
    check(&named, 1, "--listen");
}

#[tokio::test]
async fn a_second_start_says_who_runs_and_how_to_reach_it() {
    let machine = Machine::new();
    machine.remember_port(free_port());
    let mut up = machine.up("up", &[]).await;
    let second = machine.run(&["up"]);
    check(&second, 1, &format!("process {}", up.id()));
    check(&second, 1, &machine.endpoint());
    check(&machine.run(&["store", "serve"]), 1, "skep status");
    up.kill();
    let _free = machine.up("free", &[]).await;
}

#[tokio::test]
async fn what_was_written_and_the_managers_name_outlive_a_kill() {
    let machine = Machine::new();
    machine.remember_port(free_port());
    let mut up = machine.up("up", &["--name", "first"]).await;
    let manifest = machine.folder.path().join("web.yaml");
    std::fs::write(&manifest, WEB).unwrap();
    let applied = machine.run(&["apply", "-f", manifest.to_str().unwrap()]);
    check(&applied, 0, "created");
    let version = |output: &Output| {
        let object: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        object["metadata"]["resourceVersion"].clone()
    };
    let node = version(&machine.run(&["get", "node", "local", "-o", "json"]));
    up.kill();

    let mut again = machine.up("again", &[]).await;
    check(&machine.run(&["get", "svc"]), 0, "web");
    let seen = machine.run(&["get", "node", "local", "-o", "json"]);
    assert_eq!(version(&seen), node, "the node is put once");
    check(&seen, 0, "\"manager\": \"first\"");
    until(PATIENCE, "the manager of the same name works", async || {
        let status = machine.run(&["status"]);
        text(&status).contains("first").then_some(())
    })
    .await;
    assert!(again.terminate(PATIENCE).await.success());
}

#[tokio::test]
async fn in_a_pipe_there_are_plain_lines() {
    let machine = Machine::new();
    machine.remember_port(free_port());
    let mut up = machine.up("up", &[]).await;
    until(PATIENCE, "the node is told", async || {
        up.output().contains("node local").then_some(())
    })
    .await;
    assert!(up.terminate(PATIENCE).await.success());
    let output = up.output();
    assert!(!output.contains('\x1b'), "{output}");
    assert!(output.contains("skep stopped"), "{output}");
    assert!(output.contains(&machine.endpoint()), "{output}");
}

#[tokio::test]
async fn the_store_alone_keeps_what_it_was_told() {
    let machine = Machine::new();
    let serve = ["store", "serve", "--listen", "127.0.0.1:0"];
    let start = async |name: &str| {
        let store = Process::spawn(name, machine.command(&serve), machine.folder.path());
        until(PATIENCE, "the store answers", async || {
            store.output().contains("store 127.0.0.1:").then_some(())
        })
        .await;
        store
    };
    let mut store = start("store").await;
    let manifest = machine.folder.path().join("web.yaml");
    std::fs::write(&manifest, WEB).unwrap();
    let applied = machine.run(&["apply", "-f", manifest.to_str().unwrap()]);
    check(&applied, 0, "created");
    assert!(store.terminate(PATIENCE).await.success());
    let _store = start("again").await;
    check(&machine.run(&["get", "svc"]), 0, "web");
    check(&machine.run(&["down", "--yes"]), 1, "no manager runs");
}

#[tokio::test]
async fn down_asks_for_a_yes_where_nobody_can_be_asked_and_takes_the_directory_with_all() {
    let machine = Machine::new();
    check(&machine.run(&["down"]), 0, "nothing is up");
    machine.remember_port(free_port());
    let mut up = machine.up("up", &[]).await;
    check(&machine.run(&["down", "--all"]), 2, "--yes");
    assert!(up.is_running());

    check(&machine.run(&["down", "--yes"]), 0, "skep up ended");
    until(PATIENCE, "it has ended", async || up.ended()).await;
    assert!(exists(&machine.data()), "without --all the store stays");
    check(&machine.run(&["down", "--yes"]), 0, "");

    std::fs::write(machine.data().join("letter.txt"), "mine").unwrap();
    check(&machine.run(&["down", "--all", "--yes"]), 0, "not skep's");
    let left: Vec<_> = std::fs::read_dir(machine.data()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

fn exists(data: &Path) -> bool {
    data.join("store").is_dir()
}
