//! The commands of etcdctl 3.4 and 3.5, one after another on both servers, in all formats: they print the same.

mod masked;

use crate::peer::Peer;
use crate::support::etcd::{self, program};
use masked::{masked, without_figures};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// How long a command may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long `check perf` takes, and as long again.
const CHECK: Duration = Duration::from_secs(180);

/// What etcdctl is asked to print.
const FORMATS: [&str; 4] = ["simple", "json", "fields", "table"];

/// Commands with what they read, run in each format.
const LINES: &[(&str, &str)] = &[
    ("put a 1", ""),
    ("put a 2 --prev-kv", ""),
    ("put b", "from input"),
    ("put nothing --ignore-value", ""),
    ("put a 3 --lease 1234", ""),
    ("get a", ""),
    ("get a z --limit 1", ""),
    ("get --prefix a --count-only", ""),
    ("get a --hex", ""),
    ("get a --rev 2", ""),
    ("get a --rev 9999", ""),
    ("get --from-key a --sort-by VALUE --order DESCEND", ""),
    (
        "txn",
        "mod(\"a\") > \"0\"\n\nput a 9\nget a\ndel b\n\nget a\n\n",
    ),
    (
        "txn",
        "value(\"a\") = \"no\"\nver(\"a\") < \"99\"\n\nput a 9\n\nget a\nget b\n\n",
    ),
    ("txn", "\n\nput a 9\nput a 9\n\n\n"),
    ("del b", ""),
    ("put b 5", ""),
    ("del b --prev-kv", ""),
    ("del --prefix nothing", ""),
    ("lease grant 600", ""),
    ("lease grant 10000000000", ""),
    ("lease revoke 1234", ""),
    ("lease timetolive 1234", ""),
    ("lease timetolive 1234 --keys", ""),
    ("lease list", ""),
    ("lease keep-alive --once 1234", ""),
    ("compaction 2", ""),
    ("compaction 2", ""),
    ("compaction 9999", ""),
    ("watch a --rev 1", ""),
    ("endpoint health", ""),
    ("endpoint status", ""),
    ("endpoint hashkv", ""),
    ("member list", ""),
    ("alarm disarm", ""),
    ("defrag", ""),
];

/// Commands that go on, with those that give them something to print.
const LONG: &[(&str, &[&str])] = &[
    (
        "watch w --prefix --prev-kv",
        &["put w1 a", "put w1 b", "put w2 c", "del w --prefix"],
    ),
    ("watch w -w json", &["put w 1"]),
    ("lock name", &[]),
    ("elect post me", &[]),
];

