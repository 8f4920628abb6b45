//! A real manager over a real etcd, as Prometheus (Debian's package) and whoever keeps it running see it.

use crate::support::etcd::Etcd;
use crate::support::process::Process;
use crate::support::wait::until;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What something real may take.
const PATIENCE: Duration = Duration::from_secs(30);

const MISSING: &str = "it comes with Debian's package: apt install prometheus";

/// A manager and its etcd; one node whose engine nobody answers for, and one service that waits for it.
struct Subject {
    etcd: Etcd,
    manager: Process,
    address: String,
    dir: TempDir,
}

impl Subject {
    async fn start() -> Self {
        let etcd = Etcd::start().await;
        let dir = TempDir::new().expect("the machine has a temporary directory");
        let address = free_address();
        let arguments = [
            "manager",
            "--name=m1",
            &format!("--endpoints={}", etcd.endpoint()),
            &format!("--metrics-listen={address}"),
        ];
        let manager = Process::skep("manager", &arguments, dir.path());
        let node = r#"{engine: {url: "tcp://127.0.0.1:1"}}"#;
        etcd.ctl(&["put", "/skep/nodes/n1", node]).await;
        let web = r#"{replicas: 2, template: {container: "app:1"}}"#;
        etcd.ctl(&["put", "/skep/services/default/web", web]).await;
        let subject = Self {
            etcd,
            manager,
            address,
            dir,
        };
        subject
            .until_metrics("skep_service_spec_replicas{namespace=\"default\",service=\"web\"} 2")
            .await;
        subject
    }

    /// The answer to a GET: status and body; none: nobody answers (yet).
    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.into()))
    }

    async fn until_metrics(&self, line: &str) -> String {
        until(PATIENCE, line, async || {
            let (_, text) = self.get("/metrics").await?;
            text.lines().any(|one| one == line).then_some(text)
        })
        .await
    }

    /// Waits until `/readyz` answers so; gives what it says.
    async fn until_ready(&self, status: u16, says: &str) -> String {
        let what = format!("/readyz answers {status} {says}");
        until(PATIENCE, &what, async || {
            let (found, text) = self.get("/readyz").await?;
            (found == status && text.contains(says)).then_some(text)
        })
        .await
    }
}

/// An address of the loopback that nobody listens on.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let address = listener.local_addr();
    address.expect("a bound socket has an address").to_string()
}

/// Runs promtool; gives what it printed.
fn promtool(arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run promtool: {error}; {MISSING}"));
    let mut stdin = child.stdin.take().expect("its input is a pipe");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(said.into()),
        false => Err(said.into()),
    }
}

#[tokio::test]
async fn promtool_finds_nothing_to_complain_about_in_a_running_manager() {
    let subject = Subject::start().await;
    // The engine does not answer: that has its series, too.
    let text = until(PATIENCE, "a failed call to the engine shows", async || {
        let (_, text) = subject.get("/metrics").await?;
        let failed = "skep_engine_request_duration_seconds_count{call=\"identity\"";
        text.contains(failed).then_some(text)
    })
    .await;
    for series in [
        "leader_election_master_status{name=\"service\"} 1",
        "skep_store_connected 1",
        "skep_tasks{state=\"pending\"} 2",
        "skep_service_status_replicas_ready{namespace=\"default\",service=\"web\"} 0",
        "skep_metadata_generation{kind=\"Service\",name=\"web\",namespace=\"default\"} 1",
        "skep_status_observed_generation{kind=\"Service\",name=\"web\",namespace=\"default\"} 1",
    ] {
        assert!(
            text.lines().any(|line| line == series),
            "no {series} in:\n{text}"
        );
    }
    for family in [
        "skep_store_request_duration_seconds_count{call=\"txn\",result=\"ok\"}",
        "skep_store_size_bytes",
        "skep_store_quota_bytes",
        "skep_store_writes_total{controller=\"service\"}",
        "skep_events_total{controller=\"service\",reason=\"Accepted\"}",
        "workqueue_work_duration_seconds_count{controller=\"service\",name=\"service\"}",
    ] {
        assert!(text.contains(family), "no {family} in:\n{text}");
    }
    let said = promtool(&["check", "metrics"], &text);
    assert_eq!(
        said.as_deref().map(str::trim),
        Ok(""),
        "promtool check metrics"
    );
}

