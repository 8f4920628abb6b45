//! From the start of `skep up` on an empty directory to the first running task, beside the bare calls for the container.
//!
//! The service is put as soon as the store answers, by its etcd API; the task runs when this machine's engine says so. The
//! image is there before.

use crate::report::{Aim, Report, Samples, instant};
use crate::size;
use crate::support::image;
use crate::support::process::{Process, skep};
use crate::support::wait::until;
use etcd_client::Client;
use serde_json::json;
use skep::api::node::EngineSpec;
use skep::engine::{ContainerState, Docker, Engine};
use std::net::TcpListener;
use std::time::Duration;
use tempfile::TempDir;

const ENGINE: &str = "unix:///var/run/docker.sock";
const SERVICE: &str = "bench-first";
/// How long the slowest step may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs it; `ROUNDS=` says how often.
pub(crate) async fn run() -> Report {
    let rounds = size("ROUNDS", 10);
    let spec = EngineSpec {
        url: ENGINE.into(),
        tls: None,
    };
    let engine = Docker::new(&spec).expect("a socket needs no files");
    if let Err(error) = engine.ping().await {
        panic!("this benchmark needs a Docker Engine at {ENGINE}: {error}");
    }
    image::load(&engine).await;
    let mut up = Samples::new("skep up -> first running task", "s");
    let mut bare = Samples::new("bare create and start", "s");
    for _ in 0..rounds {
        bare.add(of_bare(&engine).await.as_secs_f64());
        up.add(of_up(&engine).await.as_secs_f64());
    }
    let median = up.median();
    Report {
        name: "up",
        about: format!("{rounds} starts of `skep up`, each on an empty directory"),
        samples: vec![up, bare],
        ratio: (
            "median seconds from the start of skep up to the first running task",
            median,
            Aim::AtMost(3.0),
        ),
    }
}

async fn of_up(engine: &Docker) -> Duration {
    let folder = TempDir::new().expect("the machine has a temporary directory");
    let data = folder.path().join("data");
    let data = data.to_str().expect("a temporary path is text");
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    drop(listener);
    let metrics = "127.0.0.1:0";
    let words = [
        "up",
        "--data-dir",
        data,
        "--listen",
        &address,
        "--engine",
        ENGINE,
        "--metrics-listen",
        metrics,
    ];
    let start = instant();
    let process = Process::skep("up", &words, folder.path());
    let value = format!(
        "{{template: {{container: {{image: \"{}\", command: [sleep, \"3600\"], stopSignal: SIGKILL}}}}}}",
        image::BUSYBOX
    );
    until(PATIENCE, "the store takes the service", async || {
        let mut client = Client::connect([&address], None).await.ok()?;
        let key = format!("/skep/services/default/{SERVICE}");
        client.put(key, value.as_str(), None).await.ok()
    })
    .await;
    until(PATIENCE, "the first task runs", async || {
        let ids = engine.list("dev.skep.name", SERVICE).await.ok()?;
        let container = engine.inspect(ids.first()?.as_str()).await.ok()?;
        (container.state == ContainerState::Running).then_some(())
    })
    .await;
    let time = start.elapsed();
    drop(process);
    let mut down = skep(&["down", "--yes", "--data-dir", data]);
    let ended = down.output().expect("the program was built for this run");
    assert!(ended.status.success(), "{ended:?}");
    time
}

async fn of_bare(engine: &Docker) -> Duration {
    let body = json!({
        "Image": image::BUSYBOX,
        "Entrypoint": ["sleep", "3600"],
        "HostConfig": {"NetworkMode": "bridge", "RestartPolicy": {"Name": "no"}},
    });
    let start = instant();
    let id = engine.create("bench-bare", &body.to_string()).await;
    let id = id.expect("the engine makes it");
    engine.start(&id).await.expect("the engine starts it");
    let time = start.elapsed();
    engine
        .remove(&id, true)
        .await
        .expect("the engine removes it");
    time
}
