//! The metrics as others read them: promtool, a scrape over HTTP.

use skep::metrics::list::{ALL, Family, Kind};
use skep::metrics::server::{Readiness, Server};
use skep::metrics::{Metrics, list};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Gives every family of the list one series.
fn touched() -> Metrics {
    let metrics = Metrics::new();
    for family in ALL {
        let labels = vec!["x"; family.labels.len()];
        match family.kind {
            Kind::Counter => metrics.add(family, &labels, 1),
            Kind::Gauge => metrics.set(family, &labels, 1.0),
            Kind::Histogram(_) => metrics.observe(family, &labels, Duration::from_millis(3)),
        }
    }
    metrics
}

#[test]
fn every_metric_of_the_list_is_exported_with_its_help() {
    let text = touched().render();
    for family in ALL {
        let help = format!("# HELP {} {}\n", family.name, family.help);
        assert!(text.contains(&help), "no line {help:?} in:\n{text}");
    }
}

#[test]
fn names_and_series_are_unique() {
    let names: BTreeSet<_> = ALL.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), ALL.len(), "a name stands twice in the list");
}

#[test]
fn names_say_their_type_and_unit() {
    for Family { name, kind, .. } in ALL {
        let ends_in_total = name.ends_with("_total");
        match kind {
            Kind::Counter => assert!(ends_in_total, "{name}: a counter ends in _total"),
            Kind::Gauge => assert!(!ends_in_total, "{name}: a gauge does not end in _total"),
            Kind::Histogram(_) => assert!(
                name.ends_with("_seconds"),
                "{name}: a time ends in _seconds"
            ),
        }
    }
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cannot run promtool: apt install prometheus (or promtool, from Debian 13 on)");
    let mut input = promtool.stdin.take().expect("its input is a pipe");
    let text = touched().render();
    input
        .write_all(text.as_bytes())
        .expect("promtool reads its input");
    drop(input);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.trim().is_empty(),
        "promtool check metrics:\n{said}"
    );
}

/// Runs promtool on a file of ours.
fn promtool_accepts(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/charts/prometheus"))
        .output()
        .expect("cannot run promtool: apt install prometheus (or promtool, from Debian 13 on)");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}:\n{said}");
}

#[test]
fn promtool_accepts_the_alerts_and_the_scrape_configuration() {
    promtool_accepts(&["check", "rules", "alerts.yaml"]);
    promtool_accepts(&["check", "config", "scrape.yaml"]);
}

#[test]
fn the_dashboard_asks_only_what_prometheus_understands() {
    let text = include_str!("../charts/grafana/skep.json");
    let board: serde_json::Value = serde_json::from_str(text).expect("the dashboard is JSON");
    let panels = board["panels"].as_array().expect("it has panels");
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    for target in panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().expect("targets"))
    {
        let number = rules.lines().count();
        rules += &format!("  - record: panel:{number}\n    expr: {}\n", target["expr"]);
    }
    assert!(rules.contains("panel:"), "the dashboard has no query");
    let dir = tempfile::tempdir().expect("the machine has a temporary directory");
    let path = dir.path().join("rules.yaml");
    std::fs::write(&path, rules).expect("it takes a file");
    promtool_accepts(&[
        "check",
        "rules",
        path.to_str().expect("a temporary path is text"),
    ]);
}

/// One GET; the whole answer, head and body.
async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("the server reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("the server answers");
    answer
}

#[tokio::test]
async fn the_server_tells_health_readiness_and_metrics_until_it_is_stopped() {
    let readiness = Readiness::new();
    readiness.waits("store", "waiting for 127.0.0.1:2379");
    let server = Server::new(
        Arc::new(Metrics::new()),
        readiness.clone(),
        Arc::new(|metrics| metrics.set(&list::CACHE_REVISION, &[], 42.0)),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(listener, async {
        // The sender that goes away means the same.
        let _ = stopped.await;
    }));

    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    let waiting = get(address, "/readyz").await;
    assert!(waiting.starts_with("HTTP/1.1 503"), "{waiting}");
    assert!(
        waiting.contains("store: waiting for 127.0.0.1:2379\n"),
        "{waiting}"
    );
    readiness.ready("store");
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
    let metrics = get(address, "/metrics").await;
    assert!(metrics.contains("\nskep_cache_revision 42\n"), "{metrics}");
    assert!(get(address, "/else").await.starts_with("HTTP/1.1 404"));

    stop.send(()).expect("the server runs");
    running
        .await
        .expect("it does not panic")
        .expect("it stops in order");
}