#[tokio::test]
async fn prometheus_scrapes_a_manager_with_the_example_and_answers_the_dashboard() {
    let subject = Subject::start().await;
    let charts = concat!(env!("CARGO_MANIFEST_DIR"), "/charts");
    let read = |path: &str| std::fs::read_to_string(format!("{charts}/{path}")).expect(path);
    let mut config = read("prometheus/scrape.yaml");
    for (example, here) in [
        ("127.0.0.1:9730", subject.address.as_str()),
        ("scrape_interval: 15s", "scrape_interval: 1s"),
    ] {
        assert!(config.contains(example), "the example has {example}");
        config = config.replace(example, here);
    }
    let dir = subject.dir.path();
    std::fs::write(dir.join("scrape.yaml"), config).expect("the directory takes a file");
    std::fs::write(dir.join("alerts.yaml"), read("prometheus/alerts.yaml")).expect("and another");

    let listen = free_address();
    let mut command = Command::new("prometheus");
    command
        .arg(format!(
            "--config.file={}",
            dir.join("scrape.yaml").display()
        ))
        .arg(format!(
            "--storage.tsdb.path={}",
            dir.join("tsdb").display()
        ))
        .arg(format!("--web.listen-address={listen}"));
    let found = Command::new("prometheus").arg("--version").output();
    assert!(found.is_ok(), "cannot run prometheus: {found:?}; {MISSING}");
    let mut prometheus = Process::spawn("prometheus", command, dir);
    let server = format!("http://{listen}");
    let query = |expression: &str| promtool(&["query", "instant", &server, expression], "");

    until(PATIENCE, "Prometheus has scraped the manager", async || {
        assert!(
            prometheus.is_running(),
            "prometheus ended:\n{}",
            prometheus.tail()
        );
        let up = query("up{job=\"skep\"}").ok()?;
        up.contains(&format!("instance=\"{}\"", subject.address))
            .then_some(())
            .filter(|()| up.contains("=> 1 @"))
    })
    .await;
    for expression in [
        "skep_nodes{state=\"unknown\"} == 1",
        "skep_tasks{state=\"pending\"} == 2",
        "leader_election_master_status{name=\"task\"} == 1",
        "skep_service_spec_replicas{service=\"web\"} > skep_service_status_replicas_ready",
    ] {
        let answer = query(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert!(answer.contains("=>"), "nothing for {expression}");
    }
    let board: serde_json::Value = serde_json::from_str(&read("grafana/skep.json")).expect("JSON");
    for panel in board["panels"].as_array().expect("it has panels") {
        for target in panel["targets"].as_array().expect("it has targets") {
            let expression = target["expr"].as_str().expect("a query");
            query(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
        }
    }
}

#[tokio::test]
async fn readyz_says_what_the_manager_waits_for() {
    let mut subject = Subject::start().await;
    subject.until_ready(200, "ok").await;
    subject.etcd.kill();
    let endpoint = subject.etcd.endpoint();
    let said = subject.until_ready(503, &endpoint).await;
    assert!(
        said.starts_with("store: ") && said.contains("what runs goes on"),
        "{said}"
    );
    assert_eq!(subject.get("/healthz").await, Some((200, "ok\n".into())));
    let (_, text) = subject.get("/metrics").await.expect("it answers");
    assert!(text.contains("\nskep_store_connected 0\n"), "{text}");
    subject.etcd.run().await;
    subject.until_ready(200, "ok").await;
    assert!(subject.manager.is_running());
}
