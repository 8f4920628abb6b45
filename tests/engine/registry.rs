//! Registries that refuse, fail and fall silent, between the real engine and a whole manager: what a task says of them.
//!
//! The registry is a stub on the loopback, which engines speak to without TLS.

use crate::image::BUSYBOX;
use crate::subject::{engine, name, spec, url};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use skep::api::task::{TaskState, TaskStatus};
use skep::app::manager::{self, CONTROLLERS, Doors, Options};
use skep::controllers::task::container::CLUSTER;
use skep::embedded::memory::Memory;
use skep::engine::{Docker, DockerConnector, Engine, Error};
use skep::metrics::Metrics;
use skep::runtime::cache::Cache;
use skep::runtime::clock::SystemClock;
use skep::runtime::shared::SharedCache;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a state may take on a busy machine; silent registries are silent for longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A registry that answers by the repository's name.
struct Registry {
    address: String,
    waiting: Waiting,
}

/// How many requests wait for an answer that never comes.
#[derive(Clone, Default)]
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    async fn for_ever(self) -> Response {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }
}

impl Registry {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let waiting = Waiting::default();
        let stub = Router::new().fallback(answer).with_state(waiting.clone());
        tokio::spawn(async move { axum::serve(listener, stub).await });
        Self { address, waiting }
    }

    fn image(&self, name: &str) -> String {
        format!("{}/{name}:1", self.address)
    }
}

async fn answer(State(waiting): State<Waiting>, request: Request) -> Response {
    let error = |status: StatusCode, code: &str, message: &str| {
        let errors = serde_json::json!({"errors": [{"code": code, "message": message}]});
        let json = [("content-type", "application/json")];
        (status, json, errors.to_string()).into_response()
    };
    match request.uri().path().split('/').nth(2) {
        Some("") | None => StatusCode::OK.into_response(),
        Some("missing") => error(
            StatusCode::NOT_FOUND,
            "MANIFEST_UNKNOWN",
            "manifest unknown",
        ),
        Some("closed") => error(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "authentication required",
        ),
        Some("broken") => error(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "out of order"),
        Some("busy") => error(
            StatusCode::TOO_MANY_REQUESTS,
            "TOOMANYREQUESTS",
            "you have reached your limit",
        ),
        Some(_) => waiting.for_ever().await,
    }
}

/// A manager over a store of its own, with this machine's engine as its only node. Its containers go with it.
struct Cluster {
    store: Memory,
    stop: watch::Sender<bool>,
    manager: JoinHandle<Result<(), manager::Error>>,
}

impl Cluster {
    async fn start() -> Self {
        let store = Memory::new();
        let (stop, stopped) = watch::channel(false);
        let options = Options {
            name: "m1".into(),
            hostname: "m1".into(),
            controllers: CONTROLLERS.iter().map(ToString::to_string).collect(),
            metrics: None,
            cluster: Default::default(),
            network: Default::default(),
            node: Default::default(),
        };
        let doors = Doors {
            kv: Arc::new(store.clone()),
            cache: SharedCache::new("/skep/"),
            connector: Arc::new(DockerConnector),
            clock: Arc::new(SystemClock),
            metrics: Arc::new(Metrics::new()),
        };
        let manager = tokio::spawn(manager::run(options, doors, stopped));
        let node = format!("{{engine: {{url: '{}'}}, manager: m1}}", url());
        store.put("/skep/nodes/n1", node);
        Self {
            store,
            stop,
            manager,
        }
    }

    fn cache(&self) -> Cache {
        let mut cache = Cache::default();
        cache.replace("/skep/", &self.store.dump("/skep/"), self.store.revision());
        cache
    }

    /// Puts a service that is tried once, of this image.
    fn service(&self, name: &str, replicas: u32, image: &str) {
        let value = format!(
            "{{replicas: {replicas}, template: {{container: {{image: '{image}', command: [sleep, '1000'], stopSignal: SIGKILL}}, restart: {{condition: none}}}}}}"
        );
        self.store.put(&self.key(name), value);
    }

    fn key(&self, name: &str) -> String {
        format!("/skep/services/default/{name}")
    }

    /// The statuses of a service's tasks.
    fn statuses(&self, service: &str) -> Vec<TaskStatus> {
        let cache = self.cache();
        let of_it = cache
            .tasks
            .iter()
            .filter(|((key, _), _)| key.name == service);
        let statuses = of_it.filter_map(|((_, task), _)| {
            let mut statuses = cache.task_statuses.iter();
            statuses.find(|((_, id), _)| id == task)
        });
        statuses
            .map(|(_, status)| (*status.value).clone())
            .collect()
    }

