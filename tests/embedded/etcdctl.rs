//! The commands of etcdctl, one after another on the embedded store and on a real etcd: they print the same.

use crate::embedded::Embedded;
use crate::server::{Server, programs};
use std::fmt::Write;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

/// etcdctl against one endpoint, which is given as a URL: 3.4 then writes `:authority` as no other client does.
fn etcdctl(address: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("etcdctl");
    command
        .env("ETCDCTL_API", "3")
        .args([
            "--endpoints",
            &format!("http://{address}"),
            "--command-timeout",
            "20s",
        ])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn spawn(address: &str, arguments: &[&str]) -> Child {
    let spawned = etcdctl(address, arguments).spawn();
    spawned.unwrap_or_else(|error| {
        panic!("cannot run `etcdctl`: {error}. Debian's package etcd-client brings it")
    })
}

/// Runs a command line with this input; gives what it printed and how it ended, with the server's own names left out.
async fn run(address: &str, line: &str, input: &str) -> String {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let mut child = spawn(address, &arguments);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = crate::within(line, child.wait_with_output()).await.unwrap();
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    for said in String::from_utf8_lossy(&output.stderr).lines() {
        // Its log lines have times; the last line is the error for people.
        if !said.starts_with('{') {
            writeln!(text, "{said}").unwrap();
        }
    }
    let text = text.replace(address, "ADDRESS");
    format!("{} {}", output.status.code().unwrap_or(-1), mask(&text))
}

/// Puts `#` for ids, which are numbers of more than 12 digits, and for times.
fn mask(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|char: char| char.is_ascii_alphanumeric()) {
        masked.push_str(&rest[..at]);
        rest = &rest[at..];
        // A fast answer takes microseconds, and etcdctl says so.
        let is_word = |char: char| char.is_ascii_alphanumeric() || char == '.' || char == 'µ';
        let end = rest.find(|char: char| !is_word(char));
        let word = &rest[..end.unwrap_or(rest.len())];
        rest = &rest[word.len()..];
        let is_id = word.len() > 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_time = word.starts_with(|char: char| char.is_ascii_digit())
            && (word.ends_with("ms") || word.ends_with("µs"));
        masked.push_str(if is_id || is_time { "#" } else { word });
    }
    masked + rest
}

const LINES: &[&str] = &[
    "put a 1",
    "put b 2 --prev-kv",
    "put a 3 --prev-kv",
    "put c 5 -w json",
    "get a",
    "get a -w json",
    "get a -w fields",
    "get nothing",
    "get a c",
    "get --prefix a --keys-only",
    "get a --from-key --limit 2",
    "get a --from-key --limit 2 -w json",
    "get a --from-key --order DESCEND --sort-by VALUE",
    "get a --from-key --order ASCEND --sort-by MODIFY --print-value-only",
    "get a --rev 2",
    "get a --rev 99",
    "get a --consistency s",
    "put a --ignore-lease 4",
    "put new --ignore-value",
    "put a x --lease 1234",
    "del b --prev-kv",
    "del b",
    "del --prefix nothing -w json",
    "get a --from-key --hex",
    "compaction 3",
    "compaction 3",
    "compaction 99",
    "get a --rev 2",
    "lease list",
    "lease revoke 1234",
    "lease timetolive 1234",
    "lease timetolive 1234 -w json",
    "lease keep-alive --once 1234",
    "lease grant 10000000000",
    "lease grant 60",
    "endpoint health",
    "endpoint hashkv -w json --rev 999",
    "alarm list",
    "alarm disarm",
    "defrag",
    "watch a --rev 1",
];

#[tokio::test]
async fn every_command_prints_the_same_as_on_etcd() {
    for program in programs() {
        let (ours, etcd) = (Embedded::start().await, Server::start(&program).await);
        let address = ours.address.to_string();
        for line in LINES {
            let (ours, etcd) = (
                run(&address, line, "").await,
                run(&etcd.address, line, "").await,
            );
            assert_eq!(ours, etcd, "etcdctl {line}");
        }
        let txn = "mod(\"a\") > \"0\"\n\nput a 9\nget a\ndel c\n\nget a\n\n";
        for line in ["txn", "txn -w json"] {
            let (ours, etcd) = (
                run(&address, line, txn).await,
                run(&etcd.address, line, txn).await,
            );
            assert_eq!(ours, etcd, "etcdctl {line}");
        }
    }
}

