//! The engine under test, and containers that clean up after themselves.

use crate::image;
use serde_json::{Value, json};
use skep::api::node::EngineSpec;
use skep::api::uid::ContainerId;
use skep::engine::{Container, ContainerState, Docker, Engine};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a state is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The URL of the engine under test.
pub(crate) fn url() -> String {
    match std::env::var("DOCKER_HOST") {
        Ok(url) if !url.is_empty() => url,
        _ => "unix:///var/run/docker.sock".into(),
    }
}

pub(crate) fn spec(url: &str) -> EngineSpec {
    EngineSpec {
        url: url.to_owned(),
        tls: None,
    }
}

/// The engine under test, with the test image on it.
pub(crate) async fn engine() -> Docker {
    let engine = Docker::new(&spec(&url())).unwrap();
    if let Err(error) = engine.ping().await {
        panic!("these tests need a Docker Engine (DOCKER_HOST or the default socket): {error}");
    }
    image::load(&engine).await;
    engine
}

/// A container of a test; removed when dropped, whatever became of it.
pub(crate) struct Made {
    pub(crate) engine: Docker,
    pub(crate) name: String,
    pub(crate) id: ContainerId,
}

/// A name that no other test uses.
pub(crate) fn name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("skeng-{}-{number}", std::process::id())
}

/// Makes a container from a body; the image is filled in.
pub(crate) async fn make(mut body: Value) -> Made {
    let engine = engine().await;
    let name = name();
    if body.get("Image").is_none() {
        body["Image"] = json!(image::BUSYBOX);
    }
    let id = match engine.create(&name, &body.to_string()).await {
        Ok(id) => id,
        Err(error) => panic!("create {body:#}: {error}"),
    };
    Made { engine, name, id }
}

/// Makes and starts a container that runs a shell line.
pub(crate) async fn run(line: &str) -> Made {
    let made = make(json!({"Cmd": ["sh", "-c", line]})).await;
    made.engine.start(&made.id).await.unwrap();
    made
}

impl Made {
    pub(crate) async fn inspect(&self) -> Container {
        self.engine.inspect(self.id.as_str()).await.unwrap()
    }

    pub(crate) async fn raw(&self) -> Value {
        self.engine.inspect_raw(self.id.as_str()).await.unwrap()
    }

    /// Waits until the container is as asked.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Container) -> bool) -> Container {
        let look = async {
            loop {
                let seen = self.inspect().await;
                if is_so(&seen) {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, look).await {
            Ok(seen) => seen,
            Err(_) => panic!("{} is not {what}: {:?}", self.name, self.inspect().await),
        }
    }

    pub(crate) async fn ended(&self) -> Container {
        self.until("ended", |seen| seen.state == ContainerState::Exited)
            .await
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let id = self.id.clone();
        // A runtime of its own: the test's may be on its way out.
        let clean = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let engine = Docker::new(&spec(&url())).unwrap();
                let _ = engine.remove(&id, true).await;
            });
        });
        let _ = clean.join();
    }
}