    async fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let wait = async {
            loop {
                if let Some(found) = look() {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(found) => found,
            Err(_) => panic!("never: {what}: {:#?}", self.cache().task_statuses),
        }
    }

    /// Waits until a task of the service has this reason; its status.
    async fn reason(&self, service: &str, reason: &str) -> TaskStatus {
        let what = format!("{service} says {reason}");
        let has_it = |status: &TaskStatus| status.reason.as_deref() == Some(reason);
        let find = || self.statuses(service).into_iter().find(has_it);
        self.until(&what, find).await
    }

    async fn gone(&self, service: &str) {
        let is_left = || {
            let cache = self.cache();
            let mut tasks = cache.tasks.keys();
            tasks.any(|(key, _)| key.name == service)
                || cache.services.keys().any(|key| key.name == service)
        };
        let what = format!("{service} is gone");
        self.until(&what, || (!is_left()).then_some(())).await;
    }

    async fn end(mut self) {
        self.stop.send_replace(true);
        let ended = (&mut self.manager).await;
        ended.expect("it does not panic").expect("it ends in peace");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.manager.abort();
        let Some(cluster) = self.cache().cluster else {
            return;
        };
        // A runtime of its own: the test's may be on its way out.
        let clean = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let engine = Docker::new(&spec(&url())).unwrap();
                for id in engine.list(CLUSTER, cluster.id.as_str()).await.unwrap() {
                    let _ = engine.remove(&id, true).await;
                }
            });
        });
        let _ = clean.join();
    }
}

#[tokio::test]
async fn what_a_registry_refuses_is_final_and_what_it_fails_at_is_not() {
    let (engine, registry) = (engine().await, Registry::start().await);
    for (name, is_final) in [
        ("missing", true),
        ("closed", true),
        ("broken", false),
        ("busy", false),
    ] {
        let image = registry.image(name);
        let error = engine.pull(&image, &|_| {}).await.unwrap_err();
        println!("{error}");
        assert_eq!(
            matches!(error, Error::NotFound { .. }),
            is_final,
            "{error:?}"
        );
        assert!(error.to_string().contains(&image), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_says_what_its_registry_answered_and_a_silent_one_holds_nothing_up() {
    engine().await;
    let (cluster, registry) = (Cluster::start().await, Registry::start().await);
    let base = name();
    let [missing, broken, silent, web] =
        ["missing", "broken", "silent", "web"].map(|kind| format!("{base}-{kind}"));

    cluster.service(&missing, 1, &registry.image("missing"));
    let status = cluster.reason(&missing, "NoSuchImage").await;
    assert_eq!(status.state, TaskState::Rejected, "{status:?}");
    let message = status.message.unwrap_or_default();
    assert!(message.contains("/missing:1"), "{message}");

    cluster.service(&broken, 1, &registry.image("broken"));
    let status = cluster.reason(&broken, "Retrying").await;
    assert_eq!(status.state, TaskState::Starting, "{status:?}");
    let message = status.message.unwrap_or_default();
    assert!(
        message.contains("cannot pull") && message.contains("/broken:1"),
        "{message}"
    );

    // More tasks than the engine's driver has workers.
    cluster.service(&silent, 70, &registry.image("silent"));
    let pulls = || {
        let statuses = cluster.statuses(&silent);
        let is_pulling = |status: &&TaskStatus| status.reason.as_deref() == Some("Pulling");
        statuses.iter().filter(is_pulling).count()
    };
    let all = || (pulls() == 70).then_some(());
    cluster
        .until("all of them wait for the registry", all)
        .await;

    cluster.service(&web, 1, BUSYBOX);
    let is_running = |status: &TaskStatus| status.state == TaskState::Running;
    let running = || cluster.statuses(&web).iter().any(is_running).then_some(());
    cluster
        .until("another task of the node runs", running)
        .await;
    assert_eq!(pulls(), 70, "the registry is still silent");
    assert_eq!(registry.waiting.count(), 1, "it is asked once for all");

    // A pull for tasks that should not run any more is dropped: they go without waiting for the registry.
    for service in [&silent, &broken, &missing, &web] {
        cluster.store.delete(&cluster.key(service));
    }
    for service in [&silent, &broken, &missing, &web] {
        cluster.gone(service).await;
    }
    cluster.end().await;
}