#[tokio::test]
async fn what_tells_of_the_server_itself_is_there() {
    let server = Embedded::start().await;
    let address = server.address.to_string();
    let status = run(&address, "endpoint status -w json", "").await;
    for part in [
        "\"version\":\"3.4.",
        "\"dbSize\":",
        "\"leader\":#",
        "\"raftTerm\":2",
    ] {
        assert!(status.contains(part), "{status}");
    }
    let table = run(&address, "endpoint status -w table", "").await;
    assert!(
        table.starts_with("0 ") && table.contains("| http://ADDRESS |"),
        "{table}"
    );
    let members = run(&address, "member list", "").await;
    assert_eq!(
        members,
        "0 #, started, skep, http://ADDRESS, http://ADDRESS, false\n"
    );
}

#[tokio::test]
async fn a_snapshot_is_saved() {
    let server = Embedded::start().await;
    server.store.txn(&put("a", "1")).await.unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("snapshot");
    let line = format!("snapshot save {}", file.display());
    let said = run(&server.address.to_string(), &line, "").await;
    assert!(said.contains("Snapshot saved at"), "{said}");
    let bytes = std::fs::read(file).unwrap();
    let backup = skep::embedded::backup::Backup::from_bytes(&bytes).unwrap();
    assert_eq!(backup.revision, 2);
}

fn put(key: &str, value: &str) -> skep::embedded::mvcc::Transaction {
    use skep::embedded::mvcc::{Operation, Put, Transaction};
    Transaction::one(Operation::Put(Put::new(key, value)))
}

/// Reads lines of a command that runs on.
async fn lines(child: &mut Child, count: usize) -> String {
    let out = child.stdout.as_mut().unwrap();
    let mut reader = BufReader::new(out);
    let mut text = String::new();
    for _ in 0..count {
        let line = reader.read_line(&mut text);
        crate::within("a line of etcdctl", line).await.unwrap();
    }
    mask(&text)
}

/// What a watch, a lock and an election print, until they are ended.
async fn long_commands(address: &str) -> String {
    let mut text = String::new();
    let mut watch = spawn(
        address,
        &["watch", "w", "--prefix", "--prev-kv", "--rev", "1"],
    );
    for line in ["put w1 a", "put w1 b", "del w1", "put w2 c"] {
        text += &run(address, line, "").await;
    }
    text += &lines(&mut watch, 15).await;
    let mut first = spawn(address, &["lock", "name"]);
    let held = lines(&mut first, 1).await;
    let mut second = spawn(address, &["lock", "name"]);
    text += &held;
    // The second waits for the first.
    crate::support::eventually("both have their key", async || {
        let keys = run(address, "get name --prefix --keys-only", "").await;
        keys.matches("name/").count() == 2
    })
    .await;
    let pid = rustix::process::Pid::from_raw(first.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    crate::within("the first lock", first.wait()).await.unwrap();
    text += &lines(&mut second, 1).await;
    let mut elected = spawn(address, &["elect", "post", "me"]);
    text += &lines(&mut elected, 2).await;
    let mut listener = spawn(address, &["elect", "--listen", "post"]);
    text += &lines(&mut listener, 2).await;
    text += &run(address, "lease list", "").await.replace('#', "");
    text
}

#[tokio::test]
async fn watches_locks_and_elections_run_as_on_etcd() {
    for program in programs() {
        let (ours, etcd) = (Embedded::start().await, Server::start(&program).await);
        let (ours, etcd) = (
            long_commands(&ours.address.to_string()).await,
            long_commands(&etcd.address).await,
        );
        assert_eq!(ours, etcd);
    }
}