fn etcdctl(series: &str, address: &str, line: &str) -> Command {
    let mut command = Command::new(program(series, "etcdctl"));
    command
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &format!("http://{address}")])
        .args(["--command-timeout", "30s"])
        .args(line.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn spawn(series: &str, address: &str, line: &str) -> Child {
    let spawned = etcdctl(series, address, line).spawn();
    spawned.unwrap_or_else(|error| panic!("cannot run etcdctl {series}: {error}"))
}

/// Runs a command to its end: its code, and what it printed, masked.
async fn run(series: &str, address: &str, line: &str, input: &str) -> String {
    let mut child = spawn(series, address, line);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let limit = if line.starts_with("check") {
        CHECK
    } else {
        PATIENCE
    };
    let output = tokio::time::timeout(limit, child.wait_with_output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("etcdctl {line} does not end"))
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    // Its log lines have times; the others are for people. It panics over some answers (`alarm disarm -w fields`).
    let told = errors.lines().filter(|line| !line.starts_with('{'));
    let errors: String = match errors.find("panic: ") {
        Some(_) => "a panic of etcdctl".into(),
        None => told.collect(),
    };
    let code = output.status.code().unwrap_or(-1);
    masked(&format!("{code}\n{out}{errors}"), address)
}

/// What a command prints up to so many lines.
async fn printed(child: &mut Child, address: &str, lines: usize) -> String {
    let out = child.stdout.as_mut().unwrap();
    let mut text = Vec::new();
    let read = async {
        while text.iter().filter(|byte| **byte == b'\n').count() < lines {
            let mut piece = [0; 4096];
            match out.read(&mut piece).await.unwrap() {
                0 => break,
                count => text.extend_from_slice(&piece[..count]),
            }
        }
    };
    let done = tokio::time::timeout(PATIENCE, read).await;
    assert!(
        done.is_ok(),
        "{lines} lines do not come: {}",
        String::from_utf8_lossy(&text)
    );
    masked(&String::from_utf8_lossy(&text), address)
}

/// What a command that goes on prints while the others run; `lines` is how many it is to print.
async fn long(series: &str, address: &str, line: &str, others: &[&str], lines: usize) -> String {
    // From the first revision on, so that it does not matter when it is there.
    let mut child = spawn(series, address, line);
    for other in others {
        run(series, address, other, "").await;
    }
    printed(&mut child, address, lines).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_prints_the_same_in_every_format() {
    for series in etcd::series() {
        let (etcd, ours) = tokio::join!(Peer::real(), Peer::ours());
        for format in FORMATS {
            for (line, input) in LINES {
                let full = format!("{line} -w {format}");
                let (etcd, ours) = (etcd.address(), ours.address());
                let (etcd, ours) = tokio::join!(
                    run(series, &etcd, &full, input),
                    run(series, &ours, &full, input)
                );
                assert_eq!(ours, etcd, "etcdctl {series} {full}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_locks_and_elections_print_the_same() {
    for series in etcd::series() {
        let (etcd, ours) = tokio::join!(Peer::real(), Peer::ours());
        let (etcd, ours) = (etcd.address(), ours.address());
        for (line, others) in LONG {
            let line = match *line {
                line if line.starts_with("watch") => format!("{line} --rev 1"),
                line => line.to_owned(),
            };
            let lines = match *others {
                // The key, and what is below it: two writes.
                [] => 2,
                _ if line.contains("json") => 1,
                // All of it: three puts, of which one has a value before it, and two keys that go with theirs.
                _ => 3 + 5 + 3 + 2 * 5,
            };
            let (etcd, ours) = tokio::join!(
                long(series, &etcd, &line, others, lines),
                long(series, &ours, &line, others, lines)
            );
            assert_eq!(
                without_figures(&ours),
                without_figures(&etcd),
                "etcdctl {series} {line}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_saved_and_a_check_of_performance_runs() {
    let (etcd, ours) = tokio::join!(Peer::real(), Peer::ours());
    let (etcd, ours) = (etcd.address(), ours.address());
    let folder = tempfile::TempDir::new().unwrap();
    for series in etcd::series() {
        let save = |name: &str| format!("snapshot save {}", folder.path().join(name).display());
        let (of_etcd, of_ours) = (save("snapshot"), save("snapshot"));
        // One after the other: both print the same name.
        let of_etcd = run(series, &etcd, &of_etcd, "").await;
        let of_ours = run(series, &ours, &of_ours, "").await;
        assert_eq!(
            without_figures(&of_ours),
            without_figures(&of_etcd),
            "etcdctl {series}"
        );
        assert!(folder.path().join("snapshot").exists());
    }
    let newest = etcd::series().pop().unwrap();
    let (etcd, ours) = tokio::join!(
        run(newest, &etcd, "check perf", ""),
        run(newest, &ours, "check perf", "")
    );
    // How fast either is depends on the machine, and words and places of the verdicts with it: what counts is which
    // there are.
    let heads = |text: &str| -> Vec<&'static str> {
        let judged = ["Throughput", "Slowest request", "Stddev"];
        judged
            .into_iter()
            .filter(|what| text.contains(what))
            .collect()
    };
    println!("{ours}");
    assert_eq!(heads(&ours), heads(&etcd));
    assert_eq!(heads(&ours).len(), 3, "all of them");
}
